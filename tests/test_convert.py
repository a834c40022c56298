"""Sources become shards that hold what they held; whatever happens on the way, a shard is whole or not there."""

import errno
import os
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, concatenate_datasets

from mmnas_hf.data import RegionStore
from mmnas_hf.data.regions import RegionSource, Report, convert, open_regions, shards, source, tsv
from mmnas_hf.errors import InputError
from region_files import (
    SIZE,
    MadeSource,
    make_image,
    make_images,
    tsv_line,
    write_arrays,
    write_lmdb,
    write_npz,
    write_ranges,
    write_tsv,
)

IMAGES = make_images(5)


def files(folder, pattern="*"):
    return sorted((folder / "images").glob(pattern))


def states(folder):
    """What tells whether a shard was written again."""
    return {path.name: path.stat().st_mtime_ns for path in files(folder)}


def table(folder):
    return concatenate_datasets([Dataset.from_file(str(path)) for path in files(folder)])


def refusal(sources, folder, **options):
    """What the error says that a conversion raises."""
    with pytest.raises(InputError) as error:
        convert(sources, folder, **options)
    assert "\n" not in str(error.value)
    assert not files(folder, "*.tmp")
    return str(error.value)


def changed(**changes):
    """A source whose fourth image is changed."""
    return MadeSource([*IMAGES[:3], IMAGES[3]._replace(**changes), IMAGES[4]])


def with_value(array, value):
    array = array.copy()
    array[1, 1] = value
    return array


# What shards hold


def test_every_image_is_as_it_was(tmp_path):
    convert(MadeSource(IMAGES), tmp_path)
    store = RegionStore(table(tmp_path))
    for image in IMAGES:
        regions = store[[image.image_id]]
        np.testing.assert_array_equal(regions.boxes[0], image.boxes)
        np.testing.assert_array_equal(regions.features[0], image.features.astype(np.float16))
        assert regions.image_sizes.tolist() == [[image.height, image.width]]


def test_a_real_image_is_as_it_was(tmp_path, real_data):
    (path,) = (real_data / "bottom_up_features").rglob("*.npz")
    assert convert(open_regions(path.parent), tmp_path)[-2:] == ((36, 36.0, 36), 2048)
    regions = RegionStore(table(tmp_path))[["458752"]]
    with np.load(path) as arrays:
        np.testing.assert_array_equal(regions.boxes[0], arrays["bbox"])
        np.testing.assert_array_equal(regions.features[0], arrays["x"].T.astype(np.float16))


def test_a_shard_is_a_part_and_rows_tell_their_source(tmp_path):
    path = write_tsv(tmp_path / "trainval_36.tsv", IMAGES)
    convert(open_regions(path), tmp_path)
    assert [file.name for file in files(tmp_path)] == ["trainval_36.tsv-00000.arrow"]
    assert set(table(tmp_path)["source"]) == {"trainval_36.tsv"}
    assert len(set(table(tmp_path)["fingerprint"])) == 1


def test_folders_below_a_folder_have_shards_of_their_own(tmp_path):
    write_npz(tmp_path / "features" / "train2014", IMAGES[:2])
    write_npz(tmp_path / "features" / "val2014", IMAGES[2:])
    convert(open_regions(tmp_path / "features"), tmp_path)
    names = ["features-train2014-00000.arrow", "features-val2014-00000.arrow"]
    assert [file.name for file in files(tmp_path)] == names


def test_sources_of_the_same_name_do_not_overwrite_each_other(tmp_path):
    convert([MadeSource(IMAGES[:3]), MadeSource(IMAGES[3:])], tmp_path)
    assert len(files(tmp_path)) == 3
    assert sorted(table(tmp_path)["image_id"]) == ["1", "2", "3", "4", "5"]


def test_shards_are_memory_mapped(tmp_path):
    convert(MadeSource(IMAGES), tmp_path)
    before = pa.total_allocated_bytes()
    rows = table(tmp_path)
    assert pa.total_allocated_bytes() <= before  # less if something else was collected meanwhile
    assert [file["filename"] for file in rows.cache_files] == [str(path) for path in files(tmp_path)]


def test_rows_are_written_in_small_batches(tmp_path):
    convert(MadeSource(make_images(70), images_a_part=70), tmp_path)
    with pa.memory_map(str(files(tmp_path)[0])) as file, pa.ipc.open_stream(file) as stream:
        assert [len(batch) for batch in stream] == [32, 32, 6]


def test_normalised_boxes_become_pixels(tmp_path):
    flat = make_images(3, regions=4)
    shares = [image._replace(boxes=image.boxes / np.tile([image.width, image.height], 2)) for image in flat]
    convert(open_regions(write_arrays(tmp_path / "arrays", shares), boxes="normalised"), tmp_path)
    for image, boxes in zip(flat, table(tmp_path)["boxes"], strict=True):
        np.testing.assert_allclose(boxes, image.boxes, rtol=1e-6)


def test_the_report_counts_images_and_regions(tmp_path):
    report = convert(MadeSource(IMAGES), tmp_path)
    assert report == Report(images=5, converted=5, reused=0, regions=(3, 4.2, 5), feature_size=SIZE)


def test_only_wanted_images_are_converted(tmp_path):
    report = convert(MadeSource(IMAGES), tmp_path, frozenset({"2", "4"}))
    assert report.images == 2
    assert table(tmp_path)["image_id"] == ["2", "4"]


def test_a_part_without_images_is_a_shard_without_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tsv, "PART_BYTES", 100)
    lines = open_regions(write_tsv(tmp_path / "train.tsv", IMAGES))
    convert(lines, tmp_path)
    assert len(files(tmp_path)) > len(IMAGES)
    assert table(tmp_path)["image_id"] == ["1", "2", "3", "4", "5"]
    before = states(tmp_path)
    assert convert(lines, tmp_path).reused == 5
    assert states(tmp_path) == before


# Going on


def test_a_second_run_writes_nothing(tmp_path):
    convert(MadeSource(IMAGES), tmp_path)
    before = states(tmp_path)
    report = convert(MadeSource(IMAGES), tmp_path)
    assert (report.converted, report.reused, report.regions) == (0, 5, (3, 4.2, 5))
    assert states(tmp_path) == before


def test_a_changed_part_is_converted_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "IMAGES_A_PART", 2)
    folder = write_npz(tmp_path / "train2014", IMAGES)
    convert(open_regions(folder), tmp_path)
    before = states(tmp_path)
    write_npz(folder, [IMAGES[3]._replace(features=IMAGES[3].features + 1)])
    report = convert(open_regions(folder), tmp_path)
    assert (report.converted, report.reused) == (2, 3)
    after = states(tmp_path)
    assert [name for name in after if after[name] != before[name]] == ["train2014-00001.arrow"]
    expected = (IMAGES[3].features + 1).astype(np.float16)
    np.testing.assert_array_equal(RegionStore(table(tmp_path))[["4"]].features[0], expected)


def test_other_boxes_convert_everything_anew(tmp_path):
    folder = write_arrays(tmp_path / "arrays", make_images(2, regions=4))
    convert(open_regions(folder, boxes="pixel"), tmp_path)
    assert "--boxes pixel" in refusal(open_regions(folder, boxes="normalised"), tmp_path)
    assert convert(open_regions(folder, boxes="pixel"), tmp_path).converted == 2


def test_shards_that_no_part_stands_for_are_removed(tmp_path):
    convert([MadeSource(IMAGES, name="first"), MadeSource(make_images(3, start=9), name="second")], tmp_path)
    (tmp_path / "images" / "killed.tmp").touch()
    report = convert(MadeSource(IMAGES, name="first"), tmp_path)
    assert (report.images, report.converted) == (5, 0)
    assert [path.name for path in files(tmp_path)] == [f"first-0000{number}.arrow" for number in range(3)]


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_a_damaged_shard_is_converted_anew(tmp_path, content):
    convert(MadeSource(IMAGES), tmp_path)
    path = files(tmp_path)[1]
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    report = convert(MadeSource(IMAGES), tmp_path)
    assert (report.converted, report.reused) == (2, 3)
    assert sorted(table(tmp_path)["image_id"]) == ["1", "2", "3", "4", "5"]


class Stopped(MadeSource):
    """A source at whose third part something happens."""

    def __init__(self, error: BaseException):
        super().__init__(IMAGES)
        self.error = error

    def read(self, part):
        yield from part.content[:1]
        if part.content[0].image_id == "5":
            raise self.error
        yield from part.content[1:]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug"), InputError("wrong input")])
def test_what_stops_a_run_leaves_finished_shards_and_no_draft(tmp_path, error):
    with pytest.raises(type(error)):
        convert(Stopped(error), tmp_path)
    assert [path.name for path in files(tmp_path)] == ["made-00000.arrow", "made-00001.arrow"]
    assert table(tmp_path)["image_id"] == ["1", "2", "3", "4"]
    report = convert(MadeSource(IMAGES), tmp_path)
    assert (report.converted, report.reused) == (1, 4)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    message = refusal(Stopped(OSError(errno.EIO, "Input/output error")), tmp_path)
    assert message == "made cannot be read: [Errno 5] Input/output error"


class FullDisk:
    """A stream that finds no room for its second batch."""

    def __init__(self, file, schema):
        self.stream, self.left = pa.ipc.RecordBatchStreamWriter(file, schema), 1

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stream.close()

    def write_batch(self, batch):
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        self.stream.write_batch(batch)


def test_a_full_disk_leaves_finished_shards_and_says_how_to_go_on(tmp_path, monkeypatch):
    images = make_images(60)
    first = MadeSource(images[:20], images_a_part=20, name="first")
    second = MadeSource(images[20:], images_a_part=40, name="second")
    with monkeypatch.context() as patch:
        patch.setattr(shards.pa.ipc, "new_stream", FullDisk)
        message = refusal([first, second], tmp_path)
    path = tmp_path / "images" / "second-00000.arrow"
    assert message == (
        f"{path} cannot be written: [Errno 28] No space left on device; finished shards are kept, so make room and run "
        "the same again to continue"
    )
    assert [file.name for file in files(tmp_path)] == ["first-00000.arrow"]
    assert convert([first, second], tmp_path)[:3] == (60, 40, 20)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_disk_that_is_really_full_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(shards.Path, "with_suffix", lambda path, suffix: path.parent / "full")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "full").symlink_to("/dev/full")
    assert "No space left on device" in refusal(MadeSource(IMAGES), tmp_path)
    assert not files(tmp_path)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "images").touch()
    assert f"{tmp_path / 'images'} cannot be written" in refusal(MadeSource(IMAGES), tmp_path)


# Several processes


def test_two_processes_convert_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "IMAGES_A_PART", 2)
    monkeypatch.setattr(tsv, "PART_BYTES", 300)
    images = list(chain.from_iterable(make_images(5, start=10 * number) for number in range(4)))
    sources = [
        open_regions(write_npz(tmp_path / "train2014", images[:5])),
        open_regions(write_tsv(tmp_path / "train.tsv", images[5:10])),
        open_regions(write_ranges(tmp_path / "train.h5", images[10:15]), boxes="pixel"),
        open_regions(write_lmdb(tmp_path / "train.lmdb", images[15:]), boxes="pixel"),
    ]
    one, two = convert(sources, tmp_path / "one"), convert(sources, tmp_path / "two", num_proc=2)
    assert one == two
    assert table(tmp_path / "one").to_list() == table(tmp_path / "two").to_list()


def test_an_error_in_another_process_is_one_line_too(tmp_path, monkeypatch):
    path = write_tsv(tmp_path / "train.tsv", IMAGES)
    path.write_text(path.read_text() + tsv_line(make_image(6, 3))[:-40])
    monkeypatch.setattr(tsv, "PART_BYTES", 1000)
    assert f"{path}, line 6 is no image" in refusal(open_regions(path), tmp_path, num_proc=2)
    assert "1" in table(tmp_path)["image_id"]


class Killed(MadeSource):
    """A source that kills the process that reads it."""

    def read(self, part):
        yield part.content[0]
        os._exit(9)


def test_a_process_that_is_killed_is_one_line_and_leaves_no_draft(tmp_path):
    assert "a process was killed" in refusal(Killed(IMAGES), tmp_path, num_proc=2)


@pytest.mark.parametrize("num_proc", [0, -1])
def test_no_process_is_refused(tmp_path, num_proc):
    assert f"num_proc {num_proc} does nothing" in refusal(MadeSource(IMAGES), tmp_path, num_proc=num_proc)


# Images that cannot be used

BROKEN = {
    "a feature that is no number": (
        {"features": with_value(IMAGES[3].features, np.nan)},
        "has features or boxes that are NaN",
    ),
    "an infinite feature": ({"features": with_value(IMAGES[3].features, np.inf)}, "infinite"),
    "a feature beyond half precision": ({"features": with_value(IMAGES[3].features, 7e4)}, "beyond half precision"),
    "a box that is no number": ({"boxes": with_value(IMAGES[3].boxes, np.nan)}, "has features or boxes that are NaN"),
    "a box from right to left": ({"boxes": IMAGES[3].boxes[:, [2, 1, 0, 3]]}, "with x2 < x1 or y2 < y1"),
    "a box from bottom to top": ({"boxes": IMAGES[3].boxes[:, [0, 3, 2, 1]]}, "with x2 < x1 or y2 < y1"),
    "no width": ({"width": 0}, "is 0 pixels wide"),
    "a width that is too large": ({"width": 2**31}, "is 2147483648 pixels wide"),
    "a negative height": ({"height": -5}, "-5 high"),
    "no regions": (
        {"boxes": np.zeros((0, 4)), "features": np.zeros((0, SIZE))},
        "has boxes float64 [0, 4] and features float64 [0, 8]; give numbers [regions, 4] and [regions, feature size]",
    ),
    "fewer features than boxes": ({"features": IMAGES[3].features[1:]}, "and features float32 [3, 8]"),
    "boxes of five": ({"boxes": np.ones((4, 5))}, "has boxes float64 [4, 5]"),
    "flat boxes": ({"boxes": np.ones(16)}, "has boxes float64 [16]"),
    "words": ({"boxes": np.full((4, 4), "left")}, "has boxes <U4 [4, 4]"),
    "other features": ({"features": np.ones((4, 3))}, "has features of width 3, not 8"),
    "shares as pixels": ({"boxes": IMAGES[3].boxes / 1000}, "they are not pixels: --boxes normalised"),
}


@pytest.mark.parametrize(("changes", "message"), BROKEN.values(), ids=BROKEN)
def test_an_image_that_cannot_be_used_is_refused_by_name(tmp_path, changes, message):
    source = changed(**changes)
    source.images_a_part = 5
    said = refusal(source, tmp_path)
    assert said.startswith("made: image '4' ")
    assert message in said
    assert not files(tmp_path)


def test_pixels_as_shares_are_refused(tmp_path):
    source = MadeSource(IMAGES)
    source.boxes = "normalised"
    assert "image '1' of" in (message := refusal(source, tmp_path))
    assert "they are not normalised: --boxes pixel" in message


def test_boxes_at_the_edge_may_be_a_little_over_one(tmp_path):
    source = MadeSource([make_image(1, 3)._replace(boxes=np.array([[0, 0, 1, 1.005]] * 3))])
    source.boxes = "normalised"
    assert convert(source, tmp_path).images == 1


def test_other_features_in_another_source_are_refused(tmp_path):
    narrow = [image._replace(features=image.features[:, :3]) for image in make_images(2, start=9)]
    message = refusal([MadeSource(IMAGES, name="wide"), MadeSource(narrow, name="narrow")], tmp_path)
    assert "wide has features of width 8, narrow of 3" in message


@pytest.mark.parametrize("again", [False, True])
def test_an_image_in_two_sources_is_refused_with_both(tmp_path, again):
    sources = [MadeSource(IMAGES, name="first"), MadeSource(IMAGES[4:], name="second")]
    if again:
        refusal(sources, tmp_path)
    assert "image '5' occurs twice, in first and in second" in refusal(sources, tmp_path)


def test_an_image_twice_in_one_part_is_refused(tmp_path):
    message = refusal(MadeSource([IMAGES[0], IMAGES[0]]), tmp_path)
    assert "image '1' occurs twice, in made and in made" in message


# Images that are not there


def test_wanted_images_that_are_nowhere_are_told_after_all_others_are_converted(tmp_path):
    path = write_tsv(tmp_path / "train.tsv", IMAGES)
    wanted = frozenset({"1", "5", *map(str, range(101, 108))})
    message = refusal(open_regions(path), tmp_path, wanted=wanted)
    assert message == f"7 of 9 wanted images are not in {path}: 101, 102, 103, 104, 105, ..."
    assert table(tmp_path)["image_id"] == ["1", "5"]


def test_a_source_without_images_is_refused(tmp_path):
    assert refusal(MadeSource([]), tmp_path) == "no images in MadeSource"


def test_a_source_that_is_gone_is_refused(tmp_path):
    path = write_tsv(tmp_path / "train.tsv", IMAGES)
    lines = open_regions(path)
    path.unlink()
    assert f"{path} cannot be read: " in refusal(lines, tmp_path)


def test_a_source_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        RegionSource()
