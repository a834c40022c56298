"""Measurements run at small sizes, and what they measure is right."""

from collections import Counter
from functools import partial

import pytest
import torch

from mmnas_hf.benchmarks import (
    CHECKS,
    MEASUREMENTS,
    PICTURES,
    answering,
    floor,
    grouping,
    growth,
    inference,
    matching,
    profiling,
    quick,
    steps,
    supernets,
    synthetic,
    tables,
    timing,
    waiting,
)
from mmnas_hf.errors import RunError
from mmnas_hf.genotype import LETTERS
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.sampling import BATCHES_SORTED

TINY = supernets.Sizes(64, 2, 3, 20, 2, 3, feature_size=16, vocabulary=50, answers=7)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Sizes so small that a measurement takes a second."""
    monkeypatch.setattr(synthetic, "FEATURE_SIZE", 16)
    monkeypatch.setattr(tables, "READ_IMAGES", 130)
    monkeypatch.setattr(tables, "ROUNDS", 1)
    monkeypatch.setattr(tables, "FEW_IMAGES", 70)
    monkeypatch.setattr(tables, "MANY_IMAGES", 140)
    monkeypatch.setattr(tables, "in_fresh_process", lambda function, *given: function(*given))
    monkeypatch.setattr(waiting, "IMAGES", 64)
    monkeypatch.setattr(waiting, "STEPS", 1)
    monkeypatch.setattr(waiting, "GENOTYPE", "S|G")
    monkeypatch.setattr(synthetic, "ANSWERS", 2)
    monkeypatch.setattr(inference, "QUESTIONS", 3)
    monkeypatch.setattr(inference, "HIDDEN_SIZE", 64)
    monkeypatch.setattr(inference, "ANSWERING_ROUNDS", 1)
    monkeypatch.setattr(inference, "GALLERY_IMAGES", 40)
    monkeypatch.setattr(inference, "RANKING_ROUNDS", 1)
    monkeypatch.setattr(inference, "THREADS", (1,))
    monkeypatch.setattr(inference, "SETTINGS", (inference.Setting("S|GRS", 64),))
    monkeypatch.setattr(timing, "in_fresh_process", lambda function, *given: function(*given))
    monkeypatch.setattr(timing, "keep_resources", lambda: None)  # it is for a whole process
    monkeypatch.setattr(floor, "PROBE_SIZE", 256)
    monkeypatch.setattr(answering, "SIZES", TINY)
    monkeypatch.setattr(answering, "ROUNDS", 1)
    monkeypatch.setattr(answering, "CALLS", {2: 1, 1: 3})
    for module in (steps, growth, profiling, quick):
        monkeypatch.setattr(module, "SIZES", TINY)
    for module in (steps, growth):
        monkeypatch.setattr(module, "ROUNDS", 1)
    monkeypatch.setattr(steps, "WIDE", 128)
    monkeypatch.setattr(steps, "UNGROUPED", 8)  # batches of two images differ much
    monkeypatch.setattr(matching, "IMAGES", 4)
    monkeypatch.setattr(matching, "SETTINGS", (matching.Setting("S|GRS", 64, 2),))


def test_reading_counts_rows_a_second():
    assert [row["rows a second"] > 0 for row in tables.measure_reading()] == [True, True]


def test_conversion_weighs_tables_of_two_sizes():
    few, many = tables.measure_conversion()
    assert few["peak resident GB"] > 0
    assert "70 images" in few["measurement"]
    assert "140 images" in many["measurement"]


def test_waiting_is_a_share_of_the_time():
    (row,) = waiting.measure_waiting()
    assert 0 < float(row["waiting for data"].rstrip("%")) < 100


def test_steps_are_held_against_their_matrix_products():
    rows = {row["measurement"]: row for row in steps.measure_steps()}
    update = rows.pop("clipping, optimiser and zeroing, hidden 64")
    for row in rows.values():
        assert row["times floor"] > 1
        assert row["straightforward, times floor"] > 1
        assert row["best sgemm, GFLOP/s"] >= row["sgemm, GFLOP/s"]
        assert row["times floor at best"] >= row["times floor"]
        assert row["peak resident GB"] > 0
        assert row["straightforward, peak resident GB"] > 0
        assert row["above floor, ms"] == pytest.approx((row["seconds"] - row["floor, s"]) * 1e3, rel=0.01)
    full, two = rows["architecture step, full, hidden 64"], rows["architecture step, two, hidden 64"]
    assert two["GFLOPs"] < full["GFLOPs"]
    assert two["of"] == "architecture step, full, hidden 64"
    assert two["share, %"] == pytest.approx(100 * two["seconds"] / full["seconds"], rel=0.01)
    weight, many = rows["weight step, hidden 64, 20 regions"], rows["weight step, hidden 64, 16 candidates a node"]
    assert many["GFLOPs"] == weight["GFLOPs"] < rows["weight step, hidden 128, 20 regions"]["GFLOPs"]
    assert "share, %" not in weight
    grouped, ungrouped = (rows[f"weight step, hidden 64, real region counts, {kind}grouped"] for kind in ("", "not "))
    assert grouped["GFLOPs"] < ungrouped["GFLOPs"] < weight["GFLOPs"]
    assert 0 < update["share, %"] < 100
    assert 0 < update["parameters with a gradient"] < update["parameters"]
    few, one = (row for name, row in rows.items() if name.startswith("answering"))
    assert one["GFLOPs"] == pytest.approx(few["GFLOPs"] / 2, rel=0.01)


def test_grouped_batches_are_padded_less():
    sizes = TINY._replace(batch=8, regions=100)
    grouped, ungrouped = (grouping.batches_of_counts(sizes, kind) for kind in (True, False))
    assert len(grouped) == len(ungrouped) == BATCHES_SORTED
    assert {len(batch) for batch in grouped + ungrouped} == {8}
    work = {kind: sum(map(max, grouping.typical(batches, 10))) for kind, batches in (("g", grouped), ("u", ungrouped))}
    assert work["g"] < 0.8 * work["u"]
    for batches in (grouped, ungrouped):  # what is picked stands for all
        longest = sum(map(max, batches)) / len(batches)
        assert sum(map(max, grouping.typical(batches, 8))) / 8 == pytest.approx(longest, rel=0.03)
    counts = grouping.region_counts(10_000, 100)
    assert 10 <= min(counts) <= max(counts) <= 100
    assert sum(counts) / len(counts) == pytest.approx(40, abs=0.01)


def test_batches_of_uneven_images_have_padding():
    batch = supernets.random_batch(TINY, [2, 5])
    assert batch["region_mask"].sum(1).tolist() == [2, 5]
    assert not batch["region_features"][0, 2:].any()
    assert batch["region_boxes"].shape == (2, 5, 4)


def test_paths_take_candidates_in_turn():
    space = TINY._replace(encoder_nodes=4, decoder_nodes=24, decoder_candidates=4).drawn_from
    opened = [next(iter(gate.items())) for gate in supernets.path_in_turn(space)]
    assert Counter(opened) == {
        ("self_att_64", 1.0): 8, ("feed_forward", 1.0): 8, ("rel_self_att_64", 1.0): 6, ("guided_att_64", 1.0): 6
    }  # fmt: skip
    pairs = Counter()
    for gates, beside in (("full", 3), ("two", 1)):
        path = supernets.gates_in_turn(supernets.ProxylessStrategy(space, gates))
        for gate, (name, _) in zip(path, opened, strict=True):
            assert {other for other, weight in gate.items() if weight == 1} == {name}
        for gate, (name, _) in zip(path[4:], opened[4:], strict=True):
            assert len(gate) == 1 + beside
            pairs.update((gates, name, other) for other in gate if other != name)
    assert set(pairs.values()) == {6, 2}  # of 24 nodes: each with each
    assert len(pairs) == 2 * 4 * 3


def test_further_candidates_lie_beside_the_path():
    known = dict(OPERATIONS), dict(LETTERS)
    few, many = (
        supernets.make_weight_step(TINY._replace(encoder_candidates=count, decoder_candidates=count, kinds=2))
        for count in (2, 16)
    )
    assert few.path == many.path
    assert {len(node) for node in few.model.mmnas.backbone.decoder} == {2}
    assert {len(node) for node in many.model.mmnas.backbone.encoder} == {16}
    assert {len(node) for node in many.model.mmnas.backbone.decoder} == {16}
    assert many.model.num_parameters() > few.model.num_parameters()
    assert known == (OPERATIONS, LETTERS)


@pytest.mark.parametrize("gates", [None, "full", "two"])
def test_only_weight_steps_change_weights(monkeypatch, gates):
    kept, build = [], supernets.make_supernet
    monkeypatch.setattr(supernets, "make_supernet", lambda sizes: kept.append(build(sizes)) or kept[0])
    run = supernets.architecture_step(TINY, gates) if gates else supernets.weight_step(TINY)
    before = {name: value.clone() for name, value in kept[0].state_dict().items()}
    run()
    changed = {name for name, value in kept[0].state_dict().items() if not value.equal(before[name])}
    trained = {name.split(".operation")[0] for name in changed if ".operation." in name}
    assert len(trained) == (0 if gates else 5)  # one candidate of each node
    assert bool(changed) == (gates is None)
    assert all(parameter.grad is None for parameter in kept[0].parameters())


def test_a_process_does_not_take_over_the_peak_of_the_one_that_started_it(monkeypatch):
    monkeypatch.undo()
    held = torch.ones(2**28)  # 1 GiB
    assert timing.in_fresh_process(timing.peak_memory) < held.nbytes
    assert timing.peak_memory() > held.nbytes


def test_growth_is_measured_and_drawn(tmp_path):
    rows = growth.measure_growth()
    assert {row["curve"] for row in rows} == {"regions", "words", "candidates", "nodes", "batch"}
    for curve in ("regions", "words", "nodes", "batch"):
        floors = [row["floor, s"] for row in rows if row["curve"] == curve]
        assert floors == sorted(floors)
        assert floors[0] < floors[-1]
    assert len({row["floor, s"] for row in rows if row["curve"] == "candidates"}) == 1
    PICTURES["growth"](rows, tmp_path / "new")
    assert (tmp_path / "new" / "growth.png").stat().st_size > 10_000


def test_profile_adds_up_matrix_products():
    rows = profiling.measure_profile()
    for step in ("weight step, hidden 64", "architecture, full step, hidden 64"):
        operators = {row["operator"]: row["percent"] for row in rows if row["measurement"] == step}
        assert len(operators) == 10
        assert next(iter(operators)) == "matrix products"
        assert not set(profiling.PRODUCT_OPERATORS) & set(operators)
        assert 0 < operators["matrix products"] < sum(operators.values()) <= 101


def test_quick_check_fails_when_a_step_is_slower_than_recorded(monkeypatch):
    measured = {name: quick.measure_ratios(partial(build, TINY)) for name, build in quick.BUILDERS.items()}
    monkeypatch.setattr(quick, "measure_ratios", lambda build: measured["weight step"])
    monkeypatch.setattr(quick, "RECORDED", dict.fromkeys(measured, measured["weight step"]))
    assert [row["times floor"] > 1 for row in quick.measure_quick()] == [True, True]
    for field in quick.Ratios._fields:
        better = {field: getattr(measured["weight step"], field) / 2}
        monkeypatch.setitem(quick.RECORDED, "architecture step", measured["weight step"]._replace(**better))
        with pytest.raises(RunError, match=f"architecture step: {field.replace('_', ' ')} .* 1.5 times the recorded"):
            quick.measure_quick()


def test_matching_gives_the_scores_of_the_double_loop():
    (row,) = matching.measure_matching()
    assert float(row["largest difference"]) < 1e-5
    assert row["pairs"] == 2 * 4 * 5


def test_inference_compares_equal_answers():
    (row,) = inference.measure_inference()
    assert float(row["largest difference"]) < 1e-4
    assert row["sdpa, 36 regions, a second"] > 0
    assert row["eager, padded to 100, a second"] > 0


def test_padding_to_the_most_regions_adds_only_padding():
    processor = inference.make_processor()
    batch = processor(["word1"] * 2, *map(list, zip(*inference.made_up_images(2), strict=True)))
    padded = inference.pad_to_most(batch)
    assert padded["region_features"].shape[1] == padded["region_boxes"].shape[1] == 100
    assert padded["region_mask"].sum(1).tolist() == [36, 36]
    assert not padded["region_features"][:, 36:].any()


def test_forms_that_do_not_agree_stop_the_comparison(monkeypatch):
    monkeypatch.setattr(inference, "LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(AssertionError, match="both forms must compute the same"):
        inference.measure_inference()


def test_ranking_from_a_gallery_projects_no_image_again():
    (row,) = inference.measure_gallery()
    assert row["images projected again"] == 0
    assert row["from a gallery, s"] > 0
    assert row["projected anew, s"] > 0


def test_every_measurement_has_a_name():
    supernet = {"steps", "growth", "profile", "quick"}
    assert set(MEASUREMENTS) == {"reading", "waiting", "matching", "conversion", "inference", "gallery"} | supernet
    assert set(CHECKS) | set(PICTURES) <= set(MEASUREMENTS)
