"""What people said of consultations in a study, as figures of a later run."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.systems.consultation import clinic

from polymodal.envs.clinic import Case
from polymodal.metrics import above
from polymodal.systems.clinical_dialogue import recipe
from polymodal.systems.consulting import places, rated
from polymodal.training.study import Book


def export(folder, raters, better=("warmth", "order")):
    """Ratings of 12 talks in two arms on three axes; the state's are two points better on some."""
    rows = [
        {
            "rater": rater, "item": f"case-{i}", "subject": f"m {arm}", "field": axis,
            "value": 1.0 + i % 2 + 2.0 * (arm == "state" and axis in better), "repeat": False,
        }
        for rater in raters for i in range(12) for arm in ("state", "plain_matched")
        for axis in ("warmth", "order", "length")
    ]  # fmt: skip
    rows.append({**rows[0], "field": "comment", "value": None})
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "ratings.parquet")
    events = [{"rater": one, "kind": "simulated" if one.startswith("bot") else "enrolled"} for one in raters]
    pq.write_table(pa.Table.from_pylist(events), folder / "events.parquet")
    return folder


def told(folder):
    book = Book(seed=0)
    book.sections["notes"] = []
    rated.people(book, folder)
    return book


def test_people_prefer_an_arm_on_the_axes_where_all_their_ratings_say_so(tmp_path):
    book = told(export(tmp_path / "export", ["anna", "ben", "bot-1"]))
    gaps = {
        axis: book.estimates[f"people: m state - m plain_matched, axis {axis}"]
        for axis in ("warmth", "order", "length")
    }
    assert {axis: (one.mean, one.n) for axis, one in gaps.items()} == {
        "warmth": (2.0, 12), "order": (2.0, 12), "length": (0.0, 12),
    }  # fmt: skip
    assert book.estimates["people: axes"].mean == pytest.approx(2 / 3)
    assert book.sections["notes"] == ["people: 72 ratings by simulated raters are left out."]
    assert above("people: axes", 0.5)(book.estimates)[0] == "undetermined"  # three axes are few


def test_what_people_concluded_as_doctors_is_right_by_name_or_alias(tmp_path):
    lists = {  # by rater and case; c0, c2 and c4 are what the names say, c9 is nobody's
        ("anna", "c0"): ["orvane  Fever"], ("anna", "c2"): ["Noma chill", "", "Brask rash (pale)"],
        ("anna", "c4"): ["I do not know"], ("anna", "c9"): ["Orvane fever"], ("bot-1", "c0"): ["Quill palsy"],
        ("ben", "c4"): ["Nomaria", "Orvane fever", "Quill palsy"],
    }  # fmt: skip
    rows = [
        {"rater": rater, "item": item, "subject": "patient", "field": field, "value": None,
         "answer": json.dumps(name), "state": "leased" if rater == "late" else "done"}
        for (rater, item), names in {**lists, ("late", "c0"): ["Quill palsy"]}.items()
        for field, name in zip(rated.LISTED, names, strict=False)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "ratings.parquet")
    pq.write_table(
        pa.Table.from_pylist([{"rater": "bot-1", "kind": "simulated"}]), tmp_path / "events.parquet"
    )
    made = clinic()
    tables = replace(made, diseases=tuple(
        replace(one, aliases=("Nomaria",)) if one.name == "Noma chill" else one for one in made.diseases
    ))  # fmt: skip
    cases = [Case(f"c{i}", name, "It hurts.") for i, name in enumerate(one.name for one in tables.diseases)]
    book = Book(seed=0)
    book.sections["notes"] = []
    rated.people(book, tmp_path, cases, tables)
    top1, top3 = (book.estimates[f"people: top{k}"] for k in (1, 3))
    assert (top1.mean, top1.n_valid, top1.n_groups) == (0.5, 4, 3)  # c0 and ben's c4 of four
    assert top3.mean == 0.75
    assert top1.low <= 0.5 <= top1.high
    assert book.sections["notes"] == [
        "people: 1 ratings by simulated raters are left out.",
        "people: 1 conclusions are about none of this run's cases.",
    ]


def test_ratings_that_were_not_submitted_do_not_count(tmp_path):
    folder = export(tmp_path / "export", ["anna", "ben"])
    rows = pq.read_table(folder / "ratings.parquet").to_pylist()
    for row in rows:  # ben gave up, and would have turned the order round
        row["state"] = "left" if row["rater"] == "ben" else "done"
        row["value"] = 5.0 - row["value"] if row["rater"] == "ben" and row["value"] else row["value"]
    pq.write_table(pa.Table.from_pylist(rows), folder / "ratings.parquet")
    assert told(folder).estimates["people: m state - m plain_matched, axis warmth"].mean == 2.0


def test_programs_in_the_place_of_people_decide_nothing(tmp_path):
    book = told(export(tmp_path / "export", ["bot-1", "bot-2"]))
    assert not book.estimates
    assert "left out" in book.sections["notes"][0]


def test_what_is_no_export_of_talks_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such table"):
        told(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"rater=people:.*study export"):
        places.checked((), ("auto", f"people:{tmp_path}/none"), None)
    pq.write_table(pa.Table.from_pylist([{"item": "a", "value": 1.0}]), tmp_path / "ratings.parquet")
    with pytest.raises(ValueError, match="lacks field, subject"):
        told(tmp_path)
    assert recipe.Config(rater=f"people:{tmp_path}").rater
