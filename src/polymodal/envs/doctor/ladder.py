"""Thousands of consultations at once, readers' errors known. For research, not for care."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.envs.doctor.beliefs import EPSILON, RETAKES, Beds, Sight

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic
    from polymodal.envs.clinic.generated import Patients

SHOW = ("all", "text", "artefacts", "shuffled")


class Course(NamedTuple):
    """What was known before each turn, and after the last: "n t+1" each."""

    belief: Float[np.ndarray, "n s"]  # in the likeliest disease
    gain: Float[np.ndarray, "n s"]  # of the best that could be asked; infinite where a red flag was due
    right: Bool[np.ndarray, "n s"]  # whether the likeliest disease was the patient's


class Outcome(NamedTuple):
    """How simulated consultations ended: beliefs, turns taken, what was asked and shown."""

    p: Float[np.ndarray, "n d"]
    right: Bool[np.ndarray, " n"]
    turns: Int[np.ndarray, " n"]
    answers: Int[np.ndarray, "n j"]  # -1 where not asked
    seen: list[Float[np.ndarray, "n c"]]
    course: Course


def ladder(
    clinic: Clinic,
    patients: Patients,
    *,
    seed: int,
    turns: int = 10,
    policy: str = "eig",
    tau: float | None = 0.90,
    epsilon: float = EPSILON,
    retakes: int = 0,
    show: str = "all",
    quality: bool = True,
    share: float = 0.30,
) -> Outcome:
    """Consultations of all patients at once with ideal readers (right .97 on good takes, .60 on poor ones).

    The complaint enters as P(yes | disease) and is not asked again; every question, artefact and retake is
    a turn; there is no validation step. The same seed gives every policy the same readings.

    Args:
        clinic: its tables.
        patients: drawn from them.
        seed: of what the readers say and of the policy `random`.
        turns: budget of each consultation; `none` takes none, `all` as many as there are.
        policy: as in `scored`.
        tau: belief that is enough; None never stops before the budget.
        epsilon: nats below which no question is worth its turn.
        retakes: how often a poor take may be made again, as far as takes were drawn.
        show: `all`, `text` (no artefacts), `artefacts` (no questions) or `shuffled` (the next patient's).
        quality: whether the quality of a take is known; else all are read by the mixed confusion.
        share: of poor takes that the doctor expects.

    Raises:
        ValueError: an unknown `show` or policy.
    """
    if show not in SHOW:
        raise ValueError(f"unknown show {show!r}: one of {', '.join(SHOW)}")
    n, j = patients.answers.shape
    sights = [Sight.ideal(len(one.classes), share=share) for one in clinic.artefacts]
    rng = np.random.default_rng((seed, 1))
    said, poor = _said(rng, patients, sights), patients.poor
    if show == "shuffled":
        said, poor = np.roll(said, -1, axis=0), np.roll(poor, -1, axis=0)
    order = rng.random((n, j + len(sights)))
    allowed = np.ones(order.shape[1], dtype=bool)
    allowed[: j if show == "artefacts" else 0] = False
    allowed[j if show == "text" else len(allowed) :] = False
    beds, live = Beds(clinic, sights, n, retakes=min(retakes, poor.shape[2] - 1)), np.arange(n)
    came = np.flatnonzero(patients.complaint >= 0)
    beds.answer(came, patients.complaint[came], np.zeros(len(came), dtype=int))
    spent = np.zeros(n, dtype=int)
    limit = {"none": 0, "all": allowed.size * (1 + RETAKES)}.get(policy, turns)
    stop: dict[str, Any] = {"tau": None if policy == "all" else tau, "epsilon": epsilon}
    course = []
    for _ in range(limit):
        before = beds.p.max(axis=1), beds.p.argmax(axis=1) == patients.disease
        column = beds.choose(live, policy=policy, order=order, allowed=allowed, **stop)
        course.append((before[0], beds.gain.copy(), before[1]))
        live, column = live[column >= 0], column[column >= 0]
        if not len(live):
            break
        spent[live] += 1
        asked = column < j
        rows = live[asked]
        beds.answer(rows, column[asked], patients.answers[rows, column[asked]])
        for k, sight in enumerate(sights):
            rows = live[column == j + k]
            take = beds.takes[rows, k]
            worn, read = poor[rows, k, take], said[rows, k, take]
            evidence = sight.hard(read, worn) if quality else sight.mixed[:, read].T
            beds.show(rows, k, evidence, worn & quality)
    right = beds.p.argmax(axis=1) == patients.disease
    course.append((beds.p.max(axis=1), beds.gain.copy(), right))
    told = Course(*(np.stack(column, axis=1) for column in zip(*course, strict=True)))
    return Outcome(beds.p, right, spent, np.where(beds.asked, patients.answers, -1), beds.seen, told)


def _said(rng: np.random.Generator, patients: Patients, sights: Sequence[Sight]) -> Int[np.ndarray, "n k t"]:
    """What the readers say of every take."""
    said = np.empty(patients.poor.shape, dtype=int)
    for k, sight in enumerate(sights):
        truth = patients.classes[:, k, None]
        chances = np.where(patients.poor[:, k, :, None], sight.poor[truth], sight.good[truth])
        u = rng.random(said[:, k].shape)[..., None]
        said[:, k] = (u >= chances.cumsum(axis=-1)[..., :-1]).sum(axis=-1)
    return said
