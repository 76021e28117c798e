"""Questions answered by looking: colour, shape, texture, size, place, sign, count, side."""

from __future__ import annotations

from polymodal.envs.questions.question import MARGIN, MOST, Draw, Question, described, many
from polymodal.envs.scenes import PLACES, Look, Scene

EDGE = 1.5 / 64  # a centre closer than this to the border of a third is not asked for its place
Asked = tuple[Scene, Question] | None  # None where the draw gave no scene for the answer
ATTRIBUTE = {
    "colour": (
        "what colour is {thing}?",
        "which colour does {thing} have?",
        "what is the colour of {thing}?",
        "tell the colour of {thing}.",
    ),
    "shape": (
        "what shape is {thing}?",
        "which shape does {thing} have?",
        "what is the shape of {thing}?",
        "tell the shape of {thing}.",
    ),
    "texture": (
        "what texture does {thing} have?",
        "which texture is on {thing}?",
        "what is the texture of {thing}?",
        "tell the texture of {thing}.",
    ),
    "size": (
        "what size is {thing}?",
        "is {thing} small or large?",
        "which size does {thing} have?",
        "tell the size of {thing}.",
    ),
}
PLACE = (
    "where is {thing}?",
    "in which part of the picture is {thing}?",
    "what is the place of {thing}?",
    "tell the place of {thing}.",
)
SIGN = (
    "what does {sign} say?",
    "what is written on {sign}?",
    "read {sign}.",
)
NUMBER = (*SIGN, "which number is on {sign}?")
COUNT = (
    "how many {things} are there?",
    "how many {things} are in the picture?",
    "count the {things}.",
    "what is the number of {things}?",
)
EXISTS = (
    "is there any {thing}?",
    "does the picture show any {thing}?",
    "can you see any {thing}?",
    "is any {thing} in the picture?",
)
SIDE = (
    "is {one} left or right of {other}?",
    "on which side of {other} is {one}, left or right?",
    "left or right of {other}: where is {one}?",
)
KINDS = (("colour",), ("shape",), ("colour", "shape"), ("texture",))  # what counts and exists are asked of


def attribute(draw: Draw) -> Asked:
    """Colour, shape, texture or size of one object that the other words tell from the rest."""
    name = draw.family
    choices = tuple(getattr(draw.world, {"size": "sizes"}.get(name, f"{name}s")))
    answer = draw.target(choices)
    scene = draw.scene(draw.looks())
    if scene is None:
        return None
    for i in draw.stream.shuffled(range(len(scene.objects))):
        if getattr(scene.objects[i], name) == answer and (thing := draw.named(scene, i, name)):
            return scene, draw.question(ATTRIBUTE[name], answer, choices, thing=thing)
    return None


def where(draw: Draw) -> Asked:
    """The third of the picture; sizes are not told, since large ones are seldom in the corners."""
    answer = draw.target(PLACES)
    scene = draw.scene(draw.looks())
    if scene is None:
        return None
    for i in draw.stream.shuffled(range(len(scene.objects))):
        one = scene.objects[i]
        clear = all(abs(at - third / 3) >= EDGE for at in (one.x, one.y) for third in (1, 2))
        if clear and one.place == answer and (thing := draw.named(scene, i, "size")):
            return scene, draw.question(PLACE, answer, PLACES, thing=thing)
    return None


def sign(draw: Draw) -> Asked:
    """What the sign says; of two, the left, right, upper or lower one."""
    choices = tuple(str(text) for text in draw.world.numbers)
    answer = draw.target(choices)
    texts = [answer, *(draw.stream.pick(choices) for _ in range(draw.between(*draw.signs) - 1))]
    scene = draw.scene(draw.looks(), texts)
    if scene is None:
        return None
    which = "the sign"
    if len(texts) == 2:
        one, other = scene.signs
        dx, dy = one.x - other.x, one.y - other.y
        ways = ["left" if dx < 0 else "right"] if abs(dx) >= MARGIN else []
        ways += ["upper" if dy < 0 else "lower"] if abs(dy) >= MARGIN else []
        which = f"the {draw.stream.pick(ways)} sign"
    templates = NUMBER if all(choice.isdigit() for choice in choices) else SIGN
    return scene, draw.question(templates, answer, choices, sign=which)


def count(draw: Draw) -> Asked:
    """One to six objects of a colour, a shape, both or a texture, or of all, among up to two others."""
    low, high = draw.n
    choices = tuple(str(n) for n in range(1, min(MOST, high) + 1))
    answer = int(draw.target(choices))
    every = ((),) if low <= 1 else ()  # all the objects cannot be one where there must be two
    kind = draw.kind((*every, *_kinds(draw)))
    if kind is None:
        return None
    wanted = _of(draw.world.look(draw.stream), kind)
    looks = [draw.like(**wanted) for _ in range(answer)]
    if kind:
        total = draw.between(max(answer, low), max(low, min(answer + 2, high)))
        while len(looks) < total:
            other = draw.world.look(draw.stream)
            if _of(other, kind) != wanted:
                looks.append(other)
    scene = draw.scene(draw.stream.shuffled(looks))
    return (scene, draw.question(COUNT, str(answer), choices, things=many(wanted))) if scene else None


def exists(draw: Draw) -> Asked:
    """Yes or no; what is asked for is drawn alike in both cases."""
    choices = ("yes", "no")
    answer = draw.target(choices)
    looks = draw.looks()
    scene = draw.scene(looks)
    if scene is None:
        return None
    kind = draw.kind(_kinds(draw))
    if kind is None:
        return None
    wanted = _of(draw.stream.pick(looks) if answer == "yes" else draw.world.look(draw.stream), kind)
    if answer == "no" and any(_of(look, kind) == wanted for look in looks):
        return None
    return scene, draw.question(EXISTS, answer, choices, thing=described(wanted))


def side(draw: Draw) -> Asked:
    """Whether one object is left or right of another."""
    choices = ("left", "right")
    answer = draw.target(choices)
    scene = draw.scene(draw.looks())
    if scene is None:
        return None
    for i in draw.stream.shuffled(range(len(scene.objects))):
        for j in draw.stream.shuffled(range(len(scene.objects))):
            one, other = scene.objects[i], scene.objects[j]
            apart = one.x - other.x if answer == "right" else other.x - one.x
            if apart >= MARGIN and (a := draw.named(scene, i)) and (b := draw.named(scene, j)):
                return scene, draw.question(SIDE, answer, choices, one=a, other=b)
    return None


def _kinds(draw: Draw) -> list[tuple[str, ...]]:
    """Those of `KINDS` that the world has more than one value of."""
    return [kind for kind in KINDS if all(len(getattr(draw.world, f"{name}s")) > 1 for name in kind)]


def _of(look: Look, kind: tuple[str, ...]) -> dict[str, str]:
    """The named attributes of a look."""
    named = dict(zip(("shape", "colour", "size", "texture"), look, strict=True))
    return {name: named[name] for name in kind}
