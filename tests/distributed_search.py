"""A tiny search that every process of a launcher runs; each leaves its weights and alphas in the given folder."""

import os
import sys
from pathlib import Path

import torch

from tiny import search_arguments, search_trainer, tiny_corpus


def search_matching(folder: Path) -> dict:
    """A search for matching with hard negatives: what was scored and found before a step, and where it ended."""
    args = search_arguments(
        folder / "run", per_device_train_batch_size=4, max_steps=4, hard_negatives=6, per_device_eval_batch_size=16
    )
    trainer = search_trainer(tiny_corpus("itm"), args)
    scores = trainer.predictions(trainer.eval_dataset)
    trainer.refresh_negatives(0)
    negatives = trainer.train_dataset.state_dict()
    trainer.train()
    return {
        "scores": [torch.from_numpy(matrix) for matrix in scores],
        "negatives": negatives,
        "weights": trainer.model.state_dict(),
        "processes": args.world_size,
    }


def main(folder: Path, gates: str) -> None:
    args = search_arguments(folder / "run", gates=gates, per_device_train_batch_size=4, max_steps=6)
    trainer = search_trainer(tiny_corpus("vqa"), args)
    trainer.train()
    state = {
        "alphas": [alpha.detach() for alpha in trainer.strategy.alphas],
        "weights": trainer.model.state_dict(),
        "processes": args.world_size,
    }
    torch.save(state, folder / f"{gates}-{args.process_index}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[2:]:
        main(Path(sys.argv[1]), chosen)
    rank = int(os.environ["RANK"])
    torch.save(search_matching(Path(sys.argv[1])), Path(sys.argv[1], f"matching-{rank}.pt"))
