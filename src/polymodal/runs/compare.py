"""Two runs of the same samples: paired differences, never two averages side by side."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal import metrics
from polymodal.metrics import Estimate, Metric, difference, holm, mcnemar
from polymodal.runs.result import RunError, read_result

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Compared:
    """One arm in both runs.

    Attributes:
        name: `world/arm`, or the arm alone where there is one world.
        first: the first run's score on the paired samples.
        second: the second run's.
        difference: second minus first, paired by sample, clustered by group.
        p: its p-value, adjusted for the number of arms (Holm).
        only_first: samples that McNemar's test sees right in the first run only; None for scores.
        only_second: right in the second run only.
        mcnemar: that test's p-value, which ignores groups.
        unpaired: rows of either run without a partner.
    """

    name: str
    first: float
    second: float
    difference: Estimate
    p: float | None
    only_first: int | None
    only_second: int | None
    mcnemar: float | None
    unpaired: int


@dataclass(frozen=True)
class Comparison:
    """All arms that both runs have, and what a reader must know before believing them."""

    metric: str
    rows: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(a: Path, b: Path, metric: str = "", *, seed: int = 0, draws: int = 2000) -> Comparison:
    """Compare two finished runs on the samples that both predicted.

    Rows of `predictions.parquet` are paired by (world, arm, seed, fold, id); several seeds of a sample are
    scored seed by seed and averaged, and whole groups are resampled.

    Args:
        a: the first run's folder.
        b: the second's; differences are second minus first.
        metric: a name such as `accuracy`, `macro_f1`, `mae`, `pearson`; default accuracy for classes and
            MAE for scores.
        seed: of the resampling.
        draws: of the resampling.

    Raises:
        RunError: a run is not finished, has no predictions, or nothing can be paired.
        ValueError: an unknown metric, or one that does not fit the targets.
    """
    first, second = _arms(Path(a)), _arms(Path(b))
    shared = [name for name in first if name in second]
    notes = _differing(Path(a), Path(b))
    for run, names, other in ((a, first, second), (b, second, first)):
        if alone := [_named(name) for name in names if name not in other]:
            notes.append(f"only in {run}: {', '.join(alone)}")
    pairs = {name: _Pairs(first[name], second[name]) for name in shared}
    for name, pair in pairs.items():
        notes += [f"{_named(name)}: {note}" for note in pair.notes]
    pairs = {name: pair for name, pair in pairs.items() if pair.units}
    if not pairs:
        raise RunError(f"{a} and {b} have no sample in common in any arm")
    worlds = {world for world, _ in pairs}
    chosen = _metric(metric, next(iter(pairs.values())).target)
    rows = [
        _compared(_named(name) if len(worlds) > 1 else name[1], pair, chosen, seed=seed, draws=draws)
        for name, pair in pairs.items()
    ]
    adjusted = holm([np.nan if row.difference.p is None else row.difference.p for row in rows])
    rows = [replace(row, p=None if np.isnan(p) else float(p)) for row, p in zip(rows, adjusted, strict=True)]
    return Comparison(chosen.name, tuple(rows), tuple(notes))


def _named(name: tuple[str, str]) -> str:
    return "/".join(part for part in name if part)


def _arms(folder: Path) -> dict[tuple[str, str], Rows]:
    """A run's predictions by (world, arm), in the order of the file."""
    import pyarrow.parquet as pq

    path = folder / "predictions.parquet"
    if not path.exists():
        read_result(folder)  # says so where the folder is no run, or not finished
        raise RunError(f"{folder} has no predictions.parquet, so its samples cannot be paired")
    arms: dict[tuple[str, str], Rows] = {}
    for row in pq.read_table(path).to_pylist():
        arms.setdefault((str(row.get("world") or ""), str(row.get("arm") or "")), []).append(row)
    return arms


def _differing(a: Path, b: Path) -> list[str]:
    """Differences in data and configuration; other data is said first and loudly."""
    one, two = read_result(a), read_result(b)
    notes = []
    fingerprints = _changes(one.fingerprints, two.fingerprints)
    if fingerprints:
        notes.append(f"DIFFERENT DATA: fingerprints differ for {'; '.join(fingerprints)}")
    if one.system != two.system:
        notes.append(f"different systems: {one.system} and {two.system}")
    if config := _changes(one.config, two.config):
        notes.append(f"configuration: {'; '.join(config)}")
    if versions := _changes(one.versions, two.versions):
        notes.append(f"versions: {'; '.join(versions)}")
    return notes


def _changes(one: Mapping[str, Any], two: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
    return [f"{name} {one.get(name, 'none')} -> {two.get(name, 'none')}" for name in names]


class _Pairs:
    """One arm's samples that both runs predicted under every seed; predictions are (seed, sample)."""

    def __init__(self, first: Rows, second: Rows) -> None:
        folded = _repeats(first) or _repeats(second)
        a, b = _keyed(first, folded), _keyed(second, folded)
        both = [key for key in a if key in b]
        other = [key for key in both if a[key]["target"] != b[key]["target"]]
        seeds = list(dict.fromkeys(seed for seed, _ in both))
        held = set(both) - set(other)
        units = dict.fromkeys(unit for _, unit in both)
        self.units = [unit for unit in units if all((seed, unit) in held for seed in seeds)]
        changed = {unit for _, unit in other}
        seedless = len(units) - len(self.units) - len(changed)
        self.unpaired = len(a) + len(b) - 2 * len(both)
        self.notes = []
        if self.unpaired:
            alone = f"{len(a) - len(both)} rows only in the first run, {len(b) - len(both)} in the second"
            self.notes.append(alone)
        if changed:
            self.notes.append(f"DIFFERENT DATA: targets differ, samples left out: {len(changed)}")
        if seedless:
            self.notes.append(f"some seed is lacking, samples left out: {seedless}")
        rows = [a[seeds[0], unit] for unit in self.units]
        self.target = np.array([row["target"] for row in rows])
        groups = [row.get("group") for row in rows]
        self.group = None if any(group is None for group in groups) else groups
        self.a = _stacked([[a[seed, unit]["prediction"] for unit in self.units] for seed in seeds])
        self.b = _stacked([[b[seed, unit]["prediction"] for unit in self.units] for seed in seeds])


def _repeats(rows: Rows) -> bool:
    """Whether some sample comes several times under one seed, so that only the fold tells them apart."""
    return len({(row.get("seed"), row["id"]) for row in rows}) < len(rows)


def _keyed(rows: Rows, folded: bool) -> dict[tuple[Any, Any], dict[str, Any]]:
    keyed = {(row.get("seed"), (row.get("fold") if folded else None, row["id"])): row for row in rows}
    if len(keyed) < len(rows):
        raise RunError("predictions.parquet repeats a sample within one world, arm, seed and fold")
    return keyed


def _stacked(runs: list[list[Any]]) -> NDArray[Any]:
    """Predictions as (seed, sample), or (sample,) for one seed; None where there was no valid answer."""
    stacked = np.array(runs, dtype=object)
    if all(isinstance(value, float | int) or value is None for run in runs for value in run):
        stacked = stacked.astype(np.float64)
    return stacked[0] if len(runs) == 1 else stacked


def _metric(name: str, target: NDArray[Any]) -> Metric:
    """Find a metric by name and see that it fits the targets."""
    task = "scores" if target.dtype.kind == "f" else "classes"
    name = name or {"scores": "mae", "classes": "accuracy"}[task]
    known = {_plainly(one.name): one for one in vars(metrics).values() if isinstance(one, Metric)}
    known = {key: one for key, one in known.items() if one.task == task}
    if _plainly(name) not in known:
        values = ", ".join(str(value) for value in target[:5])
        raise ValueError(
            f"no metric {name!r} for targets such as {values}; known: {', '.join(sorted(known))}"
        )
    return known[_plainly(name)]


def _plainly(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")


def _compared(name: str, pair: _Pairs, metric: Metric, *, seed: int, draws: int) -> Compared:
    change = difference(metric, pair.b, pair.a, pair.target, group=pair.group, seed=seed, draws=draws)
    only_first = only_second = p = None
    if metric.task == "classes":
        right_a, right_b = _mostly_right(pair.a, pair.target), _mostly_right(pair.b, pair.target)
        only_first, only_second = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        p = mcnemar(only_first, only_second)
    first, second = _score(metric, pair, pair.a), _score(metric, pair, pair.b)
    return Compared(name, first, second, change, None, only_first, only_second, p, pair.unpaired)


def _mostly_right(prediction: NDArray[Any], target: NDArray[Any]) -> NDArray[np.bool_]:
    """Which samples are right under more than half of the seeds."""
    share: NDArray[np.float64] = (np.atleast_2d(prediction) == target).mean(axis=0, dtype=np.float64)
    return share > 0.5


def _score(metric: Metric, pair: _Pairs, side: NDArray[Any]) -> float:
    """The mean over seeds on the samples that both sides answered validly."""
    valid = np.ones(len(pair.target), dtype=bool)
    for run in (*np.atleast_2d(pair.a), *np.atleast_2d(pair.b)):
        valid &= np.array([value is not None and value == value for value in run], dtype=bool)
    if not valid.any():
        return float("nan")
    runs: Iterable[NDArray[Any]] = np.atleast_2d(side)[:, valid]
    return float(np.mean([metric.score(pair.target[valid], np.array(run.tolist())) for run in runs]))
