"""Measurements run at small sizes, and what they measure is right."""

import pytest

from mmnas_hf.benchmarks import MEASUREMENTS, inference, matching, steps, synthetic, tables, waiting

STEPS = ("weight", "architecture, full", "architecture, two")


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
    monkeypatch.setattr(steps, "in_fresh_process", lambda function, *given: function(*given))
    monkeypatch.setattr(steps, "BATCH", 2)
    monkeypatch.setattr(steps, "REGIONS", 5)
    monkeypatch.setattr(steps, "FEATURE_SIZE", 16)
    monkeypatch.setattr(steps, "PROBE_SIZE", 512)
    monkeypatch.setattr(steps, "ROUNDS", 3)
    monkeypatch.setattr(steps, "SETTINGS", tuple(steps.Setting(step, 64) for step in STEPS))
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
    weight, full, two = steps.measure_steps()
    for row in (weight, full, two):
        assert row["times floor"] > 1
        assert row["peak resident GB"] > 0
    assert 0 < two["GFLOPs"] < full["GFLOPs"]
    assert weight["GFLOPs"] > 0


@pytest.mark.parametrize("step", STEPS)
def test_only_weight_steps_change_weights(monkeypatch, step):
    kept, build = [], steps.MMnasForVisualQuestionAnswering
    monkeypatch.setattr(steps, "MMnasForVisualQuestionAnswering", lambda config: kept.append(build(config)) or kept[0])
    run = steps.make_step(steps.Setting(step, 64))
    before = {name: value.clone() for name, value in kept[0].state_dict().items()}
    run()
    changed = {name for name, value in kept[0].state_dict().items() if not value.equal(before[name])}
    trained = {name.split(".operation")[0] for name in changed if ".operation." in name}
    assert len(trained) == (30 if step == "weight" else 0)  # one candidate of each node
    assert bool(changed) == (step == "weight")
    assert all(parameter.grad is None for parameter in kept[0].parameters())


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
    assert set(MEASUREMENTS) == {"reading", "waiting", "matching", "conversion", "inference", "gallery", "steps"}
