"""Candidate operations. To add one, write a module with `forward(x, context)` and name it with `@operation`."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attention import attend
from .boxes import relations, signed_relations
from .configuration_mmnas import HEAD_SIZE, MMnasConfig
from .dropout import Activation, drop
from .errors import InputError
from .genotype import LETTERS, add_letter
from .products import Linear
from .region_pairs import MINIMAL_RELATION
from .speedups import serves

EXPANSION = 4  # of the feed-forward operation's inner layer


class Geometry(NamedTuple):
    """A description of region pairs: its size, and the function from boxes [.., n, 4] to [.., n, n, size]."""

    size: int
    compute: Callable[[Tensor], Tensor]


GEOMETRIES: dict[str, Geometry] = {"plain": Geometry(4, relations), "signed": Geometry(6, signed_relations)}
OPERATIONS: dict[str, type["Operation"]] = {}


class Context(NamedTuple):
    """What an operation may look at besides its input.

    `mask` and `memory_mask` are added to attention scores: [batch, 1, 1, keys], zero or very negative on padding.
    `relations` holds what operations made of region pairs by their `relate`; `image` is the position of each row's
    image in it, where rows share images: [batch].
    """

    mask: Tensor
    memory: Tensor | None = None
    memory_mask: Tensor | None = None
    relations: Mapping["Operation", Tensor] | None = None
    image: Tensor | None = None

    def only_for(self, operation: "Operation") -> "Context":
        """What one operation may look at: of what was made of region pairs, its own."""
        related = {operation: self.relations[operation]} if operation.geometry is not None else None
        return self._replace(relations=related)

    def spread(self, x: Tensor) -> Tensor:
        """What was computed for each image, for each row."""
        return x if self.image is None else x[self.image]


class Operation(nn.Module):
    """Base of all candidates: built from the config, called with states [batch, positions, hidden] and a context."""

    geometry: str | None = None  # the description of region pairs that `relate` gets, if any
    reads_text = False  # whether it looks at `context.memory`; regions' nodes before the first that does need no text

    def __init__(self, config: MMnasConfig):
        super().__init__()

    def relate(self, pairs: Tensor) -> Tensor:
        """What `context.relations[self]` holds, images first, of pairs [images, regions, regions, relation_size]."""
        return pairs

    def forward(self, x: Tensor, context: Context) -> Tensor:
        raise NotImplementedError


def operation(name: str, letter: str | None = None) -> Callable[[type[Operation]], type[Operation]]:
    """Make a class available to search spaces and genotypes under `name`, and in short forms under `letter`."""

    def register(cls: type[Operation]) -> type[Operation]:
        if name in OPERATIONS:
            raise InputError(f"operation {name!r} is already defined by {OPERATIONS[name].__name__}")
        if name not in LETTERS or letter is not None:
            add_letter(name, letter or "")
        OPERATIONS[name] = cls
        return cls

    return register


class LayerNorm(nn.LayerNorm):
    """Layer norm as in MCAN, which divides by the unbiased standard deviation plus 1e-6.

    The fused kernel divides by the biased one: scaling its weight by sqrt((size - 1) / size) agrees to about 1e-6.
    """

    def __init__(self, size: int):
        super().__init__(size, eps=1e-12)
        self.correction = math.sqrt((size - 1) / size)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight * self.correction, self.bias, self.eps)


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Attention written out: states [batch, queries, heads, size] and weights [batch, heads, queries, keys]."""
    scores = query @ key.transpose(-2, -1) * scaling + attention_mask  # [batch, heads, queries, keys]
    weights = drop(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2), weights


class MultiHeadAttention(nn.Module):
    """Attention with heads of size 64; its projections have no bias unless `config.attention_bias` says so."""

    is_causal = False

    def __init__(self, config: MMnasConfig):
        super().__init__()
        size, bias = config.hidden_size, config.attention_bias
        self.config = config
        self.query = Linear(size, size, bias=bias)
        self.key = Linear(size, size, bias=bias)
        self.value = Linear(size, size, bias=bias)
        self.merge = Linear(size, size, bias=bias)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.query(x), *self.keys_and_values(memory)
        dropout, scaling = self.config.dropout if self.training else 0.0, HEAD_SIZE**-0.5
        implementation = self.config._attn_implementation
        if implementation == "sdpa" and dropout < 1 and serves("attention", q, mask):
            return self.merge(attend(q, k, v, mask, q.shape[2] // HEAD_SIZE, scaling, dropout))
        q, k, v = (states.unflatten(-1, (-1, HEAD_SIZE)).transpose(1, 2) for states in (q, k, v))
        interface = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention)
        states, _ = interface(self, q, k, v, mask, dropout=dropout, scaling=scaling)
        return self.merge(states.flatten(2))

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.key(memory), self.value(memory)


@operation("self_att_64")
class SelfAttention(Operation):
    """Every position attends to all positions of its own modality."""

    def __init__(self, config: MMnasConfig):
        super().__init__(config)
        self.attention = MultiHeadAttention(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.attention(x, x, context.mask)


@operation("rel_self_att_64")
class RelationSelfAttention(Operation):
    """Self attention whose scores are shifted by the logarithm of a learned weight of each pair's geometry."""

    geometry = "plain"

    def __init__(self, config: MMnasConfig):
        super().__init__(config)
        self.attention = MultiHeadAttention(config)
        self.relation = Linear(config.relation_size, config.hidden_size // HEAD_SIZE)

    def relate(self, pairs: Tensor) -> Tensor:
        """What scores are shifted by: [images, heads, regions, regions]."""
        # In single precision, for half precision has hardly any numbers so small.
        return self.relation(pairs).permute(0, 3, 1, 2).float().clamp(min=MINIMAL_RELATION).log()

    def forward(self, x: Tensor, context: Context) -> Tensor:
        shifts = context.relations[self].to(x.dtype)
        return self.attention(x, x, context.spread(shifts) + context.mask)


@operation("signed_rel_self_att_64")
class SignedRelationSelfAttention(RelationSelfAttention):
    """Relation self attention that also sees on which side the other region lies."""

    geometry = "signed"


@operation("guided_att_64")
class GuidedAttention(Operation):
    """Attention from regions to the encoded words."""

    reads_text = True

    def __init__(self, config: MMnasConfig):
        super().__init__(config)
        self.attention = MultiHeadAttention(config)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return self.attention(x, context.memory, context.memory_mask)


@operation("feed_forward")
class FeedForward(Operation):
    """Two linear layers with a ReLU between them, position by position."""

    def __init__(self, config: MMnasConfig):
        super().__init__(config)
        self.expand = Linear(config.hidden_size, EXPANSION * config.hidden_size)
        self.activation = Activation(config.dropout)
        self.contract = Linear(EXPANSION * config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        rows = x.flatten(0, -2)  # of which the expansion is no view, so that the activation may work in place
        return self.contract(self.activation(self.expand(rows))).unflatten(0, x.shape[:-1])


@operation("identity")
class Identity(Operation):
    """Passes its input on; inside its sublayer it only normalises, so that a search can choose a shorter network."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        return torch.zeros_like(x)
