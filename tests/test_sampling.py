"""Batches grouped by their number of regions hold every row once, pad little, and come in an order that seeds own."""

import itertools
import random

import pytest
from torch.utils.data import BatchSampler

from mmnas_hf.errors import InputError
from mmnas_hf.sampling import GroupedByRegions, some_batches
from tiny import search_arguments, search_trainer, tiny_corpus

ROWS, BATCH = 1000, 8
REGIONS = [random.Random(row).randint(10, 100) for row in range(ROWS)]


def batches(sampler):
    return list(BatchSampler(sampler, BATCH, drop_last=False))


def padded(batches):
    """Regions of whole batches, with those that are padding."""
    return sum(len(batch) * max(REGIONS[row] for row in batch) for batch in batches)


def test_every_row_comes_once_and_little_is_padded():
    grouped = batches(GroupedByRegions(REGIONS, BATCH, seed=0))
    assert sorted(row for batch in grouped for row in batch) == list(range(ROWS))
    assert padded(grouped) < 1.1 * sum(REGIONS)
    assert padded(batches(range(ROWS))) > 1.5 * sum(REGIONS)


def test_batches_come_in_no_order_of_size():
    sizes = [max(REGIONS[row] for row in batch) for batch in batches(GroupedByRegions(REGIONS, BATCH, seed=0))]
    rising = sum(later > earlier for earlier, later in itertools.pairwise(sizes))
    assert 0.3 < rising / len(sizes) < 0.7


def test_a_short_batch_comes_last():
    (*whole, short) = batches(GroupedByRegions(REGIONS[:101], BATCH, seed=0))
    assert {len(batch) for batch in whole} == {BATCH}
    assert len(short) == 5
    assert padded(whole) < 1.3 * sum(REGIONS[row] for batch in whole for row in batch)


def test_the_order_is_of_seed_and_epoch_alone():
    sampler = GroupedByRegions(REGIONS, BATCH, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(GroupedByRegions(REGIONS, BATCH, seed=4)) != first


def test_some_batches_are_as_those_of_training():
    grouped, random_ones = (some_batches(ROWS, BATCH, regions, 20) for regions in (REGIONS, None))
    for drawn in (grouped, random_ones):
        assert [len(set(batch)) for batch in drawn] == [BATCH] * 20
    assert padded(grouped) < 1.1 * sum(REGIONS[row] for batch in grouped for row in batch)
    assert padded(random_ones) > 1.5 * sum(REGIONS[row] for batch in random_ones for row in batch)


def test_some_batches_of_few_rows_are_one():
    assert sorted(*some_batches(5, BATCH, REGIONS[:5], 3)) == list(range(5))


def test_a_grouped_search_costs_less(tmp_path):
    """Its price is that of batches with as little padding as its own."""
    corpus = tiny_corpus("vgd", images={"train": 200, "validation": 5, "test": 5})
    costs = []
    for strategy in ("random", "group_by_length"):
        trainer = search_trainer(corpus, search_arguments(tmp_path, train_sampling_strategy=strategy))
        costs.append(sum(price.forward for price in trainer.measure_prices().values()))
    assert costs[1] < costs[0]


@pytest.mark.parametrize("strategy", ["random", "group_by_length"])
def test_searches_group_both_kinds_of_steps_if_asked_to(strategy, tmp_path):
    trainer = search_trainer(tiny_corpus("vgd"), search_arguments(tmp_path, train_sampling_strategy=strategy))
    for rows in (trainer.train_dataset, trainer.architecture_dataset):
        assert isinstance(trainer._get_train_sampler(rows), GroupedByRegions) == (strategy != "random")


def test_regions_are_those_of_each_rows_image(tmp_path):
    corpus = tiny_corpus("vgd")
    trainer = search_trainer(corpus, search_arguments(tmp_path, train_sampling_strategy="group_by_length"))
    rows = trainer.train_dataset
    assert trainer._get_train_sampler().regions.tolist() == [
        len(corpus.store[[row["image_id"]]].boxes[0]) for row in rows
    ]


def test_matching_whose_wrong_partners_come_from_the_batch_is_not_grouped(tmp_path):
    args = search_arguments(tmp_path, train_sampling_strategy="group_by_length")
    with pytest.raises(InputError, match="wrong partners come from a batch of any images; use random"):
        search_trainer(tiny_corpus("itm"), args)
