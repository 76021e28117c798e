"""Losses against slow sums written out here, hand-worked cases and what must not change them."""

from math import log

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from polymodal.nn.dual import Scale, hard_loss, info_nce, ragged, regional_loss, sigmoid_loss, sigmoid_start

SEVEN = torch.tensor(7.0, dtype=torch.float64)


def unit(*shape: int) -> Tensor:
    return normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def slow_info_nce(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    total = a.new_zeros(())
    for i in range(len(a)):
        rows = torch.stack([scale * a[i] @ b[j] for j in range(len(b))])
        columns = torch.stack([scale * a[j] @ b[i] for j in range(len(a))])
        total = total + (rows.exp().sum().log() - rows[i]) + (columns.exp().sum().log() - columns[i])
    return total / (2 * len(a))


def slow_sigmoid(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    total = a.new_zeros(())
    for i in range(len(a)):
        for j in range(len(b)):
            x = (scale * a[i] @ b[j] + bias) * (1 if i == j else -1)
            total = total + (1 + (-x).exp()).log()
    return total / len(a)


def same_gradients(fast, slow, *inputs: Tensor) -> None:
    made = []
    for loss in (fast, slow):
        leaves = [x.clone().requires_grad_() for x in inputs]
        value = loss(*leaves)
        value.backward()
        made.append((value.detach(), [x.grad for x in leaves]))
    torch.testing.assert_close(made[0], made[1], rtol=1e-9, atol=1e-12)


def test_info_nce_is_its_formula() -> None:
    same_gradients(info_nce, slow_info_nce, unit(9, 5), unit(9, 5), SEVEN)


def test_sigmoid_is_its_formula() -> None:
    same_gradients(sigmoid_loss, slow_sigmoid, unit(9, 5), unit(9, 5), SEVEN, -SEVEN)


def test_a_sigmoid_starts_as_sure_as_info_nce() -> None:
    a, b = unit(9, 5), unit(9, 5)
    logits = 7 * a @ b.T
    by_hand = -sum(torch.stack([logits[i, j].exp() for j in range(9)]).sum().log() for i in range(9)) / 9
    torch.testing.assert_close(sigmoid_start(a, b, SEVEN), by_hand)
    assert float(sigmoid_start(a, b, 0 * SEVEN)) == pytest.approx(-log(9))
    same, other = unit(1, 5).expand(9, -1), unit(9, 5)  # all rows have one sum
    sure = torch.sigmoid(7 * same @ other.T + sigmoid_start(same, other, SEVEN))
    share = (7 * same @ other.T).softmax(1)
    torch.testing.assert_close(sure, share / (1 + share))


def test_at_scale_zero_it_is_ln_of_the_batch() -> None:
    assert float(info_nce(unit(32, 8), unit(32, 8), 0 * SEVEN)) == pytest.approx(log(32))


def test_order_of_the_batch_does_not_matter() -> None:
    a, b, order = unit(16, 4), unit(16, 4), torch.randperm(16)
    torch.testing.assert_close(info_nce(a, b, SEVEN), info_nce(a[order], b[order], SEVEN))
    torch.testing.assert_close(regional_loss(a, b, SEVEN), regional_loss(a[order], b[order], SEVEN))


def test_near_equal_phrases_are_no_negatives() -> None:
    regions, phrases = unit(3, 6), unit(3, 6)
    phrases[1] = phrases[0]
    logits = 7 * regions @ phrases.T
    logits[0, 1] = logits[1, 0] = -torch.inf
    own = torch.arange(3)
    by_hand = sum(torch.nn.functional.cross_entropy(x, own) for x in (logits, logits.T)) / 2
    torch.testing.assert_close(regional_loss(regions, phrases, SEVEN), by_hand)
    torch.testing.assert_close(
        regional_loss(regions, phrases, SEVEN, same=2.0), info_nce(regions, phrases, SEVEN)
    )


def test_hard_loss_by_hand_with_any_number_of_negatives() -> None:
    regions, phrases, flat = unit(4, 5), unit(4, 5), unit(6, 5)
    counts = torch.tensor([3, 0, 1, 2])
    negatives, mask = ragged(flat, counts)
    assert negatives.shape == (4, 3, 5)
    assert mask.sum(1).tolist() == counts.tolist()
    rows = flat.split(counts.tolist())
    by_hand = []
    for k in (0, 2, 3):
        right = (7 * regions[k] @ phrases[k]).exp()
        by_hand.append(-(right / (right + (7 * rows[k] @ regions[k]).exp().sum())).log())
    torch.testing.assert_close(
        hard_loss(regions, phrases, negatives, mask, SEVEN), torch.stack(by_hand).mean()
    )
    scale = SEVEN.clone().requires_grad_()
    hard_loss(regions, phrases, negatives, mask, scale).backward()
    assert torch.isfinite(scale.grad), "padding reaches the temperature"
    negatives[~mask] = 1e9  # what stands in padding is never read
    torch.testing.assert_close(
        hard_loss(regions, phrases, negatives, mask, SEVEN), torch.stack(by_hand).mean()
    )


def test_negatives_that_change_nothing_cost_ln_of_their_number_plus_one() -> None:
    regions, phrases = unit(4, 5), unit(4, 5)
    same = phrases[:, None].expand(-1, 10, -1)
    loss = hard_loss(regions, phrases, same, torch.ones(4, 10, dtype=torch.bool), SEVEN)
    assert float(loss) == pytest.approx(log(11))


def test_nothing_to_compare_is_zero_with_a_gradient() -> None:
    none, mask = unit(0, 5).requires_grad_(), torch.zeros(0, 3, dtype=torch.bool)
    some, bare = unit(2, 5).requires_grad_(), torch.zeros(2, 3, dtype=torch.bool)
    losses = [
        info_nce(none, none, SEVEN),
        regional_loss(none, none, SEVEN),
        hard_loss(none, none, torch.zeros(0, 3, 5, dtype=torch.float64), mask, SEVEN),
        hard_loss(some, some, torch.zeros(2, 3, 5, dtype=torch.float64), bare, SEVEN),
    ]
    assert [loss.item() for loss in losses] == [0.0] * 4
    torch.stack(losses).sum().backward()
    assert torch.equal(some.grad, torch.zeros(2, 5, dtype=torch.float64))
    assert [x.shape for x in ragged(torch.zeros(0, 5), torch.zeros(0, dtype=torch.long))] == [
        (0, 0, 5),
        (0, 0),
    ]


def test_scale_is_learnt_and_bounded() -> None:
    scale = Scale()
    assert scale().item() == pytest.approx(1 / 0.07)
    scale.logit_scale.data.fill_(9.0)
    assert scale().item() == 100.0
