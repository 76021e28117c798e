"""Patients who come again: two visits of one case, and what an earlier run left of a talk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from polymodal.chat import Usage
from polymodal.envs.clinic.chair import Chair
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.state import State
from polymodal.systems.consulting import talked

FILE = "states.jsonl"
SUMMED = (
    "calls", "tokens", "malformed", "asked", "requested", "retakes", "invalid", "leak", "not_done", "seconds",
)  # fmt: skip


def twice(chair: Chair, room: Consultation, case: int | str, *, seed: int, memory: bool) -> talked.Held:
    """A case that is seen twice, each time with half of the chair's turns; both visits' turns and states.

    Args:
        chair: who sees it; its turns are those of both visits.
        room: where.
        case: id or index.
        seed: of both visits.
        memory: the second visit begins with what the first one left; else with nothing.
    """
    half = chair.turns // 2
    first = talked.held(room, replace(chair, turns=half), case, seed=seed)
    known = first.states[-1] if memory and first.states else None
    second = talked.held(room, replace(chair, turns=chair.turns - half, memory=known), case, seed=seed)
    paid = None if first.patient is None else first.patient + (second.patient or Usage())
    return talked.Held([*first.turns, *second.turns], [*first.states, *second.states], paid)


def apart(found: talked.Held) -> Iterator[talked.Held]:
    """The visits of a talk, one by one."""
    begun, known = 0, 0
    for n, turn in enumerate(found.turns, 1):
        if turn.over:
            turns = found.turns[begun:n]
            done = known + sum(bool(one.steps) for one in turns)
            yield talked.Held(turns, found.states[known:done])
            begun, known = n, done


def row(found: talked.Held) -> dict[str, Any]:
    """What `talked.row` tells of the last visit, with what all of them took.

    `reason` is the first one's that was cut, `visits` how many the doctor knows of at the end.
    """
    rows = [talked.row(one) for one in apart(found)]
    why = Counter[str]()
    for one in rows:
        why.update(one["why"])
    sums = {name: sum(one[name] for one in rows) for name in SUMMED}
    reason = next((one["reason"] for one in rows if one["reason"]), "")
    visits = len(found.states[-1].visits) if found.states else 1
    return {**rows[-1], **sums, "why": dict(why), "reason": reason, "visits": visits}


def snapshots(
    kept: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Lines for `states.jsonl`: the state after each turn of the talks that are kept.

    Args:
        kept: talks as `talked.kept` gives them.
        records: of the same talks: their `case`, `doctor` and `arm`.
    """
    lines = []
    for talk, told in zip(kept, records, strict=True):
        about = {name: told[name] for name in ("case", "doctor", "arm")}
        for turn, text in enumerate(talk["lines"]):
            lines += [about | {"turn": turn, "state": json.loads(one)} for one in json.loads(text)["steps"]]
    return lines


def remembered(path: str | Path, doctor: str) -> Mapping[str, State]:
    """By case, the last state that a run's `states.jsonl` has of a doctor in the arm `state`.

    Args:
        path: the run's folder, or the file.
        doctor: as the run was given it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line that is none of such a file, named by its number; or none of the doctor's.
    """
    at = Path(path)
    at = at / FILE if at.is_dir() else at
    if not at.is_file():
        hint = f"a finished `polymodal run clinical_dialogue` with a chat model writes {FILE} to its folder"
        raise FileNotFoundError(f"memory={path}: no such file; {hint}")
    stat = at.stat()
    known = _read(str(at), (stat.st_mtime_ns, stat.st_size))
    if doctor not in known:
        hint = ", ".join(known) or "nobody"
        raise ValueError(f"memory={path}: no state of doctor={doctor} in the arm state; known: {hint}")
    return known[doctor]


@lru_cache(maxsize=4)
def _read(path: str, _changed: tuple[int, int]) -> dict[str, dict[str, State]]:
    """By doctor and case; only the last line of each is made a state."""
    last: dict[tuple[str, str], tuple[int, Any]] = {}
    with Path(path).open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                told = json.loads(text)
                case, doctor, arm, state = (told[name] for name in ("case", "doctor", "arm", "state"))
                if arm.partition("?")[0] == "state":
                    last[doctor, case] = number, state
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise ValueError(_broken(path, number, error)) from None
    found: dict[str, dict[str, State]] = {}
    for (doctor, case), (number, state) in last.items():
        try:
            found.setdefault(doctor, {})[case] = State.from_json(json.dumps(state))
        except ValueError as error:
            raise ValueError(_broken(path, number, error)) from None
    return found


def _broken(path: str, number: int, error: Exception) -> str:
    wanted = "a JSON object with case, doctor, arm, turn and state is wanted"
    return f"{path}: line {number}: {type(error).__name__}: {error}; {wanted}"
