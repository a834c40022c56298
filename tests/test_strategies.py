"""Every strategy on the real supernet, with a planted answer: labels are what one network of it says."""

import torch
import pytest

from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.modeling_mmnas import MMnasForVisualQuestionAnswering
from mmnas_hf.search.strategies import STRATEGIES, build_strategy
from mmnas_hf.search.trainer import has_gradient
from transformers import set_seed

from tiny import random_batch, search_arguments, tiny_config

SPACE = SearchSpace.chain(2, 3)
PLANTED = Genotype.parse("FS|RGF")
STEPS = 250
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


class Toy:
    """A supernet with frozen weights and batches whose labels are the planted network's own answers."""

    def __init__(self):
        set_seed(0)
        self.supernet = MMnasForVisualQuestionAnswering(tiny_config(search_space=SPACE)).eval()
        self.supernet.requires_grad_(False)
        self.batches = [self.labelled(random_batch(self.supernet.config, seed)) for seed in range(8)]

    def labelled(self, batch):
        return {**batch, "labels": self.supernet(**batch, path=PLANTED.as_path()).logits.sigmoid()}

    def loss(self, path, step):
        with torch.set_grad_enabled(has_gradient(path)):
            return self.supernet(**self.batches[step % len(self.batches)], path=path).loss

    def score(self, genotype):
        return -sum(float(self.loss(genotype.as_path(), step)) for step in range(len(self.batches)))

    def search(self, strategy, steps=range(STEPS)):
        for step in steps:
            path = strategy.architecture_path(step)
            if path is not None:
                strategy.update(self.loss(path, step))
        while genotypes := strategy.propose():
            strategy.receive([self.score(genotype) for genotype in genotypes])
        return strategy.genotype()


@pytest.fixture(scope="module")
def toy():
    return Toy()


if __name__ == "__main__":
    import time
    toy = Toy()
    print(torch.tensor([toy.score(SPACE.sample(__import__("random").Random(i))) for i in range(5)]), toy.score(PLANTED))
    for name in STRATEGIES:
        for seed in (0, 1, 2):
            t = time.time()
            args = search_arguments("x", strategy=name, seed=seed, evaluations=256)
            s = build_strategy(SPACE, args, STEPS)
            print(name, seed, toy.search(s), toy.score(s.genotype()), round(time.time() - t, 1))
