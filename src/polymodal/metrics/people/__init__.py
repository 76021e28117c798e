"""Studies with people: rows of trials and ratings, stated trust, rating scales."""

from polymodal.metrics.people.rows import (
    codings, conditions, correct, discriminates, matrix, rated, stated, trials,
)  # fmt: skip
from polymodal.metrics.people.scales import coding, cronbach, omega, scored, straight
from polymodal.metrics.people.trust import card, clustered, course, learning, trust_calibration

__all__ = [
    "card",
    "clustered",
    "coding",
    "codings",
    "conditions",
    "correct",
    "course",
    "discriminates",
    "cronbach",
    "learning",
    "matrix",
    "omega",
    "rated",
    "scored",
    "stated",
    "straight",
    "trials",
    "trust_calibration",
]
