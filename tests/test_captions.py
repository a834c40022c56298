"""Captions are read alike from Karpathy's file and from SCAN's, image by image."""

import json
from collections import Counter

import pytest

from mmnas_hf.data.published import PUBLICATIONS, find_files
from mmnas_hf.data.published.captions import CAPTIONS
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS

FLICKR30K, COCO = PUBLICATIONS["flickr30k"], PUBLICATIONS["coco-captions"]
SCAN_FOLDERS = {"flickr30k": "f30k_precomp", "coco-captions": "coco_precomp"}

every_form = pytest.mark.parametrize("form", ["karpathy", "scan"])


def texts(number, count=5):
    return [f"Caption {position} of picture {number}." for position in range(count)]


def image(number, split, count=5, **changes):
    """An image of Karpathy's file; some of his captions end with a line feed."""
    sentences = [
        {"tokens": text.lower().split(), "raw": f"{text}\n", "imgid": number, "sentid": number * 10 + position}
        for position, text in enumerate(texts(number, count))
    ]
    return {"filename": f"{number}.jpg", "imgid": number, "split": split, "sentences": sentences} | changes


IMAGES = [image(11, "train"), image(12, "val"), image(13, "test"), image(14, "train"), image(15, "test")]


def write_karpathy(folder, images=IMAGES, name="dataset_flickr30k.json"):
    path = folder / name
    path.write_text(json.dumps({"dataset": path.stem.removeprefix("dataset_"), "images": list(images)}))
    return path


def write_scan(folder, prefix, numbers, repeat=1, name="flickr30k"):
    """SCAN's pair of files for these images, with `repeat` lines of ids an image."""
    folder = folder / SCAN_FOLDERS[name]
    folder.mkdir(exist_ok=True)
    lines = [text for number in numbers for text in texts(number)]
    (folder / f"{prefix}_caps.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / f"{prefix}_ids.txt").write_text("".join(f"{number}\n" * repeat for number in numbers))
    return folder


def read(publication, folder):
    return publication.read(find_files(publication, folder))


def message(folder, publication=FLICKR30K):
    with pytest.raises(InputError) as error:
        read(publication, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def written(form, tmp_path):
    """The same captions in either form; ids are one line an image in training, one a caption elsewhere."""
    if form == "karpathy":
        write_karpathy(tmp_path)
    else:
        for prefix, numbers, repeat in (("train", (11, 14), 1), ("dev", (12,), 5), ("test", (13, 15), 5)):
            write_scan(tmp_path, prefix, numbers, repeat)
    return tmp_path


# The real file's structure


def test_the_real_file_has_five_captions_of_every_image(real_data):
    tables = read(FLICKR30K, real_data / "flickr30k_format")
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 400, "val": 100, "test": 100}
    counts = Counter(image_id for rows in tables.values() for image_id in rows["image_id"])
    assert (len(counts), set(counts.values())) == (120, {5})


# Rows


@every_form
def test_captions_are_read_image_by_image(written):
    tables = read(FLICKR30K, written)
    assert list(tables) == ["train", "val", "test"]
    for split, numbers in {"train": (11, 14), "val": (12,), "test": (13, 15)}.items():
        rows = tables[split]
        assert rows.features == CAPTIONS
        assert rows["caption"] == [text for number in numbers for text in texts(number)]
        assert rows["image_id"] == [str(number) for number in numbers for _ in range(5)]


@every_form
def test_captions_are_numbered_across_splits(written):
    numbers = [number for rows in read(FLICKR30K, written).values() for number in rows["caption_id"]]
    assert len(set(numbers)) == 25


@every_form
def test_rows_have_what_the_task_reads(written):
    assert set(TASKS["itm"].columns) <= set(read(FLICKR30K, written)["train"].column_names)


def test_karpathys_file_wins_over_scans(tmp_path):
    write_karpathy(tmp_path)
    write_scan(tmp_path, "train", (0, 1))
    assert set(read(FLICKR30K, tmp_path)["train"]["image_id"]) == {"11", "14"}


def test_cocos_images_are_named_by_their_numbers(tmp_path):
    write_karpathy(tmp_path, [image(1, "val", filename="COCO_val2014_000000391895.jpg")], "dataset_coco.json")
    assert set(read(COCO, tmp_path)["val"]["image_id"]) == {"391895"}


def test_cocos_remaining_validation_images_are_trained_on(tmp_path):
    images = [image(1, "train"), image(2, "restval"), image(3, "val")]
    write_karpathy(tmp_path, images, "dataset_coco.json")
    tables = read(COCO, tmp_path)
    assert list(tables) == ["train", "val"]
    assert set(tables["train"]["image_id"]) == {"1", "2"}


def test_five_captions_are_scored_and_all_are_trained_on(tmp_path):
    write_karpathy(tmp_path, [image(1, "train", 7), image(2, "val", 6), image(3, "test", 7)], "dataset_coco.json")
    tables = read(COCO, tmp_path)
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 7, "val": 5, "test": 5}
    assert tables["test"]["caption"] == texts(3)


def test_all_of_cocos_test_images_are_preferred_to_a_fifth(tmp_path):
    for prefix, numbers in (("train", (1,)), ("test", (2,)), ("testall", (2, 3))):
        write_scan(tmp_path, prefix, numbers, name="coco-captions")
    assert read(COCO, tmp_path)["test"]["image_id"] == ["2"] * 5 + ["3"] * 5


def test_only_a_line_feed_ends_a_caption(tmp_path):
    folder = write_scan(tmp_path, "train", (1,))
    lines = ["a\rb", "c\x0cd", "e\u2028f", "gé", "h"]
    (folder / "train_caps.txt").write_bytes("\r\n".join(lines).encode())
    assert read(FLICKR30K, tmp_path)["train"]["caption"] == lines


# Wrong files


def test_a_truncated_file_raises(tmp_path):
    path = write_karpathy(tmp_path)
    path.write_text(path.read_text()[:-20])
    assert message(tmp_path).startswith(f"{path} is no readable JSON")


WRONG_IMAGES = {
    "no file name": {name: value for name, value in IMAGES[0].items() if name != "filename"},
    "no sentences": image(1, "train", sentences=None),
    "a sentence without words": image(1, "train", sentences=[{"sentid": 1}]),
    "a number for words": image(1, "train", sentences=[{"sentid": 1, "raw": 5}]),
    "a word for a number": image(1, "train", sentences=[{"sentid": "one", "raw": "a"}]),
    "an unknown split": image(1, "spring"),
    "a number": 3,
}


@pytest.mark.parametrize("wrong", WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_a_wrong_image_raises(tmp_path, wrong):
    path = write_karpathy(tmp_path, [*IMAGES, wrong])
    assert message(tmp_path).startswith(str(path))


def test_an_unknown_split_is_told_which_there_are(tmp_path):
    write_karpathy(tmp_path, [image(1, "spring")])
    assert "number 0 is not usable: unknown split 'spring'; known: train, restval, val, test" in message(tmp_path)


@pytest.mark.parametrize("kind", ["caps", "ids"])
def test_half_a_pair_raises(tmp_path, kind):
    write_scan(tmp_path, "train", (1,))
    (write_scan(tmp_path, "dev", (2,)) / f"dev_{kind}.txt").unlink()
    assert f"is there without dev_{kind}.txt" in message(tmp_path)


@pytest.mark.parametrize("ids", ["", "1\n2\n", "1\n1\n1\n1\n2\n", "1\n" * 6, "1\n" * 4], ids=repr)
def test_ids_that_do_not_fit_five_captions_raise(tmp_path, ids):
    path = write_scan(tmp_path, "train", (1,)) / "train_ids.txt"
    path.write_text(ids)
    assert message(tmp_path).startswith(f"{path} has {ids.count(chr(10))} lines for 5 captions")


def test_a_missing_caption_raises(tmp_path):
    path = write_scan(tmp_path, "train", (1, 2)) / "train_caps.txt"
    path.write_text(path.read_text().rsplit("\n", 2)[0])
    assert "has 2 lines for 9 captions" in message(tmp_path)


def test_captions_that_are_no_text_raise(tmp_path):
    path = write_scan(tmp_path, "train", (1,)) / "train_caps.txt"
    path.write_bytes(b"\xff\xfe\x00")
    assert message(tmp_path).startswith(f"{path} is no readable text")
