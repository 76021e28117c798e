"""Pocket items, an advisor with planted rates, simulated people, worlds with known answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, ndtr

from polymodal.chat import ChatModel, Scripted, said, uniform
from polymodal.envs.cards import COLOURS, SHAPES, Scene, Thing
from polymodal.media import Part, Sample, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Question = tuple[Scene, str, list[str], str]  # what is seen, asked, offered, and right

RATES: Mapping[str, float] = {"colour": 0.95, "count": 0.85, "position": 0.65, "text": 0.50}
OWN = 0.7  # accuracy of simulated people before the advice
OPTIONS = 4
# What a display does to simulated people: strength and cut of their evidence on discordant trials. The first
# three are the specification's pocket experiment; the last three are guesses for studies by simulation.
PLANTED: Mapping[str, tuple[float, float]] = {
    "none": (0.5, 0.25), "confidence": (1.5, 0.75), "explanation": (0.5, -0.25),
    "abstain": (0.5, 0.25), "highlight": (1.0, 0.5), "history": (1.0, 0.5), "blind": (0.0, 0.25),
}  # fmt: skip
UP, DOWN, RIGHT = 0.10, 0.30, 0.8  # trust's learning rates, and the advisor's accuracy in that world
PLACES = {"left": (0.2, 0.5), "right": (0.8, 0.5), "above": (0.5, 0.2), "below": (0.5, 0.8)}
WORDS = ("oak", "elm", "ash", "fir", "yew", "bay", "fig", "box")


def items(each: int = 60, *, seed: int) -> list[Sample]:
    """Scene questions with four options, `each` a capability; no two pictures are the same."""
    rng, found = np.random.default_rng([seed, 1]), []
    makers = {"colour": _colour, "count": _count, "position": _position, "text": _text}
    for name, maker in makers.items():
        for k in range(each):
            scene, question, options, truth = maker(rng)
            parts: dict[str, Part] = {"question": Text(question), "options": Text("\n".join(options))}
            key = f"{name}-{k:03d}"
            found.append(Sample(key, parts | {"image": scene.image()}, truth, key, {"capability": name}))
    return found


def _four(rng: np.random.Generator, known: Iterable[str]) -> tuple[list[str], str, list[float], str]:
    """Options, the right one, three random sizes, a shape."""
    options = [str(x) for x in rng.permutation(list(known))[:OPTIONS]]
    sizes = [float(x) for x in rng.uniform(0.15, 0.3, 3)]
    return options, options[int(rng.integers(OPTIONS))], sizes, str(rng.choice(SHAPES))


def _colour(rng: np.random.Generator) -> Question:
    options, truth, (x, y, size), shape = _four(rng, COLOURS)
    return Scene((Thing(shape, truth, 2 * x, 2 * y, size),)), f"What colour is the {shape}?", options, truth


def _count(rng: np.random.Generator) -> Question:
    truth, size = int(rng.integers(2, 8)), float(rng.uniform(0.15, 0.3))
    low = truth - int(rng.integers(min(OPTIONS, truth)))
    cells = (int(c) for c in rng.permutation(9)[:truth])
    things = tuple(Thing("circle", "blue", c % 3 / 3 + 1 / 6, c // 3 / 3 + 1 / 6, size) for c in cells)
    return Scene(things), "How many circles are there?", [str(low + k) for k in range(OPTIONS)], str(truth)


def _position(rng: np.random.Generator) -> Question:
    options, truth, (one, other, _), shape = _four(rng, PLACES)
    things = Thing("square", "black", size=one), Thing(shape, "red", *PLACES[truth], other)
    return Scene(things), f"Where is the red {shape}, seen from the black square?", options, truth


def _text(rng: np.random.Generator) -> Question:
    options, truth, (x, y, size), shape = _four(rng, WORDS)
    return Scene((Thing(shape, "green", 2 * x, y, size),), truth), "What does the sign say?", options, truth


def scripts(samples: Sequence[Sample]) -> dict[str, Callable[..., ChatModel]]:
    """The scripted advisor of these samples, for `connect`; it says its planted rate as its confidence.

    It is right on exactly the nearest whole number of a capability's items, so that controls are exact.
    """

    def advisor(
        colour: float = 0.95, count: float = 0.85, position: float = 0.65, text: float = 0.5,
        invalid: float = 0.0,
    ) -> ChatModel:  # fmt: skip
        """Planted accuracies by capability, and a share of replies that are none."""
        rates = {"colour": colour, "count": count, "position": position, "text": text}
        replies = _replies(samples, rates, invalid)
        name = "&".join(f"{key}={rate:g}" for key, rate in (rates | {"invalid": invalid}).items())
        return Scripted(
            f"scripted:advisor?{name}",
            lambda talk, _: replies[_key(talk[0].parts, said(talk[0]).partition("\n")[0])],
        )

    return {"advisor": advisor}


def _key(parts: Iterable[Part], question: str) -> str:
    return " ".join([*sorted(part.digest() for part in parts if not isinstance(part, Text)), question])


def _replies(samples: Sequence[Sample], rates: Mapping[str, float], invalid: float) -> dict[str, str]:
    found = {}
    for capability in dict.fromkeys(str(sample.tags.get("capability", "")) for sample in samples):
        ours = [sample for sample in samples if sample.tags.get("capability", "") == capability]
        rate = rates.get(capability, 0.75)
        for place, sample in enumerate(sorted(ours, key=lambda s: uniform("advisor", s.id, s.digest()))):
            wrong = [x for x in options(sample) if x != sample.target] or ["none"]
            right = place < round(rate * len(ours))
            answer = sample.target if right else wrong[int(uniform("wrong", sample.id) * len(wrong))]
            reply = {"answer": answer, "confidence": rate, "explanation": f"It looks like {answer}."}
            broken = uniform("invalid", sample.id) < invalid
            key = _key(sample.parts.values(), words(sample, "question"))
            found[key] = "I would rather not say." if broken else json.dumps(reply)
    return found


def words(sample: Sample, part: str) -> str:
    """A text part of a sample, "" where it has none."""
    found = sample.parts.get(part)
    return found.read() if isinstance(found, Text) else ""


def options(sample: Sample) -> list[str]:
    """What may be answered; [] for free answers."""
    return [line for line in words(sample, "options").split("\n") if line]


def code(sample: Sample, answer: str) -> int:
    """0 for the right answer, k for the k-th wrong option."""
    wrong = [option for option in options(sample) if option != sample.target]
    return 0 if answer == sample.target else 1 + wrong.index(answer) if answer in wrong else 1


def people(n: int, trials: int, advice: Mapping[str, Sequence[int]], *, seed: int) -> dict[str, NDArray[Any]]:
    """Simulated people before any display: whose trial it is, on which item, and how they would answer.

    Args:
        n: people.
        trials: each, spread evenly over the capabilities.
        advice: by capability, the advised answer on each item: 0 is right, k the k-th wrong option.
        seed: of all that is drawn.

    Returns:
        Columns of n x trials rows: rater, order, capability (position), item (within it), own and advice (0
        is right), noise (of the evidence), coin, slip (of the trust report), start (first trust),
        propensity (1-7), seconds.
    """
    rng = np.random.default_rng([seed, 2])
    sizes = [len(x) for x in advice.values()]
    capability = np.tile(np.arange(len(sizes)), -(-trials // len(sizes)))[:trials]
    picked = np.empty((n, trials), dtype=np.int64)
    for c, size in enumerate(sizes):
        columns = np.flatnonzero(capability == c)
        shuffled = rng.permuted(np.tile(np.arange(size), (n, 1)), axis=1)
        picked[:, columns] = shuffled[:, np.arange(len(columns)) % size]
    order = rng.permuted(np.tile(np.arange(trials), (n, 1)), axis=1)
    kind, item = capability[order], np.take_along_axis(picked, order, axis=1)
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    z, shape = rng.normal(size=(n, 1)), (n, trials)
    table = {
        "rater": np.arange(n)[:, None], "order": np.arange(trials), "capability": kind, "item": item,
        "own": np.where(rng.random(shape) < OWN, 0, 1 + rng.integers(OPTIONS - 1, size=shape)),
        "advice": np.concatenate([np.asarray(x) for x in advice.values()])[start[kind] + item],
        "noise": rng.normal(size=shape), "coin": rng.random(shape), "slip": rng.normal(0, 0.5, shape),
        "start": np.clip(0.5 + 0.15 * z, 0.05, 0.95), "propensity": np.clip(np.round(4 + 1.2 * z, 2), 1, 7),
        "seconds": np.round(np.exp(rng.normal(1.5, 0.4, shape)), 3),
    }  # fmt: skip
    return {name: np.broadcast_to(column, shape).ravel() for name, column in table.items()}


def expected(display: str, rates: Mapping[str, float] = RATES) -> dict[str, float]:
    """Closed forms of the pocket experiment, where people answer first and are then advised."""
    r = float(np.mean(list(rates.values())))
    if display in ("card", "global", "never"):
        best = {"card": float(np.mean([max(x, OWN) for x in rates.values()])), "global": max(r, OWN)}
        return {"final accuracy": best.get(display, OWN)}
    mu, cut = PLANTED[display]
    rair, rsr = float(ndtr(mu - cut)), float(ndtr(cut))
    accuracy = OWN * r + OWN * (1 - r) * rsr + (1 - OWN) * r * rair
    return {"rair": rair, "rsr": rsr, "d'": mu, "criterion": cut - mu / 2, "final accuracy": accuracy}


def learners(n: int = 100, trials: int = 60, *, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whether the advice was right "n t", and whole-number reports 1-7 of trust that learns by the rule."""
    rng = np.random.default_rng([seed, 3])
    correct, t = rng.random((n, trials)) < RIGHT, rng.beta(4, 4, n)
    told = np.empty((n, trials))
    for k in range(trials):
        t = np.where(correct[:, k], t + UP * (1 - t), t - DOWN * t)
        told[:, k] = t
    reports = np.clip(np.round(1 + 6 * told + rng.normal(0, 0.5, told.shape)), 1, 7)
    return correct.astype(np.float64), reports


def attitudes(n: int = 100, trials: int = 60, *, seed: int) -> tuple[NDArray[Any], ...]:
    """Propensity and trust " n" (correlated .4), advice right and relied "n t": relying is a coin of .35."""
    rng = np.random.default_rng([seed, 4])
    propensity = rng.normal(size=n)
    trust = 0.4 * propensity + np.sqrt(1 - 0.4**2) * rng.normal(size=n)
    right, relied = rng.random((n, trials)) < 0.7, rng.random((n, trials)) < 0.35
    return propensity, trust, right.astype(np.float64), relied.astype(np.float64)


def nulls(studies: int = 2000, n: int = 40, trials: int = 60, *, seed: int) -> NDArray[Any]:
    """Yes-counts "studies n" of people who differ by a logit, in two groups that do not."""
    rng = np.random.default_rng([seed, 5])
    return np.asarray(rng.binomial(trials, expit(rng.normal(size=(studies, n)))))


def answered(n: int, width: int, rho: float, *, lazy: float = 0.0, seed: int) -> NDArray[Any]:
    """Parallel items "n width" of correlation rho; with `lazy`, ticks 1-7 and that share ticks one level."""
    rng = np.random.default_rng([seed, 6, width])
    x: NDArray[Any] = np.sqrt(rho) * rng.normal(size=(n, 1)) + np.sqrt(1 - rho) * rng.normal(size=(n, width))
    if lazy:
        x = np.clip(np.round(4 + 1.3 * x), 1, 7)
        x[n - round(lazy * n) :] = rng.integers(1, 8, (round(lazy * n), 1))
    return x


def coders(leaves: int, studies: int = 100, *, seed: int) -> NDArray[Any]:
    """Two coders "studies leaves 2" who each see the truth (prevalence .5) with probability .8: alpha .36."""
    rng = np.random.default_rng([seed, 7])
    truth = rng.random((studies, leaves, 1)) < 0.5
    seen = np.where(rng.random((studies, leaves, 2)) < 0.8, truth, ~truth)
    return np.asarray(seen, dtype=np.float64)
