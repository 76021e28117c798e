"""Sections of answers: conversations with their verdicts, curves and plain tables."""

import math
from pathlib import Path
from typing import Any

from polymodal.metrics import Estimate
from polymodal.runs.pages import charts
from polymodal.runs.pages.exhibit import SHOWN

Row = dict[str, Any]
MANY = 12  # talks that are shown without folds


def talks(folder: Path, data: list[Row]) -> list[Row]:
    """Conversations ready to show: each turn has its kind, and a medium that is gone says so."""
    return [{**talk, "turns": [_turn(folder, turn) for turn in talk["turns"]]} for talk in data]


def _turn(folder: Path, turn: Row) -> Row:
    turn["role"]  # every turn says who speaks
    if "path" not in turn:
        return turn
    path = folder / turn["path"]
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        kept = {name: value for name, value in turn.items() if name != "path"}
        return {**kept, "lost": f"{turn['path']} is missing"}
    kinds = [kind for kind, suffixes in SHOWN.items() if path.suffix.lower() in suffixes]
    return {**turn, "kind": kinds[0] if kinds else "file"}


def folded(data: list[Row]) -> list[tuple[str, list[Row]]]:
    """Talks by their tag `subject` where they are many; else all of them under no name."""
    by: dict[str, list[Row]] = {}
    for talk in data:
        by.setdefault(str(talk.get("tags", {}).get("subject", "")), []).append(talk)
    return list(by.items()) if len(data) > MANY and len(by) > 1 else [("", data)]


def curves(data: list[Row]) -> Row:
    """Figures of the `curves` section."""
    figures = []
    for curve in data:
        rows = _points(curve["rows"])
        if rows:
            words = "; ".join(f"{row['arm']} at {row['x']}: {charts.short(row['mean'])}" for row in rows)
            spoken = f"{curve['title']}. {words}"
            figures.append((curve["title"], charts.curves(rows, curve["x"], curve.get("y", ""), spoken)))
    return {"curves": figures} if figures else {}


def missing(data: list[Row]) -> Row:
    """The figure of the `missing` section."""
    rows = _points([{**row, "x": row["p"]} for row in data])
    words = "; ".join(f"{row['arm']} at p {row['x']}: {charts.short(row['mean'])}" for row in rows)
    spoken = f"Score by probability of a missing part. {words}"
    return {"missing": charts.curves(rows, "probability that a part is missing", "", spoken)} if rows else {}


def _points(rows: list[Row]) -> list[Row]:
    """Rows with an estimate to draw, its interval beside it (no interval: the point itself)."""
    points = []
    for row in rows:
        found = Estimate.from_json(row["estimate"])
        if math.isfinite(found.mean):
            low, high = (x if math.isfinite(x) else found.mean for x in (found.low, found.high))
            ends = {"mean": found.mean, "low": low, "high": high}
            points.append({"arm": row["arm"], "x": row["x"], **ends, "expected": row.get("expected")})
    return points


def tables(data: list[Row]) -> Row:
    """Plain tables; a row must have as many cells as there are columns."""
    for table in data:
        for row in table["rows"]:
            if len(row) != len(table["columns"]):
                raise ValueError(
                    f"table {table['title']!r}: {len(row)} cells, {len(table['columns'])} columns"
                )
    return {"tables": data}
