"""Patients before doctors: exact ones, with and without pictures, and chat models."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from polymodal.chat import ChatModel, connect, ordered
from polymodal.envs import cases as files
from polymodal.envs.clinic import Case, Clinic
from polymodal.envs.clinic.patient import Consultation
from polymodal.envs.doctor import RETAKES, BayesDoctor, learned_stop
from polymodal.metrics import Claim, Estimate, above, below, every, inside
from polymodal.systems.clinical_dialogue import data, method
from polymodal.systems.consulting import (
    climbing,
    figures,
    pictured,
    places,
    rated,
    seats,
    talked,
    visits,
    written,
)
from polymodal.systems.readers import learned
from polymodal.systems.rooms import patient, seated
from polymodal.training.study import Book

if TYPE_CHECKING:
    from polymodal.runs import Run

LABEL = "For research, not for care: simulated patients, invented diseases, no advice for anybody."
CHUNK, SPOKEN = 20, 60  # cases of a job; cases of a script
OSCE = json.loads(Path(__file__).with_name("osce.json").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        data: a clinic (clinic.json, cases.jsonl), DDXPlus, symptom goals, AgentClinic; None generates.
        doctor: `bayes`, `bayes:OUT` (an earlier run's readers), and models as strings for `chat.connect`.
        patient: `auto` (table, or lexical where cases are written), `table`, `lexical` or a model.
        rater: `rule` (names compared); a model, which also scores the axes of the OSCE rubric; or what people
            said of an earlier run's talks, `people:EXPORT`.
        arm: of the models: those of seats.ARMS, with options as `state?gap=eig&calls=merged`, and
            `state?memory=OUT`, which begins with what an earlier run kept of the case.
        turns: budgets of the exact doctor; the middle one is every other consultation's.
        stop: belief at which the exact doctor asks no more; or `learned`, on patients of its own tables.
        cost: weight of a question's cost against its information.
        reopen: a late finding leads the models back to the history.
        manner: of the patient: plain, vague, withholding, contradicting, anxious.
        library: folder of texts that plans rest on.
        compat: count and answer as AgentClinic's script does.
        cases: consultations with pictures, or of the data, at most.
        epochs: of training the readers.
        seeds: of the exact doctor's 2,000 patients each.
        seed: of everything drawn.
    """

    data: str | None = None
    doctor: tuple[str, ...] = ("bayes", seats.FORGETS, seats.SLIPS, seats.MINDS)
    patient: str = "auto"
    rater: str = "rule"
    arm: tuple[str, ...] = (
        "state", "plain", "plain_matched", "scrambled", "late", "rigid", "again", "forgotten",
    )  # fmt: skip
    turns: tuple[int, ...] = (6, 10, 14)
    stop: float | Literal["learned"] = 0.9
    cost: float = 0.0
    reopen: bool = True
    manner: Literal["plain", "vague", "withholding", "contradicting", "anxious"] = "plain"
    library: str | None = None
    compat: bool = False
    cases: int = 100
    epochs: int = 4
    seeds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be used, FileNotFoundError for no library."""
        places.allowed(self)
        for arm in self.arm:
            seats.parsed(arm)


def tiny() -> Config:
    """Two and a half minutes on two cores."""
    return Config()


def full() -> Config:
    """A person's cases and models; 20 turns."""
    return Config(turns=(20,), stop=0.95, cases=1_000_000, epochs=10, arm=("state", "plain", "plain_matched"))


T = climbing.BUDGETS


def stops(budgets: Sequence[int], how: str, *, saved: float, lost: float) -> Any:
    """Whether stopping saves a share of the turns and loses less than so much accuracy, at every budget."""
    held = [above(f"T={t}: turns saved by stopping{how}", saved) for t in budgets]
    return every(*held, *[below(f"T={t}: accuracy lost by stopping{how}", lost) for t in budgets])


CLAIMS = (
    Claim(
        "state-aware beats plain prompting (at equal calls; the model forgets)", "-, not at equal calls",
        above("state - plain_matched, top-1", 0),
    ),
    Claim("a scrambled state gains nothing", "ours", below("scrambled - plain, top-1", 0)),
    Claim(
        "history and artefacts are both needed", "-",
        every(*[above(f"T={t}: multimodal - {arm}", 0) for t in T for arm in ("text", "artefacts")]),
    ),
    Claim(
        "questions directed by uncertainty beat fixed and random ones", "-",
        every(*[above(f"T={t}: multimodal - {arm}", 0) for t in T for arm in ("fixed", "random")]),
    ),
    Claim(
        "random < frequent < information gain", "ours",
        every(*[above(f"T={t}: {a}", 0) for t in T for a in ("frequent - random", "multimodal - frequent")]),
    ),
    Claim("retakes flatten the quality curve", "-", above("poor 0 to .6: loss saved by retakes", 0)),
    Claim(
        "stopping by confidence saves 15 % of the turns (a stop learned on other patients)", "-",
        stops(T, ", learned", saved=0.15, lost=0.03),
    ),
    Claim("stopping at a belief of .90 saves 15 %", "-", stops(T, "", saved=0.15, lost=0.03)),
    Claim(
        "a learned stop saves 40 % of 10 turns and more for 2 points", "ours",
        stops(T[1:], ", learned", saved=0.4, lost=0.02),
    ),
    Claim("it saves 40 % of 6 turns for 2 points", "ours", stops(T[:1], ", learned", saved=0.4, lost=0.02)),
    Claim("pictures that are drawn and read are needed too", "-", every(*[
        above(f"read: multimodal - {arm}", 0) for arm in ("text", "artefacts", "shuffled")])),
    Claim("unsupported claims are all found, without false alarm", "-", every(
        inside("planted claims found", 1), inside("false alarms", 0))),
    Claim("late news reopens the history, and only where it may", "ours", every(
        inside("late: reopened and minded", 1), inside("rigid: reopened", 0))),
    Claim("what is kept of a visit makes the next one righter", "ours", above("again - forgotten, top-1", 0)),
    Claim("doctors and patients prefer it", "29 of 32 axes, 7 of 9 multimodal", above("people: axes", 0.5)),
)  # fmt: skip


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Hold the consultations, compare, judge, record.

    Raises:
        FileNotFoundError: no data at the path.
        ValueError: an option or tables that cannot be used; the message says what is needed.
        LookupError: an unknown model.
    """
    if config.data is not None and files.perception(Path(config.data)):
        return learned.looked(config, run, job, LABEL, CLAIMS)
    book = Book(seed=config.seed)
    for name in ("tables", "notes", "curves", "conversations"):
        book.sections[name] = []
    clinic, found, lost = place(config)
    asked = doctors(config, clinic), (config.patient, config.rater)
    places.checked(*asked, clinic, folder=earlier(config), texts_at=config.library)
    for memory in filter(None, (seats.parsed(arm)[1].get("memory") for arm in config.arm)):
        for spec in set(asked[0]) - {seats.CLAIMING}:
            visits.remembered(memory, spec)
    told = places.about(config, clinic, data.pocket(), len(found))
    book.sections["about"] = {"text": told, "warning": LABEL}
    seeds = range(config.seed, config.seed + config.seeds) if at(config) is None else ()
    jobs: dict[str, tuple[Any, ...]] = {f"ladder/{s}": ("ladder", config, s) for s in seeds}
    wanted = places.lessons(at(config), clinic, data.pocket(), earlier(config))
    jobs |= {f"reader/{k}": ("reader", config, k, of, str(run.folder)) for k, of in wanted.items()}
    made = run.map(job, jobs, name="ladder and readers")
    if seeds:
        climbing.climbed({k: x for k, x in made.items() if k.startswith("ladder")}, config.turns, book)
    learned.told(book, {k: x for k, x in made.items() if k.startswith("reader")})
    if earlier(config) is None:
        places.keep(clinic, run.folder)
    consulted(config, run, book, clinic, len(found))
    if config.rater.startswith(rated.PEOPLE):
        rated.people(book, Path(config.rater.removeprefix(rated.PEOPLE)), found, clinic)
    book.sections["invalid"] = [
        {"reason": f"case: {why}", "n": n, "first": next(x.where for x in lost if x.reason == why)}
        for why, n in Counter(one.reason for one in lost).items()
    ]
    book.legend[next((n for n in ("read: multimodal", f"T={T[1]}: multimodal") if n in book.legend),
                     next(iter(book.legend)))]["headline"] = True  # fmt: skip
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    ids = "".join(one.id + one.diagnosis for one in found).encode()
    prints = {"cases": hashlib.sha256(ids).hexdigest()[:32]}
    run.finish(book.estimates, [(claim, *claim.judge(book.estimates)) for claim in CLAIMS], prints)
    return book.estimates


def place(config: Config) -> tuple[Clinic | None, Sequence[Case], list[Any]]:
    """The clinic's tables, who comes, and which cases cannot be used. Raises as `places.place`."""
    return places.place(at(config), data.pocket(), config.cases, seed=config.seed)


def at(config: Config) -> str | None:
    """Where tables and cases are; None where they are the generated clinic's. Raises as `places.source`."""
    return places.source(config.data, earlier(config), data.pocket())


def room(
    config: Config, clinic: Clinic | None, found: Sequence[Case], kind: Any = Consultation, store: Any = None
) -> Consultation:
    """An environment as the Config has it; a model's answers are kept in the store."""
    ways: dict[str, Any] = {"manner": config.manner, "compat": config.compat, "store": store}
    return places.room(found, clinic, config.patient, kind, **ways)


def env(config: Config) -> Consultation:
    """The consulting room, for `polymodal play clinic`."""
    clinic, found, _ = place(config)
    return room(config, clinic, found)


def policy(config: Config) -> BayesDoctor:
    """The exact doctor, for `polymodal play clinic --policy clinical_dialogue`; with `bayes:OUT` it sees.

    Raises:
        ValueError: written cases, which have no tables.
    """
    clinic, _, _ = place(config)
    if clinic is None:
        raise ValueError("written cases have no tables, which the doctor without a language model needs")
    readers, sights = places.known(clinic, data.pocket(), earlier(config))
    how: dict[str, Any] = {"turns": middle(config), "weight": config.cost, **stop(config, clinic)}
    return BayesDoctor(clinic, readers, sights, **how)


def stop(config: Config, clinic: Clinic) -> dict[str, Any]:
    """When the exact doctor asks no more, as `BayesDoctor` takes it."""
    if config.stop == "learned":
        return learned_stop(clinic, turns=middle(config), retakes=RETAKES, seed=config.seed)._asdict()
    return {"tau": config.stop}


def earlier(config: Config) -> str | None:
    """The run whose readers are used, `bayes:OUT`; None for this one's."""
    return next((one.partition(":")[2] for one in config.doctor if one.startswith("bayes:")), None)


def middle(config: Config) -> int:
    """The budget of all but the ladder."""
    return config.turns[len(config.turns) // 2]


def job(kind: str, config: Config, *given: Any) -> Any:
    """Any of the run's jobs, so that all of them share the processes."""
    if kind == "ladder":
        return climbing.rungs(data.pocket(), config.turns, config.stop, seed=given[0])
    if kind == "reader":
        return learned.lesson(config.data, *given, epochs=config.epochs, seed=config.seed)
    return held(config, *given)


def consulted(config: Config, run: Run, book: Book, clinic: Clinic | None, n: int) -> None:
    """Hold every case in every arm, and tell what came of it."""
    far = [one for one in (*config.doctor, config.patient, config.rater) if one.startswith(REMOTE)]
    where = "inline" if far and run.executor == "process" else run.executor
    starts = places.starts(n, CHUNK)
    jobs = {f"cases/{k}": ("cases", config, str(run.folder), k, to) for k, to in starts.items()}
    found = list(run.map(job, jobs, executor=where, name="consultations").values())
    gathered = {name: [x for one in found for x in one[name]] for name in found[0]}
    figures.told(book, clinic, gathered["rows"], gathered["looked"], ideal=f"T={middle(config)}: retaken")
    run.table(
        "consultations.jsonl", [{k: v for k, v in row.items() if k != "seconds"} for row in gathered["rows"]]
    )
    if gathered["kept"]:
        run.trace("transcripts.jsonl", [line for one in gathered["kept"] for line in talked.lines(one)])
        run.table("records.jsonl", gathered["records"])
        run.table("states.jsonl", visits.snapshots(gathered["kept"], gathered["records"]))
    book.sections["conversations"] = [talked.shown(talk, run) for talk in gathered["talks"]]
    run.files("study", {"osce.json": json.dumps(OSCE, ensure_ascii=False).encode()})


placed = lru_cache(maxsize=1)(lambda config, _folder: place(config))  # a release has a million rows
REMOTE = ("openai:", "local:", "inspect:", "self_consistency:", "verify_and_correct:", "debate:")


def held(config: Config, folder: str, first: int, last: int) -> dict[str, list[Any]]:
    """A chunk of cases before all doctors in all arms; replies of models are kept in the run's folder."""
    from polymodal.runs import Cache

    clinic, found, _ = placed(config, folder)
    some = [found[i] for i in range(first, last)]
    seen = places.known(clinic, data.pocket(), earlier(config) or places.trained(folder))
    out: dict[str, list[Any]] = {name: [] for name in ("rows", "looked", "kept", "records", "talks")}
    if clinic is not None and any(one.startswith("bayes") for one in config.doctor):
        how: dict[str, Any] = {"weight": config.cost, "manner": config.manner, "compat": config.compat}
        setting = pictured.Setting(turns=middle(config), **stop(config, clinic), **how)
        arms = [one for one in pictured.ARMS if len(some) > 1 or one != "shuffled"] if seen[0] else ["text"]
        rows = pictured.consulted(clinic, some, seen, setting, arms=arms, seed=config.seed)
        out["rows"] += [{"doctor": "bayes", **row} for row in rows]
        out["looked"] = pictured.looked(some, seen[0])
    if clinic is None:
        lists = {"checklist": data.CHECKLIST, "random": [one.question for one in data.pocket().findings]}
        heard = places.room(some, None, "lexical", manner=config.manner)  # verbatim, so that facts count
        out["rows"] += written.asked(heard, some, lists, seed=config.seed)
    with Cache(Path(folder) / "calls.sqlite") as store:
        for spec in doctors(config, clinic):
            model = connect(spec, scripts=places.scripts(clinic), store=store)
            script = spec.startswith("scripted:")
            asked = seats.Seats(
                config=config, method=method, rubric=OSCE["rater"], spec=spec, model=model, clinic=clinic,
                cases=some, seen=seen, store=store, turns=middle(config),
            )  # fmt: skip
            talk = partial(asked.talks, first=first)
            wanted = range(min(len(some), max(0, SPOKEN - first)) if script else len(some))
            for one in ordered(talk, wanted, threads=1 if script else 4):
                for name, values in one.items():
                    out[name] += values
    return out


def doctors(config: Config, clinic: Clinic | None) -> list[str]:
    """The chat models in the chair; the scripted mind needs tables."""
    models = [one for one in config.doctor if one.partition(":")[0] != "bayes"]
    models += [seats.CLAIMING] if config.data is None and seats.MINDS in models else []
    return [one for one in models if clinic is not None or not one.startswith(seats.MINDS)]


def before(config: Config, model: Any, folder: str | None = None, store: Any = None) -> seats.Seats:
    """All cases of the Config before one model; readers are a run's, or an earlier one's."""
    clinic, found, _ = place(config)
    seen = places.known(clinic, data.pocket(), earlier(config) or folder)
    return seats.Seats(
        config=config, method=method, rubric=OSCE["rater"], spec="", model=model, clinic=clinic, cases=found,
        seen=seen, store=store, turns=middle(config),
    )  # fmt: skip


def partner(spec: str, config: Config, folder: str | None = None, store: Any = None) -> ChatModel:
    """Of `study serve --partner N=clinical_dialogue:SPEC`: a doctor `[ARM:]MODEL`, or `patient[:MODEL]`."""
    who, _, model = spec.partition(":")
    if who != "patient":
        return seated.partner(spec, before(config, None, folder, store), store=store)
    clinic, found, _ = place(config)
    side = replace(config, patient=model or config.patient)
    return patient.patient(room(side, clinic, found, store=store), seed=config.seed)


def roles(config: Config, n: int, *, seed: int, plays: str = "patient") -> list[seated.Role]:
    """Who a person plays in a room: patients, for `study new RUN --form live`, or their doctors."""
    clinic, found, _ = place(config)
    return seated.roles(
        found, n, seed=seed, given=partial(patient.station, clinic=clinic) if plays == "doctor" else None
    )
