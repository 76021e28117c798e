"""Word problems over numbers 0 to 15: sums, differences, two steps, and words to repeat."""

from __future__ import annotations

from polymodal.envs.questions import reasoning
from polymodal.envs.questions.question import many
from polymodal.envs.scenes import COLOURS, SHAPES, Stream

NUMBERS = 16  # problems speak of 0 to 15
Pair = tuple[int, int]
Problem = tuple[str, str]  # question, answer
STEPS = " show the steps."
SUMS = ("what is {a} + {b}?", "{a} plus {b}?", "what is the sum of {a} and {b}?")
LESS = ("what is {a} - {b}?", "{a} minus {b}?", "take {b} from {a}.")
SIGNS = (
    "the left number is {a} and the right number is {b}. ",
    "a sign on the left shows the number {a}. a sign on the right shows the number {b}. ",
)
MORE = "there are {a} {things} and {b} more. how many {things} are there?"
FEWER = "there are {a} {things}. {b} are gone. how many {things} are there?"
BOTH = "there are {a} {things} and {b} more. {c} are gone. how many {things} are there?"
TWO_STEPS = "what is the sum of the two numbers minus {c}?"


def copying(stream: Stream) -> Problem:
    """Words to say again."""
    words = (*COLOURS, *SHAPES, *map(str, range(32)))
    said = " ".join(stream.pick(words) for _ in range(1 + stream.below(6)))
    return f"repeat: {said}", said


def things(stream: Stream) -> str:
    """What is counted in a word problem."""
    return many({"colour": stream.pick(tuple(COLOURS)), "shape": stream.pick(SHAPES)})


def reckoning(stream: Stream, pair: Pair) -> Problem:
    """The sum of a pair, or its larger number minus the smaller, asked in one of several ways."""
    a, b = pair
    if stream.uniform() < 0.65:
        way = stream.pick((*SUMS, MORE, stream.pick(SIGNS) + stream.pick(reasoning.SIGN_SUM)))
        return way.format(a=a, b=b, things=things(stream)), str(a + b)
    a, b = max(pair), min(pair)
    return stream.pick((*LESS, FEWER)).format(a=a, b=b, things=things(stream)), str(a - b)


def two_steps(stream: Stream, pair: Pair) -> tuple[str, str, str]:
    """A problem over a + b - c: its question, its written steps, its answer."""
    a, b = pair
    c = stream.below(min(a + b, NUMBERS - 1) + 1)
    way = stream.pick(("what is {a} + {b} - {c}?", BOTH, stream.pick(SIGNS) + TWO_STEPS))
    asked = way.format(a=a, b=b, c=c, things=things(stream))
    return asked, f"{a} + {b} = {a + b}, {a + b} - {c} = {a + b - c}", str(a + b - c)


def problem(stream: Stream, pair: Pair, *, written: bool) -> Problem:
    """A word problem of one or two steps over a pair, its answer with written steps where asked for."""
    if stream.uniform() < 0.3:
        asked, steps, answer = two_steps(stream, pair)
    else:
        asked, answer = reckoning(stream, pair)
        a, b = pair
        plus = int(answer) == a + b
        steps = f"{a} + {b} = {answer}" if plus else f"{max(pair)} - {min(pair)} = {answer}"
    return (asked + STEPS, f"{steps}. {answer}") if written else (asked, answer)
