"""One image's regions, in whatever form a pipeline is given them."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from .errors import InputError, first_line

FEATURE_FILE = ".npz"
#: Of pictures in files. Pillow knows more, but hands some of them, such as EPS, to other programs that run them.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
CORNERS = 4  # numbers of a box
OUTSIDE = 0.05  # of its width or height; some detectors' boxes leave the image by a little
#: What opening a picture raises that is damaged, missing, no picture, or so large that it may be an attack.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Detection(NamedTuple):
    """Regions of one image: features [regions, size], boxes [regions, 4] in pixels (xyxy), and its (height, width)."""

    features: np.ndarray
    boxes: np.ndarray
    image_size: tuple[int, int]


Detector = Callable[[Image.Image], Detection]
GivenImage = Detection | Mapping[str, Any] | Image.Image | Path | str

#: What an input of a pipeline may say of its image.
IMAGE_KEYS = ("regions", "features", "boxes", "image_size", "height", "width", "image")


def read_regions(given: GivenImage, detector: Detector | None = None) -> Detection:
    """The regions of an image that is given as a detection, as a feature file, or as a picture for the detector.

    A mapping has one of these as `regions` or `image`, or has `features`, `boxes` and `image_size` (height, width);
    rows of an image table will do. Raises `InputError` for regions that cannot be used.
    """
    if isinstance(given, Detection):
        return check_detection(given)
    if isinstance(given, Mapping):
        return read_regions(find_image(given), detector)
    if isinstance(given, str | Path) and Path(given).suffix == FEATURE_FILE:
        return check_detection(read_feature_file(Path(given)))
    if not isinstance(given, str | Path | Image.Image):
        raise InputError(f"a {type(given).__name__} is no image; give a Detection, a mapping, a picture or a path")
    if detector is None:
        raise InputError("a picture needs regions: give detector=ScenesDetector() or TransformersDetector(...)")
    return check_detection(detector(open_picture(given)))


def find_image(given: Mapping[str, Any]) -> GivenImage:
    """What a mapping says of its image; regions come before a picture, since they need no detector."""
    if given.get("regions") is not None:
        return given["regions"]
    if given.get("features") is not None:
        return gather_arrays(given)
    if given.get("image") is not None:
        return given["image"]
    raise InputError(f"no image among {', '.join(given) or 'nothing'}; give regions, features or image")


def gather_arrays(given: Mapping[str, Any]) -> Detection:
    """Features, boxes and size under their own names; features may be bytes, as in an image table."""
    size, sides = given.get("image_size"), (given.get("height"), given.get("width"))
    size = sides if size is None and None not in sides else size
    if given.get("boxes") is None or size is None:
        raise InputError(f"features come without boxes or image_size, among {', '.join(given)}; give all three")
    features = given["features"]
    if isinstance(features, bytes):
        features = unpack(features, len(given["boxes"]))
    return Detection(features, given["boxes"], size)


def unpack(features: bytes, regions: int) -> np.ndarray:
    """Features [regions, size] from the bytes of their float16 numbers."""
    if not regions or len(features) % (regions * np.float16().nbytes):
        raise InputError(f"{len(features)} bytes are no features of {regions} regions; give float16 numbers")
    return np.frombuffer(features, dtype=np.float16).reshape(regions, -1)


def read_feature_file(path: Path) -> Detection:
    """Regions from a file of the original MMnas: `x`, `bbox`, `image_h`, `image_w`."""
    try:
        from mmnas_hf.data.regions.npz import read_image  # noqa: PLC0415 - this file also works without the package
    except ImportError:
        raise InputError(f"reading {path} needs the package mmnas-hf; install it, or give arrays") from None
    image = read_image(path, path.stem)
    return Detection(image.features, image.boxes, (image.height, image.width))


def open_picture(source: Image.Image | Path | str) -> Image.Image:
    """A picture in RGB and upright; a file must be one of `FORMATS`, and Pillow's limit on its size stays on."""
    name = "the picture" if isinstance(source, Image.Image) else source
    try:
        with nullcontext(source) if isinstance(source, Image.Image) else Image.open(source, formats=FORMATS) as picture:
            return ImageOps.exif_transpose(picture).convert("RGB")
    except UNREADABLE as error:
        raise InputError(f"{name} cannot be read: {first_line(error)}") from None


def check_detection(given: Detection) -> Detection:
    """The same as float32 arrays; raises `InputError` where they do not fit each other."""
    try:
        features, boxes = (np.asarray(part, dtype=np.float32) for part in given[:2])
        height, width = map(int, given.image_size)
    except (TypeError, ValueError, RuntimeError) as error:  # the last is raised by tensors that need gradients
        raise InputError(f"features, boxes or image_size are no arrays of numbers: {first_line(error)}") from None
    if boxes.shape[1:] != (CORNERS,) or features.shape[:-1] != boxes.shape[:1] or not features.size:
        shapes = f"features {list(features.shape)} and boxes {list(boxes.shape)}"
        raise InputError(
            f"{shapes} do not fit; give [regions, feature size] and [regions, {CORNERS}] of at least one region"
        )
    if not np.isfinite(features).all() or not np.isfinite(boxes).all():
        raise InputError("features or boxes are NaN or infinite")
    check_boxes(boxes, height, width)
    return Detection(features, boxes, (height, width))


def check_boxes(boxes: np.ndarray, height: int, width: int) -> None:
    size = f"an image {height} pixels high and {width} wide"
    if reversed_boxes := boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)].tolist():
        raise InputError(f"box {reversed_boxes[0]} has x2 < x1 or y2 < y1; give x1, y1, x2, y2")
    if boxes.max() <= 1 < max(height, width):
        raise InputError(f"boxes reach {boxes.max():g} in {size}; give them in pixels")
    sides = np.array([width, height])
    outside = (boxes[:, :2] < -OUTSIDE * sides) | (boxes[:, 2:] > (1 + OUTSIDE) * sides)
    if far := boxes[outside.any(1)].tolist():
        raise InputError(f"box {far[0]} lies outside {size}; image_size is (height, width)")
