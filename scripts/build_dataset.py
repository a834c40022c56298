"""Build a table folder from a published data set's files and region features of its images.

python scripts/build_dataset.py --publication vqa-v2 --downloads downloads --regions downloads/trainval_36.tsv \\
    --output_dir tables/vqa-v2
python scripts/build_dataset.py --publication refcoco --downloads downloads --regions features.h5 --boxes pixel \\
    --output_dir tables/refcoco --limit 1000
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mmnas_hf.cli import Parser, run, show
from mmnas_hf.corpus import Corpus
from mmnas_hf.data.building import build
from mmnas_hf.data.folder import load_folder, load_settings
from mmnas_hf.data.hub import upload_tables
from mmnas_hf.data.published import PUBLICATIONS
from mmnas_hf.data.regions import FORMS
from mmnas_hf.errors import InputError
from mmnas_hf.hub import Place
from mmnas_hf.tasks import get_task
from mmnas_hf.word_vectors import Coverage, find_vectors


@dataclass
class BuildArguments:
    """What is built from what."""

    _argument_group_name: ClassVar[str] = "build"

    publication: str = field(metadata={"help": f"Data set: {', '.join(PUBLICATIONS)}."})
    downloads: str = field(metadata={"help": "Folder with its files as published, in subfolders or not."})
    regions: list[str] = field(metadata={"help": "Files or folders with region features of its images."})
    output_dir: str = field(metadata={"help": "Table folder that is written; running again continues and updates it."})
    form: str | None = field(
        default=None, metadata={"help": f"Form of the features: {', '.join(FORMS)}; default: found out."}
    )
    boxes: str | None = field(
        default=None,
        metadata={"help": "What boxes are in: pixel, or normalised; needed where the form leaves it open."},
    )
    limit: int | None = field(default=None, metadata={"help": "Use only so many texts of each split, for a trial."})
    num_proc: int = field(default=os.cpu_count() or 1, metadata={"help": "Processes that convert features."})
    word_vectors: str | None = field(
        default=None, metadata={"help": "Count the words that have a vector in this file."}
    )
    word_size: int = field(default=300, metadata={"help": "Width of the vectors, where the file has several."})
    push_to_hub: str | None = field(default=None, metadata={"help": "OWNER/NAME of a data set to upload to."})
    public: bool = field(default=False, metadata={"help": "Make a repository that is new on the Hub a public one."})

    def __post_init__(self) -> None:
        if self.publication not in PUBLICATIONS:
            raise InputError(f"unknown publication {self.publication!r}; known: {', '.join(PUBLICATIONS)}")
        if self.limit is not None and self.limit < 1:
            raise InputError(f"limit {self.limit} leaves no text; give at least 1")


def main() -> None:
    (args,) = Parser(BuildArguments, __doc__).read()
    publication, folder = PUBLICATIONS[args.publication], Path(args.output_dir)
    sources = [Path(path) for path in args.regions]
    place = place_of(args)
    built = build(
        publication,
        Path(args.downloads),
        sources,
        folder,
        args.form,
        args.boxes,
        args.limit,
        args.num_proc,
        place.name if place else None,
    )
    images, counts = built.images, built.images.regions
    show(f"{images.images} images, {images.converted} converted now, {images.reused} before")
    show(f"{counts.smallest} to {counts.largest} regions an image, mean {counts.mean:.1f}; width {images.feature_size}")
    show(", ".join(f"{len(rows)} texts in {split}" for split, rows in built.texts.items()))

    settings = load_settings(folder)
    corpus = Corpus(get_task(publication.task), load_folder(folder, publication.task), None, settings["splits"])
    for line in corpus.report():
        show(line)
    if args.word_vectors:
        vocabulary = corpus.processor.tokenizer.get_vocab()
        found = find_vectors(Path(args.word_vectors), vocabulary, args.word_size)
        show(str(Coverage(len(found["rows"]), len(vocabulary))))
    if place:
        show(f"uploaded to {upload_tables(folder, place)}")
    show(f"see {folder}")


def place_of(args: BuildArguments) -> Place | None:
    """Where the tables are uploaded to, if that is asked."""
    return Place(args.push_to_hub, private=not args.public, kind="dataset").in_full() if args.push_to_hub else None


if __name__ == "__main__":
    run(main)
