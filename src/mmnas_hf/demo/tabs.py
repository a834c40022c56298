"""A tab for each task: a picture and a text, what a network says of them, and the network."""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from html import escape
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image
from transformers import PreTrainedModel

from ..errors import InputError, first_line
from ..pipeline_mmnas import MMnasPipeline
from .examples import Example
from .pictures import genotype_of, picture_genotype, read_upload
from .results import Shown, answer, ground, rank_captions, rank_pictures

LONGEST_TEXT = 300  # characters of a question or a phrase
LONGEST_CAPTIONS = 5000
PICTURE_HEIGHT = 470  # pixels
PICTURE = {"format": "png", "show_label": False, "interactive": False, "buttons": ["fullscreen"]}
GALLERY = {"format": "png", "show_label": False, "interactive": False, "buttons": [], "allow_preview": False}


class Texts(NamedTuple):
    """What a tab calls things, and how it gets its text from an example."""

    title: str
    text: str
    button: str
    scores: str
    of_example: Callable[[Example], str]
    show: Callable[[Any, Image.Image, str], Shown]
    lines: int = 1


TABS: dict[str, Texts] = {
    "vqa": Texts(
        "Ask a question", "Question", "Ask", "Answers, each with a score of its own", lambda one: one.question, answer
    ),
    "vgd": Texts(
        "Find what a phrase means",
        "Phrase",
        "Find",
        "Boxes (left, top to right, bottom) with their shares",
        lambda one: one.expression,
        ground,
    ),
    "itm": Texts(
        "Match pictures and captions",
        "Captions, one a line",
        "Rank the captions",
        "How well each caption fits the picture",
        lambda one: "\n".join(one.captions),
        rank_captions,
        lines=6,
    ),
}


def fill_tab(page: gr.Blocks, task: str, pipeline: MMnasPipeline, examples: Sequence[Example]) -> None:
    """Lay out one tab, with the first example in it."""
    texts, chosen = TABS[task], gr.State(examples[0].picture)
    with gr.Tab(texts.title, id=task, elem_id=f"tab-{task}"):
        with gr.Row():
            with gr.Column():
                painted = gr.Image(height=PICTURE_HEIGHT, elem_id=f"{task}-picture", **PICTURE)
                scenes, upload = offer_pictures(task, examples)
            with gr.Column():
                text, asked = take_text(task)
                scores = gr.Label(label=texts.scores, elem_id=f"{task}-scores", show_heading=texts.lines == 1)
                words = gr.HighlightedText(label="Weight of each word", elem_id=f"{task}-words")
                show_network(task, pipeline.model)
        if task == "itm":
            search_pictures(page, pipeline, examples)

    def choose(event: gr.SelectData) -> tuple[Image.Image, Image.Image, str]:
        return take_example(task, examples[event.index])

    look = {"fn": said(partial(texts.show, pipeline)), "inputs": [chosen, text], "outputs": [painted, scores, words]}
    page.load(partial(take_example, task, examples[0]), None, [chosen, painted, text]).success(**look)
    scenes.select(choose, None, [chosen, painted, text]).success(**look)
    upload.upload(said(take_upload), upload, [chosen, painted]).success(**look)
    gr.on(asked, **look)


def offer_pictures(task: str, examples: Sequence[Example]) -> tuple[gr.Gallery, gr.UploadButton]:
    """Bundled pictures to choose from, and a way to bring another."""
    pictures = [example.picture for example in examples]
    scenes = gr.Gallery(pictures, columns=4, height=280, elem_id=f"{task}-scenes", **GALLERY)
    upload = gr.UploadButton("Bring a picture of your own", file_types=["image"], size="sm", elem_id=f"{task}-upload")
    return scenes, upload


def take_text(task: str) -> tuple[gr.Textbox, list[Callable]]:
    """A field for the text, and the events that ask about it: a button and, if the text is one line, the enter key."""
    texts = TABS[task]
    one_line = texts.lines == 1
    limit = LONGEST_TEXT if one_line else LONGEST_CAPTIONS
    text = gr.Textbox(label=texts.text, lines=texts.lines, max_length=limit, elem_id=f"{task}-text")
    button = gr.Button(texts.button, variant="primary", elem_id=f"{task}-button")
    return text, [button.click, text.submit] if one_line else [button.click]


def search_pictures(page: gr.Blocks, pipeline: MMnasPipeline, examples: Sequence[Example]) -> None:
    """The other direction of matching: one caption, and all bundled pictures, which are encoded only once."""
    pictures = [example.picture for example in examples]
    rank = said(partial(rank_pictures, pipeline, pipeline.encode_images(pictures), pictures))
    caption = gr.Textbox(
        examples[0].captions[0],
        label="Or the other way round: a caption to search the scenes with",
        max_length=LONGEST_TEXT,
        elem_id="itm-caption",
    )
    button = gr.Button("Rank the scenes, best first", elem_id="itm-search")
    found = gr.Gallery(columns=8, height=150, elem_id="itm-found", **GALLERY)
    gr.on([page.load, button.click, caption.submit], rank, caption, found)


def show_network(task: str, model: PreTrainedModel) -> None:
    genotype = genotype_of(model.config)
    drawing = picture_genotype(genotype, f"{genotype}, {model.num_parameters():,} weights")
    gr.Image(drawing, elem_id=f"{task}-network", **PICTURE)


def take_example(task: str, example: Example) -> tuple[Image.Image, Image.Image, str]:
    """A bundled picture, to keep and to show, and its text."""
    return example.picture, example.picture, TABS[task].of_example(example)


def take_upload(path: str) -> tuple[Image.Image, Image.Image]:
    """An uploaded picture, to keep and to show."""
    picture = read_upload(path)
    return picture, picture


def said(function: Callable) -> Callable:
    """The same function, but the page says what is wrong with its input."""

    @wraps(function)
    def call(*inputs: Any) -> Any:
        try:
            return function(*inputs)
        except InputError as error:
            raise gr.Error(escape(first_line(error)), title="Please look again", print_exception=False) from None

    return call
