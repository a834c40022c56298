"""The data card of a built table folder, whose header tells `datasets` what to load."""

from collections.abc import Mapping
from pathlib import Path
from string import Template

from datasets import Dataset
from huggingface_hub import DatasetCardData

from ..cache import fingerprint
from ..files import CARD_FILE, write_text
from .folder import IMAGES, SUFFIX
from .published import Publication
from .regions import Report

TASK_CATEGORIES = {"vqa": "visual-question-answering", "vgd": "object-detection", "itm": "image-text-to-text"}

BODY = Template(
    """\
---
$header
---

# $title, as tables of regions and texts

Built by mmnas_hf from the files of [$title]($homepage) and from region features of its images. There are no pixels.

| table | rows |
|---|---|
$rows

An image has $fewest to $most regions (mean $mean), each with a box and $size numbers.

## Load

```python
from datasets import load_dataset

texts = load_dataset("$place", "$task", split="$split", streaming=True)
images = load_dataset("$place", "images", split="train")
```

Every script of mmnas_hf takes this folder, or its name on the Hub, as `--data`.

## Columns

`images`: `image_id`, `width`, `height`, `boxes` (x1, y1, x2, y2 in pixels), `features` (half-precision numbers, region
by region, as bytes), `source` and `fingerprint` of the file they came from.

`$task`: $columns. `image_id` names the row of `images`.

## Licence

The texts' licence is that of their publisher: $licence. See $homepage.

## Citation

```bibtex
$citation
```
"""
)


def write_card(
    folder: Path, publication: Publication, texts: Mapping[str, Dataset], images: Report, place: str | None = None
) -> None:
    """Write the folder's README.md; `place` is what it shows to be loaded, by default the folder."""
    counts = {IMAGES: images.images, **{f"{publication.task}, {split}": len(rows) for split, rows in texts.items()}}
    first = next(iter(texts))
    card = BODY.substitute(
        header=header(folder, publication, texts).to_yaml(),
        title=publication.title,
        homepage=publication.homepage,
        rows="\n".join(f"| {name} | {count:,} |" for name, count in counts.items()),
        fewest=images.regions.smallest,
        mean=f"{images.regions.mean:.1f}",
        most=images.regions.largest,
        size=f"{images.feature_size:,}",
        place=place or folder.resolve().name,
        task=publication.task,
        split=first,
        columns=", ".join(f"`{name}`" for name in texts[first].column_names),
        licence=publication.licence,
        citation=publication.citation.strip(),
    )
    write_text(folder / CARD_FILE, card)


def header(folder: Path, publication: Publication, texts: Mapping[str, Dataset]) -> DatasetCardData:
    """The card's metadata: which files make which table."""
    task = publication.task
    splits = [{"split": split, "path": f"{task}/{split}{SUFFIX}"} for split in texts]
    return DatasetCardData(
        pretty_name=f"{publication.title} (regions and texts)",
        language="en",
        task_categories=[TASK_CATEGORIES[task]],
        tags=["mmnas_hf", "region-features"],
        configs=[
            {"config_name": task, "data_files": splits, "default": True, "description": state(folder)},
            {"config_name": IMAGES, "data_files": f"{IMAGES}/*{SUFFIX}"},
        ],
    )


def state(folder: Path) -> str:
    """What tells a folder's tables from others, for `datasets` finds its copies of them by the header alone."""
    return f"tables {fingerprint(*sorted(folder.glob(f'*/*{SUFFIX}')))}"
