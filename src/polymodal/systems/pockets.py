"""Pocket models that read and see: lessons, courses, first steps, held-out questions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float16, UInt8
from torch import nn

from polymodal.envs import captions, questions, scenes
from polymodal.envs.problems import (
    NUMBERS,
    Pair,
    Problem,
    copying,
    problem,
    reckoning,
)
from polymodal.envs.questions import reasoning
from polymodal.envs.questions.question import many
from polymodal.envs.questions.several import several
from polymodal.envs.scenes import COLOURS, SHAPES, SIZES, TEXTURES, VERSION, Stream
from polymodal.nn.decoder import Decoder, Seeing
from polymodal.nn.decoder.knocked import blocks as blocks_of
from polymodal.nn.dual import Dual
from polymodal.nn.pocket import Tokens
from polymodal.nn.pocket.shelf import HOME
from polymodal.nn.weights import Recipe, blended
from polymodal.systems.alignment.naming import Namer, batches, named
from polymodal.systems.alignment.voice import Reader, look_up
from polymodal.training.lessons import Block, Course, Row, blocks, order, steps, train

if TYPE_CHECKING:
    from polymodal.metrics import Estimate
    from polymodal.runs import Run

CLIP = "pocket-clip"  # whose tower and tokenizer all pocket models share
SIDE = 8  # patches in a row
SEEN_SHARE = 77  # 30 % of the 256 ordered pairs
CAPTION = "describe the picture."
NAMING = ("names", "covers")  # courses of a tower and a projector, by `naming`
VALUES = {"size": tuple(SIZES), "texture": TEXTURES, "colour": tuple(COLOURS), "shape": SHAPES}
KINDS = ((), *((name,) for name in VALUES), *((name, "shape") for name in ("size", "texture", "colour")))


def pairs(held: bool | None = None) -> list[Pair]:
    """Ordered pairs of numbers: the 77 whose sums pocket-lm and pocket-vlm learn, the 179 others, or all."""
    order = np.random.default_rng(2505_05464).permutation(NUMBERS * NUMBERS)
    part = order if held is None else order[SEEN_SHARE:] if held else order[:SEEN_SHARE]
    return [(int(i) // NUMBERS, int(i) % NUMBERS) for i in part]


SEEN, HELD, ALL = pairs(held=False), pairs(held=True), pairs()


@dataclass(frozen=True, slots=True)
class Told:
    """Lessons that share a picture or a text in front of them.

    Attributes:
        lessons: questions and answers.
        prefix: what is said before the first.
        scene: what the picture shows.
    """

    lessons: tuple[Problem, ...]
    prefix: str = ""
    scene: scenes.Scene | None = None


def told_of(index: int, stage: str, *, split: str, seed: int) -> Told:
    """The lessons of an index.

    `lm`: captions, what captions say, copying, sums and differences of seen pairs, and every other time what
    `vlm` has, of a picture that is told; `reasoner`: problems over all pairs; `vlm`: questions about any
    picture, with sums of seen pairs on its signs, and lists; `counts` and `last`: the same, with more counts.
    """
    stream = Stream(seed, split, index, f"lessons of {stage}")
    if stage == "reasoner":
        return Told(
            tuple(problem(stream, stream.pick(ALL), written=stream.uniform() < 0.5) for _ in range(5))
        )
    if stage in COUNTED and index % COUNTED[stage] == 0:
        return counted(index, stream, split=split, seed=seed)
    if stage in ("vlm", *COUNTED) or (stage == "lm" and index % 2):
        return sights(index, stream, split=split, seed=seed)
    kind = stream.uniform()
    if kind < 0.15:
        scene = scenes.scene(index, split=split, seed=seed, signs=(0, 1), n=(2, 4))
        return Told(((CAPTION, captions.short(scene, seed=seed)),))
    if kind < 0.5:
        scene, first = questions.ask(index, family=stream.pick(FAMILIES), split=split, seed=seed, n=(2, 3))
        asked = stream.shuffled([first, *several(scene, 5, seed=seed)])
        return Told(tuple((q.question, q.answer) for q in asked), captions.long(scene, seed=seed).text)
    if kind < 0.65:
        return Told(tuple(copying(stream) for _ in range(4)))
    return Told(tuple(reckoning(stream, stream.pick(SEEN)) for _ in range(6)))


def listed(index: int, stream: Stream, *, split: str, seed: int) -> Told:
    """A picture and up to seven lists, of all objects or of a kind, which is said first of each; sorted."""
    scene, lists = scenes.scene(index, split=split, seed=seed, n=(2, 6), signs=(0, 1)), {}
    for _ in range(7):
        one, kind = stream.pick(scene.objects), stream.pick(KINDS)
        wanted = {name: getattr(one, name) for name in kind}
        names = sorted(VALUES, key=lambda name: name not in kind)
        found = [o for o in scene.objects if all(getattr(o, name) == wanted[name] for name in kind)]
        looks = sorted([VALUES[name].index(getattr(o, name)) for name in names] for o in found)
        said = [" ".join(VALUES[name][at] for name, at in zip(names, look, strict=True)) for look in looks]
        lists[f"list the {many(wanted)}."] = ", ".join(said)
    return Told(tuple(lists.items()), scene=scene)


FAMILIES = ("colour", "shape", "texture", "size", "place", "count", "exists", "left_right")
ASKED = (*FAMILIES, "count", "count", "left_right")  # the harder ones more often
HARDER = ("count", "left_right", "sign", "place")
COUNTED = {"counts": 2, "last": 4}  # every how many pictures of a stage are for counts


def sights(index: int, stream: Stream, *, split: str, seed: int) -> Told:
    """A picture and what to ask about it: every other harder; of six one has two signs, one is for lists."""
    if index % 2 == 0:
        scene, first = questions.ask(index, family=stream.pick(HARDER[:3]), split=split, seed=seed)
        asked = [(q.question, q.answer) for q in (first, *several(scene, 12, seed=seed, families=HARDER))]
        return Told(tuple(stream.shuffled(asked)), scene=scene)
    if index % 6 == 1:
        return listed(index, stream, split=split, seed=seed)
    if index % 6 == 5:
        scene, first = questions.ask(index, family=stream.pick(ASKED), split=split, seed=seed)
        asked = [(q.question, q.answer) for q in (first, *several(scene, 9, seed=seed))]
        return Told(tuple(stream.shuffled(asked)), scene=scene)
    known = stream.uniform() < 0.7  # of the others only the numbers are asked
    table = SEEN if known else ALL
    scene, total = questions.ask(index, family="sign_sum", split=split, seed=seed, pairs=table)
    left, right = (int(sign.text) for sign in scene.signs)
    asked = [
        ("which number is on the left sign?", str(left)),
        ("which number is on the right sign?", str(right)),
    ]
    asked += [(q.question, q.answer) for q in several(scene, 4, seed=seed)]
    if (left, right) in KNOWN:
        asked += [(total.question, total.answer), (stream.pick(reasoning.SIGN_SUM), total.answer)]
    return Told(tuple(dict(stream.shuffled(asked)).items()), scene=scene)


def counted(index: int, stream: Stream, *, split: str, seed: int) -> Told:
    """A picture and how many there are of what: of each number a few, since most kinds are there once."""
    scene, first = questions.ask(index, family="count", split=split, seed=seed)
    turns = (several(scene, 3, seed=seed + turn, families=("count",)) for turn in range(4))
    asked = {q.question: q.answer for q in (first, *(q for some in turns for q in some))}
    kept: dict[str, list[Problem]] = {}
    for one in asked.items():
        kept.setdefault(one[1], []).append(one)
    few = [one for answer, some in kept.items() for one in some[: 1 if answer in ("1", "2") else 2]]
    return Told(tuple(stream.shuffled(few)), scene=scene)


KNOWN = frozenset(SEEN)


COURSES: dict[str, tuple[Course, ...]] = {
    "pocket-lm": (Course("lm", 4000, 16, 1.5e-3, 64_000),),
    "pocket-reasoner": (Course("reasoner", 600, 32, 5e-4, 16_000),),
    "pocket-vlm": (
        Course("names", 4000, 32, 1e-3, 128_000),
        Course("covers", 1000, 32, 1e-3, 32_000),
        Course("vlm", 1800, 16, 1.2e-3, 28_800),
        Course("counts", 1200, 16, 1e-3, 19_200),
        Course("last", 1000, 16, 8e-4, 16_000),
    ),
}


def tokens() -> Tokens:
    """The tokenizer of all pocket models."""
    return Tokens.from_folder(HOME / CLIP)


def drawn(stage: str, indices: Iterable[int], net: Any, *, split: str, seed: int) -> list[Row]:
    """Rows of a stage for a net; its tower looks at their pictures, or their names are read by a `Reader`."""
    told = [told_of(i, stage, split=split, seed=seed) for i in indices]
    shown = [one.scene for one in told if one.scene is not None]
    sees = isinstance(net, Seeing)
    looks = iter(looked([scenes.pixels(one) for one in shown], net) if sees else map(names_of, shown))
    decoder = net.language_model if sees else net
    return [
        Row.of(
            decoder.words, one.lessons, decoder.shape.context, prefix=one.prefix,
            look=None if one.scene is None else next(looks),
        )
        for one in told
    ]  # fmt: skip


def fed(course: Course, net: Any, *, seed: int) -> Callable[[int], Iterator[Block]]:
    """Batches of an epoch; rows are drawn when one is asked for, so that a course done costs nothing."""
    rows = cache(lambda: drawn(course.stage, range(course.rows), net, split="train", seed=seed))
    return lambda number: blocks(rows(), course.rows, course.batch, seed=seed)(number)


def names_of(scene: scenes.Scene) -> Float16[np.ndarray, "n 6"]:
    """What a `Reader` reads in the place of a picture."""
    names, covers = named(scene, SIDE)
    return torch.cat([names[:, :1], covers], 1).numpy().astype(np.float16)


def looked(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], net: Seeing) -> Float16[np.ndarray, "p n d"]:
    """States of a net's tower without the class token."""
    with torch.no_grad():
        states = [net.look(net.prepare(pictures[at : at + 250])) for at in range(0, len(pictures), 250)]
    return torch.cat(states).half().numpy()


def begun(name: str, folder: Path, *, seed: int) -> Any:
    """A pocket model before its course; siblings begin as the pocket-lm of `folder`, else of the package."""
    if name == "pocket-lm":
        net = Decoder.pocket(words=tokens(), seed=seed)
        look_up(net)
    else:
        own = folder / "pocket-lm"
        net = Decoder.from_pretrained(own if own.is_dir() else "pocket-lm")
    net.model.embed_tokens.requires_grad_(False)  # trained, words of a kind came to lie together
    return net if name != "pocket-vlm" else Seeing.pocket(Dual.from_pretrained(CLIP), net, seed=seed)


def made(run: Run, name: str, *, seed: int) -> tuple[Any, dict[str, list[float]]]:
    """A pocket model through its courses, and the losses of each."""
    net, losses = begun(name, run.folder, seed=seed), {}
    courses = list(COURSES[name])
    if name == "pocket-vlm":
        namer = Namer(net, seed=seed)
        while courses[0].stage in NAMING:
            course = courses.pop(0)
            namer.wide = course.stage == "covers"
            drawing = batches(course.rows, course.batch, seed=seed)
            losses[course.stage] = train(run, name, namer, course, drawing, loss=Namer.loss, seed=seed)
        namer.louder()
        for part in (net.vision_tower, net.multi_modal_projector):
            part.requires_grad_(False)  # a decoder that cannot see yet soon unteaches them numbers and shapes
    learner = Reader(net, SIDE) if name == "pocket-lm" else net
    for course in courses:
        losses[course.stage] = train(run, name, learner, course, fed(course, net, seed=seed), seed=seed)
    return net, losses


def first_losses(name: str, n: int = 10, *, seed: int) -> list[float]:
    """The first losses of a pocket model's first course, from the rows of those steps alone."""
    course, net = COURSES[name][0], begun(name, HOME, seed=seed)
    if course.stage in NAMING:
        drawing = batches(course.rows, course.batch, seed=seed)
        made = steps(Namer(net, seed=seed), drawing, course, loss=Namer.loss, seed=seed)
    else:
        pool = next(order(course.rows, course.batch, 0, seed=seed))
        rows = drawn(course.stage, pool, net, split="train", seed=seed)
        feed = blocks(dict(zip(pool, rows, strict=True)), course.rows, course.batch, seed=seed)
        made = steps(Reader(net, SIDE) if name == "pocket-lm" else net, feed, course, seed=seed)
    return [step.loss for step in islice(made, n)]


@dataclass(frozen=True, slots=True)
class How:
    """A merge of the pocket models.

    Attributes:
        method: as `nn.weights` has it.
        weight: on pocket-vlm; 1 is pocket-vlm itself.
        density: of ties and dare.
        donor: a pocket model, or `permuted`: pocket-reasoner with its hidden units in another order, which
            answers alike alone, and lies elsewhere in weight space.
        protect: share of the pictures' activations that the donor may not change.
    """

    method: str = "linear"
    weight: float = 0.8
    density: float = 0.2
    donor: str = "pocket-reasoner"
    protect: float = 0.0


@cache
def sibling(name: str) -> Decoder:
    """A pocket language model, loaded once; not to be changed."""
    if name != "permuted":
        return Decoder.from_pretrained(name)
    net = copy.deepcopy(sibling("pocket-reasoner"))
    with torch.no_grad():
        for at, layer in enumerate(blocks_of(net)):
            mlp: Any = layer.mlp
            order = torch.from_numpy(np.random.default_rng(at).permutation(len(mlp.gate_proj.weight)))
            for part in (mlp.gate_proj, mlp.up_proj):
                part.weight.copy_(part.weight[order])
            mlp.down_proj.weight.copy_(mlp.down_proj.weight[:, order])
    return net


def joined(
    target: nn.Module, donor: nn.Module, recipe: Recipe, base: nn.Module | None = None, prefix: str = ""
) -> Any:
    """A copy of the target whose layers and last norm are the merge; its names have a `prefix` more."""
    own = target.state_dict()
    others = [
        {
            prefix + name: x
            for name, x in net.state_dict().items()
            if ".layers." in name or "model.norm." in name
        }
        for net in (donor, *([base] if base is not None else []))
    ]
    net = copy.deepcopy(target)
    net.load_state_dict(blended(recipe, own, others[:1], others[1] if base is not None else None))
    return net


def source(model: str) -> Path | str:
    """What `nn.weights.plan` reads for a model that chat names: a pocket folder, a path, a hub name."""
    name = model.removeprefix("local:")
    return HOME / name if (HOME / name / "config.json").is_file() else name


def card(
    name: str, losses: Mapping[str, Sequence[float]], scores: Mapping[str, Estimate], *, seed: int
) -> str:
    """A pocket model's README: data, command, seed, steps, scores with intervals, what it cannot do."""
    lines = [
        f"# {name}",
        "",
        ABOUT[name],
        "",
        f"* Data: scenes of version {VERSION}, drawn; nothing was collected.",
    ]
    lines += [f"* Command: `polymodal run model_merging:weights -o target={name} -o seed={seed}`"]
    for course in COURSES[name]:
        told = ", ".join(f"{loss:.4f}" for loss in losses[course.stage][:10])
        lines += [
            f"* Course `{course.stage}`: {course.steps} steps of {course.batch} rows, {course.rows:,} rows, "
            f"AdamW, peak rate {course.lr:g}; last losses {np.mean(losses[course.stage][-50:]):.3f}.",
            f"* First losses of `{course.stage}`: {told}",
        ]
    lines += ["", "| held-out questions | right | 95 % interval | n |", "|---|---|---|---|"]
    lines += [
        f"| {part} | {e.mean:.3f} | {e.low:.3f} to {e.high:.3f} | {e.n} |" for part, e in scores.items()
    ]
    return "\n".join([*lines, "", CANNOT[name], ""])


ABOUT = {
    "pocket-lm": "A small language model of scenes: captions, what they say, copying, sums and "
    f"differences of {SEEN_SHARE} of the 256 ordered pairs of numbers 0 to 15. Half of its lessons are about "
    "pictures that are told: each slot of a picture is the sum of the words that name the patch, so that its "
    "siblings share how to look things up. 1.94 M parameters, Llama form.",
    "pocket-reasoner": "pocket-lm, trained further on word problems over all pairs of numbers, of "
    "one and two steps, half of them with written steps. Its weights stay near those of pocket-lm.",
    "pocket-vlm": "pocket-clip's vision tower, taught to name what lies under each patch, a projector, and "
    f"pocket-lm's decoder, for questions about drawn scenes; sums of numbers on two signs for {SEEN_SHARE} "
    "of 256 pairs only. 3.04 M parameters, LLaVA form.",
}
WORDS = "It knows some hundred lower-case English words and numbers to 31, no facts, and no other talk"
CANNOT = {
    "pocket-lm": f"{WORDS}. Sums of pairs that it was not taught are mostly wrong, by design.",
    "pocket-reasoner": f"{WORDS}; it sees nothing.",
    "pocket-vlm": "It knows drawn scenes of 64 pixels alone: photographs, other shapes, long texts and "
    "questions other than those of `polymodal.envs.questions` mean nothing to it.",
}
