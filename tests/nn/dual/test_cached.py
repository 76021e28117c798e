"""The gradient cache gives the gradient of one shot, dropout included."""

import pytest
import torch
from torch import Tensor, nn

from polymodal.nn.dual import Scale, cached, info_nce


def gradients(*modules: nn.Module) -> list[Tensor]:
    found = [p.grad.clone() for m in modules for p in m.parameters() if p.grad is not None]
    for module in modules:
        module.zero_grad()
    return found


@pytest.mark.parametrize("chunk", [3, 8, 100])
def test_gradient_is_that_of_one_shot(chunk: int) -> None:
    a, b, scale = nn.Linear(6, 4).double(), nn.Linear(5, 4).double(), Scale(3.0).double()
    x, y = torch.randn(17, 6, dtype=torch.float64), torch.randn(17, 5, dtype=torch.float64)
    shot = info_nce(a(x), b(y), scale())
    shot.backward()
    whole = gradients(a, b, scale)
    value = cached(lambda u, v: info_nce(u, v, scale()), [(a, [x]), (b, [y])], chunk)
    assert not value.requires_grad
    torch.testing.assert_close(value, shot.detach())
    torch.testing.assert_close(gradients(a, b, scale), whole)


def test_dropout_falls_alike_in_both_passes() -> None:
    seen: list[Tensor] = []
    drop = nn.Dropout(0.5)
    weight = nn.Parameter(torch.ones(8))

    def embed(x: Tensor) -> Tensor:
        out = drop(x) * weight
        seen.append(out.detach())
        return out

    torch.manual_seed(7)
    cached(lambda u: (u**2).sum(), [(embed, [torch.randn(6, 8)])], 2)
    after = torch.rand(3)
    assert torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))
    torch.manual_seed(7)
    for x in torch.randn(6, 8).split(2):
        drop(x)
    assert torch.equal(after, torch.rand(3)), "the generator goes on as after one pass"


def test_sides_of_several_tensors_and_bad_lengths() -> None:
    layer = nn.Linear(3, 2)
    x, mask = torch.randn(5, 3), torch.ones(5, 3)
    value = cached(lambda u: u.sum(), [(lambda a, m: layer(a * m), [x, mask])], 2)
    torch.testing.assert_close(value, layer(x).sum().detach())
    with pytest.raises(ValueError, match="one length, given \\[5, 4\\]"):
        cached(lambda u: u.sum(), [(layer, [x, mask[:4]])])
