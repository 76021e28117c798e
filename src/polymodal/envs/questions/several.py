"""Several questions about one scene, as they come: for training, where pictures are dear."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from polymodal.envs.questions import perception
from polymodal.envs.questions.question import MARGIN, MOST, Draw, Question, described, many
from polymodal.envs.scenes import COLOURS, PLACES, SHAPES, SIZES, TEXTURES, Scene, Stream, World

CHOICES = {"colour": tuple(COLOURS), "shape": SHAPES, "texture": TEXTURES, "size": tuple(SIZES)}


def several(
    scene: Scene, n: int, *, seed: int, families: Collection[str] | None = None
) -> tuple[Question, ...]:
    """Up to n different questions of perception about a scene, their families in turn.

    Answers are as frequent as scenes make them: to judge a model, take `ask`, which balances them.

    Args:
        scene: any.
        n: how many; fewer where the scene has not enough to ask for.
        seed: of the draw.
        families: which, some of `WAYS`; all when None.
    """
    stream = Stream(*scene.key, "several", seed)
    draw = Draw(0, "", "", seed, scene.size, (1, 5), (0, 2), World(), (), stream)
    found: dict[str, Question] = {}
    ways = list(WAYS) if scene.objects else ["sign"] * bool(scene.signs)
    ways = [way for way in ways if families is None or way in families]
    for _ in range(3):
        for family in stream.shuffled(ways):
            if len(found) < n and (made := WAYS[family](draw, scene, family)):
                found.setdefault(made.question, made)
    return tuple(found.values())


def _made(
    draw: Draw, family: str, texts: Sequence[str], answer: str, choices: Sequence[str], **words: str
) -> Question:
    return Question(draw.stream.pick(texts).format(**words), answer, tuple(choices), family, (family,))


def _attribute(draw: Draw, scene: Scene, family: str) -> Question | None:
    i = draw.stream.below(len(scene.objects))
    thing = draw.named(scene, i, family)
    answer = getattr(scene.objects[i], family)
    if not thing:
        return None
    return _made(draw, family, perception.ATTRIBUTE[family], answer, CHOICES[family], thing=thing)


def _place(draw: Draw, scene: Scene, family: str) -> Question | None:
    i = draw.stream.below(len(scene.objects))
    one, thing = scene.objects[i], draw.named(scene, i, "size")
    clear = all(abs(at - third / 3) >= perception.EDGE for at in (one.x, one.y) for third in (1, 2))
    return _made(draw, family, perception.PLACE, one.place, PLACES, thing=thing) if clear and thing else None


def _side(draw: Draw, scene: Scene, family: str) -> Question | None:
    if len(scene.objects) < 2:
        return None
    i, j = draw.stream.shuffled(range(len(scene.objects)))[:2]
    step = scene.objects[i].x - scene.objects[j].x
    one, other = draw.named(scene, i), draw.named(scene, j)
    if abs(step) < MARGIN or not one or not other:
        return None
    answer = "left" if step < 0 else "right"
    return _made(draw, family, perception.SIDE, answer, ("left", "right"), one=one, other=other)


def _kind(draw: Draw, scene: Scene) -> dict[str, str]:
    """Some attributes of one of the objects."""
    one = draw.stream.pick(scene.objects)
    return {name: getattr(one, name) for name in draw.stream.pick(perception.KINDS)}


def _number(scene: Scene, wanted: dict[str, str]) -> int:
    return sum(all(getattr(o, k) == v for k, v in wanted.items()) for o in scene.objects)


def _count(draw: Draw, scene: Scene, family: str) -> Question | None:
    wanted = _kind(draw, scene) if draw.stream.uniform() < 0.7 else {}
    choices = tuple(str(n) for n in range(1, MOST + 1))
    answer = str(_number(scene, wanted))
    things = many(wanted)
    return (
        _made(draw, family, perception.COUNT, answer, choices, things=things) if answer in choices else None
    )


def _exists(draw: Draw, scene: Scene, family: str) -> Question | None:
    wanted = _kind(draw, scene)
    if draw.stream.uniform() < 0.5:
        wanted = {name: draw.stream.pick(CHOICES[name]) for name in wanted}
    answer = "yes" if _number(scene, wanted) else "no"
    return _made(draw, family, perception.EXISTS, answer, ("yes", "no"), thing=described(wanted))


def _sign(draw: Draw, scene: Scene, family: str) -> Question | None:
    if not scene.signs:
        return None
    i = draw.stream.below(len(scene.signs))
    sign, which = scene.signs[i], "the sign"
    if len(scene.signs) == 2:
        dx, dy = sign.x - scene.signs[1 - i].x, sign.y - scene.signs[1 - i].y
        ways = ["left" if dx < 0 else "right"] if abs(dx) >= MARGIN else []
        ways += ["upper" if dy < 0 else "lower"] if abs(dy) >= MARGIN else []
        if not ways:
            return None
        which = f"the {draw.stream.pick(ways)} sign"
    texts = perception.NUMBER if sign.text.isdigit() else perception.SIGN
    return _made(draw, family, texts, sign.text, tuple(str(n) for n in range(32)), sign=which)


WAYS: dict[str, Callable[[Draw, Scene, str], Question | None]] = {
    **dict.fromkeys(CHOICES, _attribute),
    "place": _place,
    "count": _count,
    "exists": _exists,
    "left_right": _side,
    "sign": _sign,
}
