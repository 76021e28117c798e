"""Verdicts as one long table: merged without doubles, pivoted, and turned into rates."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polymodal.judge.case import Case, Verdict
from polymodal.media import MediaError, Message
from polymodal.metrics import Estimate, bounds, mean, proportion
from polymodal.metrics.metric import Better

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        *((name, NAME) for name in ("subject", "item", "group", "variant", "judge", "score")),
        ("value", pa.float64()),
        ("valid", pa.bool_()),
        ("reason", NAME),
        ("turn", pa.int32()),
        ("seed", pa.int64()),
        ("calls", pa.int32()),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("prompt_digest", pa.string()),
        ("output_digest", pa.string()),
    ]
)
KEY = ("subject", "item", "variant", "judge", "score", "seed")
UNIT = ("subject", "item", "variant")
_DEFAULTS: Mapping[str, Any] = {
    "group": "", "variant": "", "valid": True, "reason": "", "turn": None, "seed": 0, "calls": 0, "tokens": 0,
    "seconds": 0.0, "prompt_digest": "", "output_digest": "",
}  # fmt: skip
_BATCH = 10_000


class Pivot(NamedTuple):
    """One score as a matrix "r c".

    Attributes:
        values: NaN where absent or invalid.
        valid: where there is a valid value.
        present: where there is a row at all; present and not valid is invalid.
        rows: names of the rows; tuples where they are made of several columns.
        columns: names of the columns.
        group: group of each row.
    """

    values: NDArray[np.float64]
    valid: NDArray[np.bool_]
    present: NDArray[np.bool_]
    rows: list[Any]
    columns: list[str]
    group: list[str]


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate that does not hide what could not be judged.

    Attributes:
        estimate: over the valid labels.
        invalid: share of labels without a verdict.
        bounds: what the mean could be, had the invalid ones been anything.
        reasons: how many invalid ones, by reason.
    """

    estimate: Estimate
    invalid: Estimate
    bounds: Estimate
    reasons: dict[str, int]


class Labels:
    """A long table of verdicts, a row a score, in the columns of `SCHEMA`; never changed once made.

    The cost of a verdict stands on the row of its first score, a panel's on those of its members, so that
    costs add up.
    """

    def __init__(self, table: pa.Table) -> None:
        """Take a table with the columns of `SCHEMA`, as read from a file.

        Raises:
            ValueError: a column is missing, a valid label has no finite value or an invalid one no reason, or
                a key (subject, item, variant, judge, score, seed) comes twice with different values. Of equal
                doubles the first stays.
        """
        missing = [name for name in SCHEMA.names if name not in table.column_names]
        if missing:
            raise ValueError(f"labels lack columns: {', '.join(missing)}")
        self.table = table.select(SCHEMA.names).cast(SCHEMA).unify_dictionaries().combine_chunks()
        self._check()

    @classmethod
    def of(cls, judged: Iterable[tuple[Case, Verdict]], *, scores: Sequence[str], seed: int) -> Labels:
        """Label verdicts, those of a panel's members included; takes a stream and keeps only the table.

        Args:
            judged: cases with their verdicts, as `grid.verdicts` yields them.
            scores: which scores to keep. An invalid verdict gets an invalid label for each of them; one that
                a valid verdict does not have (the question did not apply) gets none.
            seed: of the run.

        Raises:
            ValueError: no score named, or a doubled key with another value.
        """
        if not scores:
            raise ValueError("name the scores to label")
        return cls.from_rows(_rows(judged, scores, seed=seed))

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Labels:
        """Labels from plain rows: subject, item, judge, score and value; the other columns have defaults.

        Raises:
            ValueError: as for a table.
        """
        whole = ({**_DEFAULTS, **row} for row in rows)
        batches = []
        while part := list(islice(whole, _BATCH)):
            try:
                batches.append(pa.RecordBatch.from_pylist(part, SCHEMA))
            except pa.ArrowException as error:
                raise ValueError(f"not a label among {len(part)} rows: {error}") from None
        return cls(pa.Table.from_batches(batches, SCHEMA))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def names(self, column: str) -> list[str]:
        """Distinct names in a column, sorted."""
        return sorted(pc.unique(self.table[column].cast(pa.string())).to_pylist())

    def merge(self, *others: Labels) -> Labels:
        """All rows of both; the same label twice counts once.

        Raises:
            ValueError: the same key with another value.
        """
        return Labels(pa.concat_tables([self.table, *(other.table for other in others)]))

    def where(self, **equal: str | Sequence[str]) -> Labels:
        """The rows whose columns have these values; a list means any of them."""
        keep = np.ones(len(self), dtype=bool)
        for column, wanted in equal.items():
            among = [wanted] if isinstance(wanted, str) else list(wanted)
            codes, known = self._coded(column)
            keep &= np.isin(known, among)[codes]
        found = Labels.__new__(Labels)  # a part of what was checked needs no second check
        found.table = self.table.filter(pa.array(keep)).combine_chunks()
        return found

    def column(self, name: str, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
        """A column, or some rows of it, as an array; names as Python strings."""
        if SCHEMA.field(name).type == NAME:
            codes, known = self._coded(name)
            return known[codes[rows]]
        return np.asarray(self.table[name].to_numpy())[rows]

    def pivot(
        self, score: str, *, rows: str | Sequence[str] = "item", columns: str = "subject", **where: str
    ) -> Pivot:
        """One score as a matrix.

        Args:
            score: its name.
            rows: the column, or several, that make a row.
            columns: the column that makes a column.
            where: values that other columns must have, such as `variant="mt"`.

        Raises:
            ValueError: two labels fall into one cell; says what tells them apart.
        """
        part = self.where(score=score, **where)
        names = (rows,) if isinstance(rows, str) else tuple(rows)
        unit = part._combined(names)
        first, row = np.unique(unit, return_index=True, return_inverse=True)[1:]
        codes, known = part._coded(columns)
        used, column = np.unique(codes, return_inverse=True)
        shape = (len(first), len(used))
        if len(np.unique(row * max(1, shape[1]) + column)) < len(part):
            apart = [
                name for name in KEY if name not in (*names, columns) and len(set(part.column(name))) > 1
            ]
            raise ValueError(
                f"several labels of {score!r} for one {'/'.join(names)} and {columns}: they differ in "
                f"{', '.join(apart) or 'nothing but the group'}"
            )
        values, valid, present = np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
        values[row, column] = part.values()
        valid[row, column] = part.column("valid")
        present[row, column] = True
        parts = [part.column(name, first) for name in names]
        named = list(parts[0]) if isinstance(rows, str) else list(zip(*parts, strict=True))
        return Pivot(values, valid, present, named, list(known[used]), list(part.column("group", first)))

    def values(self) -> NDArray[np.float64]:
        """Values of all rows; NaN where invalid."""
        return np.where(self.column("valid"), self.column("value"), np.nan)

    def rates(
        self,
        score: str,
        *,
        by: Sequence[str] = ("subject", "variant"),
        low: float = 0.0,
        high: float = 1.0,
        better: Better | None = None,
        seed: int = 0,
        draws: int = 2000,
    ) -> dict[tuple[str, ...], Rate]:
        """The mean of a score in each cell of some columns, with what could not be judged.

        Wilson's interval for truth values and Student's t for numbers where no group comes twice in a cell,
        else a bootstrap of groups.

        Args:
            score: its name.
            by: the columns that make a cell; all others are pooled.
            low: least value of the scale, for the worst case.
            high: greatest.
            better: which direction is good.
            seed: of the bootstrap.
            draws: of the bootstrap.
        """
        part = self.where(score=score)
        if not len(part):
            return {}
        cell = part._combined(tuple(by))
        first, place = np.unique(cell, return_index=True, return_inverse=True)[1:]
        values, groups, reasons = part.values(), part.column("group"), part.column("reason")
        keys = list(zip(*(part.column(name, first) for name in by), strict=True)) if by else [()]
        found = {}
        order = np.argsort(place, kind="stable")
        ends = np.cumsum(np.bincount(place, minlength=len(first)))[:-1]
        for key, rows in zip(keys, np.split(order, ends), strict=True):
            x, why = values[rows], [str(reason) for reason in reasons[rows] if reason]
            found[key] = Rate(
                estimate(x, groups[rows], better=better, seed=seed, draws=draws),
                proportion(int(np.isnan(x).sum()), len(x), better="lower"),
                bounds(x, low=low, high=high, better=better),
                dict(sorted(Counter(why).items())),
            )
        return dict(sorted(found.items()))

    def fingerprint(self) -> str:
        """32 hex digits of the labels themselves, whatever their order, cost and seconds."""
        columns = [*KEY, "group", "valid", "value", "reason"]
        rows = self.table.select(columns).to_pylist()
        state = hashlib.sha256()
        for line in sorted(json.dumps([repr(row[name]) for name in columns]) for row in rows):
            state.update(line.encode())
        return state.hexdigest()[:32]

    def _coded(self, column: str) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """A column of names as positions in the sorted array of its names."""
        if not len(self):
            return np.empty(0, np.int64), np.empty(0, object)
        whole = self.table[column].combine_chunks()
        whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        names = np.array(whole.dictionary.to_pylist(), dtype=object)
        order = np.argsort(names)
        return np.argsort(order)[whole.indices.to_numpy()], names[order]

    def _combined(self, columns: Sequence[str]) -> NDArray[np.int64]:
        """One number a row, equal where all these columns are equal."""
        code = np.zeros(len(self), np.int64)
        for column in columns:
            if SCHEMA.field(column).type == NAME:
                codes, known = self._coded(column)
                size = max(1, len(known))
            else:
                known, codes = np.unique(self.column(column), return_inverse=True)
                size = max(1, len(known))
            code = np.unique(code * size + codes, return_inverse=True)[1] if len(code) else code
        return code

    def _check(self) -> None:
        empty = [n for n in SCHEMA.names if n not in ("value", "turn") and self.table[n].null_count]
        if empty:
            raise ValueError(f"labels lack values of: {', '.join(empty)}")
        valid, values = self.column("valid"), self.column("value")
        reasons, known = self._coded("reason")
        told = (known != "")[reasons] if len(self) else valid
        if (valid & ~np.isfinite(values)).any() or (valid == told).any():
            raise ValueError("a valid label has a finite value and no reason, an invalid one has a reason")
        first, place = np.unique(self._combined(KEY), return_index=True, return_inverse=True)[1:]
        if len(first) == len(self):
            return
        twin = first[place]
        same = (valid == valid[twin]) & (reasons == reasons[twin]) & (~valid | (values == values[twin]))
        if not same.all():
            row = self.table.slice(int(np.flatnonzero(~same)[0]), 1).to_pylist()[0]
            raise ValueError(f"doubled with another value: {', '.join(str(row[name]) for name in KEY)}")
        self.table = self.table.take(pa.array(np.sort(first)))


def estimate(
    values: NDArray[np.float64],
    group: NDArray[Any],
    *,
    better: Better | None = None,
    seed: int = 0,
    draws: int = 2000,
) -> Estimate:
    """The mean of values " n" (NaN is invalid), its interval by what they are; see `Labels.rates`."""
    kept = values[np.isfinite(values)]
    if len(set(group)) < len(group):
        return mean(values, group=group, seed=seed, draws=draws, better=better)
    if np.isin(kept, (0.0, 1.0)).all():
        return proportion(int(kept.sum()), len(kept), invalid=len(values) - len(kept), better=better)
    return mean(values, better=better)


def _rows(
    judged: Iterable[tuple[Case, Verdict]], scores: Sequence[str], *, seed: int
) -> Iterator[dict[str, Any]]:
    before: Case | None = None
    fixed: dict[str, Any] = {}
    for case, verdict in judged:
        if case is not before:
            before, fixed = case, _of_case(case, seed=seed)
        for one in (verdict, *verdict.members):
            told: dict[str, Any] = {"judge": one.judge, "valid": one.valid, "reason": one.reason}
            told["turn"] = one.evidence[0].turn if one.evidence else None
            cost = {} if one.members else _cost(one)
            for name in scores:
                if one.valid and name not in one.scores:
                    continue
                value = float(one.scores[name]) if one.valid else float("nan")
                yield {**fixed, **told, **cost, "score": name, "value": value}
                cost = {}


def _cost(verdict: Verdict) -> dict[str, float]:
    usage = verdict.usage
    tokens = usage.tokens_in + usage.tokens_out
    return {"calls": usage.calls, "tokens": tokens, "seconds": usage.seconds}


def _of_case(case: Case, *, seed: int) -> dict[str, Any]:
    said = [message for message in case.messages if message.role == "assistant"]
    rest = [message for message in case.messages if message.role != "assistant"]
    return {
        "subject": case.subject,
        "item": case.item,
        "group": case.group,
        "variant": case.variant,
        "seed": seed,
        "prompt_digest": _digest(rest),
        "output_digest": _digest(said),
    }


def _digest(messages: Iterable[Message]) -> str:
    """32 hex digits of messages; "" where a part of them cannot be read."""
    try:
        words = [[message.role, *(part.digest() for part in message.parts)] for message in messages]
    except MediaError:
        return ""
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]
