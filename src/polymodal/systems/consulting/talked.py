"""What a doctor with a chat model did in a consultation: one row, and its talk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from polymodal.chat import Ledger, Usage, metered
from polymodal.envs.clinic import Close, Present, Request, Retake
from polymodal.envs.clinic.chair import Chair, Traced
from polymodal.envs.clinic.patient import Consultation, heard
from polymodal.envs.clinic.spoken import Played
from polymodal.envs.clinic.state import OTHER, State, supported
from polymodal.envs.doctor import Sight, concluded
from polymodal.envs.play import Turn, play
from polymodal.media import Image
from polymodal.systems.consulting.scored import scored

if TYPE_CHECKING:
    from polymodal.envs.clinic import Case, Clinic, Reader
    from polymodal.runs import Run

LEAST, MOST = 0.005, 4  # probability that is told; names of findings
EVERY = 5  # one patient in so many is late with an allergy
ALLERGY = "I should have said: I am allergic to penicillin."


class Late(Consultation):
    """Its patients tell of an allergy when they are told the differential."""

    def step(self, action: Any) -> Any:
        """The consultation's, but for what is said after Present."""
        seen, *rest = super().step(action)
        return (heard(ALLERGY), *rest) if isinstance(action, Present) else (seen, *rest)


class Held(NamedTuple):
    """A consultation that was held: its turns, the states after each, and what a model as patient cost."""

    turns: list[Turn]
    states: list[State]
    patient: Usage | None = None  # None where no model played the patient


def held(env: Consultation, chair: Chair, case: int | str, *, seed: int) -> Held:
    """Play a case to its end; a turn more than the chair's own limits ever take is the cut."""
    limit, ledger, side = chair.turns + chair.retakes + 12, Ledger(), env.patient
    options = {"case": case, **({"taken": chair.memory.takes()} if chair.memory else {})}
    if isinstance(side, Played):
        env.patient = replace(side, model=metered(side.model, ledger, "patient"))
    try:
        turns = list(play(env, Traced(chair), seed=seed, limit=limit, options=options))
    finally:
        env.patient = side
    states = [State.from_json(turn.steps[0]) for turn in turns if turn.steps]
    return Held(turns, states, ledger.total() if isinstance(side, Played) else None)


def course(found: Held, case: Case, clinic: Clinic | None) -> dict[str, Any]:
    """More columns of a consultation's row: the scores of `scored`, and what a model as patient cost.

    A patient played by a model has its own words, which do not show which facts were heard.

    Args:
        found: the consultation.
        case: who came.
        clinic: its tables, where there are any.
    """
    turns = [turn for turn in found.turns if turn.steps]
    told = [{one.name: one.p for one in state.differential} for state in found.states]
    scores = scored(case, turns, told, clinic, verbatim=found.patient is None)
    return scores | spent("patient", found.patient or Usage())


def spent(role: str, usage: Usage) -> dict[str, int]:
    """A row's calls and tokens of another role than the doctor; none where it made no call."""
    calls, tokens = usage.calls + usage.cached, usage.tokens_in + usage.tokens_out
    return {f"{role} calls": calls, f"{role} tokens": tokens} if calls else {}


def row(found: Held) -> dict[str, Any]:
    """The figures of a consultation; `unfinished` where no differential was told."""
    last, state = found.turns[-1], found.states[-1] if found.states else State()
    told = {
        name: last.info[name] for name in ("asked", "requested", "retakes", "invalid", "leak", "not_done")
    }
    return {
        "case": last.info["case"],
        "right": sum(turn.reward for turn in found.turns),
        "p": {one.name: one.p for one in state.differential},
        "calls": state.counts.get("calls", 0),
        "tokens": state.counts.get("tokens", 0),
        "malformed": state.counts.get("invalid", 0),
        "why": {k[4:]: n for k, n in state.counts.items() if k.startswith("why:")},
        **told,
        "claims": [int(x) for x in supported(state.findings, state.talk, state.artefacts)],
        "planted": [int(_planted(one, state)) for one in state.findings],
        "flags": list(state.flags),
        "minded": "allerg" in state.plan.lower(),
        "unfinished": not last.info["presented"] or all(one.name == OTHER for one in state.differential),
        "reason": last.reason,
        "seconds": sum(turn.seconds for turn in found.turns),
    }


def _planted(claim: Any, state: State) -> bool:
    """Whether a table patient's answer in that turn was about something else, or was no answer."""
    if isinstance(claim.source, str) or not 0 <= claim.source < len(state.talk):
        return False
    line = state.talk[claim.source]
    return not (line.finding and line.value) or line.finding != claim.name


def acquired(
    clinic: Clinic, state: State, known: tuple[Mapping[str, Reader], Mapping[str, Sight]]
) -> dict[str, float]:
    """What exact inference makes of all that a doctor was told and shown, whatever it made of that itself."""
    told = {line.finding: line.value for line in state.talk if line.finding and line.value}
    seen: dict[str, Any] = {}
    for line in state.talk:
        reading = getattr(known[0].get(line.kind), "kept", {}).get(line.digest)
        if reading is not None and reading.q:
            evidence = known[1][line.kind].soft(np.array([reading.q]))[0]
            seen[line.kind] = seen.get(line.kind, 1.0) * evidence
    return concluded(clinic, told, seen)


def spoken(found: Held) -> list[dict[str, Any]]:
    """The talk for the report and for raters: a line each, a line's picture as an array under `pixels`."""
    lines: list[dict[str, Any]] = []
    for turn, state in zip(found.turns, found.states, strict=False):
        said = {"role": "patient", "text": turn.observation["said"] or "(nothing)"}
        seen = {"pixels": turn.observation["image"]} if turn.observation["image"].size else {}
        lines += [said | seen, {"role": "doctor", "text": worded(turn.action), "phase": state.phase}]
    return lines


def worded(action: Any) -> str:
    """An action as a person would put it, the same words for every doctor."""
    match action:
        case Request(kind=kind):
            return f"Please let me see this: {kind}."
        case Retake(kind=kind):
            return f"Please take this again, it was not clear: {kind}."
        case Present(differential=rows):
            told = [f"{name} ({p:.0%})" for name, p in rows if p >= LEAST]
            return f"It may be: {', '.join(told) or 'nothing that I could name'}."
        case Close():
            return "Goodbye."
    return str(action.text)


def noted(state: State, turns: int | None = None) -> list[dict[str, Any]]:
    """Tables beside a talk: the findings, each with the line it comes from, and the differential.

    Args:
        state: at the end.
        turns: of the talk that is shown, where it is not the state's: it may hold a visit that the state
            does not know, or lack the earlier visits that a state remembers.
    """
    before = 0 if turns is None else turns - len(state.talk)
    shown = {line.digest: n for n, line in reversed([*enumerate(state.talk)]) if line.digest}
    holds = supported(state.findings, state.talk, state.artefacts)
    found: list[list[Any]] = []
    for one, ok in zip(state.findings, holds, strict=True):
        turn = one.source if isinstance(one.source, int) else shown.get(one.source, -1)
        at: Any = "nowhere"
        if 0 <= turn < len(state.talk):
            kind = f", the {state.talk[turn].kind}" if isinstance(one.source, str) else ""
            n = 2 * (turn + before) + 1
            at = {"text": f"line {n}{kind}", "line": n} if n > 0 else f"an earlier visit{kind}"
        found.append([one.name, one.status, at, one.quote, "yes" if ok else "no"])
    ranked = [
        [one.name, f"{one.p:.3f}", _named(one.support), _named(one.against)]
        for one in state.differential
        if one.p >= LEAST
    ]
    tables = [
        ("Findings", ["finding", "status", "from", "words", "supported"], found),
        ("Differential", ["diagnosis", "p", "for", "against"], ranked),
    ]
    return [{"title": t, "columns": columns, "rows": rows} for t, columns, rows in tables if rows]


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def kept(found: Held) -> dict[str, Any]:
    """The trace of a consultation as JSON values: lines, and pictures by digest."""
    pictures = {name: one.pixels() for turn in found.turns for name, one in turn.pictures().items()}
    return {"lines": [turn.line() for turn in found.turns], "pictures": pictures}


def lines(one: Mapping[str, Any]) -> list[Line]:
    """What `kept` gave, as turns for `Run.trace`; the pictures with the first."""
    return [Line(text, {} if n else one["pictures"]) for n, text in enumerate(one["lines"])]


class Line(NamedTuple):
    """A turn as `Run.trace` writes it."""

    text: str
    shown: Mapping[str, Any]

    def line(self) -> str:
        """The turn's line."""
        return self.text

    def pictures(self) -> dict[str, Image]:
        """The pictures of its consultation."""
        return {name: Image(np.asarray(pixels)) for name, pixels in self.shown.items()}


def shown(talk: dict[str, Any], run: Run) -> dict[str, Any]:
    """A talk of `spoken` with its pictures in the run's folder."""
    turns = [
        {
            **{k: x for k, x in turn.items() if k != "pixels"},
            "path": run.media(Image(np.asarray(turn["pixels"]))),
        }
        if "pixels" in turn
        else turn
        for turn in talk["turns"]
    ]
    return {**talk, "turns": turns}
