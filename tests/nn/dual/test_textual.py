"""The sequel's terms by hand."""

import pytest
import torch
from torch.nn.functional import normalize

from polymodal.nn.dual import apart_loss, margin, margin_loss

FOUR = torch.tensor(4.0)


def test_texts_apart_by_hand() -> None:
    texts = normalize(torch.randn(5, 6), dim=-1)
    texts[1] = texts[0]  # equal texts are no negatives
    cosines = texts @ texts.T
    by_hand = []
    for i in range(5):
        others = [cosines[i, m] for m in range(5) if m != i and {i, m} != {0, 1}]
        by_hand.append(torch.stack(sorted(others)[-2:]).mul(4).exp().sum().log())
    torch.testing.assert_close(apart_loss(texts, FOUR, nearest=2), torch.stack(by_hand).mean())
    lonely = texts[:1].clone().requires_grad_()
    apart_loss(lonely, FOUR).backward()
    assert torch.equal(lonely.grad, torch.zeros_like(lonely))


def test_margin_by_hand() -> None:
    right, wrong = torch.tensor([0.5, 0.2]), torch.tensor([[0.1, 0.4], [0.3, 9.0]])
    mask = torch.tensor([[True, True], [True, False]])
    ahead = margin(right, wrong, mask)
    assert ahead.item() == pytest.approx((0.4 + 0.1 - 0.1) / 3)
    lacks = [max(0, 0.1 - 0.5 + 0.2), max(0, 0.4 - 0.5 + 0.2), max(0, 0.3 - 0.2 + 0.2)]
    assert margin_loss(right, wrong, mask, torch.tensor(0.2)).item() == pytest.approx(sum(lacks) / 3)
    assert margin(right, wrong, torch.zeros_like(mask)).item() == 0
