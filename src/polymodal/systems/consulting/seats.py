"""A case before a chat model in every arm: who sits in the chair, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from polymodal.chat import Budget, ChatModel, Ledger, connect, metered, uniform
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.clinic.state import State
from polymodal.metrics.acting import top_k
from polymodal.systems.consulting import places, rated, talked, visits

if TYPE_CHECKING:
    from polymodal.envs.clinic import Case, Clinic
    from polymodal.envs.clinic.chair import Chair

FORGETS, SLIPS, MINDS = "scripted:clinic?span=4", "scripted:clinic?slip=0.3", "scripted:clinic"
CLAIMING = "scripted:clinic?unsupported=0.1"
SEEN = 12  # talks of an arm that are kept whole
TOP = (1, 3, 5, 10)
AGAIN = ("again", "forgotten")  # a case that is seen twice
ARMS: Mapping[str, Mapping[str, Sequence[str]]] = {  # of a chat model, and what may be said of them
    "state": {"gap": ("model", "eig"), "calls": ("five", "merged"), "memory": ("OUT",)},
    **{name: {} for name in ("plain", "plain_matched")},
    **{name: {"gap": ("model", "eig")} for name in ("scrambled", "late", "rigid", *AGAIN)},
}


def parsed(arm: str) -> tuple[str, dict[str, Any]]:
    """`state?gap=eig&calls=merged` as its name and options.

    Raises:
        ValueError: an unknown arm or option.
    """
    name, _, rest = arm.partition("?")
    options: dict[str, Any] = dict(pair.partition("=")[::2] for pair in rest.split("&") if pair)
    if name not in ARMS:
        raise ValueError(f"arm={arm}: unknown; known: {', '.join(ARMS)}")
    for key, value in options.items():
        if value not in ARMS[name].get(key, ()) and not (value and key == "memory" and key in ARMS[name]):
            known = " ".join(f"{k}={'|'.join(v)}" for k, v in ARMS[name].items()) or "no options"
            raise ValueError(f"arm={arm}: {key}={value} is not known; known: {known}")
    return name, options


@dataclass(kw_only=True)
class Seats:
    """Some cases before one model.

    Attributes:
        config: the run's.
        method: the box's `Doctor`, `Plain`, `scrambled`, `record`, `moderated` and `messages`.
        rubric: that a rating model is asked.
        spec: the model's name.
        model: in the chair.
        clinic: the cases' tables; None for written cases.
        cases: in order; a scrambled state is the next case's.
        seen: readers by kind, and what is known of each.
        store: where replies are kept.
        turns: questions, requests and answers of a consultation at most.
        begun: the talks of the arm `state`, which a matched budget and a scrambled state need.
    """

    config: Any
    method: Any
    rubric: Mapping[str, Any]
    spec: str
    model: ChatModel
    clinic: Clinic | None
    cases: Sequence[Case]
    seen: tuple[Mapping[str, Any], Mapping[str, Any]]
    store: Any
    turns: int
    begun: dict[tuple[str, int], talked.Held] = field(default_factory=dict)

    def talks(self, i: int, first: int) -> dict[str, list[Any]]:
        """Case `i`, the run's `first + i`, in all arms: rows, and of the first the talks whole."""
        out: dict[str, list[Any]] = {name: [] for name in ("rows", "kept", "records", "talks")}
        case = self.cases[i]
        for arm in self.config.arm if self.spec != CLAIMING else ("state",):
            name, options = parsed(arm)
            news = self.spec == MINDS and uniform("late", case.id) * talked.EVERY < 1  # of some patients
            alone = self.spec in (MINDS, SLIPS)  # of the scripts, the one that forgets is enough
            if (name in ("late", "rigid") and not news) or (name in ("scrambled", *AGAIN) and alone):
                continue
            if name == "scrambled" and len(self.cases) < 2:
                continue
            found = self.held(arm, i)
            state = found.states[-1] if found.states else State()
            row = {"doctor": self.spec, "arm": arm, **visits.row(found)}
            row |= {**talked.course(found, case, self.clinic), "tags": dict(case.tags)}
            row["new"] = "memory" in options and row["visits"] == 1
            row |= judged(self.config, self.method, self.rubric, state, case, self.clinic, self.store)
            if found.states and self.clinic is not None:
                p = talked.acquired(self.clinic, state, self.seen)
                row["acquired"] = top_k(case.diagnosis, sorted(p, key=lambda one: -p[one]), 1)
            out["rows"].append(row)
            whole = first + i < SEEN and self.spec != CLAIMING
            if found.states and (whole or not self.spec.startswith("scripted:")):
                out["kept"].append(talked.kept(found))
                about = {"case": case.id, "doctor": self.spec, "arm": arm}
                out["records"].append(about | self.method.record(state))
            if whole and found.states:
                tags = {"subject": f"{self.spec} {arm}", "item": case.id, "right": float(row["right"])}
                told = {"turns": talked.spoken(found), "tables": talked.noted(state, len(found.states))}
                out["talks"].append({"id": f"{self.spec} {arm} {case.id}", "tags": tags} | told)
        return out

    def held(self, arm: str, i: int) -> talked.Held:
        """Case `i` in an arm."""
        name, _ = parsed(arm)
        if name == "state" and (arm, i) in self.begun:
            return self.begun[arm, i]
        config, late = self.config, name in ("late", "rigid")
        side: dict[str, Any] = {"manner": config.manner, "compat": config.compat, "store": self.store}
        kind = talked.Late if late else Consultation
        room = places.room(self.cases, self.clinic, config.patient, kind, **side)
        chair, case = self.chair(arm, i), self.cases[i].id
        if name in AGAIN:
            return visits.twice(chair, room, case, seed=config.seed, memory=name == "again")
        found = talked.held(room, chair, case, seed=config.seed)
        if name == "state":
            self.begun[arm, i] = found
        return found

    def chair(self, arm: str, i: int) -> Chair:
        """Who sits before case `i` in an arm."""
        name, options = parsed(arm)
        late = name in ("late", "rigid")  # news that comes when no turn is left reopens nothing
        base: dict[str, Any] = {"model": self.model, "readers": self.seen[0]}
        base["turns"] = self.turns * (1 + late)
        base["kinds"] = (
            [one.kind for one in self.clinic.artefacts] if self.clinic else [*self.cases[i].artefacts]
        )
        base["terms"] = [one.name for one in self.clinic.findings] if self.clinic else []
        if name == "plain":
            return self.method.Plain(**base)  # type: ignore[no-any-return]
        if name == "plain_matched":
            spent = self.held("state", i)
            counts = spent.states[-1].counts if spent.states else {}
            limit = Budget(calls=counts.get("calls"), tokens=counts.get("tokens") or None)
            return self.method.Plain(**base, budget=limit)  # type: ignore[no-any-return]
        if at := options.pop("memory", None):
            base["memory"] = visits.remembered(at, self.spec).get(self.cases[i].id)
        library = self.config.library
        options["search"] = places.texts(library).search if library else None
        if name == "scrambled":
            options["swap"] = self.method.scrambled(self.held("state", (i + 1) % len(self.cases)).states)
        options["reopen"] = self.config.reopen and name != "rigid"
        return self.method.Doctor(**base, **options)  # type: ignore[no-any-return]


def judged(
    config: Any, method: Any, rubric: Mapping[str, Any], state: State, case: Case, clinic: Any, store: Any
) -> dict[str, Any]:
    """Whether the diagnosis is among the first k told, by name; and what a rating model says, by axis."""
    p = {one.name: one.p for one in state.differential}
    aliases = {one.name: one.aliases for one in clinic.diseases} if clinic else None
    listed = sorted((name for name in p if name != "other"), key=lambda name: -p[name])
    told: dict[str, Any] = {f"top{k}": top_k(case.diagnosis, listed, k, aliases=aliases) for k in TOP}
    if config.rater == "rule" or config.rater.startswith(rated.PEOPLE):
        return told
    ledger, ways = Ledger(), {"compat": config.compat}
    rater = metered(connect(config.rater, store=store), ledger, "rater")
    first = method.moderated(rater, listed[0], case.diagnosis, seed=config.seed, **ways) if listed else None
    told["relation"] = first if listed else "different"
    told |= rated.rated(rater, rubric, method.messages(state), case, seed=config.seed)
    return told | talked.spent("rater", ledger.total())
