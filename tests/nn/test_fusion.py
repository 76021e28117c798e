"""Fusions: contracts, what each weighs, who can learn an exclusive-or."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from polymodal.nn import (
    Concat,
    CrossAttention,
    Encoded,
    Fusion,
    Gated,
    Late,
    LowRank,
    MixtureGate,
    Outer,
    Softmax,
    Weighted,
)
from polymodal.nn.attention import Attention
from polymodal.nn.fusion import drop
from polymodal.testing import check_fusion

Make = Callable[[Mapping[str, int]], Fusion]
MEMBERS: dict[str, Make] = {
    "concat": lambda dims: Concat(dims, 8),
    "bare concat": lambda dims: Concat(dims, dense=False),
    "weighted by part": lambda dims: Weighted(dims, 8),
    "weighted by input": lambda dims: Weighted(dims, 8, by="input"),
    "gated": lambda dims: Gated(dims, 8),
    "mixture": lambda dims: MixtureGate(dims, 8),
    "late": lambda dims: Late(dims, 8),
    "stacked": lambda dims: Late(dims, 8, stacked=True),
    "outer": lambda dims: Outer(dims, 8),
    "bare outer": lambda dims: Outer(dims, dense=False),
    "low rank": lambda dims: LowRank(dims, 8, rank=3),
    "attention": lambda dims: CrossAttention(dims, "text", 8, heads=2),
    "attention to the last, no gate": lambda dims: CrossAttention(dims, "video", 8, heads=2, gate=False),
}


def whole(vector: Tensor) -> Encoded:
    return Encoded(vector[:, None], torch.ones(len(vector), 1, dtype=torch.bool), vector)


def everyone(n: int, m: int) -> Tensor:
    return torch.ones(n, m, dtype=torch.bool)


@pytest.mark.parametrize("name", MEMBERS)
def test_contract(name: str) -> None:
    check_fusion(MEMBERS[name])


def test_the_contract_finds_a_fusion_that_reads_absent_parts() -> None:
    class Careless(Concat):
        def vectors(self, encoded: Mapping[str, Encoded], present: Tensor) -> dict[str, Tensor]:
            return super().vectors(encoded, torch.ones_like(present))

        def fuse(self, encoded: Mapping[str, Encoded], present: Tensor) -> object:
            out = super().fuse(encoded, torch.ones_like(present))
            return type(out)(out.vector, out.tokens, out.mask, present / present.sum(1, True).clamp(min=1))

    with pytest.raises(AssertionError, match="Careless: an absent part full of"):
        check_fusion(lambda dims: Careless(dims, 8))


def test_a_part_with_an_empty_mask_is_absent() -> None:
    fusion = Concat({"a": 2, "b": 2}, 4).eval()
    a, b = whole(torch.randn(3, 2)), whole(torch.randn(3, 2))
    empty = Encoded(b.tokens, ~b.mask, b.vector)
    gone = fusion({"a": a}, everyone(3, 2))
    assert torch.equal(fusion({"a": a, "b": empty}, everyone(3, 2)).vector, gone.vector)
    assert gone.weights.tolist() == [[1, 0]] * 3


def test_absent_parts_of_concat_are_learned() -> None:
    fusion = Concat({"a": 2, "b": 3}, 4, dropout=0.0)
    fusion({"a": whole(torch.randn(5, 2))}, everyone(5, 2)).vector.sum().backward()
    assert fusion.stand_ins["b"].grad is not None
    assert not fusion.stand_ins["a"].grad.any()


def test_dropout_keeps_the_asked_share_and_never_none() -> None:
    """With three parts kept with probability .5 and none-kept redrawn, a part stays with (1/2) / (7/8)."""
    torch.manual_seed(0)
    kept = drop(everyone(40_000, 3), 0.5)
    assert kept.any(1).all()
    torch.testing.assert_close(kept.float().mean(0), torch.full((3,), 4 / 7), atol=0.01, rtol=0)
    some = torch.tensor([[True, False, False], [False, False, False]])
    assert torch.equal(drop(some, 0.9), some)


@pytest.mark.parametrize("absent", [1.0, -0.1])
def test_absent_is_a_probability(absent: float) -> None:
    with pytest.raises(ValueError, match="absent is a probability in"):
        Concat({"a": 2}, 2, absent=absent)


@pytest.mark.parametrize("name", ["a.b", "keys"])
def test_names_that_torch_cannot_keep(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' cannot name a part"):
        Concat({name: 2}, 2)


def test_unknown_choices_are_named() -> None:
    with pytest.raises(ValueError, match="weights are by part or by input, not by 'luck'"):
        Weighted({"a": 2}, 2, by="luck")
    with pytest.raises(ValueError, match="anchor 'c' is none of the parts a, b"):
        CrossAttention({"a": 2, "b": 2}, "c", 4, heads=2)
    with pytest.raises(ValueError, match="3 heads do not divide 4 columns"):
        Attention(4, 3)


def test_weighted_by_hand() -> None:
    fusion = Weighted({"a": 1, "b": 1}, 1)
    with torch.no_grad():
        for name, slope in (("a", 2.0), ("b", 10.0)):
            fusion.values[name].weight.fill_(slope)
            fusion.values[name].bias.zero_()
        fusion.prior.copy_(torch.log(torch.tensor([3.0, 1.0])))
    encoded = {"a": whole(torch.ones(2, 1)), "b": whole(torch.ones(2, 1))}
    out = fusion(encoded, torch.tensor([[True, True], [False, True]]))
    torch.testing.assert_close(out.weights, torch.tensor([[0.75, 0.25], [0.0, 1.0]]))
    torch.testing.assert_close(out.vector[:, 0], torch.tensor([4.0, 10.0]))


def test_gated_with_two_parts_is_the_published_unit() -> None:
    """z = σ(W_z [x; y]), h = z tanh(W_x x) + (1 − z) tanh(W_y y), with W_z the difference of our scores."""
    fusion = Gated({"x": 3, "y": 2}, 4)
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    out = fusion({"x": whole(x), "y": whole(y)}, everyone(5, 2))
    w, b = fusion.gate.weight.reshape(2, 4, 5), fusion.gate.bias.reshape(2, 4)
    z = torch.sigmoid(torch.cat([x, y], 1) @ (w[0] - w[1]).T + b[0] - b[1])
    want = z * torch.tanh(fusion.values["x"](x)) + (1 - z) * torch.tanh(fusion.values["y"](y))
    torch.testing.assert_close(out.vector, want)


def test_late_is_the_weighted_mean_of_the_parts_own_logits() -> None:
    fusion, head = Late({"a": 3, "b": 2}, 4), Softmax(4, 3)
    with torch.no_grad():
        fusion.prior.copy_(torch.tensor([0.3, -0.5]))
    encoded = {"a": whole(torch.randn(5, 3)), "b": whole(torch.randn(5, 2))}
    out = fusion(encoded, everyone(5, 2))
    logits = [head(fusion.votes[name](encoded[name].vector)) for name in "ab"]
    want = sum(out.weights[:, i, None] * logits[i] for i in range(2))
    torch.testing.assert_close(head(out.vector), want)


def test_attention_is_torchs_own() -> None:
    ours, theirs = Attention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        layers = (ours.query, ours.key, ours.value)
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, keys = torch.randn(3, 2, 8), torch.randn(3, 5, 8)
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    want, _ = theirs(query, keys, keys, key_padding_mask=~mask)
    torch.testing.assert_close(ours(query, keys, mask), want, atol=1e-6, rtol=0)
    assert not ours(query, keys, torch.zeros_like(mask)).any()


def test_a_gate_of_zero_leaves_the_anchor_as_if_alone() -> None:
    fusion = CrossAttention({"a": 3, "b": 2}, "a", 8, heads=2).eval()
    a, b = whole(torch.randn(4, 3)), whole(torch.randn(4, 2))
    alone = fusion({"a": a}, everyone(4, 2))
    with torch.no_grad():
        fusion.gates["b"].weight.zero_()
        fusion.gates["b"].bias.fill_(-1e4)
    gated = fusion({"a": a, "b": b}, everyone(4, 2))
    torch.testing.assert_close(gated.vector, alone.vector)
    assert gated.weights.tolist() == [[1, 0]] * 4


def test_cross_attention_keeps_the_anchors_tokens() -> None:
    fusion = CrossAttention({"a": 3, "b": 2}, "a", 8, heads=2).eval()
    mask = torch.arange(4) < torch.tensor([[4], [2]])
    tokens = torch.randn(2, 4, 3)
    out = fusion({"a": Encoded(tokens, mask, tokens[:, 0]), "b": whole(torch.randn(2, 2))}, everyone(2, 2))
    assert torch.equal(out.mask, mask)
    assert out.tokens.shape == (2, 4, 8)
    assert not out.tokens[1, 2:].any()


EXCLUSIVE_OR = {
    "concat": 1.0,
    "outer": 1.0,
    "low rank": 1.0,
    "mixture": 1.0,
    "attention": 1.0,
    "bare concat": 0.5,
    "weighted by part": 0.5,
    "late": 0.5,
    "stacked": 0.5,
}


@pytest.mark.parametrize("name", EXCLUSIVE_OR)
def test_exclusive_or(name: str) -> None:
    """y = a xor b, video noise: one non-linear step across parts learns it, a sum over parts cannot."""
    torch.manual_seed(0)
    bits = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(32, 1)
    target = bits[:, 0] ^ bits[:, 1]
    signs = 2.0 * bits - 1
    encoded = {
        "text": whole(torch.cat([signs[:, :1], 0.3 * torch.randn(128, 2)], 1)),
        "audio": whole(torch.cat([signs[:, 1:], 0.3 * torch.randn(128, 2)], 1)),
        "video": whole(0.3 * torch.randn(128, 2)),
    }
    fusion = MEMBERS[name]({"text": 3, "audio": 3, "video": 2})
    head = Softmax(fusion.dim, 2)
    optimiser = torch.optim.Adam([*fusion.parameters(), *head.parameters()], 0.02, weight_decay=1e-3)
    for _ in range(150):
        loss = head.loss(head(fusion(encoded, everyone(128, 3)).vector), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    fusion.eval().requires_grad_(False)
    head.requires_grad_(False)
    fresh = {part: whole(e.vector + 0.05 * torch.randn_like(e.vector)) for part, e in encoded.items()}
    logits = head(fusion(fresh, everyone(128, 3)).vector)
    accuracy = float((head.predict(logits) == target).float().mean())
    if EXCLUSIVE_OR[name] == 1:
        assert accuracy > 0.97
    else:
        assert float(functional.cross_entropy(logits, target)) > 0.6
        assert accuracy <= 0.76  # a threshold on a sum gets at most three of four corners
