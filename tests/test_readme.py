"""What the README shows runs."""

import re
from functools import partial
from pathlib import Path

import pytest

import mmnas_hf
from mmnas_hf.corpus import Corpus
from mmnas_hf.data import RegionStore, load_scenes
from mmnas_hf.genotype import LETTERS
from mmnas_hf.modeling_mmnas import MMnasForVisualQuestionAnswering
from mmnas_hf.operations import OPERATIONS
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


def test_every_block_is_tested():
    assert len(BLOCKS) == 3


def test_a_question_is_answered_in_twelve_lines(workplace, capsys):
    corpus = Corpus(TASKS["vqa"], workplace("vqa"))
    config = mmnas_hf.MMnasConfig(**corpus.settings(), hidden_size=64, word_size=16, genotype="S|GR")
    MMnasForVisualQuestionAnswering(config).save_pretrained("runs/train-scenes-vqa")
    corpus.processor.save_pretrained("runs/train-scenes-vqa")
    block = block_with("question[")
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 12
    exec(block, {})
    question, answer = capsys.readouterr().out.strip().rsplit(" ", 1)
    assert question == workplace("vqa").texts["test"][0]["question"]
    assert answer in config.label2id


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
