"""Render the cards in model_cards/ from the records beside them, after taking in those of runs.

python scripts/render_cards.py
python scripts/render_cards.py --add runs/train-scenes-vqa runs/train-scenes-vgd
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mmnas_hf.cards import draw, render
from mmnas_hf.cli import Parser, run, show
from mmnas_hf.records import Record, read_record

CARDS = Path(__file__).resolve().parents[1] / "model_cards"
RECORDS, PICTURES = "records", "pictures"


@dataclass
class RenderArguments:
    """What is rendered where."""

    _argument_group_name: ClassVar[str] = "cards"

    add: list[str] = field(
        default_factory=list, metadata={"help": "Folders of runs whose records are taken in, each under its name."}
    )
    folder: str = field(
        default=str(CARDS), metadata={"help": f"Folder of cards, with their {RECORDS}/ and {PICTURES}/."}
    )


def main() -> None:
    (args,) = Parser(RenderArguments, __doc__).read()
    folder = Path(args.folder)
    for record in [read_record(Path(run_folder)) for run_folder in args.add]:
        add(record, folder)
    for path in sorted((folder / RECORDS).glob("*.json")):
        card = folder / f"{path.stem}.md"
        render(Record.load(path), picture_of(path.stem)).save(card)
        show(f"see {card}")


def add(record: Record, folder: Path) -> None:
    """Keep a run's record, and draw its architecture."""
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    record.save(folder / RECORDS / f"{record.name}.json")
    if record.genotype:
        (folder / PICTURES).mkdir(exist_ok=True)
        draw(record.genotype, folder / picture_of(record.name))


def picture_of(name: str) -> str:
    return f"{PICTURES}/{name}.png"


if __name__ == "__main__":
    run(main)
