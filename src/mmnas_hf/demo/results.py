"""What the networks say of a picture and a text, as the page shows it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image

from ..errors import InputError
from ..gallery_mmnas import ImageGallery
from ..painting_mmnas import draw
from ..pipeline_mmnas import ImageTextMatchingPipeline, MMnasPipeline
from ..processing_mmnas import UNK, normalizer

Record = Mapping[str, Any]

BOXES = 3  # that are outlined for a phrase
MOST_CAPTIONS = 50


class Shown(NamedTuple):
    """A painted picture, scores by what they are of, best first, and words with weights, the heaviest being 1."""

    picture: Image.Image
    scores: dict[str, float]
    words: list[tuple[str, float]]


def answer(ask: MMnasPipeline, picture: Image.Image, question: str) -> Shown:
    """Answers to a question, and where the network looked for them."""
    check_words(ask, question)
    records = ask({"question": question, "image": picture}, return_attention=True)
    scores = {record["answer"]: record["score"] for record in records}
    return Shown(paint(picture, records[:1]), scores, weigh(question, records[0]))


def ground(find: MMnasPipeline, picture: Image.Image, expression: str) -> Shown:
    """The boxes that a phrase may mean, and where the network looked for them."""
    check_words(find, expression)
    records = find({"expression": expression, "image": picture}, top_k=BOXES, return_attention=True)
    scores = {name_box(record["box"]): record["score"] for record in records}
    return Shown(paint(picture, records), scores, weigh(expression, records[0]))


def rank_captions(match: ImageTextMatchingPipeline, picture: Image.Image, captions: str) -> Shown:
    """How well captions, one a line, fit a picture, and where the network looked for the best one."""
    lines = list(dict.fromkeys(line.strip() for line in captions.splitlines() if line.strip()))
    if len(lines) > MOST_CAPTIONS:
        raise InputError(f"{len(lines)} captions are too many; give at most {MOST_CAPTIONS}")
    for line in lines or [""]:
        check_words(match, line)
    regions = match.read_image(picture)  # once, for the ranking and for the best one's attention
    ranked = match.rank(regions, match.encode_texts(lines), top_k=len(lines))
    caption = ranked[0]["caption"]
    best = {**match({"caption": caption, "regions": regions}, return_attention=True), "caption": caption}
    scores = {record["caption"]: record["score"] for record in ranked}
    return Shown(paint(picture, [best]), scores, weigh(caption, best))


def rank_pictures(
    match: ImageTextMatchingPipeline, gallery: ImageGallery, pictures: Sequence[Image.Image], caption: str
) -> list[tuple[Image.Image, str]]:
    """Pictures, of which `gallery` holds the encoded ones, with their scores for a caption, best first."""
    check_words(match, caption)
    ranked = match.rank(caption, gallery, top_k=len(gallery))
    return [(pictures[record["index"]], f"{record['score']:.2f}") for record in ranked]


def check_words(pipeline: MMnasPipeline, text: str) -> None:
    """Raise `InputError` for a text in which there is nothing that the network can read."""
    words = pipeline.processor.tokenizer.tokenize(text)
    if not words:
        raise InputError(f"there is nothing to read; write a {pipeline.text_key}")
    if set(words) == {UNK}:
        raise InputError(
            f"the network knows no word of “{text}”; it has learnt to read about colours, shapes and textures"
        )


def paint(picture: Image.Image, records: Sequence[Record]) -> Image.Image:
    """The result on its picture, without the words, which the page shows beside it."""
    return draw(picture, [{name: value for name, value in record.items() if name != "words"} for record in records])


def weigh(text: str, record: Record) -> list[tuple[str, float]]:
    """Words with their weights relative to the heaviest; one that the network does not know has a question mark."""
    weights = [word["weight"] / max(word["weight"] for word in record["words"]) for word in record["words"]]
    marks = ["?" if word["word"] == UNK else "" for word in record["words"]]
    written = normalizer().normalize_str(text).split()  # may be more than the network reads
    return [(word + mark, weight) for word, mark, weight in zip(written, marks, weights, strict=False)]


def name_box(box: Sequence[float]) -> str:
    left, top, right, bottom = map(round, box)
    return f"{left}, {top} to {right}, {bottom}"
