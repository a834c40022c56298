"""Networks of other programs: the recorded ones, and plain readings of openvqa's under openvqa's own names."""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from mmnas_hf.boxes import box_features, relations
from mmnas_hf.conversion import Architecture, Converted, from_original
from mmnas_hf.genotype import Genotype
from mmnas_hf.tasks import TASKS

NODE = "backnone.cells_{}.0.dag.{}.0.{}"
HIDDEN, HEADS, WORD, REGION, RELATION, POOLER, WORDS, ANSWERS = 128, 2, 8, 8, 16, 16, 20, 5


# Recorded from the original


def recorded(path: Path) -> tuple[dict[str, Tensor], dict]:
    """All tensors of a golden file, and its sizes."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["config"])  # noqa: SIM118


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def original_tensors(path: Path) -> dict[str, Tensor]:
    """What the original's checkpoint has; a supernet's alphas were recorded elsewhere, its gates not at all."""
    tensors, sizes = recorded(path)
    nodes = [(side[:3], node) for side in ("encoder", "decoder") for node in range(sizes.get(f"{side}_nodes", 0))]
    alphas = [tensors[f"full.alpha_before.{number}"] for number in range(len(nodes))]
    search = {NODE.format(*node, "alpha_prob"): alpha for node, alpha in zip(nodes, alphas, strict=True)}
    search |= {NODE.format(*node, "alpha_gate"): 0 * alpha for node, alpha in zip(nodes, alphas, strict=True)}
    return part(tensors, "weights.") | search


def genotype_in(sizes: dict) -> Genotype:
    return Genotype(tuple(sizes["encoder"]), tuple(sizes["decoder"]))


def golden_network(path: Path) -> Converted:
    """A recorded network, converted."""
    _, sizes = recorded(path)
    architecture = Architecture(genotype_in(sizes)) if "encoder" in sizes else None
    return from_original(original_tensors(path), TASKS[path.stem.removeprefix("supernet_")], architecture)


def save_checkpoint(tensors: dict[str, Tensor], path: Path, prefix: str = "module.", **settings) -> Path:
    """A checkpoint as the original writes it in training."""
    state = OrderedDict((f"{prefix}{name}", tensor) for name, tensor in tensors.items())
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    torch.save({"state_dict": state, "net_optim": optimizer, "epoch": 13}, path, **settings)
    return path


# openvqa


def openvqa_tensors(layers: dict[str, list[list[str]]], seed: int = 0, box_feature: bool = False) -> dict[str, Tensor]:
    """Random parameters; `layers` has each layer's blocks, as in `{"enc": [["mhatt", "ffn.mlp"]], ...}`."""
    regions = REGION * (2 if box_feature else 1)
    shapes = {"embedding.weight": (WORDS, WORD), "lstm.weight_ih_l0": (4 * HIDDEN, WORD)}
    shapes |= {"lstm.weight_hh_l0": (4 * HIDDEN, HIDDEN), "lstm.bias_ih_l0": (4 * HIDDEN,)}
    shapes |= {"lstm.bias_hh_l0": (4 * HIDDEN,)} | linear("adapter.frcn_linear", regions, HIDDEN)
    if box_feature:
        shapes |= linear("adapter.bbox_linear", 5, REGION)
    for side, chain in layers.items():
        for layer, blocks in enumerate(chain):
            shapes |= layer_shapes(f"backbone.{side}_list.{layer}", blocks)
    for side in ("lang", "img"):
        shapes |= mlp(f"attflat_{side}.mlp", POOLER, 1) | linear(f"attflat_{side}.linear_merge", HIDDEN, 2 * HIDDEN)
    shapes |= norm("proj_norm", 2 * HIDDEN) | linear("proj", 2 * HIDDEN, ANSWERS)
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.a_2": (size,), f"{name}.b_2": (size,)}


def mlp(name: str, inner: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return linear(f"{name}.fc.linear", HIDDEN, inner) | linear(f"{name}.linear", inner, outputs)


def layer_shapes(name: str, blocks: list[str]) -> dict[str, tuple[int, ...]]:
    """The blocks of a layer, each with its norm; norms have numbers where a layer has several."""
    shapes = {}
    for number, block in enumerate(blocks, 1):
        shapes |= block_shapes(f"{name}.{block}") | norm(f"{name}.norm{number if len(blocks) > 1 else ''}", HIDDEN)
    return shapes


def block_shapes(name: str) -> dict[str, tuple[int, ...]]:
    if name.endswith("mlp"):
        return mlp(name, 4 * HIDDEN, HIDDEN)
    shapes = {}
    for projection in ("v", "k", "q", "merge"):
        shapes |= linear(f"{name}.linear_{projection}", HIDDEN, HIDDEN)
    return shapes


class Reading:
    """Evaluates an openvqa network from its parameters, step by step as its papers describe it."""

    def __init__(self, weights: dict[str, Tensor]):
        self.weights = weights

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        scaled = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
        return self.weights[f"{name}.a_2"] * scaled + self.weights[f"{name}.b_2"]

    def mlp(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.linear", self.linear(f"{name}.fc.linear", x).relu())

    def attend(self, name: str, x: Tensor, memory: Tensor, mask: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        """`mask` is true on valid positions of `memory`."""
        q, k, v = (
            self.linear(f"{name}.linear_{letter}", states).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for letter, states in (("q", x), ("k", memory), ("v", memory))
        )
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + bias
        weights = scores.masked_fill(~mask[:, None, None], -1e9).softmax(-1)
        return self.linear(f"{name}.linear_merge", (weights @ v).transpose(1, 2).flatten(2))

    def pool(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        weights = self.mlp(f"{name}.mlp", x).masked_fill(~mask[..., None], -1e9).softmax(1)
        return self.linear(f"{name}.linear_merge", (weights * x).sum(1))

    def words(self, ids: Tensor) -> Tensor:
        lstm = torch.nn.LSTM(WORD, HIDDEN, batch_first=True)
        lstm.load_state_dict(part(self.weights, "lstm."))
        return lstm(F.embedding(ids, self.weights["embedding.weight"]))[0]

    def regions(self, batch: dict[str, Tensor]) -> Tensor:
        features = batch["region_features"]
        if "adapter.bbox_linear.weight" in self.weights:
            described = box_features(batch["region_boxes"], batch["image_sizes"])
            features = torch.cat((features, self.linear("adapter.bbox_linear", described)), -1)
        return self.linear("adapter.frcn_linear", features)

    def answer(self, words: Tensor, mask: Tensor, regions: Tensor, region_mask: Tensor) -> Tensor:
        pooled = self.pool("attflat_lang", words, mask) + self.pool("attflat_img", regions, region_mask)
        return self.linear("proj", self.norm("proj_norm", pooled))


MCAN_LAYERS = {"enc": [["mhatt", "ffn.mlp"]] * 2, "dec": [["mhatt1", "mhatt2", "ffn.mlp"]] * 2}
MCAN_SETTINGS = "MODEL_USE: mcan\nLAYER: 2\nHIDDEN_SIZE: 128\nMULTI_HEAD: 2\nDROPOUT_R: 0.1\n"


def read_mcan(weights: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """The answers of an MCAN of two layers."""
    net = Reading(weights)
    mask, region_mask = batch["attention_mask"].bool(), batch["region_mask"]
    y, x = net.words(batch["input_ids"]), net.regions(batch)
    for name in ("backbone.enc_list.0", "backbone.enc_list.1"):
        y = net.norm(f"{name}.norm1", y + net.attend(f"{name}.mhatt", y, y, mask))
        y = net.norm(f"{name}.norm2", y + net.mlp(f"{name}.ffn.mlp", y))
    for name in ("backbone.dec_list.0", "backbone.dec_list.1"):
        x = net.norm(f"{name}.norm1", x + net.attend(f"{name}.mhatt1", x, x, region_mask))
        x = net.norm(f"{name}.norm2", x + net.attend(f"{name}.mhatt2", x, y, mask))
        x = net.norm(f"{name}.norm3", x + net.mlp(f"{name}.ffn.mlp", x))
    return net.answer(y, mask, x, region_mask)


MMNASNET_LAYERS = {"enc": [["mhatt"], ["mlp"]], "dec": [["mhatt"], ["mlp"], ["mhatt"], ["mhatt"]]}
MMNASNET_SETTINGS = "MULTI_HEAD: 2\nARCH: {\n    enc: [SA, FFN],\n    dec: [GA, FFN, RSA, SA]\n}\n"


def mmnasnet_tensors() -> dict[str, Tensor]:
    more = linear("linear_rel", 4, RELATION) | linear("backbone.dec_list.2.mhatt.linear_r", RELATION, HEADS)
    generator = torch.Generator().manual_seed(7)
    return openvqa_tensors(MMNASNET_LAYERS) | {
        name: torch.randn(shape, generator=generator) for name, shape in more.items()
    }


def read_mmnasnet(weights: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """The answers of an MMNasNet with the architecture above."""
    net = Reading(weights)
    mask, region_mask = batch["attention_mask"].bool(), batch["region_mask"]
    y, x = net.words(batch["input_ids"]), net.regions(batch)
    related = net.linear("linear_rel", relations(batch["region_boxes"])).relu()
    related = net.linear("backbone.dec_list.2.mhatt.linear_r", related).relu().permute(0, 3, 1, 2)
    bias = related.clamp(min=1e-6).log()

    def step(name: str, states: Tensor, change: Tensor) -> Tensor:
        return net.norm(f"{name}.norm", states + change)

    encoder, decoder = ([f"backbone.{side}_list.{n}" for n in range(4)] for side in ("enc", "dec"))
    y = step(encoder[0], y, net.attend(f"{encoder[0]}.mhatt", y, y, mask))
    y = step(encoder[1], y, net.mlp(f"{encoder[1]}.mlp", y))
    x = step(decoder[0], x, net.attend(f"{decoder[0]}.mhatt", x, y, mask))
    x = step(decoder[1], x, net.mlp(f"{decoder[1]}.mlp", x))
    x = step(decoder[2], x, net.attend(f"{decoder[2]}.mhatt", x, x, region_mask, bias))
    x = step(decoder[3], x, net.attend(f"{decoder[3]}.mhatt", x, x, region_mask))
    return net.answer(y, mask, x, region_mask)
