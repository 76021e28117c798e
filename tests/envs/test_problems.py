"""Word problems: right answers, steps that lead to them, the same for the same key."""

import re

import pytest

from polymodal.envs.problems import STEPS, copying, problem, reckoning, two_steps
from polymodal.envs.scenes import Stream

PAIRS = [(a, b) for a in range(16) for b in range(16)]


def value(text):
    """A sum or difference of plain numbers, worked by hand."""
    total, sign = 0, 1
    for word in text.split():
        if word in "+-":
            sign = 1 if word == "+" else -1
        else:
            total += sign * int(word)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_the_sum_or_the_difference_of_the_pair(seed):
    for i, pair in enumerate(PAIRS):
        asked, answer = reckoning(Stream(seed, i), pair)
        found = [int(word) for word in re.findall(r"\d+", asked)]
        assert sorted(found) == sorted(pair), asked
        assert int(answer) in (sum(pair), max(pair) - min(pair))
        assert (asked, answer) == reckoning(Stream(seed, i), pair)


def test_written_steps_end_in_the_answer_and_every_equation_holds():
    for i, pair in enumerate(PAIRS):
        asked, said = problem(Stream(1, i), pair, written=True)
        steps, _, answer = said.rpartition(". ")
        assert asked.endswith(STEPS)
        for step in steps.split(", "):
            left, _, right = step.partition(" = ")
            assert value(left) == int(right)
        assert int(answer) == int(steps.rpartition("= ")[2])
        assert 0 <= int(answer) <= 30


def test_two_steps_and_copies():
    asked, steps, answer = two_steps(Stream(0, "x"), (7, 5))
    first, second = steps.split(", ")
    assert first == "7 + 5 = 12"
    assert value(second.partition(" =")[0]) == int(answer)
    assert asked.count("7") >= 1
    for i in range(50):
        asked, said = copying(Stream(i))
        assert asked == f"repeat: {said}"
        assert 1 <= len(said.split()) <= 6
