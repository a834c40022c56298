"""A configuration rebuilds its network, whatever form its architecture was given in."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import PUBLISHED, Genotype, SearchSpace

ARCHITECTURES = {
    "short form": {"genotype": "SF|RGF"},
    "genotype": {"genotype": Genotype.parse("SF|RGF")},
    "dictionary": {"genotype": Genotype.parse("SF|RGF").to_dict()},
    "published name": {"genotype": "mmnas-vqa"},
    "space": {"search_space": SearchSpace.chain(1, 2)},
    "space's dictionary": {"search_space": SearchSpace.chain(1, 2).to_dict()},
    "nothing": {},
}

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)


@every_architecture
def test_a_saved_configuration_loads_as_it_was(architecture, tmp_path):
    config = MMnasConfig(**architecture, hidden_size=64, id2label={0: "yes", 1: "no"})
    config.save_pretrained(tmp_path)
    assert MMnasConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@every_architecture
def test_a_saved_configuration_is_found_by_its_type(architecture, tmp_path):
    MMnasConfig(**architecture).save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is MMnasConfig


@every_architecture
def test_a_configuration_is_plain_json(architecture):
    config = MMnasConfig(**architecture)
    assert json.loads(config.to_json_string(use_diff=False))["genotype"] == config.genotype


@pytest.mark.parametrize("form", ["short form", "genotype", "dictionary"])
def test_a_genotype_may_be_given_in_any_form(form):
    assert MMnasConfig(**ARCHITECTURES[form]).space == Genotype.parse("SF|RGF").as_space()


def test_without_an_architecture_the_space_is_the_published_one():
    assert MMnasConfig().space == SearchSpace.chain()


def test_a_published_genotype_may_be_named():
    assert MMnasConfig(genotype="mcan").space == PUBLISHED["mcan"].as_space()


def test_a_genotype_and_a_space_at_once_raise():
    with pytest.raises(InputError, match="not both"):
        MMnasConfig(genotype="S|S", search_space=SearchSpace.chain(1, 1))


def test_a_hidden_size_that_heads_do_not_divide_raises():
    with pytest.raises((InputError, StrictDataclassError), match="hidden_size 65 is no multiple of the head size 64"):
        MMnasConfig(hidden_size=65)


def test_a_wrong_type_raises():
    with pytest.raises(StrictDataclassError, match="hidden_size"):
        MMnasConfig(hidden_size="64")


def test_deriving_keeps_all_but_the_architecture():
    config = MMnasConfig(search_space=SearchSpace.chain(2, 3), hidden_size=64, id2label={0: "yes", 1: "no"})
    derived = config.derive(Genotype.parse("SF|RGF"))
    changed = {"genotype", "search_space"}
    kept = {name: value for name, value in config.to_dict().items() if name not in changed}
    assert {name: value for name, value in derived.to_dict().items() if name not in changed} == kept


def test_deriving_gives_the_genotypes_own_space():
    genotype = Genotype.parse("SF|RGF")
    assert MMnasConfig(search_space=SearchSpace.chain(2, 3)).derive(genotype).space == genotype.as_space()


def test_deriving_a_genotype_outside_the_space_raises():
    with pytest.raises(InputError, match="has 4 decoder nodes; the space has 3"):
        MMnasConfig(search_space=SearchSpace.chain(2, 3)).derive(Genotype.parse("SF|RGFS"))


def test_any_architecture_may_take_over_the_sizes():
    config = MMnasConfig(search_space=SearchSpace.chain(2, 3), hidden_size=128).with_genotype(Genotype.parse("|I"))
    assert (config.hidden_size, config.space) == (128, Genotype.parse("|I").as_space())


def test_answers_may_be_many():
    config = MMnasConfig(id2label={number: f"answer {number}" for number in range(3129)})
    assert config.num_labels == 3129
