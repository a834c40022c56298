"""Region features are read as they were written, from every form; what cannot be read is refused in one line."""

import base64
import json
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmnas_hf.data.regions import FORMS, open_regions, source, tsv
from mmnas_hf.errors import InputError
from region_files import (
    SIZE,
    array_item,
    encoded,
    file_name,
    lxmert_line,
    make_image,
    make_images,
    shares,
    text_item,
    tsv_line,
    write_arrays,
    write_groups,
    write_items,
    write_lmdb,
    write_npz,
    write_ranges,
    write_row_of_ids,
    write_rows,
    write_scan,
    write_tsv,
)

IMAGES = make_images(5)
EVEN = make_images(5, regions=4)


class Hostile:
    """A pickle that would write a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def python3_line(image):
    """A line of those writers that wrote bytes as Python shows them."""
    return "\t".join([*tsv_line(image).split("\t")[:4], f"b'{encoded(image.boxes)}'", f"b'{encoded(image.features)}'"])


def write_spatial(folder, images, write):
    """HDF5 as the usual converter writes it: without sizes, and with ids in a pickle."""
    write_row_of_ids(folder / "train36_imgid2idx.pkl", images)
    return write(folder / "train36.hdf5", images, sizes=False, ids=False)


WRITERS = {
    "npz": ("npz", IMAGES, lambda folder: write_npz(folder / "train2014", IMAGES).parent),
    "tsv": ("tsv", IMAGES, lambda folder: write_tsv(folder / "trainval.tsv", IMAGES)),
    "tsv as published": ("tsv", IMAGES, lambda folder: write_tsv(folder / "train.tsv.0", IMAGES)),
    "tsv of python 3": ("tsv", IMAGES, lambda folder: write_tsv(folder / "train.tsv", IMAGES, python3_line)),
    "tsv folder": ("tsv", IMAGES, lambda folder: write_tsv(folder / "train.tsv", IMAGES).parent),
    "lxmert": ("tsv", IMAGES, lambda folder: write_tsv(folder / "train2014_obj36.tsv", IMAGES, lxmert_line)),
    "hdf5 rows": ("hdf5", EVEN, lambda folder: write_rows(folder / "train36.hdf5", EVEN)),
    "hdf5 ranges": ("hdf5", IMAGES, lambda folder: write_ranges(folder / "train.h5", IMAGES)),
    "hdf5 rows and shares": ("hdf5", EVEN, lambda folder: write_spatial(folder, EVEN, write_rows)),
    "hdf5 ranges and shares": ("hdf5", IMAGES, lambda folder: write_spatial(folder, IMAGES, write_ranges)),
    "hdf5 groups": ("hdf5", IMAGES, lambda folder: write_groups(folder / "train_obj36.h5", IMAGES)),
    "lmdb of arrays": ("lmdb", IMAGES, lambda folder: write_lmdb(folder / "coco.lmdb", IMAGES)),
    "lmdb of texts": ("lmdb", IMAGES, lambda folder: write_lmdb(folder / "coco.lmdb", IMAGES, text_item)),
    "lmdb file": ("lmdb", IMAGES, lambda folder: write_lmdb(folder / "coco.lmdb", IMAGES, subdir=False)),
    "arrays": ("arrays", EVEN, lambda folder: write_arrays(folder / "arrays", EVEN)),
    "arrays with ids in text": ("arrays", EVEN, lambda folder: write_arrays(folder / "arrays", EVEN, "ids.txt")),
    "scan": ("arrays", EVEN, lambda folder: write_scan(folder / "coco_precomp", EVEN)),
}

every_writer = pytest.mark.parametrize(("form", "images", "write"), WRITERS.values(), ids=WRITERS)


def read(path, wanted=None, **options):
    """All images of a path by id."""
    regions = open_regions(path, **{"boxes": "pixel"} | options)
    return {image.image_id: image for part in regions.parts(wanted) for image in regions.read(part)}


def refusal(path, **options):
    """What the error says that reading a path raises."""
    with pytest.raises(InputError) as error:
        read(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# Every form


def test_every_form_is_written_by_a_test():
    assert {form for form, _, _ in WRITERS.values()} == set(FORMS)


@every_writer
def test_images_are_read_as_they_were_written(tmp_path, form, images, write):
    found = read(write(tmp_path))
    assert sorted(found) == [image.image_id for image in images]
    for image in images:
        assert (found[image.image_id].width, found[image.image_id].height) == (image.width, image.height)
        np.testing.assert_array_equal(found[image.image_id].boxes, image.boxes)
        np.testing.assert_array_equal(found[image.image_id].features, image.features)


@every_writer
def test_a_form_is_recognised(tmp_path, form, images, write):
    assert type(open_regions(write(tmp_path), boxes="pixel")) is FORMS[form]


@every_writer
def test_only_wanted_images_are_read(tmp_path, form, images, write):
    assert sorted(read(write(tmp_path), frozenset({"2", "5", "77"}))) == ["2", "5"]


@every_writer
def test_parts_hold_each_image_once(tmp_path, monkeypatch, form, images, write):
    monkeypatch.setattr(source, "IMAGES_A_PART", 2)
    monkeypatch.setattr(tsv, "PART_BYTES", 200)
    regions = open_regions(write(tmp_path), boxes="pixel")
    parts = regions.parts(None)
    assert len(parts) >= 3
    assert len({part.fingerprint for part in parts}) == len(parts)
    ids = [image.image_id for part in parts for image in regions.read(part)]
    assert sorted(ids) == [image.image_id for image in images]


@every_writer
def test_parts_travel_to_other_processes(tmp_path, form, images, write):
    regions = open_regions(write(tmp_path), boxes="pixel")
    copy, parts = pickle.loads(pickle.dumps((regions, regions.parts(None))))
    assert sum(1 for part in parts for _ in copy.read(part)) == len(images)


@every_writer
def test_a_fingerprint_stays_while_nothing_changes(tmp_path, form, images, write):
    regions = open_regions(write(tmp_path), boxes="pixel")
    assert regions.parts(None) == regions.parts(None)


@every_writer
def test_a_fingerprint_changes_with_every_file(tmp_path, form, images, write):
    regions = open_regions(write(tmp_path), boxes="pixel")
    for file in (path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock.mdb"):
        before = {part.fingerprint for part in regions.parts(None)}
        os.utime(file, ns=(1, 1))
        assert before.isdisjoint(part.fingerprint for part in regions.parts(None))


@every_writer
def test_a_fingerprint_changes_with_what_is_wanted(tmp_path, form, images, write):
    regions = open_regions(write(tmp_path), boxes="pixel")
    some, others = (regions.parts(frozenset(ids)) for ids in (("1", "2"), ("2", "3")))
    assert {part.fingerprint for part in some}.isdisjoint(part.fingerprint for part in others)


# What boxes are

SILENT = [name for name, (form, _, _) in WRITERS.items() if form not in ("npz", "tsv")]


@pytest.mark.parametrize("name", SILENT)
def test_a_form_that_does_not_say_what_boxes_are_asks(tmp_path, name):
    _, images, write = WRITERS[name]
    first = images[0]
    seen = f"'1', of {first.width} x {first.height} has coordinates up to {first.boxes.max():g}"
    with pytest.raises(InputError, match=f"{seen}, which looks like pixel: give --boxes pixel.normalised"):
        open_regions(write(tmp_path))


def test_boxes_up_to_one_look_normalised(tmp_path):
    small = [image._replace(boxes=image.boxes / 1000) for image in EVEN]
    with pytest.raises(InputError, match="which looks like normalised"):
        open_regions(write_arrays(tmp_path, small))


@pytest.mark.parametrize("name", ["npz", "tsv", "lxmert"])
def test_a_form_that_has_pixels_does_not_ask(tmp_path, name):
    assert open_regions(WRITERS[name][2](tmp_path)).boxes == "pixel"


# Which form


def test_a_missing_path_raises_with_the_known_forms(tmp_path):
    with pytest.raises(InputError, match=r"no file or folder .*nowhere; .* tsv \(.*hdf5 \(.*npz \("):
        open_regions(tmp_path / "nowhere")


def test_an_unknown_form_raises_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"unknown form 'csv'; known: tsv \(.*npz \("):
        open_regions(tmp_path, form="csv")


def test_unknown_boxes_raise(tmp_path):
    with pytest.raises(InputError, match="unknown boxes 'inches'; known: pixel, normalised"):
        open_regions(tmp_path, boxes="inches")


@pytest.mark.parametrize("content", [None, b"", b"a file of something else"])
def test_a_path_in_no_form_raises_with_the_known_forms(tmp_path, content):
    path = tmp_path / "regions"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=r"in no known form; known: tsv \("):
        open_regions(path)


def test_a_form_may_be_said(tmp_path):
    path = write_tsv(tmp_path / "regions.txt", IMAGES)
    assert len(read(path, form="tsv")) == len(IMAGES)


@pytest.mark.parametrize("form", ["hdf5", "lmdb"])
def test_a_file_of_another_form_is_refused(tmp_path, form):
    path = write_tsv(tmp_path / "regions.tsv", IMAGES)
    assert f"{path} is no readable" in refusal(path, form=form)


@pytest.mark.parametrize(("package", "name"), [("h5py", "hdf5 rows"), ("lmdb", "lmdb of arrays")])
def test_a_missing_package_is_named_with_the_extra(tmp_path, monkeypatch, package, name):
    path = WRITERS[name][2](tmp_path)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    assert f"need {package}; pip install 'mmnas-hf[formats]'" in refusal(path)


# npz


@pytest.mark.parametrize("across", [True, False])
def test_features_are_turned_so_that_there_is_one_a_box(tmp_path, across):
    image = make_image(1, regions=3)
    sizes = {"image_h": image.height, "image_w": image.width}
    np.savez(tmp_path / "1.npz", x=image.features.T if across else image.features, bbox=image.boxes, **sizes)
    np.testing.assert_array_equal(read(tmp_path)["1"].features, image.features)


def test_as_many_features_as_boxes_are_in_the_original_order(tmp_path):
    image = make_image(1, regions=SIZE)
    write_npz(tmp_path, [image])
    np.testing.assert_array_equal(read(tmp_path)["1"].features, image.features)


def test_sizes_may_be_arrays_of_one_number(tmp_path):
    save_npz(tmp_path / "1.npz", image_h=np.array([480]), image_w=np.array([640.0]))
    assert read(tmp_path)["1"][1:3] == (640, 480)


def test_the_real_file_is_read(real_data):
    (image,) = read(real_data / "bottom_up_features").values()
    assert (image.image_id, image.width, image.height) == ("458752", 640, 480)
    assert (image.boxes.shape, image.features.shape) == ((36, 4), (36, 2048))


def save_npz(path, **changes):
    image = make_image(1, regions=3)
    arrays = {"x": image.features.T, "bbox": image.boxes, "image_h": image.height, "image_w": image.width}
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})


BROKEN_NPZ = {
    "half a file": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "no file": lambda path: path.write_bytes(b""),
    "another file": lambda path: path.write_bytes(b"PK nothing"),
    "a bent file": lambda path: path.write_bytes(path.read_bytes().replace(b"NUMPY", b"NUMPI", 1)),
    "no boxes": lambda path: save_npz(path, bbox=None),
    "no width": lambda path: save_npz(path, image_w=None),
    "objects": lambda path: save_npz(path, bbox=np.array([None, {}])),
    "another number of boxes": lambda path: save_npz(path, bbox=np.zeros((4, 4))),
    "boxes of five": lambda path: save_npz(path, bbox=np.zeros((3, 5))),
    "one number as boxes": lambda path: save_npz(path, bbox=np.array(3)),
}


@pytest.mark.parametrize("spoil", BROKEN_NPZ.values(), ids=BROKEN_NPZ)
def test_a_broken_npz_is_refused_by_name(tmp_path, spoil):
    path = tmp_path / "000000000001.npz"
    save_npz(path)
    spoil(path)
    assert str(path) in refusal(tmp_path)


# tsv


@pytest.mark.parametrize("size", [1, 100, 777, 1000])
def test_a_line_belongs_to_the_range_in_which_it_begins(tmp_path, monkeypatch, size):
    path = write_tsv(tmp_path / "train.tsv", IMAGES)
    monkeypatch.setattr(tsv, "PART_BYTES", size)
    regions = open_regions(path)
    parts = regions.parts(None)
    assert len(parts) == -(-path.stat().st_size // size)
    assert [image.image_id for part in parts for image in regions.read(part)] == ["1", "2", "3", "4", "5"]


def test_a_range_that_ends_with_a_line_does_not_read_the_next(tmp_path, monkeypatch):
    path = write_tsv(tmp_path / "train.tsv", IMAGES)
    monkeypatch.setattr(tsv, "PART_BYTES", len(tsv_line(IMAGES[0])) + 1)
    regions = open_regions(path)
    assert [image.image_id for image in regions.read(regions.parts(None)[0])] == ["1"]


def test_an_empty_line_is_no_image(tmp_path):
    path = write_tsv(tmp_path / "train.tsv", IMAGES)
    path.write_text(path.read_text() + "\n")
    assert len(read(path)) == len(IMAGES)


def values(**changes):
    """The third image's columns, some changed."""
    names = tsv.COLUMNS[6]
    return [str(value) for value in (dict(zip(names, tsv_line(IMAGES[2]).split("\t"), strict=True)) | changes).values()]


BROKEN_LINES = {
    "half a line": "\t".join(values())[:-40],
    "a line without features": "\t".join(values()[:5]),
    "a column too many": "\t".join([*values(), "x"]),
    "features that are no base64": "\t".join(values(features="#" * 32)),
    "half a number": "\t".join(values(features=base64.b64encode(b"12").decode())),
    "a width in words": "\t".join(values(image_w="wide")),
    "another number of boxes": "\t".join(values(num_boxes=7)),
    "half a box": "\t".join(values(boxes=encoded(np.zeros(6)))),
    "no boxes": "\t".join(values(boxes="", num_boxes=0)),
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES)
@pytest.mark.parametrize("size", [100, 2**20])
def test_a_broken_line_is_refused_with_file_and_number(tmp_path, monkeypatch, line, size):
    monkeypatch.setattr(tsv, "PART_BYTES", size)
    path = tmp_path / "train.tsv"
    path.write_text("\n".join([tsv_line(IMAGES[0]), tsv_line(IMAGES[1]), line]))
    assert f"{path}, line 3 is no image: " in refusal(path)


# hdf5


def test_the_only_pickle_beside_a_file_is_taken(tmp_path):
    write_row_of_ids(tmp_path / "okvqa_trainval36_imgid2idx.pkl", EVEN)
    found = read(write_rows(tmp_path / "features.h5", EVEN, ids=False))
    assert sorted(found) == [image.image_id for image in EVEN]


def test_the_pickle_of_the_same_name_is_taken(tmp_path):
    write_row_of_ids(tmp_path / "train_imgid2idx.pkl", EVEN)
    write_row_of_ids(tmp_path / "val_imgid2idx.pkl", EVEN[::-1])
    found = read(write_rows(tmp_path / "train.h5", EVEN, ids=False))
    np.testing.assert_array_equal(found["2"].features, EVEN[1].features)


@pytest.mark.parametrize("others", [(), ("a_imgid2idx.pkl", "b_imgid2idx.pkl")])
def test_ids_that_are_nowhere_are_asked_for(tmp_path, others):
    for name in others:
        write_row_of_ids(tmp_path / name, EVEN)
    message = refusal(write_rows(tmp_path / "train.h5", EVEN, ids=False))
    assert "has no image_ids; put train_imgid2idx.pkl beside it" in message
    assert (", ".join(others) or "none") in message


def test_a_hostile_pickle_of_rows_is_refused_by_name_and_not_run(tmp_path):
    (tmp_path / "train_imgid2idx.pkl").write_bytes(pickle.dumps(Hostile(tmp_path / "trace")))
    message = refusal(write_rows(tmp_path / "train.h5", EVEN, ids=False))
    assert "train_imgid2idx.pkl is refused" in message
    assert "mkdir" in message
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("rows", [[1, 2], {1: 99}, {1: "first"}, {1: -1}])
def test_a_pickle_that_tells_no_rows_is_refused(tmp_path, rows):
    (tmp_path / "train_imgid2idx.pkl").write_bytes(pickle.dumps(rows))
    path = write_rows(tmp_path / "train.h5", EVEN, ids=False)
    assert "train_imgid2idx.pkl must be a dict from image ids to the 5 rows" in refusal(path)


def as_shares(images):
    return [image._replace(boxes=shares(image)[:, :4], width=1, height=1) for image in images]


def spoil_hdf5(change):
    def write(folder):
        path = write_ranges(folder / "train.h5", IMAGES)
        with h5py.File(path, "a") as file:
            change(file)
        return path

    return write


def replace(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value

    return change


BROKEN_HDF5 = {
    "no boxes": (spoil_hdf5(replace("image_bb", None)), "no boxes or bbox or bboxes or image_bb"),
    "too few ids": (spoil_hdf5(replace("image_ids", [1, 2])), "has 2 image ids for 5 images"),
    "rows beyond the end": (spoil_hdf5(replace("pos_boxes", [[0, 99]] * 5)), "pos_boxes says rows 0 to 99 of 21"),
    "negative rows": (spoil_hdf5(replace("pos_boxes", [[-3, -1]] * 5)), "pos_boxes says rows -3 to -1"),
    "no rows": (spoil_hdf5(replace("pos_boxes", [[3, 3]] * 5)), "pos_boxes says rows 3 to 3"),
    "fewer boxes": (spoil_hdf5(replace("image_bb", np.ones((7, 4)))), "boxes"),
    "no width": (spoil_hdf5(replace("image_w", None)), "its size is not known; add datasets image_w and image_h"),
    "something else": (
        spoil_hdf5(replace("image_features", None)),
        "nor groups that do; it has image_bb",
    ),
    "shares alone": (
        lambda folder: write_spatial(folder, as_shares(EVEN), write_rows),
        "its size is not known; add datasets image_w and image_h",
    ),
}


@pytest.mark.parametrize(("write", "message"), BROKEN_HDF5.values(), ids=BROKEN_HDF5)
def test_a_broken_hdf5_is_refused(tmp_path, write, message):
    path = write(tmp_path)
    said = refusal(path)
    assert str(path) in said
    assert message in said


def test_an_empty_hdf5_is_refused(tmp_path):
    h5py.File(tmp_path / "train.h5", "w").close()
    assert "nor groups that do; it has nothing" in refusal(tmp_path / "train.h5")


def test_half_an_hdf5_is_refused(tmp_path):
    path = write_rows(tmp_path / "train.h5", EVEN)
    path.write_bytes(path.read_bytes()[:3000])
    assert f"{path} is no readable HDF5 file" in refusal(path)


# lmdb


def test_an_lmdb_that_lists_no_keys_gives_all(tmp_path):
    path = write_items(tmp_path / "coco.lmdb", {b"1": pickle.dumps(array_item(IMAGES[0]))})
    assert list(read(path)) == ["1"]


def test_keys_may_be_names_of_files(tmp_path):
    keys = {f"train2014/{file_name(image)}".encode(): pickle.dumps(array_item(image)) for image in IMAGES}
    assert sorted(read(write_items(tmp_path / "coco.lmdb", keys))) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("key", [b"1", b"keys"])
def test_a_hostile_pickle_in_an_lmdb_is_refused_by_name_and_not_run(tmp_path, key):
    path = write_items(tmp_path / "coco.lmdb", {key: pickle.dumps(Hostile(tmp_path / "trace"))})
    message = refusal(path)
    assert f"{path}, key {key!r} is refused" in message
    assert "mkdir" in message
    assert not (tmp_path / "trace").exists()


def item(**changes):
    return {name: value for name, value in (array_item(IMAGES[0]) | changes).items() if value is not None}


BROKEN_ITEMS = {
    "no dict": [1, 2],
    "a number": 3,
    "no boxes": item(bbox=None),
    "no height": item(image_height=None),
    "a width in words": item(image_width="wide"),
    "an endless width": item(image_width=np.inf),
    "no used boxes": item(num_boxes=0),
    "no base64": item(features="#" * 32),
    "another image": item(image_id=7),
    "more boxes than there are": item(num_boxes=99),
    "features of fewer boxes": item(features=np.zeros((2, SIZE))),
    "boxes on their side": item(bbox=np.zeros((4, 6))),
    "objects": item(bbox=np.array([{}, {}], dtype=object)),
}


@pytest.mark.parametrize("broken", BROKEN_ITEMS.values(), ids=BROKEN_ITEMS)
def test_a_broken_item_is_refused_with_its_key(tmp_path, broken):
    path = write_items(tmp_path / "coco.lmdb", {b"1": pickle.dumps(broken)})
    assert f"{path}, key b'1' is no image's regions: " in refusal(path)


def test_half_a_pickle_is_refused_with_its_key(tmp_path):
    path = write_items(tmp_path / "coco.lmdb", {b"1": pickle.dumps(item())[:90]})
    assert f"{path}, key b'1' is no readable pickle" in refusal(path)


def test_a_listed_key_that_is_not_there_is_refused(tmp_path):
    path = write_items(tmp_path / "coco.lmdb", {b"keys": pickle.dumps([b"1"])})
    assert f"{path}, key b'1' is listed but not there" in refusal(path)


def test_half_an_lmdb_is_refused(tmp_path):
    items = {str(number).encode(): bytes(2**20) for number in range(3)}
    path = write_items(tmp_path / "coco.lmdb", items)
    whole = (path / "data.mdb").stat().st_size
    os.truncate(path / "data.mdb", whole // 2)
    assert f"{path} has {whole // 2} of its {whole} bytes; copy it again" in refusal(path)


def test_keys_that_are_no_list_are_refused(tmp_path):
    path = write_items(tmp_path / "coco.lmdb", {b"keys": pickle.dumps({"1": 2})})
    assert f"{path}, key b'keys' must hold a list" in refusal(path)


# arrays


def test_a_folder_may_hold_several_groups(tmp_path):
    write_scan(tmp_path, EVEN[:2], "train")
    write_scan(tmp_path, EVEN[2:], "dev", captions=1)
    assert sorted(read(tmp_path)) == [image.image_id for image in EVEN]
    names = {part.name for part in open_regions(tmp_path, boxes="pixel").parts(None)}
    assert names == {f"{tmp_path.name}/train_ims.npy", f"{tmp_path.name}/dev_ims.npy"}


def test_sizes_in_the_other_order_are_refused(tmp_path):
    write_arrays(tmp_path, [image._replace(width=640, height=300) for image in make_images(2, 3)])
    np.save(tmp_path / "boxes.npy", np.tile(np.float32([0, 0, 600, 299]), (2, 3, 1)))
    np.save(tmp_path / "sizes.npy", np.array([[640, 300]] * 2))
    message = refusal(tmp_path)
    assert "image '1' of 300 x 640 has boxes up to [600.0, 299.0]; give height, width" in message


def spoil_arrays(name, content):
    def spoil(folder: Path):
        path = folder / name
        path.unlink()
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.save(path, content, allow_pickle=True)

    return spoil


BROKEN_ARRAYS = {
    "no boxes": (spoil_arrays("boxes.npy", None), "features.npy needs boxes.npy beside it"),
    "no sizes": (spoil_arrays("sizes.npy", None), "needs sizes.npy or img_sizes.npy beside it"),
    "no ids": (spoil_arrays("ids.json", None), "needs ids.txt or ids.json beside it"),
    "no images": (spoil_arrays("features.npy", np.ones((0, 4, 8))), "must be [images, regions, feature size]"),
    "flat features": (spoil_arrays("features.npy", np.ones((5, 8))), "must be [images, regions, feature size]"),
    "fewer boxes": (spoil_arrays("boxes.npy", np.ones((5, 3, 4))), "numbers [5, 4, 4] go with features.npy"),
    "sizes in words": (spoil_arrays("sizes.npy", np.array([["a", "b"]] * 5)), "numbers [5, 2] go with"),
    "a size that is no number": (spoil_arrays("sizes.npy", np.full((5, 2), np.nan)), "of nan x nan"),
    "objects": (spoil_arrays("boxes.npy", np.array([{}, {}])), "boxes.npy is no readable array"),
    "half a file": (spoil_arrays("features.npy", b"\x93NUMPY\x01\x00"), "features.npy is no readable array"),
    "an archive": (spoil_arrays("features.npy", b"PK\x03\x04"), "features.npy is no readable array"),
    "too few ids": (spoil_arrays("ids.json", b'["1", "2"]'), "has 2 ids for 5 images"),
    "ids that do not repeat": (
        spoil_arrays("ids.json", json.dumps([str(number) for number in range(10)]).encode()),
        "has 10 ids for 5 images; give one an image, or one a caption",
    ),
    "ids by name": (spoil_arrays("ids.json", b'{"1": 1}'), "ids.json must be a list"),
    "half a list": (spoil_arrays("ids.json", b'["1",'), "ids.json cannot be read"),
}


@pytest.mark.parametrize(("spoil", "message"), BROKEN_ARRAYS.values(), ids=BROKEN_ARRAYS)
def test_broken_arrays_are_refused(tmp_path, spoil, message):
    spoil(write_arrays(tmp_path, EVEN))
    assert message in refusal(tmp_path)
