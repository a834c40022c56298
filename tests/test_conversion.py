"""Networks of the original and of openvqa compute the same here, go back bit for bit, and are read without trust."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

import foreign
from mmnas_hf.conversion import (
    Architecture,
    from_original,
    genotype_of,
    label_answers,
    new_folder,
    probabilities_of,
    read_architecture,
    read_besides,
    read_entries,
    read_tensors,
    save_converted,
    save_original,
    to_original,
    words_processor,
)
from mmnas_hf.conversion.dialects import MODULES, NODE_MODULES
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype, SearchSpace, mcan
from mmnas_hf.tasks import TASKS
from tiny import random_batch, tiny_config

TOLERANCE = {"rtol": 0, "atol": 1e-5}
GOLDEN = (*TASKS, "supernet_vqa")

every_golden = pytest.mark.parametrize("name", GOLDEN)
every_task = pytest.mark.parametrize("task", TASKS)
every_form = pytest.mark.parametrize("new_form", [False, True], ids=["legacy", "zip"])


def small_network(task="vqa", **changes):
    torch.manual_seed(0)
    settings = {"genotype": Genotype.parse("SF|SRGF"), "num_labels": 1 if task != "vqa" else 5, **changes}
    return TASKS[task].model_class(tiny_config(**settings)).eval()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def refused(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The original


@every_golden
@every_form
def test_a_checkpoint_of_the_original_comes_back_bit_for_bit(golden, name, new_form, tmp_path):
    tensors = foreign.original_tensors(golden / f"{name}.safetensors")
    path = foreign.save_checkpoint(tensors, tmp_path / "a.pkl", _use_new_zipfile_serialization=new_form)
    _, sizes = foreign.recorded(golden / f"{name}.safetensors")
    architecture = Architecture(foreign.genotype_in(sizes)) if name in TASKS else None
    task = TASKS[name.removeprefix("supernet_")]
    converted = from_original(read_tensors(path), task, architecture)
    with new_folder(tmp_path / "model") as folder:
        save_converted(converted, folder)
    model = task.model_class.from_pretrained(tmp_path / "model")
    with new_folder(tmp_path / "back") as folder:
        save_original(model, read_besides(tmp_path / "model"), folder)
    back = torch.load(tmp_path / "back" / "checkpoint.pkl", weights_only=True)["state_dict"]
    assert same(back, {f"module.{name}": tensor for name, tensor in tensors.items()})


@every_task
def test_sizes_follow_from_the_tensors(golden, task):
    _, sizes = foreign.recorded(golden / f"{task}.safetensors")
    config = foreign.golden_network(golden / f"{task}.safetensors").model.config
    found = [config.vocab_size, config.word_size, config.region_size, config.hidden_size]
    found += [config.relation_size, config.pooler_size]
    names = ["vocab_size", "word_embed_size", "region_feature_size", "hidden_size", "relation_size"]
    assert found == [sizes[name] for name in [*names, "attention_pool_mlp_size"]]
    assert config.num_labels == (sizes["num_answers"] if task == "vqa" else 1)


@every_task
@pytest.mark.parametrize("box_feature", [False, True])
@pytest.mark.parametrize("genotype", ["SF|SRGF", "SFSF|SGFSGF"])
def test_networks_of_this_package_come_back_bit_for_bit(task, box_feature, genotype):
    model = small_network(task, box_feature=box_feature, genotype=Genotype.parse(genotype))
    dialect, tensors = to_original(model)
    back = from_original(tensors, TASKS[task], Architecture(Genotype.parse(genotype)))
    assert same(back.model.state_dict(), model.state_dict())
    assert back.model.config.box_feature == box_feature
    assert dialect.title == "a network of MMnas"


@pytest.mark.parametrize("task", ["vqa", "vgd"])
def test_a_supernet_of_this_package_goes_to_the_original_with_uniform_alphas(task):
    model = small_network(task, genotype=None, search_space=SearchSpace.chain(1, 2))
    back = from_original(to_original(model)[1], TASKS[task])
    assert same(back.model.state_dict(), model.state_dict())
    assert probabilities_of(back)[1] == dict.fromkeys(model.config.space.decoder[0], 0.25)


def test_what_the_network_does_not_use_stays_beside_it():
    """The original always embeds relations between regions, here no operation reads them."""
    besides = {"linear_y_rel.weight": torch.rand(16, 4), "linear_y_rel.bias": torch.rand(16)}
    network = small_network(genotype=mcan(2, 3))
    tensors = to_original(network)[1] | besides
    assert same(from_original(tensors, TASKS["vqa"], Architecture(mcan(2, 3))).besides, besides)


def test_a_search_leaves_its_most_probable_network_and_its_probabilities(golden, tmp_path):
    converted = foreign.golden_network(golden / "supernet_vqa.safetensors")
    with new_folder(tmp_path / "model") as folder:
        save_converted(converted, folder)
    tensors, _ = foreign.recorded(golden / "supernet_vqa.safetensors")
    best = [int(tensors[f"full.alpha_before.{node}"].argmax()) for node in range(5)]
    space = converted.model.config.space
    genotype = Genotype.load(tmp_path / "model" / "genotype.json")
    assert genotype == space.genotype([node[index] for node, index in zip(space.nodes, best, strict=True)])
    assert genotype == genotype_of(converted)
    probabilities = json.loads((tmp_path / "model" / "probabilities.json").read_text())
    expected = tensors["full.alpha_before.4"].softmax(0)
    torch.testing.assert_close(torch.tensor(list(probabilities["decoder"][-1].values())), expected)
    assert [len(probabilities[side]) for side in ("encoder", "decoder")] == [len(space.encoder), len(space.decoder)]


def test_operations_of_this_package_alone_cannot_go_to_the_original():
    model = small_network(genotype=Genotype.parse("S|DI"))
    assert "the original has no signed_rel_self_att_64, identity" in refused(to_original, model)
    message = refused(from_original, to_original(small_network())[1], TASKS["vqa"], Architecture(Genotype.parse("S|D")))
    assert "the original has no signed_rel_self_att_64" in message


def test_a_space_of_its_own_cannot_go_to_the_original():
    space = SearchSpace.chain(1, 2, decoder_candidates=("self_att_64", "guided_att_64"))
    model = small_network(genotype=None, search_space=space)
    assert "published candidates" in refused(to_original, model)


def test_relations_between_pixels_cannot_go_to_openvqa_beside_a_box_feature():
    settings = {"attention_bias": True, "box_feature": True}
    model = small_network("vqa", genotype=Genotype.parse("SF|SRGF"), **settings)
    assert "those of relations too" in refused(to_original, model)


def test_every_module_of_the_table_is_one_of_some_network():
    """A misspelt line would otherwise only show with a checkpoint that nobody here has."""
    models = [small_network(task, box_feature=True) for task in TASKS]
    modules = {name.rpartition(".")[0] for model in models for name in model.state_dict()}
    inside = {module.split(".", 5)[-1] for module in modules if module.startswith("mmnas.backbone.")}
    assert set(MODULES) == {module for module in modules if not module.startswith("mmnas.backbone.")}
    assert set(NODE_MODULES) == inside


# What does not fit


@pytest.fixture
def tensors():
    return to_original(small_network())[1]


def test_all_trouble_is_named_at_once(tensors):
    tensors["proj.weight"] = torch.zeros(5, 7)
    tensors["attflat_x.mlp.linear.weight"] = torch.zeros(2, 16)
    tensors["unknown.weight"] = tensors["unknown.bias"] = torch.zeros(1)
    del tensors["lstm.bias_ih_l0"], tensors["proj_norm.a_2"]
    message = refused(from_original, tensors, TASKS["vqa"], Architecture(Genotype.parse("SF|SRGF")))
    assert "missing: lstm.bias_ih_l0, proj_norm.a_2; left over: unknown.bias, unknown.weight; of wrong" in message
    assert "attflat_x.mlp.linear.weight [2, 16] instead of [1, 16], proj.weight [5, 7] instead of [5, 128]" in message


def test_without_a_tensor_that_tells_a_size_shapes_are_not_compared(tensors):
    del tensors["lstm.weight_hh_l0"]
    message = refused(from_original, tensors, TASKS["vqa"], Architecture(Genotype.parse("SF|SRGF")))
    assert message.endswith("; missing: lstm.weight_hh_l0")


def test_long_lists_of_names_are_cut(tensors):
    tensors |= {f"extra.{number:03}": torch.zeros(1) for number in range(50)}
    message = refused(from_original, tensors, TASKS["vqa"], Architecture(Genotype.parse("SF|SRGF")))
    assert "extra.019, and 30 more" in message
    assert "extra.020" not in message


def test_a_wrong_genotype_is_refused(tensors):
    message = refused(from_original, tensors, TASKS["vqa"], Architecture(Genotype.parse("SF|SFGF")))
    assert "missing: backnone.cells_dec.0.dag.1.0.mlp.fc.linear.bias" in message


def test_a_missing_genotype_is_asked_for(tensors):
    assert "give --genotype" in refused(from_original, tensors, TASKS["vqa"])


def test_a_wrong_task_is_refused(tensors):
    message = refused(from_original, tensors, TASKS["vgd"], Architecture(Genotype.parse("SF|SRGF")))
    assert "for task vgd; missing: attfc_y.bias" in message
    assert "left over: attflat_y" in message


def test_a_width_that_is_no_number_of_heads_is_refused(tensors):
    tensors["lstm.weight_hh_l0"] = torch.zeros(400, 100)
    message = refused(from_original, tensors, TASKS["vqa"], Architecture(Genotype.parse("SF|SRGF")))
    assert "hidden_size 100 is no multiple" in message


def test_a_supernet_takes_no_genotype():
    tensors = to_original(small_network(genotype=None, search_space=SearchSpace.chain(1, 2)))[1]
    assert "takes no genotype" in refused(from_original, tensors, TASKS["vqa"], Architecture(mcan()))


def test_a_supernet_without_its_alphas_is_refused():
    tensors = to_original(small_network(genotype=None, search_space=SearchSpace.chain(1, 2)))[1]
    del tensors["backnone.cells_dec.0.dag.1.0.alpha_prob"]
    assert "missing: backnone.cells_dec.0.dag.1.0.alpha_prob" in refused(from_original, tensors, TASKS["vqa"])


def test_other_networks_are_refused():
    assert "begin with conv1.weight" in refused(from_original, {"conv1.weight": torch.zeros(1)}, TASKS["vqa"])


# openvqa


@pytest.fixture
def settings_file(tmp_path):
    def write(text):
        path = tmp_path / "settings.yml"
        path.write_text(text)
        return str(path)

    return write


def openvqa_batch():
    return random_batch(tiny_config(vocab_size=foreign.WORDS, region_size=foreign.REGION))


def assert_answers_are(expected, converted, batch):
    with torch.no_grad():
        torch.testing.assert_close(converted.model(**batch).logits, expected, **TOLERANCE)


@pytest.mark.parametrize("box_feature", [False, True])
def test_an_mcan_answers_as_openvqas(settings_file, box_feature):
    weights, batch = foreign.openvqa_tensors(foreign.MCAN_LAYERS, box_feature=box_feature), openvqa_batch()
    settings = settings_file(foreign.MCAN_SETTINGS + f"BBOX_NORMALIZE: {box_feature}\n")
    converted = from_original(weights, TASKS["vqa"], read_architecture(settings))
    assert converted.model.config.genotype == mcan(4, 6).to_dict()
    assert_answers_are(foreign.read_mcan(weights, batch), converted, batch)


def test_an_mmnasnet_answers_as_openvqas(settings_file):
    weights, batch = foreign.mmnasnet_tensors(), openvqa_batch()
    converted = from_original(weights, TASKS["vqa"], read_architecture(settings_file(foreign.MMNASNET_SETTINGS)))
    assert str(genotype_of(converted)) == "SF|GFRS"
    assert_answers_are(foreign.read_mmnasnet(weights, batch), converted, batch)


@pytest.mark.parametrize(
    ("weights", "settings"),
    [
        (foreign.openvqa_tensors(foreign.MCAN_LAYERS), foreign.MCAN_SETTINGS),
        (foreign.mmnasnet_tensors(), foreign.MMNASNET_SETTINGS),
    ],
    ids=["mcan", "mmnasnet"],
)
def test_networks_of_openvqa_come_back_bit_for_bit(weights, settings, settings_file, tmp_path):
    converted = from_original(weights, TASKS["vqa"], read_architecture(settings_file(settings)))
    with new_folder(tmp_path / "back") as folder:
        save_original(converted.model, converted.besides, folder)
    back = torch.load(tmp_path / "back" / "checkpoint.pkl", weights_only=True)["state_dict"]
    assert same(back, weights)
    again = from_original(back, TASKS["vqa"], read_architecture(str(tmp_path / "back" / "architecture.yml")))
    assert again.model.config.genotype == converted.model.config.genotype


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("MULTI_HEAD: 1", "only heads of 64"),
        ("MULTI_HEAD: x", "invalid literal"),
        ("BBOX_NORMALIZE: true", "normalised boxes"),
        ("ARCH: {enc: [SA]}", "'dec'"),
        ("ARCH: {enc: [SA], dec: [CNN]}", "unknown operation 'CNN'"),
    ],
)
def test_what_is_not_computed_here_is_refused(changed, reason, settings_file):
    path = settings_file(foreign.MMNASNET_SETTINGS + changed + "\n")
    message = refused(lambda: from_original(foreign.mmnasnet_tensors(), TASKS["vqa"], read_architecture(path)))
    assert reason in message


def test_box_features_in_pixels_are_refused(settings_file):
    weights = foreign.openvqa_tensors(foreign.MCAN_LAYERS, box_feature=True)
    architecture = read_architecture(settings_file(foreign.MCAN_SETTINGS))
    assert "in pixels" in refused(from_original, weights, TASKS["vqa"], architecture)


@pytest.mark.parametrize("text", ["- 1", "a: [", "HIDDEN_SIZE: 512", "!!python/object/apply:os.system [ls]", ""])
def test_yaml_that_is_no_configuration_is_refused(text, settings_file):
    assert "settings.yml" in refused(read_architecture, settings_file(text))


def test_openvqas_networks_need_their_configuration():
    weights = foreign.openvqa_tensors(foreign.MCAN_LAYERS)
    assert "give its .yml" in refused(from_original, weights, TASKS["vqa"], Architecture(mcan(4, 6)))


@pytest.mark.parametrize("task", ["vgd", "itm"])
def test_openvqas_networks_only_answer_questions(task, settings_file):
    weights = foreign.openvqa_tensors(foreign.MCAN_LAYERS)
    refused(from_original, weights, TASKS[task], read_architecture(settings_file(foreign.MCAN_SETTINGS)))


# Files that are not trusted


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.fixture
def checkpoint(tmp_path):
    def write(**settings):
        return foreign.save_checkpoint(to_original(small_network())[1], tmp_path / "a.pkl", **settings)

    return write


@every_form
def test_a_hostile_checkpoint_is_refused_and_not_run(tmp_path, new_form):
    state = {"state_dict": {"embedding.weight": torch.ones(2)}, "epoch": Hostile(tmp_path / "run")}
    torch.save(state, tmp_path / "a.pkl", _use_new_zipfile_serialization=new_form)
    message = refused(read_tensors, tmp_path / "a.pkl")
    assert "it asks for posix.system; do not trust this file" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Hostile(tmp_path / "run"), protocol=protocol))
    message = refused(read_tensors, tmp_path / "a.pkl")
    assert "weights_only" not in message
    assert not (tmp_path / "run").exists()


@every_form
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_off_checkpoint_is_refused(checkpoint, new_form, share):
    path = checkpoint(_use_new_zipfile_serialization=new_form)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged or cut off" in refused(read_tensors, path)


def test_one_wrong_byte_among_the_weights_is_noticed(checkpoint):
    path = checkpoint()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "is damaged" in refused(read_tensors, path)


def test_a_compressed_checkpoint_is_refused(checkpoint, tmp_path):
    with (
        zipfile.ZipFile(checkpoint()) as archive,
        zipfile.ZipFile(tmp_path / "b.pkl", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in archive.namelist():
            new.writestr(name, archive.read(name))
    assert "was compressed" in refused(read_tensors, tmp_path / "b.pkl")


@pytest.mark.parametrize("content", [[1], {"state_dict": 3}, {"state_dict": {"a": 3}}, torch.ones(2)])
def test_a_checkpoint_without_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "a.pkl")
    assert "holds no state_dict of tensors" in refused(read_tensors, tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "tensor", [torch.ones(1).expand(1 << 40), torch.ones(2, dtype=torch.long), torch.empty(1 << 40, device="meta")]
)
def test_tensors_that_no_network_has_are_refused(tensor, tmp_path):
    torch.save({"state_dict": {"embedding.weight": tensor}}, tmp_path / "a.pkl")
    assert "no plain tensor of real numbers" in refused(read_tensors, tmp_path / "a.pkl")


def test_tensors_that_share_memory_are_told_apart(tensors, tmp_path):
    tensors["attflat_y.linear_merge.bias"] = tensors["attflat_x.linear_merge.bias"]
    path = foreign.save_checkpoint(tensors, tmp_path / "a.pkl")
    converted = from_original(read_tensors(path), TASKS["vqa"], Architecture(Genotype.parse("SF|SRGF")))
    converted.model.save_pretrained(tmp_path / "model")
    loaded = TASKS["vqa"].model_class.from_pretrained(tmp_path / "model")
    assert same(loaded.state_dict(), converted.model.state_dict())


def test_a_missing_checkpoint_is_named(tmp_path):
    assert "no checkpoint" in refused(read_tensors, tmp_path / "none.pkl")


def test_broken_safetensors_are_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"12345678{")
    assert "no readable safetensors" in refused(read_tensors, tmp_path / "a.safetensors")


# Words and answers


@pytest.mark.parametrize(
    "content", [["no", "yes"], {"yes": 1, "no": 0}, [{"yes": 1, "no": 0}, {"1": "yes", "0": "no"}]]
)
def test_texts_by_number_are_read_in_every_form(content, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    assert read_entries(tmp_path / "a.json") == read_entries(tmp_path / "a.pkl") == ["no", "yes"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (["a", "b", "a"], "'a' twice"),
        ({"a": 0, "b": 2}, "not 0 to 1"),
        ({"a": "0"}, "give each text a number"),
        ([1, 2], "holds no texts"),
        ([], "holds no texts"),
        ("text", "holds no texts"),
    ],
)
def test_texts_without_a_number_each_are_refused(content, reason, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert reason in refused(read_entries, tmp_path / "a.json")


def test_a_hostile_vocabulary_is_refused_and_not_run(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Hostile(tmp_path / "run")))
    assert "not plain data" in refused(read_entries, tmp_path / "a.pkl")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("special", [[], ["PAD", "UNK", "CLS"]])
def test_words_keep_their_numbers(special):
    words = [f"word{number}" for number in range(17)]
    processor = words_processor([*special, *words], tiny_config(), TASKS["itm"])
    assert processor.tokenizer("Word0, nothing WORD16").input_ids == [3, 1, 19]
    assert processor.tokenizer.model_max_length == TASKS["itm"].max_words


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["PAD", "UNK", "CLS", "red"], "has 4 words"),
        ([*(f"word{number}" for number in range(17)), "PAD", "UNK", "CLS"], "must begin with PAD, UNK, CLS"),
    ],
)
def test_words_that_would_change_their_numbers_are_refused(words, reason):
    assert reason in refused(words_processor, words, tiny_config(), TASKS["vqa"])


def test_answers_name_the_outputs():
    config = tiny_config()
    label_answers(config, ["a", "b", "c", "d", "e"])
    assert config.id2label[4] == "e"
    assert config.label2id["e"] == 4
    assert "3 answers; the network has 5" in refused(label_answers, config, ["a", "b", "c"])


# Folders


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail(folder):
        with new_folder(folder) as draft:
            (draft / "file").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "deep" / "new") as draft:
        (draft / "file").write_text("whole")
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["new", "file"]


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path, tmp_path / "file", tmp_path / "file" / "below"):
        refused(lambda folder=folder: new_folder(folder).__enter__())
    assert (tmp_path / "file").read_text() == "mine"


def test_the_architecture_goes_back_as_the_original_reads_it(tmp_path):
    with new_folder(tmp_path / "back") as folder:
        save_original(small_network(), {}, folder)
    written = json.loads((tmp_path / "back" / "architecture.json").read_text())
    assert written["epoch0"]["enc"] == [["self_att_64"], ["feed_forward"]]
    assert read_architecture(str(tmp_path / "back" / "architecture.json")).genotype == Genotype.parse("SF|SRGF")


def test_a_configuration_of_openvqa_has_all_its_sizes(tmp_path):
    with new_folder(tmp_path / "back") as folder:
        save_original(small_network(attention_bias=True, genotype=Genotype.parse("SF|GF")), {}, folder)
    written = yaml.safe_load(Path(tmp_path / "back" / "architecture.yml").read_text())
    assert written["ARCH"] == {"enc": ["SA", "FFN"], "dec": ["GA", "FFN"]}
    assert (written["HIDDEN_SIZE"], written["MULTI_HEAD"], written["FLAT_OUT_SIZE"]) == (64, 1, 128)
