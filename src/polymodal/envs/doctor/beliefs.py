"""Exact beliefs over a clinic's diseases, and the question that tells most.

For research, not for care. All functions take many patients at once, a row each; one consultation is a
row. Probabilities are float64, information is in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic

POLICIES = ("eig", "split", "half", "frequent", "fixed", "random", "none", "all")
FLOOR = 1e-6  # no evidence makes a disease less likely than this in one step
GUARDED = 0.05  # mass of guarded diseases above which an unasked red flag goes first
FIRST = 5  # findings that `fixed` asks for before the artefacts
RETAKES = 2  # of each artefact
SMOOTH = 0.4  # of the reward of `split`
EPSILON = 0.01  # nats below which no question is worth its turn
BLOCK = 1024
_TINY = 1e-300

Beliefs = Float[np.ndarray, "n d"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a reader of artefacts, from its validation.

    Attributes:
        good: P(class said | true class) on takes of good quality.
        poor: the same on poor ones.
        share: of poor takes to be expected.
        prior: P(class) in the reader's training, by which its `Reading.q` is divided.
    """

    good: Float[np.ndarray, "c c"]
    poor: Float[np.ndarray, "c c"]
    share: float
    prior: Float[np.ndarray, " c"]

    @classmethod
    def ideal(cls, classes: int, *, good: float = 0.97, poor: float = 0.60, share: float = 0.30) -> Sight:
        """A reader right at these rates, its errors uniform over the other classes."""

        def confusion(right: float) -> Float[np.ndarray, "c c"]:
            wrong = (1 - right) / (classes - 1)
            return np.full((classes, classes), wrong) + np.eye(classes) * (right - wrong)

        return cls(confusion(good), confusion(poor), share, np.full(classes, 1 / classes))

    @property
    def mixed(self) -> Float[np.ndarray, "c c"]:
        """P(class said | true class) before the quality is seen."""
        return (1 - self.share) * self.good + self.share * self.poor

    def hard(self, said: Int[np.ndarray, " n"], poor: Bool[np.ndarray, " n"]) -> Float[np.ndarray, "n c"]:
        """P(what was said | true class), by the quality of the take."""
        return np.asarray(np.where(poor[:, None], self.poor[:, said].T, self.good[:, said].T))

    def soft(self, q: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
        """q(c | image) / P(c), which is P(image | c) but for a factor that all classes share."""
        return np.asarray(q / self.prior)


def update(p: Beliefs, likelihood: Beliefs) -> tuple[Beliefs, Bool[np.ndarray, " n"]]:
    """Beliefs after evidence: p L / sum(p L), L floored at 1e-6.

    Returns:
        The beliefs; and where the evidence was impossible: its chance under the beliefs was below the floor.
    """
    impossible = (p * likelihood).sum(axis=1) < FLOOR
    joint = p * np.maximum(likelihood, FLOOR)
    return joint / joint.sum(axis=1, keepdims=True), impossible


def gains(p: Beliefs, answers: Float[np.ndarray, "s d j"]) -> Float[np.ndarray, "n j"]:
    """Expected information gain of every question: H(p) - sum_s m_s H(p L_s / m_s), never below 0.

    H(p) + sum_s [(p log p) L_s + p (L_s log L_s) - m_s log m_s] with m_s = p L_s; as answers sum to 1, the
    first term of the sum is -H(p) and both fall away, which leaves one matrix product less an answer.
    """
    spread = _xlogx(answers).sum(axis=0)
    found = np.empty((len(p), answers.shape[2]))
    for i in range(0, len(p), BLOCK):
        some = p[i : i + BLOCK]
        gain = some @ spread
        for table in answers:
            gain -= _xlogx(some @ table)
        found[i : i + BLOCK] = gain
    return np.maximum(found, 0.0)


def foreseen(
    table: Float[np.ndarray, "d c"], seen: Float[np.ndarray, "n c"], confusion: Float[np.ndarray, "c s"]
) -> Float[np.ndarray, "n d s"]:
    """P(class said at the next take | disease, the takes so far).

    Args:
        table: P(class | disease).
        seen: P(takes so far | class) but for a factor; ones before the first.
        confusion: P(class said | class) to be expected.
    """
    joint = table * seen[:, None, :]
    return np.asarray((joint / np.maximum(joint.sum(axis=2, keepdims=True), _TINY)) @ confusion)


def gain_of(p: Beliefs, answers: Float[np.ndarray, "n d s"]) -> Float[np.ndarray, " n"]:
    """Expected information gain of one question whose table differs between patients."""
    told = (p * _xlogx(answers).sum(axis=2)).sum(axis=1)
    mean = (p[:, None, :] @ answers)[:, 0]
    return np.asarray(np.maximum(told - _xlogx(mean).sum(axis=1), 0.0))


def top(p: Beliefs, n: int = 3) -> Beliefs:
    """Beliefs in the n likeliest diseases alone, for the step that separates them."""
    if p.shape[1] <= n:
        return p
    least = np.partition(p, -n, axis=1)[:, -n, None]
    kept = np.where(p >= least, p, 0.0)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


class Choices(NamedTuple):
    """What may come next, a column each: questions in the clinic's order, then kinds of artefact.

    `score` is the policy's, `gain` the information less its cost, by which asking ends.
    """

    score: Float[np.ndarray, "n a"]
    gain: Float[np.ndarray, "n a"]


def scored(
    clinic: Clinic,
    sights: Sequence[Sight],
    p: Beliefs,
    seen: Sequence[Float[np.ndarray, "n c"]],
    *,
    policy: str = "eig",
    weight: float = 0.0,
    order: Float[np.ndarray, "n a"] | None = None,
) -> Choices:
    """Scores of every question and artefact under a policy.

    Args:
        clinic: its tables.
        sights: of each artefact's reader.
        p: beliefs.
        seen: by artefact, P(takes so far | class) but for a factor.
        policy: `eig` information less cost; `split` the reward of uncertainty of thoughts (2402.03271,
            lambda .4); `half` the share of a first value nearest one half; `frequent` the greatest such
            share under the present beliefs; `fixed` the same under the prior, five questions, then the
            artefacts, then the rest; `random`; `all` (as `fixed`).
        weight: of a question's cost against its information, lambda.
        order: random numbers of the policy `random`.

    Raises:
        ValueError: for an unknown policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}: one of {', '.join(POLICIES)}")
    shown = [
        _shown(p, clinic.shows[one.kind], had, sight.mixed)
        for one, had, sight in zip(clinic.artefacts, seen, sights, strict=True)
    ]
    costs = np.array([*(f.cost for f in clinic.findings), *(one.cost for one in clinic.artefacts)])
    gain = np.column_stack([gains(p, clinic.answers), *(told for told, _ in shown)]) - weight * costs
    if policy == "eig":
        return Choices(gain, gain)
    if policy == "random" and order is not None:
        return Choices(order, gain)
    if policy in ("fixed", "all", "none", "random"):
        return Choices(np.broadcast_to(_fixed(clinic), gain.shape), gain)
    share = np.column_stack([p @ clinic.answers[0], *(1 - first for _, first in shown)])
    if policy == "frequent":
        return Choices(share, gain)
    if policy == "half":
        return Choices(-np.abs(share - 0.5), gain)
    bits = -(_xlogx(share) + _xlogx(1 - share)) / np.log(2)
    return Choices(bits / (1 + np.abs(2 * share - 1) / SMOOTH), gain)


def flagged(clinic: Clinic, p: Beliefs) -> Float[np.ndarray, "n a"]:
    """Mass of the diseases that each question guards, where it exceeds .05, else 0."""
    mass = np.zeros((len(p), len(clinic.findings) + len(clinic.artefacts)))
    for j, finding in enumerate(clinic.findings):
        if finding.guards:
            mass[:, j] = p[:, [clinic.index(name) for name in finding.guards]].sum(axis=1)
    return np.where(mass > GUARDED, mass, 0.0)


def _column(
    choices: Choices,
    free: Bool[np.ndarray, "n a"],
    flags: Float[np.ndarray, "n a"],
    p: Beliefs,
    tau: float | None,
    epsilon: float,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The best free column, flags first, -1 to stop; and the best gain, infinite where a flag is due."""
    flags = np.where(free, flags, 0.0)
    # Equal scores must stay equal whatever the order of sums, or a replay may ask another question.
    score = np.where(free, choices.score.round(12), -np.inf)
    column = np.where(flags > 0, 1e9 + flags, score).argmax(axis=1)
    due, best = flags.any(axis=1), np.where(free, choices.gain, -np.inf).max(axis=1)
    done = ~free.any(axis=1)
    if tau is not None:
        done |= ((p.max(axis=1) >= tau) | (best < epsilon)) & ~due
    return np.where(done, -1, column), np.where(due, np.inf, best)


def _shown(
    p: Beliefs,
    table: Float[np.ndarray, "d c"],
    seen: Float[np.ndarray, "n c"],
    confusion: Float[np.ndarray, "c s"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Gain of an artefact's next take, and the chance that the first class is said; the same before takes."""
    told, first = np.empty(len(p)), np.empty(len(p))
    new = (seen == 1).all(axis=1)
    shared, own = table @ confusion, foreseen(table, seen[~new], confusion)
    told[new], told[~new] = gains(p[new], shared.T[:, :, None])[:, 0], gain_of(p[~new], own)
    first[new], first[~new] = p[new] @ shared[:, 0], (p[~new] * own[:, :, 0]).sum(axis=1)
    return told, first


def _fixed(clinic: Clinic) -> Float[np.ndarray, " a"]:
    """Falling numbers in the order of `fixed`."""
    usual = np.argsort(-(clinic.prior @ clinic.answers[0]), kind="stable")
    first, rest = usual[:FIRST], usual[FIRST:]
    sequence = [*first, *(len(usual) + np.arange(len(clinic.artefacts))), *rest]
    score = np.empty(len(sequence))
    score[sequence] = -np.arange(len(sequence), dtype=float)
    return score


def _xlogx(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.asarray(x * np.log(np.maximum(x, _TINY)))


class Beds:
    """What is believed of some patients and what may still be asked of them, an array row each.

    Attributes:
        p: beliefs "n d".
        seen: by artefact "n c", P(takes so far | class) but for a factor.
        asked: "n j", questions put.
        takes: "n k", takes shown; a retake competes with the questions while the last one is `worn`.
        worn: "n k", whether the last take was poor.
        gain: " n", of the best that could be asked when it was chosen last, less its cost; infinite where a
            red flag was due.
        impossible: " n", whether some evidence was.
    """

    def __init__(
        self, clinic: Clinic, sights: Sequence[Sight], n: int = 1, *, retakes: int = RETAKES
    ) -> None:
        self.clinic, self.sights, self.retakes = clinic, sights, retakes
        self.p = np.tile(clinic.prior, (n, 1))
        self.seen = [np.ones((n, len(one.classes))) for one in clinic.artefacts]
        self.asked = np.zeros((n, len(clinic.findings)), dtype=bool)
        self.takes = np.zeros((n, len(clinic.artefacts)), dtype=int)
        self.worn = np.zeros((n, len(clinic.artefacts)), dtype=bool)
        self.impossible = np.zeros(n, dtype=bool)
        self.gain = np.full(n, np.inf)

    def answer(self, rows: Int[np.ndarray, " m"], j: Int[np.ndarray, " m"], s: Int[np.ndarray, " m"]) -> None:
        """Patients `rows` answer questions `j` with rows `s` of the table."""
        self._believe(rows, self.clinic.answers[s, :, j])
        self.asked[rows, j] = True

    def show(
        self,
        rows: Int[np.ndarray, " m"],
        k: int,
        evidence: Float[np.ndarray, "m c"],
        worn: Bool[np.ndarray, " m"],
    ) -> None:
        """Patients `rows` show artefact `k`; the evidence is P(take | class) but for a factor, 1 for none.

        Takes of one artefact are independent given its class, not given the disease: E_d = sum_c A(c | d)
        times the product over takes, so a retake enters as the ratio of E_d with and without it.
        """
        table, had = self.clinic.shows[self.clinic.artefacts[k].kind], self.seen[k][rows]
        told = had * evidence
        self.seen[k][rows] = told / np.maximum(told.max(axis=1, keepdims=True), _TINY)
        self._believe(rows, (told @ table.T) / np.maximum(had @ table.T, _TINY))
        self.takes[rows, k] += 1
        self.worn[rows, k] = worn

    def choose(
        self,
        rows: Int[np.ndarray, " m"],
        *,
        policy: str = "eig",
        tau: float | None = 0.90,
        epsilon: float = EPSILON,
        weight: float = 0.0,
        order: Float[np.ndarray, "n a"] | None = None,
        allowed: Bool[np.ndarray, " a"] | None = None,
        leading: int = 0,
    ) -> Int[np.ndarray, " m"]:
        """The next question or artefact of patients `rows`, as a column; -1 to stop.

        Asking stops at a belief of tau, where no gain reaches epsilon, and where nothing is left; tau None
        leaves only the last. A red flag that is due is asked first, and before stopping.

        Args:
            rows: patients.
            policy: as in `scored`, as are weight and order (a row for every patient).
            tau: belief that is enough.
            epsilon: nats below which no question is worth its turn.
            weight: of cost.
            order: of the policy `random`.
            allowed: columns that may be chosen; all by default.
            leading: where positive, utilities are of separating so many leading diseases.
        """
        found = np.empty(len(rows), dtype=int)
        for i in range(0, len(rows), BLOCK):
            some = rows[i : i + BLOCK]
            believed = self.p[some]
            choices = scored(
                self.clinic,
                self.sights,
                top(believed, leading) if leading else believed,
                [had[some] for had in self.seen],
                policy=policy,
                weight=weight,
                order=None if order is None else order[some],
            )
            free = self.free(some) if allowed is None else self.free(some) & allowed
            flags = flagged(self.clinic, believed)
            found[i : i + BLOCK], self.gain[some] = _column(choices, free, flags, believed, tau, epsilon)
        return found

    def free(self, rows: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m a"]:
        """What may still be asked: a question once, an artefact once and again while its takes are poor."""
        takes = self.takes[rows]
        may = (takes == 0) | (self.worn[rows] & (takes <= self.retakes))
        return np.concatenate([~self.asked[rows], may], axis=1)

    def _believe(self, rows: Int[np.ndarray, " m"], likelihood: Float[np.ndarray, "m d"]) -> None:
        self.p[rows], impossible = update(self.p[rows], likelihood)
        self.impossible[rows] |= impossible


def inferred(
    clinic: Clinic, answers: Int[np.ndarray, "n j"], seen: Sequence[Float[np.ndarray, "n c"]]
) -> Beliefs:
    """Beliefs from all that was acquired, whoever acquired it: inference apart from acquisition.

    Args:
        clinic: its tables.
        answers: rows of `Clinic.answers`; -1 where it was not asked.
        seen: by artefact, P(takes | class) but for a factor; ones where there was none.
    """
    log = np.tile(np.log(np.maximum(clinic.prior, _TINY)), (len(answers), 1))
    tables = np.log(np.maximum(clinic.answers, FLOOR))
    for j in range(answers.shape[1]):
        log += np.where(answers[:, j, None] >= 0, tables[answers[:, j], :, j], 0.0)
    for one, had in zip(clinic.artefacts, seen, strict=True):
        log += np.log(np.maximum(had @ clinic.shows[one.kind].T, _TINY))
    grown = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))
