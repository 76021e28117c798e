"""Spaces: samples belong, JSON leads back, and what does not fit is refused by name."""

from dataclasses import dataclass

import numpy as np
import pytest

from polymodal.envs.clinic import Ask, Close, Plan, Present, Request, Retake
from polymodal.envs.spaces import Picture, Records, Words, as_json


@dataclass(frozen=True)
class Tap:
    at: tuple[int, int]
    hold: float = 0.0
    twice: bool = False


ACTIONS = Records(Ask, Request, Retake, Present, Plan, Close, Tap, choices={"kind": ("lesion",)})


@pytest.mark.parametrize("space", [Words(), Picture(), ACTIONS], ids=str)
def test_samples_belong_repeat_and_come_back_from_json(space):
    space.seed(1)
    drawn = [space.sample() for _ in range(60)]
    assert all(one in space for one in drawn)
    back = space.from_jsonable(space.to_jsonable(drawn))
    assert all(np.array_equal(one, other) for one, other in zip(drawn, back, strict=True))
    space.seed(1)
    assert all(np.array_equal(one, space.sample()) for one in drawn)
    assert space == space
    assert space != "other"


def test_what_is_not_of_the_space():
    assert "long" not in Words(3)
    assert 3 not in Words()
    assert np.zeros((2, 2, 3), np.uint8) in Picture(4)
    for wrong in (np.zeros((2, 3, 3), np.uint8), np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8), None):
        assert wrong not in Picture(4)
    for wrong in (
        "ask",
        Ask(3),
        Ask("x" * 30_000),
        Present((("a", float("nan")),)),
        Present([("a", 0.5)]),
        Present((("a", 0.5, 1),)),
        Tap((1, 2.5)),
        Tap((1, 2), twice=1),
        Tap((True, 2)),
    ):
        assert wrong not in ACTIONS
    assert Tap((1, 2), hold=1) in ACTIONS
    assert {space.kind for space in (ACTIONS.sample() for _ in range(50)) if isinstance(space, Request)} == {
        "lesion"
    }


def test_actions_are_read_from_json_or_refused_by_name():
    told = Present((("Orvane fever", 0.75), ("other", 0.25)))
    assert as_json(told) == {"act": "present", "differential": [["Orvane fever", 0.75], ["other", 0.25]]}
    assert ACTIONS.read(as_json(told)) == told
    assert ACTIONS.read({"act": "plan", "text": "Rest."}) == Plan("Rest.")
    for data, said in (
        ({"act": "operate"}, "one of ask, request"),
        ({"act": ["ask"]}, "one of ask, request"),
        ("ask", "one of ask, request"),
        ({"act": "ask", "txt": "x"}, "no field 'txt'; known: text, finding"),
        ({"act": "ask"}, "text"),
        ({"act": "ask", "text": 3}, "another type"),
        ({"act": "tap", "at": [1, 2, 3]}, "another type"),
    ):
        with pytest.raises(ValueError, match=said):
            ACTIONS.read(data)


def test_kinds_are_records_of_plain_fields():
    @dataclass(frozen=True)
    class Odd:
        what: dict

    with pytest.raises(TypeError, match="dict"):
        Records(Odd)
    with pytest.raises(TypeError, match="no dataclass"):
        Records(str)
