"""RefCOCO, RefCOCO+ (Yu et al., 2016) and RefCOCOg (Mao et al., 2016): expressions that mean one object of an image.

The files are those of the `refer` project, one folder a data set: a pickle of references and COCO's annotations.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from datasets import Dataset, Features, List, Value

from ...errors import InputError
from ...unpickling import unpickle_file
from ..image_ids import image_id_of
from .publication import Expected, Files, Publication, by_file_name
from .reading import Row, column, entries_of, read_json, tables_by_split

EXPRESSIONS = Features(
    {
        "ref_id": Value("int64"),
        "sent_id": Value("int64"),
        "image_id": Value("string"),
        "expression": Value("string"),
        "box": List(Value("float32")),
        "ann_id": Value("int64"),
        "category": Value("string"),
    }
)
SPLITS = {split: split for split in ("train", "val", "testA", "testB", "test")}


class Instances(NamedTuple):
    """What COCO says of the objects: boxes x, y, width, height by annotation and names by category."""

    boxes: Mapping[int, list[float]]
    categories: Mapping[int, str]


def read_refcoco(files: Files, split_by: str | None = None) -> dict[str, Dataset]:
    """A row for every sentence of every reference, by split; `box` is x1, y1, x2, y2 in pixels.

    `split_by` (unc, umd or google) chooses between files that cut the same data differently; the default is the first
    of the publication's files that is there.
    """
    files = by_file_name(files)
    path = choose(files, split_by)
    references = unpickle_file(path)
    if not isinstance(references, list):
        raise InputError(f"{path} holds a {type(references).__name__}; it should hold a list of references")
    rows_of = partial(expression_rows, instances=read_instances(files["instances.json"]))
    return tables_by_split(references, rows_of, SPLITS, EXPRESSIONS, path)


def choose(files: Files, split_by: str | None) -> Path:
    there = {name: path for name, path in files.items() if name.endswith(".p")}
    name = f"refs({split_by}).p" if split_by else next(iter(there))
    if name not in there:
        raise InputError(f"no file {name} for split_by {split_by!r}; there is: {', '.join(there)}")
    return there[name]


def read_instances(path: Path) -> Instances:
    document = read_json(path, without_outline)
    annotations, categories = (entries_of(document, key, path) for key in ("annotations", "categories"))
    boxes = zip(column(annotations, "id", int, path), column(annotations, "bbox", list, path), strict=True)
    names = zip(column(categories, "id", int, path), column(categories, "name", str, path), strict=True)
    return Instances(dict(boxes), dict(names))


def without_outline(item: Row) -> Row:
    """An annotation without its polygon, which is most of the file."""
    item.pop("segmentation", None)
    return item


def expression_rows(reference: Row, instances: Instances) -> list[Row]:
    ann_id, category_id = reference["ann_id"], reference["category_id"]
    if ann_id not in instances.boxes:
        raise ValueError(f"instances.json lacks ann_id {ann_id} of ref_id {reference['ref_id']}")
    if category_id not in instances.categories:
        raise ValueError(f"instances.json lacks category_id {category_id} of ref_id {reference['ref_id']}")
    shared = {
        "ref_id": reference["ref_id"],
        "image_id": image_id_of(reference["image_id"]),
        "box": corners(instances.boxes[ann_id]),
        "ann_id": ann_id,
        "category": instances.categories[category_id],
    }
    return [{**shared, "sent_id": item["sent_id"], "expression": item["sent"]} for item in reference["sentences"]]


def corners(box: Sequence[float]) -> list[float]:
    """x1, y1, x2, y2 of COCO's x, y, width, height, with x2 = x1 + width as in MMnas.

    A box counts as x2 - x1 + 1 wide, which makes it a pixel wider than COCO says; x1 + width - 1, as in MAttNet, would
    not. But MMnas' training targets and published accuracies come of these corners, and of no others.
    """
    x, y, width, height = box
    if not all(map(math.isfinite, box)) or width < 0 or height < 0:
        raise ValueError(f"box {box} of instances.json; it should be x, y, width, height in pixels")
    return [x, y, x + width, y + height]


# The publisher's own server went down in 2022; these are archived copies of its files (github.com/lichengunc/refer).
ADDRESS = "https://web.archive.org/web/{}/https://bvisionweb1.cs.unc.edu/licheng/referit/data/{}.zip"
LICENCE = "Apache-2.0 (refer project); objects are COCO's, CC BY 4.0"
REFCOCO_CITATION = """\
@inproceedings{yu2016modeling,
  title     = {Modeling Context in Referring Expressions},
  author    = {Licheng Yu and Patrick Poirson and Shan Yang and Alexander C. Berg and Tamara L. Berg},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2016}
}
@inproceedings{kazemzadeh2014referitgame,
  title     = {{ReferItGame}: Referring to Objects in Photographs of Natural Scenes},
  author    = {Sahar Kazemzadeh and Vicente Ordonez and Mark Matten and Tamara L. Berg},
  booktitle = {Conference on Empirical Methods in Natural Language Processing (EMNLP)},
  year      = {2014}
}"""
REFCOCOG_CITATION = """\
@inproceedings{mao2016generation,
  title     = {Generation and Comprehension of Unambiguous Object Descriptions},
  author    = {Junhua Mao and Jonathan Huang and Alexander Toshev and Oana Camburu and Alan Yuille and Kevin Murphy},
  booktitle = {Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2016}
}
@inproceedings{nagaraja2016modeling,
  title     = {Modeling Context Between Objects for Referring Expression Understanding},
  author    = {Varun K. Nagaraja and Vlad I. Morariu and Larry S. Davis},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2016}
}"""


def publication(
    name: str, title: str, archived: str, split_bys: Sequence[str], test: str, citation: str
) -> Publication:
    """One of the three data sets, whose references may be cut into splits in several ways, the default one first."""
    address = ADDRESS.format(archived, name)
    default, *others = (f"{name}/refs({split_by}).p" for split_by in split_bys)
    return Publication(
        name=name,
        title=title,
        task="vgd",
        files=(
            Expected(f"{name}/instances.json", address),
            Expected(default, address, instead=tuple(others)),
            *(Expected(other, address, needed=False) for other in others),
        ),
        read=read_refcoco,
        splits={"train": "train", "validation": "val", "test": test},
        region_count="100",
        licence=LICENCE,
        homepage="https://github.com/lichengunc/refer",
        citation=citation,
    )


REFCOCO = publication("refcoco", "RefCOCO", "20220413011718", ("unc", "google"), "testA", REFCOCO_CITATION)
REFCOCO_PLUS = publication("refcoco+", "RefCOCO+", "20220413011656", ("unc",), "testA", REFCOCO_CITATION)
REFCOCOG = publication("refcocog", "RefCOCOg", "20220413012904", ("umd", "google"), "test", REFCOCOG_CITATION)
