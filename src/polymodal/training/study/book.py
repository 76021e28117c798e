"""A study's account: estimates with their legend, and the sections of its report."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.metrics import (
    ACC5,
    ACC7,
    BALANCED_ACCURACY,
    HAS0,
    MACRO_F1,
    NON0,
    PEARSON,
    WEIGHTED_F1,
    Estimate,
    confusion,
    difference,
    estimate,
    exact,
    mean,
    over_seeds,
)
from polymodal.metrics.calibration import BRIER, ECE, NLL, reliability
from polymodal.metrics.robustness import areas, effective
from polymodal.training.controls import tabulate
from polymodal.training.study.said import Said
from polymodal.training.study.trial import survival

if TYPE_CHECKING:
    from numpy.typing import NDArray

P = tuple(i / 10 for i in range(11))  # the house grid of missing-part curves
CONTROLS = ("only:", "drop:", "shuffle:", "noise:", "missing:", "shuffled", "random folds")
BASELINES = ("majority", "prior", "logistic", "forest", "char n-grams", "best single part")


class Book:
    """What a run has found so far.

    Attributes:
        estimates: by name, `WORLD/NAME` or `NAME`.
        legend: role, expected value and the like of the estimates.
        sections: of the report.
        predictions: columns of predictions.parquet.
        seed: of all bootstraps.
    """

    def __init__(self, *, seed: int) -> None:
        self.estimates: dict[str, Estimate] = {}
        self.legend: dict[str, dict[str, Any]] = {}
        self.sections: dict[str, Any] = {}
        self.predictions: dict[str, list[Any]] = {}
        self.seed = seed

    def add(self, name: str, found: Estimate, **about: Any) -> None:
        """An estimate and what to say of it: `role`, `expected`, `of`, `label`."""
        tail = name.rpartition("/")[2]
        role = "baseline" if tail.startswith(BASELINES) else "result"
        role = "control" if tail.startswith(CONTROLS) else role
        self.estimates[name] = found
        self.legend[name] = {"role": role} | about

    def row(self, section: str, **fields: Any) -> None:
        """One more row of a section."""
        self.sections.setdefault(section, []).append(fields)

    def table(
        self,
        said: Said,
        *,
        world: str = "",
        expected: Mapping[str, float] | None = None,
        others: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Every arm, the model's controls and `others` (predictions "s n"), each against the model."""
        full = said.model
        shown = {name: said.predictions(name) for name in said.outputs if "|" not in name}
        for name in said.outputs:
            arm, _, control = name.partition("|")
            if arm == full and control.startswith(("shuffle:", "noise:")):
                shown[control] = said.predictions(name)
        table = tabulate(
            shown | dict(others or {}),
            said.target,
            said.groups,
            metric=said.metric,
            full=full,
            seed=self.seed,
        )
        for row in table:
            known = (expected or {}).get(row.name)
            about = {} if known is None else {"expected": known}
            self.add(world + row.name, row.estimate, **about)
            if row.difference is not None:
                self.row("controls", **row.to_json() | {"name": world + row.name})

    def lines(self) -> list[dict[str, Any]]:
        """The control table, a row a line of controls.csv."""
        lines = []
        for row in self.sections.get("controls", []):
            gap = {f"difference {key}": row["difference"][key] for key in ("mean", "low", "high", "p")}
            score = {key: row["estimate"][key] for key in ("mean", "low", "high", "n", "n_groups")}
            lines.append({"name": row["name"], **score, **gap})
        return lines

    def difference(self, name: str, said: Said, a: str, b: str) -> None:
        """Score of arm a minus score of arm b, paired by sample."""
        found = difference(
            said.metric,
            said.predictions(a),
            said.predictions(b),
            said.target,
            group=said.groups,
            seed=self.seed,
        )
        self.add(name, found, of=b)

    def curve(
        self,
        said: Said,
        arm: str,
        names: Sequence[str],
        *,
        part: str = "",
        keep: Collection[float] = (0.5,),
        expected: Mapping[float, float] | None = None,
        world: str = "",
    ) -> None:
        """The price of missing parts: the score with each part (or one) missing with probability p.

        Args:
            said: what the arm said with every set of parts.
            arm: which.
            names: all parts.
            part: the only one that goes missing; "" for all.
            keep: probabilities that also become estimates.
            expected: the curve as it should be, and its p; the house grid when None.
            world: in front of the names.
        """
        for p in P if expected is None else expected:
            values = survival(self.kept(said, arm), names, p, part)
            found = over_seeds(values, group=said.groups, seed=self.seed, better=said.metric.better)
            known = (expected or {}).get(p)
            about = {} if known is None else {"expected": known}
            shown = f"{arm}, {part} missing" if part else arm
            self.row("missing", arm=world + shown, p=p, estimate=found.to_json(), **about)
            if p in keep:
                tail = f"missing:{part}:{p:g}" if part else f"missing:{p:g}"
                self.add(f"{world}{tail} ({arm})", found, **about)

    def area(self, name: str, said: Said, a: str, b: str, names: Sequence[str]) -> None:
        """Area under the missing-part curve of arm a minus that of arm b, paired by sample."""
        found = []
        for arm in (a, b):
            values = np.stack([survival(self.kept(said, arm), names, p).mean(0) for p in P])
            found.append(areas(P, values))
        self.add(name, difference(None, *found, group=said.groups, seed=self.seed), of=b)

    @staticmethod
    def kept(said: Said, arm: str) -> dict[str, NDArray[np.float64]]:
        """Per-sample scores of an arm by set of parts that are left."""
        start = f"{arm}|keep:"
        return {n.partition("|")[2]: said.scores(n) for n in said.outputs if n.startswith(start)}

    def calibration(self, said: Said, arm: str, *, world: str = "") -> None:
        """Calibration before and after the temperature; accuracy where the arm is sure enough to answer."""
        if said.classes is None:
            return
        place = {name: i for i, name in enumerate(said.classes)}
        target = np.array([place[name] for name in said.target])
        for when, chances in (("before temperature", said.raw[arm]), ("", said.probabilities[arm])):
            for metric in (ECE, BRIER, NLL):
                draws = 400 if metric is ECE else 2000  # no sums to resample: each draw sorts all samples
                found = estimate(metric, target, chances, group=said.groups, seed=self.seed, draws=draws)
                self.add(f"{world}{metric.name} {when}".strip(), found)
        sure = said.probabilities[arm].max(-1) >= said.confidence[arm]
        scores = np.where(sure, said.scores(arm), np.nan)
        self.add(f"{world}coverage", over_seeds(sure, group=said.groups, seed=self.seed), expected=0.8)
        answered = mean(scores[0], group=said.groups, seed=self.seed, better="higher")
        self.add(f"{world}accuracy where answered", answered)
        flat = {"bins": said.probabilities[arm], "before": said.raw[arm]}
        self.sections["calibration"] = {
            key: [b._asdict() for b in reliability(np.tile(target, len(x)), np.concatenate(x))]
            for key, x in flat.items()
        }

    def groups(self, said: Said, arm: str, tags: Mapping[str, Sequence[str]]) -> None:
        """The arm's score per group, per class and per value of other tags, each with its interval."""
        ways: dict[str, Sequence[Any]] = {"": said.groups, **tags}
        if said.classes is not None:
            ways["class "] = said.target.tolist()
        for title, values in ways.items():
            array = np.asarray(values)
            names = sorted(name for name in set(values) if name and not name.startswith("\x00"))
            for name in names if len(names) <= 60 else ():
                rows = np.flatnonzero(array == name)
                inside = None if title == "" else [said.groups[i] for i in rows]
                lone = inside is not None and len(set(inside)) < 2
                found = over_seeds(
                    said.scores(arm)[:, rows],
                    group=None if lone else inside,
                    seed=self.seed,
                    better=said.metric.better,
                )
                self.row("groups", group=f"{title}{name}", estimate=found.to_json())

    def account(self, said: Said, arms: Sequence[str], parts: Sequence[str]) -> None:
        """The model's other scores and differences, the arms' missing-part curves, calibration, confusion."""
        model = said.model
        more = [PEARSON] if said.classes is None else [BALANCED_ACCURACY, MACRO_F1, WEIGHTED_F1]
        if said.classes is None and np.abs(said.target).max() <= 3:
            more += [ACC7, ACC5, HAS0, NON0]
        for metric in more:
            answers = said.predictions(model)
            found = estimate(metric, said.target, answers, group=said.groups, seed=self.seed)
            self.add(metric.name, found, of=model)
        singles = [name for name in said.outputs if name.startswith("only:") and "|" not in name]
        if singles and said.classes is not None:
            best = max(singles, key=lambda name: self.estimates[name].mean)
            self.difference("all - best single part", said, model, best)
        if len(parts) > 1 and self.kept(said, model):
            for arm in arms:
                if self.kept(said, arm):
                    self.curve(said, arm, parts)
            if "plain" in arms:
                self.area("area, robust - plain", said, model, "plain", parts)
            if "late" in arms:
                self.effective("effective robustness against late fusion", said, model, "late", parts)
        self.calibration(said, model)
        self.confusion(said, model)

    def learned(
        self, cells: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], batch: int, *, world: str = ""
    ) -> None:
        """Learning curves and costs of the arms, from values by arm, seed and fold."""
        for arm, seeds in cells.items():
            for s, values in enumerate(seeds):
                for fold, value in enumerate(values):
                    line = s * len(values) + fold  # a fold is one more line of the same arm
                    for point in value["curve"]:
                        self.row("learning", arm=f"{world}{arm}", seed=line, **point)
            steps = sum(int(value["curve"][-1]["step"]) for values in seeds for value in values)
            sizes = {key: seeds[0][0][key] for key in ("parameters", "macs")}
            self.row("cost", name=f"{world}{arm}", **sizes, steps=steps, samples=steps * batch)

    def effective(self, name: str, said: Said, arm: str, late: str, names: Sequence[str]) -> None:
        """What the arm keeps beyond a curve of late fusion's shape, summed over the grid."""
        curves = [[float(survival(self.kept(said, a), names, p).mean()) for p in P] for a in (arm, late)]
        self.add(name, exact(effective(*curves), n=len(said.ids), better=said.metric.better), of=late)

    def confusion(self, said: Said, arm: str) -> None:
        """Counts over all seeds."""
        if said.classes is not None:
            tiled = np.tile(said.target, len(said.outputs[arm]))
            made = confusion(tiled, np.concatenate(said.predictions(arm)), classes=said.classes)
            self.sections["confusion"] = {"classes": list(made.classes), "matrix": made.matrix.tolist()}

    def record(self, said: Said, arms: Sequence[str], *, world: str = "") -> None:
        """Rows of predictions.parquet: each sample under each arm and seed."""
        n = len(said.ids)
        groups = [None if group.startswith("\x00") else group for group in said.groups]
        for arm in arms:
            kind, _, part = arm.partition(":")
            shown = {x for here in said.present for x in here}
            shown = {part} if kind == "only" else shown - {part} if kind == "drop" else shown
            present = [[x for x in here if x in shown] for here in said.present]
            for s, answer in enumerate(said.predictions(arm)):
                shares = said.probabilities[arm][s].round(6).tolist() if said.classes else [[]] * n
                columns: dict[str, list[Any]] = {
                    "id": list(said.ids),
                    "group": groups,
                    "target": said.target.tolist(),
                    "prediction": answer.tolist(),
                    "probabilities": shares,
                    "present": present,
                    "arm": [arm] * n,
                    "seed": [s] * n,
                    "fold": list(said.fold),
                    "world": [world] * n,
                }
                for name, column in columns.items():
                    self.predictions.setdefault(name, []).extend(column)
