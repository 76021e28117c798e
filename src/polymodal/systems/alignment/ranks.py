"""Ranks among rivals: choices of a text, retrieval both ways; ties said, chance known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from polymodal.systems.alignment.pictures import Region

Ties = Literal["lenient", "strict"]
Scores = Float[np.ndarray, "q k"]


def chosen(own: float, rivals: Sequence[float] | NDArray[np.floating], ties: Ties = "strict") -> float:
    """Whether the own text scores highest.

    Args:
        own: the score of the right text.
        rivals: those of the wrong ones.
        ties: `lenient` counts a tie with the best as right, as FG-OVD's reference does; `strict` gives
            1 / (texts that are tied), the chance of a fair draw.
    """
    others = np.asarray(rivals)
    if (others > own).any():
        return 0.0
    return 1.0 if ties == "lenient" else 1.0 / (1 + int((others == own).sum()))


def chance(rivals: Collection[int]) -> float:
    """Accuracy of a blind choice: the mean of 1 / (1 + M) over numbers M of rivals.

    Raises:
        ValueError: no choice.
    """
    if not rivals:
        raise ValueError("no choices: chance is not defined")
    return float(np.mean([1 / (1 + m) for m in rivals]))


def ranked(scores: Scores, right: Bool[np.ndarray, "q k"], ties: Ties = "lenient") -> Float[np.ndarray, " q"]:
    """The rank of each query's best right answer: 1 + the number above it (`strict`: + half the ties).

    Args:
        scores: a row a query, a column an answer.
        right: which answers are right; a query may have several.
        ties: see above; ties between right answers do not count.

    Raises:
        ValueError: no answers to choose from, or a query without a right one.
    """
    if not scores.size:
        raise ValueError("an empty gallery: there is nothing to retrieve from")
    if not right.any(axis=1).all():
        raise ValueError("a query without a right answer in the gallery")
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    above = ((scores > best) & ~right).sum(axis=1)
    level = ((scores == best) & ~right).sum(axis=1)
    return np.asarray(1.0 + above + (level / 2 if ties == "strict" else 0))


def galleries(n: int, size: int) -> list[Int[np.ndarray, " _"]]:
    """Rows 0 to n in galleries of `size`, in order; a remainder of less than half goes to the last one."""
    count = max(1, round(n / size)) if size else 1
    return [np.asarray(part) for part in np.array_split(np.arange(n), count)]


def retrieved(
    images: Float[np.ndarray, "n d"],
    texts: Float[np.ndarray, "m d"],
    owner: Int[np.ndarray, " m"],
    *,
    size: int = 0,
    ties: Ties = "lenient",
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " m"]]:
    """Ranks of image to text (any of its texts) and of text to image (each text its own query).

    Args:
        images: unit vectors.
        texts: unit vectors.
        owner: the image of each text.
        size: pictures a gallery; 0 takes all at once.
        ties: as in `ranked`.

    Raises:
        ValueError: an empty gallery, or an image without a text.
    """
    there, back = np.zeros(len(images)), np.zeros(len(texts))
    if not len(images):
        raise ValueError("an empty gallery: there is nothing to retrieve from")
    for rows in galleries(len(images), size):
        cols = np.flatnonzero(np.isin(owner, rows))
        scores = images[rows] @ texts[cols].T
        right = owner[cols][None] == rows[:, None]
        there[rows] = ranked(scores, right, ties)
        back[cols] = ranked(scores.T, right.T, ties)
    return there, back


def words_alone(train: Iterable[Region]) -> Callable[[str], float]:
    """A matcher that never looks: how much more a text's words stand in phrases than in their negatives."""
    right: dict[str, int] = {}
    wrong: dict[str, int] = {}
    for region in train:
        for counts, texts in ((right, [region.phrase]), (wrong, [o.text for o in region.hard()])):
            for word in " ".join(texts).lower().split():
                counts[word] = counts.get(word, 0) + 1
    total = sum(right.values()) / max(1, sum(wrong.values()))

    def score(text: str) -> float:
        odds = [(right.get(w, 0) + 1) / ((wrong.get(w, 0) + 1) * total) for w in text.lower().split()]
        return float(np.log(odds).mean()) if odds else 0.0

    return score
