"""What a result is held against: parts removed, shuffled, drowned; targets permuted."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.metrics.difference import difference, estimate
from polymodal.metrics.estimate import Estimate
from polymodal.metrics.metric import Metric
from polymodal.training.ready import Array, Column, Ready, Rows
from polymodal.training.splits import Split

if TYPE_CHECKING:
    from polymodal.media.sample import Sample

Kind = Literal["full", "only", "drop", "shuffle", "noise", "missing", "targets"]
Where = Literal["test", "train", "both"]

_NAME = re.compile(
    r"(?P<full>full)|(?P<targets>shuffled targets)|(?P<only>only):(?P<p1>.+)|(?P<drop>drop):(?P<p2>.+)"
    r"|(?P<shuffle>shuffle):(?P<p3>.+?)(?P<both>:both)?"
    r"|(?P<noise>noise):(?P<p4>.+):(?P<a4>[\d.e+-]+)|(?P<missing>missing):(?:(?P<p5>.+):)?(?P<a5>[\d.e+-]+)"
)


_FORMS = (
    "full, only:x, drop:x, shuffle:x, shuffle:x:both, noise:x:sd, missing:x:p, missing:p, shuffled targets"
)
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Condition:
    """One way to change what a model is given, as a value: jobs over (condition, fold, seed) stand alone.

    Attributes:
        kind: `full` changes nothing; `only` and `drop` take parts away; `shuffle` gives a part of another
            sample of another group; `noise` adds normal noise; `missing` takes parts away by chance;
            `targets` permutes the targets to learn from.
        part: which part; "" for all of them.
        amount: sd of the noise in train sds of each column, or the chance to be missing.
        where: `test` needs no training of its own; `train` and `both` do.
    """

    kind: Kind
    part: str = ""
    amount: float = 0.0
    where: Where = "test"

    @classmethod
    def parse(cls, name: str) -> Condition:
        """The condition of a name such as `drop:audio`, `shuffle:audio:both`, `missing:0.5`.

        Raises:
            ValueError: no such condition; the message lists the forms.
        """
        if (found := _NAME.fullmatch(name)) is None:
            raise ValueError(f"no condition {name!r}; there are {_FORMS}")
        got = {key: value for key, value in found.groupdict().items() if value is not None}
        kind = next(kind for kind in _WHERE if kind in got)
        part = next((got[key] for key in got if key[0] == "p"), "")
        amount = float(next((got[key] for key in got if key[0] == "a"), "0"))
        return cls(kind, part, amount, "both" if "both" in got else _WHERE[kind])

    @property
    def name(self) -> str:
        """As written in tables; `parse` reads it back."""
        match self.kind:
            case "full":
                return "full"
            case "targets":
                return "shuffled targets"
            case "noise" | "missing":
                return ":".join([self.kind, *([self.part] if self.part else []), f"{self.amount:g}"])
            case "shuffle" if self.where == "both":
                return f"shuffle:{self.part}:both"
        return f"{self.kind}:{self.part}"

    @property
    def trained(self) -> Condition:
        """The condition to train under: one model serves all conditions that only change the test."""
        return FULL if self.where == "test" else self

    def over(self, table: Ready, split: Split, *, seed: int) -> Ready:
        """The table as this condition wants it for training and testing on this split."""
        sides = {
            "test": (split.test,),
            "train": (split.train, split.val),
            "both": (split.train, split.val, split.test),
        }
        for side in sides[self.where]:
            if len(side):
                table = self.apply(table, side, seed=seed)
        return table

    def apply(self, table: Ready, rows: Rows, *, seed: int) -> Ready:
        """The table with these rows changed; nothing is copied that stays.

        A sample draws the same number under every chance `p`, so what is missing at .25 is missing at .5.

        Raises:
            ValueError: a part the table lacks, noise on ids, or one row to shuffle.
        """
        rows = np.asarray(rows, np.int64)
        if self.part and self.part not in table.columns:
            raise ValueError(f"{self.name}: the table has parts {list(table.names)}")
        rng = np.random.default_rng([seed, zlib.crc32(f"{self.kind}:{self.part}".encode())])
        match self.kind:
            case "only":
                return _without(table, rows, [name != self.part for name in table.names])
            case "drop":
                return _without(table, rows, [name == self.part for name in table.names])
            case "missing":
                lost = rng.random((len(rows), len(table.names))) < self.amount
                return _without(
                    table, rows, lost & [not self.part or name == self.part for name in table.names]
                )
            case "shuffle":
                return _shuffled(table, rows, self.part, rng)
            case "noise":
                return _noisy(table, rows, self.part, self.amount, rng)
            case "targets":
                target = table.target.copy()
                known = table.labelled(rows)
                target[known] = target[rng.permutation(known)]
                return replace(table, target=target)
        return table


_WHERE: dict[Kind, Where] = {
    "full": "test",
    "targets": "train",
    "only": "both",
    "drop": "both",
    "shuffle": "test",
    "noise": "test",
    "missing": "test",
}

FULL = Condition("full")


def standard(
    parts: Sequence[str], *, noise: Sequence[float] = (1.0,), missing: Sequence[float] = (0.5,)
) -> tuple[Condition, ...]:
    """Every control of these parts, `full` first.

    Args:
        parts: names.
        noise: sds, in train sds.
        missing: chances, for each part and for all of them.
    """
    names = ["full", *(f"only:{x}" for x in parts), *(f"drop:{x}" for x in parts)]
    names += [f"shuffle:{x}{both}" for x in parts for both in ("", ":both")]
    names += [f"noise:{x}:{sd:g}" for x in parts for sd in noise]
    names += [f"missing:{x}:{p:g}" for x in parts for p in missing]
    names += [*(f"missing:{p:g}" for p in missing), "shuffled targets"]
    return tuple(Condition.parse(name) for name in names)


def derangement(groups: Sequence[str], *, seed: int) -> tuple[NDArray[np.int64], bool]:
    """Who gives to whom: a permutation in which nobody keeps their own and donors are of other groups.

    Returns:
        Donor " n" of every position, and whether every donor is of another group. Where one group holds
        more than half of the positions that cannot be, and the groups are left out of account.

    Raises:
        ValueError: fewer than two positions.
    """
    return _derangement(groups, np.random.default_rng(seed))


def _derangement(groups: Sequence[str], rng: np.random.Generator) -> tuple[NDArray[np.int64], bool]:
    n = len(groups)
    if n < 2:
        raise ValueError(f"a shuffle needs at least two rows, got {n}")
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    crosses = bool(2 * sizes.max() <= n)
    if not crosses:
        group = np.arange(n)
    donor = rng.permutation(n)
    for turn in range(_ROUNDS):  # swaps of many pairs at once, of any two and of two that clash by turns
        if not (clash := group == group[donor]).any():
            break
        pool = np.flatnonzero(clash) if turn % 2 else np.arange(n)
        a, b = rng.permutation(pool)[: len(pool) // 2 * 2].reshape(2, -1)
        mends = (clash[a] | clash[b]) & (group[donor[a]] != group[b]) & (group[donor[b]] != group[a])
        a, b = a[mends], b[mends]
        donor[a], donor[b] = donor[b], donor[a]
    for i in np.flatnonzero(group == group[donor]):
        if group[i] != group[donor[i]]:
            continue  # mended by an earlier swap
        # Never empty: a donor of this group is in it, so fewer than its size went to as many others.
        j = rng.choice(np.flatnonzero((group[donor] != group[i]) & (group != group[donor[i]])))
        donor[i], donor[j] = donor[j], donor[i]
    return donor, crosses


def _without(table: Ready, rows: NDArray[np.int64], lost: Any) -> Ready:
    present = table.present.copy()
    present[rows] &= ~np.asarray(lost, np.bool_)
    return replace(table, present=present)


def _shuffled(table: Ready, rows: NDArray[np.int64], part: str, rng: np.random.Generator) -> Ready:
    donor, crosses = _derangement([table.groups[row] for row in rows], rng)
    j, column = table.names.index(part), table.columns[part]
    index, present = column.index.copy(), table.present.copy()
    index[rows], present[rows, j] = index[rows[donor]], present[rows[donor], j]
    columns = table.columns | {part: replace(column, index=index)}
    stamp = (
        () if crosses else (f"shuffle:{part}: one group has most rows, so donors may be of the same group",)
    )
    return replace(table, columns=columns, present=present, stamp=tuple(dict.fromkeys(table.stamp + stamp)))


def _noisy(
    table: Ready, rows: NDArray[np.int64], part: str, amount: float, rng: np.random.Generator
) -> Ready:
    column = table.columns[part]
    if column.ids:
        raise ValueError(f"noise:{part}: the part is ids, noise needs numbers")
    cells, _ = column.cells(rows)
    values = column.values.copy()
    flat = values.reshape(-1, values.shape[-1])
    sd = np.asarray(table.statistics.sd[part]) * amount
    flat[cells] += (rng.standard_normal((len(cells), len(sd))) * sd).astype(values.dtype)
    changed = Column(flat.reshape(values.shape), column.offsets, column.index, column.names)
    return replace(table, columns=table.columns | {part: changed})


@dataclass(frozen=True, slots=True)
class Control:
    """A row of the control table: its score, and full model minus it, paired by sample."""

    name: str
    estimate: Estimate
    difference: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """As the report takes it."""
        gap = self.difference and self.difference.to_json()
        return {"name": self.name, "estimate": self.estimate.to_json(), "difference": gap}


def controls(
    predict: Callable[[Condition, int], Array],
    samples: Sequence[Sample],
    split: Split,
    *,
    metric: Metric,
    seeds: Iterable[int],
    conditions: Iterable[Condition],
    baselines: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> list[Control]:
    """Run the conditions here, one after another, and tabulate them.

    Args:
        predict: of (condition, seed), predictions for `split.test` in its order; `condition.trained` says
            which model it may share.
        samples: what the split refers to.
        split: its test side is judged.
        metric: of predictions against targets.
        seeds: training seeds.
        conditions: see `standard`; `full` has to be among them.
        baselines: name -> predictions for `split.test`, as further rows.
        seed: of the bootstrap.
    """
    seeds = list(seeds)
    said: dict[str, Array] = {c.name: np.stack([predict(c, s) for s in seeds]) for c in conditions}
    target = [samples[row].target for row in split.test]
    groups = [samples[row].group or f"\x00{row}" for row in split.test]
    return tabulate(said | dict(baselines or {}), np.asarray(target), groups, metric=metric, seed=seed)


def tabulate(
    predictions: Mapping[str, Array],
    target: Array,
    groups: Sequence[str] | None,
    *,
    metric: Metric,
    full: str = "full",
    seed: int = 0,
) -> list[Control]:
    """A table from predictions that were made anywhere, with `best single part` added.

    Args:
        predictions: name -> " n" (or "n k" for probabilities), with one more axis in front for seeds; the
            rows are those of `target`, over folds where there are several.
        target: " n".
        groups: " n" names to cluster by; None makes every sample its own.
        metric: of predictions against targets.
        full: the name that all others are held against.
        seed: of the bootstrap.

    Raises:
        KeyError: `full` is not among the predictions.
    """
    reference = predictions[full]
    table = []
    for name, said in predictions.items():
        score = estimate(metric, target, said, group=groups, seed=seed)
        gap = None if name == full else difference(metric, reference, said, target, group=groups, seed=seed)
        table.append(Control(name, score, gap))
    singles = [row for row in table if row.name.startswith("only:")]
    if len(singles) > 1:
        sign = 1 if metric.better == "higher" else -1
        # Chosen on test, which favours the single part: a full model that beats it has beaten them all.
        best = max(singles, key=lambda row: sign * row.estimate.mean)
        table.append(replace(best, name=f"best single part ({best.name.removeprefix('only:')})"))
    return table
