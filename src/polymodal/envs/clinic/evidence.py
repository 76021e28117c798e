"""Frequency words as probabilities, and what a question would tell by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

FREQUENCY: Mapping[str, float] = {"never": 0.02, "rare": 0.1, "sometimes": 0.35, "usual": 0.7, "always": 0.95}


def chance(word: str, present: bool = True) -> float:
    """P(a finding is present, or absent) where it is seen as often as a word says.

    Raises:
        KeyError: no word of FREQUENCY.
    """
    return FREQUENCY[word] if present else 1 - FREQUENCY[word]


def word_for(p: float) -> str:
    """The word whose probability is nearest."""
    return min(FREQUENCY, key=lambda word: abs(FREQUENCY[word] - p))


def likelihood(words: Sequence[str], n: int) -> Float[np.ndarray, " s"]:
    """P(answer) from frequency words: a word an answer; what has none shares what is left.

    Args:
        words: of the first answers; none is "nothing known", an equal share for all.
        n: answers.

    Raises:
        KeyError: no word of FREQUENCY.
    """
    p = np.array([FREQUENCY[word] for word in words[:n]])
    open_ = n - len(p)
    if open_:
        p = np.append(p, np.full(open_, max(1 - p.sum(), 0.01) / open_))
    return np.asarray(p / p.sum())


def information(p: Float[np.ndarray, " d"], table: Float[np.ndarray, "d s"]) -> float:
    """Expected information gain of a question in nats: H(p) - sum over answers of m_s H(p | s).

    Args:
        p: of the diseases, sums to 1.
        table: P(answer s | disease d).
    """
    joint = p[:, None] * table
    independent = p[:, None] * joint.sum(0)
    held = joint > 0
    return float(max(0.0, (joint[held] * np.log(joint[held] / independent[held])).sum()))
