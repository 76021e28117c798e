"""Consultations as a task of Inspect's: the evaluated model in the doctor's chair.

For research, not for care. Each sample is a case. The conversation that its log shows is the patient's and
the doctor's; the calls behind each of the doctor's turns stand among the sample's events.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polymodal.chat import assistant, system, user
from polymodal.chat.inspected import Evaluated, outgoing
from polymodal.envs.clinic.state import OTHER, State
from polymodal.media import Image
from polymodal.systems.consulting import talked, visits
from polymodal.systems.consulting.seats import judged, parsed

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.scorer import Score, Scorer
    from inspect_ai.solver import Solver

    from polymodal.envs.clinic import Case
    from polymodal.systems.consulting.seats import Seats

NOTE = "For research, not for care: a simulated patient and a doctor that is a program."
ROW = "consultation"  # where a sample's store keeps the figures
SCORES = ("top1", "top3", "top10", "turns", "malformed", "unsupported", "unfinished")


def consultations(seats: Seats, arm: str) -> Task:
    """The cases of `seats` before the evaluated model in an arm.

    Args:
        seats: cases, readers and limits; its model is not asked.
        arm: state, with its options as `state?gap=eig`, plain or another of the run's.

    Raises:
        ValueError: an unknown arm or option.
    """
    from inspect_ai import Task
    from inspect_ai.dataset import MemoryDataset, Sample

    parsed(arm)
    samples = [
        Sample(
            id=case.id,
            input=case.initial,
            target=case.diagnosis,
            metadata={**case.tags, "group": case.group or case.id, "arm": arm, "case": i},
        )
        for i, case in enumerate(seats.cases)
    ]
    return Task(
        dataset=MemoryDataset(samples, name="clinical_dialogue"),
        solver=_consult(seats, arm),
        scorer=_figures(),
    )


def _consult(seats: Seats, arm: str) -> Solver:
    """Holds the consultation to its end, on a thread of its own."""
    from inspect_ai.solver import solver

    @solver(name="consultation")
    def made() -> Solver:
        async def solve(state: Any, generate: Any) -> Any:
            """Interview the patient."""
            import anyio.to_thread
            from anyio import CapacityLimiter
            from inspect_ai.model import ModelOutput, get_model

            model, i = Evaluated(get_model()), int(state.metadata["case"])
            sat = replace(seats, spec=model.name, model=model, begun={})
            alone = CapacityLimiter(1)  # its calls may want threads of the pool themselves
            found = await anyio.to_thread.run_sync(sat.held, arm, i, limiter=alone)
            state.messages = [outgoing(system(NOTE)), *_messages(found)]
            state.output = ModelOutput.from_content(model.name, state.messages[-1].text)
            row = _row(sat, found, seats.cases[i])
            state.store.set(ROW, row)
            if model.failed and (not row["calls"] or _limit(model.failed)):
                raise model.failed
            return state

        return solve

    return made()


def _limit(error: Exception) -> bool:
    from inspect_ai.util import LimitExceededError

    return isinstance(error, LimitExceededError)


def _messages(found: talked.Held) -> list[Any]:
    """The talk as Inspect's messages, the patient as the user."""
    told = []
    for line in talked.spoken(found):
        shown = (Image(line["pixels"]),) if "pixels" in line else ()
        told.append(outgoing((assistant if line["role"] == "doctor" else user)(line["text"], *shown)))
    return told


def _row(seats: Seats, found: talked.Held, case: Case) -> dict[str, Any]:
    """The figures of a consultation, as JSON values."""
    state = found.states[-1] if found.states else State()
    row = visits.row(found)
    told = judged(seats.config, seats.method, seats.rubric, state, case, seats.clinic, seats.store)
    claims = row["claims"]
    return {
        **{name: told[name] for name in ("top1", "top3", "top10")},
        "turns": row["asked"] + row["requested"] + row["retakes"],
        "malformed": row["malformed"],
        "unsupported": 1 - sum(claims) / len(claims) if claims else 0.0,  # who claims nothing invents nothing
        "unfinished": int(row["unfinished"]),
        "calls": row["calls"],
        "reason": row["reason"],
        "first": next((one.name for one in state.differential if one.name != OTHER), ""),
        "record": seats.method.record(state),
    }


def _figures() -> Scorer:
    """Each figure with its mean and the error of it, clustered by the case's group."""
    from inspect_ai.scorer import mean, scorer, stderr

    @scorer(name="consultation", metrics={"*": [mean(), stderr(cluster="group")]})
    def made() -> Scorer:
        async def score(state: Any, target: Any) -> Score:
            """Read off what the solver noted; a case that was not held to its end is no right one."""
            from inspect_ai.scorer import Score

            row = state.store.get(ROW)
            if row is None:
                return Score.unscored(reason="no consultation was held")
            about = {name: row[name] for name in ("calls", "reason", "record")}
            return Score(
                value={name: float(row[name]) for name in SCORES}, answer=row["first"], metadata=about
            )

        return score

    return made()
