"""Flickr30k (Young et al., 2014) and COCO captions (Chen et al., 2015): images with five sentences each.

Both are cut into splits as Karpathy did, and published in two forms: his own JSON file, and the text files of SCAN,
which number Flickr30k's images as they come in the JSON file instead of naming their photographs.
"""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from datasets import Dataset, Features, Value

from ...errors import InputError, first_line
from ..image_ids import image_id_of
from .publication import Expected, Files, Publication, by_file_name, together
from .reading import Row, entries_of, read_json, table_of, tables_by_split

CAPTIONS = Features({"caption_id": Value("int64"), "image_id": Value("string"), "caption": Value("string")})
# COCO's validation images that Karpathy neither validates nor tests on are "restval", and trained on.
KARPATHY_SPLITS = {"train": "train", "restval": "train", "val": "val", "test": "test"}
#: By split, the prefixes of SCAN's files, the fullest first: COCO's "test" is a fifth of "testall".
SCAN_PREFIXES = {"train": ("train",), "val": ("dev",), "test": ("testall", "test")}
CAPTIONS_AN_IMAGE = 5


def read_captions(files: Files) -> dict[str, Dataset]:
    """The captions of every split, image by image, from Karpathy's file or, if it was not found, from SCAN's.

    Training has all captions of an image, scoring the first five, as is the custom: some of COCO's have six or seven.
    """
    files = by_file_name(files)
    karpathy = [path for name, path in files.items() if name.endswith(".json")]
    return read_karpathy(karpathy[0]) if karpathy else read_scan(files)


def read_karpathy(path: Path) -> dict[str, Dataset]:
    images = entries_of(read_json(path, without_tokens), "images", path)
    return tables_by_split(images, caption_rows, KARPATHY_SPLITS, CAPTIONS, path)


def without_tokens(item: Row) -> Row:
    """A sentence without its list of words, which is most of the file."""
    item.pop("tokens", None)
    return item


def caption_rows(image: Row) -> list[Row]:
    image_id = image_id_of(image["filename"])
    kept = None if KARPATHY_SPLITS[image["split"]] == "train" else CAPTIONS_AN_IMAGE
    return [
        {"caption_id": item["sentid"], "image_id": image_id, "caption": item["raw"].strip()}
        for item in image["sentences"][:kept]
    ]


def read_scan(files: Files) -> dict[str, Dataset]:
    """The captions in SCAN's files, numbered as they come, since they have no numbers of their own."""
    tables, numbers = {}, count()
    for split, prefixes in SCAN_PREFIXES.items():
        pairs = [together(files, (f"{prefix}_caps.txt", f"{prefix}_ids.txt")) for prefix in prefixes]
        if captions_and_ids := next(filter(None, pairs), None):
            captions, ids = captions_and_ids
            texts = read_lines(captions)
            rows = [
                {"caption_id": next(numbers), "image_id": image_id_of(image), "caption": text}
                for image, text in zip(image_of_lines(read_lines(ids), len(texts), ids), texts, strict=True)
            ]
            tables[split] = table_of(rows, CAPTIONS, captions)
    return tables


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; only a line feed ends one, for captions may hold other things that look like it."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return [line.strip() for line in file]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no readable text: {first_line(error)}; download it again") from error


def image_of_lines(ids: Sequence[str], captions: int, path: Path) -> list[str]:
    """The image of each caption: files of ids have one line an image, or one a caption, five times the same."""
    images = ids if len(ids) < captions else ids[::CAPTIONS_AN_IMAGE]
    repeated = [image for image in images for _ in range(CAPTIONS_AN_IMAGE)]
    if len(repeated) != captions or (len(ids) == captions and repeated != list(ids)):
        raise InputError(
            f"{path} has {len(ids)} lines for {captions} captions; give one an image, for each five captions in a row"
        )
    return repeated


KARPATHY_ADDRESS = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
SCAN_ADDRESS = "https://scanproject.blob.core.windows.net/scan-data/data_no_feature.zip"
KARPATHY_CITATION = """
@inproceedings{karpathy2015deep,
  title     = {Deep Visual-Semantic Alignments for Generating Image Descriptions},
  author    = {Andrej Karpathy and Li Fei-Fei},
  booktitle = {Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2015}
}"""


def published_files(karpathy: str, scan: str, prefixes: Sequence[str]) -> tuple[Expected, ...]:
    """Karpathy's file, or instead of it at least what SCAN trains on."""
    training = (f"{scan}/train_caps.txt", f"{scan}/train_ids.txt")
    texts = [f"{scan}/{prefix}_{kind}.txt" for prefix in prefixes for kind in ("caps", "ids")]
    return (
        Expected(karpathy, KARPATHY_ADDRESS, instead=training),
        *(Expected(name, SCAN_ADDRESS, needed=False) for name in texts),
    )


FLICKR30K = Publication(
    name="flickr30k",
    title="Flickr30k",
    task="itm",
    files=published_files("dataset_flickr30k.json", "f30k_precomp", ("train", "dev", "test")),
    read=read_captions,
    splits={"train": "train", "validation": "val", "test": "test"},
    region_count="36",
    licence="non-commercial research and education; images under Flickr's terms of use",
    homepage="https://shannon.cs.illinois.edu/DenotationGraph/",
    citation="""\
@article{young2014image,
  title   = {From Image Descriptions to Visual Denotations: New Similarity Metrics for Semantic Inference over Event
             Descriptions},
  author  = {Peter Young and Alice Lai and Micah Hodosh and Julia Hockenmaier},
  journal = {Transactions of the Association for Computational Linguistics},
  volume  = {2},
  pages   = {67--78},
  year    = {2014}
}"""
    + KARPATHY_CITATION,
)

COCO_CAPTIONS = Publication(
    name="coco-captions",
    title="COCO captions",
    task="itm",
    files=published_files("dataset_coco.json", "coco_precomp", ("train", "dev", "test", "testall")),
    read=read_captions,
    splits={"train": "train", "validation": "val", "test": "test"},
    region_count="36",
    licence="CC BY 4.0; images under Flickr's terms of use",
    homepage="https://cocodataset.org",
    citation="""\
@article{chen2015microsoft,
  title   = {Microsoft {COCO} Captions: Data Collection and Evaluation Server},
  author  = {Xinlei Chen and Hao Fang and Tsung-Yi Lin and Ramakrishna Vedantam and Saurabh Gupta and Piotr Dollár
             and C. Lawrence Zitnick},
  journal = {arXiv preprint arXiv:1504.00325},
  year    = {2015}
}"""
    + KARPATHY_CITATION,
)
