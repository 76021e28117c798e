"""Tables a person brings: trials, ratings long or wide, coded studies, study exports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
COLUMNS = (
    "rater", "item", "order", "capability", "mode", "display", "truth", "advice", "initial", "final",
    "confidence_initial", "confidence_final", "advice_confidence", "rt_initial", "rt_final", "trust", "block",
    "propensity",
)  # fmt: skip
EXPORT = ("trials.parquet", "ratings.parquet")
ANSWERS = ("truth", "advice", "initial", "final")
TEXT = (
    "rater",
    "item",
    "capability",
    "mode",
    "display",
    "block",
    "subject",
    "field",
    "study",
    "coder",
    "axis",
)
NEEDED = (
    ("trials", ("rater", *ANSWERS)),
    ("trials", ("rater", "advice_correct", "relied")),
    ("ratings", ("item", "value")),
    ("coded", ("study", "coder", "axis", "leaves")),
    ("pairs", ("first", "second", "outcome")),
)


class Book(NamedTuple):
    """A table by columns: trials, ratings or coded; its columns of one length; and what was left out."""

    kind: str
    columns: Columns
    notes: list[str]


def read(path: Path, columns: str = "", duplicates: str = "refuse") -> Book:
    """A table of trials, ratings or codings.

    Args:
        path: a .jsonl, .parquet or .csv file, or the folder of a study's export (its trials.parquet).
        columns: foreign names, `relied:COL,advice_correct:COL`; `value:A|B|C` are ratings side by side.
        duplicates: `first` keeps the first of several rows with one rater, item and order.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: columns are missing, mix types or are no numbers, or rows are doubled.
    """
    file = next(iter(tables_in(path)), path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such table")
    found = _columns(file)
    if path.is_dir() and (path / "events.parquet").is_file():
        found["source"] = _sources(path / "events.parquet", found["rater"])
    names = dict(pair.split(":", 1) for pair in columns.split(",") if ":" in pair)
    absent = [name for given in names.values() for name in given.split("|") if name not in found]
    if absent:
        raise ValueError(f"{file.name} has no column {', '.join(absent)}; it has {', '.join(found)}")
    if "|" in names.get("value", ""):
        raters, n = names.pop("value").split("|"), len(next(iter(found.values())))
        wide = {"rater": [name for name in raters for _ in range(n)]}
        wide["value"] = [x for name in raters for x in found[name]]
        found = {name: x * len(raters) for name, x in found.items()} | wide
    found |= {ours: found[theirs] for ours, theirs in names.items()}
    kind = next((kind for kind, way in NEEDED if set(way) <= set(found)), "")
    if not kind:
        wanted = "; or ".join(", ".join(way) for _, way in NEEDED)
        raise ValueError(f"{file.name} has the columns {', '.join(found)}; needed: {wanted} (-o columns=)")
    return _single(
        kind, {name: _typed(name, x, file.name) for name, x in found.items()}, duplicates, file.name
    )


def _sources(events: Path, raters: list[Any]) -> list[str]:
    """`simulated` for raters that an export's events call so, else `person`."""
    from pyarrow import parquet

    table = parquet.read_table(events, columns=["rater", "kind"]).to_pydict()
    known = {rater for rater, kind in zip(table["rater"], table["kind"], strict=True) if kind == "simulated"}
    return ["simulated" if rater in known else "person" for rater in raters]


def tables_in(path: Path) -> list[Path]:
    """The tables of a study's export that have rows: its trials first, else its ratings."""
    from pyarrow import parquet

    files = [path / name for name in EXPORT if (path / name).is_file()]
    return [file for file in files if parquet.read_metadata(file).num_rows]


def _columns(file: Path) -> dict[str, list[Any]]:
    match file.suffix:
        case ".jsonl":
            rows = [
                json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()
            ]
            return {
                name: [row.get(name) for row in rows] for name in dict.fromkeys(k for r in rows for k in r)
            }
        case ".csv":
            from pyarrow import csv

            return dict(csv.read_csv(file).to_pydict())
        case ".parquet":
            from pyarrow import parquet

            return dict(parquet.read_table(file).to_pydict())
    raise ValueError(f"{file.name}: a table is a .jsonl, .parquet or .csv file")


def _typed(name: str, values: list[Any], file: str) -> NDArray[Any]:
    """A column in its one type; answers and names are text, so that 3 and 3.0 are the same answer."""
    if name in ANSWERS or name in TEXT:
        kinds = {"number" if isinstance(x, int | float) else "text" for x in values if x is not None}
        if name in ANSWERS and len(kinds) > 1:
            raise ValueError(f"{file}: the column {name} mixes numbers and text")
        values = [f"{x:g}" if isinstance(x, float) else None if x in (None, "") else str(x) for x in values]
        return np.array([None if x == "nan" else x for x in values], dtype=object)
    if name in COLUMNS or name in ("value", "advice_correct", "relied", "outcome"):
        try:
            return np.array([np.nan if x in (None, "") else float(x) for x in values], dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{file}: the column {name} must hold numbers") from None
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def typed(columns: Mapping[str, Any]) -> Columns:
    """Columns of plain values, each in its one type."""
    return {name: _typed(name, list(values), "rows") for name, values in columns.items()}


def _single(kind: str, columns: Columns, duplicates: str, file: str) -> Book:
    """Without doubled rows of one rater, item and order (or subject and field)."""
    keys = [name for name in ("rater", "item", "order", "subject", "field") if name in columns]
    if kind == "coded" or not {"rater", "item", *(["order"] if kind == "trials" else [])} <= set(keys):
        return Book(kind, columns, [])
    rows = list(zip(*(columns[name].tolist() for name in keys), strict=True))
    first = sorted({row: i for i, row in reversed(list(enumerate(rows)))}.values())
    extra = len(rows) - len(first)
    if extra and duplicates != "first":
        raise ValueError(
            f"{file}: {extra} rows repeat {', '.join(keys)}; -o duplicates=first keeps the first"
        )
    note = [f"{extra} doubled rows of {len(rows)} were left out, the first kept."] if extra else []
    return Book(kind, {name: x[first] for name, x in columns.items()}, note)
