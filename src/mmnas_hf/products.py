"""Matrix products with oneDNN, where that is faster and as precise as PyTorch's usual library."""

from collections.abc import Callable
from functools import cache, wraps
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .speedups import is_on, serves

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
ROWS_TRIED, INNER = (32, 512), 512  # of products that tell how precise a library is
LARGEST_ERROR = 1e-4  # of an element; single precision errs by 1e-6, bfloat16 by 1e-2
SMALL_PRODUCT = 2**20  # multiplications, from which on a faster product is worth its call
LARGE_PRODUCT = 2**22  # where its gradient is called from Python, too


class OneDNN:
    """While this is entered, PyTorch multiplies matrices with oneDNN, if that keeps single precision.

    PyTorch does so for those who allow that numbers are rounded to bfloat16. oneDNN takes that as leave, and makes use
    of it on processors with tiles for such numbers; there, PyTorch's usual library stays.
    """

    lock, entered, before = Lock(), 0, ""

    def __enter__(self) -> None:
        self.serves = is_on("products") and keeps_precision()
        if self.serves:
            with OneDNN.lock:
                if not OneDNN.entered:
                    OneDNN.before = torch.backends.mkldnn.matmul.fp32_precision
                    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
                OneDNN.entered += 1

    def __exit__(self, *_: object) -> None:
        if self.serves:
            with OneDNN.lock:
                OneDNN.entered -= 1
                if not OneDNN.entered:
                    torch.backends.mkldnn.matmul.fp32_precision = OneDNN.before


def with_onednn(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*given: Any) -> Any:
        with OneDNN():
            return function(*given)

    return run


@cache
def keeps_precision() -> bool:
    """Whether oneDNN's products are of single precision even where less is allowed; from PyTorch 2.9 on one can ask."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.backends.mkldnn, "matmul"):
        return False
    with OneDNN.lock:
        before = torch.backends.mkldnn.matmul.fp32_precision
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        try:
            return all(error_of_product(rows) < LARGEST_ERROR for rows in ROWS_TRIED)
        finally:
            torch.backends.mkldnn.matmul.fp32_precision = before


def error_of_product(rows: int) -> float:
    """The largest error of any element of a product, beside the deviation of its elements."""
    generator = torch.Generator().manual_seed(rows)
    x, y = (torch.randn(size, INNER, generator=generator, dtype=torch.float32, device="cpu") for size in (rows, INNER))
    with torch.inference_mode():
        return (x @ y.t() - x.double() @ y.double().t()).abs().max().item() / INNER**0.5


class Linear(nn.Linear):
    """PyTorch's, with the faster of its two libraries for matrix products."""

    def forward(self, x: Tensor) -> Tensor:
        has_graph = torch.is_grad_enabled()
        is_large = x.numel() * self.out_features >= (LARGE_PRODUCT if has_graph else SMALL_PRODUCT)
        if HAS_ONEDNN and is_large and serves("products", x, self.weight):
            return (Product.apply if has_graph else multiply)(x.contiguous(), self.weight, self.bias)
        return super().forward(x)


class Product(torch.autograd.Function):
    """x W' + b; what only one of the gradients needs is not kept if that one is not wanted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for_x, for_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if for_weight else None, weight if for_x else None)
        return multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    @with_onednn
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        dx = (rows @ weight).view(*gradient.shape[:-1], -1) if for_x else None
        dweight = rows.t() @ x.flatten(0, -2) if for_weight else None
        return dx, dweight, rows.sum(0) if for_bias else None


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """x W' + b, and what comes then: nothing, or a function of the library's, as "relu"."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")
