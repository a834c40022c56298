"""Cards of networks, supernets and architectures, filled from what their runs recorded."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .data.card import TASK_CATEGORIES
from .data.facts import find_facts
from .drawing import draw_genotype
from .files import CARD_FILE, DRAWING_FILE, write_text
from .genotype import PUBLISHED, Genotype, SearchSpace
from .pipeline_mmnas import PIPELINES
from .privacy import portable
from .records import Record, Scores, read_record
from .tasks import TASKS

TEMPLATE = Path(__file__).with_name("card_template.md")
DIGITS = 4
UNKNOWN = "unknown data"
#: What of a search's description has a place of its own in a card, if it is of this type.
TOLD = {
    "data": str,
    "command": str,
    "seed": int,
    "seconds": float,
    "space": Mapping,
    "versions": Mapping,
    "notes": list,
    "source": Mapping,
}


class TaskWords(NamedTuple):
    """What a card says of a task: what its networks do, how they are called, and a text to try."""

    does: str
    example: str
    network: str
    pipeline: str
    text: str


#: What networks of a task do, and a text that those of `scenes` understand.
PHRASES = {
    "vqa": ("answers questions about an image", "what shape is the red object ?"),
    "vgd": ("finds what a phrase means in an image", "the red circle"),
    "itm": ("tells how well a caption fits an image", "a red circle and a green square"),
}


def model_card(folder: Path, repo: str | None = None) -> ModelCard:
    """The card of the network or supernet in a folder; `repo` is its name on the Hub, if it has one."""
    return render(read_record(folder, repo), picture_in(folder))


def architecture_card(
    genotype: Genotype,
    repo: str,
    task: str,
    metrics: Mapping[str, float] | None = None,
    search: Mapping[str, Any] | None = None,
) -> ModelCard:
    """The card of a repository that holds only a genotype.

    `metrics` are of a network that was trained with it, on the `split` that `search` names, by default "test". What
    else `search` tells of how it was found is listed, unless it has a place of its own.
    """
    told = {"split": "test", **(search or {})}
    split = told.pop("split")
    known = {name: told.pop(name) for name, kind in TOLD.items() if isinstance(told.get(name), kind)}
    scores = [Scores(known.get("data", UNKNOWN), split, metrics)] if metrics else []
    record = Record(
        kind="architecture",
        place=repo,
        on_hub=True,
        task=task,
        genotype=str(genotype),
        scores=scores,
        flags=told,
        **known,
    )
    return render(record, DRAWING_FILE)


def write_card(folder: Path, place: Path | None = None) -> None:
    """Write the card of the network or supernet in a folder, and draw its architecture, so that it can be shared.

    `place` is where the folder will be, if it is a draft.
    """
    record = read_record(folder)
    if place is not None:
        record = replace(record, place=portable(str(place)))
    if record.genotype:
        draw(record.genotype, folder / DRAWING_FILE)
    write_text(folder / CARD_FILE, render(record, picture_in(folder)).content)


def picture_in(folder: Path) -> str | None:
    """The drawing in a folder, seen from its card; none if it has no drawing."""
    return DRAWING_FILE if (folder / DRAWING_FILE).is_file() else None


def draw(genotype: str, path: Path) -> None:
    parsed = Genotype.parse(genotype)
    draw_genotype(parsed.encoder, parsed.decoder, path, title=genotype)


def render(record: Record, picture: str | None) -> ModelCard:
    """The card of a record; `picture` is the path of its architecture's drawing, seen from the card."""
    names = dict.fromkeys([record.data, *(scores.data for scores in record.scores)])
    facts = {name: find_facts(name) for name in names if name}
    space = SearchSpace.from_dict(record.space) if record.space else Genotype.parse(record.genotype).as_space()
    first = str(space.genotype([node[0] for node in space.nodes]))
    return ModelCard.from_template(
        header(record),
        template_path=str(TEMPLATE),
        record=record,
        picture=picture,
        facts=facts,
        limits=distinct(limit for fact in facts.values() for limit in fact.limits),
        citations=distinct(fact.citation for fact in facts.values() if fact.citation),
        task=words_of(record.task),
        shown=shown,
        space=space,
        member=record.genotype or first,
        published=next((name for name, known in PUBLISHED.items() if str(known) == record.genotype), None),
    )


def distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def shown(value: Any) -> str:
    """A value as tables show it."""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value).replace("|", r"\|")  # which would end a column


def words_of(task: str) -> TaskWords:
    does, example = PHRASES[task]
    network = TASKS[task].model_class.__name__
    (kind,) = (kind for kind in PIPELINES.values() if kind.network == network)
    return TaskWords(does, example, network, kind.task_name, kind.text_key)


def header(record: Record) -> ModelCardData:
    """The metadata, with `model-index` for scores that belong to exactly this network or architecture."""
    results = [result for scores in record.scores for result in eval_results(record, scores)]
    return ModelCardData(
        language="en",
        license=None if record.has_foreign_weights else "apache-2.0",
        library_name="mmnas_hf" if record.kind == "architecture" else "transformers",
        pipeline_tag=TASK_CATEGORIES[record.task],
        datasets=[record.data] if "/" in record.data else None,
        tags=["mmnas", "mmnas_hf", "neural-architecture-search", record.task, record.kind],
        **({"model_name": record.name, "eval_results": results} if results else {}),
    )


def eval_results(record: Record, scores: Scores) -> Iterable[EvalResult]:
    """The entries of one split in `model-index`; what others report is marked as not verified, with its source."""
    source = record.source or {}
    for name, value in scores.metrics.items():
        yield EvalResult(
            task_type=TASK_CATEGORIES[record.task],
            dataset_type=scores.data,
            dataset_name=find_facts(scores.data).title,
            dataset_split=scores.split,
            metric_type=name.partition("/")[0],
            metric_name=name,
            metric_value=round(value, DIGITS),
            verified=False if source else None,
            source_name=source.get("name"),
            source_url=source.get("url"),
        )
