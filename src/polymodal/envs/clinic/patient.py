"""A consultation as a Gymnasium environment: the patient's side. For research, not for care.

The doctor hears a complaint, asks, has things shown and taken again, tells a differential and a plan, and
closes. The reward is 1 for a first differential that begins with the case's diagnosis, else 0.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import UInt8

from polymodal.chat.scripted import uniform
from polymodal.envs.clinic.actions import (
    Action,
    Answer,
    Ask,
    Close,
    Heard,
    Patient,
    Plan,
    Present,
    Request,
    Retake,
)
from polymodal.envs.clinic.table import UNSURE, Case, Clinic
from polymodal.envs.spaces import Picture, Records, Words
from polymodal.media import MediaError

NAME = "polymodal/Clinic-v0"
RETAKES = 2  # of a kind, at most
VAGUE = 3  # first answers of a vague patient
WRONG = 0.05  # chance that a contradicting patient says the other value
COUNTS = ("asked", "requested", "retakes", "invalid", "not_done", "leak", "presented")
UNREADABLE = "could not be read"
NOT_DONE = "not done"
NORMAL = "NORMAL READINGS"  # what AgentClinic's script answers for a test that it does not know
WORRIES = ("I am so worried about this.", "Please tell me that it is nothing bad.", "I could not sleep.")

Manner = Literal["plain", "vague", "withholding", "contradicting", "anxious"]


class Cases(Protocol):
    """Cases by index: a list, or a generator of the n-th patient."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int, /) -> Case:
        """The case of an index from 0."""


def table_patient(case: Case, ask: Ask, *, seed: int = 0, n: int = 0) -> Answer:
    """Answers from `Case.findings` by the finding that is asked for, always the same; else not sure."""
    value = case.findings.get(ask.finding or ask.text.strip(), UNSURE)
    return Answer(spoken(value), value)


def spoken(value: str) -> str:
    """A finding's value as a patient says it."""
    return "I am not sure." if value == UNSURE else f"{value[:1].upper()}{value[1:]}."


class Consultation(gymnasium.Env[Heard, Action]):
    """A patient at each reset; `Close` ends the episode.

    `reset(options={"case": ...})` asks for a certain case by its id or index; else the seed draws one. Where
    `taken` tells the last take by kind, from an earlier visit, a retake is the one after it. `info`
    holds the case's id and counts: asked, requested, retakes, invalid (pictures that could not be read),
    not_done, leak (the patient's words held the diagnosis), presented. No observation holds the case's
    diagnosis or the truth of a picture, unless the case's own sentences do.

    Args:
        cases: who may come.
        patient: who answers the questions.
        manner: how: plain; vague (the first three answers are not sure); withholding (answers when asked for
            the second time); contradicting (one answer in twenty is the other value); anxious (adds a worry).
        aliases: by diagnosis, the other names that count as it.
        clinic: the cases' tables, where there are any: aliases, and values that a contradicting patient says.
        compat: answer a test that the case does not know with NORMAL READINGS, as AgentClinic's script did;
            by default it is "not done".

    Raises:
        ValueError: no cases, or an unknown manner.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - the base class's form
    null = Ask("")  # heard as nothing; stands for an action that could not be understood

    def __init__(
        self,
        cases: Cases,
        *,
        patient: Patient = table_patient,
        manner: Manner = "plain",
        aliases: Mapping[str, tuple[str, ...]] | None = None,
        clinic: Clinic | None = None,
        compat: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if not len(cases):
            raise ValueError("a consultation needs cases; none were given")
        if manner not in get_args(Manner):
            raise ValueError(f"manner={manner!r}: one of {', '.join(get_args(Manner))}")
        if render_mode is not None:
            raise ValueError(f"render_mode={render_mode!r}: there is nothing to render")
        self.cases, self.patient, self.manner, self.compat = cases, patient, manner, compat
        self.clinic, self.render_mode = clinic, render_mode
        known = {one.name: one.aliases for one in clinic.diseases} if clinic else {}
        self.aliases = {**known, **(aliases or {})}
        self.values = {one.name: one.values for one in clinic.findings} if clinic else {}
        self.observation_space = spaces.Dict(  # type: ignore[assignment]
            {"said": Words(), "finding": Words(), "value": Words(), "kind": Words(), "image": Picture()}
        )
        kinds = tuple(one.kind for one in clinic.artefacts) if clinic else tuple(cases[0].artefacts)
        choices = {"finding": tuple(self.values) or tuple(cases[0].findings), "kind": kinds}
        self.action_space = Records(Ask, Request, Retake, Present, Plan, Close, choices=choices)
        self._ids: dict[str, int] | None = None
        self.case: Case | None = None  # the one that came last; for who scores, not for who plays
        self._open = False
        self._seed = 0
        self._count: Counter[str] = Counter()
        self._put: Counter[str] = Counter()  # how often each question was put
        self._taken: dict[str, int] = {}  # by kind, the take that was shown last

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Heard, dict[str, Any]]:
        """The next patient and the complaint.

        Raises:
            LookupError: no such case.
            ValueError: an unknown option.
        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := options.keys() - {"case", "taken"}:
            raise ValueError(f"option {sorted(unknown)[0]!r} is not known; known: case, taken")
        index = int(self.np_random.integers(len(self.cases)))
        self._seed = int(self.np_random.integers(2**31))
        self.case = case = self.cases[self._index(options["case"]) if "case" in options else index]
        self._open, self._count, self._put = True, Counter(), Counter()
        self._taken = {str(kind): int(take) for kind, take in options.get("taken", {}).items()}
        self._listen(case.initial)
        value = case.findings.get(case.complaint, "") if case.complaint else ""
        return heard(case.initial, finding=case.complaint, value=value), self._info()

    def step(self, action: Action) -> tuple[Heard, float, bool, bool, dict[str, Any]]:
        """What comes back.

        Raises:
            RuntimeError: the consultation is closed, or none was begun.
            TypeError: the action is none of the records, or a field is of another type.
        """
        case = self.case
        if case is None or not self._open:
            raise RuntimeError("no consultation is open: call reset after the end and before the first step")
        if action not in self.action_space:
            raise TypeError(f"{repr(action)[:200]} is no action; known: {self.action_space}")
        reward = 0.0
        match action:
            case Ask():
                seen = self._answer(case, action)
            case Request(kind):
                seen = self._show(case, kind)
            case Retake(kind):
                seen = self._show(case, kind, again=True)
            case Present():
                reward = self._presented(case, action)
                seen = heard("I see. What should be done?")
            case Plan():
                seen = heard("Thank you. I have no more questions.")
            case Close():
                seen, self._open = heard("Goodbye."), False
        return seen, reward, not self._open, False, self._info()

    def _index(self, wanted: object) -> int:
        """A case's index by its id or index."""
        if isinstance(wanted, int) and not isinstance(wanted, bool):
            if 0 <= wanted < len(self.cases):
                return wanted
            raise LookupError(f"case {wanted}: there are {len(self.cases):,}, counted from 0")
        if self._ids is None:
            self._ids = {self.cases[i].id: i for i in reversed(range(len(self.cases)))}
        if wanted not in self._ids:
            raise LookupError(f"no case {wanted!r}; known: {', '.join(list(self._ids)[:-6:-1])}, …")
        return self._ids[str(wanted)]

    def _answer(self, case: Case, ask: Ask) -> Heard:
        if not (ask.text.strip() or ask.finding):
            return heard("I did not catch that.")
        key = ask.finding or words(ask.text)
        n, self._put[key] = self._put[key], self._put[key] + 1
        self._count["asked"] += 1
        answer = self._mannered(case, ask, self.patient(case, ask, seed=self._seed, n=n), n)
        self._listen(answer.text)
        return heard(answer.text, finding=ask.finding, value=answer.value)

    def _mannered(self, case: Case, ask: Ask, answer: Answer, n: int) -> Answer:
        """The answer as this patient gives it; the same chances whatever was asked before."""
        if self.manner == "plain":
            return answer
        unsure = Answer(spoken(UNSURE), UNSURE if answer.value else "")
        draw = uniform("manner", self.manner, self._seed, case.id, ask.finding or words(ask.text), n)
        if self.manner == "vague" and self._count["asked"] <= VAGUE:
            return unsure
        if self.manner == "withholding" and n == 0:
            return Answer("I would rather not say.", unsure.value)
        others = [value for value in self.values.get(ask.finding, ("yes", "no")) if value != answer.value]
        if self.manner == "contradicting" and answer.value not in ("", UNSURE) and draw < WRONG and others:
            other = others[int(draw / WRONG * len(others))]
            return Answer(spoken(other), other)
        if self.manner == "anxious":
            return Answer(f"{answer.text} {WORRIES[int(draw * len(WORRIES))]}", answer.value)
        return answer

    def _show(self, case: Case, wanted: str, *, again: bool = False) -> Heard:
        """An artefact's first or next take, or a result in words."""
        kind, result = named(wanted, case.artefacts), named(wanted, case.results)
        again = again and kind in self._taken  # a retake of what was never shown is a request
        self._count["retakes" if again else "requested"] += 1
        if kind is not None and case.artefacts[kind]:
            take = self._taken.get(kind, 0) + 1 if again else 0
            if take > min(RETAKES, len(case.artefacts[kind]) - 1):
                return heard(f"No further take of the {kind} can be made.", kind=kind)
            self._taken[kind] = take
            return self._taken_image(case, kind, take)
        if result is not None:
            return heard(f"{result}: {case.results[result]}")
        self._count["not_done"] += 1
        return heard(f"{wanted}: {NORMAL if self.compat else NOT_DONE}")

    def _taken_image(self, case: Case, kind: str, take: int) -> Heard:
        image = case.artefacts[kind][take].image
        try:
            pixels = None if image is None else image.pixels()
        except MediaError:
            pixels = None
        if pixels is None:
            self._count["invalid"] += 1
            return heard(f"The {kind} {UNREADABLE}.", kind=kind)
        return heard(f"Here is the {kind}.", kind=kind, image=pixels)

    def _presented(self, case: Case, told: Present) -> float:
        self._count["presented"] += 1
        if self._count["presented"] > 1 or not told.differential:
            return 0.0
        right = {words(name) for name in (case.diagnosis, *self.aliases.get(case.diagnosis, ()))}
        return float(words(told.differential[0][0]) in right)

    def _listen(self, said: str) -> None:
        """Counts what the patient must not say."""
        diagnosis = words(self.case.diagnosis) if self.case else ""
        told = words(re.sub(r"[()]", " ", said))
        self._count["leak"] += bool(diagnosis) and f" {diagnosis} " in f" {told} "

    def _info(self) -> dict[str, Any]:
        return {"case": self.case.id if self.case else "", **{name: self._count[name] for name in COUNTS}}


def heard(
    said: str,
    *,
    finding: str = "",
    value: str = "",
    kind: str = "",
    image: UInt8[np.ndarray, "h w 3"] | None = None,
) -> Heard:
    """An observation, its picture the receiver's own; 0 x 0 for none."""
    shown = np.zeros((0, 0, 3), np.uint8) if image is None else np.array(image)
    return {"said": said, "finding": finding, "value": value, "kind": kind, "image": shown}


def words(text: str) -> str:
    """A name as it is compared: lower case, no parentheses, letters and digits with single blanks."""
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"\([^)]*\)", " ", text).lower()))


def named(wanted: str, known: Mapping[str, Any]) -> str | None:
    """The exact name, else the one that differs in case, blanks or punctuation only."""
    if wanted in known:
        return wanted
    return next((name for name in known if words(name) == words(wanted) != ""), None)


def register() -> str:
    """Makes "polymodal/Clinic-v0" known to `gymnasium.make` and gives the name; an import does it too."""
    if NAME not in gymnasium.registry:
        gymnasium.register(NAME, entry_point="polymodal.envs.clinic.patient:Consultation")
    return NAME


register()
