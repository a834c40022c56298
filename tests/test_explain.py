"""A search's result is explained by what its nodes are worth, how it came about, and where searches agree."""

import json
import random
import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageColor

import runs
from mmnas_hf.drawing import operation_styles
from mmnas_hf.errors import InputError
from mmnas_hf.explanation.agreement import Found, agreement
from mmnas_hf.explanation.agreement import summary as agreement_summary
from mmnas_hf.explanation.development import draw_entropy, entropy_shares
from mmnas_hf.explanation.effects import (
    CHOSEN_HERE,
    LEFT_OUT,
    Effects,
    measure,
    most_important,
    neighbours,
    summary,
    with_identity,
)
from mmnas_hf.explanation.finished import read_finished
from mmnas_hf.explanation.pictures import draw_agreement, draw_effects
from mmnas_hf.files import write_json
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.modeling_mmnas import MMnasForVisualQuestionAnswering
from mmnas_hf.search.scoring import Judge
from scripts import call, refusal
from tiny import SPACE, every_operation, random_batch, save_tiny, tiny_config

FOUND = Genotype.parse("S|RG")
EVALUATED = "--eval_strategy steps --eval_steps 1"


def tiny_supernet(space=SPACE):
    torch.manual_seed(0)
    model = MMnasForVisualQuestionAnswering(tiny_config(search_space=space)).eval()
    for name, value in model.named_parameters():  # so that norms can be told apart
        if ".norm." in name:
            torch.nn.init.normal_(value, mean=1.0)
    return model


def logits(model):
    with torch.no_grad():
        return model(**random_batch(model.config)).logits


# Leaving out


def test_a_network_computes_the_same_after_the_identity_became_a_candidate():
    supernet = tiny_supernet()
    widened = with_identity(supernet, FOUND)
    assert all(LEFT_OUT in node for node in widened.config.space.nodes)
    assert torch.equal(logits(widened.derive(FOUND)), logits(supernet.derive(FOUND)))


@pytest.mark.parametrize(("node", "left_out"), enumerate(["I|RG", "S|IG", "S|RI"]))
def test_leaving_a_node_out_silences_its_operation_and_keeps_its_norm(node, left_out):
    supernet = tiny_supernet()
    silenced = supernet.derive(FOUND)
    nodes = [*silenced.mmnas.backbone.encoder, *silenced.mmnas.backbone.decoder]
    (sublayer,) = nodes[node].values()
    sublayer.operation.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    changed = with_identity(supernet, FOUND).derive(left_out)
    assert torch.equal(logits(changed), logits(silenced))
    assert not torch.equal(logits(changed), logits(supernet.derive(FOUND)))


def test_an_identity_that_was_a_candidate_keeps_the_norm_that_it_learnt():
    supernet = tiny_supernet(every_operation())
    widened = with_identity(supernet, Genotype.parse("S|RG"))
    assert widened.config.space == supernet.config.space
    assert torch.equal(logits(widened.derive("I|IG")), logits(supernet.derive("I|IG")))


# Effects


def test_neighbours_differ_at_one_node_and_cover_its_candidates():
    around = neighbours(SPACE, FOUND)
    assert [list(node) for node in around] == [list(node) for node in SPACE.nodes]
    names = FOUND.encoder + FOUND.decoder
    for number, node in enumerate(around):
        for name, genotype in node.items():
            assert genotype.encoder + genotype.decoder == (*names[:number], name, *names[number + 1 :])


WORTH = {"self_att_64": 0.1, "rel_self_att_64": 0.2, "guided_att_64": 0.3, "feed_forward": 0.0, LEFT_OUT: -0.1}


class Planted:
    """Scores genotypes by what their operations are worth, whatever the supernet."""

    def __init__(self, space):
        supernet = SimpleNamespace(config=SimpleNamespace(space=space))
        corpus = SimpleNamespace(task=SimpleNamespace(metric="accuracy"))
        self.judge = Judge(supernet, corpus, range(400), None)

    def __call__(self, genotypes):
        return [sum(WORTH[name] for name in genotype.encoder + genotype.decoder) for genotype in genotypes]


@pytest.fixture(scope="module")
def effects():
    nodes = (("self_att_64", "feed_forward", LEFT_OUT),), (("rel_self_att_64", "guided_att_64", LEFT_OUT),) * 2
    return measure(Planted(SearchSpace(*nodes)), Genotype.parse("S|RG"))


def test_effects_are_what_each_change_is_worth(effects):
    assert effects.score == pytest.approx(0.6)
    expected = [
        {"self_att_64": 0.0, "feed_forward": -0.1, LEFT_OUT: -0.2},
        {"rel_self_att_64": 0.0, "guided_att_64": 0.1, LEFT_OUT: -0.3},
        {"rel_self_att_64": -0.1, "guided_att_64": 0.0, LEFT_OUT: -0.4},
    ]
    assert all(changes == pytest.approx(right) for changes, right in zip(effects.changes, expected, strict=True))


def test_the_costliest_nodes_to_leave_out_matter_most(effects):
    assert most_important(effects) == [2, 1, 0]
    assert effects.nodes == ["text 1", "region 1", "region 2"]


def test_a_summary_names_what_matters_and_what_may_be_noise(effects):
    first, matter, idle, best = summary(effects)
    assert "accuracy 0.600" in first
    assert "below 0.049" in first  # two standard errors of 0.6 over 400 texts
    assert matter.startswith("matter most: region 2 guided_att_64 (left out: -0.400), region 1")
    assert idle.startswith("0 of 3 nodes")
    assert best == "the best single change is guided_att_64 at region 1 (+0.100, more than chance gives the best of 6)"


def test_a_summary_trusts_neither_small_changes_nor_the_luckiest_of_many(effects):
    _, matter, idle, best = summary(effects._replace(error=0.3))
    assert matter == "matter most: no node by itself"
    assert idle.startswith("3 of 3 nodes")
    assert "no more than chance" in best


def test_a_summary_says_so_where_no_change_helps(effects):
    worse = effects._replace(changes=[{name: min(0.0, change) for name, change in n.items()} for n in effects.changes])
    assert summary(worse)[-1] == "no single change improves it"


# Agreement


def agreed_on(*found):
    runs_ = [Found(f"run {number}", strategy, Genotype.parse(text)) for number, (strategy, text) in enumerate(found)]
    return agreement(runs_, SearchSpace.chain(1, 2))


def test_agreement_counts_pairs_node_by_node():
    agreed = agreed_on(("darts", "S|RG"), ("darts", "S|RF"), ("enas", "F|RS"))
    assert agreed.nodes == pytest.approx([1 / 3, 1.0, 0.0])
    assert agreed.chance == [0.5, 0.25, 0.25]
    assert agreed.within == pytest.approx(2 / 3)
    assert agreed.between == pytest.approx((1 / 3 + 1 / 3) / 2)


def test_without_two_searches_of_a_strategy_there_is_none_within():
    agreed = agreed_on(("darts", "S|RG"), ("enas", "S|RF"))
    assert agreed.within is None
    assert agreed.to_dict()["between_strategies"] == pytest.approx(2 / 3)


def test_the_deviation_of_chance_is_that_of_random_searches():
    space, generator = SearchSpace.chain(2, 3), random.Random(0)
    means = [
        sum(agreement([Found("", "", space.sample(generator)) for _ in range(4)], space).nodes) / 5 for _ in range(2000)
    ]
    agreed = agreement([Found("", "", space.sample(generator)) for _ in range(4)], space)
    # Four standard errors of a deviation over 2,000 draws.
    assert torch.tensor(means).std().item() == pytest.approx(agreed.error, rel=0.08)
    assert torch.tensor(means).mean().item() == pytest.approx(sum(agreed.chance) / 5, rel=0.05)


@pytest.mark.parametrize(("texts", "told"), [(["S|RG"] * 4, "more than chance"), (["S|RG", "F|FF"], "no more than")])
def test_a_summary_compares_agreement_with_chance(texts, told):
    assert told in agreement_summary(agreed_on(*(("darts", text) for text in texts)))[0]


def test_a_single_search_or_another_space_is_refused():
    with pytest.raises(InputError, match="at least two"):
        agreed_on(("darts", "S|RG"))
    with pytest.raises(InputError, match="decoder nodes"):
        agreed_on(("darts", "S|RG"), ("darts", "S|RGG"))


# Pictures


def colours_in(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return {colour for _, colour in image.convert("RGB").getcolors(maxcolors=1 << 24)}


def has_colours_of(path, names):
    styles = operation_styles(names)
    return {ImageColor.getrgb(styles[name].colour) for name in names} <= colours_in(path)


def test_effects_are_drawn_with_the_colour_of_every_operation(effects, tmp_path):
    draw_effects(effects, tmp_path / "effects.png")
    assert has_colours_of(tmp_path / "effects.png", ["self_att_64", "guided_att_64", "feed_forward", LEFT_OUT])


def test_a_network_without_text_nodes_or_effects_is_drawn(tmp_path):
    draw_effects(
        Effects(Genotype.parse("|S"), "accuracy", 1.0, 0.0, [{"self_att_64": 0.0, LEFT_OUT: 0.0}]), tmp_path / "one.png"
    )
    assert has_colours_of(tmp_path / "one.png", ["self_att_64"])


def test_agreement_is_drawn_with_the_colours_of_what_was_chosen(tmp_path):
    draw_agreement(agreed_on(("darts", "S|RG"), ("enas", "F|RG")), tmp_path / "agreement.png")
    names = ["self_att_64", "rel_self_att_64", "guided_att_64", "feed_forward"]
    assert has_colours_of(tmp_path / "agreement.png", names)


@pytest.mark.parametrize("entries", [1, 4])
def test_entropy_is_drawn_from_any_number_of_entries(entries, tmp_path):
    nodes = [{"self_att_64": 0.5, "feed_forward": 0.5}]
    history = [{"step": 10 * number, "encoder": nodes, "decoder": nodes * 3} for number in range(entries)]
    draw_entropy(history, tmp_path / "entropy.png")
    assert len(colours_in(tmp_path / "entropy.png")) > 10


def test_entropy_is_told_as_a_share_of_an_even_choice():
    even, decided = {"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.0}
    assert entropy_shares([[even, {"a": 1.0}], [decided, {"a": 1.0}]]) == [[1.0, 0.0], [0.0, 0.0]]


# The script


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """A search by binary gates and one by a mixture, on the same data in the working folder."""
    folder = tmp_path_factory.mktemp("searches")
    data = save_tiny(folder / "data", "vqa")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, flags in {"gates": "", "mixture": "--strategy darts --seed 1"}.items():
            ended = runs.search(data, folder / name, f"{EVALUATED} {flags}")
            assert ended.code == 0, ended.err
        yield folder


@pytest.fixture(scope="module")
def explained(searches):
    """What the script said of one search, in its own folder."""
    ended = call("explain.py", searches / "gates", "--jobs 1")
    assert ended.code == 0, ended.err
    return ended


def test_a_search_is_explained_in_its_own_folder(explained, searches):
    made = searches / "gates" / "explained"
    pictures = {"effects.png", "probabilities.png", "entropy.png"}
    assert pictures | {"effects.json", "entropy.json", "summary.txt", "run.json"} <= {
        path.name for path in made.iterdir()
    }
    assert explained.out == (made / "summary.txt").read_text() + f"see {made}\n"


def test_effects_are_of_the_search_that_is_explained(explained, searches):
    effects = json.loads((searches / "gates" / "explained" / "effects.json").read_text())
    assert effects["genotype"] == str(Genotype.load(searches / "gates" / "genotype.json"))
    last = (searches / "gates" / "search_log.jsonl").read_text().splitlines()[-1]
    assert effects["score"] == pytest.approx(json.loads(last)["metrics"]["eval_accuracy"])
    assert all(node["changes"][node["chosen"]] == 0 and LEFT_OUT in node["changes"] for node in effects["changes"])


def test_explaining_again_scores_nothing_again(explained, searches, monkeypatch):
    monkeypatch.setattr(Judge, "score", None)
    again = call("explain.py", searches / "gates", "--jobs 1")
    assert (again.code, again.out) == (0, explained.out)


def test_several_searches_are_explained_side_by_side(searches, tmp_path):
    out = tmp_path / "both"
    flags = "--jobs 1 --parts agreement development --output_dir"
    ended = call("explain.py", searches / "gates", searches / "mixture", flags, out)
    assert ended.code == 0, ended.err
    agreed = json.loads((out / "agreement.json").read_text())
    assert [(run["name"], run["strategy"]) for run in agreed["runs"]] == [("gates", "proxyless"), ("mixture", "darts")]
    assert (out / "agreement.png").is_file()
    assert (out / "mixture" / "entropy.png").is_file()
    assert not list(out.glob("*/effects.*"))


@pytest.fixture
def comparison(searches, tmp_path):
    """The folders of searches as a comparison leaves them: without records of their own."""
    cells = [tmp_path / "searches" / name for name in ("proxyless-two-seed0", "darts-seed1")]
    for name, cell in zip(("gates", "mixture"), cells, strict=True):
        shutil.copytree(searches / name, cell, ignore=shutil.ignore_patterns("run.json", "explained", "checkpoint-*"))
    shutil.copyfile(searches / "gates" / "run.json", tmp_path / "run.json")
    return cells


def test_searches_of_a_comparison_go_by_its_record_and_their_names(comparison, searches, tmp_path):
    write_json(comparison[1] / "scores.json", {})
    flags = ("--jobs 1 --parts agreement effects --output_dir", tmp_path / "out", "--data", searches / "data")
    ended = call("explain.py", *comparison, *flags)
    assert ended.code == 0, ended.err
    agreed = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert [run["strategy"] for run in agreed["runs"]] == ["proxyless-two", "darts"]
    assert (tmp_path / "out" / "darts-seed1" / "effects.png").is_file()
    assert [read_finished(cell).seed for cell in comparison] == [0, 1]
    assert ended.out.count(CHOSEN_HERE) == 1  # only one of them chose by scores


def test_a_search_of_no_known_flags_is_refused(comparison, tmp_path):
    write_json(tmp_path / "run.json", {"arguments": {}})
    ended = call("explain.py", comparison[0])
    assert "tells no flags" in refusal(ended.code, ended.err, "explain.py")


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["nowhere"], "is no finished search, it has no genotype.json"),
        (["data"], "is no finished search, it has no genotype.json"),
        (["gates", "mixture"], "give --output_dir"),
        (["gates", "gates"], "give each search once"),
    ],
)
def test_wrong_folders_are_refused_in_one_line(folders, told, searches):
    ended = call("explain.py", *(searches / name for name in folders))
    assert told in refusal(ended.code, ended.err, "explain.py")


def test_a_folder_with_something_else_is_not_written_to(searches, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    for more in ("", "--overwrite"):
        ended = call("explain.py", searches / "gates", "--output_dir", tmp_path, more)
        assert "give another folder" in refusal(ended.code, ended.err, "explain.py")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_an_explanation_of_other_searches_is_replaced_only_if_asked(searches, tmp_path):
    out, flags = tmp_path / "out", "--parts development --output_dir"
    assert call("explain.py", searches / "gates", flags, out).code == 0
    ended = call("explain.py", searches / "mixture", flags, out)
    assert "--overwrite" in refusal(ended.code, ended.err, "explain.py")
    assert call("explain.py", searches / "mixture", flags, out, "--overwrite").code == 0
