"""Scores of a consultation: its differential, its course, what was asked and claimed.

A function scores one consultation; its values over consultations go to `mean`, `difference` and the like.
Names of diseases are compared without case, blanks, punctuation and what stands in parentheses.
"""

import math
import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from polymodal.metrics.calibration import BRIER, ECE, NLL
from polymodal.metrics.difference import estimate
from polymodal.metrics.estimate import Estimate, mean
from polymodal.metrics.metric import Labels, Values

Aliases = Mapping[str, Sequence[str]]
Differential = Mapping[str, float]

LISTED = 0.01  # probability above which a disease counts as part of a differential
MISS, LAST = 11, 20  # the least rank of a miss, the greatest of all
_EPSILON = 1e-10


class Overlap(NamedTuple):
    """Agreement of two sets; an empty one gives 0, never a division by 0."""

    recall: float
    precision: float
    f1: float


def top_k(truth: str, listed: Sequence[str], k: int, *, aliases: Aliases | None = None) -> float:
    """1 where the truth, or an alias of it, is among the first k distinct diseases listed, else 0.

    Args:
        truth: what is the matter.
        listed: diseases, likeliest first; ties in the order given, a short list as it is, an empty one is 0.
        k: how many count.
        aliases: other names of a disease, by its name.

    Raises:
        ValueError: if k is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return float(_place(truth, listed, aliases)[0] in range(1, k + 1))


def rank(truth: str, listed: Sequence[str], *, aliases: Aliases | None = None) -> int:
    """Place of the truth among the distinct diseases listed, from 1, at most 20.

    One that is not listed has the place behind the list, but at least 11.
    """
    place, distinct = _place(truth, listed, aliases)
    return min(place or max(distinct + 1, MISS), LAST)


def progress(ranks: Sequence[int]) -> list[int]:
    """Places gained from each turn to the next; negative where the truth fell back."""
    return [before - after for before, after in pairwise(ranks)]


def gtpa(truth: str, p: Differential, k: int, *, aliases: Aliases | None = None) -> float:
    """Ground-truth pathology accuracy at k: the truth is in the top k and its probability above .01.

    DDXPlus (2205.09148), section 4.
    """
    listed = [name for name in _ordered(p) if p[name] > LISTED]
    return top_k(truth, listed, k, aliases=aliases)


def differentials(said: Differential, reference: Differential, *, aliases: Aliases | None = None) -> Overlap:
    """DDR, DDP and DDF1: the diseases above .01 against those of a reference differential.

    DDXPlus (2205.09148), section 4.
    """
    names = _named(aliases)
    got, wanted = (
        {names.get(_plain(name), _plain(name)) for name, x in p.items() if x > LISTED}
        for p in (said, reference)
    )
    return overlap(got, wanted)


def overlap(got: Collection[Hashable], wanted: Collection[Hashable]) -> Overlap:
    """Recall, precision and F1 of one set against another.

    PER, PEP and PEF1 are those of the evidence asked for against the evidence there is.
    """
    both = len(set(got) & set(wanted))
    recall, precision = both / max(1, len(set(wanted))), both / max(1, len(set(got)))
    return Overlap(recall, precision, 2 * recall * precision / (recall + precision) if both else 0.0)


def covered(wanted: Collection[Hashable], got: Collection[Hashable]) -> float:
    """Share of what was wanted that was got; NaN where nothing was wanted, so that it does not count.

    Facts of the case that were heard (fact recall), the artefacts that tell and were asked for, poor takes
    that were retaken, red flags that were asked.
    """
    return len(set(got) & set(wanted)) / len(set(wanted)) if wanted else math.nan


def question_yield(fresh: Sequence[bool]) -> float:
    """Share of the questions that brought a fact not heard before; NaN where none was asked."""
    return sum(fresh) / len(fresh) if fresh else math.nan


def confirm(truth: Values, p: Values) -> float:
    """exp(-KL(g || p)): how much of the belief is where the truth g is; both " d", floored at 1e-10."""
    return math.exp(-_divergence(truth, p))


def explore(first: Values, p: Values) -> float:
    """1 - exp(-KL(p_0 || p)): how far the beliefs have moved from the first; both " d"."""
    return 1 - math.exp(-_divergence(first, p))


def trajectory(truth: Values, course: Values) -> float:
    """Mean over turns of alpha * explore + (1 - alpha) * confirm, alpha falling from 1 to 0.

    Args:
        truth: " d", the distribution g to arrive at.
        course: "t d", beliefs turn by turn; a single turn has alpha .5.

    Raises:
        ValueError: if there is no turn.
    """
    steps = np.asarray(course, dtype=np.float64)
    if not len(steps):
        raise ValueError("a course of at least one turn is needed")
    alpha = np.linspace(1, 0, len(steps)) if len(steps) > 1 else np.array([0.5])
    scores = [
        a * explore(steps[0], p) + (1 - a) * confirm(truth, p) for a, p in zip(alpha, steps, strict=True)
    ]
    return float(np.mean(scores))


def matrix(told: Sequence[Differential], diseases: Sequence[str]) -> Float[np.ndarray, "n k"]:
    """Differentials as rows over the diseases, and one column more for the rest.

    Raises:
        ValueError: a negative probability, or a sum above 1.
    """
    columns = {_plain(name): k for k, name in enumerate(diseases)}
    rows = np.zeros((len(told), len(diseases) + 1))
    for row, p in zip(rows, told, strict=True):
        if any(x < 0 for x in p.values()) or sum(p.values()) > 1 + 1e-6:
            raise ValueError(f"no differential: {dict(list(p.items())[:5])}")
        for name, x in p.items():
            row[columns.get(_plain(name), -1)] += x
        row[-1] += max(0.0, 1 - sum(p.values()))
    return rows


def calibrated(
    truths: Sequence[str],
    told: Sequence[Differential],
    diseases: Sequence[str],
    *,
    group: Labels | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Brier score, ECE (15 bins of equal mass) and log loss of the final differentials.

    Args:
        truths: what was the matter; one that is not among the diseases is the rest.
        told: the differentials; what they leave of 1 is the rest.
        diseases: all that may be.
        group: " n" names of what must not be split.
        seed: of the bootstrap.
    """
    columns = {_plain(name): k for k, name in enumerate(diseases)}
    target = np.array([columns.get(_plain(name), len(diseases)) for name in truths])
    rows = matrix(told, diseases)
    metrics = {"Brier": BRIER, "ECE": ECE, "log loss": NLL}
    return {name: estimate(one, target, rows, group=group, seed=seed) for name, one in metrics.items()}


def unsupported(supported: Sequence[Sequence[bool]], *, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Share of claims without a source that supports them, and of consultations with at least one.

    Args:
        supported: by consultation, of each claim whether it is supported.
        seed: of the bootstrap over consultations.

    Raises:
        ValueError: if there is no claim at all.
    """
    claims = [not one for episode in supported for one in episode]
    if not claims:
        raise ValueError(f"{len(supported)} consultations hold no claim; at least one is needed")
    episodes = [i for i, episode in enumerate(supported) for _ in episode]
    whole = [float(not all(episode)) for episode in supported]
    return mean(claims, group=episodes, seed=seed, better="lower"), mean(whole, better="lower")


def _divergence(g: Values, p: Values) -> float:
    """KL(g || p) in nats; both floored at 1e-10, so that nothing is infinite."""
    a, b = (np.maximum(np.asarray(x, dtype=np.float64), _EPSILON) for x in (g, p))
    return max(0.0, float((a * np.log(a / b)).sum()))


def _place(truth: str, listed: Sequence[str], aliases: Aliases | None) -> tuple[int, int]:
    """Place of the truth among the distinct names, from 1, or 0; and how many distinct names there are."""
    names = _named(aliases)
    distinct = list(dict.fromkeys(names.get(_plain(name), _plain(name)) for name in listed))
    wanted = names.get(_plain(truth), _plain(truth))
    return (distinct.index(wanted) + 1 if wanted in distinct else 0), len(distinct)


def _named(aliases: Aliases | None) -> dict[str, str]:
    """Plain names of diseases by their own and their other names."""
    return {_plain(one): _plain(name) for name, others in (aliases or {}).items() for one in (name, *others)}


def _ordered(p: Differential) -> list[str]:
    return sorted(p, key=lambda name: -p[name])


@lru_cache(maxsize=4096)  # a differential is scored turn by turn, by the same names
def _plain(name: str) -> str:
    bare = re.sub(r"[\W_]+", "", re.sub(r"\([^)]*\)", " ", name).lower())
    return bare or name.strip()
