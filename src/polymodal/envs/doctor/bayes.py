"""A doctor that needs no language model, and thousands of its consultations at once.

For research, not for care. Ours, not the paper's (2505.04653): with exact beliefs, "directed by
uncertainty" is exact too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.envs.clinic import UNSURE, Ask, Close, Present, Request, Retake
from polymodal.envs.doctor.beliefs import EPSILON, POLICIES, RETAKES, Beds, Sight, inferred

if TYPE_CHECKING:
    from polymodal.envs.clinic import Action, Clinic, Heard, Reader

VALIDATE, RATIO, LEADING = 3, 3.0, 3  # the validation step: questions at most, odds to reach, diseases


class BayesDoctor:
    """Asks what tells most, looks at what is shown, stops when it is sure, tells its differential.

    A policy for `envs.play`. Before it tells, a validation step asks at most three questions that separate
    the three leading diseases, until the first is three times as likely as the second.

    Args:
        clinic: the tables.
        readers: by kind; a kind without one is not asked for.
        sights: by kind, what is known of the reader; an ideal reader's by default.
        policy: one of `POLICIES`.
        turns: questions, artefacts and retakes at most.
        tau: belief that is enough; None asks until the budget is spent.
        epsilon: nats below which no question is worth its turn.
        weight: of a question's cost, lambda.
        hard: whether the class that a reader says counts, by the confusion of its quality, not `Reading.q`.
        retakes: of a poor or unreadable take.
        validate: questions of the validation step at most.
        questions: whether it asks any, or only has things shown.

    Raises:
        ValueError: an unknown policy, or a reader or sight of a kind that the clinic has not.
    """

    def __init__(
        self,
        clinic: Clinic,
        readers: Mapping[str, Reader] | None = None,
        sights: Mapping[str, Sight] | None = None,
        *,
        policy: str = "eig",
        turns: int = 10,
        tau: float | None = 0.90,
        epsilon: float = EPSILON,
        weight: float = 0.0,
        hard: bool = False,
        retakes: int = RETAKES,
        validate: int = VALIDATE,
        questions: bool = True,
    ) -> None:
        if policy not in POLICIES:
            raise ValueError(f"unknown policy {policy!r}: one of {', '.join(POLICIES)}")
        kinds = [one.kind for one in clinic.artefacts]
        if strange := sorted({*(readers or {}), *(sights or {})} - set(kinds)):
            raise ValueError(f"{strange[0]!r} is no artefact of the clinic: one of {', '.join(kinds)}")
        self.clinic, self.readers = clinic, dict(readers or {})
        known = dict(sights or {})
        self.sights = [known.get(one.kind, Sight.ideal(len(one.classes))) for one in clinic.artefacts]
        self.policy, self.turns, self.weight = policy, turns, weight
        self.tau, self.epsilon = tau, epsilon
        self.hard, self.retakes, self.validate = hard, retakes, validate
        self._allowed = np.array(
            [questions] * len(clinic.findings) + [kind in self.readers for kind in kinds]
        )
        self.start(seed=0)

    def start(self, *, seed: int, goal: str = "") -> None:
        """Begins a consultation; the seed is of the policy `random`."""
        self.beds = Beds(self.clinic, self.sights, retakes=self.retakes)
        self._seed, self._spent, self._validated, self._last = seed, 0, 0, ""
        self._order = np.random.default_rng((seed, 2)).random((1, len(self._allowed)))

    def __call__(self, heard: Heard) -> Action:
        """Takes in what was heard; asks on, or tells the differential and then closes."""
        if self._last == "present":
            return Close()
        self._hear(heard)
        column = self._choose()
        if column < 0:
            self._last = "present"
            return Present(self.differential)
        self._spent += 1
        j = column - len(self.clinic.findings)
        if j < 0:
            finding = self.clinic.findings[column]
            self._last = ""
            self.beds.asked[0, column] = True
            return Ask(finding.question, finding.name)
        self._last = kind = self.clinic.artefacts[j].kind
        return Retake(kind) if self.beds.takes[0, j] else Request(kind)

    @property
    def differential(self) -> tuple[tuple[str, float], ...]:
        """Diseases with what is believed of them, likeliest first."""
        p = self.beds.p[0]
        return tuple((self.clinic.diseases[d].name, float(p[d])) for d in np.argsort(-p, kind="stable"))

    @property
    def state(self) -> dict[str, Any]:
        """The consultation so far as JSON values; `resume` takes it up again, to the same end."""
        beds = self.beds
        return {
            "seed": self._seed,
            "spent": self._spent,
            "validated": self._validated,
            "last": self._last,
            "p": beds.p[0].tolist(),
            "seen": [had[0].tolist() for had in beds.seen],
            "asked": beds.asked[0].tolist(),
            "takes": beds.takes[0].tolist(),
            "worn": beds.worn[0].tolist(),
            "impossible": bool(beds.impossible[0]),
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Takes up a consultation where `state` left it."""
        self.start(seed=state["seed"])
        self._spent, self._validated, self._last = state["spent"], state["validated"], state["last"]
        beds = self.beds
        beds.p[0], beds.asked[0] = state["p"], state["asked"]
        beds.takes[0], beds.worn[0], beds.impossible[0] = state["takes"], state["worn"], state["impossible"]
        for had, told in zip(beds.seen, state["seen"], strict=True):
            had[0] = told

    def _choose(self) -> int:
        """The next column, or -1 to tell."""
        everything = self.policy == "all"
        if self.policy == "none" or (self._spent >= self.turns and not everything):
            return -1
        rows = np.zeros(1, dtype=int)

        def chosen(tau: float | None, leading: int) -> int:
            found = self.beds.choose(
                rows, policy=self.policy, tau=tau, epsilon=self.epsilon, weight=self.weight,
                order=self._order, allowed=self._allowed, leading=leading,
            )  # fmt: skip
            return int(found[0])

        if self._validated == 0:
            column = chosen(None if everything else self.tau, 0)
            if column >= 0:
                return column
        second, first = np.sort(self.beds.p[0])[-2:] if self.beds.p.shape[1] > 1 else (0.0, 1.0)
        if everything or self._validated >= self.validate or first >= RATIO * second:
            return -1
        self._validated += 1
        return chosen(1.0, LEADING)

    def _hear(self, heard: Heard) -> None:
        """An answer of the table, or what a reader makes of a picture; anything else is no evidence."""
        row = np.zeros(1, dtype=int)
        names = [one.name for one in self.clinic.findings]
        if self._last:
            self._look(heard)
        elif heard["finding"] in names and heard["value"]:
            j = names.index(heard["finding"])
            values = self.clinic.findings[j].values
            unsure = len(self.clinic.answers) - 1
            s = values.index(heard["value"]) if heard["value"] in values else unsure
            if s < unsure or heard["value"] == UNSURE:
                self.beds.answer(row, np.array([j]), np.array([s]))

    def _look(self, heard: Heard) -> None:
        """Reads a picture; one that could not be read is no evidence, and may be taken again."""
        kinds = [one.kind for one in self.clinic.artefacts]
        k, row = kinds.index(self._last), np.zeros(1, dtype=int)
        classes, sight = self.clinic.artefacts[k].classes, self.sights[k]
        evidence, worn = np.ones((1, len(classes))), heard["kind"] == self._last
        if worn and heard["image"].size:
            reading = self.readers[self._last](heard["image"])
            if reading.q:
                if tuple(reading.classes) != classes:
                    raise ValueError(f"the reader of {self._last} knows {reading.classes}, not {classes}")
                q = np.array([reading.q])
                worn = reading.poor > 0.5
                evidence = sight.hard(q.argmax(axis=1), np.array([worn])) if self.hard else sight.soft(q)
        self.beds.show(row, k, evidence, np.array([worn]))


def concluded(
    clinic: Clinic, told: Mapping[str, str], seen: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """What exact inference makes of what a doctor acquired, so that asking is judged apart from concluding.

    Args:
        clinic: the tables.
        told: by finding, the answer; the complaint included.
        seen: by kind, P(takes | class) but for a factor.

    Raises:
        LookupError: a finding that the clinic has not.
    """
    answers = np.full((1, len(clinic.findings)), -1)
    for name, value in told.items():
        j = clinic.column(name)
        values = clinic.findings[j].values
        answers[0, j] = values.index(value) if value in values else len(clinic.answers) - 1
    had = [np.array([seen.get(one.kind, np.ones(len(one.classes)))]) for one in clinic.artefacts]
    p = inferred(clinic, answers, had)[0]
    return {one.name: float(x) for one, x in zip(clinic.diseases, p, strict=True)}
