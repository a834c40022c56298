"""Batches of architecture steps, whose position is a part of a checkpoint."""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import skip_first_batches
from torch import Tensor
from torch.utils.data import DataLoader


class BatchStream:
    """Endless batches of a shuffled loader, whose position can be saved and found again.

    The order is a function of the epoch alone, and drawing it leaves the global random state untouched.
    """

    def __init__(self, make_loader: Callable[[], DataLoader]):
        self.make_loader = make_loader
        self.epoch, self.seen = 0, 0
        self.loader: DataLoader | None = None
        self.batches = None

    def next(self) -> dict[str, Tensor]:
        if self.batches is None:
            self.batches = self.start_epoch()
        try:
            batch = next(self.batches)
        except StopIteration:
            self.epoch, self.seen, self.batches = self.epoch + 1, 0, None
            return self.next()
        self.seen += 1
        return batch

    def start_epoch(self) -> Any:
        self.loader = self.loader or self.make_loader()
        self.loader.set_epoch(self.epoch)
        loader = skip_first_batches(self.loader, self.seen) if self.seen else self.loader
        # A loader draws a seed for its workers when it starts; from a generator of its own it disturbs nobody.
        loader.base_dataloader.generator = torch.Generator().manual_seed(self.epoch)
        return iter(loader)

    def rewind(self) -> None:
        """Forget what was read ahead, so that the next batch is made of the rows as they are now."""
        self.batches = None

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.seen = state["epoch"], state["seen"]
        self.rewind()
