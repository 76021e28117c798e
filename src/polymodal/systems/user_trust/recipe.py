"""Ask a model and put its advice before simulated people, or read what real people did."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import ndtr

from polymodal import metrics as m
from polymodal.chat import Usage, connect, ordered
from polymodal.judge.power import needed, simulated, two_rates
from polymodal.media import Invalid, Sample, Text
from polymodal.media.folder import read as read_folder
from polymodal.metrics import Claim, Estimate, above, every, exact
from polymodal.metrics import people as p
from polymodal.metrics.people import tables
from polymodal.metrics.reliance import COLUMNS
from polymodal.systems.user_trust import data, method, worlds

if TYPE_CHECKING:
    from polymodal.runs import Run

DISPLAYS = ("none", "confidence", "explanation", "card")
KEPT = ("rair", "rsr", "d'", "criterion", "final accuracy")
# baselines and controls, simulated whatever displays are asked for, in the mode `advise`
OTHERS = ("global", "never", "confidence", "card", "bot", "blind")
CONTROLS = ("attitude", "null study: person", "straight", "coding")
EXPECTED = {
    "learning: up": data.UP, "learning: down": data.DOWN, "learning: down - up": data.DOWN - data.UP,
    "learning: stationary": 4 / 7, "learning: half-life": 6.5788, "attitude: d'": 0.0, "coding: all": 0.36,
    "attitude: trust and relying": 0.0, "attitude: trust and propensity": 0.4, "scale of 12: alpha": 0.8372,
    "null study: pooled z rejects": 0.56, "null study: person-level rejects": 0.05, "scale of 3: alpha": 0.75,
    "straight lines: flagged": 1.0,
}  # fmt: skip
LABEL = "Every person in this run is simulated, a program with planted rules: no row is human."
CHUNKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        target: the adviser, any chat model; `scripted:advisor?colour=.95&...` has planted rates.
        data: a folder of samples, or a table of trials, ratings or codings, or a study's export; None makes
            the pocket items.
        columns: foreign names of a table's columns, `relied:COL,advice_correct:COL`.
        mode: how person and agent work together.
        displays: what stands beside the advice; the first is what the others are compared with.
        capabilities: those to use; () is all.
        people: simulated, a display.
        trials: of each.
        instruments: a JSON file of scale keys beside the built-in ones (`instruments.json` has their form).
        taxonomy: a JSON file in place of `taxonomy.json`.
        study: writes study.json, for real people, beside the result.
        draws: of each bootstrap.
        duplicates: `first` keeps the first of doubled rows; `refuse` stops.
        compat: `jian_sum` adds the one-sum score of the Jian scale, `elo_k4` nothing but pairs of answers.
        seed: of everything drawn.
    """

    target: str = "scripted:advisor"
    data: str | None = None
    columns: str = ""
    mode: method.Mode = "advise"
    displays: tuple[str, ...] = DISPLAYS
    capabilities: tuple[str, ...] = ()
    people: int = 100
    trials: int = 60
    instruments: str | None = None
    taxonomy: str | None = None
    study: bool = False
    draws: int = 1000
    duplicates: Literal["refuse", "first"] = "refuse"
    compat: Literal["none", "jian_sum", "elo_k4"] = "none"
    seed: int = 0


def tiny() -> Config:
    """Half a minute on two cores, offline."""
    return Config()


def full() -> Config:
    """The setting of a real study: every display, more draws, and a study file for people."""
    return Config(displays=(*DISPLAYS, "abstain", "highlight", "history"), draws=10_000, study=True)


CLAIMS = (
    Claim(
        "explanations move reliance, not discrimination",
        "RAIR 29.6 to 38.9 % (p .05), RSR 71.9 to 69.5 % (p .54), Schemmer 2023",
        every(
            above("explanation - none: rair", 0),
            above("explanation - none: d'", -0.3),
            m.below("explanation - none: d'", 0.3),
        ),
    ),
    Claim("calibrated confidence raises discrimination", "-", above("confidence - none: d'", 0)),
    Claim(
        "cues by capability beat a global score",
        "-",
        every(above("card - global: final accuracy", 0), m.inside("equal rates: card - global", 0)),
    ),
    Claim("trust falls faster than it grows", "-", above("learning: down - up", 0)),
    Claim(
        "stated trust is not reliance",
        "-",
        every(m.below("attitude: trust and relying", 0.5), above("attitude: trust and propensity", 0)),
    ),
    Claim("a model cannot stand in for users", "ours", m.below("bots - people: d'", 0)),
    Claim("the taxonomy can be coded", "ours", m.inside("coding: all", 0.36)),
)


class Report:
    """Estimates with their legend, and the report's sections."""

    def __init__(self) -> None:
        self.estimates: dict[str, Estimate] = {}
        self.legend: dict[str, dict[str, Any]] = {}
        self.sections: dict[str, Any] = {"tables": [], "curves": [], "notes": [], "invalid": []}

    def add(self, name: str, found: Estimate, role: str = "result", **more: Any) -> None:
        """An estimate with its role, closed form and place."""
        self.estimates[name] = found
        self.legend[name] = {"role": role, **{key: x for key, x in more.items() if x is not None}}

    def table(self, title: str, rows: Mapping[str, Estimate], note: str = "") -> None:
        """Estimates as a plain table."""
        cells = [[name, one.mean, one.low, one.high, one.n_valid, one.reason] for name, one in rows.items()]
        columns = ["", "mean", "low", "high", "n", "reason"]
        self.sections["tables"].append({"title": title, "note": note, "columns": columns, "rows": cells})


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Ask, put before people, measure, judge, record.

    Raises:
        FileNotFoundError: no data at the path.
        ValueError: a table that cannot be used; the message says what is needed.
    """
    book, path = Report(), Path(config.data or ".")
    table = config.data is not None and (not path.is_dir() or bool(tables.tables_in(path)))
    prints = (given if table else asked)(config, run, book)
    for name, section in book.sections.items():
        run.section(name, section)
    shown = "card: final accuracy" if "card: final accuracy" in book.legend else next(iter(book.legend))
    book.legend[shown]["headline"] = True
    run.section("legend", book.legend)
    run.finish(book.estimates, [(claim, *claim.judge(book.estimates)) for claim in CLAIMS], prints)
    return book.estimates


@cache
def items_of(path: str | None, capabilities: tuple[str, ...], *, seed: int) -> list[Sample]:
    """The items: generated, or a person's samples."""
    made = data.items(seed=seed) if path is None else read_folder(Path(path))
    known = [sample for sample in made if not isinstance(sample, Invalid)]
    return [s for s in known if not capabilities or s.tags.get("capability", "all") in capabilities]


def ask_job(config: Config, chunk: int, folder: str) -> dict[str, Any]:
    """What the target says on every `CHUNKS`-th item, and the cost; replies are kept in the run's folder."""
    from polymodal.runs import Cache

    samples = items_of(config.data, config.capabilities, seed=config.seed)
    with Cache(Path(folder) / "calls.sqlite") as store:
        model = connect(config.target, scripts=data.scripts(samples), store=store)

        def one(sample: Sample) -> tuple[dict[str, Any], Usage]:
            media = [part for part in sample.parts.values() if not isinstance(part, Text)]
            question = data.words(sample, "question")
            return method.advice(model, question, data.options(sample), media, seed=config.seed)

        told = list(ordered(one, samples[chunk::CHUNKS], threads=8))
    cost = sum((usage for _, usage in told), Usage())
    calls, tokens = cost.calls + cost.cached, cost.tokens_in + cost.tokens_out
    return {"rows": [row for row, _ in told], "calls": calls, "tokens": tokens}


def job(kind: str, number: int, *given: Any) -> Any:
    """Any of the jobs, so that all of them share the processes."""
    if kind == "ask":
        return ask_job(*given)
    return worlds.trials(*given, seed=number) if kind == "people" else worlds.world(*given, seed=number)


def asked(config: Config, run: Run, book: Report) -> dict[str, str]:
    """Ask the target, put its advice before simulated people, and measure worlds with known answers."""
    samples = items_of(config.data, config.capabilities, seed=config.seed)
    folder, told = str(run.folder), (config.taxonomy, config.draws)
    jobs: dict[str, Any] = {f"world/{name}": ("world", config.seed, name, *told) for name in worlds.WORLDS}
    values = run.map(job, jobs | {f"ask/{k}": ("ask", 0, config, k, folder) for k in range(CHUNKS)})
    items: list[dict[str, Any]] = [{} for _ in samples]
    for k in range(CHUNKS):
        items[k::CHUNKS] = values[f"ask/{k}"]["rows"]
    for item, s in zip(items, samples, strict=True):
        item |= {"truth": s.target, "capability": str(s.tags.get("capability", "all")), "sample": s}
    cost = {name: sum(values[f"ask/{k}"][name] for k in range(CHUNKS)) for name in ("calls", "tokens")}
    book.sections["cost"] = [{"name": f"target: {config.target}", **cost}]
    lost = Counter(str(item["reason"]) for item in items if item["reason"])
    book.sections["invalid"] = [{"reason": f"target: {why}", "n": n, "first": ""} for why, n in lost.items()]
    pool = [item for item in items if not item["reason"] and item["answer"] is not None]
    if not pool:
        raise ValueError(f"{config.target} gave no valid advice on {len(items)} items: {dict(lost)}")
    rates = measured(config, run, book, pool)
    for name, value in (pair for world in worlds.WORLDS for pair in values[f"world/{world}"].items()):
        kind = "control" if name.startswith(CONTROLS) else "baseline" if "pooled" in name else "result"
        book.add(name, Estimate.from_json(value), kind, expected=EXPECTED.get(name), page=name in EXPECTED)
    cards = p.card(items)
    for name, found in ((f"card, {c}: {x}", one) for c, card in cards.items() for x, one in card.items()):
        book.add(name, found, page=name.startswith("card, all"))
    power(book, config)
    text = f"{len(samples)} items, {config.people} people a display."
    book.sections["about"] = {"text": text, "warning": LABEL}
    pairs = [(item, display) for display in config.displays for item in pool]
    units = [method.unit(item, display, config.mode, rates, run.media) for item, display in pairs]
    book.sections["conversations"] = [method.conversation(one) for one in units[:: max(1, len(units) // 8)]]
    if config.study:
        from polymodal.runs.atomic import write_json

        made = {**method.shipped("study.json"), "units": units, "seed": config.seed}
        write_json(run.folder / "study.json", made)
    return {"items": hashlib.sha256("".join(s.digest() for s in samples).encode()).hexdigest()[:32]}


def measured(config: Config, run: Run, book: Report, pool: list[dict[str, Any]]) -> dict[str, float]:
    """Advice before simulated people, measured; accuracies by capability."""
    kinds: dict[str, list[tuple[int, float, str]]] = {}
    for x in pool:
        one = data.code(x["sample"], x["answer"]), float(x["confidence"]), x["sample"].id
        kinds.setdefault(x["capability"], []).append(one)
    even = {c: [(int(4 * k >= 3 * len(x)), *x[k][1:]) for k in range(len(x))] for c, x in kinds.items()}
    arms = list(dict.fromkeys([*config.displays, *OTHERS]))
    group = {
        arm: 1000 * arms.index("card" if arm in ("global", "never") else arm) + config.seed for arm in arms
    }
    size = (config.people, config.trials)
    work: dict[str, Any] = {
        f"people/{arm}": ("people", group[arm], arm, config.mode, *size, kinds) for arm in config.displays
    }
    work |= {f"control/{arm}": ("people", group[arm], arm, "advise", *size, kinds) for arm in OTHERS}
    work |= {f"control/even {arm}": ("people", 99, arm, "advise", *size, even) for arm in ("card", "global")}
    rows = {name: tables.typed(one) for name, one in run.map(job, work).items()}
    asked = [rows[f"people/{arm}"] for arm in config.displays]
    whole = {name: np.concatenate([one[name] for one in asked]) for name in asked[0]}
    run.table("trials.parquet", {name: column.tolist() for name, column in whole.items()})
    rates = {c: float(np.mean([code == 0 for code, _, _ in some])) for c, some in kinds.items()}
    planted = config.mode == "advise" and config.data is None and rates.keys() == data.RATES.keys()
    studied(book, whole, config, {arm: data.expected(arm, rates) for arm in config.displays if planted})
    controls(book, {name[8:]: p.trials(one) for name, one in rows.items() if name[0] == "c"}, config)
    return rates


def studied(book: Report, rows: Any, config: Config, known: Mapping[str, Mapping[str, float]]) -> None:
    """Reliance, trust and learning by condition, and every condition against the first."""
    parts = p.conditions(rows)
    counts = {arm: p.trials(some) for arm, some in parts.items()}
    lost = [arm for arm, one in counts.items() if not len(one.counts)]
    book.sections["notes"] += [f"{arm}: no trial has advice and all of its answers." for arm in lost]
    counts = {arm: one for arm, one in counts.items() if arm not in lost}
    if not counts:
        raise ValueError("no trial has advice and all of its answers")
    for arm in counts:
        some = parts[arm]
        found = m.reliance(counts[arm], seed=config.seed, draws=config.draws)
        for stat in KEPT:
            planted = known.get(arm, {}).get(stat)
            book.add(f"{arm}: {stat}", found[stat], expected=planted, page=stat != "criterion")
        book.table(f"Reliance, {arm}", found)
        book.sections["notes"].append(f"{arm}: " + p.discriminates(found["d'"]) + ".")
        trust = p.stated(some, seed=config.seed, draws=config.draws)
        if trust:
            book.table(f"Trust, {arm}", trust, "Stated trust 1-7 taken as 0-1.")
    first, *others = counts
    for arm in others:
        gap = m.reliance_difference(counts[arm], counts[first], seed=config.seed, draws=config.draws)
        for stat in ("rair", "rsr", "d'", "final accuracy"):
            book.add(f"{arm} - {first}: {stat}", gap[stat], page=stat == "d'")


def controls(book: Report, parts: Mapping[str, m.Trials], config: Config) -> None:
    """Baselines, controls and the pairs that claims ask for."""

    def gap(a: str, b: str) -> dict[str, Estimate]:
        return m.reliance_difference(parts[a], parts[b], seed=config.seed, draws=config.draws)

    one, column = parts["confidence"], COLUMNS.index
    apart = one.counts[:, column("apart")] == 1
    right = np.random.default_rng(config.seed).permutation(one.counts[apart, column("advice_right")])
    mixed = m.delegated(right, one.counts[apart, column("switched")], rater=one.rater[apart])
    for name, some in (("blind", parts["blind"]), ("shuffled advice", mixed)):
        found = m.reliance(some, seed=config.seed, draws=config.draws)["d'"]
        book.add(f"{name}: d'", found, "control", expected=0.0, page=True)
    for arm in ("global", "never"):
        found = m.reliance(parts[arm], seed=config.seed, draws=config.draws)["final accuracy"]
        book.add(f"{arm}: final accuracy", found, "baseline", page=True)
    stat = "final accuracy"
    book.add(f"card - global: {stat}", gap("card", "global")[stat], page=True)
    equal = gap("even card", "even global")[stat]
    book.add("equal rates: card - global", equal, "control", expected=0.0, page=True, negative=True)
    book.add("bots - people: d'", gap("bot", "confidence")["d'"], page=True)


def power(book: Report, config: Config) -> None:
    """How many discordant trials a study needs, in closed form and simulated."""
    least, rows = needed(0.296, 0.389), []
    for n in (100, 200, 300, least, 600):
        found = simulated(two_rates(0.296, 0.389, n), runs=400, seed=config.seed)
        z = (0.389 - 0.296) / math.sqrt((0.296 * 0.704 + 0.389 * 0.611) / n) - 1.959964
        rows.append({"arm": "simulated", "x": n, "estimate": found.to_json(), "expected": float(ndtr(z))})
    book.add("discordant trials an arm, .296 against .389", exact(least), expected=405)
    sizes = [(icc, exact(needed(0.296, 0.389, size=16, icc=icc))) for icc in (0.0, 0.05, 0.1, 0.2, 0.3)]
    more = [{"arm": "16 trials a person", "x": icc, "estimate": one.to_json()} for icc, one in sizes]
    book.sections["curves"] += [
        {
            "title": "Power to see .296 against .389",
            "x": "discordant trials an arm",
            "y": "power",
            "rows": rows,
        },
        {"title": "Trials an arm for power .8", "x": "intraclass correlation", "y": "trials", "rows": more},
    ]


def given(config: Config, run: Run, book: Report) -> dict[str, str]:
    """A person's table: trials, ratings, codings or pairs."""
    path, seed, draws = Path(str(config.data)), config.seed, config.draws
    kind, rows, notes = tables.read(path, config.columns, config.duplicates)
    book.sections["notes"] += notes
    n, source = len(next(iter(rows.values()))), rows.get("source", np.zeros(0))
    robots = f"{int(np.sum(source == 'simulated'))} rows are of simulated raters, not human."
    about = {"text": f"{n} rows of {path.name}, read as {kind}."}
    book.sections["about"] = {**about, "warning": robots} if (source == "simulated").any() else about
    found: dict[str, Estimate] = {}
    if kind == "trials":
        studied(book, rows, config, {})
    elif kind == "coded":
        found = p.coding(p.codings(rows, method.leaves(config.taxonomy)), seed=seed, draws=draws)
    elif kind == "pairs":
        sides = rows["first"], rows["second"], rows["outcome"]
        groups = rows.get("item"), rows.get("rater")
        fitted = m.bradley_terry(*sides, item=groups[0], rater=groups[1], seed=seed, draws=draws)
        found = {f"{name}, Elo scale": one for name, one in fitted.elo().items()}
        if config.compat == "elo_k4":
            ratings = {name: exact(x) for name, x in m.elo_k4(*sides).items()}
            book.table("Elo, K 4, in the order of the rows", ratings)
    else:
        found = p.rated(rows, method.instruments(config.instruments), seed=seed, draws=draws)
        if config.compat != "jian_sum":
            found = {name: one for name, one in found.items() if name != "jian: composite"}
    for name, one in found.items():
        book.add(f"coding: {name}" if kind == "coded" else name, one)
    told = repr([(name, column.tolist()) for name, column in sorted(rows.items())])
    return {"data": hashlib.sha256(told.encode()).hexdigest()[:32]}
