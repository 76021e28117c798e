"""When to stop asking, learned from patients of its own. For research, not for care."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Int

from polymodal.envs.clinic.generated import drawn
from polymodal.envs.doctor.ladder import Outcome, ladder

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic

Asked = Int[np.ndarray, " n"]
TAUS = tuple(np.arange(0.5, 0.99, 0.025).round(3).tolist())
EPSILONS = (0.01, 0.02, 0.03, 0.06, 0.1)
LOSS, Z = 0.015, 1.645  # accuracy that may be lost at most, and how surely: one side, 95 %
OTHERS = 1_000_000  # added to a seed: the patients learned from are never those that a run tests on


class Stop(NamedTuple):
    """A belief that is enough, and the information below which no question is worth its turn."""

    tau: float
    epsilon: float


def cut(told: Outcome, turns: int, stop: Stop | None = None) -> tuple[Asked, Asked]:
    """The same consultations under a smaller budget or an earlier stop, without holding them again.

    Args:
        told: consultations of a policy that does not look at its budget.
        turns: the budget; no more than theirs.
        stop: theirs, or one that stops no later, such as any for those that never stop early.

    Returns:
        Whether the likeliest disease was then the patient's, 0 or 1, and the turns taken.
    """
    at = np.minimum(told.turns, turns)
    if stop is not None:
        belief, gain, _ = told.course
        done = ((belief >= stop.tau) & np.isfinite(gain)) | (gain < stop.epsilon)
        at = np.minimum(at, np.where(done.any(axis=1), done.argmax(axis=1), turns))
    return told.course.right[np.arange(len(at)), at].astype(int), at


def learned_stop(
    clinic: Clinic, *, turns: int, seed: int, retakes: int = 0, n: int = 4_000, loss: float = LOSS
) -> Stop:
    """The stop that saves most turns of a budget, among those that lose little enough; ours.

    Args:
        clinic: its tables.
        turns: the budget.
        seed: of the patients, who are others than those of the same seed elsewhere.
        retakes: of a poor take.
        n: patients.
        loss: as in `learned_stops`.

    Raises:
        ValueError: a budget or a number of patients below one.
    """
    return learned_stops(clinic, [turns], seed=seed, retakes=retakes, n=n, loss=loss)[turns]


def learned_stops(
    clinic: Clinic,
    budgets: Sequence[int],
    *,
    seed: int,
    retakes: int = 0,
    n: int = 4_000,
    loss: float = LOSS,
) -> dict[int, Stop]:
    """Of each budget, the stop that saves most turns among those that lose little enough; ours.

    Patients are drawn by the tables and asked until the budget is spent; every stop of a grid is then read
    off the same consultations. One that stops nobody early loses nothing, so there always is one.

    Args:
        clinic: its tables.
        budgets: of turns.
        seed: of the patients, who are others than those of the same seed elsewhere.
        retakes: of a poor take.
        n: patients.
        loss: share of right diagnoses that may be lost; the upper end of its one-sided 95 % interval stays
            below it.

    Raises:
        ValueError: a budget or a number of patients below one.
    """
    if min(budgets) < 1:
        raise ValueError(f"turns={min(budgets)}: a budget of at least one turn is needed")
    group = drawn(clinic, n, seed=OTHERS + seed)
    told = ladder(clinic, group, seed=OTHERS + seed, turns=max(budgets), tau=None, retakes=retakes)
    found: dict[int, Stop] = {}
    for turns in budgets:
        whole, spent = cut(told, turns)
        best, saved = Stop(1.0, 0.0), 0.0
        for stop in (Stop(tau, epsilon) for tau in TAUS for epsilon in EPSILONS):
            right, at = cut(told, turns, stop)
            lost, spared = whole - right, float((spent - at).mean())
            if spared > saved and lost.mean() + Z * lost.std() / np.sqrt(n) <= loss:
                best, saved = stop, spared
        found[turns] = best
    return found
