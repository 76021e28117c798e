"""Small worlds with one leak planted in each, and their clean twin."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polymodal.media import Sample, Series, Text
from polymodal.training import Split, fingerprint, grouped

WORDS = [a + b + c for a in "bdfglmnprst" for b in "aeiou" for c in ("k", "nd", "rt", "sh")]


@dataclass
class World:
    samples: list[Sample]
    split: Split
    fitted: dict[str, str]


def small(
    seed: int,
    *,
    groups: int = 16,
    each: int = 10,
    k: int = 3,
    dim: int = 6,
    signal: float = 1.5,
    offset: float = 0.5,
    favour: float = 0.0,
    text: bool = False,
) -> World:
    """Speakers with a vector whose first columns show the class, and a text that says nothing where asked.

    A speaker shifts the columns that carry no signal (all, where the signal is 0), and takes its favourite
    class with probability `favour`.
    """
    rng = np.random.default_rng([seed, 11])
    group = np.repeat(np.arange(groups), each)
    n = len(group)
    y = np.where(rng.random(n) < favour, rng.integers(k, size=groups)[group], rng.integers(k, size=n))
    shift = rng.normal(0, offset, (groups, dim))
    shift[:, : k if signal else 0] = 0
    x = rng.normal(size=(n, dim)) + shift[group]
    x[:, :k] += signal * np.eye(k)[y][:, :dim]
    samples = [
        Sample(
            id=f"u{i:04d}",
            parts={"audio": Series(x[i])} | ({"text": Text(" ".join(rng.choice(WORDS, 25)))} if text else {}),
            target="abcdefgh"[y[i]],
            group=f"g{group[i]:02d}",
        )
        for i in range(n)
    ]
    split = grouped(samples, seed=seed)
    return World(samples, split, {"scaler": seen(samples, split.train)})


def seen(samples: Sequence[Sample], rows: Sequence[int]) -> str:
    return fingerprint(samples[row].id for row in rows)


def matrix(samples: Sequence[Sample]) -> NDArray[np.float64]:
    return np.stack([sample.parts["audio"].values()[0] for sample in samples])  # type: ignore[union-attr]


def with_vectors(world: World, x: NDArray[np.float64]) -> World:
    pairs = zip(world.samples, x, strict=True)
    return replace(world, samples=[replace(s, parts={**s.parts, "audio": Series(row)}) for s, row in pairs])


def put(world: World, row: int, **fields: object) -> World:
    samples = list(world.samples)
    samples[row] = replace(samples[row], **fields)  # type: ignore[arg-type]
    return replace(world, samples=samples)


def twins(world: World, rng: np.random.Generator) -> tuple[int, int]:
    """A train row and a test row of one class."""
    test = int(rng.choice(world.split.test))
    same = [row for row in world.split.train if world.samples[row].target == world.samples[test].target]
    return int(rng.choice(same)), test


def crossing_group(world: World, rng: np.random.Generator) -> World:
    row = int(rng.choice(world.split.test))
    test = tuple(r for r in world.split.test if r != row)
    split = replace(world.split, train=tuple(sorted((*world.split.train, row))), test=test)
    return World(world.samples, split, {"scaler": seen(world.samples, split.train)})


def duplicate(world: World, rng: np.random.Generator) -> World:
    train, test = twins(world, rng)
    return put(world, test, parts=world.samples[train].parts)


def shared_part(world: World, rng: np.random.Generator) -> World:
    train, test = twins(world, rng)
    parts = {**world.samples[test].parts, "text": world.samples[train].parts["text"]}
    return put(world, test, parts=parts)


def conflicting_targets(world: World, rng: np.random.Generator) -> World:
    first = int(rng.choice(world.split.train))
    other = next(r for r in world.split.train if world.samples[r].target != world.samples[first].target)
    return put(world, other, parts=world.samples[first].parts)


def near_text(world: World, rng: np.random.Generator) -> World:
    train, test = twins(world, rng)
    text = world.samples[train].parts["text"].read()  # type: ignore[union-attr]
    return put(world, test, parts={**world.samples[test].parts, "text": Text(text[:-1] + "!")})


def near_vector(world: World, rng: np.random.Generator) -> World:
    train, test = twins(world, rng)
    x = world.samples[train].parts["audio"].values()[0]  # type: ignore[union-attr]
    copy = Series(x + rng.normal(0, 1e-3, x.shape))
    return put(world, test, parts={**world.samples[test].parts, "audio": copy})


def overlap(world: World, rng: np.random.Generator) -> World:
    """Every sample is ten seconds of its group's recording; one test sample is cut from a train recording."""
    place: dict[str | None, int] = {}
    samples = []
    for sample in world.samples:
        start = 10.0 * place.setdefault(sample.group, 0)
        place[sample.group] += 1
        tags = {"recording": f"{sample.group}.wav", "start": start, "end": start + 10.0}
        samples.append(replace(sample, tags=tags))
    train, test = twins(world, rng)
    world = replace(world, samples=samples)
    tags = {**samples[train].tags, "start": samples[train].tags["start"] + rng.uniform(1, 9)}  # type: ignore[operator]
    return put(world, test, tags={**tags, "end": tags["start"] + 10.0})


def label_column(world: World, rng: np.random.Generator) -> World:
    x = matrix(world.samples)
    code = np.array(["abcdefgh".index(str(s.target)) for s in world.samples])
    x[:, int(rng.integers(x.shape[1]))] = (code == code[0]) + rng.normal(0, 0.1, len(x))
    return with_vectors(world, x)


def scaler_on_all(world: World, rng: np.random.Generator) -> World:
    return replace(world, fitted={"scaler": seen(world.samples, range(len(world.samples)))})


def ids_in_class_order(world: World, rng: np.random.Generator) -> World:
    order = sorted(range(len(world.samples)), key=lambda row: (world.samples[row].target, rng.random()))
    samples = list(world.samples)
    for place, row in enumerate(order):
        samples[row] = replace(samples[row], id=f"u{place:04d}")
    return World(samples, world.split, {"scaler": seen(samples, world.split.train)})


def label_in_name(world: World, rng: np.random.Generator) -> World:
    ids = rng.permutation(len(world.samples))
    samples = [replace(s, id=f"x{i:04d}_{s.target}") for s, i in zip(world.samples, ids, strict=True)]
    return World(samples, world.split, {"scaler": seen(samples, world.split.train)})


def label_in_tag(world: World, rng: np.random.Generator) -> World:
    mood = {"a": "good", "b": "bad", "c": "ugly"}
    return replace(world, samples=[replace(s, tags={"mood": mood[str(s.target)]}) for s in world.samples])


def class_shares(world: World, rng: np.random.Generator) -> World:
    """Test has mostly one class. Text and vectors are left as they are."""
    chosen = set(world.split.test)
    samples = [
        replace(s, target="a" if rng.random() < 0.9 else s.target) if row in chosen else s
        for row, s in enumerate(world.samples)
    ]
    return replace(world, samples=samples)


def saw_labels(world: World, rng: np.random.Generator) -> World:
    """The vectors of train and val were made by something that had seen their labels; test's are noise."""
    x = rng.normal(size=(len(world.samples), 6))
    rows = [*world.split.train, *world.split.val]
    x[rows, ["abcdefgh".index(str(world.samples[row].target)) for row in rows]] += 3.0
    return with_vectors(world, x)


Plant = Callable[[World, np.random.Generator], World]
