"""Heads: losses by hand and against other implementations; missing targets leave the loss."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from polymodal.nn import Ordinal, Regress, Several, Softmax


def test_softmax_loss_leaves_out_missing_targets() -> None:
    head = Softmax(3, 4)
    logits = head(torch.randn(5, 3))
    target = torch.tensor([0, -1, 3, -1, 2])
    torch.testing.assert_close(
        head.loss(logits, target), functional.cross_entropy(logits[[0, 2, 4]], target[[0, 2, 4]])
    )
    assert head.loss(logits, torch.full((5,), -1)) == 0
    assert torch.equal(head.predict(logits), head.probabilities(logits, temperature=3.0).argmax(1))
    torch.testing.assert_close(head.probabilities(logits, 2.0), functional.softmax(logits / 2, 1))


@pytest.mark.parametrize(("squared", "want"), [(False, 1.5), (True, 2.5)])
def test_regress_by_hand(squared: bool, want: float) -> None:
    head = Regress(3, squared=squared)
    output = torch.tensor([1.0, 5.0, 0.0], requires_grad=True)
    loss = head.loss(output, torch.tensor([2.0, float("nan"), -2.0]))
    assert loss == want
    loss.backward()
    assert output.grad.isfinite().all()
    assert output.grad[1] == 0
    assert torch.equal(head.predict(output), output)


def test_regress_span_squashes_as_published() -> None:
    plain, squashed = Regress(3), Regress(3, span=(-3.0, 3.0))
    squashed.load_state_dict(plain.state_dict())
    x = torch.randn(6, 3)
    torch.testing.assert_close(squashed(x), 6 * torch.sigmoid(plain(x)) - 3)


def test_ordinal_by_hand() -> None:
    """P(y = j) = σ(c_{j+1} − f) − σ(c_j − f)."""
    head = Ordinal(2, 4)
    x = torch.randn(5, 2)
    f, cuts = x @ head.linear.weight[0], head.cuts
    assert (cuts[1:] > cuts[:-1]).all()
    torch.testing.assert_close(cuts, torch.tensor([-1.0, 0.0, 1.0]), atol=1e-3, rtol=0)
    below = torch.cat([torch.zeros(5, 1), torch.sigmoid(cuts - f[:, None]), torch.ones(5, 1)], 1)
    output = head(x)
    p = head.probabilities(output)
    torch.testing.assert_close(p, below.diff(dim=1))
    target = torch.tensor([0, 3, -1, 2, 1])
    torch.testing.assert_close(head.loss(output, target), -torch.log(p[[0, 1, 3, 4], [0, 3, 2, 1]]).mean())
    assert torch.equal(head.predict(output), p.argmax(1))


def test_ordinal_learns_what_statsmodels_finds() -> None:
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    y = np.digitize(x @ [1.5, -0.7] + rng.logistic(size=300), [-1, 0, 2])
    fitted = OrderedModel(y, x, distr="logit").fit(method="bfgs", disp=False)
    head, data, target = Ordinal(2, 4).double(), torch.from_numpy(x), torch.from_numpy(y)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        loss = head.loss(head(data), target)
        loss.backward()
        return loss.detach()

    optimiser.step(step)
    head.requires_grad_(False)
    assert float(head.loss(head(data), target)) == pytest.approx(-fitted.llf / 300, abs=1e-5)
    np.testing.assert_allclose(head.linear.weight[0].detach(), fitted.params[:2], atol=2e-2)
    np.testing.assert_allclose(head.probabilities(head(data)).detach(), fitted.predict(), atol=5e-3)


def test_ordinal_of_two_levels_and_far_values() -> None:
    head = Ordinal(1, 2)
    assert head.probabilities(head(torch.zeros(1, 1))).tolist() == [[0.5, 0.5]]
    wide = Ordinal(1, 5)
    with torch.no_grad():
        wide.linear.weight.fill_(1.0)
    loss = wide.loss(wide(torch.tensor([[500.0], [-500.0]])), torch.tensor([0, 4]))
    loss.backward()
    assert loss.isfinite()
    assert wide.linear.weight.grad.isfinite().all()


def test_several_fixed_and_uncertain_by_hand() -> None:
    output = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([0.0, 0.0])}
    target = {"a": torch.tensor([2.0, float("nan")]), "b": torch.tensor([4.0, 2.0])}
    fixed = Several({"a": Regress(3), "b": Regress(3)}, weights={"b": 0.5})
    assert fixed.counts(target) == {"a": 1, "b": 2}
    assert fixed.loss(output, target) == 1 + 0.5 * 3
    uncertain = Several({"a": Regress(3), "b": Regress(3)}, weigh="uncertainty")
    with torch.no_grad():
        uncertain.log_variance.copy_(torch.tensor([0.4, -0.2]))
    loss = uncertain.loss(output, target)
    assert loss.item() == pytest.approx(np.exp(-0.4) * 1 + 0.2 + np.exp(0.2) * 3 - 0.1, abs=1e-6)
    loss.backward()
    np.testing.assert_allclose(
        uncertain.log_variance.grad, [0.5 - np.exp(-0.4), 0.5 - 3 * np.exp(0.2)], rtol=1e-6
    )


@pytest.mark.parametrize("weigh", ["fixed", "uncertainty"])
def test_a_task_without_targets_leaves_the_sum(weigh: str) -> None:
    head = Several({"kind": Softmax(3, 4), "score": Regress(3), "level": Ordinal(3, 5)}, weigh=weigh)
    output = head(torch.randn(6, 3))
    kind, level = torch.tensor([0, 1, -1, 3, 2, -1]), torch.full((6,), -1)
    target = {"kind": kind, "level": level, "score": torch.full((6,), float("nan"))}
    assert head.counts(target) == {"kind": 4, "score": 0, "level": 0}
    torch.testing.assert_close(head.loss(output, target), head.heads["kind"].loss(output["kind"], kind))
    assert head.loss(output, {"kind": kind}) == head.loss(output, target)
    nothing = head.loss(output, {})
    nothing.backward()
    assert nothing == 0


def test_several_answers_by_task() -> None:
    head = Several({"kind": Softmax(3, 4), "score": Regress(3), "level": Ordinal(3, 5)})
    output = head(torch.randn(6, 3))
    assert {name: tuple(x.shape) for name, x in head.predict(output).items()} == {
        "kind": (6,),
        "score": (6,),
        "level": (6,),
    }
    p = head.probabilities(output, temperature=2.0)
    assert set(p) == {"kind", "level"}
    for x in p.values():
        torch.testing.assert_close(x.sum(1), torch.ones(6))


def test_several_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="heads read different widths"):
        Several({"a": Regress(3), "b": Regress(4)})
    with pytest.raises(ValueError, match="weigh is fixed or uncertainty, not 'luck'"):
        Several({"a": Regress(3)}, weigh="luck")
