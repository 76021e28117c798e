"""Rubrics as data: the same questions for people and for models, checked, shown and scored."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.judge.question import KINDS, SHAPES, Answer, Condition, Level, Question, number

POINTS = "points"
ANSWERED = 0.5  # share of a subscale's items that must be answered for it to have a mean
_SCALES = ("likert", "ordinal")
_OPTIONS = ("choice", "multi")
_TOP = {"id", "version", "source", "licence", "rater", "title", "items"}
_ITEM = {
    "id", "family", "rater", "text", "kind", "levels", "low", "high", "step", "reverse", "required", "na",
    "show_if", "points",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """Questions with where they come from.

    Attributes:
        id: its name.
        version: changes whenever a word of it does.
        source: who wrote it.
        licence: under which terms.
        items: the questions in order.
        title: for people.
    """

    id: str
    version: str
    source: str
    licence: str
    items: tuple[Question, ...]
    title: str = ""

    def __getitem__(self, item: str) -> Question:
        """A question by its id.

        Raises:
            KeyError: there is none.
        """
        for question in self.items:
            if question.id == item:
                return question
        raise KeyError(item)

    @property
    def digest(self) -> str:
        """12 hex digits of all that it asks."""
        plain = json.dumps([self.id, self.version, [_words(question) for question in self.items]])
        return hashlib.sha256(plain.encode()).hexdigest()[:12]

    def asked_of(self, rater: str) -> Rubric:
        """The part that such a rater answers: its own items and those for `any`."""
        return Rubric(
            id=self.id, version=self.version, source=self.source, licence=self.licence, title=self.title,
            items=tuple(question for question in self.items if question.rater in ("any", rater)),
        )  # fmt: skip

    def shown(self, values: Mapping[str, Answer]) -> tuple[Question, ...]:
        """The questions to ask, given the answers so far; what hangs on a hidden one is hidden too."""
        found: dict[str, Question] = {}
        for question in self.items:
            needed = question.show_if
            if needed is None or (needed.item in found and _met(values.get(needed.item), needed.among)):
                found[question.id] = question
        return tuple(found.values())

    def missing(self, values: Mapping[str, Answer], na: Collection[str] = ()) -> list[str]:
        """Ids of required questions that are shown and have neither an answer nor "does not apply"."""
        return [
            question.id
            for question in self.shown(values)
            if question.required
            and _empty(values.get(question.id))
            and not (question.na and question.id in na)
        ]

    def complete(self, values: Mapping[str, Any]) -> dict[str, Answer]:
        """All answers in their one form; null is "does not apply" where that is allowed, else no answer.

        Raises:
            ValueError: an unknown id, a wrong answer, or a required one that is missing.
        """
        unknown = sorted(set(values) - {question.id for question in self.items})
        if unknown:
            raise ValueError(f"no such question: {', '.join(unknown)}")
        given = {name: value for name, value in values.items() if value is not None}
        right = {q.id: q.validate(given[q.id]) for q in self.items if q.id in given}
        right = {q.id: right[q.id] for q in self.shown(right) if q.id in right}
        missing = self.missing(right, na=set(values) - set(given))
        if missing:
            raise ValueError(f"no answer: {', '.join(missing)}")
        return right


def load_rubric(path: Path) -> Rubric:
    """Read a rubric from a JSON file.

    Raises:
        ValueError: not JSON, or not a rubric: each fault with its path and key.
        OSError: no such file.
    """
    return read_rubric(_read(path), where=path.name)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: not JSON: {error}") from None


def read_rubric(data: Any, *, where: str = "rubric") -> Rubric:
    """A rubric from its JSON value.

    Raises:
        ValueError: with every fault, a line each.
    """
    faults = problems(data, where=where)
    if faults:
        raise ValueError("\n".join(faults))
    items: dict[str, Question] = {}
    for item in data["items"]:
        items[item["id"]] = _question(item, data.get("rater", "any"), items)
    return Rubric(
        id=data["id"], version=data["version"], source=data["source"], licence=data["licence"],
        title=data.get("title", ""), items=tuple(items.values()),
    )  # fmt: skip


def problems(data: Any, *, where: str = "rubric") -> list[str]:
    """What is wrong with a rubric's JSON value, each fault as `path.key: what`; empty where nothing is."""
    if not isinstance(data, Mapping):
        return [f"{where}: an object is needed"]
    faults = [f"{where}.{key}: unknown key" for key in sorted(set(data) - _TOP)]
    faults += [
        f"{where}.{key}: text is needed"
        for key in ("id", "version", "source", "licence")
        if not isinstance(data.get(key), str) or not data[key]
    ]
    items = data.get("items")
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        return [*faults, f"{where}.items: a list of questions is needed"]
    before: dict[str, Mapping[str, Any]] = {}
    for i, item in enumerate(items):
        at = f"{where}.items[{i}]"
        if not isinstance(item, Mapping):
            faults.append(f"{at}: an object is needed")
            continue
        faults += [f"{at}.{fault}" for fault in _faults(item, data.get("rater"), before)]
        if isinstance(item.get("id"), str):
            before[item["id"]] = item
    families = {str(item.get("family", "")) for item in before.values()}
    faults += [
        f"{where}.items: {name!r} is both an id and a family" for name in sorted(families & set(before))
    ]
    return faults


def _faults(item: Mapping[str, Any], rater: Any, before: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Faults of one question, as `key: what`; a doubled id, unknown kind and the like first."""
    faults = [f"{key}: unknown key" for key in sorted(set(item) - _ITEM)]
    name, kind = item.get("id"), item.get("kind")
    if not isinstance(name, str) or not name or not re.fullmatch(r"[\w-]+", name):
        faults.append("id: letters, digits, _ and - are needed")
    elif name == POINTS or item.get("family") == POINTS:
        faults.append(f"id: {POINTS!r} is the name of the sum of points")
    elif name in before:
        faults.append(f"id: {name!r} occurs twice")
    if not isinstance(item.get("text"), str) or not item["text"]:
        faults.append("text: text is needed")
    if not isinstance(item.get("rater", rater), str) or not item.get("rater", rater):
        faults.append("rater: who answers is needed, here or for the whole rubric")
    if not isinstance(item.get("family", ""), str):
        faults.append("family: text is needed")
    faults += [
        f"{k}: true or false" for k in ("reverse", "required", "na") if type(item.get(k, True)) is not bool
    ]
    if kind not in KINDS:
        return [*faults, f"kind: one of {', '.join(KINDS)} is needed, not {kind!r}"]
    if item.get("points") is not None and kind != "binary":
        faults.append("points: only a binary question has points")
    return [*faults, *_scale_faults(item, kind), *_condition_faults(item.get("show_if"), before)]


def _scale_faults(item: Mapping[str, Any], kind: str) -> list[str]:
    faults = []
    for key in ("low", "high", "step", "points"):
        try:
            number(item.get(key) if item.get(key) is not None else 0)
        except ValueError as error:
            faults.append(f"{key}: {error}")
    if faults:
        return faults
    low, high = item.get("low"), item.get("high")
    if kind == "slider" and (low is None or high is None):
        faults.append("low: a slider needs low and high")
    if low is not None and high is not None and not low < high:
        faults.append("high: it must be above low")
    if item.get("step") is not None and not item["step"] > 0:
        faults.append("step: it must be above 0")
    try:
        values = [level.value for level in _levels(item)]
    except ValueError as error:
        return [*faults, f"levels: {error}"]
    if len(set(values)) != len(values):
        faults.append("levels: a value occurs twice")
    if kind in (*_SCALES, *_OPTIONS) and len(values) < 2:
        faults.append("levels: two or more are needed")
    if kind == "binary" and (len(values) != 2 or set(values) != {0, 1}):
        faults.append("levels: a binary question has 0 and 1")
    if kind == "region" and not set(values) <= set(SHAPES):
        faults.append(f"levels: shapes are {', '.join(SHAPES)}")
    return faults


def _condition_faults(needed: Any, before: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if needed is None:
        return []
    if not isinstance(needed, Mapping) or set(needed) != {"item", "in"} or not isinstance(needed["in"], list):
        return ['show_if: {"item": id, "in": [answers]} is needed']
    if needed["item"] not in before:
        return [f"show_if: no question {needed['item']!r} comes before"]
    try:
        _among(_question({**before[needed["item"]], "show_if": None}, "any", {}), needed["in"])
    except (ValueError, KeyError, TypeError) as error:
        return [f"show_if: {error}"]
    return []


def _question(item: Mapping[str, Any], rater: str, before: Mapping[str, Question]) -> Question:
    needed, shown = item.get("show_if"), None
    if needed is not None:
        shown = Condition(needed["item"], _among(before[needed["item"]], needed["in"]))
    plain = {key: item[key] for key in _ITEM - {"levels", "show_if"} if key in item}
    return Question(**{"rater": rater, **plain, "levels": _levels(item), "show_if": shown})


def _among(question: Question, answers: Sequence[Any]) -> tuple[Answer, ...]:
    """Answers in their one form; of several options, each by itself."""
    if question.kind == "multi":
        return tuple(question.validate([answer])[0] for answer in answers)
    return tuple(question.validate(answer) for answer in answers)


def _levels(item: Mapping[str, Any]) -> tuple[Level, ...]:
    """Levels from their short or long writing: a count, texts, numbers, or {value, text}.

    Raises:
        ValueError: for anything else.
    """
    numeric = item["kind"] in (*_SCALES, "binary")
    given = item.get("levels", ["no", "yes"] if item["kind"] == "binary" else [])
    first = 0 if item["kind"] == "binary" else 1
    if numeric and isinstance(given, int) and not isinstance(given, bool) and 2 <= given <= 101:
        given = list(range(first, first + given))
    if not isinstance(given, list):
        raise ValueError("a list is needed")
    found = []
    for place, one in enumerate(given, first):
        if isinstance(one, Mapping) and set(one) == {"value", "text"} and isinstance(one["text"], str):
            found.append(Level(number(one["value"]) if numeric else _name(one["value"]), one["text"]))
        elif numeric and isinstance(one, str):
            found.append(Level(float(place), one))
        elif numeric:
            found.append(Level(number(one), f"{number(one):g}"))
        else:
            found.append(Level(_name(one), _name(one)))
    return tuple(found)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"an option is text, not {value!r}")
    return value


def _empty(answer: Answer) -> bool:
    """No answer at all; no mark and no option is one, a blank text is none."""
    return answer is None or (isinstance(answer, str) and not answer.strip())


def _met(answer: Answer, among: tuple[Answer, ...]) -> bool:
    return any(one in among for one in answer) if isinstance(answer, list) else answer in among


def _words(question: Question) -> list[Any]:
    return [getattr(question, name) for name in Question.__slots__]


def json_schema(rubric: Rubric) -> dict[str, Any]:
    """The JSON schema of a model's answers: every question a key, null where no answer is one."""
    properties, required = {}, []
    for question in rubric.items:
        optional = not question.required or question.show_if is not None
        plain = question.schema
        properties[question.id] = {"anyOf": [plain, {"type": "null"}]} if optional or question.na else plain
        required += [] if optional else [question.id]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def score(rubric: Rubric, values: Mapping[str, Answer]) -> dict[str, float]:
    """Valid answers as numbers by name; what was not answered is not in it, never 0.

    Returns:
        Scores of each question as `Question.numbers` has them; the mean of each family of one-number
        questions of which half or more are answered; and, where questions have points, `points`: those of
        the criteria met over all positive ones, which may be negative (NaN without a positive one).
    """
    found: dict[str, float] = {}
    for question in rubric.items:
        if values.get(question.id) is not None:
            found.update(question.numbers(values[question.id]))
    for family in dict.fromkeys(question.family for question in rubric.items if question.family):
        members = [q.id for q in rubric.items if q.family == family and q.points is None]
        answered = [found[name] for name in members if name in found]
        if answered and len(answered) >= ANSWERED * len(members):
            found[family] = sum(answered) / len(answered)
    worth = [(q.points, found[q.id]) for q in rubric.items if q.points is not None and q.id in found]
    if worth:
        best = sum(points for points, _ in worth if points > 0)
        found[POINTS] = sum(points * met for points, met in worth) / best if best else math.nan
    return found
