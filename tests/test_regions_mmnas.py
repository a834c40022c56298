"""Regions that cannot be used are refused in one line, whatever form they come in."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmnas_hf import Detection, InputError
from mmnas_hf.regions_mmnas import open_picture, read_regions
from pipelines import random_detection
from tiny import HEIGHT, WIDTH


def given(**changes):
    """Two regions of an image 100 pixels high and 200 wide, with something wrong."""
    image = {"features": np.ones((2, 8)), "boxes": [[0, 0, 40, 30], [10, 5, 60, 50]], "image_size": (100, 200)}
    return image | changes


def boxes(*corners):
    return given(boxes=[[0, 0, 40, 30], list(corners)])


WRONG = {
    "other number of boxes": (given(boxes=[[0, 0, 40, 30]]), r"features \[2, 8\] and boxes \[1, 4\] do not fit"),
    "boxes of three numbers": (given(boxes=[[0, 0, 40]] * 2), r"boxes \[2, 3\] do not fit; give \[regions, feature"),
    "boxes of unlike lengths": (given(boxes=[[0, 0, 40, 30], [1, 2]]), "are no arrays of numbers: setting an array"),
    "features of one row": (given(features=np.ones(8)), r"features \[8\] and boxes \[2, 4\] do not fit"),
    "features that are words": (given(features=[["a"], ["b"]]), "are no arrays of numbers: could not convert"),
    "no regions": (given(features=np.ones((0, 8)), boxes=np.ones((0, 4))), "do not fit; .* of at least one region"),
    "features that are learnt": (given(features=torch.ones(2, 8, requires_grad=True)), "Can't call numpy"),
    "bytes of a broken number": (given(features=b"123"), "3 bytes are no features of 2 regions; give float16 numbers"),
    "bytes of no regions": (given(features=b"", boxes=[]), "0 bytes are no features of 0 regions"),
    "features of no width": (given(features=np.ones((2, 0))), r"features \[2, 0\]"),
    "features that are NaN": (given(features=np.full((2, 8), np.nan)), "features or boxes are NaN or infinite"),
    "boxes that are infinite": (boxes(0, 0, np.inf, 5), "features or boxes are NaN or infinite"),
    "reversed boxes": (boxes(40, 5, 10, 50), r"box \[40.0, 5.0, 10.0, 50.0\] has x2 < x1 or y2 < y1; give x1, y1"),
    "shares": (given(boxes=[[0, 0, 0.4, 0.3], [0.1, 0, 1, 1]]), "boxes reach 1 in an image 100 pixels high and 200"),
    "box to the right": (boxes(0, 0, 250, 50), r"box \[0.0, 0.0, 250.0, 50.0\] lies outside an image 100 pixels high"),
    "box below": (boxes(0, 0, 50, 150), r"lies outside .* 200 wide; image_size is \(height, width\)"),
    "box to the left": (boxes(-50, 0, 50, 50), r"box \[-50.0, 0.0, 50.0, 50.0\] lies outside"),
    "size of one number": (given(image_size=[100]), "not enough values"),
    "size that is a word": (given(image_size="wide"), "too many values|no arrays of numbers"),
    "size that is one side": (given(image_size=100), "are no arrays of numbers: 'int' object is not iterable"),
    "half a size": (given(image_size=None, height=100), "features come without boxes or image_size, among features"),
    "nothing": ({}, "no image among nothing; give regions, features or image"),
    "number": ({"regions": 3}, "a int is no image; give a Detection, a mapping, a picture or a path"),
    "missing feature file": ({"image": "missing.npz"}, "missing.npz cannot be read: .*No such file"),
    "array as an image": ({"image": np.ones((5, 5, 3))}, "a ndarray is no image"),
}


@pytest.mark.parametrize("case", WRONG)
def test_regions_that_cannot_be_used_raise_one_line(case):
    wrong, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        read_regions(wrong)
    assert "\n" not in str(caught.value)


def test_a_box_may_leave_the_image_by_a_little():
    assert read_regions(boxes(-5, -2, 205, 104)).boxes[1].tolist() == [-5, -2, 205, 104]


def test_regions_become_single_precision_and_their_size_whole_numbers():
    image = read_regions(given(image_size=np.array([100.0, 200.0])))
    assert image.features.dtype == image.boxes.dtype == np.float32
    assert image.image_size == (100, 200)
    assert all(type(side) is int for side in image.image_size)


def test_a_feature_file_without_its_arrays_raises(tmp_path):
    np.savez(tmp_path / "image.npz", x=np.ones((8, 2)))
    with pytest.raises(InputError, match=r"image.npz cannot be read: .*give x, bbox, image_h, image_w"):
        read_regions(tmp_path / "image.npz")


def test_a_feature_file_with_pickled_objects_is_not_run(tmp_path):
    np.savez(tmp_path / "image.npz", x=np.array([{}], dtype=object), bbox=np.ones((1, 4)), image_h=9, image_w=9)
    with pytest.raises(InputError, match=r"image.npz cannot be read: .*allow_pickle=False"):
        read_regions(tmp_path / "image.npz")


# Pictures


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_pictures_of_any_mode_become_rgb(mode):
    assert open_picture(Image.new(mode, (4, 3))).mode == "RGB"


def test_a_picture_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.jpg", exif=exif)
    assert open_picture(tmp_path / "photo.jpg").size == (30, 40)


def test_a_detector_gets_a_file_as_a_picture(tmp_path):
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "picture.png")
    seen = []
    read_regions(tmp_path / "picture.png", lambda picture: seen.append(picture) or random_detection(2))
    assert [(picture.mode, picture.size) for picture in seen] == [("RGB", (WIDTH, HEIGHT))]


def test_what_a_detector_finds_is_looked_at_too():
    with pytest.raises(InputError, match="do not fit"):
        read_regions(Image.new("RGB", (9, 9)), lambda _: Detection(np.ones((2, 8)), np.ones((1, 4)), (9, 9)))


DAMAGED = {
    "no picture": lambda path, good: path.write_text("hello"),
    "cut off": lambda path, good: path.write_bytes(good[: len(good) // 2]),
    "empty": lambda path, good: path.write_bytes(b""),
    "missing": lambda path, good: None,
    "a folder": lambda path, good: path.mkdir(),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_picture_that_cannot_be_read_raises_one_line(damage, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    DAMAGED[damage](tmp_path / "picture.png", (tmp_path / "good.png").read_bytes())
    with pytest.raises(InputError, match=r"picture.png cannot be read: .") as caught:
        read_regions(tmp_path / "picture.png", random_detection)
    assert "\n" not in str(caught.value)


def test_a_picture_that_another_program_would_run_is_refused(tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.eps")
    with pytest.raises(InputError, match=r"a.eps cannot be read: cannot identify image file"):
        open_picture(tmp_path / "a.eps")


def test_a_picture_as_large_as_an_attack_is_not_unpacked(tmp_path, monkeypatch):
    Image.new("1", (200, 200)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=r"bomb.png cannot be read: Image size \(40000 pixels\) exceeds limit"):
        open_picture(tmp_path / "bomb.png")
