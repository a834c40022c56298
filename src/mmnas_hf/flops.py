"""Floating-point operations of a call: PyTorch's counter, made to see attention and LSTMs on CPUs."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from .speedups import SPEEDUPS, without

GATES = 4  # of an LSTM cell

Shape = Sequence[int]


def lstm_flops(inputs: Shape, _: Shape, recurrent: Shape, *__: Any, **___: Any) -> int:
    """One layer's matrix products; `inputs` are [steps, batch, size], `recurrent` weights [4 * hidden, hidden]."""
    steps, batch, size = inputs
    hidden = recurrent[1]
    return 2 * steps * batch * GATES * hidden * (size + hidden)


def lstm_backward_flops(*shapes: Any, **_: Any) -> int:
    """Each product of the forward pass has one for its input's gradient and one for its weights'."""
    return 2 * lstm_flops(*shapes)


#: The fused kernels that PyTorch runs LSTMs with on CPUs; it has no formulas for them.
FORMULAS = {
    torch.ops.aten.mkldnn_rnn_layer: lstm_flops,
    torch.ops.aten.mkldnn_rnn_layer_backward: lstm_backward_flops,
}


def count_flops(function: Callable[[], Any]) -> int:
    """The floating-point operations of matrix products and convolutions in a call, two a multiplication and addition.

    Attention runs as plain products meanwhile, since its fused kernel on CPUs has no formula either, and all else as
    written out: what a faster way computes twice is not counted twice.
    """
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    with counter, sdpa_kernel(SDPBackend.MATH), without(*SPEEDUPS):
        function()
    return counter.get_total_flops()
