"""When to stop asking, learned from patients of its own. For research, not for care."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from polymodal.envs.clinic.generated import drawn
from polymodal.envs.doctor.ladder import ladder

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic

TAUS = tuple(np.arange(0.5, 0.99, 0.025).round(3).tolist())
EPSILONS = (0.01, 0.02, 0.03, 0.06, 0.1)
LOSS, Z = 0.015, 1.645  # accuracy that may be lost at most, and how surely: one side, 95 %
OTHERS = 1_000_000  # added to a seed: the patients learned from are never those that a run tests on


class Stop(NamedTuple):
    """A belief that is enough, and the information below which no question is worth its turn."""

    tau: float
    epsilon: float


def learned_stop(
    clinic: Clinic, *, turns: int, seed: int, retakes: int = 0, n: int = 4_000, loss: float = LOSS
) -> Stop:
    """The stop that saves most turns of a budget, among those that lose little enough; ours.

    Patients are drawn by the tables and asked until the budget is spent; every stop of a grid is then read
    off the same consultations. One that stops nobody early loses nothing, so there always is one.

    Args:
        clinic: its tables.
        turns: the budget.
        seed: of the patients, who are others than those of the same seed elsewhere.
        retakes: of a poor take.
        n: patients.
        loss: share of right diagnoses that may be lost; the upper end of its one-sided 95 % interval stays
            below it.

    Raises:
        ValueError: a budget or a number of patients below one.
    """
    if turns < 1:
        raise ValueError(f"turns={turns}: a budget of at least one turn is needed")
    group = drawn(clinic, n, seed=OTHERS + seed)
    told = ladder(clinic, group, seed=OTHERS + seed, turns=turns, tau=None, retakes=retakes)
    best, saved = Stop(1.0, 0.0), 0.0
    for tau in TAUS:
        for epsilon in EPSILONS:
            enough = (told.course.belief >= tau) & np.isfinite(told.course.gain)
            done = enough | (told.course.gain < epsilon)
            at = np.where(done.any(axis=1), done.argmax(axis=1), told.turns)
            at = np.minimum(at, told.turns)
            lost = told.right.astype(float) - told.course.right[np.arange(n), at]
            if lost.mean() + Z * lost.std() / np.sqrt(n) <= loss and (told.turns - at).mean() > saved:
                best, saved = Stop(tau, epsilon), float((told.turns - at).mean())
    return best
