"""pages: what is rendered of cases and questions, in which words, and nothing that unblinds."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.judge.people.pocket import KINDS, SCRIPT, TEXT, only, rubric, study

from polymodal.judge.case import Case
from polymodal.judge.people.pages import FOLDER, Pages, gallery, languages, words
from polymodal.judge.people.study import Study
from polymodal.judge.people.tables import Rater, Slot, Stored
from polymodal.judge.rubric import read_rubric
from polymodal.media import Image, Message, Part, Pose, Series, Text

RATER = Rater(1, "r1", "", "active", "en", 1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def pages(found: Study) -> Pages:
    return Pages(found, gallery(found))


def slot(unit: str, sides: tuple[int, ...] = (0,)) -> Slot:
    return Slot(1, f"unitsecret {unit}", 3, 0, "leased", 0.0, sides, None)


def shown(pages: Pages, *parts: Part) -> list[dict[str, Any]]:
    return list(pages.message(RATER, Message("user", parts), 0)["parts"])


def test_all_languages_have_all_words_and_their_own_names(found: Study) -> None:
    table = json.loads((FOLDER / "templates" / "words.json").read_text(encoding="utf-8"))
    fields = [set(re.findall(r"{\w+}", text)) for text in table["en"].values()]
    for language in table.values():
        assert list(language) == list(table["en"])
        assert [set(re.findall(r"{\w+}", text)) for text in language.values()] == fields
    used = set()
    for path in (FOLDER / "templates").glob("*.html"):
        used |= set(re.findall(r"\bw\.(\w+)", path.read_text(encoding="utf-8"))) - {"get"}
    assert used <= set(table["en"])
    assert languages(found) == {"en": "English", "lv": "Latviešu", "ar": "العربية"}
    assert words("ar-EG")["yes"] == "نعم"
    assert words("xx")["yes"] == "Yes"


def test_who_speaks_has_a_name_and_a_side_and_a_stranger_has_none(pages: Pages) -> None:
    told = {
        role: pages.message(RATER, Message(role, (Text("hm"),)), 0)
        for role in ("patient", "doctor", "m-secret")
    }
    assert [(one["who"], one["side"]) for one in told.values()] == [
        ("Patient", "user"),
        ("Doctor", "assistant"),
        ("Other side", "other"),
    ]


def test_the_study_may_put_things_in_its_own_words(found: Study, tmp_path: Path) -> None:
    own = only(tmp_path, "consent", "trust", texts={"en": {"agree": "Count me in"}, "eo": {"agree": "Jes"}})
    pages = Pages(own, gallery(own))
    assert pages.words("en")["agree"] == "Count me in"
    assert pages.words("eo")["agree"] == "Jes"
    assert languages(own)["eo"] == "eo"


def test_cases_stand_in_the_place_s_order_under_letters(pages: Pages) -> None:
    said = [
        [message["parts"][0]["text"] for message in case["messages"]]
        for case in pages.cases(RATER, slot("p", (1, 0)))
    ]
    assert said == [["Say hello.", "Good day to you."], ["Say hello.", "Hello!"]]
    assert [case["letter"] for case in pages.cases(RATER, slot("p", (1, 0)))] == ["Case A", "Case B"]
    assert pages.cases(RATER, Slot(1, "", 8, 0, "leased", 0.0, (), None)) == []
    held = pages.cases(RATER, slot("w"), revealed=False)[0]["messages"]
    assert [m["who"] for m in held] == [""]
    assert [m["who"] for m in pages.cases(RATER, slot("w"))[0]["messages"]] == ["User", "Assistant"]


def test_parts_of_every_kind_are_shown_and_broken_ones_say_so(pages: Pages, tmp_path: Path) -> None:
    series = Series(np.array([[1.0, np.nan], [3.0, np.nan], [2.0, np.nan]]))
    text, plot, pose, lost = shown(
        pages, Text("سلام", "ar"), series, Pose((1, 2, 3)), Image(tmp_path / "none.png")
    )
    assert text == {"kind": "text", "text": "سلام", "language": "ar"}
    assert plot["about"] == "3 values in 2 lines, from 1 to 3"
    assert plot["lines"] == ["0.0,195.0 300.0,5.0 600.0,100.0"]
    assert pose["text"] == "Position: 1, 2, 3, 1, 0, 0, 0"
    assert lost == {"kind": "broken"}
    empty = shown(pages, Series(np.array([[np.nan]])))[0]
    assert (empty["lines"], empty["about"]) == ([], "1 values in 1 lines, from 0 to 0")


def test_every_question_has_a_name_and_its_stored_answer(pages: Pages) -> None:
    asked = read(KINDS)
    given = {"fluent": Stored(None, True, "unsure", 2, 5), "topic": Stored("plants", False, "", 1, 3)}
    fields = {f["id"]: f for f in pages.fields(RATER, slot("k"), asked, given, locked=("fit",), cases=[])}
    assert (fields["fluent"]["ticked"], fields["fluent"]["note"], fields["fluent"]["version"]) == (
        True,
        "unsure",
        2,
    )
    assert fields["topic"]["value"] == "plants"
    assert [f["id"] for f in fields.values() if f["locked"]] == ["fit"]
    assert [level["text"] for level in fields["safe"]["levels"]] == ["No", "Yes"]
    assert fields["reason"]["show_if"] == {"item": "safe", "values": [0]}
    assert (fields["sure"]["low"], fields["sure"]["high"], fields["sure"]["step"]) == (0, 1, 0.01)
    assert fields["words"]["texts"] == [
        {"turn": 0, "start": 0, "text": TEXT}, {"turn": 0, "start": len(TEXT) + 1, "text": SCRIPT},
    ]  # fmt: skip
    assert fields["place"]["shapes"] == ["point", "box"]
    assert fields["place"]["picture"]["width"] == 320
    html = pages.render("work.html", "en", questions=list(fields.values()), cases=[], slot=1, seq=0)
    assert html.count("<legend") == len(KINDS)
    assert "&#13;\nIt slept." in html
    assert SCRIPT not in html


def read(items: Any) -> Any:
    return read_rubric(rubric("kinds", *items)).items


def test_ranks_without_options_rank_the_cases(pages: Pages) -> None:
    items = read(
        [{"id": "o", "kind": "rank", "text": "Order?"}, {"id": "b", "kind": "best_worst", "text": "Ends?"}]
    )
    cases = pages.cases(RATER, slot("p", (0, 1)))
    for field in pages.fields(RATER, slot("p"), items, {}, cases=cases):
        assert [(level["value"], level["text"]) for level in field["levels"]] == [
            ("a", "Case A"),
            ("b", "Case B"),
        ]


def test_scales_are_laid_out_by_their_words(pages: Pages) -> None:
    levels = {"scale": 7, "row": ["never", "often"], "column": ["a rather long way of saying yes", "no"]}
    items = read([{"id": k, "kind": "likert", "text": "?", "levels": v} for k, v in levels.items()])
    assert [f["layout"] for f in pages.fields(RATER, slot("k"), items, {})] == list(levels)


def test_addresses_are_the_raters_own_and_survive_a_restart(found: Study, pages: Pages) -> None:
    again, part = gallery(found), found.units["unitsecret k"].cases[0].messages[0].parts[1]
    digest = again.digest(part)
    assert isinstance(found.units["unitsecret k"].cases[0], Case)
    assert pages.gallery.address(1, digest) == again.address(1, digest) != again.address(2, digest)
    assert again.find(1, pages.gallery.address(1, digest))[0] == "image/png"
    assert again.find(2, pages.gallery.address(1, digest)) is None
