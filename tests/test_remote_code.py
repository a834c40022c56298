"""A network with its code beside it loads where this package is not, with its processor and its pipeline."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForVisualQuestionAnswering, pipeline

import mmnas_hf
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import LETTERS
from mmnas_hf.modeling_mmnas import MMnasModel
from mmnas_hf.operations import OPERATIONS, Operation, operation
from mmnas_hf.pipeline_mmnas import PIPELINES
from mmnas_hf.processing_mmnas import MMnasProcessor, build_tokenizer
from mmnas_hf.remote_code import add_remote_code
from test_modeling import TASK_CLASSES, build, every_task, run
from tiny import FEATURE_SIZE, random_batch, tiny_config

GENOTYPE = "SF|SRGFID"  # every operation
TEXT_KEYS = {kind.network: (name, kind.text_key) for name, kind in PIPELINES.items()}
LIBRARIES = {"PIL", "huggingface_hub", "numpy", "tokenizers", "torch", "transformers"}
PACKAGE = Path(mmnas_hf.__file__).parent

# Runs where `import mmnas_hf` fails. It loads what is in each folder, uses it, saves it elsewhere, and loads that.
ELSEWHERE = """
import json, sys
sys.modules["mmnas_hf"] = None
import torch, transformers

def load(folder, auto_class):
    network = getattr(transformers, auto_class).from_pretrained(folder, trust_remote_code=True)
    processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    return network, processor

def ask(folder, name, given):
    pipe = transformers.pipeline(name, model=folder, trust_remote_code=True)
    return pipe, pipe(given)

def classes(*made):
    return [type(one).__module__.split(".")[0] + "." + type(one).__name__ for one in made]

def refused(folder):
    try:
        transformers.AutoModel.from_pretrained(folder, trust_remote_code=False)
    except ValueError as error:
        return "trust_remote_code" in str(error)

found = {}
for task, (folder, auto_class, name, given) in json.load(open(sys.argv[1])).items():
    batch = torch.load(folder + "/batch.pt")
    was_refused = refused(folder)
    network, processor = load(folder, auto_class)
    config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=True)
    backbone = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        torch.save(dict(network(**batch)), folder + "/outputs.pt")
        torch.save(dict(backbone(**batch)), folder + "/states.pt")
    pipe, answer = ask(folder, name, given)
    _, inferred = ask(folder, None, given)
    pipe.save_pretrained(folder + "/again")
    again, _ = load(folder + "/again", auto_class)
    same = all(torch.equal(value, again.state_dict()[key]) for key, value in network.state_dict().items())
    found[task] = {
        "classes": classes(config, network, backbone, processor, pipe),
        "ids": [processor.tokenizer("Red?")["input_ids"], tokenizer("Red?")["input_ids"]],
        "answers": [answer, inferred, ask(folder + "/again", name, given)[1]],
        "same": same,
        "refused": was_refused,
    }
json.dump(found, open(sys.argv[2], "w"))
"""


def save(folder, model_class, **architecture):
    """A network and its processor in a folder, with their code."""
    model = build(model_class, **architecture or {"genotype": GENOTYPE})
    model.save_pretrained(folder)
    MMnasProcessor(build_tokenizer(["red", "green"])).save_pretrained(folder)
    add_remote_code(folder)
    return model


def question(network):
    name, key = TEXT_KEYS[network]
    features = torch.arange(3.0 * FEATURE_SIZE).sin().view(3, FEATURE_SIZE).tolist()
    boxes = [[0, 0, 20, 20], [10, 5, 60, 50], [0, 30, 90, 40]]
    return name, {key: "red green", "features": features, "boxes": boxes, "image_size": [100, 100]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """For each task, a folder whose name is no name of a module."""
    saved = {}
    for task, model_class in TASK_CLASSES.items():
        saved[task] = tmp_path_factory.mktemp("shared") / f"mmnas-{task}.v1"
        model = save(saved[task], model_class)
        torch.save(random_batch(model.config), saved[task] / "batch.pt")
    return saved


@pytest.fixture(scope="module")
def elsewhere(folders, tmp_path_factory):
    """What was found, by task, in a process without the package."""
    home = tmp_path_factory.mktemp("elsewhere")
    jobs = {}
    for task, folder in folders.items():
        auto_class = list(json.loads((folder / "config.json").read_text())["auto_map"])[-1]
        jobs[task] = [str(folder), auto_class, *question(TASK_CLASSES[task].__name__)]
    (home / "jobs.json").write_text(json.dumps(jobs))
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HOME": str(home)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", ELSEWHERE, "jobs.json", "found.json"],
        cwd=home,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads((home / "found.json").read_text())


# Without the package


@every_task
def test_everything_in_a_folder_is_made_by_its_own_code(task, elsewhere):
    network = TASK_CLASSES[task].__name__
    pipe = PIPELINES[TEXT_KEYS[network][0]].__name__
    names = ["MMnasConfig", network, "MMnasModel", "MMnasProcessor", pipe]
    assert elsewhere[task]["classes"] == [f"transformers_modules.{name}" for name in names]


@every_task
def test_a_network_computes_the_same_by_its_own_code(task, elsewhere, folders):
    model, batch = build(TASK_CLASSES[task], genotype=GENOTYPE), torch.load(folders[task] / "batch.pt")
    for file, expected in (("outputs.pt", run(model, batch)), ("states.pt", run(model.mmnas, batch))):
        outputs = torch.load(folders[task] / file)
        assert outputs.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(outputs[name], value)


@every_task
def test_texts_are_read_the_same_by_a_folders_own_code(task, elsewhere):
    assert elsewhere[task]["ids"] == [[3], [3]]


@every_task
def test_a_pipeline_answers_the_same_by_its_own_code(task, elsewhere, folders):
    name, given = question(TASK_CLASSES[task].__name__)
    expected = pipeline(name, model=str(folders[task]))(given)
    for answer in elsewhere[task]["answers"]:  # by its name, without a name, and after it was saved again
        assert flattened(answer) == pytest.approx(flattened(expected), rel=1e-4)


def flattened(answer):
    records = [answer] if isinstance(answer, dict) else answer
    return [number for record in records for number in (*record.get("box", ()), record["score"])]


@every_task
def test_what_was_loaded_by_its_own_code_can_be_saved_and_loaded_again(task, elsewhere):
    assert elsewhere[task]["same"]


@every_task
def test_a_folders_own_code_does_not_run_without_trust(task, elsewhere):
    assert elsewhere[task]["refused"]


# With the package


def test_the_packages_classes_come_before_a_folders_code(folders):
    config = AutoConfig.from_pretrained(folders["vqa"], trust_remote_code=True)
    model = AutoModelForVisualQuestionAnswering.from_pretrained(folders["vqa"], trust_remote_code=True)
    assert type(config) is mmnas_hf.MMnasConfig
    assert type(model) is mmnas_hf.MMnasForVisualQuestionAnswering


def test_the_packages_pipelines_need_no_trust(folders):
    made = pipeline("mmnas-vqa", model=str(folders["vqa"]))
    assert type(made) is PIPELINES["mmnas-vqa"]


def test_what_is_saved_by_the_package_names_no_code_that_is_not_there(folders, tmp_path):
    mmnas_hf.MMnasForVisualQuestionAnswering.from_pretrained(folders["vqa"]).save_pretrained(tmp_path)
    assert not json.loads((tmp_path / "config.json").read_text()).keys() & {"auto_map", "custom_pipelines"}


# What is copied


def modules_in(folder):
    return sorted(path.name for path in folder.glob("*.py"))


def imports_of(path):
    """What a module imports outside of try blocks: names of libraries, and of siblings with a dot before them."""
    tree = ast.parse(path.read_text())
    tried = {id(node) for attempt in ast.walk(tree) if isinstance(attempt, ast.Try) for node in ast.walk(attempt)}
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in tried:
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and id(node) not in tried:
            names.add("." * node.level + (node.module or "") if node.level else node.module.partition(".")[0])
    return names


def test_copied_modules_are_those_of_the_package(folders):
    for name in modules_in(folders["vqa"]):
        assert (folders["vqa"] / name).read_bytes() == (PACKAGE / name).read_bytes()


def test_copied_modules_import_only_each_other_and_what_comes_with_transformers(folders):
    siblings = {f".{name.removesuffix('.py')}" for name in modules_in(folders["vqa"])}
    imported = set().union(*(imports_of(folders["vqa"] / name) for name in modules_in(folders["vqa"])))
    assert imported - sys.stdlib_module_names <= siblings | LIBRARIES


def test_every_copied_module_is_needed(folders):
    entries = {"configuration_mmnas", "modeling_mmnas", "processing_mmnas", "pipeline_mmnas"}
    imported = set().union(*(imports_of(folders["vqa"] / name) for name in modules_in(folders["vqa"])))
    assert {name.removesuffix(".py") for name in modules_in(folders["vqa"])} <= entries | {n[1:] for n in imported}


def test_without_a_processor_there_is_no_code_of_one(tmp_path):
    build(TASK_CLASSES["vqa"], genotype="S|G").save_pretrained(tmp_path)
    add_remote_code(tmp_path)
    assert "modeling_mmnas.py" in modules_in(tmp_path)
    assert not {"processing_mmnas.py", "pipeline_mmnas.py"} & set(modules_in(tmp_path))
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text())


def test_a_backbone_has_no_pipeline(tmp_path):
    save(tmp_path, MMnasModel)
    assert list(json.loads((tmp_path / "config.json").read_text())["auto_map"]) == ["AutoConfig", "AutoModel"]
    assert "pipeline_mmnas.py" not in modules_in(tmp_path)


def test_adding_code_twice_changes_nothing(folders):
    before = {path: path.read_bytes() for path in folders["itm"].glob("*.*") if path.is_file()}
    add_remote_code(folders["itm"])
    assert {path: path.read_bytes() for path in folders["itm"].glob("*.*") if path.is_file()} == before


# What is refused


def test_a_folder_without_a_network_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        add_remote_code(tmp_path)


def test_another_kind_of_network_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="'bert'"):
        add_remote_code(tmp_path)
    assert modules_in(tmp_path) == []


def test_an_operation_from_elsewhere_is_refused(tmp_path):
    @operation("shared", "X")
    class Shared(Operation):
        pass

    try:
        tiny_config(genotype="S|X").save_pretrained(tmp_path)
        with pytest.raises(InputError, match="'shared' is defined outside"):
            add_remote_code(tmp_path)
    finally:
        del OPERATIONS["shared"], LETTERS["shared"]
