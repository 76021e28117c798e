"""Four generated worlds of utterances whose right answers are known in closed form."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from polymodal.media import Sample, Series

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

World = Literal["redundant", "synergy", "unique", "leak"]
DIMS: Mapping[str, int] = {"text": 24, "audio": 12, "video": 16}
STRENGTH: Mapping[str, float] = {"text": 2.0, "audio": 1.4, "video": 1.0}
CLASSES = 6
BIT = 3.0  # half the distance between the two values of a signal bit
FAVOUR = 0.5  # leak world: share of a speaker's utterances in its favourite class


def world(
    name: World, *, seed: int, speakers: int = 98, utterances: int = 40, rho: float = FAVOUR
) -> list[Sample]:
    """Draw one world: every part a vector, every speaker a group.

    A speaker shifts the columns that carry no signal by an offset of sd .5 (leak: all, sd 2); the noise is
    N(0, 1); each part is turned by a random orthogonal matrix that is fixed in the world, so that no single
    column shows the signal.

    Args:
        name: `redundant` (every part shows the class), `synergy` (exclusive-or of a bit in the text and a bit
            in the audio), `unique` (each bit counts), `leak` (no signal, but speakers have favourites).
        seed: The world's seed: two seeds share no speaker.
        speakers: Number of groups.
        utterances: Samples a speaker.
        rho: Leak world only: share of the favourite class.
    """
    if name not in ("redundant", "synergy", "unique", "leak"):
        raise ValueError(f"unknown world {name!r}; known: redundant, synergy, unique, leak")
    rng = np.random.default_rng([seed, sum(name.encode())])
    speaker = np.repeat(np.arange(speakers), utterances)
    target, signal = _signals(name, speaker, rho, rng)
    arrays = {}
    for part, dim in DIMS.items():
        shown = np.zeros((len(speaker), dim))
        shown[:, : signal[part].shape[1]] = signal[part]
        offset = rng.normal(0.0, 2.0 if name == "leak" else 0.5, (speakers, dim))
        offset[:, : signal[part].shape[1]] = 0.0
        turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        arrays[part] = (shown + offset[speaker] + rng.normal(size=shown.shape)) @ turn
    return [
        Sample(
            id=f"{name}-{seed}-{g:03d}-{i % utterances:03d}",
            group=f"{name}-{seed}-{g:03d}",
            parts={part: Series(x[i]) for part, x in arrays.items()},
            target=str(target[i]),
        )
        for i, g in enumerate(speaker)
    ]


def _signals(
    name: World, speaker: NDArray[np.int_], rho: float, rng: np.random.Generator
) -> tuple[NDArray[np.int_], dict[str, NDArray[np.float64]]]:
    n = len(speaker)
    nothing = np.zeros((n, 0))
    if name == "redundant":
        y = rng.integers(CLASSES, size=n)
        return y, {part: a * np.eye(CLASSES)[y] for part, a in STRENGTH.items()}
    if name == "leak":
        favourite = rng.integers(CLASSES, size=int(speaker.max()) + 1)[speaker]
        y = np.where(rng.random(n) < rho, favourite, rng.integers(CLASSES, size=n))
        return y, dict.fromkeys(DIMS, nothing)
    bits = rng.integers(2, size=(2, n))
    shown = BIT * (2.0 * bits[:, :, None] - 1.0)
    y = bits[0] ^ bits[1] if name == "synergy" else 2 * bits[0] + bits[1]
    return y, {"text": shown[0], "audio": shown[1], "video": nothing}


def bayes(parts: Collection[str] = tuple(STRENGTH)) -> float:
    """Best possible accuracy in the redundant world from `parts`: ∫ φ(z) Φ(z + a)^(k-1) dz, a² = Σ a_m²."""
    return _correct(np.sqrt(sum(STRENGTH[part] ** 2 for part in parts)))


def shuffled(part: str) -> float:
    """Accuracy of the Bayes rule over all parts when `part` comes from a stranger, in the redundant world.

    The stranger has the same class in 1 of k cases; otherwise the rule must tell the class from one rival
    that gained `part` and from k - 2 that gained nothing.
    """
    total = sum(a**2 for a in STRENGTH.values())
    lost = STRENGTH[part] ** 2
    other = _correct((total - lost) / np.sqrt(total), CLASSES - 2, (total - 2 * lost) / np.sqrt(total))
    return _correct(np.sqrt(total)) / CLASSES + other * (CLASSES - 1) / CLASSES


def missing(p: float, parts: Collection[str] = tuple(STRENGTH)) -> float:
    """Best accuracy in the redundant world when each of `parts` is missing with probability `p`."""
    total = 0.0
    for here in product((True, False), repeat=len(parts)):
        gone = {part for part, there in zip(parts, here, strict=True) if not there}
        chance = np.prod([1 - p if there else p for there in here])
        total += float(chance) * bayes([part for part in STRENGTH if part not in gone])
    return total


def two_bits(world: Literal["synergy", "unique"], parts: int = 2) -> float:
    """Best accuracy in the worlds of two bits from one part or both; a bit is misread with Φ(-3)."""
    from scipy.special import ndtr

    wrong = float(ndtr(-BIT))
    if parts < 2:
        return 0.5 if world == "synergy" else (1 - wrong) / 2
    return (1 - wrong) ** 2 + (wrong**2 if world == "synergy" else 0.0)


def leak(rho: float = FAVOUR) -> tuple[float, float]:
    """Accuracy of knowing every speaker's favourite (random folds) and of knowing none (grouped folds)."""
    return rho + (1 - rho) / CLASSES, 1 / CLASSES


def _correct(a: float, rivals: int = CLASSES - 1, nearest: float | None = None) -> float:
    """P(a N(a, 1) beats `rivals` N(0, 1)), and one more rival `nearest` below it, by Gauss-Hermite."""
    from scipy.special import ndtr

    z, weight = np.polynomial.hermite_e.hermegauss(81)
    wins = ndtr(z + a) ** rivals
    if nearest is not None:
        wins = wins * ndtr(z + nearest)
    return float((wins * weight).sum() / weight.sum())
