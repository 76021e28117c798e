import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.judge.people.studies import RUBRIC, made, raw, unit

from polymodal.judge import Case
from polymodal.judge.people import Design, StudyError, check, load, plan, study_of
from polymodal.judge.people.store import Store
from polymodal.judge.people.study import languages, parse
from polymodal.media import Image, Message, Text


def faults(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> list[str]:
    """What `check` says of a study with one thing changed."""
    value = json.loads(json.dumps(raw()))
    change(value)
    (tmp_path / "study.json").write_text(json.dumps(value))
    return check(tmp_path / "study.json")


def test_a_right_study_has_no_faults(tmp_path: Path) -> None:
    assert faults(lambda s: None, tmp_path) == []


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (lambda s: s["rubrics"][0]["items"][0].update(kind="smell"), "rubrics[0].items[0].kind", "'smell'"),
        (lambda s: s["rubrics"][0]["items"][1].update(id="good"), "rubrics[0].items[1].id", "twice"),
        (
            lambda s: s["rubrics"][0]["items"][0].update(levels=[]),
            "rubrics[0].items[0].levels",
            "two or more",
        ),
        (lambda s: s["rubrics"][0].pop("rater"), "rubrics[0].items[0].rater", "who answers"),
        (lambda s: s["rubrics"][0].update(rater="model"), "rubrics[0].items", "no question is for a person"),
        (lambda s: s["rubrics"].append(s["rubrics"][0]), "rubrics[1].id", "there already"),
        (lambda s: s["rubrics"].append({**s["rubrics"][0], "id": "other"}), "rubrics[1].id", "no page asks"),
        (lambda s: s["units"].append(s["units"][0]), "units[6].id", "there already"),
        (lambda s: s["units"][2].pop("id"), "units[2]", "'id' is a required property"),
        (lambda s: s["units"][2].update(colour="red"), "units[2]", "'colour' was unexpected"),
        (lambda s: s["units"][1].update(stratum="x"), "units[1].stratum", "design.strata"),
        (lambda s: s["units"][1].update(page="x"), "units[1].page", "on no page"),
        (lambda s: s["pages"][1].update(kind="dance"), "pages[1].kind", "'dance'"),
        (lambda s: s["pages"][1].update(rubric="x"), "pages[1].rubric", "'x' is none of: plain"),
        (lambda s: s["pages"][1].pop("rubric"), "pages[1].rubric", "needs one of: plain"),
        (lambda s: s["pages"][0].update(rubric="plain"), "pages[0].rubric", "asks nothing"),
        (lambda s: s["pages"][1].update(units=["zzz"]), "pages[1].units[0]", "'zzz' is no unit"),
        (lambda s: s["pages"][1].update(options={"first": ["x"]}), "pages[1].options.first", "'x' is no"),
        (
            lambda s: s["pages"].append({"kind": "room", "rubric": "plain"}),
            "pages[3].units",
            "nothing to show",
        ),
        (lambda s: [p.update(id="same") for p in s["pages"]], "pages[1].id", "there already"),
        (lambda s: s["design"].update(strata={"a": 1}), "design.strata", "sum is 1"),
        (lambda s: s["design"].update(ratings_per_case=0), "design.ratings_per_case", "minimum of 1"),
        (lambda s: s["design"].update(raters=2), "design", "raters 3"),
        (lambda s: s["design"].update(ratings_per_case=1), "design", "linked"),
        (lambda s: s.update(id="../x"), "id", "does not match"),
        (lambda s: s.pop("title"), "the file", "'title' is a required property"),
    ],
)
def test_a_wrong_study_is_told_by_path_and_key(
    change: Callable[[dict[str, Any]], Any], where: str, what: str, tmp_path: Path
) -> None:
    found = faults(change, tmp_path)
    assert any(line.startswith("study.json: ") and where in line and what in line for line in found), found


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    def change(study: dict[str, Any]) -> None:
        study["pages"][1]["rubric"] = "x"
        study["units"][0]["stratum"] = "y"

    assert len(faults(change, tmp_path)) >= 3


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(StudyError, match="not JSON"):
        load(tmp_path / "study.json")


def test_units_show_media_inside_the_folder_only(tmp_path: Path) -> None:
    import numpy as np

    picture = Image(np.zeros((4, 4, 3), np.uint8)).encoded()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(picture)
    (tmp_path / "out.png").write_bytes(picture)
    (tmp_path / "b.wav").write_bytes(b"x")
    parts = ["plain", {"text": "مرحبا", "language": "ar"}, {"image": "a.png"}]
    shown = {"messages": [{"role": "user", "parts": parts}]}
    study = parse(raw(units=[{"id": "u0", **shown}, unit("u1")]), tmp_path / "in")
    message = study.units["u0"].cases[0].messages[0]
    assert [type(part) for part in message.parts] == [Text, Text, Image]
    other = parse(raw(units=[unit("u0"), unit("u1")]), tmp_path)
    assert other.digest != study.digest
    for path in ("../out.png", "missing.png", str(tmp_path / "out.png")):
        wrong = {"id": "u0", "messages": [{"role": "user", "parts": [{"image": path}]}]}
        with pytest.raises(StudyError, match=r"units\[0\].messages"):
            parse(raw(units=[wrong, unit("u1")]), tmp_path / "in")
    with pytest.raises(StudyError, match="inside the study's folder"):
        parse(raw(units=[{"id": "u", "messages": [{"role": "u", "parts": [{"start": 1}]}]}]), tmp_path)


def test_a_unit_may_have_sides() -> None:
    sides = [
        {"subject": name, "messages": [{"role": "assistant", "parts": [f"I am {name}"]}]} for name in "xy"
    ]
    study = made(units=[{"id": "p", "item": "i", "sides": sides}, unit("q")])
    pair = study.units["p"]
    assert (pair.subject, pair.group, len(pair.cases)) == ("x|y", "i", 2)
    assert [case.id for case in pair.cases] == ["p#0", "p#1"]


def test_pages_share_out_the_units() -> None:
    pages = [
        {"kind": "consent"},
        {"id": "t", "kind": "training", "rubric": "plain", "units": ["u0"]},
        {"id": "one", "kind": "block", "rubric": "plain"},
        {"id": "two", "kind": "block", "rubric": "plain"},
    ]
    units = [unit("u0"), unit("u1"), unit("u2", page="two"), unit("u3")]
    study = made(units=units, pages=pages)
    assert [page.units for page in study.pages] == [(), ("u0",), ("u1", "u3"), ("u2",)]
    assert study.pages[0].id == "consent-0"


def test_people_are_asked_what_is_for_people() -> None:
    rubric = {
        **RUBRIC,
        "items": [*RUBRIC["items"], {"id": "m", "text": "?", "kind": "binary", "rater": "model"}],
    }
    assert [question.id for question in made(rubrics=[rubric]).asked(1).items] == ["good", "why"]


def test_languages_and_their_direction() -> None:
    study = made(language="ar-EG", texts={"lv": {}})
    assert study.direction() == "rtl"
    assert study.direction("lv") == "ltr"
    assert study.languages()[:2] == ("ar-EG", "lv")
    assert {"en", "lv", "ar"} <= set(languages())


def test_the_digest_tells_every_change() -> None:
    assert made().digest == made().digest
    assert len({made().digest, made(seed=1).digest, made(items=7).digest, made(title="x").digest}) == 4


def test_cases_in_memory_make_a_study(tmp_path: Path) -> None:
    import numpy as np

    picture = Image(np.zeros((4, 4, 3), np.uint8))
    cases = [
        Case(
            f"c{i}",
            f"i{i}",
            "g",
            "m",
            "v",
            (Message("user", (Text(f"look {i}"), picture)),),
            "ref",
            {"k": 1.0},
        )
        for i in range(4)
    ]
    study = study_of(cases, RUBRIC, design=Design(ratings_per_case=2, cases_per_rater=4))
    assert [study.units[case.id].cases for case in cases] == [(case,) for case in cases]
    assert len(plan(study).seats) == 2
    store = Store(f"sqlite:///{tmp_path / 'x.db'}", study)
    store.close()
    again = Store(f"sqlite:///{tmp_path / 'x.db'}")
    assert again.digest == study.digest
    assert again.study.units["c0"].cases[0].tags == {"k": 1.0}
    again.close()
    with pytest.raises(StudyError, match="the study: rubrics"):
        study_of(cases, {})
