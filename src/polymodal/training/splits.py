"""Train, val and test rows in which no speaker, subject or video is on two sides."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from polymodal.media.sample import Sample

Rows = Sequence[int]
Strata = list[str]  # the class of every sample; "" where it has no target

_SIDES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of the samples on each side, and how they got there.

    Attributes:
        train: positions to fit on, ascending.
        val: positions to choose by (early stopping, calibration, hyper-parameters).
        test: positions to report on.
        by: what was kept whole: `group`, a tag's name, `sample` (nothing), or `official:FIELD`.
        seed: the seed it was drawn with.
        digest: 32 hex characters over the ids on each side; equal digests are equal splits.
        stamp: what a reader of the result has to know, such as `ungrouped`.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    by: str
    seed: int
    digest: str
    stamp: tuple[str, ...] = ()


def fingerprint(ids: Iterable[str]) -> str:
    """32 hex characters over a set of sample ids, whatever their order.

    Every fitted statistic carries the fingerprint of the rows that it saw; the audit compares it with
    `fingerprint(samples[row].id for row in split.train)`.
    """
    return hashlib.sha256("\x1f".join(sorted(ids)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def grouped(
    samples: Sequence[Sample], shares: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int, by: str = "group"
) -> Split:
    """Whole groups dealt to train, val and test: the largest first, to the side furthest below its share.

    Args:
        samples: in the order that the positions refer to.
        shares: train, val, test; any unit (`(36, 12, 50)` speakers is as good). 0 leaves a side empty.
        seed: orders groups of equal size.
        by: `group`, or the name of a tag that holds a coarser group (a session).

    Raises:
        ValueError: fewer groups than sides, or a class that no train row has (named).
    """
    keys, stamp = _groups(samples, by)
    sides = _deal(keys, _strata(samples), _shares(shares), seed=seed)
    return _split(samples, sides, by=by, seed=seed, stamp=stamp)


def stratified(samples: Sequence[Sample], shares: Sequence[float] = (0.6, 0.2, 0.2), *, seed: int) -> Split:
    """Single samples dealt at random with equal class shares; groups are ignored and the split says so."""
    sides = _deal(_alone(samples), _strata(samples), _shares(shares), seed=seed)
    return _split(samples, sides, by="sample", seed=seed, stamp=_ignored(samples))


def folds(
    samples: Sequence[Sample], n: int, *, seed: int, val: float = 0.2, by: str = "group"
) -> list[Split]:
    """Splits whose test sides are disjoint and cover everything, no group cut.

    Args:
        samples: in the order that the positions refer to.
        n: how many folds, at least 2.
        seed: fixes the folds and each fold's val side.
        val: share of the rows outside test that becomes val, whole groups again.
        by: as in `grouped`.

    Raises:
        ValueError: fewer groups than folds (with both numbers), or a class missing from a train side.
    """
    keys, stamp = _groups(samples, by)
    return _folds(samples, keys, n, val=val, seed=seed, by=by, stamp=stamp)


def random_folds(samples: Sequence[Sample], n: int, *, seed: int, val: float = 0.2) -> list[Split]:
    """Folds over single samples, groups ignored: only to measure what such folds would leak."""
    return _folds(samples, _alone(samples), n, val=val, seed=seed, by="sample", stamp=_ignored(samples))


def leave_one_group_out(samples: Sequence[Sample], *, seed: int, by: str = "group") -> list[Split]:
    """One split a group: that group is test, another (by seed, each once) is val, the rest train.

    Raises:
        ValueError: fewer than three groups, or a class missing from a train side.
    """
    keys, stamp = _groups(samples, by)
    names = sorted(set(keys))
    if len(names) < 3:
        raise ValueError(f"leaving one group out needs at least 3 groups ({by}), found {len(names)}")
    rows: dict[str, list[int]] = {name: [] for name in names}
    for row, key in enumerate(keys):
        rows[key].append(row)
    circle = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    after = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    splits = []
    for name in names:
        held = {name, after[name]}
        train = [row for row, key in enumerate(keys) if key not in held]
        splits.append(_split(samples, (train, rows[after[name]], rows[name]), by=by, seed=seed, stamp=stamp))
    return splits


def official(samples: Sequence[Sample], field: str = "split", *, seed: int, val: float = 0.2) -> Split:
    """The split that the data set came with, read from a tag; groups may cross it (the audit says so).

    Without val rows, `val` of train is set aside by group, and the split is stamped.

    Raises:
        ValueError: a tag that is missing or names no side, an empty train or test, or a class missing
            from train.
    """
    sides: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for row, sample in enumerate(samples):
        side = _SIDES.get(str(sample.tags.get(field, "")).strip().lower())
        if side is None:
            found = sample.tags.get(field, "nothing")
            raise ValueError(
                f"sample {sample.id!r}: tag {field!r} is {found!r}, expected one of {sorted(_SIDES)}"
            )
        sides[side].append(row)
    for side in ("train", "test"):
        if not sides[side]:
            raise ValueError(f"the official split in tag {field!r} has no {side} rows among {len(samples)}")
    keys, stamp = _groups(samples, "group")
    if not sides["val"]:
        stamp += ("val drawn from train",)
        sides["train"], sides["val"] = _hold_out(keys, _strata(samples), sides["train"], val, seed=seed)
    return _split(samples, tuple(sides.values()), by=f"official:{field}", seed=seed, stamp=stamp)


def nested(samples: Sequence[Sample], split: Split, n: int, *, seed: int) -> list[Split]:
    """Inner folds for choosing hyper-parameters: over train and val of `split`, its test never seen.

    Returns:
        n splits with val = the inner fold, train = the other inner folds, test empty.

    Raises:
        ValueError: fewer groups than folds among those rows, or a class missing from a train side.
    """
    rows = sorted((*split.train, *split.val))
    if split.by == "sample":
        keys = _alone(samples)
    else:
        keys, _ = _groups(samples, "group" if split.by.startswith("official:") else split.by)
    parts = _parts([keys[row] for row in rows], [_strata(samples)[row] for row in rows], n, seed=seed)
    splits = []
    for part in parts:
        inside = set(part)
        train = [row for i, row in enumerate(rows) if i not in inside]
        sides = (train, [rows[i] for i in part], ())
        splits.append(_split(samples, sides, by=split.by, seed=seed, stamp=split.stamp, within=rows))
    return splits


def _folds(
    samples: Sequence[Sample],
    keys: list[str],
    n: int,
    *,
    val: float,
    seed: int,
    by: str,
    stamp: tuple[str, ...],
) -> list[Split]:
    strata = _strata(samples)
    splits = []
    for i, test in enumerate(_parts(keys, strata, n, seed=seed)):
        inside = set(test)
        rest = [row for row in range(len(samples)) if row not in inside]
        train, held = _hold_out(keys, strata, rest, val, seed=seed + i)
        splits.append(_split(samples, (train, held, test), by=by, seed=seed, stamp=stamp))
    return splits


def _parts(keys: list[str], strata: Strata, n: int, *, seed: int) -> list[list[int]]:
    if n < 2:
        raise ValueError(f"folds need n of at least 2, got {n}")
    found = len(set(keys))
    if found < n:
        raise ValueError(f"{n} folds need at least {n} groups, found {found}")
    return _deal(keys, strata, [1 / n] * n, seed=seed)


def _hold_out(
    keys: list[str], strata: Strata, rows: Rows, share: float, *, seed: int
) -> tuple[list[int], list[int]]:
    """Set whole groups of `rows` aside: (kept, held)."""
    kept, held = _deal(
        [keys[row] for row in rows], [strata[row] for row in rows], _shares((1 - share, share)), seed=seed
    )
    return [rows[i] for i in kept], [rows[i] for i in held]


def _deal(
    keys: Sequence[str], strata: Sequence[str], shares: Sequence[float], *, seed: int
) -> list[list[int]]:
    """Deal whole groups to sides.

    The side is the one where the group lowers sum over sides and classes of ((have - wanted) / total)^2
    most to first order; overall size counts as one more class.
    """
    members: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        members.setdefault(key, []).append(row)
    wanted = [share > 0 for share in shares]
    if len(members) < sum(wanted):
        raise ValueError(f"{sum(wanted)} sides need at least {sum(wanted)} groups, found {len(members)}")
    totals = Counter(strata)
    n = len(strata)
    weight = {name: 1 / total**2 for name, total in totals.items()}
    lack = [{name: share * total for name, total in totals.items()} for share in shares]
    room = [share * n for share in shares]
    names = sorted(members)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    order = sorted(shuffled, key=lambda name: -len(members[name]))
    sides: list[list[int]] = [[] for _ in shares]
    open_sides = [side for side, yes in enumerate(wanted) if yes]
    empty = len(open_sides)
    for left, name in zip(range(len(order), 0, -1), order, strict=True):
        rows = members[name]
        counts = Counter(strata[row] for row in rows) if len(rows) > 1 else {strata[rows[0]]: 1}
        choice = open_sides if left > empty else [side for side in open_sides if not sides[side]]
        best, most = choice[0], -np.inf
        for side in choice:
            here = lack[side]
            gain = len(rows) * room[side] / n**2
            for key, count in counts.items():
                gain += count * here[key] * weight[key]
            if gain > most:
                best, most = side, gain
        empty -= not sides[best]
        sides[best].extend(rows)
        room[best] -= len(rows)
        for key, count in counts.items():
            lack[best][key] -= count
    return [sorted(side) for side in sides]


def _shares(shares: Sequence[float]) -> list[float]:
    if len(shares) not in (2, 3) or min(shares) < 0 or shares[0] <= 0:
        raise ValueError(f"shares are train, val, test with train above 0, got {tuple(shares)}")
    return [share / sum(shares) for share in shares]


def _groups(samples: Sequence[Sample], by: str) -> tuple[list[str], tuple[str, ...]]:
    found = [sample.group if by == "group" else sample.tags.get(by) for sample in samples]
    if by != "group" and None in found:
        missing = samples[found.index(None)]
        raise ValueError(
            f"sample {missing.id!r} has no tag {by!r} to group by; it has {sorted(missing.tags)}"
        )
    lone = found.count(None)
    keys = [f"\x00{row}" if key is None else str(key) for row, key in enumerate(found)]
    if lone == 0:
        return keys, ()
    return keys, ("ungrouped",) if lone == len(found) else (f"ungrouped: {lone} of {len(found)}",)


def _alone(samples: Sequence[Sample]) -> list[str]:
    return [str(row) for row in range(len(samples))]


def _ignored(samples: Sequence[Sample]) -> tuple[str, ...]:
    return ("groups ignored",) if any(sample.group is not None for sample in samples) else ("ungrouped",)


def _strata(samples: Sequence[Sample]) -> Strata:
    """Classes as they are, scores by fifths of their ranks, nothing for a missing target."""
    scores = [float(s.target) for s in samples if isinstance(s.target, int | float) and s.target == s.target]
    edges = np.quantile(scores, [0.2, 0.4, 0.6, 0.8]) if scores else np.empty(0)
    return [
        sample.target
        if isinstance(sample.target, str)
        else ""
        if sample.target is None or sample.target != sample.target
        else f"\x00{int(np.searchsorted(edges, sample.target))}"
        for sample in samples
    ]


def _split(
    samples: Sequence[Sample],
    sides: Sequence[Rows],
    *,
    by: str,
    seed: int,
    stamp: tuple[str, ...],
    within: Rows | None = None,
) -> Split:
    train, val, test = (tuple(sorted(side)) for side in sides)
    _covered(samples, train, within)
    ids = ["\x1f".join(samples[row].id for row in side) for side in (train, val, test)]
    digest = hashlib.sha256("\x1e".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return Split(train, val, test, by=by, seed=seed, digest=digest, stamp=stamp)


def _covered(samples: Sequence[Sample], train: Rows, within: Rows | None) -> None:
    """Refuse a train side that lacks a class; a class with one member is left to be excluded later."""
    rows = range(len(samples)) if within is None else within
    counts = Counter(t for row in rows if isinstance(t := samples[row].target, str))
    seen = {samples[row].target for row in train}
    lost = sorted(name for name, count in counts.items() if count > 1 and name not in seen)
    if lost:
        where: Mapping[str, int] = {name: counts[name] for name in lost}
        raise ValueError(f"train has no row of class {', '.join(map(repr, lost))} (rows in all: {where})")
