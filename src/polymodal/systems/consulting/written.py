"""Written cases without a language model: what a list of questions brings to light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from polymodal.chat import uniform
from polymodal.envs.clinic import Ask, Case, Close, Request
from polymodal.envs.clinic.patient import NOT_DONE, Consultation
from polymodal.envs.clinic.spoken import sentences
from polymodal.envs.play import play
from polymodal.metrics.acting import covered, question_yield


class Listed:
    """A doctor that goes through a list of actions, then closes."""

    def __init__(self, actions: Sequence[Any]) -> None:
        self.actions = actions

    def start(self, *, seed: int, goal: str = "") -> None:
        """Begin the list anew."""
        self._left = list(self.actions)

    def __call__(self, heard: Any) -> Any:
        """The next action."""
        return self._left.pop(0) if self._left else Close()


def asked(
    env: Consultation, cases: Sequence[Case], lists: dict[str, Sequence[str]], *, seed: int
) -> list[dict[str, Any]]:
    """Every case before every list of questions, and every test of it asked for by its name."""
    rows = []
    for case in cases:
        rows += [{"doctor": "list", **row} for row in interviewed(env, case, lists, seed=seed)]
        found = requested(env, case, [*case.results], seed=seed)
        rows.append({"doctor": "list", "arm": "tests", "case": case.id, "found": found})
    return rows


def interviewed(
    env: Consultation, case: Case, lists: dict[str, Sequence[str]], *, seed: int
) -> list[dict[str, Any]]:
    """A case before every list: the share of its sentences that was heard, and of good questions.

    The list `random` is drawn from for each case by the seed, as many questions as the list `checklist` has.
    """
    rows, facts = [], [sentence for _, sentence in sentences(case)]
    for arm, questions in lists.items():
        asked = questions
        if arm == "random":
            order = sorted(questions, key=lambda one: uniform("question", seed, case.id, one))
            asked = order[: len(lists["checklist"])]
        doctor = Listed([Ask(text) for text in asked])
        turns = list(play(env, doctor, seed=seed, limit=len(asked) + 1, options={"case": case.id}))
        heard, fresh = {fact for fact in facts if fact in turns[0].observation["said"]}, []
        for turn in turns[:-1]:
            new = {fact for fact in facts if fact.rstrip(".!?") in turn.after["said"]} - heard
            fresh.append(bool(new))
            heard |= new
        told = {"recall": covered(facts, heard), "yield": question_yield(fresh)}
        rows.append({"arm": arm, "case": case.id, **told, "leak": turns[-1].info["leak"]})
    return rows


def requested(env: Consultation, case: Case, names: Sequence[str], *, seed: int) -> list[int]:
    """For each test by name, whether the case tells its result (1) or it was not done (0)."""
    doctor = Listed([Request(name) for name in names])
    turns = play(env, doctor, seed=seed, limit=len(names) + 1, options={"case": case.id})
    return [
        int(not turn.after["said"].endswith(NOT_DONE)) for turn in turns if isinstance(turn.action, Request)
    ]
