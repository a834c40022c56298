"""Box geometry in pixels, xyxy, with Fast R-CNN's convention that a box is x2 - x1 + 1 wide."""

import torch
from torch import Tensor

# Fast R-CNN's normalisation of (dx, dy, dw, dh).
DELTA_DEVIATIONS = (0.1, 0.1, 0.2, 0.2)
# Smallest centre distance, in widths, before the logarithm (MMnas).
MINIMAL_DISTANCE = 1e-3


def centre_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sizes, both [..., 2], of boxes [..., 4]."""
    sizes = boxes[..., 2:] - boxes[..., :2] + 1
    return boxes[..., :2] + 0.5 * sizes, sizes


def pairwise_offsets(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centre offsets in units of the query's size and log size ratios, both [..., 2, queries, keys]."""
    centres, sizes = (part.mT for part in centre_size(boxes))  # [..., 2, regions]
    offsets = (centres[..., :, None] - centres[..., None, :]) / sizes[..., :, None]
    logs = sizes.log()
    return offsets, logs[..., :, None] - logs[..., None, :]


def relations(boxes: Tensor) -> Tensor:
    """Distance and relative size of every pair, blind to direction: [..., queries, keys, 4]."""
    offsets, ratios = pairwise_offsets(boxes)
    return numbers_last(offsets.abs().clamp(min=MINIMAL_DISTANCE).log(), ratios)


def signed_relations(boxes: Tensor) -> Tensor:
    """`relations` and the signed offset squashed by asinh, so that direction shows: [..., queries, keys, 6]."""
    offsets, ratios = pairwise_offsets(boxes)
    return numbers_last(offsets.abs().clamp(min=MINIMAL_DISTANCE).log(), ratios, offsets.asinh())


def numbers_last(*numbers: Tensor) -> Tensor:
    """Parts [..., numbers, queries, keys] as one [..., queries, keys, numbers], in memory as they were.

    Long rows are quick to work on, and a few numbers each are not.
    """
    return torch.cat(numbers, -3).movedim(-3, -1)


def box_features(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Corners and area as shares of the image, [batch, regions, 5], from boxes and image sizes (height, width)."""
    height, width = image_sizes[:, None, :].to(boxes.dtype).unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    area = (x2 - x1) * (y2 - y1) / (width * height)
    return torch.stack((x1 / width, y1 / height, x2 / width, y2 / height, area), -1)


def overlaps(boxes: Tensor, target: Tensor) -> Tensor:
    """Intersection over union of boxes [batch, regions, 4] with one target a row [batch, 4]."""
    target = target[:, None]
    corners = torch.minimum(boxes[..., 2:], target[..., 2:]) - torch.maximum(boxes[..., :2], target[..., :2]) + 1
    shared = corners.clamp(min=0).prod(-1)
    areas = centre_size(boxes)[1].prod(-1) + centre_size(target)[1].prod(-1)
    return shared / (areas - shared)


def encode_deltas(boxes: Tensor, target: Tensor) -> Tensor:
    """Normalised corrections (dx, dy, dw, dh) that move boxes [..., 4] onto the target."""
    (centres, sizes), (goal, goal_sizes) = centre_size(boxes), centre_size(target)
    deltas = torch.cat(((goal - centres) / sizes, (goal_sizes / sizes).log()), -1)
    return deltas / deltas.new_tensor(DELTA_DEVIATIONS)


def decode_deltas(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Boxes [..., 4] moved by normalised corrections.

    As in Fast R-CNN, the far corner is centre plus half the width, one pixel beyond what `encode_deltas` started from.
    """
    centres, sizes = centre_size(boxes)
    shift, stretch = (deltas * deltas.new_tensor(DELTA_DEVIATIONS)).split(2, -1)
    centres, sizes = centres + shift * sizes, sizes * stretch.exp()
    return torch.cat((centres - 0.5 * sizes, centres + 0.5 * sizes), -1)


def clip(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Boxes [..., 4] cut to images of (height, width) pixels."""
    height, width = image_sizes.to(boxes.dtype).unbind(-1)
    limits = torch.stack((width, height, width, height), -1) - 1
    return torch.minimum(boxes.clamp(min=0), limits)
