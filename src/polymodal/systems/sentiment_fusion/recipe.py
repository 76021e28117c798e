"""Generated worlds or a person's data: train, hold against controls, judge the claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polymodal.media import Invalid, Sample
from polymodal.metrics import Checked, Claim, Estimate, above, below, difference, every, exact, inside, mean
from polymodal.systems.sentiment_fusion import data, readers
from polymodal.systems.sentiment_fusion.method import network
from polymodal.training import Split, Table, fingerprint, folds, grouped, random_folds
from polymodal.training import study as work

if TYPE_CHECKING:
    from polymodal.nn import Joined
    from polymodal.runs import Run

FUSIONS = ("concat", "concat_linear", "weighted", "lowrank", "crossattention")
WORLDS: tuple[data.World, ...] = ("redundant", "synergy", "unique")
SERIES = dict.fromkeys(data.DIMS, ("series", "series"))
FLATTER = "redundant/area robust - plain"
LOST = (0.25, 0.5, 0.75, 1.0)  # chances of a missing part that become estimates
ABOUT = (
    "Four generated worlds whose right answers are known in closed form: every part shows the class "
    "(redundant), only two parts together do (synergy), each adds its own (unique), and none does but "
    "speakers have favourites (leak). Expected values are those of the best possible rule; each seed is "
    "another world with other speakers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be turned.

    Attributes:
        data: what to learn from, in any layout of `readers.LAYOUTS`; None generates the four worlds.
        columns: which columns of feature tables are no features, `label:NAME,group:NAME`.
        parts: the parts to use; () is all.
        text: how text is read: auto, ngrams, letters, a model's name or path, or tune:NAME to train it too.
        audio: auto, describe, logmel, or a model as for text.
        video: of pictures and video: auto, describe, pixels, patches, or a model as for text.
        fusion: the first is the model; the others are compared with it.
        dim: columns of every encoder and of the fusion.
        dropout: in encoders and fusion.
        absent: chance that training drops a part; 0 in the arms that say so.
        protocol: what is left out of train: auto, group, official, random, or a tag (speaker, session).
        steps: updates at most, and 60 epochs at most.
        batch: samples an update.
        lr: learning rate of AdamW.
        seeds: trainings of each arm.
        seed: the first of them, and of everything else drawn.
    """

    data: str | None = None
    columns: str = ""
    parts: tuple[str, ...] = ()
    text: str = "auto"
    audio: str = "auto"
    video: str = "auto"
    fusion: tuple[str, ...] = FUSIONS
    dim: int = 32
    dropout: float = 0.3
    absent: float = 0.3
    protocol: str = "auto"
    steps: int = 600
    batch: int = 64
    lr: float = 3e-3
    seeds: int = 3
    seed: int = 0


def tiny() -> Config:
    """Minutes on two cores."""
    return Config()


def full() -> Config:
    """The paper's setting, as far as it is published."""
    fusions = (*FUSIONS, "outer", "late")
    return Config(fusion=fusions, dim=128, absent=0.15, steps=100_000, batch=32, lr=1e-3, seeds=5)


def _for_less(estimates: Mapping[str, Estimate]) -> Checked:
    return every(
        above("redundant/concat - crossattention", -0.02),
        below("parameters, concat / crossattention", 0.6),
        above("latency at most .6, concat / crossattention", 0.5),
    )(estimates)


CLAIMS = (
    Claim("92 % accuracy on six IEMOCAP emotions", ".92", inside("IEMOCAP accuracy", 0.92)),
    Claim("leakage alone can make such a jump", "-", above("leak/random - grouped", 0.2)),
    Claim("simple concatenation is as good as attention, for less", "outperform or match", _for_less),
    Claim(
        "the dense layer captures cross-modal interaction", "-", above("synergy/concat - concat_linear", 0.3)
    ),
    Claim("all parts beat the best one", "-", above("all - best single part", 0.05)),
    Claim("dropout helps in small data", ".3", above("redundant/dropout .3 - 0", 0.0)),
    Claim("modality dropout flattens the curve of missing parts", "ours", above(FLATTER, 0.0)),
)


def run(config: Config, run: Run) -> dict[str, Estimate]:
    """Train, hold against controls, judge, record.

    Raises:
        FileNotFoundError: no data at the path.
        ValueError: data that cannot be used, or an audit error that was not accepted; the message says which.
    """
    import torch

    torch.set_num_threads(1)  # the same sums whatever the machine; cores are for jobs
    book = work.Book(seed=config.seed)
    patience = 8 if config.data else 4
    fitting = work.Fitting(config.dim, config.steps, config.batch, config.lr, patience)
    model, prints = (generated if config.data is None else given)(config, run, book, fitting)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)

    run.model(save)
    run.table("predictions.parquet", book.predictions)
    run.table("controls.csv", book.lines())
    run.section("legend", book.legend)
    for name, section in book.sections.items():
        run.section(name, section)
    run.finish(book.estimates, [(claim, *claim.judge(book.estimates)) for claim in CLAIMS], prints)
    return book.estimates


def given(config: Config, run: Run, book: work.Book, fitting: work.Fitting) -> tuple[Joined, dict[str, str]]:
    """A person's data; the model over all of it, and the data's fingerprint."""
    path = Path(str(config.data))
    samples, lost = work.usable(readers.read(path, config.columns, seed=config.seed), config.parts)
    asked = {"text": config.text, "audio": config.audio, "image": config.video, "video": config.video}
    ways = work.ways_of(samples, asked)
    plan = work.plan(list(ways), config.fusion, dropout=config.dropout, absent=config.absent)
    cohort = work.gathered(run, samples, ways, protocol=config.protocol, seed=config.seed)
    book.sections["about"] = {"text": f"{len(samples)} samples of {config.data}."}
    book.sections["invalid"] = [*lost, *cohort.table.invalid()]
    told = work.study(run, book, network, cohort, plan, fitting, seeds=config.seeds)
    if readers.detect(path, config.columns) == "iemocap" and config.protocol != "random":
        book.add("IEMOCAP accuracy", book.estimates[told.model], of=told.model)
    model = work.final(network, cohort.table, ways, cohort.last(), plan[0], fitting, seed=config.seed)
    return model, {"data": cohort.fingerprint()}


def arms_in(world: data.World, config: Config) -> list[work.Arm]:
    """What is trained in a generated world, the model first."""
    drop = config.dropout
    singles = [work.Arm(f"only:{part}", condition=f"only:{part}", dropout=drop) for part in data.DIMS]
    others = sorted({*config.fusion} - {"concat"})
    if world == "unique":
        return [work.Arm("concat_linear", "concat_linear", dropout=drop), *singles]
    if world == "synergy":
        others = ["concat_linear", "lowrank", *(["late"] if "late" in others else [])]
    probed = ("concat", "late") if world == "redundant" else ()
    plan = [work.Arm(name, name, dropout=drop, probed=name in probed) for name in ("concat", *others)]
    plan += singles
    if world == "redundant":
        plan += [work.Arm("robust", dropout=drop, absent=config.absent, probed=True)]
        plan += [work.Arm("no dropout", dropout=0.0)]
        plan += [work.Arm("shuffled targets", "concat", "shuffled targets", drop)]
    return plan


@cache
def world_of(name: data.World, number: int) -> tuple[list[Sample], Table, Split]:
    """The world of a seed, its table, and its 36, 12 and 50 speakers."""
    samples = data.world(name, seed=number)
    table = Table.read(samples, {part: work.reader(*way) for part, way in SERIES.items()})
    return samples, table, grouped(samples, (36, 12, 50), seed=number)


def world_job(name: data.World, arm: work.Arm, fitting: work.Fitting, number: int) -> dict[str, Any]:
    """Train one arm in one world: the world, the split and the weights all have this seed."""
    _, table, split = world_of(name, number)
    return work.judged(network, table, SERIES, split, arm, fitting, seed=number)


def baseline_job(name: data.World, number: int) -> dict[str, Any]:
    """The baselines' predictions in a world."""
    _, table, split = world_of(name, number)
    return work.baselines(table, SERIES, split, seed=number)


def leak_job(number: int) -> dict[str, Any]:
    """Forests on the leak world in folds that cut speakers and in folds that do not; hits in sample order."""
    from sklearn.ensemble import ExtraTreesClassifier

    samples, table, _ = world_of("leak", number)
    x = np.hstack([np.squeeze(column.values, 1) for column in table.columns.values() if column is not None])
    y = np.asarray(table.targets)
    hits = {}
    for name, cut in (("random", random_folds), ("grouped", folds)):
        hit = np.zeros(len(y))
        for split in cut(samples, 5, seed=number, val=0.0):
            train, test = list(split.train), list(split.test)
            forest = ExtraTreesClassifier(30, min_samples_leaf=2, random_state=number).fit(x[train], y[train])
            hit[test] = forest.predict(x[test]) == y[test]
        hits[name] = hit
    return hits


def audit_job(name: data.World, number: int) -> list[dict[str, Any]]:
    """What the audit says of a world, split as its arms are."""
    from polymodal.training.leaks import audit

    samples, _, split = world_of(name, number)
    found = audit(samples, split, seed=number)
    return [asdict(one) | {"where": f"{name} world, {one.where}"} for one in found]


JOBS: dict[str, Callable[..., Any]] = {
    "arm": world_job,
    "audit": audit_job,
    "baselines": baseline_job,
    "leak": leak_job,
    "print": lambda name, number: fingerprint(sample.digest() for sample in world_of(name, number)[0]),
}


def job(kind: str, *given: Any) -> Any:
    """Any of these jobs, so that all of them share the processes."""
    return JOBS[kind](*given)


def generated(
    config: Config, run: Run, book: work.Book, fitting: work.Fitting
) -> tuple[Joined, dict[str, str]]:
    """The four worlds; the robust model of the first redundant one, and the worlds' fingerprints."""
    seeds = range(config.seed, config.seed + config.seeds)
    plan = {world: arms_in(world, config) for world in WORLDS}
    pairs = [(w, s) for w in (*WORLDS, "leak") for s in seeds]
    jobs: dict[str, tuple[Any, ...]] = {
        f"{w}/{arm.name}/{s}": ("arm", w, arm, fitting, s) for w in WORLDS for arm in plan[w] for s in seeds
    }
    jobs |= {f"baselines/{s}": ("baselines", "redundant", s) for s in seeds}
    jobs |= {f"leak/{s}": ("leak", s) for s in seeds}
    jobs |= {f"audit/{w}": ("audit", w, config.seed) for w in ("leak", "redundant")}
    values = run.map(job, jobs | {f"print/{w}/{s}": ("print", w, s) for w, s in pairs})
    told = {}
    for w in WORLDS:
        cells = {arm.name: [[values[f"{w}/{arm.name}/{s}"] for s in seeds]] for arm in plan[w]}
        told[w] = work.said(cells)
        book.learned(cells, fitting.batch, world=f"{w}/")
        book.record(told[w], [arm.name for arm in plan[w]], world=w)
    redundant(book, told["redundant"], [values[f"baselines/{s}"] for s in seeds], config)
    for w in WORLDS[1:]:
        book.table(told[w], world=f"{w}/", expected=expected(w, told[w]))
    book.difference("synergy/concat - concat_linear", told["synergy"], "concat", "concat_linear")
    leaked(book, [values[f"leak/{s}"] for s in seeds])
    book.sections["findings"] = [one for w in ("leak", "redundant") for one in values[f"audit/{w}"]]
    cheaper(book, run, config, values)
    book.sections["about"] = {"text": ABOUT}
    _, table, split = world_of("redundant", config.seed)
    arm = next(arm for arm in plan["redundant"] if arm.name == "robust")
    model = work.final(network, table, SERIES, split, arm, fitting, seed=config.seed)
    return model, {f"{w}/{s}": values[f"print/{w}/{s}"] for w, s in pairs}


def expected(world: data.World, told: work.Said) -> dict[str, float]:
    """Closed forms by name of arm or control."""
    names = [name for name in told.outputs if "|" not in name]
    if world == "redundant":
        known = dict.fromkeys(names, data.bayes())
        known |= {f"only:{part}": data.bayes([part]) for part in data.DIMS}
        known |= {f"shuffle:{part}": data.shuffled(part) for part in data.DIMS}
        return known | dict.fromkeys(("shuffled targets", "majority"), 1 / data.CLASSES)
    bits: Literal["synergy", "unique"] = "synergy" if world == "synergy" else "unique"
    known = {name: data.two_bits(bits, 1 if name.startswith("only:") else 2) for name in names}
    if world == "unique":
        return known | {"only:video": 0.25}
    return known | {name: 0.5 for name in ("concat_linear", "late") if name in names}


def redundant(book: work.Book, told: work.Said, based: Sequence[Mapping[str, Any]], config: Config) -> None:
    """The redundant world's table, claims' differences, curves and calibration."""
    parts = list(data.DIMS)
    others = {name: np.concatenate([value[name] for value in based])[None] for name in based[0]}
    pairs = {
        f"drop:{part} (robust)": told.predictions("robust|keep:" + "+".join(o for o in parts if o != part))
        for part in parts
    }
    known = expected("redundant", told)
    known |= {f"drop:{part} (robust)": data.bayes([o for o in parts if o != part]) for part in parts}
    book.table(told, world="redundant/", expected=known, others=pairs | others)
    book.difference("all - best single part", told, "concat", "only:text")
    book.difference("redundant/dropout .3 - 0", told, "concat", "no dropout")
    for name in sorted({*config.fusion} - {"concat"}):
        book.difference(f"redundant/concat - {name}", told, "concat", name)
    grid = {p: data.missing(p) for p in sorted({*work.P, *LOST})}
    for arm in ("robust", "concat"):
        book.curve(told, arm, parts, expected=grid, keep=LOST, world="redundant/")
    lost = {p: data.missing(p, ["text"]) for p in LOST}
    book.curve(told, "robust", parts, part="text", expected=lost, keep=LOST, world="redundant/")
    book.area(FLATTER, told, "robust", "concat", parts)
    if "late" in told.outputs:
        book.effective("redundant/effective robustness against late fusion", told, "robust", "late", parts)
    book.calibration(told, "concat", world="redundant/")
    book.confusion(told, "concat")
    book.groups(told, "concat", {})


def leaked(book: work.Book, leaks: Sequence[Mapping[str, Any]]) -> None:
    """Random against grouped folds, paired by sample."""
    hits = {key: np.concatenate([value[key] for value in leaks]) for key in ("random", "grouped")}
    groups = np.repeat(np.arange(hits["random"].size // 40), 40)
    for key, known in zip(hits, data.leak(), strict=True):
        found = mean(hits[key], group=groups, seed=book.seed, better="higher")
        book.add(f"leak/forest, {key} folds", found, role="control", expected=known)
    gap = difference(None, hits["random"], hits["grouped"], group=groups, seed=book.seed)
    book.add("leak/random - grouped", gap, role="control", expected=data.leak()[0] - data.leak()[1])


def cheaper(book: work.Book, run: Run, config: Config, values: Mapping[str, Any]) -> None:
    """What concatenation costs beside cross-attention; seconds stay out of the result, so that it repeats."""
    if "crossattention" not in config.fusion:
        return
    concat, attention = (values[f"redundant/{name}/{config.seed}"] for name in ("concat", "crossattention"))
    for key, title in (("parameters", "parameters"), ("macs", "multiply-adds")):
        book.add(f"{title}, concat / crossattention", exact(concat[key] / attention[key], better="lower"))
    seconds = run.once("latency", lambda: measured(config))
    ratio = mean(np.divide(seconds["concat"], seconds["crossattention"]), better="lower")
    run.event("latency", seconds=seconds, ratio=asdict(ratio))
    quick = [float(end <= 0.6) for end in (ratio.high, ratio.mean, ratio.low)]
    name = "latency at most .6, concat / crossattention"
    book.add(name, replace(exact(quick[1], n=ratio.n, better="higher"), low=quick[0], high=quick[2]))


def measured(config: Config) -> dict[str, list[float]]:
    """Seconds of one sample through two untrained networks, encoders included."""
    _, table, split = world_of("redundant", config.seed)
    ready = work.prepared(table, split, SERIES)
    arms = [work.Arm(name, name) for name in ("concat", "crossattention")]
    made = {arm.name: network(ready, SERIES, arm, work.Fitting(config.dim), seed=0) for arm in arms}
    return work.latency(made, ready)


def predict(
    model: Path, samples: Iterable[Sample | Invalid], *, missing: Literal["ok", "refuse"] = "ok"
) -> Iterator[dict[str, Any]]:
    """Predict with a saved model, 256 samples at a time; a sample may lack any part, not all of them.

    See `training.study.answers` for the rows.

    Raises:
        ValueError: a part that the model does not know or of another width; under `missing="refuse"` a
            sample without one.
    """
    return work.answers(model, samples, missing=missing)
