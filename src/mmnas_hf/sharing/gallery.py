"""Galleries: many architectures as a table, and as a picture that compares them node by node."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, Features, List, Value
from huggingface_hub import DatasetCard, DatasetCardData
from pyarrow import parquet

from ..errors import InputError
from ..files import CARD_FILE
from ..hub import Place, upload
from ..privacy import check_texts, portable
from .architectures import Architecture, draft_of
from .picture import GalleryRow, draw_gallery
from .runs import read_architecture

TABLE_FILE, PICTURE_FILE = "gallery.parquet", "gallery.png"
GALLERY_FILES = (TABLE_FILE, PICTURE_FILE, CARD_FILE)
MARKS = frozenset({TABLE_FILE})

TEXT = Value("string")
COLUMNS = Features(
    {
        "name": TEXT,
        "task": TEXT,
        "genotype": TEXT,
        "encoder": List(TEXT),
        "decoder": List(TEXT),
        "metric": TEXT,
        "score": Value("float64"),
        "metrics": List({"name": TEXT, "value": Value("float64")}),
        "search": TEXT,
        "versions": TEXT,
    }
)

CARD = """\
# A gallery of architectures

{count} architectures, collected by mmnas_hf. Each row is one: the operation of every text node (`encoder`) and region
node (`decoder`), its score, all its metrics, and how it was found (`search`, as JSON).

![the architectures, node by node]({picture})

```python
from datasets import load_dataset

table = load_dataset("{name}", split="train")
```
"""


def collect(sources: Sequence[str], metric: str | None = None, token: str | None = None) -> Dataset:
    """A table of the architectures in these local folders and repositories of the Hub, in their order.

    `metric` is the score that is compared; by default each architecture's most important one.
    """
    rows = [row_of(source, read_architecture(source, token), metric) for source in sources]
    return Dataset.from_list(rows, features=COLUMNS)


def row_of(source: str, architecture: Architecture, metric: str | None) -> dict[str, Any]:
    """An architecture as a row of the table."""
    metrics, known = architecture.metrics, architecture.known()
    if metric is not None and metric not in metrics:
        raise InputError(f"{source} has no metric {metric!r}; it has: {', '.join(metrics) or 'none'}")
    chosen = metric or next(iter(metrics), None)
    folder = Path(source)
    return {
        "name": folder.resolve().name if folder.is_dir() else source,
        "task": architecture.task,
        "genotype": str(architecture.genotype),
        **architecture.genotype.to_dict(),
        "metric": chosen,
        "score": metrics.get(chosen),
        "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
        "search": json.dumps(known["search"]),
        "versions": json.dumps(known["versions"]),
    }


def as_text(table: Dataset) -> str:
    """The table's main columns for a person to read."""
    shown = table.select_columns(["name", "task", "genotype", "metric", "score"]).to_pandas()
    return shown.to_string(index=False, float_format="{:.3f}".format)


def drawn(row: dict[str, Any]) -> GalleryRow:
    measure = " ".join(filter(None, (row["task"], row["metric"])))
    return GalleryRow(row["name"], row["encoder"], row["decoder"], row["score"], measure)


def save_gallery(table: Dataset, folder: str | Path) -> None:
    """Write all that a repository would hold into a folder, or nothing."""
    with draft_of(folder, TABLE_FILE) as draft:
        lay_out_gallery(table, draft, portable(str(folder)))


def lay_out_gallery(table: Dataset, folder: Path, name: str) -> None:
    """Write the table, its picture and a card that `datasets.load_dataset` reads."""
    parquet.write_table(table.with_format("arrow")[:], folder / TABLE_FILE)
    draw_gallery([drawn(row) for row in table], folder / PICTURE_FILE)
    header = DatasetCardData(
        pretty_name="A gallery of architectures",
        tags=["mmnas_hf", "neural-architecture-search"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": TABLE_FILE}]}],
    )
    body = CARD.format(count=len(table), picture=PICTURE_FILE, name=name)
    DatasetCard(f"---\n{header.to_yaml()}\n---\n\n{body}").save(folder / CARD_FILE)
    check_texts([folder / CARD_FILE])


def push_gallery(table: Dataset, place: Place) -> str:
    """Upload a gallery as a data set and say where it is."""
    place = place.in_full()
    with TemporaryDirectory() as folder:
        lay_out_gallery(table, Path(folder), place.name)
        return upload(Path(folder), place, MARKS, list(GALLERY_FILES))
