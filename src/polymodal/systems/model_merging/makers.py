"""The making of pocket-lm, pocket-reasoner and pocket-vlm: rows of lessons, courses, trained nets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float16, UInt8

from polymodal.envs import scenes
from polymodal.nn.decoder import Decoder, Seeing, prompt
from polymodal.nn.dual import Dual
from polymodal.nn.pocket import Tokens
from polymodal.nn.pocket.shelf import HOME
from polymodal.systems.model_merging import data
from polymodal.training.lessons import Course, Row, blocks, order, steps, train

if TYPE_CHECKING:
    from polymodal.runs import Run

CLIP = "pocket-clip"  # whose tower and tokenizer all pocket models share
ROWS = 2000  # rows that one job draws


COURSES: dict[str, tuple[Course, ...]] = {
    "pocket-lm": (Course("lm", 2400, 32, 2e-3, 60_000),),
    "pocket-reasoner": (Course("reasoner", 600, 32, 5e-4, 16_000),),
    "pocket-vlm": (Course("captions", 500, 32, 2e-3, 16_000), Course("vlm", 5000, 32, 1e-3, 40_000)),
}


def tokens() -> Tokens:
    """The tokenizer of all pocket models."""
    return Tokens.from_folder(HOME / CLIP)


def drawn(stage: data.Stage, indices: Iterable[int], room: int, *, split: str, seed: int) -> list[Row]:
    """Rows of a stage; what a picture shows goes through pocket-clip's tower."""
    words, told = tokens(), [data.told(i, stage, split=split, seed=seed) for i in indices]
    pictures = [scenes.pixels(one.scene) for one in told if one.scene is not None]
    looks = looked(pictures) if stage in data.SIGHTED else [None] * len(told)
    return [
        Row.of(words, one.lessons, room, prefix=one.prefix, look=look)
        for one, look in zip(told, looks, strict=True)
    ]


def looked(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float16[np.ndarray, "p n d"]:
    """States of pocket-clip's tower, without the class token."""
    net = Seeing.pocket(Dual.from_pretrained(CLIP), Decoder.pocket(layers=1, words=tokens()))
    with torch.no_grad():
        states = [net.look(net.prepare(pictures[at : at + 250])) for at in range(0, len(pictures), 250)]
    return torch.cat(states).half().numpy()


def rows_job(stage: data.Stage, start: int, n: int, room: int, split: str, number: int) -> dict[str, Any]:
    """`drawn` as flat arrays; `number` is the seed."""
    torch.set_num_threads(1)
    rows = drawn(stage, range(start, start + n), room, split=split, seed=number)
    out = {
        "ids": np.concatenate([row.ids for row in rows]),
        "lengths": np.array([len(row.ids) for row in rows]),
    }
    out |= {"counted": np.concatenate([row.counted for row in rows])}
    return out | ({"looks": np.stack([row.look for row in rows])} if stage in data.SIGHTED else {})


def gathered(run: Run, course: Course, room: int, *, seed: int) -> list[Row]:
    """All rows of a course, drawn by jobs of the run."""
    starts = range(0, course.rows, ROWS)
    jobs = {f"rows/{course.stage}/{at}": (course.stage, at, ROWS, room, "train", seed) for at in starts}
    out = []
    for value in run.map(rows_job, jobs, name="rows").values():
        ends = np.cumsum(value["lengths"]).tolist()
        for i, (at, to) in enumerate(zip([0, *ends], ends, strict=False)):
            look = value["looks"][i] if "looks" in value else None
            out.append(Row(value["ids"][at:to], value["counted"][at:to], look))
    return out


def begun(name: str, folder: Any, *, seed: int) -> Any:
    """A pocket model before its course; siblings begin as the pocket-lm of `folder`, else of the package."""
    if name == "pocket-lm":
        return Decoder.pocket(words=tokens(), seed=seed)
    net = Decoder.from_pretrained(folder / "pocket-lm" if (folder / "pocket-lm").is_dir() else "pocket-lm")
    return net if name == "pocket-reasoner" else Seeing.pocket(Dual.from_pretrained(CLIP), net, seed=seed)


def made(run: Run, name: str, *, seed: int) -> tuple[Any, dict[str, list[float]]]:
    """A pocket model through its courses, and the losses of each."""
    net, losses = begun(name, run.folder, seed=seed), {}
    room = (net.language_model if isinstance(net, Seeing) else net).shape.context
    for course in COURSES[name]:
        rows = gathered(run, course, room, seed=seed)
        feed = blocks(rows, len(rows), course.batch, seed=seed)
        losses[course.stage] = train(run, name, net, course, feed, seed=seed)
    return net, losses


def first_losses(name: str, n: int = 10, *, seed: int) -> list[float]:
    """The first losses of a pocket model's first course, from the rows of those steps alone."""
    course, net = COURSES[name][0], begun(name, HOME, seed=seed)
    pool = next(order(course.rows, course.batch, 0, seed=seed))
    room = (net.language_model if isinstance(net, Seeing) else net).shape.context
    rows = dict(zip(pool, drawn(course.stage, pool, room, split="train", seed=seed), strict=True))
    told = []
    for step in steps(net, blocks(rows, course.rows, course.batch, seed=seed), course, seed=seed):
        told.append(step.loss)
        if step.n == n:
            break
    return told


def replies(
    net: Any,
    prompts: Sequence[str],
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]] | None = None,
    tokens: int = 24,
) -> list[str]:
    """Greedy replies of a pocket model, a hundred at once."""
    words, out = net.words, []
    patches = 0 if pictures is None else net.patches
    for at in range(0, len(prompts), 100):
        ids, mask = prompt.asked(words, prompts[at : at + 100], patches)
        if pictures is None and not isinstance(net, Seeing):
            out += net.generate(ids, mask, tokens=tokens)
        else:
            shown = None if pictures is None else net.prepare(pictures[at : at + 100])
            out += net.generate(shown, ids, mask, tokens=tokens)
    return out
