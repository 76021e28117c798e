"""Heads: from a fused vector to classes, scores, ordered levels or several tasks at once.

A head gives `forward(vector) -> output`, `loss(output, target)` that leaves out missing targets, and
`predict(output)`; those over classes also give `probabilities(output, temperature)`. The linear-chain CRF
over token vectors joins this file with entity tagging, its first user.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.members import Spec, member


class Head(nn.Module):
    """Reads `dim` columns, answers, and knows its loss."""

    dim: int
    spec: Spec


@member
class Softmax(Head):
    """One linear layer to `classes` logits; cross-entropy."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = dim, classes
        self.linear = nn.Linear(dim, classes)

    def forward(self, vector: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Logits."""
        logits: Tensor = self.linear(vector)
        return logits

    def loss(self, output: Float[Tensor, "b k"], target: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        """Mean cross-entropy over samples whose target is not −1; 0 if there are none."""
        known = target >= 0
        total = functional.cross_entropy(output, target.long(), ignore_index=-1, reduction="sum")
        return total / known.sum().clamp(min=1)

    def probabilities(self, output: Float[Tensor, "b k"], temperature: float = 1.0) -> Float[Tensor, "b k"]:
        """Class probabilities, sharpened or softened by a temperature fitted on validation data."""
        return (output / temperature).softmax(1)

    def predict(self, output: Float[Tensor, "b k"]) -> Int[Tensor, " b"]:
        """The likeliest class."""
        return output.argmax(1)


@member
class Regress(Head):
    """One linear layer to a score; mean absolute error, or squared error with `squared`.

    `span=(low, high)` squashes the score into that range by a sigmoid, as the published tensor fusion does
    with 6σ(x) − 3.
    """

    def __init__(self, dim: int, span: tuple[float, float] | None = None, squared: bool = False) -> None:
        super().__init__()
        self.dim, self.span, self.squared = dim, span, squared
        self.linear = nn.Linear(dim, 1)

    def forward(self, vector: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Scores."""
        score: Tensor = self.linear(vector)[:, 0]
        if self.span is None:
            return score
        low, high = self.span
        return low + (high - low) * score.sigmoid()

    def loss(self, output: Float[Tensor, " b"], target: Float[Tensor, " b"]) -> Float[Tensor, ""]:
        """Mean error over samples whose target is not NaN; 0 if there are none."""
        known = ~target.isnan()
        gap = torch.where(known, output - torch.where(known, target, 0.0), 0.0)
        error = gap**2 if self.squared else gap.abs()
        return error.sum() / known.sum().clamp(min=1)

    def predict(self, output: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The score itself."""
        return output


@member
class Ordinal(Head):
    """Cumulative logits, P(y > j) = σ(w · x − c_j) with cuts c_1 < c_2 < … (McCullagh 1980).

    Cuts are the first one plus softplus steps, so they stay ordered while they are learned.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.dim, self.classes = dim, classes
        self.linear = nn.Linear(dim, 1, bias=False)
        self.first = nn.Parameter(torch.tensor(-(classes - 2) / 2))
        self.steps = nn.Parameter(torch.full((classes - 2,), 0.5413))  # softplus gives 1

    @property
    def cuts(self) -> Float[Tensor, " j"]:
        """The ordered thresholds between neighbouring levels."""
        return torch.cat([self.first[None], self.first + functional.softplus(self.steps).cumsum(0)])

    def forward(self, vector: Float[Tensor, "b d"]) -> Float[Tensor, "b j"]:
        """Logits of y > j for each cut j, falling from left to right."""
        logits: Tensor = self.linear(vector) - self.cuts
        return logits

    def loss(self, output: Float[Tensor, "b j"], target: Int[Tensor, " b"]) -> Float[Tensor, ""]:
        """Mean negative log-likelihood over samples whose target is not −1; 0 if there are none."""
        known = target >= 0
        log_p = self._log_probabilities(output).gather(1, target.long().clamp(min=0)[:, None])[:, 0]
        return -torch.where(known, log_p, 0.0).sum() / known.sum().clamp(min=1)

    def probabilities(self, output: Float[Tensor, "b j"], temperature: float = 1.0) -> Float[Tensor, "b j+1"]:
        """Probabilities of the levels."""
        return self._log_probabilities(output / temperature).exp()

    def predict(self, output: Float[Tensor, "b j"]) -> Int[Tensor, " b"]:
        """The likeliest level."""
        return self._log_probabilities(output).argmax(1)

    def _log_probabilities(self, output: Float[Tensor, "b j"]) -> Float[Tensor, "b j+1"]:
        """log(σ(a) − σ(b)) = log σ(a) + log σ(−b) + log(1 − e^{b − a}) for neighbouring logits a > b."""
        above, below = functional.logsigmoid(output), functional.logsigmoid(-output)
        gap = (output[:, :-1] - output[:, 1:]).clamp(min=1e-7)
        middle = above[:, :-1] + below[:, 1:] + torch.log(-torch.expm1(-gap))
        return torch.cat([below[:, :1], middle, above[:, -1:]], 1)


@member
class Several(Head):
    """Several tasks over one vector; outputs, targets and predictions are dictionaries by task.

    The loss is Σ_i w_i L_i with fixed `weights` (1 by default), or with `weigh="uncertainty"`
    Σ_i [exp(−s_i) L_i + s_i / 2], s_i learned (Kendall, Gal and Cipolla 2018, equation 10).

    Raises:
        ValueError: the heads read different widths, or `weigh` is unknown.
    """

    def __init__(
        self, heads: Mapping[str, Head], weigh: str = "fixed", weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        if len({head.dim for head in heads.values()}) != 1:
            raise ValueError(f"heads read different widths: { {n: h.dim for n, h in heads.items()} }")
        if weigh not in ("fixed", "uncertainty"):
            raise ValueError(f"weigh is fixed or uncertainty, not {weigh!r}")
        self.dim = next(iter(heads.values())).dim
        self.heads: Mapping[str, Any] = nn.ModuleDict(heads)  # type: ignore[assignment]
        self.weights = dict.fromkeys(heads, 1.0) | dict(weights or {})
        self.log_variance = nn.Parameter(torch.zeros(len(heads))) if weigh == "uncertainty" else None

    def forward(self, vector: Float[Tensor, "b d"]) -> dict[str, Tensor]:
        """Each task's output."""
        return {name: head(vector) for name, head in self.heads.items()}

    def loss(self, output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Weighted sum of the tasks' losses; a task with no target in the batch leaves the sum."""
        total = torch.stack([x.sum() * 0.0 for x in output.values()]).sum()
        n = self.counts(target)
        for i, (name, head) in enumerate(self.heads.items()):
            if n[name] == 0:
                continue
            loss = head.loss(output[name], target[name])
            if self.log_variance is None:
                total = total + self.weights[name] * loss
            else:
                s = self.log_variance[i]
                total = total + torch.exp(-s) * loss + s / 2
        return total

    def counts(self, target: Mapping[str, Tensor]) -> dict[str, int]:
        """How many samples have each task's target: the others leave its loss."""
        return {name: _known(target[name]) if name in target else 0 for name in self.heads}

    def probabilities(self, output: Mapping[str, Tensor], temperature: float = 1.0) -> dict[str, Tensor]:
        """Probabilities of the tasks over classes; score tasks have none."""
        return {
            name: head.probabilities(output[name], temperature)
            for name, head in self.heads.items()
            if not isinstance(head, Regress)
        }

    def predict(self, output: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each task's prediction."""
        return {name: head.predict(output[name]) for name, head in self.heads.items()}


def _known(target: Tensor) -> int:
    known = ~target.isnan() if target.is_floating_point() else target >= 0
    return int(known.sum())
