"""`scripts/convert.py` makes folders that load and answer as the original does, or one line that says why not."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

import foreign
from mmnas_hf import MMnasProcessor
from mmnas_hf.conversion import to_original
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.tasks import TASKS
from scripts import call, refusal
from tiny import random_batch, tiny_config

TOLERANCE = {"rtol": 0, "atol": 1e-5}
GENOTYPE = "SF|SRGF"


def convert(*arguments):
    return call("convert.py", *arguments)


def refused(*arguments):
    ended = convert(*arguments)
    return refusal(ended.code, ended.err, "convert.py")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TASKS["vqa"].model_class(tiny_config(genotype=Genotype.parse(GENOTYPE))).eval()


@pytest.fixture
def checkpoint(network, tmp_path):
    return foreign.save_checkpoint(to_original(network)[1], tmp_path / "a.pkl")


def flags(checkpoint, folder):
    return (f"--task vqa --genotype {GENOTYPE} --checkpoint", checkpoint, "--output_dir", folder)


def written(folder: Path, content) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(content))
    return path


# The record


def test_a_conversion_is_repeated_from_its_record(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert convert(*flags(checkpoint, "first")).code == 0
    assert convert("--repeat first/run.json --output_dir again").code == 0
    first, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "again"))
    assert again == first


@pytest.mark.parametrize("back", [False, True])
def test_a_conversion_leaves_a_finished_record(back, checkpoint, tmp_path):
    folders = [tmp_path / "model", tmp_path / "back"]
    assert convert(*flags(checkpoint, folders[0])).code == 0
    assert convert("--task vqa --checkpoint", folders[0], "--to_original --output_dir", folders[1]).code == 0
    record = json.loads((folders[back] / "run.json").read_text())
    assert record["arguments"]["ConvertArguments"]["to_original"] is back
    assert "end" in record["stretches"][0]


# What comes out


def outputs(task, tensors, folder):
    """What the converted network says of the recorded inputs, in the form in which the original's was recorded."""
    model = TASKS[task].model_class.from_pretrained(folder).eval()
    features, counts = tensors["inputs.region_features"], tensors["inputs.num_regions"]
    mask = torch.arange(features.shape[1]) < counts[:, None]
    with torch.no_grad():
        output = model(
            input_ids=tensors["inputs.input_ids"],
            attention_mask=tensors["inputs.input_ids"] != 0,
            region_features=features,
            region_boxes=tensors["inputs.region_boxes"],
            region_mask=mask,
        )
    if task == "vgd":
        return output.logits.log_softmax(-1)[mask], output.box_deltas[mask]
    return (output.logits,) if task == "vqa" else (output.logits.squeeze(-1).sigmoid(),)


def recorded_outputs(task, tensors):
    if task == "vqa":
        return (tensors["outputs.logits"],)
    if task == "itm":
        return (tensors["outputs.match_probability"].view(-1),)
    mask = torch.arange(tensors["inputs.region_features"].shape[1]) < tensors["inputs.num_regions"][:, None]
    scores = tensors["outputs.log_scores"].masked_fill(~mask, -torch.inf).log_softmax(-1)  # without its padding
    return scores[mask], tensors["outputs.box_deltas"][mask]


@pytest.mark.parametrize("task", TASKS)
def test_networks_of_the_original_say_the_same_converted_both_ways(task, golden, tmp_path):
    tensors, sizes = foreign.recorded(golden / f"{task}.safetensors")
    first = foreign.save_checkpoint(foreign.part(tensors, "weights."), tmp_path / "a.pkl")
    sides = {side[:3]: [[name] for name in sizes[side]] for side in ("encoder", "decoder")}
    genotype = written(tmp_path, {"epoch0": sides})
    expected = recorded_outputs(task, tensors)
    there, back, again = (tmp_path / name for name in ("there", "back", "again"))

    task_flag = f"--task {task} --checkpoint"
    assert convert(task_flag, first, "--genotype", genotype, "--output_dir", there).code == 0
    torch.testing.assert_close(outputs(task, tensors, there), expected, **TOLERANCE)

    assert convert(task_flag, there, "--to_original --output_dir", back).code == 0
    second = back / "checkpoint.pkl"
    assert convert(task_flag, second, "--genotype", back / "architecture.json", "--output_dir", again).code == 0
    torch.testing.assert_close(outputs(task, tensors, again), expected, **TOLERANCE)


def test_words_and_answers_come_along(checkpoint, tmp_path):
    words = written(tmp_path, {word: n for n, word in enumerate(["PAD", "UNK", "CLS", *map(str, range(17))])})
    answers = written(tmp_path, [{"no": 0, "yes": 1, "a": 2, "b": 3, "c": 4}, {"0": "no"}])
    folder = tmp_path / "model"
    ended = convert(*flags(checkpoint, folder), "--vocab", words, "--answers", answers)
    assert ended.code == 0
    assert "no --" not in ended.out
    assert TASKS["vqa"].model_class.from_pretrained(folder).config.id2label[1] == "yes"
    assert MMnasProcessor.from_pretrained(folder).tokenizer("1 2").input_ids == [4, 5]


def test_the_card_names_the_folder_that_it_ends_up_in(checkpoint, tmp_path):
    assert convert(*flags(checkpoint, tmp_path / "model")).code == 0
    assert '.from_pretrained("model")' in (tmp_path / "model" / "README.md").read_text()


def test_what_is_left_out_is_said(checkpoint, tmp_path):
    ended = convert(*flags(checkpoint, tmp_path / "model"))
    assert ended.code == 0
    assert "network SF|SRGF: " in ended.out
    assert "no --vocab: the folder has no processor" in ended.out
    assert "no --answers: answers have numbers" in ended.out


def test_a_search_gives_a_supernet_and_what_it_found(tmp_path):
    model = TASKS["vqa"].model_class(tiny_config(search_space=SearchSpace.chain(1, 2))).eval()
    tensors = to_original(model)[1]
    tensors["backnone.cells_dec.0.dag.1.0.alpha_prob"] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    checkpoint = foreign.save_checkpoint(tensors, tmp_path / "a.pkl")
    ended = convert("--task vqa --checkpoint", checkpoint, "--output_dir", tmp_path / "model")
    assert "supernet, most probable S|SR" in ended.out
    supernet = TASKS["vqa"].model_class.from_pretrained(tmp_path / "model").eval()
    genotype = Genotype.load(tmp_path / "model" / "genotype.json")
    batch = random_batch(supernet.config)
    with torch.no_grad():
        expected = model(**batch, path=genotype.as_path()).logits
        torch.testing.assert_close(supernet.derive(genotype)(**batch).logits, expected, **TOLERANCE)


def test_a_network_of_openvqa_is_converted_with_its_configuration(tmp_path):
    weights, settings = foreign.mmnasnet_tensors(), tmp_path / "small.yml"
    settings.write_text(foreign.MMNASNET_SETTINGS)
    checkpoint = foreign.save_checkpoint(weights, tmp_path / "a.pkl", prefix="")
    folder = tmp_path / "model"
    assert convert("--task vqa --checkpoint", checkpoint, "--genotype", settings, "--output_dir", folder).code == 0
    model = TASKS["vqa"].model_class.from_pretrained(folder).eval()
    batch = random_batch(model.config)
    with torch.no_grad():
        logits = model(**batch).logits
    torch.testing.assert_close(logits, foreign.read_mmnasnet(weights, batch), **TOLERANCE)


# What is refused


class Hostile:
    def __reduce__(self):
        return (os.mkdir, ("hostile",))


def hostile(path):
    torch.save({"state_dict": {}, "epoch": Hostile()}, path)


def bare_hostile(path):
    path.write_bytes(pickle.dumps(Hostile()))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def corrupt(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_text(path):
    path.write_text("<html>not found</html>")


@pytest.mark.parametrize("spoil", [hostile, bare_hostile, truncate, corrupt, replace_by_text, Path.unlink])
def test_a_spoilt_checkpoint_is_refused_in_one_line(checkpoint, tmp_path, monkeypatch, spoil):
    monkeypatch.chdir(tmp_path)
    spoil(checkpoint)
    assert str(checkpoint) in refused(*flags(checkpoint, tmp_path / "model"))
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "hostile").exists()


def test_what_does_not_fit_leaves_no_folder(checkpoint, tmp_path):
    line = refused(*flags(checkpoint, tmp_path / "model"), "--answers", written(tmp_path, ["yes", "no"]))
    assert "2 answers; the network has 5 outputs" in line
    assert not (tmp_path / "model").exists()


def test_a_card_that_cannot_be_written_leaves_no_folder(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("mmnas_hf.cards.TEMPLATE", tmp_path / "missing.md")
    refused(*flags(checkpoint, tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_a_folder_that_is_not_empty_is_refused(checkpoint, tmp_path):
    assert "is not empty" in refused(*flags(checkpoint, tmp_path))


def test_a_folder_has_its_own_architecture(checkpoint, tmp_path):
    assert "takes no --genotype" in refused(*flags(checkpoint, tmp_path / "model"), "--to_original")


def test_a_folder_of_another_task_is_refused(network, tmp_path):
    network.save_pretrained(tmp_path / "model")
    line = refused("--task vgd --to_original --checkpoint", tmp_path / "model", "--output_dir", tmp_path / "back")
    assert "task vgd needs MMnasForVisualGrounding" in line
    assert not (tmp_path / "back").exists()


def test_help_says_what_can_be_converted():
    ended = convert("--help")
    assert ended.code == 0
    for word in ("mmnas-vqa", "mmnasnet_small.yml", "--to_original", "answer_dict.json"):
        assert word in ended.out
