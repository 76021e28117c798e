"""Heads: from a fused vector to classes, scores, ordered levels or several tasks at once.

A head gives `forward(vector) -> output`, `loss(output, target)` that leaves out missing targets, and
`predict(output)`; those over classes also give `probabilities(output, temperature)`. The linear-chain CRF
over token vectors joins this file with entity tagging, its first user.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

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
        total = F.cross_entropy(output, target.long(), ignore_index=-1, reduction="sum")
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
