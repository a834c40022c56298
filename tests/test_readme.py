"""What the README shows runs."""

import re
from functools import partial
from pathlib import Path

import pytest
import transformers
from PIL import Image

import mmnas_hf
from hub_server import LocalHub, known_hub
from mmnas_hf.corpus import Corpus
from mmnas_hf.data import RegionStore, load_scenes
from mmnas_hf.genotype import LETTERS
from mmnas_hf.modeling_mmnas import MMnasForVisualQuestionAnswering
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.remote_code import add_remote_code
from mmnas_hf.tasks import TASKS

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
SIZES = {"train": 20, "validation": 10, "test": 10}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder to work in, with a cache of its own and a few small scenes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    small = partial(load_scenes, images=SIZES, num_proc=1)
    monkeypatch.setattr(mmnas_hf, "load_scenes", small)
    return small


def block_with(text):
    (block,) = [block for block in BLOCKS if text in block]
    return block


@pytest.fixture
def network(workplace):
    """An untrained network for questions and its processor, saved where the README's are."""
    corpus = Corpus(TASKS["vqa"], workplace("vqa"))
    config = mmnas_hf.MMnasConfig(**corpus.settings(), hidden_size=64, word_size=16, genotype="S|GR")
    for folder in ("runs/train-scenes-vqa", "owner/name"):
        MMnasForVisualQuestionAnswering(config).save_pretrained(folder)
        corpus.processor.save_pretrained(folder)
    add_remote_code("owner/name")
    return config


def test_every_block_is_tested():
    assert len(BLOCKS) == 5


def test_a_question_is_answered_and_drawn_in_twelve_lines(network, capsys):
    block = block_with("draw(")
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 12
    exec(block, {})
    *_, answer = capsys.readouterr().out.split()
    assert answer in network.label2id
    with Image.open("answer.png") as picture:
        assert picture.height > picture.width


def test_an_architecture_is_shared(workplace, tmp_path):
    with LocalHub() as server, known_hub(server.endpoint, tmp_path / "home"):
        shared: dict = {}
        exec(block_with("push_to_hub"), shared)
        assert shared["same"] == shared["genotype"]
        assert server.repositories["models", "me/arch"].private


def test_a_network_brings_its_code(network):
    loaded: dict = {"transformers": transformers}
    exec(block_with("trust_remote_code"), loaded)
    assert loaded["ask"].model.config.genotype == network.genotype


def test_own_data_becomes_a_folder_that_loads(workplace):
    exec(block_with("save_folder("), {})
    data = mmnas_hf.data.find_source("my_data").load("vgd", None)
    assert {split: len(texts) for split, texts in data.texts.items()} == {"train": 150, "test": 50}
    assert RegionStore(data.images).feature_size == 16


def test_a_new_operation_becomes_searchable():
    before, letters = dict(OPERATIONS), dict(LETTERS)
    try:
        exec(block_with("@operation"), {"__name__": "readme"})
        assert str(mmnas_hf.Genotype.parse("S|EG")) == "S|EG"
    finally:
        OPERATIONS.clear()
        OPERATIONS.update(before)
        LETTERS.clear()
        LETTERS.update(letters)


def test_scripts_named_in_the_readme_exist():
    scripts = set(re.findall(r"scripts/\w+\.py", README.read_text()))
    assert scripts
    assert all((README.parent / script).is_file() for script in scripts)
