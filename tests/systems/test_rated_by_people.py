"""What people said of consultations in a study, as figures of a later run."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
