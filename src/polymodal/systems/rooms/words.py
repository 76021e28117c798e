"""What a person's free words to a patient amount to, as an action of the environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polymodal.chat.library import terms
from polymodal.envs.clinic import Action, Ask, Close, Request, Retake
from polymodal.envs.clinic.patient import words
from polymodal.envs.clinic.state import names

if TYPE_CHECKING:
    from polymodal.envs.clinic import Case

SEEN = "I see."
CHOICES = 4  # findings that a patient asks back about at most
WORDS = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
CALLED: Mapping[str, Sequence[str]] = WORDS["called"]  # other words for a kind of artefact
PICTURE = WORDS["picture"]
LOOKING = [*WORDS["looking"], *PICTURE]
GREETING, COURTESY = ({*" ".join(WORDS[name]).split()} for name in ("greeting", "courtesy"))
LITTLE = {*terms(" ".join(WORDS["little"]))}  # words of a question that are not what it is about
ORDER = re.compile(
    r"(?<!in )\b(?:order|request|perform)\s+(?:an?\s+|the\s+|some\s+)?([^.?!,;\n]{1,80})", re.IGNORECASE
)


def understood(
    text: str, case: Case, findings: Mapping[str, str], shown: Sequence[str], *, alone: bool
) -> Action | str:
    """An action, or what a patient says at once without one.

    Words that ask for an artefact or a test of the case by name are a `Request`, and a `Retake` where it was
    shown before; so are words that ask for another picture without saying of what. A goodbye is `Close`.
    Asked what brings them, patients repeat their complaint. A question that names one finding is an `Ask`
    about it, and any other an `Ask` in words. A guess at the diagnosis is heard and no more: the doctor tells
    it elsewhere.

    Args:
        text: what the doctor says.
        case: who hears it.
        findings: that may be asked for, with their questions.
        shown: what was asked for so far.
        alone: the patient knows one finding at a time, and asks back where several are named.
    """
    if words(text).split()[-1:] in (["goodbye"], ["bye"]):
        return Close()
    named = _about(text, findings)
    if (asked := _requested(text, case, shown, plainly=not named)) is not None:
        return asked
    bare = words(text)
    guess = any(f"{bare} ".startswith(f"{one} ") for one in WORDS["guess"])
    if "?" not in text and (guess or {*bare.split()} <= COURTESY):
        return SEEN
    if not named and (_any(text, WORDS["opening"]) or {*bare.split()} <= GREETING):
        return case.initial
    if len(named) > 1 and alone and len(named) <= CHOICES:
        return f"Which do you mean: {_listed(named)}? One at a time, please."
    return Ask(text, named[0] if len(named) == 1 else "")


def _requested(text: str, case: Case, shown: Sequence[str], *, plainly: bool) -> Action | str | None:
    """A request for a thing of the case; None where the words are about something else."""
    called = {kind: (kind, *(CALLED.get(kind, ()))) for kind in case.artefacts}
    called |= {name: (name,) for name in case.results if name not in called}
    looks = _any(text, LOOKING)
    found = {
        kind: one
        for kind, known in called.items()
        for one in reversed(known)
        if names(text, one)
        and (looks or _bare(text, one) or ((one == kind or plainly) and _any(text, WORDS["wanting"])))
    }
    kinds = [k for k, one in found.items() if not any(o != one and names(o, one) for o in found.values())]
    if not kinds and shown and _any(text, WORDS["again"]):
        bare = {*words(text).split()} <= COURTESY
        kinds = [shown[-1]] if bare or _any(text, [*WORDS["taking"], *LOOKING]) else []
    if not kinds and _any(text, PICTURE) and looks and plainly:
        kinds = [*case.artefacts]
    if len(kinds) > 1:
        return f"Which shall I show: {_listed(kinds)}? One at a time, please."
    if kinds:
        return Retake(kinds[0]) if kinds[0] in shown else Request(kinds[0])
    order = ORDER.search(text)
    return Request(order[1].strip()) if order and plainly else None


def _about(text: str, findings: Mapping[str, str]) -> list[str]:
    """The findings that a text names whole, the longest; else those whose question has all its words."""
    asked = {*terms(text)}
    own = {name: {*terms(name)} for name in findings}
    named = [name for name in findings if own[name] and own[name] <= asked]
    if named:
        return [name for name in named if not any(own[name] < own[other] for other in named)]
    asked -= LITTLE
    return [n for n, question in findings.items() if asked and asked <= {*terms(f"{n} {question}")}]


def _bare(text: str, name: str) -> bool:
    """Whether a text is a name and politeness."""
    return {*f" {words(text)} ".replace(f" {words(name)} ", " ").split()} <= COURTESY


def _any(text: str, sought: Iterable[str]) -> bool:
    return any(names(text, one) for one in sought)


def _listed(some: Sequence[str]) -> str:
    return f"{', '.join(some[:-1])} or {some[-1]}"
