"""Box geometry is the original's, number by number."""

import json

import pytest
import torch
from safetensors import safe_open
from tiny import HEIGHT, WIDTH, random_boxes

from mmnas_hf.boxes import (
    box_features,
    centre_size,
    clip,
    decode_deltas,
    encode_deltas,
    overlaps,
    relations,
    signed_relations,
)
from mmnas_hf.modeling_mmnas import POSITIVE_OVERLAP
from mmnas_hf.operations import GEOMETRIES

GOLDEN_TOLERANCE = {"rtol": 0, "atol": 1e-5}
PIXEL_TOLERANCE = {"rtol": 1e-6, "atol": 1e-4}  # of hundreds of pixels in float32

every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)
