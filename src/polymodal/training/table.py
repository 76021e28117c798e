"""Samples read once: every part an array, what is missing counted, train statistics fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.media.part import MediaError
from polymodal.training.ready import Array, Column, Ready, Rows, Statistics
from polymodal.training.splits import fingerprint

if TYPE_CHECKING:
    from polymodal.media.sample import Sample

Reader = Callable[[Any], Array]  # Part -> float "t d" (or " d", read as 1 x d), or integer ids " t"
Task = Literal["classes", "scores"]
Missing = Literal["ok", "refuse"]

_SUMMARY = ("width", "kept", "mean", "sd", "dropped")


@dataclass(frozen=True, slots=True)
class Table:
    """Samples as they were read, every part once.

    Attributes:
        ids: of the samples.
        groups: of the samples; one without a group is its own.
        columns: by part; None where no sample has it. Cells that are not finite are NaN.
        present: Bool "n m".
        targets: as they came.
        absent: part -> reason -> how many samples; reasons are those of MediaError, `not given`,
            `empty` and `not finite` (more than half of the cells).
        first: part -> reason -> id of the first such sample.
        masked: part -> column name -> cells that were not finite in samples that stayed.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    columns: dict[str, Column | None]
    present: NDArray[np.bool_]
    targets: tuple[str | float | None, ...]
    absent: dict[str, dict[str, int]]
    first: dict[str, dict[str, str]]
    masked: dict[str, dict[str, int]]

    @classmethod
    def read(
        cls,
        samples: Iterable[Sample],
        readers: Mapping[str, Reader],
        *,
        missing: Literal["ok", "refuse"] = "ok",
        cache: MutableMapping[str, Array] | None = None,
    ) -> Table:
        """Read every part of every sample once.

        Args:
            samples: any iterable; read in its order.
            readers: part name -> callable; the order of the parts in everything that follows.
            missing: `ok` marks a part that is missing or cannot be decoded as absent and counts it;
                `refuse` raises.
            cache: arrays by part name and content digest, read before and filled after decoding; keep
                one cache for one set of readers.

        Raises:
            ValueError: a part missing under `refuse`, or arrays of one part that differ in width.
        """
        samples = list(samples)
        gathered = {name: _gather(samples, name, reader, missing, cache) for name, reader in readers.items()}
        present = np.zeros((len(samples), len(readers)), np.bool_)
        columns: dict[str, Column | None] = {}
        masked: dict[str, dict[str, int]] = {}
        for j, (name, found) in enumerate(gathered.items()):
            columns[name], masked[name] = _column(samples, name, found)
            present[:, j] = [row in found.arrays for row in range(len(samples))]
        return cls(
            ids=tuple(sample.id for sample in samples),
            groups=tuple(f"\x00{i}" if s.group is None else s.group for i, s in enumerate(samples)),
            columns=columns,
            present=present,
            targets=tuple(sample.target for sample in samples),
            absent={name: dict(found.reasons) for name, found in gathered.items()},
            first={name: found.first for name, found in gathered.items()},
            masked=masked,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def invalid(self) -> list[dict[str, Any]]:
        """What was absent and why: rows of `reason`, `n`, `first` for the report."""
        return [
            {"reason": f"{part}: {reason}", "n": n, "first": self.first[part][reason]}
            for part, reasons in self.absent.items()
            for reason, n in reasons.items()
        ]

    def fit(
        self,
        rows: Rows,
        *,
        task: Task = "classes",
        classes: Sequence[str] | None = None,
        whole: Collection[str] = (),
    ) -> Statistics:
        """Means, usable columns and the class list, from these rows alone.

        Args:
            rows: the train rows.
            task: what the targets have to be.
            classes: the class list where it is known beforehand; else the classes of the rows.
            whole: parts whose columns are a grid (pixels) and stay, constant or not.

        Raises:
            ValueError: targets of the other kind, a train side without two classes, or a part that no
                row has or none of whose columns varies.
        """
        rows = np.asarray(rows, np.int64)
        single: tuple[str, ...] = ()
        known: tuple[str, ...] | None = None
        _kind(self.targets, task)
        if task == "classes":
            counts = Counter(t for t in self.targets if t is not None)
            single = tuple(sorted(str(t) for t, n in counts.items() if n == 1))
            found = {self.targets[row] for row in rows} - {None, *single}
            known = tuple(classes) if classes is not None else tuple(sorted(map(str, found)))
            if len(known) < 2:
                raise ValueError(f"train has {len(known)} usable classes {known}, needs two")
        parts = {
            name: _summary(name, self.columns[name], rows[self.present[rows, j]], name in whole)
            for j, name in enumerate(self.columns)
        }
        return Statistics(
            seen=fingerprint(self.ids[row] for row in rows),
            classes=known,
            single=single,
            **{key: {name: part[key] for name, part in parts.items()} for key in _SUMMARY},
        )

    def ready(self, statistics: Statistics) -> Ready:
        """Cells filled, unused columns dropped, targets encoded.

        Raises:
            ValueError: an unknown part, a part of another width than the statistics saw, or targets of
                the other kind.
        """
        known = statistics.width
        if unknown := [name for name in known if name not in self.columns]:
            raise ValueError(
                f"the model takes parts {list(known)}, the table has {list(self.columns)}: no {unknown}"
            )
        order = [i for i, name in enumerate(self.columns) if name in known]
        _kind(self.targets, "scores" if statistics.classes is None else "classes")
        target, excluded = _encode(self.targets, statistics)
        return Ready(
            ids=self.ids,
            groups=self.groups,
            # in the readers' order: statistics that came back from JSON may have their keys sorted
            columns={
                name: _filled(name, column, statistics, len(self))
                for name, column in self.columns.items()
                if name in known
            },
            present=self.present[:, order],
            target=target,
            statistics=statistics,
            excluded=excluded,
        )


@dataclass(slots=True)
class _Found:
    """One part while it is read."""

    arrays: dict[int, Array] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def lose(self, reason: str, sample: Sample) -> None:
        """Count a sample without the part."""
        self.reasons[reason] += 1
        self.first.setdefault(reason, sample.id)


def _gather(
    samples: Sequence[Sample],
    name: str,
    reader: Reader,
    missing: Missing,
    cache: MutableMapping[str, Array] | None,
) -> _Found:
    found = _Found()
    for row, sample in enumerate(samples):
        reason = "not given"
        if (part := sample.parts.get(name)) is not None:
            try:
                array = _shaped(_cached(name, part, reader, cache), name, sample)
            except MediaError as error:
                reason = error.reason
                if missing == "refuse":
                    raise ValueError(f"sample {sample.id!r}, part {name!r}: {error}") from error
            else:
                if len(array):
                    found.arrays[row] = array
                    continue
                reason = "empty"
        if missing == "refuse":
            raise ValueError(f"sample {sample.id!r}, part {name!r}: {reason}")
        found.lose(reason, sample)
    return found


def _cached(name: str, part: Any, reader: Reader, cache: MutableMapping[str, Array] | None) -> Array:
    if cache is None:
        return reader(part)
    key = f"{name}-{part.digest()}"
    if key not in cache:
        cache[key] = reader(part)
    return cache[key]


def _shaped(array: Array, name: str, sample: Sample) -> Array:
    """Int64 ids " t" or Float32 "t d"."""
    if array.dtype.kind in "iu" and array.ndim == 1:
        return array.astype(np.int64, copy=False)
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2):
        raise ValueError(
            f"sample {sample.id!r}, part {name!r}: a reader gives numbers t x d or integer ids, "
            f"got {array.dtype} of shape {array.shape}"
        )
    with np.errstate(over="ignore"):  # beyond float32 is inf, which is counted and masked
        return array.astype(np.float32, copy=False).reshape(-1, array.shape[-1])


def _column(samples: Sequence[Sample], name: str, found: _Found) -> tuple[Column | None, dict[str, int]]:
    """One part's arrays joined; cells that are not finite become NaN, rows with too many are lost."""
    if not found.arrays:
        return None, {}
    _same_width(samples, name, found.arrays)
    flat = np.concatenate(list(found.arrays.values()))
    names: tuple[str, ...] = ()
    masked: dict[str, int] = {}
    if flat.ndim == 2:
        names = _names(samples, name, found.arrays, flat.shape[1])
        finite = np.isfinite(flat)
        if not finite.all():
            lengths = np.array([len(array) for array in found.arrays.values()])
            share = np.add.reduceat(finite.mean(1), np.cumsum(lengths) - lengths) / lengths
            for row in [row for row, good in zip(found.arrays, share, strict=True) if good < 0.5]:
                del found.arrays[row]
                found.lose("not finite", samples[row])
            stays = np.repeat(share >= 0.5, lengths)
            flat, finite = np.where(finite, flat, np.float32(np.nan))[stays], finite[stays]
            masked = {c: int(n) for c, n in zip(names, (~finite).sum(0), strict=True) if n}
    return (_packed(flat, found.arrays, len(samples), names) if len(flat) else None), masked


def _same_width(samples: Sequence[Sample], name: str, arrays: Mapping[int, Array]) -> None:
    start, *others = arrays
    kind = (arrays[start].dtype, arrays[start].shape[1:])
    for row in others:
        if (arrays[row].dtype, arrays[row].shape[1:]) != kind:
            a, b = (f"{arrays[r].dtype} of width {arrays[r].shape[1:]}" for r in (start, row))
            raise ValueError(
                f"part {name!r}: sample {samples[start].id!r} has {a}, {samples[row].id!r} has {b}"
            )


def _names(samples: Sequence[Sample], name: str, arrays: Mapping[int, Array], d: int) -> tuple[str, ...]:
    part = samples[next(iter(arrays))].parts[name]
    names = tuple(str(column) for column in getattr(part, "columns", ()))
    return names if len(names) == d else tuple(map(str, range(d)))


def _packed(flat: Array, arrays: Mapping[int, Array], n: int, names: tuple[str, ...]) -> Column:
    rows = np.fromiter(arrays, np.int64, len(arrays))
    lengths = np.zeros(n, np.int64)
    lengths[rows] = [len(array) for array in arrays.values()]
    index = np.arange(n)
    t = lengths[rows[0]]
    if (lengths[rows] != t).any():
        return Column(flat, np.concatenate([[0], np.cumsum(lengths)]), index, names)
    dense = np.zeros((n, t, *flat.shape[1:]), flat.dtype)
    dense[rows] = flat.reshape(len(rows), t, *flat.shape[1:])
    return Column(dense, None, index, names)


def _summary(name: str, column: Column | None, rows: Rows, whole: bool) -> dict[str, Any]:
    """One part's share of `Statistics`, from the rows that have it."""
    if column is None or not len(rows):
        raise ValueError(f"part {name!r}: no train sample has it; leave it out")
    if column.ids:
        return dict(zip(_SUMMARY, (0, [], [], [], []), strict=True))
    flat = column.take(rows).astype(np.float64)
    finite = np.isfinite(flat)
    n = finite.sum(0)
    safe = np.maximum(n, 1)
    mean = np.where(finite, flat, 0).sum(0) / safe
    sd = np.sqrt((np.where(finite, flat - mean, 0) ** 2).sum(0) / safe)
    varies = np.where(finite, flat, -np.inf).max(0) > np.where(finite, flat, np.inf).min(0)
    if not varies.any():
        raise ValueError(f"part {name!r}: none of its {len(varies)} columns varies on train; leave it out")
    kept = np.arange(len(varies)) if whole else np.flatnonzero(varies)
    dropped = [] if whole else [column.names[i] for i in np.flatnonzero(~varies)]
    values = (len(varies), kept.tolist(), mean[kept].tolist(), sd[kept].tolist(), dropped)
    return dict(zip(_SUMMARY, values, strict=True))


def _filled(name: str, column: Column | None, statistics: Statistics, n: int) -> Column:
    """Columns in use, NaN as the train mean."""
    width, kept = statistics.width[name], statistics.kept[name]
    if column is None:
        shape = (n, 1, len(kept)) if width else (n, 1)
        return Column(np.zeros(shape, np.float32 if width else np.int64), None, np.arange(n), ())
    given = 0 if column.ids else column.values.shape[-1]
    if given != width:
        raise ValueError(f"part {name!r}: the statistics expect width {width}, given {given} (0 is ids)")
    if column.ids:
        return column
    values = column.values if len(kept) == width else column.values[..., kept]
    values = np.where(np.isnan(values), np.asarray(statistics.mean[name], np.float32), values)
    return Column(values, column.offsets, column.index, tuple(column.names[i] for i in kept))


def _kind(targets: Sequence[str | float | None], task: Task) -> None:
    """Refuse targets of the other kind."""
    wrong = [t for t in targets if t is not None and isinstance(t, str) != (task == "classes")]
    if wrong:
        asked = "classes (text)" if task == "classes" else "scores (numbers)"
        raise ValueError(f"{asked} were asked for, {len(wrong)} targets are not, such as {wrong[:5]}")


def _encode(targets: Sequence[str | float | None], statistics: Statistics) -> tuple[Array, dict[str, int]]:
    """Class ids (-1: none) or scores (NaN: none), and why some have none."""
    excluded: Counter[str] = Counter()
    if statistics.classes is None:
        scores = np.array([np.nan if t is None else t for t in targets], np.float32)
        excluded["no target"] = int((~np.isfinite(scores)).sum())
        return np.where(np.isfinite(scores), scores, np.float32(np.nan)), +excluded
    number = {name: i for i, name in enumerate(statistics.classes)}
    ids = np.full(len(targets), -1, np.int64)
    for row, target in enumerate(targets):
        if target in number:
            ids[row] = number[str(target)]
        elif target is None:
            excluded["no target"] += 1
        else:
            only = target in statistics.single
            excluded[f"class {target!r} {'has one member' if only else 'is unknown to train'}"] += 1
    return ids, dict(excluded)
