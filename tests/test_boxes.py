"""Box geometry is the original's, number by number."""

import json

import pytest
import torch
from safetensors import safe_open

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
from tiny import HEIGHT, WIDTH, random_boxes

GOLDEN_TOLERANCE = {"rtol": 0, "atol": 1e-5}
PIXEL_TOLERANCE = {"rtol": 1e-6, "atol": 1e-4}  # of hundreds of pixels in float32

every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES)


# The original's numbers


@pytest.fixture(scope="module")
def recorded(golden):
    """The recorded images: regions' boxes and a target each, and what the original makes of them."""
    return json.loads((golden / "grounding_targets.json").read_text())


def boxes_of(case):
    """Boxes [1, regions, 4] and target [1, 4] in the precision that networks use."""
    return torch.tensor([case["region_boxes"]]), torch.tensor([case["target_box_xyxy"]])


def test_overlaps_are_the_originals(recorded):
    for case in recorded:
        torch.testing.assert_close(overlaps(*boxes_of(case)), torch.tensor([case["iou"]]), **GOLDEN_TOLERANCE)


def test_positive_regions_are_the_originals(recorded):
    for case in recorded:
        assert (overlaps(*boxes_of(case))[0] >= POSITIVE_OVERLAP).tolist() == case["positive"]


def test_ranking_targets_are_the_originals(recorded):
    for case in recorded:
        shared = overlaps(*boxes_of(case))
        relevance = shared * (shared >= POSITIVE_OVERLAP)
        target = relevance / relevance.sum() if case["has_positive"] else relevance
        torch.testing.assert_close(target, torch.tensor([case["ranking_target"]]), **GOLDEN_TOLERANCE)


def test_box_targets_of_positive_regions_are_the_originals(recorded):
    positives = 0
    for case in recorded:
        boxes, target = boxes_of(case)
        positive = torch.tensor(case["positive"])
        expected = torch.tensor(case["box_target_normalised"])[positive]
        torch.testing.assert_close(encode_deltas(boxes[0], target)[positive], expected, **GOLDEN_TOLERANCE)
        positives += len(expected)
    assert positives > 5


def test_decoded_boxes_are_the_originals(recorded):
    for case in recorded:
        boxes, deltas = torch.tensor(case["region_boxes"]), torch.tensor(case["box_target_normalised"])
        torch.testing.assert_close(decode_deltas(boxes, deltas), torch.tensor(case["decoded"]), **PIXEL_TOLERANCE)


def test_clipped_boxes_are_the_originals(recorded):
    for case in recorded:
        clipped = clip(torch.tensor(case["decoded"]), torch.tensor(case["image_height_width"]))
        torch.testing.assert_close(clipped, torch.tensor(case["clipped"]), **GOLDEN_TOLERANCE)


@pytest.mark.parametrize("task", ["vqa", "vgd", "itm"])
def test_relations_of_valid_regions_are_the_originals(golden, task):
    with safe_open(golden / f"{task}.safetensors", "pt") as file:
        boxes, expected, counts = (
            file.get_tensor(f"inputs.{name}") for name in ("region_boxes", "region_relations", "num_regions")
        )
    for row, count in enumerate(counts.tolist()):
        described = relations(boxes[row, :count])
        torch.testing.assert_close(described, expected[row, :count, :count], **GOLDEN_TOLERANCE)


# Deltas


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    return random_boxes(generator, 50), random_boxes(generator, 50)


def test_decoding_an_encoded_target_gives_it_back_with_fast_rcnns_pixel(pairs):
    boxes, targets = pairs
    # Fast R-CNN's decoding does not take off the pixel that its widths have more than x2 - x1.
    expected = targets + torch.tensor([0.0, 0, 1, 1])
    torch.testing.assert_close(decode_deltas(boxes, encode_deltas(boxes, targets)), expected, rtol=0, atol=1e-3)


def test_a_box_on_its_target_needs_no_correction(pairs):
    boxes, _ = pairs
    assert torch.equal(encode_deltas(boxes, boxes), torch.zeros(50, 4))


def test_corrections_are_in_fast_rcnns_units():
    box, target = torch.tensor([[0.0, 0, 9, 19]]), torch.tensor([[10.0, 0, 19, 39]])
    # One width to the right, half a height down, and twice as high.
    expected = torch.tensor([[1 / 0.1, 0.5 / 0.1, 0.0, torch.tensor(2.0).log() / 0.2]])
    torch.testing.assert_close(encode_deltas(box, target), expected)


# Overlap and clipping


def test_overlap_counts_pixels():
    boxes = torch.tensor([[[0.0, 0, 9, 9], [5, 0, 14, 9], [10, 0, 19, 9], [0, 0, 0, 0]]])
    expected = torch.tensor([[1.0, 50 / 150, 0.0, 1 / 100]])
    torch.testing.assert_close(overlaps(boxes, torch.tensor([[0.0, 0, 9, 9]])), expected)


def test_clipped_boxes_end_at_the_images_last_pixel():
    box = torch.tensor([[-5.0, -5, 300, 300]])
    assert clip(box, torch.tensor([[HEIGHT, WIDTH]])).tolist() == [[0, 0, WIDTH - 1, HEIGHT - 1]]


def test_a_box_beyond_the_image_is_clipped_to_its_edge():
    box = torch.tensor([[300.0, 300, 400, 400]])
    assert clip(box, torch.tensor([[HEIGHT, WIDTH]])).tolist() == [[WIDTH - 1, HEIGHT - 1] * 2]


def test_a_box_is_one_pixel_wider_than_its_corners_are_apart():
    centre, size = centre_size(torch.tensor([10.0, 20, 10, 29]))
    assert (centre.tolist(), size.tolist()) == ([10.5, 25.0], [1.0, 10.0])


def test_box_features_are_shares_of_the_image():
    boxes = torch.tensor([[[0.0, 0, WIDTH, HEIGHT], [WIDTH / 4, HEIGHT / 2, WIDTH / 2, HEIGHT]]])
    expected = torch.tensor([[[0.0, 0, 1, 1, 1], [0.25, 0.5, 0.5, 1, 0.125]]])
    torch.testing.assert_close(box_features(boxes, torch.tensor([[HEIGHT, WIDTH]])), expected)


# Relations


@every_geometry
def test_every_geometry_has_the_size_that_it_says(geometry, pairs):
    size, compute = GEOMETRIES[geometry]
    assert compute(pairs[0][None, :7]).shape == (1, 7, 7, size)


@every_geometry
def test_every_geometry_is_finite_even_for_equal_and_one_pixel_boxes(geometry):
    boxes = torch.tensor([[[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 199, 99]]])
    assert GEOMETRIES[geometry].compute(boxes).isfinite().all()


@every_geometry
def test_no_geometry_depends_on_where_the_picture_starts(geometry, pairs):
    compute = GEOMETRIES[geometry].compute
    torch.testing.assert_close(compute(pairs[0] + 64), compute(pairs[0]), rtol=0, atol=1e-4)


def mirrored(boxes):
    return torch.stack((WIDTH - 1 - boxes[:, 2], boxes[:, 1], WIDTH - 1 - boxes[:, 0], boxes[:, 3]), -1)


def test_relations_are_blind_to_direction(pairs):
    torch.testing.assert_close(relations(mirrored(pairs[0])), relations(pairs[0]))


def test_signed_relations_see_direction(pairs):
    boxes = pairs[0]
    signs = signed_relations(boxes)[..., 4].sign()
    assert torch.equal(signed_relations(mirrored(boxes))[..., 4].sign(), -signs)
    assert signs.abs().sum() > 0


def test_signed_relations_begin_with_the_blind_ones(pairs):
    assert torch.equal(signed_relations(pairs[0])[..., :4], relations(pairs[0]))


def test_relations_follow_their_formula():
    query, key = torch.tensor([0.0, 0, 9, 19]), torch.tensor([20.0, 0, 39, 19])  # centres (5, 10) and (30, 10)
    expected = torch.tensor([25 / 10, 1e-3, 10 / 20, 1.0]).log()
    torch.testing.assert_close(relations(torch.stack((query, key)))[0, 1], expected)
