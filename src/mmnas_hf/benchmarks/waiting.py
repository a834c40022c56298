"""What share of its time training spends waiting for data."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..configuration_mmnas import MMnasConfig
from ..genotype import Genotype
from ..training import TaskTrainer, TrainArguments, build_model
from .synthetic import synthetic_corpus

IMAGES, STEPS, GENOTYPE = 500, 12, "mmnas-vqa"


class WaitingTrainer(TaskTrainer):
    """A trainer that notes how long each of its batches took to come."""

    waited = 0.0

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        batch = super().get_batch_samples(*args, **kwargs)
        self.waited += time.perf_counter() - start
        return batch


def measure_waiting() -> Sequence[dict[str, Any]]:
    """Training the published network for questions at its published size, without worker processes."""
    with TemporaryDirectory() as folder:
        corpus = synthetic_corpus("vqa", Path(folder, "tables"), IMAGES, 2)
        config = MMnasConfig(**corpus.settings(), genotype=Genotype.load(GENOTYPE))
        args = TrainArguments(folder, max_steps=STEPS, disable_tqdm=True, eval_strategy="no", logging_strategy="no")
        trainer = WaitingTrainer(build_model(corpus, config, 0), args, corpus, corpus.rows("train"))
        start = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - start
    return [
        {
            "measurement": f"training {GENOTYPE}, {STEPS} steps of {args.train_batch_size}",
            "seconds a step": round(seconds / STEPS, 2),
            "waiting for data": f"{trainer.waited / seconds:.1%}",
        }
    ]
