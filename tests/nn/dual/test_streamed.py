"""The streamed loss against the plain one: value, gradients, any block, memory."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from polymodal.nn.dual import info_nce, streamed


def leaves(n: int, scale: float, kind: torch.dtype = torch.float64) -> list[Tensor]:
    made = [normalize(torch.randn(n, 16, dtype=kind), dim=-1) for _ in range(2)]
    return [x.requires_grad_() for x in (*made, torch.tensor(scale, dtype=kind))]


@pytest.mark.parametrize("block", [1, 7, 32, 500])
def test_value_and_gradient_are_those_of_the_plain_loss(block: int) -> None:
    inputs = leaves(33, 20.0)
    plain = torch.autograd.grad(3 * info_nce(*inputs), inputs)
    value = streamed(*inputs, block)
    torch.testing.assert_close(value, info_nce(*inputs))
    torch.testing.assert_close(torch.autograd.grad(3 * value, inputs), plain)
    assert torch.autograd.gradcheck(lambda a, b, s: streamed(a, b, s, block), inputs)


def test_in_single_precision_at_the_largest_scale_and_for_opposite_pairs() -> None:
    inputs = leaves(64, 100.0, torch.float32)
    inputs[1].data = -inputs[0].data  # logits of own pairs lie 200 below what exp can hold
    plain = torch.autograd.grad(info_nce(*inputs), inputs)
    found = torch.autograd.grad(streamed(*inputs, 16), inputs)
    for a, b in zip(found, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


class Largest(TorchDispatchMode):
    """The largest tensor that any operation gives."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, Tensor):
                self.size = max(self.size, x.numel())
        return out


def test_no_tensor_is_larger_than_a_block_of_rows() -> None:
    inputs = leaves(256, 20.0)
    with Largest() as seen:
        streamed(*inputs, 32).backward()
    assert seen.size == 32 * 256


def test_no_rows_are_zero() -> None:
    assert streamed(torch.zeros(0, 4), torch.zeros(0, 4), torch.tensor(1.0)) == 0
