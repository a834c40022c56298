"""A tiny search that every process of a launcher runs; each leaves its weights and alphas in the given folder."""

import sys
from pathlib import Path

import torch

from tiny import search_arguments, search_trainer, tiny_corpus


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
