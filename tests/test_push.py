"""Networks and searches go to a Hub as whole repositories, come back in fresh processes, and give nothing away."""

import json
import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

import runs
from foreign import save_checkpoint
from hub_server import LocalHub, known_hub, python
from mmnas_hf import Genotype, MMnasForVisualQuestionAnswering, MMnasProcessor
from mmnas_hf.conversion import to_original
from mmnas_hf.genotype import SearchSpace
from mmnas_hf.privacy import portable
from mmnas_hf.sharing.architectures import lay_out_architecture
from mmnas_hf.sharing.models import lay_out_run
from mmnas_hf.sharing.runs import read_run
from scripts import call, refusal
from tiny import FEATURE_SIZE, HEIGHT, WIDTH, save_tiny, tiny_config

NOWHERE = "http://127.0.0.1:9"
QUESTION = "Is something red?"
PRIVATE_FILES = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")

PULL_WITHOUT_PACKAGE = """
import sys

sys.modules["mmnas_hf"] = None
import json

import numpy as np
from transformers import AutoModelForVisualQuestionAnswering, AutoProcessor, pipeline

name, regions = sys.argv[1], dict(np.load(sys.argv[2]))
model = AutoModelForVisualQuestionAnswering.from_pretrained(name, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(name, trust_remote_code=True)
inputs = processor(sys.argv[3], [regions["features"]], [regions["boxes"]], [regions["image_size"]])
answers = pipeline("mmnas-vqa", model=name, trust_remote_code=True)({"question": sys.argv[3], **regions})
genotype = sys.modules[f"{type(model).__module__.rpartition('.')[0]}.genotype"]
try:
    genotype.Genotype.from_pretrained(name)
except genotype.InputError as error:
    refusal = str(error)
print(json.dumps({"logits": model(**inputs).logits[0].tolist(), "answer": answers[0]["answer"], "refusal": refusal}))
"""

PULL_WITH_PACKAGE = """
import json, sys

from huggingface_hub import ModelCard
from mmnas_hf import Genotype, MMnasForVisualQuestionAnswering

network, search, architecture = sys.argv[1:]
supernet = MMnasForVisualQuestionAnswering.from_pretrained(search)
found = Genotype.from_pretrained(search)
results = ModelCard.load(network).data.eval_results
print(json.dumps({
    "network": str(Genotype.from_pretrained(network)),
    "weights": sum(float(value.double().sum()) for value in supernet.state_dict().values()),
    "found": str(found),
    "derived": supernet.derive(found).config.genotype,
    "architecture": str(Genotype.load(architecture)),
    "card": {result.metric_name: result.metric_value for result in results},
}))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("push")


@pytest.fixture(scope="module")
def hub(workplace):
    with LocalHub() as server, known_hub(server.endpoint, workplace / "home"):
        yield server


@pytest.fixture(scope="module")
def data(workplace):
    return save_tiny(workplace / "data", "vqa")


@pytest.fixture(scope="module")
def searched(hub, data, workplace):
    """The folder of a search that was pushed as `me/search`."""
    ended = runs.search(data, workplace / "search", "--push_to_hub")
    assert ended.code == 0, ended.err
    return workplace / "search"


@pytest.fixture(scope="module")
def trained(hub, data, workplace):
    """The folder of a training that was pushed as `me/network`, then once more as `me/again`."""
    ended = runs.train(data, workplace / "train", "--push_to_hub --hub_model_id me/network")
    assert ended.code == 0, ended.err
    assert call("push.py", workplace / "train", "again").code == 0
    return workplace / "train"


@pytest.fixture(scope="module")
def pushed(hub, searched, trained):
    """The repositories by name, an architecture's among them."""
    assert call("push.py", searched, "me/architecture", "--architecture").code == 0
    return {name: repository for (_, name), repository in hub.repositories.items()}


repositories = pytest.mark.parametrize("name", ["me/network", "me/search", "me/architecture", "me/again"])


def images(count):
    """Regions of an image, as the processor and the pipeline take them."""
    generator = np.random.default_rng(0)
    features = generator.random((count, FEATURE_SIZE), dtype=np.float32)
    boxes = np.array([[10 * number, 5, 10 * number + 20, 50] for number in range(count)], dtype=np.float32)
    return {"features": features, "boxes": boxes, "image_size": np.array([HEIGHT, WIDTH])}


def last_line(ended):
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.splitlines()[-1])


# What goes up


@repositories
def test_a_repository_is_private(pushed, name):
    assert pushed[name].private


@repositories
def test_a_repository_has_the_genotype_its_drawing_and_a_card(pushed, name):
    assert {"genotype.json", "genotype.png", "architecture.json", "README.md"} <= pushed[name].files.keys()


@pytest.mark.parametrize("name", ["me/network", "me/search", "me/again"])
def test_a_networks_repository_has_weights_processor_code_and_results(pushed, name):
    files = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "results.json", "run.json"}
    assert files <= pushed[name].files.keys()
    assert "modeling_mmnas.py" in pushed[name].files
    assert "auto_map" in json.loads(pushed[name].files["config.json"])


def test_a_searchs_repository_has_the_picture_of_its_probabilities(pushed, searched):
    assert pushed["me/search"].files["probabilities.png"] == (searched / "probabilities.png").read_bytes()


@repositories
def test_nothing_private_is_uploaded(pushed, name):
    assert not any(part in file for part in (*PRIVATE_FILES, "checkpoint", "log") for file in pushed[name].files)


@repositories
def test_no_file_knows_a_local_path(pushed, workplace, name):
    assert not [file for file, content in pushed[name].files.items() if str(workplace).encode() in content]


def test_a_run_whose_command_and_arguments_had_paths_keeps_the_last_names(pushed, data):
    run = json.loads(pushed["me/search"].files["run.json"])
    assert run["arguments"]["DataArguments"]["data"] == data.name
    assert run["arguments"]["SearchArguments"]["output_dir"] == "search"


def test_an_architectures_repository_tells_how_it_was_found(pushed, searched):
    known = json.loads(pushed["me/architecture"].files["architecture.json"])
    results = json.loads((searched / "results.json").read_text())
    assert known["task"] == "vqa"
    assert known["metrics"] == results["networks"][0]["metrics"]
    assert next(iter(known["metrics"])) == "accuracy"
    assert SearchSpace.from_dict(known["search"]["space"]) == SearchSpace.chain(1, 2)
    assert known["search"]["budget"] == {"steps": 2, "retraining_steps": 2}
    assert {"strategy", "seed", "data", "command"} <= known["search"].keys()
    assert {"mmnas_hf", "torch", "transformers"} <= known["versions"].keys()


def test_an_architecture_of_a_training_tells_what_scored_it_and_claims_no_search(trained, tmp_path):
    lay_out_architecture(read_run(trained), tmp_path, "me/given")
    known = json.loads((tmp_path / "architecture.json").read_text())
    run = json.loads((trained / "run.json").read_text())
    assert known["versions"] == run["versions"]
    assert known["search"] == {name: run[name] for name in ("seed", "data")} | {
        "command": portable(run["command"]),
        "split": "test",
    }
    text = ModelCard.load(tmp_path / "README.md").text
    assert "How this architecture was found is not recorded." in text
    assert f"Measured at the end of the command above, with its seed {run['seed']}." in text
    assert known["search"]["command"] in text
    assert "Searched" not in text


def test_a_run_is_uploaded_once_it_is_finished_and_only_then(hub, trained):
    commits = [request for request in hub.requests if request.startswith("POST /api/models/me/network/commit/")]
    assert len(commits) == 1
    assert (trained / "checkpoint-2").is_dir()


# What comes back


def test_a_process_without_the_package_loads_model_processor_and_pipeline(hub, pushed, trained, workplace):
    regions = images(3)
    np.savez(workplace / "regions.npz", **regions)
    home = workplace / "elsewhere"
    arguments = ("-c", PULL_WITHOUT_PACKAGE, "me/network", workplace / "regions.npz", QUESTION)
    pulled = last_line(python(hub.endpoint, home, *arguments, PYTHONPATH=""))
    processor = MMnasProcessor.from_pretrained(trained)
    model = MMnasForVisualQuestionAnswering.from_pretrained(trained).eval()
    inputs = processor(QUESTION, [regions["features"]], [regions["boxes"]], [regions["image_size"]])
    logits = model(**inputs).logits[0]
    torch.testing.assert_close(torch.tensor(pulled["logits"]), logits.detach(), atol=1e-6, rtol=0)
    assert pulled["answer"] == model.config.id2label[logits.argmax().item()]
    assert "install mmnas_hf" in pulled["refusal"]


@pytest.fixture(scope="module")
def pulled(hub, pushed, workplace):
    """What a fresh process with the package loads."""
    names = ("me/network", "me/search", "me/architecture")
    return last_line(python(hub.endpoint, workplace / "other", "-c", PULL_WITH_PACKAGE, *names))


def test_a_process_loads_the_genotype_beside_a_network(pulled):
    assert pulled["network"] == "S|RG"


def test_a_process_loads_a_supernet_and_derives_what_was_found(pulled, searched):
    supernet = MMnasForVisualQuestionAnswering.from_pretrained(searched / "supernet")
    found = Genotype.load(searched / "genotype.json")
    weights = sum(float(value.double().sum()) for value in supernet.state_dict().values())
    assert pulled["weights"] == pytest.approx(weights, abs=1e-9)
    assert pulled["found"] == str(found)
    assert pulled["derived"] == found.to_dict()


def test_a_process_loads_an_architecture(pulled, searched):
    assert pulled["architecture"] == str(Genotype.load(searched / "genotype.json"))


def test_a_process_reads_the_scores_from_the_card(pulled, trained):
    metrics = json.loads((trained / "results.json").read_text())["metrics"]
    assert pulled["card"] == pytest.approx(metrics, abs=1e-4)


@repositories
def test_a_card_says_how_to_load_from_the_hub_even_if_no_owner_was_named(pushed, name):
    assert f'"{name}"' in ModelCard(pushed[name].files["README.md"].decode()).text


# Choices


def test_the_flags_of_the_hub_are_honoured(hub, data, workplace, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    flags = "--push_to_hub --hub_model_id me/open --hub_private_repo false --hub_token hf_tests"
    assert runs.train(data, workplace / "open", flags).code == 0
    assert not hub.repositories["models", "me/open"].private
    assert b"hf_tests" not in hub.repositories["models", "me/open"].files["run.json"]


def test_a_public_repository_is_one_only_if_asked(hub, trained):
    assert "(public)" in call("push.py", trained, "me/public", "--public").out
    assert not hub.repositories["models", "me/public"].private


def test_a_dry_run_shows_files_and_sizes_and_touches_no_network(hub, trained, pushed):
    before = len(hub.requests)
    ended = call("push.py", trained, "me/network", "--dry_run")
    assert ended.code == 0
    assert len(hub.requests) == before
    lines = ended.out.splitlines()
    shown = {line.split()[-1]: int(line.split()[0].replace(",", "")) for line in lines if " bytes " in line}
    uploaded = pushed["me/network"].files
    assert shown == {name: len(uploaded[name]) for name in uploaded.keys() - {".gitattributes"}}


def test_a_second_upload_replaces_the_first_and_leaves_others_files(hub, trained, pushed):
    files = pushed["me/again"].files
    files["model-00001-of-00002.safetensors"] = files["notes.txt"] = b"old"
    assert call("push.py", trained, "me/again").code == 0
    assert "model-00001-of-00002.safetensors" not in files
    assert files["notes.txt"] == b"old"


def test_a_card_of_somebodys_own_is_kept(trained, tmp_path, hub):
    saved = own_network(trained, tmp_path, "---\nlicense: mit\n---\n\n# My network\n")
    assert call("push.py", saved, "me/own").code == 0
    assert hub.repositories["models", "me/own"].files["README.md"] == (saved / "README.md").read_bytes()


def test_a_network_in_parts_is_shared_whole(trained, tmp_path):
    saved = own_network(trained, tmp_path, "# Mine\n")
    (saved / "model.safetensors").unlink()
    model = MMnasForVisualQuestionAnswering.from_pretrained(trained)
    model.save_pretrained(saved, max_shard_size="100KB")
    (tmp_path / "shared").mkdir()
    lay_out_run(saved, tmp_path / "shared", "me/parts")
    assert len(list((tmp_path / "shared").glob("model-*.safetensors"))) > 1
    loaded = MMnasForVisualQuestionAnswering.from_pretrained(tmp_path / "shared")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize("architecture", [{"genotype": "S|RG"}, {"search_space": SearchSpace.chain(1, 2)}])
def test_a_converted_checkpoint_can_be_shared(architecture, tmp_path):
    tensors = to_original(MMnasForVisualQuestionAnswering(tiny_config(**architecture)))[1]
    checkpoint = save_checkpoint(tensors, tmp_path / "a.pkl")
    flags = "--genotype S|RG" if "genotype" in architecture else ""
    folder, shared = tmp_path / "model", tmp_path / "shared"
    ended = call("convert.py", "--task vqa --checkpoint", checkpoint, "--output_dir", folder, flags)
    assert ended.code == 0, ended.err
    shared.mkdir()
    lay_out_run(folder, shared, "me/converted")
    assert not {path.name for path in shared.iterdir()} & {"original.safetensors", "a.pkl"}
    for path in folder.glob("probabilities.json"):  # of a supernet
        assert json.loads((shared / path.name).read_text()) == json.loads(path.read_text())
    assert Genotype.from_pretrained(shared) == Genotype.load(folder / "genotype.json")
    assert MMnasForVisualQuestionAnswering.from_pretrained(shared).config.space.size in (1, 32)


def own_network(trained, tmp_path, card):
    """A saved network that is no script's run, with a card."""
    saved = tmp_path / "saved"
    shutil.copytree(trained, saved, ignore=shutil.ignore_patterns("checkpoint-*", "run.json", "results.json"))
    (saved / "README.md").write_text(card)
    return saved


# What goes wrong


def test_a_local_path_in_a_card_is_refused(trained, tmp_path, hub):
    saved = own_network(trained, tmp_path, "# Mine\n\nTrained on /home/me/data/scenes.\n")
    line = refusal(*call("push.py", saved, "me/leak")[::2], "push.py")
    assert "README.md names the local path '/home/me/data/scenes" in line
    assert ("models", "me/leak") not in hub.repositories


def test_without_a_network_connection_there_is_one_line(trained, workplace):
    with known_hub(NOWHERE, workplace / "home"):
        line = refusal(*call("push.py", trained, "me/network")[::2], "push.py")
    assert f"{NOWHERE} cannot be reached" in line


@pytest.mark.parametrize("name", ["me/network", "network"])
@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_without_a_valid_token_there_is_one_line(hub, trained, monkeypatch, name, token):
    monkeypatch.setenv("HF_TOKEN", token)
    line = refusal(*call("push.py", trained, name)[::2], "push.py")
    assert "run `hf auth login`, or set HF_TOKEN" in line


def test_without_the_right_to_write_a_run_stays_complete(hub, data, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "read_only", True)
    ended = runs.train(data, tmp_path / "run", "--push_to_hub --hub_model_id you/network")
    line = refusal(ended.code, ended.err, "train.py")
    assert "no right" in line
    assert f"{tmp_path / 'run'} is complete" in line
    assert {"model.safetensors", "results.json"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_a_network_does_not_go_where_an_architecture_is(trained, pushed):
    line = refusal(*call("push.py", trained, "me/architecture")[::2], "push.py")
    assert "'me/architecture' is taken" in line


def test_a_name_that_the_hub_cannot_have_is_refused_before_training(data, tmp_path):
    ended = runs.train(data, tmp_path / "run", "--push_to_hub --hub_model_id a/b/c")
    assert "'a/b/c'" in refusal(ended.code, ended.err, "train.py")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flag", ["--hub_strategy checkpoint", "--hub_always_push true", "--hub_revision other"])
def test_flags_for_uploads_of_checkpoints_are_refused(data, tmp_path, flag):
    ended = runs.train(data, tmp_path / "run", f"--push_to_hub {flag}")
    assert "only finished runs are uploaded" in refusal(ended.code, ended.err, "train.py")


def test_a_folder_without_a_network_is_refused(tmp_path):
    line = refusal(*call("push.py", tmp_path, "me/nothing", "--dry_run")[::2], "push.py")
    assert "holds no network" in line


@pytest.mark.parametrize("damage", ["{", "[]", '["ab", "cd"]'])
def test_a_damaged_file_of_a_run_is_one_line(trained, tmp_path, damage):
    saved = own_network(trained, tmp_path, "# Mine\n")
    (saved / "results.json").write_text(damage)
    line = refusal(*call("push.py", saved, "me/nothing", "--dry_run")[::2], "push.py")
    assert "results.json cannot be read" in line


def test_a_run_that_has_not_ended_is_refused(trained, tmp_path):
    saved = own_network(trained, tmp_path, "# Mine\n")
    (saved / "model.safetensors").unlink()
    line = refusal(*call("push.py", saved, "me/nothing", "--dry_run")[::2], "push.py")
    assert "give the folder of a run that has ended" in line
