"""Parts as arrays over all rows and statistics that saw train only, ready for a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """One part over all rows, padded nowhere.

    Attributes:
        values: dense "slot t d" (ids: "slot t") where every length is equal, else "sum_t d" (ids: " sum_t").
        offsets: for ragged values, slot s holds values[offsets[s]:offsets[s + 1]]; None when dense.
        index: the slot of every row; a shuffle only moves this.
        names: of the d columns; empty for ids.
    """

    values: Array
    offsets: NDArray[np.int64] | None
    index: NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def ids(self) -> bool:
        """Whether the part is integer ids rather than numbers."""
        return bool(self.values.dtype == np.int64)

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """How many tokens each of the rows has."""
        slots = self.index[np.asarray(rows, np.int64)]
        if self.offsets is None:
            return np.full(len(slots), self.values.shape[1], np.int64)
        return self.offsets[slots + 1] - self.offsets[slots]

    def take(self, rows: Rows) -> Array:
        """The tokens of the rows one after another: "sum_t d", or " sum_t" for ids."""
        out, _ = self.cells(rows)
        return (
            self.values.reshape(-1, *self.values.shape[2:])[out] if self.offsets is None else self.values[out]
        )

    def cells(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the tokens of the rows lie among all tokens, and how many each row has."""
        slots = self.index[np.asarray(rows, np.int64)]
        lengths = self.lengths(rows)
        starts = slots * self.values.shape[1] if self.offsets is None else self.offsets[slots]
        ends = np.cumsum(lengths)
        inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        return np.repeat(starts, lengths) + inside, lengths


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was learned from the train rows before any net saw them.

    Attributes:
        seen: `fingerprint` of the ids of the rows it was fitted on.
        classes: in the order of their ids; None for scores.
        single: classes left out because the whole table has one member of them.
        width: number of columns a part came with; 0 for ids.
        kept: columns in use; the others were constant or never finite on train, see `dropped`.
        mean: of the kept columns on train; fills cells that are not finite.
        sd: of the kept columns on train; the unit of noise controls.
        dropped: names of the columns left out.
    """

    seen: str
    classes: tuple[str, ...] | None
    single: tuple[str, ...]
    width: dict[str, int]
    kept: dict[str, list[int]]
    mean: dict[str, list[float]]
    sd: dict[str, list[float]]
    dropped: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for the model's meta."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return data | {"classes": self.classes and list(self.classes), "single": list(self.single)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        """The inverse of `to_json`."""
        classes = data["classes"]
        return cls(**{**data, "classes": classes and tuple(classes), "single": tuple(data["single"])})


@dataclass(frozen=True, slots=True)
class Ready:
    """A table that a net or a baseline can take: finite numbers, encoded targets.

    Attributes:
        ids: of the samples.
        groups: of the samples; one without a group is its own.
        columns: by part, in the order of the readers.
        present: Bool "n m", parts in that order.
        target: Int64 " n" class ids (-1: none), or Float32 " n" scores (NaN: none).
        statistics: what it was made with.
        excluded: reason -> how many samples have no usable target.
        stamp: what a control had to give up, for the report.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    columns: dict[str, Column]
    present: NDArray[np.bool_]
    target: Array
    statistics: Statistics
    excluded: dict[str, int] = field(default_factory=dict)
    stamp: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def names(self) -> tuple[str, ...]:
        """Parts, in the order of `present`."""
        return tuple(self.columns)

    def width(self, name: str) -> int:
        """Columns of a part as a net gets them; 0 for ids."""
        return len(self.statistics.kept[name])

    def labelled(self, rows: Rows) -> NDArray[np.int64]:
        """The rows that have a usable target, in their order."""
        rows = np.asarray(rows, np.int64)
        target = self.target[rows]
        return rows[target >= 0 if self.statistics.classes is not None else np.isfinite(target)]

    def labels(self, rows: Rows) -> Array:
        """Targets of the rows as class names (" n" text) or scores; every row has to be labelled."""
        target: Array = self.target[np.asarray(rows, np.int64)]
        if self.statistics.classes is None:
            return target
        if (target < 0).any():
            raise ValueError(f"{int((target < 0).sum())} of {len(target)} rows have no class; see `labelled`")
        return np.asarray(self.statistics.classes)[target]

    def vectors(self, name: str) -> NDArray[np.float64]:
        """One vector a sample, "n d": the mean over tokens, the train mean where the part is absent."""
        column = self.columns[name]
        if column.ids:
            raise ValueError(f"part {name!r} is ids: it has no vectors")
        rows = np.flatnonzero(self.present[:, self.names.index(name)])
        out = np.tile(np.asarray(self.statistics.mean[name], np.float64), (len(self), 1))
        if len(rows):
            lengths = column.lengths(rows)
            flat = column.take(rows).astype(np.float64)
            out[rows] = np.add.reduceat(flat, np.cumsum(lengths) - lengths, axis=0) / lengths[:, None]
        return out
