"""Figures of judged talks: scores by item, families of paired differences, curves by turn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.chat import uniform
from polymodal.judge.calibration import calibrate
from polymodal.judge.labels import Labels
from polymodal.media import Sample
from polymodal.metrics import (
    Estimate,
    Metric,
    difference,
    effective_judges,
    error_correlation,
    estimate_alpha,
    holm,
    proportion,
)  # fmt: skip
from polymodal.metrics.estimate import normal_quantile


def survival(
    first: NDArray[Any], length: NDArray[Any], *, level: float = 0.95
) -> list[tuple[Estimate, Estimate]]:
    """Hazard, and share still without an event, by turn (Kaplan-Meier; Greenwood, log(-log) interval).

    Args:
        first: " n" turn of the first event, 0 where there is none.
        length: " n" turns of the conversation, where the eventless are censored.
        level: nominal coverage.
    """
    z, alive, spread, rows = normal_quantile(level), 1.0, 0.0, []
    for t in range(1, int(length.max(initial=0)) + 1):
        risk = int(((length >= t) & ((first == 0) | (first >= t))).sum())
        events = int((first == t).sum())
        if not risk:
            break
        alive *= 1 - events / risk
        spread += events / (risk * (risk - events)) if events < risk else 0.0
        reach = math.exp(z * math.sqrt(spread) / abs(math.log(alive))) if 0 < alive < 1 else 1.0
        ends = (alive**reach, alive ** (1 / reach))
        if alive in (0, 1):  # the formula has no interval at the ends: Wilson's of those at risk
            ends = (one := proportion(risk * int(alive), risk, level=level)).low, one.high
        left = Estimate(
            mean=alive, low=ends[0], high=ends[1], n=len(first), n_valid=risk, method="Greenwood", level=level
        )
        rows.append((proportion(events, risk, level=level, better="lower"), left))
    return rows


class Figures:
    """Estimates by name, what is expected of them, and tables and curves for the report.

    Attributes:
        labels: the verdicts.
        items: names of the items, in order.
        judges: their names, in the order of the labels; `first` is the first.
        groups: group of each item.
        estimates: by name.
        legend: role and expected value by name, for the report.
        tables: of the report.
        curves: of the report.
    """

    def __init__(self, labels: Labels, samples: Sequence[Sample], *, seed: int, draws: int = 2000) -> None:
        """Take the verdicts on these samples; seed and draws are those of bootstraps."""
        self.labels, self.seed, self.draws = labels, seed, draws
        self.items = [sample.id for sample in samples]
        self.groups = np.array([sample.group or sample.id for sample in samples], dtype=object)
        self.judges = list(dict.fromkeys(labels.column("judge")))
        self.first = self.judges[0]
        self.zeros = np.zeros(len(samples))
        self.estimates: dict[str, Estimate] = {}
        self.legend: dict[str, dict[str, Any]] = {}
        self.tables: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []

    def add(self, name: str, found: Estimate, expected: float | None = None, **about: Any) -> None:
        """Keep an estimate; `about` goes into the legend beside its role, `result` unless said."""
        self.estimates[name] = found
        known = {} if expected is None else {"expected": round(expected, 4)}
        self.legend[name] = {"role": "result", **about, **known}

    def values(self, score: str, **where: str) -> dict[str, NDArray[np.float64]]:
        """A score of every item, by subject; NaN where there is none."""
        place, part = {item: k for k, item in enumerate(self.items)}, self.labels.where(score=score, **where)
        rows = np.array([place[item] for item in part.column("item")], dtype=int)
        subject, value, found = part.column("subject"), part.values(), {}
        for name in part.names("subject"):
            found[name] = np.full(len(self.items), np.nan)
            found[name][rows[subject == name]] = value[subject == name]
        return found

    def table(self, title: str, note: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Keep a plain table."""
        self.tables.append(
            {"title": title, "note": note, "columns": list(columns), "rows": [list(row) for row in rows]}
        )

    def family(
        self,
        title: str,
        sides: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
        metric: Metric | None = None,
        expected: Mapping[str, float | None] = {},
    ) -> None:
        """Paired differences, p by Holm over all of them: estimates, and a table.

        Args:
            title: of the family.
            sides: by the difference's name, values " n" of both sides in the order of the items; pairs where
                one is NaN are left out.
            metric: what the values are a score of; None compares means.
            expected: by name, where it is known.
        """
        about: dict[str, Any] = {"group": self.groups, "seed": self.seed, "draws": self.draws}
        found = {name: difference(metric, a, b, self.zeros, **about) for name, (a, b) in sides.items()}
        adjusted = holm([float("nan") if one.p is None else one.p for one in found.values()])
        rows = []
        for (name, one), p in zip(found.items(), adjusted, strict=True):
            known = expected.get(name)
            role = {"role": "control", "negative": True} if known == 0 else {}  # no difference can be there
            self.add(name, replace(one, p=float(p) if math.isfinite(p) else None), known, **role)
            interval = f"{one.low:.3f} to {one.high:.3f}"
            rows.append([name, one.mean, interval, self.estimates[name].p, one.n_valid])
        note = "paired by item, whole groups resampled"
        self.table(title, note, ("difference", "mean", "interval", "p (Holm)", "pairs"), rows)

    def sampled(self, score: str, subjects: Sequence[str], n: int) -> Labels:
        """The first judge's labels of `n` talks with and `n` without a score, as if by a person."""
        columns = ("subject", "item", "variant")
        part = self.labels.where(score=score, judge=self.first, subject=list(subjects))
        units = list(zip(*(part.column(name) for name in columns), part.values(), strict=True))
        order = sorted(units, key=lambda unit: uniform("label", self.seed, *unit[:3]))
        kept = [unit for value in (1, 0) for unit in [one for one in order if one[3] == value][:n]]
        named, by = (*columns, "value"), {"judge": "person", "score": score}
        return Labels.from_rows(dict(zip(named, one, strict=True)) | by for one in kept)

    def corrected(
        self, judge: str, people: Labels, score: str, subjects: Sequence[str], variant: str
    ) -> dict[str, tuple[Estimate, Estimate]]:
        """A judge's rates as they are and corrected for its errors, by subject; with a table of the errors.

        A judge that tells nothing, or of whom too little is known, gets a table that says so, and no rates.
        """
        mine, label = self.labels.where(judge=judge), judge.partition("@")[0]
        try:
            correction = calibrate(mine, people, score=score, date="-")
        except ValueError as error:
            self.table(f"{label} is not corrected", str(error), ["judge"], [[judge]])
            return {}
        (tp, n1), (tn, n0) = correction.sensitivity, correction.specificity
        rows = [["1", tp, n1 - tp], ["0", n0 - tn, tn]]
        self.table(f"{label} against labels", f"{correction.n} talks", ["label", "says 1", "says 0"], rows)
        raw = mine.where(variant=variant).rates(score, better="lower")
        about: dict[str, Any] = {
            "better": "lower",
            "seed": self.seed,
            "draws": self.draws,
            "variant": variant,
        }
        return {
            name: (raw[name, variant].estimate, correction.apply(mine, subject=name, **about))
            for name in subjects
            if (name, variant) in raw
        }

    def agreement(self, score: str) -> None:
        """How far the judges agree on a score, and how many independent ones they are worth."""
        if len(self.judges) < 2:
            return
        rows = ("subject", "item", "variant")
        values = self.labels.pivot(score, rows=rows, columns="judge").values
        both = values[np.isfinite(values).all(axis=1)]
        if len(both) > 1 and len(np.unique(both)) > 1:
            self.add(
                f"judges/alpha, {score}", estimate_alpha(both, seed=self.seed, draws=200), role="control"
            )
            worth = effective_judges(len(self.judges), error_correlation(both.T))
            note = "effective number by the correlation of their verdicts, not of their errors"
            self.table(f"judges on {score}", note, ("judges", "effective"), [[len(self.judges), worth]])

    def by_turn(
        self,
        title: str,
        first: Mapping[str, NDArray[Any]],
        length: NDArray[Any],
        expected: Mapping[str, Sequence[float]] = {},
    ) -> None:
        """Curves of the hazard of a first event, and of the share still without one.

        Args:
            title: names the event.
            first: by subject, turn of the event, 0 where none, NaN where unknown.
            length: " n" turns of each talk.
            expected: by subject, the true hazard at each turn.
        """
        rows: dict[str, list[dict[str, Any]]] = {"hazard": [], "share without": []}
        for name, when in first.items():
            known, left = np.isfinite(when), 1.0
            for t, (hazard, alive) in enumerate(survival(when[known], length[known]), 1):
                truth = expected[name][t - 1] if name in expected else None
                left *= 1 - (truth or 0.0)
                point = {"arm": name, "x": t}
                rows["hazard"].append({**point, "estimate": hazard.to_json(), "expected": truth})
                whole = None if truth is None else left
                rows["share without"].append({**point, "estimate": alive.to_json(), "expected": whole})
        self.curves += [
            {"title": f"{kind}, {title}", "x": "turn", "y": "", "rows": rows[kind]} for kind in rows
        ]
