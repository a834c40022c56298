"""MMnas: one backbone that is supernet and derived network, and one head a task."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput, can_return_tuple

from .boxes import box_features, encode_deltas, overlaps
from .configuration_mmnas import MMnasConfig
from .dropout import Dropout
from .errors import InputError
from .genotype import Genotype
from .mixture import mix
from .operations import GEOMETRIES, OPERATIONS, Context, LayerNorm, Operation, RelationSelfAttention
from .products import Linear
from .region_pairs import RelationShifts
from .speedups import serves

Gate = Mapping[str, float | Tensor]  # operation name -> multiplier; operations left out do not run
Path = Sequence[Gate]  # one gate a node, encoder first

POSITIVE_OVERLAP = 0.5  # of a region that counts as showing the target
BOX_LOSS_WEIGHT = 0.5
MATCH_WEIGHT = 2.0  # a matching pair meets one wrong caption and one wrong image


class TextStates(NamedTuple):
    """Encoded words [texts, words, hidden] and which of them are no padding [texts, words]."""

    words: Tensor
    mask: Tensor


class ImageStates(NamedTuple):
    """Regions before the text comes in [images, regions, hidden], which are no padding, and their relations."""

    regions: Tensor
    mask: Tensor
    relations: Mapping[Operation, Tensor]  # what operations made of them, images first


class LossTerm(NamedTuple):
    """A part of a loss: a sum over a batch, and how many things it is divided by; a count of one leaves the sum."""

    total: Tensor
    count: Tensor


@dataclass
class MMnasModelOutput(ModelOutput):
    """Encoded words [batch, words, hidden] and regions [batch, regions, hidden]."""

    word_states: Tensor | None = None
    region_states: Tensor | None = None


@dataclass
class MMnasOutput(ModelOutput):
    """Loss, logits (answers, one match score, or a score a region) and, for grounding, normalised box corrections.

    `word_weights` [batch, words] and `region_weights` [batch, regions], if asked for, say how much the head attends to
    each; they are zero on padding and sum to one.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    box_deltas: Tensor | None = None
    word_weights: Tensor | None = None
    region_weights: Tensor | None = None


class Sublayer(GradientCheckpointingLayer):
    """Dropout, residual and norm around one operation."""

    def __init__(self, name: str, config: MMnasConfig):
        super().__init__()
        self.operation = OPERATIONS[name](config)
        self.dropout = Dropout(config.dropout)
        self.norm = LayerNorm(config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.norm(x + self.dropout(self.operation(x, context)))


class Node(nn.ModuleDict):
    """The candidate operations at one position. A derived network's node has exactly one."""

    def __init__(self, names: Sequence[str], config: MMnasConfig):
        super().__init__({name: Sublayer(name, config) for name in names})

    def forward(self, x: Tensor, context: Context, gate: Gate) -> Tensor:
        outputs = []
        for name, weight in gate.items():
            run, seen = self[name], context.only_for(self[name].operation)
            if weight != 0:
                outputs.append(run(x, seen))
            else:  # its output serves the gate's own gradient, and nothing flows through it
                with torch.no_grad():
                    outputs.append(run(x.detach(), seen))
        weights = list(gate.values())
        if len(outputs) == 1 and isinstance(weights[0], float) and weights[0] == 1.0:
            return outputs[0]
        return mix(outputs, weights)


class LongLinear(nn.Linear):
    """A linear layer for very many rows of very few numbers.

    Autograd multiplies for the weight's gradient in the order that the weight's layout suggests; of a weight laid out
    anew, in the order that is ten times faster on CPUs for such rows.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.addmm(self.bias, x.flatten(0, -2), self.weight.t().contiguous())
        return rows.unflatten(0, x.shape[:-1])


class RelationEmbedding(nn.Module):
    """Embeds what one geometry says of each pair of regions; pairs with padding count as all zero."""

    def __init__(self, geometry: str, size: int):
        super().__init__()
        self.geometry = GEOMETRIES[geometry]
        self.linear = LongLinear(self.geometry.size, size)

    def forward(self, boxes: Tensor, mask: Tensor) -> Tensor:
        """Boxes [batch, regions, 4] and their mask become pairs [batch, regions, regions, size]."""
        return F.relu(self.linear(self.describe(boxes, mask)))

    def relate(self, operations: Sequence[Operation], boxes: Tensor, mask: Tensor) -> dict[Operation, Tensor]:
        """What each operation makes of the embedded pairs."""
        if self.projects_at_once(operations):
            layers = [self.linear, *(operation.relation for operation in operations)]
            parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
            shifts = RelationShifts.apply(self.describe(boxes, mask).flatten(1, 2), *parameters)
            shifts = [shift.unflatten(-1, (mask.shape[1], mask.shape[1])) for shift in shifts]
            return dict(zip(operations, shifts, strict=True))
        pairs = self(boxes, mask)
        return {operation: operation.relate(pairs) for operation in operations}

    def projects_at_once(self, operations: Sequence[Operation]) -> bool:
        """Whether `RelationShifts` does what these operations would do, of weights that are all here.

        Weights that are elsewhere or not loaded yet come when their own layer is called, and a layer of another class
        may be an adapted one.
        """
        if any(type(operation).relate is not RelationSelfAttention.relate for operation in operations):
            return False
        projections = [operation.relation for operation in operations]
        plain = type(self.linear) is LongLinear and all(type(layer) is Linear for layer in projections)
        return plain and serves("relations", *(layer.weight for layer in (self.linear, *projections)))

    def describe(self, boxes: Tensor, mask: Tensor) -> Tensor:
        """What the geometry says of each pair."""
        pairs = (mask[:, :, None] & mask[:, None, :])[..., None]
        described = self.geometry.compute(boxes.float()).masked_fill(~pairs, 0.0)
        return described.to(self.linear.weight.dtype)


class Backbone(nn.Module):
    """A chain of nodes over the words, then a chain over the regions that may look at the words."""

    def __init__(self, config: MMnasConfig):
        super().__init__()
        space = config.space
        self.encoder = nn.ModuleList(Node(names, config) for names in space.encoder)
        self.decoder = nn.ModuleList(Node(names, config) for names in space.decoder)

    def encode(self, words: Tensor, context: Context, path: Path) -> Tensor:
        return run_chain(self.encoder, words, context, path[: len(self.encoder)])

    def look(self, regions: Tensor, context: Context, path: Path) -> Tensor:
        """The nodes over regions up to the first that needs the text."""
        count = self.textless(path)
        return run_chain(self.decoder[:count], regions, context, path[len(self.encoder) :][:count])

    def join(self, regions: Tensor, context: Context, path: Path) -> Tensor:
        """The nodes over regions from the first that needs the text on."""
        count = self.textless(path)
        return run_chain(self.decoder[count:], regions, context, path[len(self.encoder) :][count:])

    def relating(self, path: Path) -> dict[str, list[Operation]]:
        """The operations of a path that look at region pairs, by geometry."""
        found: dict[str, list[Operation]] = {}
        for node, gate in zip(self.decoder, path[len(self.encoder) :], strict=True):
            for operation in (node[name].operation for name in gate):
                if operation.geometry is not None:
                    found.setdefault(operation.geometry, []).append(operation)
        return found

    def textless(self, path: Path) -> int:
        """How many nodes over regions come before the first that needs the text."""
        reads = [any(OPERATIONS[name].reads_text for name in gate) for gate in path[len(self.encoder) :]]
        return [*reads, True].index(True)


def run_chain(nodes: Iterable[Node], x: Tensor, context: Context, path: Path) -> Tensor:
    for node, gate in zip(nodes, path, strict=True):
        x = node(x, context, gate)
    return x


class Pooler(nn.Module):
    """Weighted mean of a sequence, the weights being a learned softmax over its valid positions."""

    def __init__(self, config: MMnasConfig):
        super().__init__()
        self.hidden = Linear(config.hidden_size, config.pooler_size)
        self.dropout = Dropout(config.dropout)
        self.score = Linear(config.pooler_size, 1)
        self.merge = Linear(config.hidden_size, 2 * config.hidden_size)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The mean [batch, 2 * hidden] and the weights [batch, positions]."""
        scores = self.score(self.dropout(F.relu(self.hidden(x))))  # [batch, positions, 1]
        weights = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min).softmax(1)
        return self.merge((weights * x).sum(1)), weights.squeeze(-1)


class PooledHead(nn.Module):
    """One vector for the pair of text and image, then `outputs` logits."""

    def __init__(self, config: MMnasConfig, outputs: int):
        super().__init__()
        self.words = Pooler(config)
        self.regions = Pooler(config)
        self.norm = LayerNorm(2 * config.hidden_size)
        self.classifier = Linear(2 * config.hidden_size, outputs)

    def forward(self, states: MMnasModelOutput, mask: Tensor, region_mask: Tensor) -> MMnasOutput:
        words, word_weights = self.words(states.word_states, mask)
        regions, region_weights = self.regions(states.region_states, region_mask)
        logits = self.classifier(self.norm(words + regions))
        return MMnasOutput(logits=logits, word_weights=word_weights, region_weights=region_weights)


class RegionHead(nn.Module):
    """A score and a box correction for every region; padding scores lowest."""

    def __init__(self, config: MMnasConfig):
        super().__init__()
        self.words = Pooler(config)
        self.regions = Linear(config.hidden_size, 2 * config.hidden_size)
        self.norm = LayerNorm(2 * config.hidden_size)
        self.score = Linear(2 * config.hidden_size, 1)
        self.box = Linear(2 * config.hidden_size, 4)

    def forward(self, states: MMnasModelOutput, mask: Tensor, region_mask: Tensor) -> MMnasOutput:
        words, word_weights = self.words(states.word_states, mask)
        fused = self.norm(words[:, None] + self.regions(states.region_states))
        scores = self.score(fused).squeeze(-1)
        logits = scores.masked_fill(~region_mask, torch.finfo(scores.dtype).min)
        return MMnasOutput(
            logits=logits, box_deltas=self.box(fused), word_weights=word_weights, region_weights=logits.softmax(-1)
        )


class MMnasPreTrainedModel(PreTrainedModel):
    """What supernets and derived networks of all tasks share."""

    config_class = MMnasConfig
    base_model_prefix = "mmnas"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ("Sublayer", "RelationEmbedding", "PooledHead", "RegionHead")

    def _set_gradient_checkpointing(
        self, enable: bool = True, gradient_checkpointing_func: Callable = checkpoint, **settings: Any
    ) -> None:
        super()._set_gradient_checkpointing(enable, spread_arguments(gradient_checkpointing_func), **settings)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own initialisation, which is what the original networks started from."""
        if isinstance(module, nn.Linear):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            if module.bias is not None:
                bound = 1 / math.sqrt(module.in_features)
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.LSTM):
            bound = 1 / math.sqrt(module.hidden_size)
            for parameter in module.parameters():
                init.uniform_(parameter, -bound, bound)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    def train(self, mode: bool = True) -> Self:
        """PyTorch's, at once if all modules are in that mode, which Trainer asks for in every step."""
        return self if all(module.training == mode for module in walk(self)) else super().train(mode)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """PyTorch's, without asking a supernet's many modules for names."""
        if not set_to_none:
            super().zero_grad(set_to_none)
            return
        for module in walk(self):
            for parameter in module._parameters.values():
                if parameter is not None:
                    parameter.grad = None

    def derive(self, genotype: Genotype | str) -> Self:
        """The network that `genotype` picks from this supernet, with a copy of the weights it has here."""
        if isinstance(genotype, str):
            genotype = Genotype.load(genotype)
        with torch.device("meta"):
            derived = type(self)(self.config.derive(genotype))
        weights = self.state_dict()
        derived.load_state_dict({name: weights[name].clone() for name in derived.state_dict()}, assign=True)
        return derived.train(self.training)


def walk(module: nn.Module) -> Iterator[nn.Module]:
    """A module and all below it; some may come more than once."""
    found = [module]
    while found:
        module = found.pop()
        yield module
        found.extend(child for child in module._modules.values() if child is not None)


def spread_arguments(checkpoint: Callable) -> Callable:
    """Checkpointing that also finds the tensors inside a `Context`; the reentrant kind only sees arguments."""

    def run(function: Callable, *arguments: Any) -> Any:
        leaves, structure = tree_flatten(arguments)
        return checkpoint(lambda *leaves: function(*tree_unflatten(leaves, structure)), *leaves)

    return run


class MMnasModel(MMnasPreTrainedModel):
    """Embeddings and backbone: encoded words and regions, without a head."""

    def __init__(self, config: MMnasConfig):
        super().__init__(config)
        space = config.space
        geometries = dict.fromkeys(filter(None, (OPERATIONS[name].geometry for name in space.operations)))
        self.words = nn.Embedding(config.vocab_size, config.word_size)
        self.lstm = nn.LSTM(config.word_size, config.hidden_size, batch_first=True)
        if config.box_feature:
            self.boxes = Linear(5, config.region_size)
        self.regions = Linear(config.region_size * (2 if config.box_feature else 1), config.hidden_size)
        self.relations = nn.ModuleDict({name: RelationEmbedding(name, config.relation_size) for name in geometries})
        self.backbone = Backbone(config)
        # Worked out once: reading a genotype takes time, and cannot be compiled.
        self.only_path = [{name: 1.0} for (name,) in space.nodes] if space.size == 1 else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.words = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        region_features: Tensor,
        attention_mask: Tensor | None = None,
        region_boxes: Tensor | None = None,
        region_mask: Tensor | None = None,
        image_sizes: Tensor | None = None,
        path: Path | None = None,
    ) -> MMnasModelOutput:
        """Encode a batch.

        `input_ids` and `attention_mask` are [batch, words]; `region_features` [batch, regions, region_size];
        `region_boxes` [batch, regions, 4] in pixels, xyxy; `region_mask` [batch, regions], true on regions;
        `image_sizes` [batch, 2] (height, width), only read with `config.box_feature`; `path` has one gate a node.
        """
        texts = self.encode_text(input_ids, attention_mask, path)
        images = self.encode_image(region_features, region_boxes, region_mask, image_sizes, path)
        return self.join(texts, images, path=path)

    def encode_text(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, path: Path | None = None
    ) -> TextStates:
        """All that is computed from texts alone; inputs as in `forward`."""
        mask = all_valid(input_ids) if attention_mask is None else attention_mask.bool()
        words, _ = self.lstm(self.words(input_ids))
        context = Context(additive_mask(mask, words))
        return TextStates(self.backbone.encode(words, context, self.checked(path)), mask)

    def encode_image(
        self,
        region_features: Tensor,
        region_boxes: Tensor | None = None,
        region_mask: Tensor | None = None,
        image_sizes: Tensor | None = None,
        path: Path | None = None,
    ) -> ImageStates:
        """All that is computed from images alone; inputs as in `forward`."""
        path = self.checked(path)
        mask = all_valid(region_features[..., 0]) if region_mask is None else region_mask.bool()
        features = region_features.to(self.regions.weight.dtype)
        regions = self.regions(self.describe_regions(features, region_boxes, image_sizes))
        relations = self.relate(region_boxes, mask, path)
        context = Context(additive_mask(mask, regions), relations=relations)
        return ImageStates(self.backbone.look(regions, context, path), mask, relations)

    def join(
        self, texts: TextStates, images: ImageStates, image: Tensor | None = None, path: Path | None = None
    ) -> MMnasModelOutput:
        """What is computed from both; `image` is the position of each text's image [texts], where some share one."""
        regions, mask = (x if image is None else x[image] for x in (images.regions, images.mask))
        context = Context(
            additive_mask(mask, regions), texts.words, additive_mask(texts.mask, regions), images.relations, image
        )
        regions = self.backbone.join(regions, context, self.checked(path))
        return MMnasModelOutput(word_states=texts.words, region_states=regions)

    def checked(self, path: Path | None) -> Path:
        path = self.only_path if path is None else path
        if path is None:
            raise InputError(
                f"this is a supernet of {self.config.space.size:.3g} networks: pass path=genotype.as_path(), or derive"
            )
        nodes = len(self.backbone.encoder) + len(self.backbone.decoder)
        if len(path) != nodes:
            raise InputError(f"a path of {len(path)} gates; this model has {nodes} nodes")
        return path

    def describe_regions(self, features: Tensor, boxes: Tensor | None, image_sizes: Tensor | None) -> Tensor:
        if not self.config.box_feature:
            return features
        if boxes is None or image_sizes is None:
            raise InputError("box_feature=True needs region_boxes and image_sizes")
        described = self.boxes(box_features(boxes.float(), image_sizes).to(features.dtype))
        return torch.cat((features, described), -1)

    def relate(self, boxes: Tensor | None, mask: Tensor, path: Path | None = None) -> dict[Operation, Tensor]:
        """What this path's operations make of region pairs, which are embedded once; inputs as in `forward`."""
        related = {}
        for geometry, operations in self.backbone.relating(self.checked(path)).items():
            if boxes is None:
                raise InputError("relation self attention needs region_boxes")
            related |= self.relations[geometry].relate(operations, boxes, mask)
        return related


def all_valid(positions: Tensor) -> Tensor:
    return torch.ones(positions.shape, dtype=torch.bool, device=positions.device)


def additive_mask(mask: Tensor, states: Tensor) -> Tensor:
    """Zero on valid positions, very negative on padding: [batch, 1, 1, positions], added to attention scores."""
    zeros = torch.zeros(mask.shape, dtype=states.dtype, device=states.device)
    return zeros.masked_fill(~mask.to(states.device), torch.finfo(states.dtype).min / 2)[:, None, None]


class MMnasForTask(MMnasPreTrainedModel):
    """The one way through: encode, head, loss. A task is a head and a loss."""

    def __init__(self, config: MMnasConfig):
        super().__init__(config)
        self.mmnas = MMnasModel(config)
        self.head = self.make_head(config)
        self.post_init()

    def make_head(self, config: MMnasConfig) -> nn.Module:
        raise NotImplementedError

    def loss_terms(self, output: MMnasOutput, labels: Tensor, boxes: Tensor | None, mask: Tensor) -> Sequence[LossTerm]:
        """What the loss is made of; `boxes` and `mask` are those of the regions."""
        raise NotImplementedError

    def compute_loss(self, output: MMnasOutput, labels: Tensor, boxes: Tensor | None, mask: Tensor) -> Tensor:
        terms = self.loss_terms(output, labels, boxes, mask)
        return torch.stack([term.total / term.count.clamp(min=1) for term in terms]).sum()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        region_features: Tensor,
        attention_mask: Tensor | None = None,
        region_boxes: Tensor | None = None,
        region_mask: Tensor | None = None,
        labels: Tensor | None = None,
        image_sizes: Tensor | None = None,
        path: Path | None = None,
        output_attentions: bool = False,
    ) -> MMnasOutput:
        """Score a batch; with `labels` also its loss. Inputs as in `MMnasModel`, labels as each task's class says."""
        texts = self.mmnas.encode_text(input_ids, attention_mask, path)
        images = self.mmnas.encode_image(region_features, region_boxes, region_mask, image_sizes, path)
        output = self.score(texts, images, path=path, output_attentions=output_attentions)
        if labels is not None:
            output.loss = self.compute_loss(output, labels, region_boxes, images.mask)
        return output

    def score(
        self,
        texts: TextStates,
        images: ImageStates,
        image: Tensor | None = None,
        path: Path | None = None,
        output_attentions: bool = False,
    ) -> MMnasOutput:
        """Score texts and images that are already encoded; `image` as in `MMnasModel.join`."""
        states = self.mmnas.join(texts, images, image, path)
        output = self.head(states, texts.mask, images.mask if image is None else images.mask[image])
        return output if output_attentions else replace(output, word_weights=None, region_weights=None)


class MMnasForVisualQuestionAnswering(MMnasForTask):
    """Answers a question about an image; labels are soft targets [batch, answers]."""

    def make_head(self, config: MMnasConfig) -> nn.Module:
        return PooledHead(config, config.num_labels)

    def loss_terms(self, output: MMnasOutput, labels: Tensor, boxes: Tensor | None, mask: Tensor) -> Sequence[LossTerm]:
        return [summed(F.binary_cross_entropy_with_logits(output.logits, labels, reduction="sum"))]


class MMnasForImageTextMatching(MMnasForTask):
    """Tells whether text and image belong together; labels are 1 for a pair that does, else 0: [batch]."""

    def make_head(self, config: MMnasConfig) -> nn.Module:
        return PooledHead(config, 1)

    def loss_terms(self, output: MMnasOutput, labels: Tensor, boxes: Tensor | None, mask: Tensor) -> Sequence[LossTerm]:
        labels, logits = labels.float(), output.logits.squeeze(-1)
        weight = labels.new_tensor(MATCH_WEIGHT)
        return [summed(F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weight, reduction="sum"))]


class MMnasForVisualGrounding(MMnasForTask):
    """Finds the region that a phrase means; labels are the meant boxes [batch, 4] in pixels, xyxy."""

    def make_head(self, config: MMnasConfig) -> nn.Module:
        return RegionHead(config)

    def loss_terms(self, output: MMnasOutput, labels: Tensor, boxes: Tensor | None, mask: Tensor) -> Sequence[LossTerm]:
        if boxes is None:
            raise InputError("the grounding loss needs region_boxes")
        boxes = boxes.masked_fill(~mask[..., None], 0.0)  # whatever padding holds, it must not turn into NaN
        shared = overlaps(boxes, labels).masked_fill(~mask, 0.0)
        positive = shared >= POSITIVE_OVERLAP  # [batch, regions]
        targets = encode_deltas(boxes, labels[:, None])
        return [ranking_loss(output.logits, shared * positive), box_loss(output.box_deltas, targets, positive)]


def summed(total: Tensor) -> LossTerm:
    """A loss that is divided by nothing."""
    return LossTerm(total, torch.ones((), dtype=torch.long, device=total.device))


def ranking_loss(scores: Tensor, relevance: Tensor) -> LossTerm:
    """KL divergence of the scores' softmax from the relevance, over rows that have a relevant region."""
    total = relevance.sum(-1, keepdim=True)  # [batch, 1]
    target = relevance / total.clamp(min=torch.finfo(total.dtype).tiny)
    return LossTerm(F.kl_div(scores.log_softmax(-1, dtype=target.dtype), target, reduction="sum"), (total > 0).sum())


def box_loss(deltas: Tensor, targets: Tensor, positive: Tensor) -> LossTerm:
    """Smooth L1 over positive regions."""
    loss = F.smooth_l1_loss(deltas.to(targets.dtype), targets, reduction="none").sum(-1)  # [batch, regions]
    return LossTerm(BOX_LOSS_WEIGHT * (loss * positive).sum(), positive.sum())
