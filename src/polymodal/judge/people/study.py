"""The study file: who is shown what, in which order, and asked which questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

from polymodal.judge.case import Case
from polymodal.judge.rubric import Rubric, problems, read_rubric
from polymodal.media import MediaError, Message, Part, Text, part_of

Kind = Literal[
    "consent", "instructions", "training", "qualification", "block", "instrument", "advice", "delegate",
    "oversee", "room", "debrief",
]  # fmt: skip
READ = ("consent", "instructions", "debrief")  # pages without questions
OWN = ("training", "qualification", "instrument")  # every rater gets all of it
SHARED = ("block", "advice", "delegate", "oversee", "room")  # cases are dealt out by the plan
FIRST = {
    "advice": ("initial", "confidence_initial"),
    "delegate": ("delegate",),
}  # to be stored before more is shown


class StudyError(ValueError):
    """A study file that cannot start; `errors` are all of its faults, each with path and key."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing to answer about: a case, or two and more side by side.

    Attributes:
        id: unique in the study.
        item: what no rater sees twice, whichever subject made it.
        group: what is not independent: a picture, an author.
        subject: who made it; several side by side are joined by `|`. Never shown.
        variant: the condition; never shown.
        cases: in the file's order, one for all kinds of question but pair, rank and best-worst.
        page: id of the page that it belongs to; "" is the first page that deals out cases.
        stratum: the only raters who see it; "" is all.
        gold: right answers by question, for training, qualification and hidden checks.
        attention: whether `gold` only tests that somebody reads.
        digest: of all that is shown.
    """

    id: str
    item: str
    group: str
    subject: str
    variant: str
    cases: tuple[Case, ...]
    page: str = ""
    stratum: str = ""
    gold: Mapping[str, Any] = field(default_factory=dict)
    attention: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One stage of a study.

    Attributes:
        id: unique in the study.
        kind: what is done there.
        title: a heading.
        text: plain words; blank lines part paragraphs.
        rubric: id of the questions; "" for pages that are only read.
        units: ids of what is asked about, in the file's order.
        options: of its kind: `pass` (qualification, share of gold), `partner`, `card`, `turns`, `seconds`
            (room), `first` (questions that must be stored before the reveal), `feedback` (training).
    """

    id: str
    kind: Kind
    title: str = ""
    text: str = ""
    rubric: str = ""
    units: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> tuple[str, ...]:
        """Questions that must be stored before the advice, or the other's action, is shown."""
        return tuple(self.options.get("first", FIRST.get(self.kind, ())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How cases are dealt out.

    Attributes:
        ratings_per_case: completed ratings that each unit gets, exactly.
        cases_per_rater: at most so many units a rater and study.
        strata: ratings per case that come from each stratum of raters; empty is one stratum.
        repeats: share of a rater's units that come back hidden, for test and retest.
        raters: places; None makes as many as the ratings need.
        lease_minutes: without a sign of life, after which a rater's places go to others.
    """

    ratings_per_case: int = 3
    cases_per_rater: int = 20
    strata: Mapping[str, int] = field(default_factory=dict)
    repeats: float = 0.0
    raters: int | None = None
    lease_minutes: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Study:
    """A checked study; see `load`.

    Attributes:
        id: its name.
        version: of the file, in the author's words.
        title: shown to raters.
        language: BCP 47 tag of the default language.
        rubrics: by id.
        units: by id, in the file's order.
        pages: in order.
        design: how cases are dealt out.
        quality: rules of `quality.flags`, set before the first answer.
        exclusions: flags that the second analysis leaves out.
        retention: `on_withdrawal` (delete or keep), `token_days`.
        texts: changes of the built-in strings, by language and key.
        seed: of the plan, and of the orders.
        raw: the file itself.
    """

    id: str
    version: str
    title: str
    language: str
    rubrics: Mapping[str, Rubric]
    units: Mapping[str, Unit]
    pages: tuple[Page, ...]
    design: Design
    quality: Mapping[str, Any]
    exclusions: tuple[str, ...]
    retention: Mapping[str, Any]
    texts: Mapping[str, Mapping[str, str]]
    seed: int
    raw: Mapping[str, Any]

    @cached_property
    def digest(self) -> str:
        """64 hex digits of the file and of all media that it shows."""
        shown = {unit.id: unit.digest for unit in self.units.values()}
        return hashlib.sha256(_canonical([self.raw, shown]).encode()).hexdigest()

    def asked(self, page: int) -> Rubric:
        """The questions of a page that are for people.

        Raises:
            KeyError: the page asks nothing.
        """
        return self._asked[self.pages[page].rubric]

    @cached_property
    def _asked(self) -> Mapping[str, Rubric]:
        return {name: rubric.asked_of("person") for name, rubric in self.rubrics.items()}

    def direction(self, language: str = "") -> Literal["ltr", "rtl"]:
        """How the language is written."""
        return "rtl" if (language or self.language).partition("-")[0] in RIGHT_TO_LEFT else "ltr"

    def languages(self) -> tuple[str, ...]:
        """What a rater may choose from; the study's own language first."""
        return tuple(dict.fromkeys([self.language, *self.texts, *languages()]))


RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur", "ps", "sd", "ug", "yi", "dv", "ckb"})


@cache
def languages() -> tuple[str, ...]:
    """What the pages speak."""
    words = Path(__file__).parent / "templates" / "words.json"
    return tuple(json.loads(words.read_text(encoding="utf-8")))


def load(path: Path) -> Study:
    """Read a study file; media paths in it are relative to its folder.

    Raises:
        StudyError: with all that is wrong, each by path and key.
        OSError: the file cannot be read.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError([f"{path.name}: not JSON: {error}"]) from error
    return parse(raw, path.parent, path.name)


def check(path: Path) -> list[str]:
    """All that is wrong with a study file, each by path and key; empty where it can start."""
    from polymodal.judge.people.design import PlanError, plan

    try:
        plan(load(path))
    except StudyError as error:
        return list(error.errors)
    except PlanError as error:
        return [f"{path.name}: design: {error}"]
    return []


def parse(raw: Mapping[str, Any], root: Path, name: str = "study.json") -> Study:
    """A study from its JSON; media paths in it are relative to `root`, errors begin with `name`.

    Raises:
        StudyError: with all that is wrong, each by path and key.
    """
    errors = [f"{name}: {where}: {what}" for where, what in _shape(raw)]
    if errors:
        raise StudyError(errors)
    asked: dict[str, Rubric] = {}
    for i, one in enumerate(raw["rubrics"]):
        faults = problems(one, where=f"{name}: rubrics[{i}]")
        errors += faults
        if faults:
            continue
        if one["id"] in asked:
            errors.append(f"{name}: rubrics[{i}].id: {one['id']!r} is there already")
        asked[one["id"]] = read_rubric(one)
    broken = bool(errors)
    units: dict[str, Unit] = {}
    for i, one in enumerate(raw["units"]):
        if one["id"] in units:
            errors.append(f"{name}: units[{i}].id: {one['id']!r} is there already")
        try:
            units[one["id"]] = _unit(one, root)
        except MediaError as error:
            errors.append(f"{name}: units[{i}].messages: {error}")
    found = Study(
        **{key: raw[key] for key in ("id", "version", "title")},
        language=raw.get("language", "en"), rubrics=asked, units=units, pages=_pages(raw["pages"], units),
        design=Design(**raw.get("design", {})), quality=raw.get("quality", {}),
        exclusions=tuple(raw.get("exclusions", ())), retention=raw.get("retention", {}),
        texts=raw.get("texts", {}), seed=raw.get("seed", 0), raw=raw,
    )  # fmt: skip
    errors += [f"{name}: {where}: {what}" for where, what in _sense(found, broken)]
    if errors:
        raise StudyError(errors)
    return found


def study_of(
    cases: Iterable[Case],
    rubric: Mapping[str, Any],
    *,
    design: Design | None = None,
    title: str = "Please rate",
) -> Study:
    """A study of cases in memory: consent, one block of all of them, an end. The rubric is as JSON.

    Raises:
        StudyError: as `parse`.
    """
    listed = list(cases)
    dealt = {key: value for key, value in asdict(design or Design()).items() if value is not None}
    names = ("id", "item", "group", "subject", "variant", "reference")
    rows = [
        {name: getattr(one, name) for name in names} | {"tags": dict(one.tags), "digest": digest_of([one])}
        for one in listed
    ]
    pages = [{"kind": "consent"}, {"kind": "block", "rubric": rubric.get("id", "")}, {"kind": "debrief"}]
    plain = {"id": "study", "version": "1", "title": title, "rubrics": [rubric], "design": dealt}
    found = parse({**plain, "units": rows, "pages": pages}, Path(), "the study")
    shown = {one.id: replace(found.units[one.id], cases=(one,)) for one in listed}
    return replace(found, units=shown)


@cache
def _schema() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads((Path(__file__).parent / "schema.json").read_text("utf-8")))


def _shape(raw: Any) -> Iterable[tuple[str, str]]:
    """What the schema says against a file."""
    for error in sorted(_schema().iter_errors(raw), key=lambda error: str(error.json_path)):
        yield error.json_path.removeprefix("$").removeprefix(".") or "the file", error.message[:300]


def _sense(study: Study, broken: bool) -> Iterable[tuple[str, str]]:
    """What no schema can say: names that lead nowhere, questions that nobody answers."""
    ids = [page.id for page in study.pages]
    for i, page in enumerate(study.pages):
        at = f"pages[{i}]"
        if page.id in ids[:i]:
            yield f"{at}.id", f"{page.id!r} is there already"
        if page.kind in READ:
            if page.rubric or page.units:
                yield f"{at}.rubric", f"a page of kind {page.kind} asks nothing"
            continue
        if not page.rubric:
            yield f"{at}.rubric", f"a page of kind {page.kind} needs one of: {', '.join(study.rubrics)}"
        elif page.rubric not in study.rubrics and not broken:
            yield f"{at}.rubric", f"{page.rubric!r} is none of: {', '.join(study.rubrics)}"
        for j, unit in enumerate(page.units):
            if unit not in study.units:
                yield f"{at}.units[{j}]", f"{unit!r} is no unit"
        if page.kind != "instrument" and not page.units:
            yield f"{at}.units", f"a page of kind {page.kind} has nothing to show"
        known = {question.id for question in study.asked(i).items} if page.rubric in study.rubrics else set()
        for key in page.options.get("first", ()):
            if known and key not in known:
                yield f"{at}.options.first", f"{key!r} is no question of {page.rubric!r}"
    if not broken:
        used = {page.rubric for page in study.pages}
        for i, name in enumerate(study.rubrics):
            if name not in used:
                yield f"rubrics[{i}].id", f"no page asks {name!r}"
            if not study.rubrics[name].asked_of("person").items:
                yield f"rubrics[{i}].items", "no question is for a person"
    shown = {unit for page in study.pages for unit in page.units}
    for i, one in enumerate(study.units.values()):
        if one.id not in shown:
            yield f"units[{i}].page", f"{one.id!r} is on no page"
        if one.stratum and one.stratum not in study.design.strata:
            yield f"units[{i}].stratum", f"{one.stratum!r} is none of design.strata"
    strata = sum(study.design.strata.values())
    if study.design.strata and strata != study.design.ratings_per_case:
        yield "design.strata", f"sum is {strata}, ratings_per_case is {study.design.ratings_per_case}"


def _pages(raw: Sequence[Mapping[str, Any]], units: Mapping[str, Unit]) -> tuple[Page, ...]:
    """Pages with their units: those they list, those that name them, and what is left to the first block."""
    taken = {unit for page in raw for unit in page.get("units", ())}
    ids = [page.get("id", f"{page['kind']}-{i}") for i, page in enumerate(raw)]
    default = next((ids[i] for i, page in enumerate(raw) if page["kind"] in SHARED), "")
    made = []
    for key, page in zip(ids, raw, strict=True):
        listed = tuple(page.get("units", ()))
        named = tuple(u.id for u in units.values() if u.id not in taken and (u.page or default) == key)
        plain = {name: page[name] for name in ("kind", "title", "text", "rubric", "options") if name in page}
        made.append(Page(id=key, units=listed + named, **plain))
    return tuple(made)


def _unit(raw: Mapping[str, Any], root: Path) -> Unit:
    """A unit with its cases. Raises MediaError where a file is missing."""
    item = raw.get("item", raw["id"])
    sides = raw.get("sides") or [
        {"messages": raw.get("messages", []), **{k: raw[k] for k in ("subject", "variant") if k in raw}}
    ]
    about = {"item": item, "group": raw.get("group", item)}
    cases = tuple(
        Case(
            id=f"{raw['id']}#{i}" if len(sides) > 1 else raw["id"], subject=side.get("subject", ""),
            variant=side.get("variant", ""), messages=tuple(_message(one, root) for one in side["messages"]),
            reference=raw.get("reference", ""), tags=raw.get("tags", {}), **about,
        )
        for i, side in enumerate(sides)
    )  # fmt: skip
    kept = {name: raw[name] for name in ("page", "stratum", "gold", "attention") if name in raw}
    return Unit(
        id=raw["id"], subject="|".join(case.subject for case in cases),
        variant=raw.get("variant") or "|".join(dict.fromkeys(case.variant for case in cases)), cases=cases,
        digest=raw.get("digest") or digest_of(cases), **about, **kept,
    )  # fmt: skip


def digest_of(cases: Iterable[Case]) -> str:
    """32 hex digits of what cases show: roles and parts, by content."""
    shown = [[[m.role, [part.digest() for part in m.parts]] for m in case.messages] for case in cases]
    return hashlib.sha256(_canonical(shown).encode()).hexdigest()[:32]


def _message(raw: Mapping[str, Any], root: Path) -> Message:
    return Message(raw["role"], tuple(_part(part, root) for part in raw["parts"]))


def _part(raw: str | Mapping[str, Any], root: Path) -> Part:
    if isinstance(raw, str):
        return Text(raw)
    if "text" in raw:
        return Text(raw["text"], raw.get("language"))
    kind = next((key for key in ("image", "audio", "video", "series") if key in raw), "")
    path = (root / raw.get(kind, "")).resolve()
    if not kind or not path.is_relative_to(root.resolve()):
        raise MediaError("unsupported", str(raw), "a path inside the study's folder is wanted")
    return part_of(path, kind, **{key: raw[key] for key in ("start", "end") if key in raw})  # type: ignore[arg-type]


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
