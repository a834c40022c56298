"""The networks compute what the original computes, whatever their operations, task, padding and storage."""

import math

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForVisualQuestionAnswering

import mmnas_hf
from foreign import golden_network, part, recorded
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import LETTERS, Genotype, SearchSpace
from mmnas_hf.modeling_mmnas import MMnasModel, Node
from mmnas_hf.operations import OPERATIONS, Operation, operation
from mmnas_hf.tasks import TASKS
from tiny import (
    DECODER_OPERATIONS,
    ENCODER_OPERATIONS,
    WIDTH,
    every_operation,
    random_batch,
    tiny_config,
)

GOLDEN_TOLERANCE = {"rtol": 0, "atol": 1e-5}
TASK_CLASSES = {name: task.model_class for name, task in TASKS.items()}
MODEL_CLASSES = [MMnasModel, *TASK_CLASSES.values()]
ATTENTIONS = ("eager", "sdpa")

at_any_speed = pytest.mark.usefixtures("speed")
every_class = pytest.mark.parametrize("model_class", MODEL_CLASSES)
every_task = pytest.mark.parametrize("task", TASK_CLASSES)
every_decoder_operation = pytest.mark.parametrize("name", DECODER_OPERATIONS)


def build(model_class, attention="sdpa", seed=0, **changes):
    torch.manual_seed(seed)
    config = tiny_config(**changes)
    config._attn_implementation = attention
    return model_class(config).eval()


def with_operation(name):
    """A derived network that uses this operation twice and, where it may, over words."""
    return Genotype((name if name in ENCODER_OPERATIONS else "self_att_64",), (name, name))


def run(model, batch, **more):
    with torch.no_grad():
        return model(**batch, **more)


def labels_of(task, batch):
    """Labels of a random batch: soft answers, regions' boxes slightly moved, and a match among mismatches."""
    return {
        "vqa": torch.tensor([[0.3, 1.0, 0.0, 0.0, 0.6]] * 3),
        "vgd": batch["region_boxes"][:, 0] + torch.tensor([1.0, -1.0, 2.0, 0.0]),
        "itm": torch.tensor([1.0, 0.0, 1.0]),
    }[task]


def all_equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first) and first.keys() == second.keys()


# The original's numbers


def load_golden(path, attention):
    tensors, _ = recorded(path)
    model = golden_network(path).model
    model.set_attn_implementation(attention)
    regions = torch.arange(tensors["inputs.region_features"].shape[1]) < tensors["inputs.num_regions"][:, None]
    batch = {
        "input_ids": tensors["inputs.input_ids"],
        "attention_mask": tensors["inputs.input_ids"] != 0,
        "region_features": tensors["inputs.region_features"],
        "region_boxes": tensors["inputs.region_boxes"],
        "region_mask": regions,
    }
    return model, batch, part(tensors, "outputs.")


@at_any_speed
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_answer_logits_are_the_originals(golden, attention):
    model, batch, expected = load_golden(golden / "vqa.safetensors", attention)
    torch.testing.assert_close(run(model, batch).logits, expected["logits"], **GOLDEN_TOLERANCE)


@at_any_speed
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_match_probabilities_are_the_originals(golden, attention):
    model, batch, expected = load_golden(golden / "itm.safetensors", attention)
    probability = run(model, batch).logits.squeeze(-1).sigmoid()
    torch.testing.assert_close(probability, expected["match_probability"].view(-1), **GOLDEN_TOLERANCE)


@at_any_speed
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_region_scores_are_the_originals_once_padding_is_left_out_of_its_softmax(golden, attention):
    model, batch, expected = load_golden(golden / "vgd.safetensors", attention)
    logits = run(model, batch).logits
    for row, mask in enumerate(batch["region_mask"]):
        scores = logits[row, mask].log_softmax(-1)
        original = expected["log_scores"][row].view(-1)[mask].log_softmax(-1)
        torch.testing.assert_close(scores, original, **GOLDEN_TOLERANCE)


@at_any_speed
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_box_corrections_are_the_originals(golden, attention):
    model, batch, expected = load_golden(golden / "vgd.safetensors", attention)
    deltas, mask = run(model, batch).box_deltas, batch["region_mask"]
    torch.testing.assert_close(deltas[mask], expected["box_deltas"][mask], **GOLDEN_TOLERANCE)


# Padding


def garbage(batch, config):
    """The batch with two more words and three more regions of anything, all marked as padding."""
    generator = torch.Generator().manual_seed(99)
    rows = len(batch["input_ids"])
    invalid = torch.zeros(rows, 3, dtype=torch.bool)
    padded = {
        "input_ids": torch.randint(0, config.vocab_size, (rows, 2), generator=generator),
        "attention_mask": torch.zeros(rows, 2, dtype=torch.long),
        "region_features": 1e3 * torch.randn(rows, 3, config.region_size, generator=generator),
        "region_boxes": 50 * torch.randn(rows, 3, 4, generator=generator),  # some end before they begin
        "region_mask": invalid,
    }
    padded = {name: torch.cat((batch[name], extra), 1) for name, extra in padded.items()}
    inside = ~padded["region_mask"][..., None]
    padded["region_features"] = padded["region_features"] + inside * 7.0
    padded["input_ids"] = torch.where(padded["attention_mask"].bool(), padded["input_ids"], 4)
    return {**batch, **padded}


@every_class
@every_decoder_operation
def test_padding_changes_no_valid_position(name, model_class):
    model = build(model_class, genotype=with_operation(name))
    batch = random_batch(model.config)
    plain, padded = run(model, batch), run(model, garbage(batch, model.config))
    masks = {"word_states": batch["attention_mask"].bool()}
    masks |= dict.fromkeys(("region_states", "box_deltas"), batch["region_mask"])
    if model_class is TASK_CLASSES["vgd"]:
        masks["logits"] = batch["region_mask"]
    for key, value in plain.items():
        mask = masks.get(key, torch.ones(value.shape[:2], dtype=torch.bool))
        torch.testing.assert_close(padded[key][:, : mask.shape[1]][mask], value[mask], rtol=1e-4, atol=1e-5)


@every_task
def test_padding_changes_no_loss(task):
    model = build(TASK_CLASSES[task], genotype="SF|RGSF")
    batch = random_batch(model.config)
    labels = labels_of(task, batch)
    plain, padded = run(model, batch, labels=labels), run(model, garbage(batch, model.config), labels=labels)
    torch.testing.assert_close(padded.loss, plain.loss, rtol=1e-4, atol=1e-5)


@every_task
def test_padding_changes_no_gradient(task):
    model = build(TASK_CLASSES[task], genotype="SF|RGSF")
    batch = random_batch(model.config)
    gradients = []
    for inputs in (batch, garbage(batch, model.config)):
        model.zero_grad()
        model(**inputs, labels=labels_of(task, batch)).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_padding_regions_score_below_all_others():
    model = build(TASK_CLASSES["vgd"], genotype="S|S")
    batch = random_batch(model.config)
    logits = run(model, batch).logits
    assert logits.log_softmax(-1).exp()[~batch["region_mask"]].max() == 0


@every_class
def test_without_masks_all_positions_are_valid(model_class):
    model = build(model_class, genotype="S|RG")
    batch = random_batch(model.config)
    full = {"attention_mask": torch.ones_like(batch["input_ids"]), "region_mask": torch.ones(3, 6, dtype=torch.bool)}
    bare = {name: value for name, value in batch.items() if name not in full}
    assert all_equal(run(model, bare), run(model, batch | full))


# Derived networks


@at_any_speed
@every_class
@every_decoder_operation
def test_a_derived_network_is_its_supernet_on_that_path_bit_for_bit(name, model_class):
    supernet = build(model_class, search_space=every_operation())
    genotype = with_operation(name)
    batch = random_batch(supernet.config)
    derived = supernet.derive(genotype)
    assert all_equal(run(derived, batch), run(supernet, batch, path=genotype.as_path()))


@every_class
def test_a_derived_networks_weights_are_a_subset_of_the_supernets(model_class):
    supernet = build(model_class, search_space=every_operation())
    derived = supernet.derive(with_operation("rel_self_att_64")).state_dict()
    weights = supernet.state_dict()
    assert len(derived) < len(weights)
    assert all(torch.equal(weights[name], value) for name, value in derived.items())


def test_training_a_derived_network_leaves_its_supernet_alone():
    supernet = build(MMnasModel, search_space=SearchSpace.chain(1, 1))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    derived = supernet.derive("S|F")
    with torch.no_grad():
        for parameter in derived.parameters():
            parameter.add_(1.0)
    assert all_equal(supernet.state_dict(), before)


@pytest.mark.parametrize("training", [True, False])
def test_a_derived_network_keeps_the_training_mode(training):
    supernet = build(MMnasModel, search_space=SearchSpace.chain(1, 1)).train(training)
    assert all(module.training is training for module in supernet.derive("S|F").modules())


def test_a_part_in_another_mode_is_put_into_the_networks():
    model = build(TASK_CLASSES["vqa"], genotype="S|GRS").train()
    model.mmnas.lstm.eval()
    assert all(module.training for module in model.train().modules())
    assert not any(module.training for module in model.eval().modules())


@pytest.mark.parametrize("set_to_none", [True, False])
def test_no_gradient_is_left_after_clearing(set_to_none):
    model = build(TASK_CLASSES["vqa"], genotype="S|GRS")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.zero_grad(set_to_none=set_to_none)
    assert all(p.grad is None if set_to_none else not p.grad.any() for p in model.parameters())


def test_deriving_a_network_outside_the_space_raises():
    with pytest.raises(InputError, match="no candidate"):
        build(MMnasModel, search_space=SearchSpace.chain(1, 1)).derive("S|D")


@every_class
def test_a_supernet_without_a_path_raises(model_class):
    model = build(model_class, search_space=every_operation())
    with pytest.raises(InputError, match="supernet"):
        model(**random_batch(model.config))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_path_of_the_wrong_length_raises(change):
    model = build(MMnasModel, search_space=SearchSpace.chain(1, 2))
    path = Genotype.parse("S|SFS" if change > 0 else "S|S").as_path()
    with pytest.raises(InputError, match="path"):
        model(**random_batch(model.config), path=path)


@pytest.mark.parametrize("name", ENCODER_OPERATIONS)
def test_operations_that_need_neither_memory_nor_boxes_work_over_words(name):
    model = build(MMnasModel, genotype=Genotype((name,), ("feed_forward",)))
    assert run(model, random_batch(model.config)).word_states.isfinite().all()


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ENCODER_OPERATIONS])
def test_operations_that_need_memory_or_boxes_are_refused_over_words(name):
    with pytest.raises(InputError, match="encoder"):
        build(MMnasModel, genotype=Genotype((name,), ("feed_forward",)))


def test_a_relation_operation_without_boxes_raises():
    model = build(MMnasModel, genotype="S|R")
    batch = random_batch(model.config)
    del batch["region_boxes"]
    with pytest.raises(InputError, match="region_boxes"):
        model(**batch)


def test_a_network_without_relation_operations_needs_no_boxes():
    model = build(MMnasModel, genotype="S|SGF")
    batch = random_batch(model.config)
    expected = run(model, batch)
    del batch["region_boxes"]
    assert all_equal(run(model, batch), expected)


# Gates


def test_an_operation_outside_the_path_does_not_run():
    node = Node(("self_att_64", "feed_forward"), tiny_config())
    node["feed_forward"].forward = None  # calling it would raise
    x = torch.randn(1, 2, 64)
    assert node(x, context_of(x), {"self_att_64": 1.0}).shape == x.shape


def context_of(x):
    from mmnas_hf.operations import Context  # noqa: PLC0415

    return Context(torch.zeros(1, 1, 1, x.shape[1]))


def test_gates_weight_the_operations_outputs():
    node, x = Node(("self_att_64", "feed_forward"), tiny_config()), torch.randn(1, 2, 64)
    first, second = (node[name](x, context_of(x)) for name in ("self_att_64", "feed_forward"))
    mixed = node(x, context_of(x), {"self_att_64": 0.25, "feed_forward": torch.tensor(2.0)})
    torch.testing.assert_close(mixed, 0.25 * first + 2 * second)


def test_a_closed_gate_gets_its_gradient_but_its_operation_none():
    node, x = Node(("self_att_64", "feed_forward"), tiny_config()), torch.randn(1, 2, 64)
    gate = torch.tensor(0.0, requires_grad=True)
    weights = torch.randn(1, 2, 64)
    (node(x, context_of(x), {"self_att_64": 1.0, "feed_forward": gate}) * weights).sum().backward()
    closed = (node["feed_forward"](x, context_of(x)) * weights).sum()
    assert gate.grad.item() == pytest.approx(closed.item(), rel=1e-5)
    assert all(parameter.grad is None for parameter in node["feed_forward"].parameters())


@every_task
def test_unsampled_operations_get_no_gradient(task):
    model = build(TASK_CLASSES[task], search_space=every_operation()).train()
    batch, genotype = random_batch(model.config), Genotype.parse("S|GF")
    model(**batch, labels=labels_of(task, batch), path=genotype.as_path()).loss.backward()
    nodes = [*model.mmnas.backbone.encoder, *model.mmnas.backbone.decoder]
    without = {
        (position, name)
        for position, node in enumerate(nodes)
        for name, sublayer in node.items()
        if all(parameter.grad is None for parameter in sublayer.parameters())
    }
    everything = {(position, name) for position, node in enumerate(nodes) for name in node}
    assert without == everything - set(enumerate(genotype.encoder + genotype.decoder))


# Storage


@pytest.mark.parametrize("architecture", [{"genotype": "SF|SRGFID"}, {"search_space": every_operation()}])
@every_class
def test_a_saved_network_loads_with_equal_weights(model_class, architecture, tmp_path):
    model = build(model_class, **architecture)
    model.save_pretrained(tmp_path)
    assert all_equal(model_class.from_pretrained(tmp_path).state_dict(), model.state_dict())


@pytest.mark.parametrize("architecture", [{"genotype": "SF|SRGFID"}, {"search_space": every_operation()}])
@every_class
def test_a_loaded_network_gives_the_outputs_of_the_saved_one(model_class, architecture, tmp_path):
    model = build(model_class, **architecture)
    model.save_pretrained(tmp_path)
    batch, path = random_batch(model.config), [{node[-1]: 1.0} for node in model.config.space.nodes]
    expected = run(model, batch, path=path)
    for name, value in run(model_class.from_pretrained(tmp_path), batch, path=path).items():
        torch.testing.assert_close(value, expected[name])


def test_fresh_weights_have_the_spread_of_pytorchs_own_initialisation():
    model = build(MMnasModel, genotype="S|R", hidden_size=256)
    for linear in (module for module in model.modules() if isinstance(module, nn.Linear)):
        bound = 1 / math.sqrt(linear.in_features)
        assert linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)


AUTO_CLASSES = {
    "vqa": AutoModelForVisualQuestionAnswering,
    "vgd": mmnas_hf.AutoModelForVisualGrounding,
    "itm": mmnas_hf.AutoModelForImageTextMatching,
}


@every_task
def test_every_tasks_auto_class_loads_its_networks(task, tmp_path):
    build(TASK_CLASSES[task], genotype="S|G").save_pretrained(tmp_path)
    assert type(AUTO_CLASSES[task].from_pretrained(tmp_path)) is TASK_CLASSES[task]


def test_auto_model_loads_the_backbone_of_a_tasks_network(tmp_path):
    model = build(TASK_CLASSES["vqa"], genotype="S|G")
    model.save_pretrained(tmp_path)
    backbone = AutoModel.from_pretrained(tmp_path)
    assert type(backbone) is MMnasModel
    assert all_equal(backbone.state_dict(), model.mmnas.state_dict())


def test_auto_config_loads_a_networks_configuration(tmp_path):
    model = build(MMnasModel, genotype="S|G")
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).genotype == model.config.genotype


# Losses, straight from their definitions


def test_the_answer_loss_is_the_summed_binary_cross_entropy():
    model = build(TASK_CLASSES["vqa"], genotype="S|G")
    batch = random_batch(model.config)
    labels = labels_of("vqa", batch)
    output = run(model, batch, labels=labels)
    expected = 0.0
    for logit, target in zip(output.logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        expected -= target * math.log(p) + (1 - target) * math.log(1 - p)
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_matching_loss_counts_a_right_pair_twice_and_each_wrong_one_once():
    model = build(TASK_CLASSES["itm"], genotype="S|G")
    batch = random_batch(model.config)
    output = run(model, batch, labels=torch.tensor([1, 0, 0]))  # (v, s), (v, s'), (v', s)
    right, wrong_text, wrong_image = output.logits.squeeze(-1).sigmoid().tolist()
    expected = -(2 * math.log(right) + math.log(1 - wrong_text) + math.log(1 - wrong_image))
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


def grounding_batch(config):
    """Two images with regions around their target, one without."""
    batch = random_batch(config)
    targets = torch.tensor([[10.0, 10, 49, 49], [20, 20, 79, 59], [0, 0, 9, 9]])
    batch["region_boxes"][0, 1] = targets[0] + torch.tensor([2.0, 1, 0, 3])
    batch["region_boxes"][0, 3] = targets[0]
    batch["region_boxes"][1, 2] = targets[1] + torch.tensor([-8.0, 0, 4, 4])
    batch["region_boxes"][2, 0] = torch.tensor([100.0, 50, 150, 90])
    batch["region_boxes"][1, 5] = targets[1]  # padding, so it must not count
    return batch, targets


def overlap(box, other):
    width = min(box[2], other[2]) - max(box[0], other[0]) + 1
    height = min(box[3], other[3]) - max(box[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)]
    return width * height / (sum(areas) - width * height)


def ranking_by_definition(logits, boxes, targets, counts):
    divergences = []
    for row, count in enumerate(counts):
        ious = [overlap(box, targets[row]) for box in boxes[row][:count]]
        kept = [iou if iou >= 0.5 else 0.0 for iou in ious]
        if not any(kept):
            continue
        log_q = [logit - math.log(sum(map(math.exp, logits[row][:count]))) for logit in logits[row][:count]]
        shares = [iou / sum(kept) for iou in kept]
        divergences.append(sum(p * (math.log(p) - q) for p, q in zip(shares, log_q, strict=True) if p > 0))
    return sum(divergences) / len(divergences)


def box_loss_by_definition(deltas, boxes, targets, counts):
    losses = []
    for row, count in enumerate(counts):
        for region in range(count):
            box, goal = boxes[row][region], targets[row]
            if overlap(box, goal) < 0.5:
                continue
            loss = 0.0
            for side in (0, 1):
                size, goal_size = box[side + 2] - box[side] + 1, goal[side + 2] - goal[side] + 1
                shift = ((goal[side] + goal_size / 2) - (box[side] + size / 2)) / size / 0.1
                stretch = math.log(goal_size / size) / 0.2
                for predicted, wanted in ((deltas[row][region][side], shift), (deltas[row][region][side + 2], stretch)):
                    error = abs(predicted - wanted)
                    loss += 0.5 * error**2 if error < 1 else error - 0.5
            losses.append(loss)
    return sum(losses) / len(losses)


def test_the_grounding_loss_is_ranking_divergence_and_half_the_box_loss():
    model = build(TASK_CLASSES["vgd"], genotype="S|GR")
    batch, targets = grounding_batch(model.config)
    output = run(model, batch, labels=targets)
    counts = batch["region_mask"].sum(1).tolist()
    known = batch["region_boxes"].tolist(), targets.tolist(), counts
    ranking = ranking_by_definition(output.logits.tolist(), *known)
    expected = ranking + 0.5 * box_loss_by_definition(output.box_deltas.tolist(), *known)
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_grounding_batch_without_any_fitting_region_has_no_loss():
    model = build(TASK_CLASSES["vgd"], genotype="S|G")
    batch, _ = grounding_batch(model.config)
    assert run(model, batch, labels=torch.tensor([[190.0, 95, 195, 99]] * 3)).loss.item() == 0


def test_the_grounding_loss_without_boxes_raises():
    model = build(TASK_CLASSES["vgd"], genotype="S|G")
    batch, targets = grounding_batch(model.config)
    del batch["region_boxes"]
    with pytest.raises(InputError, match="region_boxes"):
        model(**batch, labels=targets)


# What the network can see of the boxes


@pytest.mark.parametrize("missing", ["image_sizes", "region_boxes"])
def test_the_box_feature_needs_sizes_and_boxes(missing):
    model = build(MMnasModel, genotype="S|S", box_feature=True)
    batch = random_batch(model.config)
    del batch[missing]
    with pytest.raises(InputError, match=missing):
        model(**batch)


def test_the_box_feature_sees_where_a_region_lies():
    model = build(MMnasModel, genotype="S|S", box_feature=True)
    batch = random_batch(model.config)
    assert not torch.allclose(*regions_with(model, batch, mirrored(batch)), atol=1e-3)


def regions_with(model, *batches):
    return [run(model, batch).region_states[0] for batch in batches]


def shuffled(batch):
    """The same boxes, but each region of the first image has that of its neighbour."""
    boxes = batch["region_boxes"].clone()
    boxes[0] = boxes[0].roll(1, 0)
    return {**batch, "region_boxes": boxes}


def mirrored(batch):
    """All boxes of the first image seen in a mirror."""
    boxes = batch["region_boxes"].clone()
    boxes[0, :, [0, 2]] = WIDTH - 1 - boxes[0, :, [2, 0]]
    return {**batch, "region_boxes": boxes}


@every_decoder_operation
def test_only_operations_that_name_a_geometry_see_boxes_shuffled(name):
    model = build(MMnasModel, genotype=Genotype(("self_att_64",), (name,)))
    batch = random_batch(model.config)
    changed = not torch.equal(*regions_with(model, batch, shuffled(batch)))
    assert changed == (OPERATIONS[name].geometry is not None)


def test_relation_attention_cannot_tell_left_from_right():
    model = build(MMnasModel, genotype="S|RR")
    batch = random_batch(model.config)
    torch.testing.assert_close(*regions_with(model, batch, mirrored(batch)))


def test_signed_relation_attention_tells_left_from_right():
    model = build(MMnasModel, genotype="S|D")
    batch = random_batch(model.config)
    first, second = regions_with(model, batch, mirrored(batch))
    assert (first - second).abs().max() > 1e-3


# New operations


@pytest.fixture
def doubled():
    """An operation defined here, forgotten after the test."""

    @operation("doubled", "X")
    class Doubled(Operation):
        def forward(self, x, context):
            return 2 * x

    yield "doubled"
    del OPERATIONS["doubled"], LETTERS["doubled"]


def test_an_operation_defined_anywhere_can_be_searched_and_derived(doubled):
    space = SearchSpace.chain(1, 1, decoder_candidates=("self_att_64", doubled))
    supernet = build(TASK_CLASSES["vqa"], search_space=space)
    batch, genotype = random_batch(supernet.config), Genotype.parse("S|X")
    derived = run(supernet.derive(genotype), batch)
    assert torch.equal(derived.logits, run(supernet, batch, path=genotype.as_path()).logits)


def test_defining_an_operation_a_second_time_raises(doubled):
    with pytest.raises(InputError, match="already defined by Doubled"):
        operation(doubled, "Y")(Operation)


def test_an_operation_with_the_letter_of_another_raises(doubled):
    with pytest.raises(InputError, match="taken"):
        operation("tripled", "X")(Operation)


def test_an_operation_refused_for_its_letter_is_not_half_registered(doubled):
    with pytest.raises(InputError):
        operation("tripled", "X")(Operation)
    assert "tripled" not in OPERATIONS
    assert "tripled" not in LETTERS


def test_a_second_definition_leaves_the_letters_alone(doubled):
    with pytest.raises(InputError):
        operation(doubled, "Y")(Operation)
    assert LETTERS[doubled] == "X"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_letter(name):
    assert len(LETTERS[name]) == 1


@pytest.mark.parametrize("name", LETTERS)
def test_every_letter_has_an_operation(name):
    assert issubclass(OPERATIONS[name], Operation)
