"""What the processes of a search agree on: gradients, which are averaged, and a state that is the same in all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, distributed
from torch.utils._pytree import tree_flatten

from ..connections import is_connected
from ..errors import RunError

BUCKET_BYTES = 25 * 2**20  # as in DistributedDataParallel: a network is used well by pieces of this size
DIGEST_BYTES = 7  # so that a digest is a number that fits into 64 bits with their sign


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average over processes the gradients of those parameters that have one; the others' stay absent."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        average(gradients, gradients[0].device)


@torch.no_grad()
def average(tensors: Sequence[Tensor], device: torch.device) -> None:
    """Replace tensors by their means over processes, which have as many of the same shapes.

    `device` is what processes communicate from; the tensors may be elsewhere.
    """
    if not is_connected():
        return
    processes, started = distributed.get_world_size(), []
    for bucket in buckets(tensors):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket]).to(device).div_(processes)
        started.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))
    for bucket, flat, work in started:
        work.wait()
        for tensor, mean in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def mean_over_processes(values: Tensor, device: torch.device) -> Tensor:
    """The mean of what every process has; `device` is what processes communicate from."""
    mean = values.detach().clone()
    average([mean], device)
    return mean


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one type that are sent together."""
    bucket, size = [], 0
    for tensor in tensors:
        if bucket and (size >= BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


def check_agreement(accelerator: Accelerator, step: int, states: Mapping[str, Any]) -> None:
    """Raise `RunError` in all processes unless all of them have the same states, which are named for the message."""
    if accelerator.num_processes == 1:
        return
    own = torch.tensor([[digest(state) for state in states.values()]], device=accelerator.device)
    for name, digests in zip(states, accelerator.gather(own).T.tolist(), strict=True):
        if len(set(digests)) > 1:
            raise RunError(
                f"at step {step} the processes of this search no longer have the same {name}: "
                f"{' against '.join(groups(digests))}; resumed from its last checkpoint, they agree again"
            )


def digest(state: Any) -> int:
    """A number that tells apart any two states, made of tensors and of plain values, of which a bit differs."""
    leaves, structure = tree_flatten(state)
    summary = blake2b(repr(structure).encode(), digest_size=DIGEST_BYTES)
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            summary.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            summary.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        else:
            summary.update(repr(leaf).encode())
    return int.from_bytes(summary.digest())


def groups(digests: Sequence[int]) -> list[str]:
    """Ranks by what they have, as in `rank 0` and `ranks 1, 2`."""
    same = [[rank for rank, other in enumerate(digests) if other == one] for one in dict.fromkeys(digests)]
    return [f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))}" for ranks in same]
