"""All pairs are scored as one by one, and hard negatives are foreign, hard, and the same from the same seed."""

import random

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype
from mmnas_hf.matching import PairScorer
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.tasks.negatives import KEPT, ContrastedRows, sample_without
from mmnas_hf.training import TaskTrainer, build_model
from tiny import SIZES, SPACE, search_arguments, search_trainer, tiny_corpus

GENOTYPES = ["S|RG", "F|SF", "S|GRS", "F|RRG", "S|DGR"]
ODD_TEXTS = ["red", "red and green and blue and black or something like it, as long as it goes", "blue blue"]


@pytest.fixture(scope="module")
def corpus():
    return tiny_corpus("itm")


def network(corpus, genotype="S|GRS"):
    return build_model(corpus, MMnasConfig(**corpus.settings(), **SIZES, dropout=0.1, genotype=genotype), 0)


def scorer_of(model, corpus, **changes):
    return PairScorer(model, corpus.processor, corpus.store, Accelerator(cpu=True), **changes)


@torch.no_grad()
def one_by_one(model, corpus, image_ids, texts, path=None):
    """The double loop: one pair at a time through the whole network."""
    model.eval()
    return np.array(
        [
            [model(**corpus.processor(text, *corpus.store[[image_id]]), path=path).logits.item() for text in texts]
            for image_id in image_ids
        ]
    )


def all_pairs(scorer, image_ids, texts):
    return np.stack(scorer(image_ids, texts, [np.arange(len(texts))] * len(image_ids)))


# All pairs


@pytest.mark.parametrize("genotype", GENOTYPES)
def test_scores_are_those_of_the_double_loop(genotype, corpus):
    model, image_ids = network(corpus, genotype), corpus.store.ids[:7]
    texts = [*corpus.rows("test")["caption"][:6], *ODD_TEXTS]
    expected = one_by_one(model, corpus, image_ids, texts)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(all_pairs(scorer_of(model, corpus), image_ids, texts), expected, atol=1e-5)


@pytest.mark.parametrize("memory", [{"pair_memory": 1}, {"text_memory": 5000}, {"pair_memory": 10**5}])
def test_scores_do_not_depend_on_the_memory(memory, corpus):
    model, image_ids, texts = network(corpus), corpus.store.ids[:40], [*corpus.rows("train")["caption"][:9], *ODD_TEXTS]
    expected = all_pairs(scorer_of(model, corpus), image_ids, texts)
    np.testing.assert_allclose(all_pairs(scorer_of(model, corpus, **memory), image_ids, texts), expected, atol=1e-5)


def test_a_small_memory_holds_few_texts_and_few_pairs(corpus):
    model = network(corpus)
    assert len(list(scorer_of(model, corpus).text_blocks(ODD_TEXTS))) == 1
    assert len(list(scorer_of(model, corpus, text_memory=64 * 4).text_blocks(ODD_TEXTS))) == 3
    assert scorer_of(model, corpus, pair_memory=1).tile_size(model.config) == 1
    assert scorer_of(model, corpus).tile_size(model.config) > 100


def test_a_supernet_is_scored_at_a_path(corpus):
    model = build_model(corpus, MMnasConfig(**corpus.settings(), **SIZES, search_space=SPACE), 0)
    path, (images, texts) = Genotype.parse("F|RG").as_path(), (corpus.store.ids[:3], ODD_TEXTS)
    expected = one_by_one(model, corpus, images, texts, path)
    np.testing.assert_allclose(all_pairs(scorer_of(model, corpus, path=path), images, texts), expected, atol=1e-5)


def test_images_may_have_different_texts_or_none(corpus):
    model, image_ids = network(corpus), corpus.store.ids[:4]
    chosen = [np.array([2, 0]), np.array([], dtype=int), np.array([1]), np.array([0, 1, 2])]
    every = all_pairs(scorer_of(model, corpus), image_ids, ODD_TEXTS)
    scores = scorer_of(model, corpus)(image_ids, ODD_TEXTS, chosen)
    for image, texts in enumerate(chosen):
        np.testing.assert_allclose(scores[image], every[image, texts], atol=1e-5)


def test_each_text_is_encoded_once_and_each_image_looked_at_once(corpus, monkeypatch):
    model = network(corpus)
    seen = {"text": 0, "image": 0}

    def count(name, function):
        def counted(inputs, *args, **kwargs):
            seen[name] += len(inputs)
            return function(inputs, *args, **kwargs)

        return counted

    encode, look = model.mmnas.encode_text, model.mmnas.encode_image
    monkeypatch.setattr(
        model.mmnas,
        "encode_text",
        lambda **inputs: count("text", encode)(**{"inputs": inputs.pop("input_ids")}, **inputs),
    )
    monkeypatch.setattr(
        model.mmnas,
        "encode_image",
        lambda **inputs: count("image", look)(**{"inputs": inputs.pop("region_features")}, **inputs),
    )
    all_pairs(scorer_of(model, corpus), corpus.store.ids[:40], ODD_TEXTS)
    assert seen == {"text": len(ODD_TEXTS), "image": 40}


def test_all_pairs_are_reported(corpus):
    reported = []
    scorer_of(network(corpus), corpus)(corpus.store.ids[:5], ODD_TEXTS, [np.arange(3)] * 5, reported.append)
    assert sum(reported) == 15


def test_a_model_in_training_is_scored_as_in_evaluation_and_goes_on_training(corpus):
    model = network(corpus)
    scores = [all_pairs(scorer_of(model.train(), corpus), corpus.store.ids[:3], ODD_TEXTS) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    assert model.training


@pytest.mark.parametrize("name", OPERATIONS)
def test_only_operations_that_read_the_text_say_so(name, corpus):
    """An operation that does not say so runs without a text."""
    config = MMnasConfig(**corpus.settings(), **SIZES, genotype=Genotype(("feed_forward",), (name,)))
    model = build_model(corpus, config, 0).eval()
    inputs = corpus.processor.process_regions(*corpus.store[corpus.store.ids[:2]])
    images = model.mmnas.encode_image(**inputs)
    projected = model.mmnas.regions(model.mmnas.describe_regions(inputs["region_features"].float(), None, None))
    assert torch.equal(images.regions, projected) == OPERATIONS[name].reads_text


# Hard negatives


@pytest.fixture
def contrasted(corpus):
    rows = ContrastedRows(corpus.rows("train"))
    rows.refresh(scorer_of(network(corpus), corpus), candidates=12, seed=3, epoch=2)
    return rows


def test_hard_negatives_are_never_the_pairs_own(contrasted):
    captions, images, own = contrasted.hard.captions, contrasted.hard.images, contrasted.image_of_row
    assert (captions.shape, images.shape) == ((len(contrasted.image_ids), KEPT), (len(contrasted), KEPT))
    assert (own[captions] != np.arange(len(captions))[:, None]).all()
    assert (images.numpy() != own[:, None]).all()


def test_a_batch_has_the_drawn_negatives(contrasted):
    indices = [4, 11]
    wrong = contrasted.__getitems__(indices)[2:]
    for index, caption, image in zip(indices, wrong[::2], wrong[1::2], strict=True):
        own = contrasted.rows[index]
        row, position = contrasted.hard.draw(index, contrasted.image_of_row[index])
        assert (caption["image_id"], caption["caption"]) == (own["image_id"], contrasted.rows[row]["caption"])
        assert (image["image_id"], image["caption"]) == (contrasted.image_ids[position], own["caption"])
        assert not caption["matches"]
        assert not image["matches"]


def test_hard_captions_are_the_best_scored_of_the_candidates(corpus, contrasted):
    scorer = scorer_of(network(corpus), corpus)
    scores = all_pairs(scorer, contrasted.image_ids, contrasted.rows["caption"][:])
    own = contrasted.image_of_row[None] == np.arange(len(scores))[:, None]
    kept = np.take_along_axis(scores, contrasted.hard.captions.numpy(), axis=1)
    foreign = np.where(own, np.nan, scores)
    assert np.nanmean(kept) > np.nanmean(foreign) + 0.5 * np.nanstd(foreign)
    assert (np.diff(kept, axis=1) <= 1e-5).all()


def test_with_all_as_candidates_the_very_hardest_are_kept(corpus):
    rows = ContrastedRows(corpus.rows("test"))
    scorer = scorer_of(network(corpus), corpus)
    rows.refresh(scorer, candidates=1000, seed=0, epoch=0)
    scores = all_pairs(scorer, rows.image_ids, rows.rows["caption"][:])
    scores[rows.image_of_row[None] == np.arange(len(scores))[:, None]] = -np.inf
    hardest_captions = -np.sort(-scores, axis=1)[:, :KEPT]
    hardest_images = -np.sort(-scores.T, axis=1)[:, :KEPT]
    found = np.take_along_axis(scores, rows.hard.captions.numpy(), axis=1)
    np.testing.assert_allclose(found, hardest_captions, atol=1e-5)
    found = np.take_along_axis(scores.T, rows.hard.images.numpy(), axis=1)
    np.testing.assert_allclose(found, hardest_images, atol=1e-5)


def test_draws_depend_on_seed_epoch_and_row_alone(contrasted):
    again = ContrastedRows(contrasted.rows)
    again.load_state_dict(contrasted.state_dict())
    batches = [rows.__getitems__([5, 0, 7]) for rows in (contrasted, again)]
    assert batches[0] == batches[1]
    assert {row["caption"] for row in contrasted.__getitems__([7])} <= {row["caption"] for row in batches[0]}
    later = contrasted.hard._replace(epoch=3)
    drawn = [[hard.draw(row, 0) for row in range(40)] for hard in (contrasted.hard, later)]
    assert drawn[0] != drawn[1]


def test_too_few_images_for_hard_negatives_raise(corpus):
    rows = ContrastedRows(corpus.rows("test", KEPT))
    with pytest.raises(InputError, match=f"{KEPT} images are too few for hard negatives"):
        rows.refresh(scorer_of(network(corpus), corpus), 3, 0, 0)


def test_numbers_are_drawn_without_those_left_out():
    drawn = [tuple(sorted(sample_without(6, [0, 3, 5], 3, random.Random(seed)))) for seed in range(5)]
    assert set(drawn) == {(1, 2, 4)}


# Training with them


def test_without_hard_negatives_nothing_looks_for_them(corpus, tmp_path):
    trainer = search_trainer(corpus, search_arguments(tmp_path))
    trainer.train()
    assert trainer.train_dataset.hard is None
    assert trainer.architecture_dataset.hard is None


def test_hard_negatives_begin_with_their_epoch_and_are_refreshed_each_epoch(corpus, tmp_path):
    refreshed = []
    args = search_arguments(
        tmp_path,
        max_steps=-1,
        num_train_epochs=4,
        per_device_train_batch_size=40,
        hard_negatives=8,
        hard_negatives_from=1,
    )
    trainer = search_trainer(corpus, args)
    for name, rows in {"weights": trainer.train_dataset, "architecture": trainer.architecture_dataset}.items():
        find = rows.refresh
        rows.refresh = lambda *given, name=name, find=find: refreshed.append((name, given[3])) or find(*given)
    trainer.train()
    assert refreshed == [(name, epoch) for epoch in (1, 2, 3) for name in ("weights", "architecture")]


def test_a_task_without_negatives_refuses_hard_ones(tmp_path):
    questions = tiny_corpus("vqa")
    model = build_model(questions, MMnasConfig(**questions.settings(), **SIZES, genotype="S|G"), 0)
    with pytest.raises(InputError, match="task vqa has no negatives"):
        TaskTrainer(model, search_arguments(tmp_path, hard_negatives=4), questions, questions.rows("train"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_search_resumed_mid_epoch_goes_on_with_its_hard_negatives(workers, corpus, tmp_path):
    def run(folder, **changes):
        args = search_arguments(
            tmp_path / folder,
            max_steps=11,
            hard_negatives=8,
            hard_negatives_from=0,
            dataloader_num_workers=workers,
            **changes,
        )
        trainer = search_trainer(corpus, args)
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        return trainer

    straight = run("straight")
    run("stopped", save_strategy="steps", save_steps=9)
    resumed = run("resumed", resume_from_checkpoint=str(tmp_path / "stopped" / "checkpoint-9"))
    assert straight.strategy.genotype() == resumed.strategy.genotype()
    weights = [trainer.model.state_dict() for trainer in (straight, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    states = [trainer.strategy.state_dict()["alphas"] for trainer in (straight, resumed)]
    assert all(torch.equal(one, other) for one, other in zip(*states, strict=True))
