"""What raters and readers of a report are shown of a consultation."""

import pytest

from polymodal.envs.clinic import Ask, Close, Plan, Present, Request, Retake
from polymodal.envs.clinic.state import Line, Noted, Ranked, State
from polymodal.systems.consulting.figures import names
from polymodal.systems.consulting.talked import noted, worded


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Ask("Any itch?", "itch"), "Any itch?"),
        (Request("lesion"), "Please let me see this: lesion."),
        (Retake("lesion"), "Please take this again, it was not clear: lesion."),
        (Present((("Ister", 0.934), ("Wane", 0.004))), "It may be: Ister (93%)."),
        (Present(()), "It may be: nothing that I could name."),
        (Plan("Rest."), "Rest."),
        (Close(), "Goodbye."),
    ],
)
def test_actions_are_put_as_a_person_would(action: object, words: str) -> None:
    assert worded(action) == words


def test_every_finding_leads_to_the_line_or_picture_it_came_from() -> None:
    talk = (
        Line("I itch.", reply="x"),
        Line("Here.", kind="lesion", digest="d1"),
        Line("Again.", digest="d1"),
    )
    found = (
        Noted("itch", "present", 0, "I itch."),
        Noted("patchy", "present", "d1"),
        Noted("rash", "present", "other"),
        Noted("late", "present", 9, "no"),
    )
    ranked = (Ranked("Ister", 0.9, tuple("abcdef")), Ranked("Wane", 0.004))
    tables = noted(State(talk=talk, findings=found, differential=ranked))
    assert [table["title"] for table in tables] == ["Findings", "Differential"]
    at = [row[2] for row in tables[0]["rows"]]
    lines = [{"text": "line 1", "line": 1}, {"text": "line 3, the lesion", "line": 3}]
    assert at == [*lines, "nowhere", "nowhere"]
    assert [row[4] for row in tables[0]["rows"]][2:] == ["no", "no"]
    assert tables[1]["rows"] == [["Ister", "0.900", "a, b, c, d and 2 more", ""]]
    assert noted(State()) == []


def test_names_are_explained_each_script_once() -> None:
    talks = {
        ("scripted:clinic?span=4", "state?gap=eig"): 0,
        ("scripted:clinic", "plain"): 0,
        ("m", "plain"): 0,
    }
    found = names(talks, ladder=False)
    assert found["scripted:clinic?span=4"].startswith("a script in")
    assert "last 4 turns" in found["scripted:clinic?span=4"]
    assert found["scripted:clinic"] == "the same script"
    assert found["m"] == "a chat model"
    assert found["state?gap=eig"].endswith("(gap=eig)")
    assert "read" in names({}, ladder=True)
    assert "read" not in found
