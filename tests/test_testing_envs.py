"""The contracts of places and policies hold for ours, and catch what is broken."""

from functools import partial
from itertools import count

import gymnasium
import numpy as np
import pytest

from polymodal.chat import Scripted
from polymodal.envs import seeing
from polymodal.envs.clinic import Ask, Case, Close, Shown
from polymodal.envs.clinic.patient import Consultation, register
from polymodal.envs.play import acting
from polymodal.media import Image
from polymodal.testing import check_env, check_policy

PICTURE = Shown(Image(np.zeros((4, 5, 3), np.uint8)))
KNOWN = {"findings": {"rash": "no"}, "artefacts": {"lesion": (PICTURE,)}}
CASES = [Case(f"p-{n}", "Orvane fever", f"It hurts, {n}.", **KNOWN) for n in range(9)]
NUMBERS = count()


@pytest.mark.parametrize(
    "make",
    [
        partial(gymnasium.make, seeing.register()),
        partial(gymnasium.make, register(), cases=CASES),
        partial(Consultation, CASES, manner="contradicting"),
    ],
    ids=["scenes", "clinic", "contradicting"],
)
def test_every_place_keeps_its_contract(make):
    assert len(check_env(make)) >= 3


class Forgetful(Consultation):
    """Breaks one promise."""

    def __init__(self, broken: str) -> None:
        super().__init__(CASES)
        self.broken, self.number = broken, next(NUMBERS)
        if broken == "no attribute `null`":
            self.null = None
        if broken == "null=3":
            self.null = 3

    def reset(self, *, seed=None, options=None):
        seen, info = super().reset(seed=seed, options=options)
        if self.broken == "another episode":
            seen["said"] += str(self.number)
        self.begun = True
        return seen, info

    def step(self, action):
        late = "after" if getattr(self, "begun", False) else "before"
        if not self._open and late in self.broken:
            self.reset(seed=0)
        seen, reward, ended, cut, info = super().step(action)
        if self.broken == "Gymnasium's own check":
            seen["image"] = np.zeros((2, 2))
        return seen, reward, ended, ended if self.broken == "at once" else cut, info


@pytest.mark.parametrize(
    "broken",
    [
        "Gymnasium's own check",
        "before the first reset is not refused",
        "after the end is not refused",
        "no attribute `null`",
        "null=3",
        "another episode",
        "at once",
    ],
)
def test_a_broken_place_is_caught(broken):
    with pytest.raises(AssertionError, match=broken):
        check_env(lambda: Forgetful(broken), limit=60)


def test_policies_that_fail_babble_or_remember_are_caught():
    make = partial(Consultation, CASES)
    said = Scripted("asks", lambda messages, _: '{"act": "ask", "text": "Why?", "finding": "rash"}')
    schema = {"type": "object", "required": ["act"]}
    policy = acting(said, "You are a doctor.", schema, act=make().action_space.read)
    turns = check_policy(make, policy, limit=4)
    assert turns[-1].observation["value"] == "no"
    met = []

    def remembers(seen):
        met.append(seen)
        return Close() if len(met) > 2 else Ask("Why?")

    for policy, broken in (
        (lambda seen: 1 / 0, "ZeroDivisionError"),
        (lambda seen: "Why?", "no action"),
        (remembers, "played before"),
    ):
        with pytest.raises(AssertionError, match=broken):
            check_policy(make, policy, limit=4)
