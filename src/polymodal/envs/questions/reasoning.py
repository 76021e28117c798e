"""Questions with a step after looking: comparing, adding, two relations, the odd one out."""

from __future__ import annotations

from dataclasses import replace

from polymodal.envs.questions.perception import Asked
from polymodal.envs.questions.question import MOST, Draw, beside, many

COMPARE = (
    "are there more, fewer or equal numbers of {one} compared with {other}?",
    "compared with {other}, are the {one} more, fewer or equal in number?",
    "more, fewer or equal: how many {one} are there compared with {other}?",
)
SUM = (
    "how many {one} and {other} are there together?",
    "count the {one} and the {other}: how many in all?",
    "what is the number of {one} plus the number of {other}?",
)
SIGN_SUM = (
    "what is the sum of the two numbers?",
    "what do the numbers on the two signs add up to?",
    "add the numbers on the signs.",
    "how much is the left number plus the right number?",
)
TWO_HOP = (
    "what colour is the object {second} the object {first} {thing}?",
    "there is one object {first} {thing}. what colour is the object {second} it?",
    "find the object {first} {thing}, then the object {second} that one. which colour does it have?",
)
ODD = (
    "all objects but one have the same {name}. what colour is the odd one?",
    "one object differs from the others in {name}. which colour does it have?",
    "what is the colour of the object with another {name} than the rest?",
)
WAYS = ("left of", "right of", "above", "below")
THREE = 3  # the most of one kind in a comparison


def compare(draw: Draw) -> Asked:
    """More, fewer or equally many of one colour or shape as of another."""
    choices = ("more", "fewer", "equal")
    answer = draw.target(choices)
    counts = [(x, y) for x in range(1, THREE + 1) for y in range(1, THREE + 1) if x + y <= draw.n[1]]
    sign = {"more": 1, "fewer": -1, "equal": 0}[answer]
    fitting = [(x, y) for x, y in counts if (x > y) - (x < y) == sign]
    return _two_kinds(draw, draw.stream.pick(fitting), answer, choices, COMPARE) if fitting else None


def count_sum(draw: Draw) -> Asked:
    """How many of two colours or two shapes together, two to six."""
    choices = tuple(str(n) for n in range(2, min(MOST, draw.n[1]) + 1))
    answer = int(draw.target(choices))
    one = draw.between(1, answer - 1)
    return _two_kinds(draw, (one, answer - one), str(answer), choices, SUM)


def _two_kinds(
    draw: Draw, counts: tuple[int, int], answer: str, choices: tuple[str, ...], templates: tuple[str, ...]
) -> Asked:
    """So many of two kinds, and others to fill up to what the scene has at least, or one more."""
    name = draw.kind([name for name in ("colour", "shape") if len(getattr(draw.world, f"{name}s")) > 2])
    if name is None:
        return None
    kinds = draw.stream.shuffled(getattr(draw.world, f"{name}s"))
    looks = [draw.like(**{name: kind}) for kind, n in zip(kinds, counts, strict=False) for _ in range(n)]
    low = max(sum(counts), draw.n[0])
    for _ in range(draw.between(low, max(low, min(sum(counts) + 1, draw.n[1]))) - len(looks)):
        looks.append(draw.like(**{name: draw.stream.pick(kinds[2:])}))
    scene = draw.scene(draw.stream.shuffled(looks))
    one, other = (many({name: kind}) for kind in kinds[:2])
    return (
        (scene, draw.question(templates, answer, choices, "count", one=one, other=other)) if scene else None
    )


def sign_sum(draw: Draw) -> Asked:
    """The sum of two numbers, drawn as they come: sums in the middle are more frequent."""
    numbers = [int(number) for number in draw.world.numbers]
    pairs = sorted(draw.pairs) or [(a, b) for a in numbers for b in numbers]
    one, other = draw.stream.pick(pairs)
    scene = draw.scene(draw.looks(), [str(one), str(other)])
    if scene is None:
        return None
    left, right = sorted(scene.signs, key=lambda sign: (sign.x, sign.y))
    scene = replace(scene, signs=(replace(left, text=str(one)), replace(right, text=str(other))))
    choices = tuple(str(n) for n in range(2 * max(numbers) + 1))
    return scene, draw.question(SIGN_SUM, str(one + other), choices, "sign")


def two_hop(draw: Draw) -> Asked:
    """The colour of the only object on one side of the only object on one side of a third."""
    choices = tuple(draw.world.colours)
    answer = draw.target(choices)
    scene = draw.scene(draw.looks())
    if scene is None:
        return None
    things = scene.objects
    n = range(len(things))
    only = {}  # the one object on a side of another, where there is just one and none is too close to say
    for a in n:
        for way in WAYS:
            found = [beside(things[b], things[a], way) for b in n if b != a]
            if None not in found and found.count(True) == 1:
                only[a, way] = next(b for b in n if b != a and beside(things[b], things[a], way))
    chains = [
        (a, first, b, second, only[b, second])
        for (a, first), b in only.items()
        for second in WAYS
        if (b, second) in only and only[b, second] != a
    ]
    for a, first, _, second, c in draw.stream.shuffled(chains):
        painted = tuple(replace(o, colour=answer) if k == c else o for k, o in enumerate(things))
        seen = replace(scene, objects=painted)
        if (things[c].shape, answer) not in draw.world.hold_out and (
            thing := draw.named(seen, a, "colour")  # "the red object" would say that the answer is not red
        ):
            words = {"first": first, "second": second, "thing": thing}
            return seen, draw.question(TWO_HOP, answer, choices, "left_right", "colour", **words)
    return None


def odd_one_out(draw: Draw) -> Asked:
    """The colour of the one object that differs from at least two others in shape, size or texture."""
    choices = tuple(draw.world.colours)
    answer = draw.target(choices)
    kinds = {"shape": draw.world.shapes, "size": draw.world.sizes, "texture": draw.world.textures}
    name = draw.kind([name for name, values in kinds.items() if len(values) > 1])
    if name is None:
        return None
    usual, odd = draw.stream.shuffled(kinds[name])[:2]
    if (odd, answer) in draw.world.hold_out:
        return None
    looks = [draw.like(**{name: usual}) for _ in range(draw.between(max(3, draw.n[0]), draw.n[1]) - 1)]
    looks.append(draw.like(colour=answer, **{name: odd}))
    scene = draw.scene(draw.stream.shuffled(looks))
    if scene is None or len({getattr(thing, name) for thing in scene.objects}) < 2:
        return None
    return scene, draw.question(ODD, answer, choices, name, "colour", name=name)
