"""Cards say what their runs recorded and no more, what they show runs, and the committed ones follow from records."""

import json
import re
import shlex
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

import foreign
import mmnas_hf
from mmnas_hf.cards import PHRASES, architecture_card, model_card, words_of
from mmnas_hf.conversion import to_original
from mmnas_hf.corpus import Corpus
from mmnas_hf.data import DATASETS, facts_name, load_scenes
from mmnas_hf.data.facts import FACTS, find_facts
from mmnas_hf.data.published import PUBLICATIONS
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import PUBLISHED, Genotype
from mmnas_hf.privacy import portable, without_tokens
from mmnas_hf.records import FLAGS, Record, read_record
from mmnas_hf.tasks import TASKS
from scripts import FAST, SIZES, SPACE, call, refusal
from tiny import FEATURE_SIZE, HEIGHT, WIDTH, save_tiny, tiny_config

CARDS = Path(__file__).parents[1] / "model_cards"
RECORDS = sorted((CARDS / "records").glob("*.json"))
CITATION = yaml.safe_load((CARDS.parent / "CITATION.cff").read_text())["preferred-citation"]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
BASH = re.compile(r"```bash\n(.*?)```", re.DOTALL)
LINES = 6
PROGRAM = f"--max_steps 2 --seed 7 {SIZES} {FAST}"

every_task = pytest.mark.parametrize("task", TASKS)
every_record = pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """The folder that everything here is started in, with a cache of data sets of its own."""
    folder = tmp_path_factory.mktemp("workplace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        yield folder


def block_of(card, pattern=PYTHON):
    (block,) = pattern.findall(card.text)
    return block


def results_of(card):
    """Metrics in `model-index`, by split and name."""
    return {(result.dataset_split, result.metric_name): result for result in card.data.eval_results or ()}


@pytest.fixture(scope="module")
def trained(workplace):
    """Folders of networks that `train.py` trained for each task."""
    folders = {}
    for task in TASKS:
        save_tiny(workplace / f"data-{task}", task)
        folders[task] = workplace / "runs" / task
        given = (f"--task {task} --genotype S|GR", PROGRAM, "--data", workplace / f"data-{task}")
        assert call("train.py", "--output_dir", folders[task], *given).code == 0
    return folders


@pytest.fixture(scope="module")
def searched(workplace, trained):
    """The folder of a supernet that `search.py` left."""
    given = f"--task vqa --data data-vqa --output_dir runs/search --random_architectures 1 --jobs 1 {SPACE} {PROGRAM}"
    ended = call("search.py", given)
    assert ended.code == 0, ended.err
    return workplace / "runs" / "search" / "supernet"


@pytest.fixture
def card(trained):
    return ModelCard.load(trained["vqa"] / "README.md")


# Networks


@every_task
def test_training_ends_with_the_card_and_the_drawing(trained, task):
    assert (trained[task] / "genotype.png").is_file()
    assert "![S|GR](genotype.png)" in ModelCard.load(trained[task] / "README.md").text


@every_task
def test_the_scores_in_the_cards_header_are_those_of_the_run(trained, task):
    measured = json.loads((trained[task] / "results.json").read_text())["metrics"]
    results = results_of(ModelCard.load(trained[task] / "README.md"))
    assert {name: result.metric_value for (_, name), result in results.items()} == pytest.approx(measured, abs=1e-4)
    assert {split for split, _ in results} == {"test"}


@every_task
def test_what_a_networks_card_shows_runs_in_six_lines(trained, task, capsys):
    boxes = np.array([[0, 0, 50, 40], [20, 10, 90, 80]])
    np.savez("image.npz", x=np.ones((FEATURE_SIZE, 2)), bbox=boxes, image_h=HEIGHT, image_w=WIDTH)
    block = block_of(ModelCard.load(trained[task] / "README.md"))
    assert sum(map(bool, block.splitlines())) <= LINES
    exec(block, {})
    assert "score" in capsys.readouterr().out


@every_task
def test_a_card_about_scenes_shows_one_of_its_images(task, monkeypatch, capsys):
    small = partial(load_scenes, images={"train": 20, "validation": 1, "test": 1}, num_proc=1)
    corpus = Corpus(TASKS[task], small(task))
    corpus.task.model_class(tiny_config(**corpus.settings(), genotype="S|GR")).save_pretrained("scenes-net")
    corpus.processor.save_pretrained("scenes-net")
    Path("scenes-net", "run.json").write_text('{"data": "scenes"}')
    monkeypatch.setattr(mmnas_hf, "load_scenes", small)
    block = block_of(model_card(Path("scenes-net")))
    assert sum(map(bool, block.splitlines())) <= LINES
    exec(block, {})
    assert "score" in capsys.readouterr().out


@every_task
def test_the_example_in_a_card_about_scenes_has_words_of_scenes(task):
    corpus = Corpus(TASKS[task], load_scenes(task, images={"train": 60, "validation": 1, "test": 1}, num_proc=1))
    assert corpus.processor.tokenizer.unk_token_id not in corpus.processor.tokenizer(PHRASES[task][1])["input_ids"]


def test_the_command_in_a_card_gives_its_scores_again(card, monkeypatch):
    _, script, *flags = shlex.split(block_of(card, BASH))
    monkeypatch.setattr("scripts.words", lambda argument: [argument])
    flags[flags.index("--output_dir") + 1] = "runs/again"
    assert call(Path(script).name, *flags).code == 0
    again = ModelCard.load("runs/again/README.md")
    assert results_of(again).keys() == results_of(card).keys()
    assert [result.metric_value for result in again.data.eval_results] == [
        result.metric_value for result in card.data.eval_results
    ]


def test_a_card_names_the_seed_and_the_data(card):
    assert "Trained on 80 texts of data-vqa with seed 7" in card.text
    assert "with its seed 7." in card.text


def test_a_card_names_no_folder_of_the_machine(card, workplace):
    assert str(workplace) not in card.content


def test_a_card_calls_the_network_by_its_name_on_the_hub(trained):
    card = model_card(trained["vqa"], "somebody/answers")
    assert 'model="somebody/answers"' in block_of(card)
    assert card.data.model_name == "answers"


def test_a_card_lists_the_settings_that_were_used(card):
    assert "| learning_rate | 0.0001 |" in card.text
    assert "decay_factor" not in card.text  # without epochs it does nothing
    assert "hidden_size | 64" in card.text


def test_nothing_is_claimed_of_weights_whose_run_is_unknown(tmp_path):
    TASKS["vqa"].model_class(tiny_config(genotype="S|GR")).save_pretrained(tmp_path)
    card = model_card(tmp_path)
    assert "How this came about is not recorded." in card.text
    assert "Nothing was measured." in card.text
    assert not card.data.eval_results


@pytest.fixture(scope="module")
def converted(workplace):
    """The folder of a network from another program's checkpoint, whose words are not known."""
    torch.manual_seed(0)
    network = TASKS["vqa"].model_class(tiny_config(genotype="S|GR"))
    checkpoint = foreign.save_checkpoint(to_original(network)[1], workplace / "checkpoint.pkl")
    folder = workplace / "converted"
    assert call("convert.py", "--task vqa --genotype S|GR --checkpoint", checkpoint, "--output_dir", folder).code == 0
    return folder


def test_conversion_ends_with_a_card_that_claims_no_training_or_score(converted):
    card = ModelCard.load(converted / "README.md")
    assert (converted / "genotype.png").is_file()
    assert block_of(card, BASH).startswith("python scripts/convert.py --task vqa")
    assert "whose training is not recorded here" in card.text
    assert "Nothing was measured." in card.text


def test_the_licence_of_converted_weights_is_left_to_their_authors(converted):
    card = ModelCard.load(converted / "README.md")
    assert "license" not in card.data.to_dict()
    assert "Weights: under the licence of the checkpoint's authors, which is not known here." in card.text


@every_task
def test_weights_that_were_trained_here_are_under_the_packages_licence(trained, task):
    card = ModelCard.load(trained[task] / "README.md")
    assert card.data.license == "apache-2.0"
    assert "Weights and card: Apache-2.0" in card.text


def test_what_the_card_of_a_network_without_words_shows_runs(converted):
    names = {}
    exec(block_of(ModelCard.load(converted / "README.md")), names)
    assert names["network"].config.space == Genotype.parse("S|GR").as_space()


def test_a_network_of_a_published_architecture_says_so(tmp_path):
    config = tiny_config(genotype="mmnas-vqa")
    TASKS["vqa"].model_class(config).save_pretrained(tmp_path)
    assert "It is published as `mmnas-vqa`." in model_card(tmp_path).text


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json"):
        model_card(tmp_path)


@pytest.mark.parametrize(
    ("genotype", "box_feature", "warned"), [("S|GR", False, True), ("S|GD", False, False), ("S|GR", True, False)]
)
def test_only_networks_that_cannot_tell_left_from_right_say_so(tmp_path, genotype, box_feature, warned):
    config = tiny_config(genotype=genotype, box_feature=box_feature)
    TASKS["vqa"].model_class(config).save_pretrained(tmp_path)
    assert ("left from right" in model_card(tmp_path).text) == warned


# Supernets


def test_a_search_ends_with_its_supernets_card_and_a_drawing(searched):
    assert (searched / "genotype.png").is_file()
    assert "supernet" in ModelCard.load(searched / "README.md").data.tags


def test_a_supernets_card_shows_the_networks_trained_from_scratch_and_claims_no_score(searched):
    card = ModelCard.load(searched / "README.md")
    assert not card.data.eval_results
    rows = json.loads((searched.parent / "results.json").read_text())["networks"]
    bars = [row["genotype"].replace("|", r"\|") for row in rows]
    assert all(f"| {row['name']} | {genotype} |" in card.text for row, genotype in zip(rows, bars, strict=True))


def test_a_supernets_card_names_the_search(searched):
    card = ModelCard.load(searched / "README.md")
    assert block_of(card, BASH).startswith("python scripts/search.py --task vqa --data data-vqa")
    assert "Searched on data-vqa with seed 7" in card.text
    assert card.text.startswith("\n# search-supernet\n")
    assert "It is one of the 32 architectures" in card.text


def test_what_a_supernets_card_shows_runs(searched):
    names = {}
    exec(block_of(ModelCard.load(searched / "README.md")), names)
    assert names["network"].config.space.size == 1


def test_files_around_a_supernet_that_no_search_left_are_not_its_record(searched, tmp_path):
    shutil.copy(searched / "config.json", tmp_path / "config.json")
    shutil.copytree(tmp_path, tmp_path / "mine")
    shutil.copy(searched.parent / "run.json", tmp_path)
    assert "How this came about is not recorded." in model_card(tmp_path / "mine").text


# Architectures


@every_task
def test_an_architectures_card_has_its_scores_and_how_it_was_found(task):
    search = {"data": "scenes", "command": "python scripts/search.py", "seed": 3, "strategy": "binary gates"}
    card = architecture_card(Genotype.parse("SF|GR"), "somebody/found", task, {"accuracy": 0.5}, search)
    assert results_of(card)["test", "accuracy"].metric_value == 0.5
    assert "Searched on scenes with seed 3" in card.text
    assert "| strategy | binary gates |" in card.text
    assert 'Genotype.from_pretrained("somebody/found")' in block_of(card)


def test_an_architecture_of_which_nothing_else_is_known_has_a_card():
    card = architecture_card(Genotype.parse("SF|GR"), "somebody/found", "vqa")
    assert "How this came about is not recorded." in card.text
    assert not card.data.eval_results


def test_scores_on_data_without_a_name_are_on_unknown_data():
    card = architecture_card(Genotype.parse("SF|GR"), "somebody/found", "vqa", {"accuracy": 0.5})
    assert "| unknown data | test | accuracy | 0.5 |" in card.text


def test_what_has_no_place_of_its_own_in_an_architectures_card_is_listed():
    search = {"space": "the published one", "source": "a friend", "budget": {"steps": 5000, "seconds": 60.5}}
    card = architecture_card(Genotype.parse("SF|GR"), "somebody/found", "vqa", search=search)
    rows = ("| space | the published one |", "| source | a friend |", "| budget | steps 5000, seconds 60.5 |")
    assert all(row in card.text for row in rows)


def test_a_searchs_space_is_counted():
    space = {"encoder": [["self_att_64", "feed_forward"]] * 2, "decoder": [["guided_att_64"]]}
    card = architecture_card(Genotype.parse("SF|G"), "somebody/found", "vqa", search={"space": space})
    assert "It is one of the 4 architectures" in card.text


# Committed cards


def test_rendering_again_gives_the_committed_cards(tmp_path):
    shutil.copytree(CARDS / "records", tmp_path / "records")
    assert call("render_cards.py", "--folder", tmp_path).code == 0
    rendered = {path.name: path.read_bytes() for path in tmp_path.glob("*.md")}
    assert rendered == {path.name: path.read_bytes() for path in CARDS.glob("*.md")}


@every_record
def test_a_committed_card_has_its_drawing(path):
    assert f"(pictures/{path.stem}.png)" in (CARDS / f"{path.stem}.md").read_text()
    assert (CARDS / "pictures" / f"{path.stem}.png").is_file()


@every_record
def test_a_committed_card_says_where_its_scores_come_from(path):
    record = Record.load(path)
    results = results_of(ModelCard.load(CARDS / f"{path.stem}.md")).values()
    assert results
    if record.source:
        assert all(result.verified is False and result.source_url == record.source["url"] for result in results)
    else:
        assert record.command
        assert record.seed is not None


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_has_a_card(name):
    record = Record.load(CARDS / "records" / f"{name}.json")
    assert record.genotype == str(PUBLISHED[name])
    assert "the authors' own numbers, not measured here" in (CARDS / f"{name}.md").read_text()


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_a_published_networks_card_shows_runs_in_six_lines(name):
    block, names = block_of(ModelCard.load(CARDS / f"{name}.md")), {}
    assert sum(map(bool, block.splitlines())) <= LINES
    with torch.device("meta"):
        exec(block, names)
    assert names["network"].config.space == PUBLISHED[name].as_space()


def test_a_runs_record_is_taken_in_beside_the_others(trained, tmp_path):
    assert call("render_cards.py", "--add", trained["itm"], "--folder", tmp_path).code == 0
    assert (tmp_path / "pictures" / "itm.png").is_file()
    assert Record.load(tmp_path / "records" / "itm.json") == read_record(trained["itm"])
    own = ModelCard.load(trained["itm"] / "README.md").content
    assert (tmp_path / "itm.md").read_text() == own.replace("(genotype.png)", "(pictures/itm.png)")


def test_a_folder_without_a_run_is_not_taken_in(tmp_path):
    ended = call("render_cards.py", "--add", tmp_path / "nothing", "--folder", tmp_path)
    assert "nothing/config.json cannot be read" in refusal(ended.code, ended.err, "render_cards.py")
    assert not any(tmp_path.iterdir())


def test_cards_cite_the_paper_that_the_package_cites(card):
    assert CITATION["title"] in card.text
    assert CITATION["doi"] in card.text
    names = (f"{author['given-names']} {author['family-names']}" for author in CITATION["authors"])
    assert " and ".join(names) in card.text


# Data sets


@pytest.mark.parametrize("name", [*DATASETS, *PUBLICATIONS])
def test_every_data_set_has_facts(name):
    assert FACTS[name].limits
    assert FACTS[name].licence


def test_nothing_is_claimed_of_a_data_set_that_is_not_known():
    assert "Nothing is known here" in find_facts("mine").limits[0]


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_goes_by_its_own_name(name):
    assert facts_name(name) == name


def test_a_built_folder_goes_by_its_publication(tmp_path):
    (tmp_path / "dataset.json").write_text('{"publication": "vqa-v2"}')
    assert facts_name(str(tmp_path)) == "vqa-v2"


def test_any_other_folder_goes_by_its_own_name(tmp_path):
    assert facts_name(str(tmp_path)) == tmp_path.name


# Words and paths


@every_task
def test_every_task_has_words_for_its_cards(task):
    assert PHRASES.keys() == TASKS.keys()
    assert all(words_of(task))


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("--max_steps", "--max_steps"),
        ("runs/mine", "runs/mine"),
        ("/home/me/data", "data"),
        ("--data=/home/me/data", "--data=data"),
        ("--data=tables/a=b", "--data=tables/a=b"),
        ("S|GR", "S|GR"),
    ],
)
def test_a_command_keeps_no_folder_of_the_machine(word, kept):
    assert portable(word) == kept


@pytest.mark.parametrize("flag", ["--hub_token", "--hub-token", "--hub_to"])
def test_a_command_keeps_no_token(flag):
    flags = ["--seed", "7", flag, "hf_secret", "--push_to_hub", f"{flag}=hf_secret"]
    assert without_tokens(flags) == ["--seed", "7", flag, "TOKEN", "--push_to_hub", f"{flag}=TOKEN"]


def test_a_path_below_the_working_folder_is_kept_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert portable(str(tmp_path / "runs" / "mine")) == "runs/mine"


def test_flags_in_cards_are_flags_of_the_scripts(searched, trained):
    flags = set()
    for folder in (searched.parent, trained["vqa"]):
        for part in json.loads((folder / "run.json").read_text())["arguments"].values():
            flags |= part.keys()
    assert flags >= set(FLAGS)
