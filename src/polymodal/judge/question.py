"""One question of a rubric: fifteen kinds of answer, checked alike for people and models."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

Kind = Literal[
    "likert",
    "ordinal",
    "binary",
    "choice",
    "multi",
    "slider",
    "number",
    "probability",
    "text",
    "pair",
    "rank",
    "best_worst",
    "span",
    "interval",
    "region",
]
KINDS: tuple[str, ...] = get_args(Kind)
PAIR = ("a", "b", "tie", "both_bad")
SHAPES: Mapping[str, tuple[str, ...]] = {"point": ("x", "y"), "box": ("x", "y", "width", "height")}
LONGEST = 20_000  # characters of a text answer
MOST = 200  # marks in one answer: spans, intervals, regions
_HUGE = 1e300  # JSON has no larger numbers that every reader takes
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")

Answer = Any  # a JSON value: number, string, list or dict, as `Question.validate` gives it


class Level(NamedTuple):
    """One step of a scale or one option: what is stored, and what is read."""

    value: float | str
    text: str


class Condition(NamedTuple):
    """Shown only where the answer to another item is one of these."""

    item: str
    among: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, of whom, and which answers count.

    Attributes:
        id: unique in its rubric.
        kind: how it is answered.
        text: the question as shown.
        rater: who is to answer it, such as `any`, `person`, `model`, `specialist`.
        family: the subscale that it belongs to.
        levels: steps of likert, ordinal and binary; options of choice, multi, rank and best_worst (where a
            rank or best_worst has none, the cases shown, by letter); labels of span and interval; allowed
            shapes of region.
        low: least number of slider and number.
        high: greatest.
        step: of a slider.
        reverse: the scale is turned round before scoring.
        required: no end without it.
        na: "does not apply" is an answer.
        show_if: when it is asked at all.
        points: what a yes is worth; may be negative. Binary only.
    """

    id: str
    kind: Kind
    text: str
    rater: str = "any"
    family: str = ""
    levels: tuple[Level, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    reverse: bool = False
    required: bool = True
    na: bool = False
    show_if: Condition | None = None
    points: float | None = None

    def validate(self, value: Any) -> Answer:
        """The answer in its one form: from a form's strings, a model's JSON or Python values.

        Returns:
            likert, ordinal, binary, slider, number, probability: a number. choice, pair, text: a string.
            multi, rank: a list of option values. best_worst: {best, worst}. span: a list of
            {turn, start, end[, label]} in characters; interval: of {start, end[, label]} in seconds; region:
            of {shape, x, y[, width, height]} in shares of the picture's width and height.

        Raises:
            ValueError: saying what an answer may be.
        """
        try:
            return _CHECKS[self.kind](self, value)
        except ValueError as error:
            raise ValueError(f"{self.id}: {error}") from None

    def numbers(self, answer: Answer) -> dict[str, float]:
        """A valid answer as scores.

        Returns:
            One number under the question's id; multi, choice, rank and best_worst one an option under
            `id.option` (chosen 1 or 0; place from 1; best 1, worst -1); pair as the first side's win (tie
            and both bad: half); marks by how many there are. Text has none.
        """
        match self.kind:
            case "text":
                return {}
            case "pair":
                return {self.id: {"a": 1.0, "b": 0.0}.get(answer, 0.5)}
            case "choice" | "multi":
                chosen = [answer] if self.kind == "choice" else answer
                return {f"{self.id}.{level.value}": float(level.value in chosen) for level in self.levels}
            case "rank":
                return {f"{self.id}.{name}": float(place) for place, name in enumerate(answer, 1)}
            case "best_worst":
                ends = {answer["best"]: 1.0, answer["worst"]: -1.0}
                names = [level.value for level in self.levels] or sorted(ends)
                return {f"{self.id}.{name}": ends.get(str(name), 0.0) for name in names}
            case "span" | "interval" | "region":
                return {self.id: float(len(answer))}
            case _:
                x = float(answer)
                low, high = self.range
                return {self.id: low + high - x if self.reverse else x}

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of an answer."""
        return _SCHEMAS[self.kind](self)

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest number of a scale; infinite where a number has no bound."""
        if self.kind == "probability":
            return 0.0, 1.0
        if self.kind in ("likert", "ordinal", "binary"):
            values = [float(level.value) for level in self.levels]
            return min(values), max(values)
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )


def number(value: Any) -> float:
    """A finite number from a number or its plain writing.

    Raises:
        ValueError: for anything else, truth values and `nan` included.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _HUGE:
        raise ValueError(f"a number is needed, not {_short(value)}")
    return float(value)


def _short(value: Any) -> str:
    said = reprlib.repr(value)  # bounded in length and depth
    return said if len(said) <= 60 else f"{said[:57]}..."


def _plain(x: float) -> float | int:
    """Whole numbers as such, so that equal answers are equal JSON."""
    return int(x) if x.is_integer() and abs(x) < 2**53 else x


def _step(question: Question, value: Any) -> Answer:
    if isinstance(value, bool) and question.kind == "binary":
        value = int(value)
    x = number(value)
    known = [float(level.value) for level in question.levels]
    if x not in known:
        raise ValueError(f"one of {', '.join(f'{k:g}' for k in known)} is needed, not {_short(value)}")
    return _plain(x)


def _bounded(question: Question, value: Any) -> Answer:
    x, (low, high) = number(value), question.range
    if not low <= x <= high:
        raise ValueError(f"a number from {low:g} to {high:g} is needed, not {_short(value)}")
    if question.step:
        x = min(high, low + round((x - low) / question.step) * question.step)
    return _plain(round(float(x), 12))


def _option(question: Question, value: Any) -> str:
    known = [str(level.value) for level in question.levels]
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"one of {', '.join(known)} is needed, not {_short(value)}")
    return value


def _several(question: Question, value: Any) -> Answer:
    chosen = {_option(question, one) for one in _list(value)}
    return [str(level.value) for level in question.levels if level.value in chosen]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(f"a list is needed, not {_short(value)}")
    if len(value) > MOST:
        raise ValueError(f"at most {MOST} entries, not {len(value)}")
    return list(value)


def _text(question: Question, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"text is needed, not {_short(value)}")
    if len(value) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters, not {len(value)}")
    return value.replace("\0", "")


def _pair(question: Question, value: Any) -> str:
    said = value.strip().lower().replace(" ", "_") if isinstance(value, str) else value
    if said not in PAIR:
        raise ValueError(f"one of {', '.join(PAIR)} is needed, not {_short(value)}")
    return str(said)


def _one_shown(question: Question, value: Any) -> str:
    """An option, or the letter of a case where the question has none."""
    if question.levels:
        return _option(question, value)
    if not isinstance(value, str) or not re.fullmatch("[a-z]", value):
        raise ValueError(f"the letter of a case is needed, not {_short(value)}")
    return value


def _rank(question: Question, value: Any) -> Answer:
    order = [_one_shown(question, one) for one in _list(value)]
    whole = {str(level.value) for level in question.levels} or set("abcdefghijklmnopqrstuvwxyz"[: len(order)])
    if len(order) < 2 or len(set(order)) != len(order) or set(order) != whole:
        raise ValueError(f"each of {', '.join(sorted(whole))} is needed once, not {_short(value)}")
    return order


def _best_worst(question: Question, value: Any) -> Answer:
    fields = _fields(value, ("best", "worst"))
    best, worst = _one_shown(question, fields["best"]), _one_shown(question, fields["worst"])
    if best == worst:
        raise ValueError(f"the best is not the worst: {best}")
    return {"best": best, "worst": worst}


def _fields(value: Any, names: Sequence[str], others: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not set(names) <= set(value) <= {*names, *others}:
        raise ValueError(f"fields {', '.join(names)} are needed, not {_short(value)}")
    return value


def _label(question: Question, mark: Mapping[str, Any]) -> dict[str, str]:
    if not question.levels:
        if mark.get("label"):
            raise ValueError("marks have no labels here")
        return {}
    return {"label": _option(question, mark.get("label"))}


def _spans(question: Question, value: Any) -> Answer:
    found = []
    for one in _list(value):
        mark = _fields(one, ("turn", "start", "end"), ("label",))
        turn, start, end = (number(mark[name]) for name in ("turn", "start", "end"))
        if (
            not (turn.is_integer() and start.is_integer() and end.is_integer() and 0 <= start < end)
            or turn < 0
        ):
            raise ValueError(f"a span goes from a character to a later one of a turn, not {_short(one)}")
        found.append({"turn": int(turn), "start": int(start), "end": int(end), **_label(question, mark)})
    return found


def _intervals(question: Question, value: Any) -> Answer:
    found = []
    for one in _list(value):
        mark = _fields(one, ("start", "end"), ("label",))
        start, end = number(mark["start"]), number(mark["end"])
        if not 0 <= start < end:
            raise ValueError(f"an interval goes from a second to a later one, not {_short(one)}")
        found.append({"start": start, "end": end, **_label(question, mark)})
    return found


def _regions(question: Question, value: Any) -> Answer:
    found = []
    allowed = [str(level.value) for level in question.levels] or list(SHAPES)
    for one in _list(value):
        shape = one.get("shape") if isinstance(one, Mapping) else None
        if shape not in allowed:
            raise ValueError(f"a shape of {', '.join(allowed)} is needed, not {_short(one)}")
        mark = _fields(one, ("shape", *SHAPES[shape]))
        at = {name: number(mark[name]) for name in SHAPES[shape]}
        ends = [at["x"] + at.get("width", 0.0), at["y"] + at.get("height", 0.0)]
        inside = all(x >= 0 for x in at.values()) and max(ends) <= 1 + 1e-9
        if not inside or at.get("width", 1) * at.get("height", 1) == 0:
            raise ValueError(f"places are shares of the picture from 0 to 1, not {_short(one)}")
        found.append({"shape": shape, **at})
    return found


_CHECKS: Mapping[str, Callable[[Question, Any], Answer]] = {
    "likert": _step,
    "ordinal": _step,
    "binary": _step,
    "choice": _option,
    "multi": _several,
    "slider": _bounded,
    "number": _bounded,
    "probability": _bounded,
    "text": _text,
    "pair": _pair,
    "rank": _rank,
    "best_worst": _best_worst,
    "span": _spans,
    "interval": _intervals,
    "region": _regions,
}


def _record(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _step_schema(question: Question) -> dict[str, Any]:
    values = [float(level.value) for level in question.levels]
    whole = all(value.is_integer() for value in values)
    return {"type": "integer" if whole else "number", "enum": [int(v) if whole else v for v in values]}


def _range_schema(question: Question) -> dict[str, Any]:
    low, high = question.range
    ends = {"minimum": low, "maximum": high}
    return {"type": "number", **{key: x for key, x in ends.items() if math.isfinite(x)}}


def _option_schema(question: Question) -> dict[str, Any]:
    names = [str(level.value) for level in question.levels]
    return {"type": "string", "enum": names} if names else {"type": "string", "pattern": "^[a-z]$"}


def _list_schema(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "maxItems": MOST}


def _mark_schema(question: Question, fields: Sequence[str], kind: str) -> dict[str, Any]:
    label = {"label": _option_schema(question)} if question.levels else {}
    return _list_schema(_record(**{name: {"type": kind, "minimum": 0} for name in fields}, **label))


def _region_schema(question: Question) -> dict[str, Any]:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    names = [str(level.value) for level in question.levels] or list(SHAPES)
    shapes = [
        _record(shape={"type": "string", "enum": [name]}, **dict.fromkeys(SHAPES[name], share))
        for name in names
    ]
    return _list_schema(shapes[0] if len(shapes) == 1 else {"anyOf": shapes})


_SCHEMAS: Mapping[str, Callable[[Question], dict[str, Any]]] = {
    "likert": _step_schema,
    "ordinal": _step_schema,
    "binary": _step_schema,
    "choice": _option_schema,
    "multi": lambda question: _list_schema(_option_schema(question)),
    "slider": _range_schema,
    "number": _range_schema,
    "probability": _range_schema,
    "text": lambda question: {"type": "string", "maxLength": LONGEST},
    "pair": lambda question: {"type": "string", "enum": list(PAIR)},
    "rank": lambda question: _list_schema(_option_schema(question)),
    "best_worst": lambda question: _record(best=_option_schema(question), worst=_option_schema(question)),
    "span": lambda question: _mark_schema(question, ("turn", "start", "end"), "integer"),
    "interval": lambda question: _mark_schema(question, ("start", "end"), "number"),
    "region": _region_schema,
}
