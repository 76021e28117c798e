"""Rows of a laboratory's page, held against their ranges in exact decimal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from polymodal.envs.reading import Line

Box = tuple[int, int, int, int]
State = Literal["low", "in range", "high", "unsure"]

NUMBER = r"\d+(?:\.\d+)?"
UNIT = r"10\W{0,2}9/?L|[^\W\d_]+(?:/[^\W\d_]+)*|%"
NAME = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]{3,})*")
ROW = re.compile(rf"\W*({NUMBER})\s*({UNIT})\s*\(?({NUMBER})\s*[-–—]\s*({NUMBER})\)?\s*[HL*]?")
FAR = Decimal(10)  # a value this many times beyond its range was misread, or is in another unit


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        name: of the analyte, as it is written.
        value: exact; None where it cannot be told from the text.
        unit: as it is written, "" where there is none.
        low: of the range.
        high: of the range.
        state: where the value lies; "unsure" wherever anything is missing, doubtful or contradicts itself.
        text: the words of the whole row.
        box: left, top, right, bottom in pixels.
    """

    name: str
    value: Decimal | None
    unit: str
    low: Decimal | None
    high: Decimal | None
    state: State
    text: str
    box: Box


def rows(lines: Sequence[Line], units: Mapping[str, str] | None = None) -> tuple[Row, ...]:
    """Rows from the top that begin with a name and have a figure; titles and footers are left out.

    Pieces at the same height are one row, whatever the reader cut. A row is unsure, and its text kept, where
    it is not exactly name, value, unit, low, high in this order: a comma in a figure (decimals, or
    thousands), an unreadable or reversed range, a missing or a second unit; where the unit is not the
    analyte's own; and where the value is ten times beyond its range.

    Args:
        lines: pieces of text with their boxes, in any order.
        units: of analytes by name; others may have any.
    """
    own = {name.lower(): unit for name, unit in (units or {}).items()}
    found = []
    for parts in _level(lines):
        text = " ".join(part.text for part in parts)
        named = NAME.match(text.strip())
        if named and re.search(r"\d", text):
            box = (
                min(part.box[0] for part in parts),
                min(part.box[1] for part in parts),
                max(part.box[2] for part in parts),
                max(part.box[3] for part in parts),
            )
            found.append(_row(named.group(), text, box, own.get(named.group().lower(), "")))
    return tuple(found)


def _level(lines: Sequence[Line]) -> list[list[Line]]:
    """Pieces by row from the top, in a row from the left; a row's pieces overlap its first in height."""
    levels: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: one.box[1] + one.box[3]):
        middle = (line.box[1] + line.box[3]) / 2
        last = levels[-1][-1].box if levels else None
        if last and last[1] < middle < last[3]:
            levels[-1].append(line)
        else:
            levels.append([line])
    return [sorted(level, key=lambda one: one.box[0]) for level in levels]


def _row(name: str, text: str, box: Box, own: str) -> Row:
    match = ROW.fullmatch(text.strip()[len(name) :])
    if match is None:
        return Row(name, None, "", None, None, "unsure", text, box)
    unit = match[2]
    value, low, high = Decimal(match[1]), Decimal(match[3]), Decimal(match[4])
    state: State = "low" if value < low else "high" if value > high else "in range"
    if low >= high or value > high * FAR or value * FAR < low or (own and _bare(unit) != _bare(own)):
        state = "unsure"
    return Row(name, value, unit, low, high, state, text, box)


def _bare(unit: str) -> str:
    """A unit's letters and digits, whatever a reader of text makes of the marks between."""
    return "".join(letter for letter in unit.lower() if letter.isalnum())
