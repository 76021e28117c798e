"""What a rater sees: cases as blinded media and text, and questions as fields."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from polymodal.judge.people.store import Store
from polymodal.judge.people.study import READ, Study
from polymodal.judge.people.tables import Rater, RefusedError, Slot, Stored
from polymodal.judge.question import PAIR, SHAPES, Question
from polymodal.judge.web.media import Gallery, plot
from polymodal.media import Audio, Image, MediaError, Message, Part, Pose, Series, Text, Video

FOLDER = Path(__file__).parent
BEFORE = (
    "user",
    "system",
    "card",
)  # who speaks before a reveal; everything from the first other on is held back
DELEGATED = (1, "yes", "delegate")
SIDES = {
    "user": "user",
    "patient": "user",
    "assistant": "assistant",
    "doctor": "assistant",
    "system": "system",
}
HIDDEN = ("card", "partner")  # shown by the room in its own place; told to a room's model alone
SPOKEN = (
    "saving", "saved", "offline", "busy", "closed", "newer", "missing", "incomplete", "ended", "waiting",
    "trouble", "early", "long", "refused", "remove",
)  # fmt: skip
KINDS = {Image: "picture", Audio: "sound", Video: "video", Series: "series", Pose: "pose"}

if TYPE_CHECKING:
    from polymodal.judge.people.rooms import Rooms

Context = dict[str, Any]


@cache
def words(language: str) -> Mapping[str, str]:
    """The pages' own words: in the language, else in English."""
    table = json.loads((FOLDER / "templates" / "words.json").read_text(encoding="utf-8"))
    return {**table["en"], **table.get(language.partition("-")[0], {}), **table.get(language, {})}


def languages(study: Study) -> dict[str, str]:
    """What raters may read in, with each language's name for itself."""
    known = {tag: words(tag)["name"] for tag in study.languages()}
    return {tag: name if tag == "en" or name != "English" else tag for tag, name in known.items()}


def gallery(study: Study) -> Gallery:
    """The study's media; the key of their addresses is known to who has the study file."""

    def parts() -> Iterator[Part]:
        shown = (m for unit in study.units.values() for case in unit.cases for m in case.messages)
        return (part for message in shown for part in message.parts)

    return Gallery(parts, hashlib.sha256(f"media of {study.digest}".encode()).digest())


class Pages:
    """Renders pages of one study for one rater at a time; holds no state but caches.

    Args:
        study: what is asked.
        gallery: where the media are.
    """

    def __init__(self, study: Study, gallery: Gallery) -> None:
        self.study, self.gallery = study, gallery
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["whole"] = _whole
        self._templates.globals["static"] = lambda name: f"/static/{name}"

    def words(self, language: str) -> Mapping[str, str]:
        """The words of the pages in a language, with the study's own changes."""
        texts = self.study.texts
        return {**words(language), **texts.get(language.partition("-")[0], {}), **texts.get(language, {})}

    def render(self, template: str, language: str = "", **context: Any) -> str:
        """A page as HTML; whatever a rater or a study wrote in it is text."""
        tag = language or self.study.language
        w = self.words(tag)
        page = {
            "title": self.study.title, "language": tag, "direction": self.study.direction(tag), "w": w,
            "said": {key: w[key] for key in SPOKEN}, "names": languages(self.study), "languages": (),
            "csrf": "", "place": "", "kind": "", "progress": None, "leaving": False, "heading": "",
            "paragraphs": (), "onward": None,
        }  # fmt: skip
        return self._templates.get_template(template).render({**page, **context})

    # cases

    def cases(self, rater: Rater, slot: Slot, *, revealed: bool = True) -> list[Context]:
        """The cases of a place as they stand side by side, each with its messages."""
        if not slot.unit:
            return []
        w, unit = self.words(rater.language), self.study.units[slot.unit]
        order = slot.sides or tuple(range(len(unit.cases)))
        found, n = [], 0
        for letter, side in zip("abcdefghijklmnopqrstuvwxyz", order, strict=False):
            messages = [m for m in unit.cases[side].messages if m.role not in HIDDEN]
            if not revealed:
                messages = messages[: next((i for i, m in enumerate(messages) if m.role not in BEFORE), None)]
            shown = []
            for message in messages:
                shown.append(self.message(rater, message, n))
                n += len(message.parts)
            if len(shown) == 1 and self.study.pages[slot.page].kind != "room":
                shown[0]["who"] = ""
            title = w["case"].format(letter=letter.upper()) if len(order) > 1 else ""
            found.append({"letter": title, "messages": shown})
        return found

    def message(self, rater: Rater, message: Message, n: int, who: str = "") -> Context:
        """One message: who says it, and its parts."""
        w = self.words(rater.language)
        label = who or w.get(f"role_{message.role}", w["role_other"])
        side = SIDES.get(message.role, "other")
        return {
            "who": label,
            "side": side,
            "parts": [self._part(rater, p, n + i) for i, p in enumerate(message.parts)],
        }

    def _part(self, rater: Rater, part: Part, n: int) -> Context:
        w = self.words(rater.language)
        try:
            if isinstance(part, Text):
                return {"kind": "text", "text": part.read(), "language": part.language or ""}
            shown: Context = {"kind": part.kind, "n": n, "name": w[KINDS[type(part)]]}
            if isinstance(part, Series):
                return shown | self._series(part, w["series_about"])
            if isinstance(part, Pose):
                numbers = ", ".join(f"{x:g}" for x in (*part.position, *part.rotation))
                return {"kind": "text", "text": f"{w['pose']}: {numbers}", "language": ""}
            if isinstance(part, Image):
                shown["width"], shown["height"] = part.size()
            return shown | {"url": self.gallery.address(rater.id, self.gallery.digest(part))}
        except MediaError:
            return {"kind": "broken"}

    @staticmethod
    def _series(part: Series, about: str) -> Context:
        values = part.values()
        finite = [x for x in values.ravel().tolist() if math.isfinite(x)] or [0.0]
        (rows, columns), low, high = values.shape, min(finite), max(finite)
        text = about.format(rows=f"{rows:,}", columns=columns, low=f"{low:.4g}", high=f"{high:.4g}")
        return {"lines": plot(values), "about": text}

    # questions

    def fields(
        self, rater: Rater, slot: Slot, questions: Sequence[Question], given: Mapping[str, Stored],
        *, locked: Sequence[str] = (), cases: Sequence[Context] = (),
    ) -> list[Context]:  # fmt: skip
        """Questions with what is stored for them, as the templates want them."""
        return [
            self._field(rater, question, given.get(question.id, Stored(None, False, "", 0, 0)))
            | {"locked": question.id in locked}
            | self._about(rater, slot, question, len(cases))
            for question in questions
        ]

    def _field(self, rater: Rater, question: Question, stored: Stored) -> Context:
        low, high = question.low, question.high
        if question.kind == "probability":
            low, high = 0, 1
        step = question.step or (
            0.01
            if question.kind == "probability"
            else (high - low) / 100
            if high is not None and low is not None
            else None
        )
        condition = question.show_if
        return {
            "id": question.id, "kind": question.kind, "text": question.text, "required": question.required,
            "na": question.na, "low": _plain(low), "high": _plain(high), "step": _plain(step),
            "version": stored.version, "value": stored.value, "ticked": stored.na, "note": stored.note,
            "show_if": condition and {"item": condition.item, "values": list(condition.among)},
        }  # fmt: skip

    def _about(self, rater: Rater, slot: Slot, question: Question, sides: int) -> Context:
        """Levels, and what marks are drawn on."""
        w = self.words(rater.language)
        levels = [(level.value, level.text) for level in question.levels]
        if question.kind == "pair":
            levels = [(name, w[f"pair_{name}"]) for name in PAIR]
        elif question.kind in ("rank", "best_worst") and not levels:
            levels = [
                (letter, w["case"].format(letter=letter.upper()))
                for letter in "abcdefghijklmnopqrstuvwxyz"[:sides]
            ]
        elif question.kind == "binary" and [text for _, text in levels] == ["no", "yes"]:
            levels = [(value, w[text]) for value, text in levels]
        longest = max((len(text) for _, text in levels), default=0)
        about: Context = {
            "levels": [{"value": v, "json": json.dumps(_plain(v)), "text": text} for v, text in levels],
            "layout": "scale" if longest <= 3 else "column" if longest > 18 or len(levels) > 6 else "row",
        }  # fmt: skip
        if question.kind == "region":
            about["shapes"] = [str(value) for value, _ in levels] or list(SHAPES)
            about["picture"] = next(self._parts(rater, slot, Image), None)
        elif question.kind == "span":
            about["texts"] = list(self._texts(slot))
        return about

    def _parts(self, rater: Rater, slot: Slot, kind: type[Part]) -> Iterator[Context]:
        cases = self.study.units[slot.unit].cases if slot.unit else ()
        for message in (m for case in cases for m in case.messages if m.role not in HIDDEN):
            yield from (self._part(rater, part, 0) for part in message.parts if isinstance(part, kind))

    def _texts(self, slot: Slot) -> Iterator[Context]:
        """The words that can be marked, with the turn and where each text begins in its message."""
        for turn, message in enumerate(self.study.units[slot.unit].cases[0].messages if slot.unit else ()):
            start, seen = 0, message.role not in HIDDEN
            for text in (part.read() for part in message.parts if isinstance(part, Text) and seen):
                yield {"turn": turn, "start": start, "text": text}
                start += len(text) + 1


def _plain(x: Any) -> Any:
    return int(x) if isinstance(x, float) and x.is_integer() else x


def _whole(text: str) -> Markup:
    """Text whose carriage returns a browser keeps, so that characters count the same on both sides."""
    return escape(text).replace("\r", Markup("&#13;"))


class Desk:
    """Where raters are, and what they are to see there."""

    rooms: Rooms

    def __init__(self, study: Study, store: Store, pages: Pages) -> None:
        self.study, self.store, self.pages = study, store, pages

    def page(self, rater: Rater, csrf: str) -> tuple[str, Context]:
        """Template and context of where a rater is; goes on where a page has nothing left."""
        for _ in self.study.pages:
            here = self.study.pages[rater.page]
            if rater.state in ("new", "declined"):
                text = here.text if here.kind == "consent" else ""
                return "read.html", self._read(
                    rater, csrf, "consent", here.title, text or str(self.study.raw.get("consent", ""))
                )
            if rater.state == "failed":
                return "read.html", self.said(rater, "failed")
            if here.kind in READ:
                last = rater.page + 1 == len(self.study.pages)
                page = self._read(rater, csrf, here.kind, here.title, here.text)
                return "read.html", page | {"onward": None if last else rater.page + 1}
            slot = self.store.lease(rater)
            if slot is not None:
                return "work.html", self._work(rater, csrf, slot)
            if self.store.of(rater)[1] == 0:
                return "read.html", self.said(rater, "wait")
            if rater.page + 1 == len(self.study.pages):
                break
            rater = self.store.advance(rater, rater.page + 1)
        return "read.html", self.said(rater, "done")

    def _read(self, rater: Rater, csrf: str, kind: str, title: str, text: str) -> Context:
        paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
        return self.frame(rater, csrf, kind) | {
            "heading": title or self.study.title,
            "paragraphs": paragraphs,
        }

    def said(self, rater: Rater, what: str) -> Context:
        """A page that says one thing: done, wait, failed, declined, left."""
        w = self.pages.words(rater.language)
        return self.frame(rater, "", what) | {
            "heading": w[f"{what}_head"],
            "paragraphs": [w[f"{what}_text"]],
            "leaving": False,
        }

    def frame(self, rater: Rater, csrf: str, kind: str) -> Context:
        """What stands around every page."""
        return {
            "language": rater.language, "csrf": csrf, "kind": kind, "place": self.study.pages[rater.page].id,
            "leaving": rater.state == "active" and bool(csrf),
            "languages": list(languages(self.study)) if csrf else [],
        }  # fmt: skip

    def leaving(self, rater: Rater, csrf: str) -> Context:
        """What somebody is asked who wants to stop: whether the answers may stay, if the study asks."""
        w, rule = self.pages.words(rater.language), self.study.retention.get("on_withdrawal", "ask")
        choices = {"ask": ("no", "yes"), "delete": ("no",), "keep": ("yes",)}[rule]
        text = [w["leave_text"], w["leave_ask"]][: len(choices)]
        page = self.frame(rater, csrf, "leave") | {"leaving": False, "languages": [], "choices": choices}
        return page | {"heading": w["leave_head"], "paragraphs": text}

    def _work(self, rater: Rater, csrf: str, slot: Slot) -> Context:
        """A place with its case and its questions; before the reveal only what comes first."""
        here = self.study.pages[slot.page]
        given = self.store.answers(rater, slot.id)
        before = bool(here.first) and slot.revealed is None
        questions = [q for q in self.study.asked(slot.page).items if not before or q.id in here.first]
        locked = () if before else here.first
        cases = self.pages.cases(rater, slot, revealed=not before and self._told(here.kind, given))
        done, of = self.store.of(rater)
        shown = self._read(rater, csrf, here.kind, "", here.text if slot.position == 0 and done == 0 else "")
        return shown | {
            "heading": here.title, "progress": {"done": done, "of": max(of, 1)}, "slot": slot.id,
            "cases": cases,
            "seq": max((stored.seq for stored in given.values()), default=0),
            "questions": self.pages.fields(rater, slot, questions, given, locked=locked, cases=cases),
            "action": "/reveal" if before else "/submit",
            "room": self.rooms.shown(rater, slot) if here.kind == "room" else None,
        }  # fmt: skip

    @staticmethod
    def _told(kind: str, given: Mapping[str, Stored]) -> bool:
        """Whether what was held back is shown after the reveal: who does not delegate works alone."""
        return kind != "delegate" or ("delegate" in given and given["delegate"].value in DELEGATED)

    def feedback(self, rater: Rater, csrf: str, slot_id: int) -> Context:
        """A training case that is done, with our answers beside the rater's.

        Raises:
            RefusedError: not_yours, for any other place.
        """
        slot = self.store.slot(rater, slot_id)
        if self.study.pages[slot.page].kind != "training" or slot.state != "done":
            raise RefusedError("not_yours", "no such place")
        given, gold = self.store.answers(rater, slot_id), self.study.units[slot.unit].gold
        asked = [question for question in self.study.asked(slot.page).items if question.id in gold]
        cases, none = self.pages.cases(rater, slot), self.pages.words(rater.language)["none"]
        fields = self.pages.fields(rater, slot, asked, given, cases=cases)
        rows = [
            {
                "text": question.text,
                "right": field["value"] == question.validate(gold[question.id]),
                "given": _read_back(field, field["value"], none),
                "gold": _read_back(field, gold[question.id], none),
            }
            for question, field in zip(asked, fields, strict=True)
        ]
        return self.frame(rater, csrf, "feedback") | {"cases": cases, "rows": rows}


def _read_back(field: Context, value: Any, none: str) -> str:
    """An answer in words."""
    texts = {json.loads(level["json"]): level["text"] for level in field["levels"]}
    if isinstance(value, list | dict):
        parts = value.values() if isinstance(value, dict) else value
        return " · ".join(_read_back(field, each, none) for each in parts)
    return none if value is None else str(texts.get(value, value))
