"""Networks load, store, place, cast, checkpoint and compile as any network of transformers does."""

import json
import math

import pytest
import torch
from transformers import AutoModel, AutoProcessor, AutoTokenizer, pipeline
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from mmnas_hf import operations
from mmnas_hf.auto import AUTO_MODELS
from mmnas_hf.modeling_mmnas import MMnasModel
from mmnas_hf.operations import OPERATIONS, Context, Operation
from mmnas_hf.pipeline_mmnas import PIPELINES
from mmnas_hf.processing_mmnas import MMnasProcessor, build_tokenizer
from test_modeling import MODEL_CLASSES, TASK_CLASSES, all_equal, build, every_class, every_task, labels_of, run
from test_package import python
from tiny import every_operation, random_batch, tiny_config

GENOTYPE = "SF|SRGFID"  # every operation
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# A thousandth of the numbers that occur, times what is lost at each of some twenty steps.
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each class, with one network in many files and a processor beside it."""
    saved = {}
    for model_class in MODEL_CLASSES:
        saved[model_class] = tmp_path_factory.mktemp(model_class.__name__)
        build(model_class, genotype=GENOTYPE).save_pretrained(saved[model_class], max_shard_size="20KB")
        MMnasProcessor(build_tokenizer(["red", "green"])).save_pretrained(saved[model_class])
    return saved


def assert_same(outputs, expected, atol=1e-5):
    assert outputs.keys() == expected.keys()
    for name, value in outputs.items():
        seen = expected[name] > torch.finfo(torch.float16).min  # what padding scores is lowest, whatever the precision
        torch.testing.assert_close(value.float()[seen], expected[name][seen], rtol=0, atol=atol)


# Auto classes and pipelines


@pytest.mark.parametrize(("auto_class", "network"), AUTO_MODELS.items())
def test_auto_classes_of_transformers_load_a_saved_network(auto_class, network, folders):
    import transformers  # noqa: PLC0415 - the module, for the names in it

    model_class = next(model_class for model_class in MODEL_CLASSES if model_class.__name__ == network)
    assert type(getattr(transformers, auto_class).from_pretrained(folders[model_class])) is model_class


def test_the_processor_and_the_tokenizer_load_from_a_networks_folder(folders):
    folder = folders[MMnasModel]
    assert type(AutoProcessor.from_pretrained(folder)) is MMnasProcessor
    assert AutoTokenizer.from_pretrained(folder)("Red?")["input_ids"] == [3]


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_is_made_by_its_name(name, folders):
    folder = next(folder for model_class, folder in folders.items() if model_class.__name__ == PIPELINES[name].network)
    made = pipeline(name, model=str(folder))
    assert type(made) is PIPELINES[name]
    assert type(made.processor) is MMnasProcessor


IMPORTS = [
    "from transformers import pipeline; import mmnas_hf",
    "import mmnas_hf.base_pipeline_mmnas",  # which imports transformers' pipelines, which import ours, which need it
]


@pytest.mark.parametrize("imports", IMPORTS)
def test_pipelines_are_known_whatever_is_imported_first(imports):
    code = f"{imports}; from transformers.pipelines import PIPELINE_REGISTRY as p; print(*p.get_supported_tasks())"
    assert set(python(code).split()) >= PIPELINES.keys()


# Storage


@every_class
def test_a_network_in_many_files_is_the_same(model_class, folders):
    files = json.loads((folders[model_class] / SAFE_WEIGHTS_INDEX_NAME).read_text())["weight_map"]
    assert len(set(files.values())) > 5
    expected = build(model_class, genotype=GENOTYPE)
    assert all_equal(model_class.from_pretrained(folders[model_class]).state_dict(), expected.state_dict())


@every_class
def test_a_network_loads_completely(model_class, folders):
    _, report = model_class.from_pretrained(folders[model_class], output_loading_info=True)
    assert not any(report.values())


@every_task
def test_a_head_starts_anew_on_a_saved_backbone(task, folders):
    model, report = TASK_CLASSES[task].from_pretrained(folders[MMnasModel], output_loading_info=True)
    assert all_equal(model.mmnas.state_dict(), build(MMnasModel, genotype=GENOTYPE).state_dict())
    assert report["missing_keys"] == {f"head.{name}" for name in model.head.state_dict()}


@every_task
def test_a_backbone_saved_from_a_head_loads_alone(task, folders, tmp_path):
    head = TASK_CLASSES[task].from_pretrained(folders[TASK_CLASSES[task]])
    head.mmnas.save_pretrained(tmp_path)
    assert all_equal(AutoModel.from_pretrained(tmp_path).state_dict(), head.mmnas.state_dict())


@every_class
def test_parameters_share_no_memory(model_class):
    model = build(model_class, search_space=every_operation())
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(set(addresses)) == len(addresses)


@every_class
def test_all_numbers_of_a_network_are_parameters(model_class):
    model = build(model_class, search_space=every_operation())
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()


@every_class
def test_a_network_can_be_made_without_memory(model_class):
    with torch.device("meta"):
        model = build(model_class, genotype=GENOTYPE)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@every_class
def test_outputs_can_be_a_tuple(model_class):
    model = build(model_class, genotype=GENOTYPE)
    batch = random_batch(model.config)
    named = run(model, batch).to_tuple()
    assert all(torch.equal(*pair) for pair in zip(run(model, batch, return_dict=False), named, strict=True))


@every_class
def test_the_vocabulary_can_grow(model_class, tmp_path):
    model = build(model_class, genotype=GENOTYPE)
    batch, before = random_batch(model.config), model.get_input_embeddings().weight.clone()
    expected = run(model, batch)
    model.resize_token_embeddings(model.config.vocab_size + 7)
    assert_same(run(model, batch), expected)
    model.save_pretrained(tmp_path)
    weight = model_class.from_pretrained(tmp_path).get_input_embeddings().weight
    assert torch.equal(weight[: len(before)], before)
    assert len(weight) == len(before) + 7


# Placement

PLACES = [
    "cpu",
    "auto",
    {"": "cpu"},
    {"mmnas": "cpu", "head": "disk"},
    {"mmnas": "disk", "head": "cpu"},
]


@every_task
@pytest.mark.parametrize("places", PLACES, ids=str)
def test_a_network_computes_the_same_wherever_its_parts_are(places, task, folders, tmp_path):
    model = TASK_CLASSES[task].from_pretrained(folders[TASK_CLASSES[task]], device_map=places, offload_folder=tmp_path)
    batch = random_batch(model.config)
    assert_same(run(model, batch), run(build(TASK_CLASSES[task], genotype=GENOTYPE), batch))


@every_class
def test_parts_that_must_not_be_split_are_there(model_class):
    kinds = {type(module).__name__ for kind in MODEL_CLASSES for module in build(kind, genotype=GENOTYPE).modules()}
    assert set(model_class._no_split_modules) <= kinds


# Precision


@every_class
@every_dtype
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_network_computes_nearly_the_same_in_any_precision(attention, dtype, model_class, folders):
    model = model_class.from_pretrained(folders[model_class], dtype=dtype, attn_implementation=attention)
    batch = random_batch(model.config)
    outputs = run(model, batch)
    assert {value.dtype for value in outputs.values()} == {dtype}
    assert_same(outputs, run(build(model_class, genotype=GENOTYPE), batch), TOLERANCES[dtype])


@every_dtype
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padding_gets_no_attention_in_any_precision(attention, dtype):
    model = build(TASK_CLASSES["vgd"], attention, genotype=GENOTYPE).to(dtype)
    batch = random_batch(model.config)
    noise = 100 * torch.randn(batch["region_features"].shape) * ~batch["region_mask"][..., None]
    plain = run(model, batch, output_attentions=True)
    noisy = run(model, {**batch, "region_features": batch["region_features"] + noise}, output_attentions=True)
    assert torch.equal(plain.logits, noisy.logits)
    assert not plain.region_weights[~batch["region_mask"]].any()


@every_dtype
def test_the_smallest_relation_is_the_same_in_any_precision(dtype, monkeypatch):
    relation = OPERATIONS["rel_self_att_64"](tiny_config()).to(dtype)
    torch.nn.init.constant_(relation.relation.bias, -100.0)  # so that no pair of regions is related
    masks = []
    monkeypatch.setattr(relation.attention, "forward", lambda x, memory, mask: masks.append(mask))
    pairs = torch.zeros(1, 2, 2, 16, dtype=dtype)
    relations = {relation: relation.relate(pairs)}
    relation(torch.zeros(1, 2, 64, dtype=dtype), Context(torch.zeros(1, 1, 1, 2, dtype=dtype), relations=relations))
    torch.testing.assert_close(masks[0], torch.full_like(masks[0], math.log(1e-6)), rtol=0, atol=0)


@every_task
@every_dtype
def test_a_loss_and_its_gradients_are_finite_in_any_precision(dtype, task):
    model = build(TASK_CLASSES[task], genotype=GENOTYPE).to(dtype)
    batch = random_batch(model.config)
    loss = model(**batch, labels=labels_of(task, batch)).loss
    loss.backward()
    assert loss.dtype == torch.float32  # or a sum over thousands of answers would overflow
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@every_task
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_automatic_half_precision_changes_little(dtype, task):
    model = build(TASK_CLASSES[task], genotype=GENOTYPE)
    batch = random_batch(model.config)
    with torch.no_grad():
        # Words are encoded before, for not every processor has LSTMs in half precision.
        texts = model.mmnas.encode_text(batch["input_ids"], batch["attention_mask"])
        with torch.autocast("cpu", dtype):
            images = model.mmnas.encode_image(batch["region_features"], batch["region_boxes"], batch["region_mask"])
            outputs = model.score(texts, images)
    assert_same(outputs, run(model, batch), TOLERANCES[dtype])


# Checkpointing

every_kind = pytest.mark.parametrize("reentrant", [False, True], ids=["plain", "reentrant"])


def gradients(model, task, batch, gates=(), **more):
    """Gradients of all that a loss depends on; dropout is drawn alike every time."""
    model.zero_grad()
    torch.manual_seed(0)
    model(**batch, labels=labels_of(task, batch), **more).loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return found | {f"gate {position}": gate.grad for position, gate in enumerate(gates)}


def assert_checkpoints_change_no_gradient(model, reentrant, task, **more):
    batch = random_batch(model.config)
    expected = gradients(model, task, batch, **more)
    for gate in more.get("gates", ()):
        gate.grad = None
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found = gradients(model, task, batch, **more)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@every_task
@every_kind
def test_checkpoints_change_no_gradient(reentrant, task):
    model = build(TASK_CLASSES[task], genotype=GENOTYPE, dropout=0.1).train()
    assert_checkpoints_change_no_gradient(model, reentrant, task)


@every_kind
def test_checkpoints_change_no_gradient_of_a_search(reentrant):
    model = build(TASK_CLASSES["vqa"], search_space=every_operation(), dropout=0.1).train()
    path = [
        {name: torch.tensor(float(name == node[-1]), requires_grad=True) for name in node}
        for node in model.config.space.nodes
    ]
    gates = [gate for node in path for gate in node.values()]
    assert_checkpoints_change_no_gradient(model, reentrant, "vqa", path=path, gates=gates)


@every_kind
def test_checkpointed_operations_run_a_second_time(reentrant):
    model = build(TASK_CLASSES["vqa"], genotype=GENOTYPE).train()
    runs = []
    for module in model.modules():
        if isinstance(module, Operation):
            module.register_forward_hook(lambda module, *_: runs.append(module))
    gradients(model, "vqa", random_batch(model.config))
    plain = len(runs)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    gradients(model, "vqa", random_batch(model.config))
    assert plain == len(model.config.space.nodes)
    assert len(runs) == 3 * plain


# Attention


@pytest.mark.parametrize("name", ["flash_attention_2", "flex_attention", "anything"])
def test_attention_that_is_not_supported_is_refused_by_name(name, folders):
    with pytest.raises((ValueError, ImportError), match=f"(?i){name.split('_')[0]}"):
        MMnasModel.from_pretrained(folders[MMnasModel], attn_implementation=name)


@every_class
def test_attention_can_be_changed_later(model_class, monkeypatch):
    model = build(model_class, "sdpa", genotype=GENOTYPE)
    batch, calls = random_batch(model.config), []
    expected = run(model, batch)
    monkeypatch.setattr(operations, "eager_attention", counting(operations.eager_attention, calls))
    assert_same(run(model, batch), expected)
    assert not calls
    model.set_attn_implementation("eager")
    assert_same(run(model, batch), expected)
    assert calls


def counting(function, calls):
    def counted(*arguments, **settings):
        calls.append(function)
        return function(*arguments, **settings)

    return counted


# Compilation


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_compiled_network_computes_the_same(fresh_compiler):
    model = build(TASK_CLASSES["vgd"], genotype="S|RG")
    batch = random_batch(model.config)
    assert_same(run(torch.compile(model, backend="aot_eager"), batch), run(model, batch))


@every_task
def test_a_network_compiles_as_one_graph_where_the_compiler_takes_an_lstm(task, fresh_compiler):
    model = build(TASK_CLASSES[task], genotype="S|RG")
    batch = random_batch(model.config)
    with torch._dynamo.config.patch(allow_rnn=True):
        outputs = run(torch.compile(model, backend="eager", fullgraph=True), batch)
    assert_same(outputs, run(model, batch))
