"""What every data set is turned into: one table of images with their regions, one table of texts per split."""

from collections.abc import Mapping
from typing import NamedTuple

import datasets
from datasets import Dataset, Features, Sequence, Value

#: One row an image. `features` holds float16 bytes, row-major [regions, feature size]; `boxes` are xyxy pixels.
IMAGE_FEATURES = Features(
    {
        "image_id": Value("string"),
        "width": Value("int32"),
        "height": Value("int32"),
        "boxes": Sequence(Sequence(Value("float32"))),
        "features": Value("binary"),
    }
)


class ImageTextData(NamedTuple):
    """Images and the texts about them; `texts` rows name their image by `image_id`."""

    images: Dataset
    texts: Mapping[str, Dataset]


__all__ = ["IMAGE_FEATURES", "ImageTextData", "datasets"]
