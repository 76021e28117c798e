"""Held-out questions to the pocket models, and which of them a model answers right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float16
from numpy.typing import NDArray

from polymodal.envs import questions, scenes
from polymodal.envs.problems import NUMBERS, SIGNS, STEPS, TWO_STEPS, problem, reckoning
from polymodal.envs.scenes import Stream
from polymodal.nn.decoder import Seeing
from polymodal.systems.alignment.voice import Reader
from polymodal.systems.benchmarks import answer_of
from polymodal.systems.pockets import ALL, CAPTION, HELD, SEEN, SIDE, looked, names_of, told_of
from polymodal.training.lessons import replies


@dataclass(frozen=True, slots=True)
class Item:
    """One question with one right answer.

    Attributes:
        id: the same for the same scene under two prompts.
        prompt: what is asked.
        target: the answer.
        chance: of a guess among the answers that its set has.
        scene: what the picture shows; None for a problem in words.
    """

    id: str
    prompt: str
    target: str
    chance: float
    scene: scenes.Scene | None = None


LOOKING = ("colour", "shape", "texture", "size", "place", "count", "left_right", "exists", "sign")
SETS = ("perception", "seen sums", "held-out sums", "two-step", "text-dominant", "text problems")


def items(name: str, n: int, *, split: str, seed: int) -> list[Item]:
    """The items of a set, or of a family of questions.

    `held-out sums` are asked of the picture alone; `text-dominant` are the same pictures and sums with the
    numbers told in words too; `two-step` has a third number in words.

    Raises:
        ValueError: no such set or family.
    """
    if name in questions.FAMILIES:
        return [_asked(i, name, split=split, seed=seed) for i in range(n)]
    if name == "perception":
        turns = ("colour", "shape", "place", "sign", "count")
        return [_asked(i, turns[i % len(turns)], split=split, seed=seed) for i in range(n)]
    if name not in SETS:
        raise ValueError(f"no set {name!r}; known: {', '.join((*SETS, *questions.FAMILIES))}")
    return [_reckoned(i, name, split=split, seed=seed) for i in range(n)]


def _asked(i: int, family: str, *, split: str, seed: int) -> Item:
    scene, question = questions.ask(i, family=family, split=split, seed=seed)
    return Item(f"{family}-{i}", question.question, question.answer, 1 / len(question.choices), scene)


def _reckoned(i: int, name: str, *, split: str, seed: int) -> Item:
    stream = Stream(seed, split, i, f"items of {name}")
    if name == "text problems":
        asked, answer = problem(stream, stream.pick(ALL), written=False)
        return Item(f"problem-{i}", asked, answer, 1 / 16)
    table = SEEN if name == "seen sums" else HELD
    scene, question = questions.ask(
        i, family="sign_sum", split=f"{split}/{len(table)}", seed=seed, pairs=table
    )
    a, b = (int(sign.text) for sign in scene.signs)
    asked, answer = question.question, question.answer
    if name == "text-dominant":
        asked = stream.pick(SIGNS).format(a=a, b=b) + asked
    elif name == "two-step":
        c = stream.below(min(a + b, NUMBERS - 1) + 1)
        asked, answer = TWO_STEPS.format(c=c), str(a + b - c)
    return Item(f"sum-{i}", asked, answer, 1 / 16, scene)


def looked_at(asked: Sequence[Item], net: Any) -> Float16[np.ndarray, "p n d"] | None:
    """What a net's tower says of the items' pictures, or a `Reader` is told; None where there is none."""
    shown = [item.scene for item in asked if item.scene is not None]
    if shown and isinstance(net, Reader):
        return np.stack([names_of(scene) for scene in shown])
    return looked(list(map(scenes.pixels, shown)), net) if shown and isinstance(net, Seeing) else None


def right(
    net: Any, items: Sequence[Item], looks: Any, *, control: str = "", seed: int = 0
) -> NDArray[np.float64]:
    """Which items are answered right; `control` shows each other's pictures (`shuffled`) or a `blank` one."""
    if control == "shuffled":
        looks = looks[np.random.default_rng(seed).permutation(len(looks))]
    elif control == "blank":
        looks = np.repeat(looked([np.full((64, 64, 3), 40, np.uint8)], net), len(items), 0)
    said = replies(net, [item.prompt for item in items], looks)
    return np.array([answer_of(text) == item.target for text, item in zip(said, items, strict=True)], float)


TALKS = {"pocket-lm": "lm", "pocket-reasoner": "reasoner"}


def held_out(net: Any, name: str, n: int, *, seed: int) -> dict[str, NDArray[np.float64]]:
    """Which held-out questions a pocket model answers right, by what they are about."""
    if isinstance(net, Seeing):
        out = {}
        for part in (*LOOKING, "seen sums", "held-out sums"):
            asked = items(part, n, split="test", seed=seed)
            looks = looked_at(asked, net)
            out[part] = right(net, asked, looks)
            out[f"{part}, blank picture"] = right(net, asked, looks, control="blank")
        return out
    kinds: dict[str, list[tuple[str, str]]] = {}
    for i in range(2 * n):
        lessons = told_of(i, TALKS[name], split="test", seed=seed)
        for text, answer in lessons.lessons[:1]:
            if text != CAPTION and lessons.scene is None:
                kind = "told" if lessons.prefix else "repeated" if text.startswith("repeat") else "reckoned"
                kind = "in steps" if text.endswith(STEPS) else kind
                kinds.setdefault(kind, []).append((f"{lessons.prefix} {text}", answer))
    out = {}
    if name == "pocket-lm":
        other = [reckoning(Stream(seed, "test", i, "other pairs"), HELD[i % len(HELD)]) for i in range(n)]
        kinds["reckoned, other pairs"] = other
        reader = Reader(net, SIDE)
        for part in LOOKING:
            asked = items(part, n, split="test", seed=seed)
            out[f"{part}, picture told"] = right(reader, asked, looked_at(asked, reader))
    for kind, pairs in kinds.items():
        said = replies(net, [asked for asked, _ in pairs])
        out[kind] = np.array([a == b for a, (_, b) in zip(said, pairs, strict=True)], float)
    return out
