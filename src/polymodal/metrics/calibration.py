"""How far stated probabilities can be believed: ECE, Brier, NLL, temperature, abstention."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from polymodal.metrics.difference import estimate
from polymodal.metrics.estimate import Estimate, mean, proportion
from polymodal.metrics.labels import ACCURACY
from polymodal.metrics.metric import Array, Labels, Metric, Values, paired

_FLOOR = 1e-12
_COLDEST, _HOTTEST = 0.01, 100.0


class Bin(NamedTuple):
    """One row of a reliability curve: mean confidence, accuracy with its Wilson interval, samples."""

    confidence: float
    accuracy: float
    low: float
    high: float
    n: int


class Selective(NamedTuple):
    """What abstaining buys: the share of samples answered, and the accuracy on those."""

    coverage: Estimate
    accuracy: Estimate


def ece(target: Values, probabilities: Values, *, bins: int = 15) -> float:
    """Expected calibration error over bins of equal mass (Nguyen and O'Connor 2015).

    Args:
        target: " n" class positions.
        probabilities: "n k", rows that sum to 1.
        bins: how many; samples of equal confidence share their mean correctness, so order does not matter.

    Returns:
        Mean distance between confidence and accuracy, in [0, 1].

    Raises:
        ValueError: if the input is empty, a row is no distribution or a target is no class position.
    """
    confidence, correct = _ranked(*_distributions(target, probabilities, "ece"))
    gaps = [abs(float((c - r).sum())) for c, r in _parts(confidence, correct, bins)]
    return sum(gaps) / len(confidence)


def reliability(target: Values, probabilities: Values, *, bins: int = 15) -> list[Bin]:
    """Rows of a reliability curve over bins of equal mass, least confident first.

    Args:
        target: " n" class positions.
        probabilities: "n k".
        bins: at most this many rows; fewer samples give fewer.

    Raises:
        ValueError: as `ece`.
    """
    confidence, correct = _ranked(*_distributions(target, probabilities, "reliability"))
    rows = []
    for c, r in _parts(confidence, correct, bins):
        # Tied samples share fractions of a hit; the interval needs whole ones.
        interval = proportion(round(float(r.sum())), len(r))
        rows.append(Bin(float(c.mean()), float(r.mean()), interval.low, interval.high, len(r)))
    return rows


def brier(target: Values, probabilities: Values) -> float:
    """Brier score: squared distance to the one-hot target, summed over classes; in [0, 2].

    For two classes it is twice the one-column form.

    Args:
        target: " n" class positions.
        probabilities: "n k".

    Raises:
        ValueError: as `ece`.
    """
    return float(_squared(*paired(target, probabilities, "brier")).mean())


def nll(target: Values, probabilities: Values) -> float:
    """Mean negative log-likelihood in nats, probabilities floored at 1e-12.

    Args:
        target: " n" class positions.
        probabilities: "n k".

    Raises:
        ValueError: as `ece`.
    """
    return float(_surprise(*paired(target, probabilities, "nll")).mean())


def tempered(logits: Values, temperature: float | int = 1.0) -> Float[np.ndarray, "n k"]:
    """Probabilities from logits "n k" divided by a temperature.

    Raises:
        ValueError: if the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    grown = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def fit_temperature(logits: Values, target: Values) -> float:
    """The temperature of least NLL on held-out data (Guo et al. 2017, section 4.2).

    Args:
        logits: "n k".
        target: " n" class positions.

    Returns:
        Between .01 and 100; an end of this range where the data ask for more.

    Raises:
        ValueError: if the input is empty.
    """
    from scipy.optimize import minimize_scalar

    truth, given = paired(target, logits, "fit_temperature")
    given = given.astype(np.float64)
    given = given - given.max(axis=1, keepdims=True)
    chosen = given[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        cold = math.exp(-log_temperature)
        return float((np.log(np.exp(given * cold).sum(axis=1)) - chosen * cold).mean())

    ends = (math.log(_COLDEST), math.log(_HOTTEST))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-8})
    return math.exp(float(found.x))


def coverage_threshold(confidence: Values, coverage: float | int) -> float:
    """The greatest confidence to ask for so that at least this share of samples is still answered.

    Args:
        confidence: " n" probability of the predicted class, on held-out data.
        coverage: share to answer, in (0, 1].

    Raises:
        ValueError: if there are no samples or the share is out of range.
    """
    x = np.sort(np.asarray(confidence, dtype=np.float64))[::-1]
    if not x.size or not 0 < coverage <= 1:
        raise ValueError(f"a coverage in (0, 1] of some samples is needed, got {coverage} of {x.size}")
    return float(x[math.ceil(coverage * x.size - 1e-9) - 1])


def selective(
    target: Values,
    probabilities: Values,
    threshold: float | int,
    *,
    group: Labels | None = None,
    seed: int = 0,
) -> Selective:
    """Coverage and accuracy when samples less confident than the threshold are left unanswered.

    Args:
        target: " n" class positions.
        probabilities: "n k".
        threshold: least confidence that is answered, from `coverage_threshold` on other data.
        group: " n" names of what must not be split.
        seed: of the bootstrap over groups.

    Raises:
        ValueError: as `ece`.
    """
    truth, given = _distributions(target, probabilities, "selective")
    answered = given.max(axis=1) >= threshold
    said = given.argmax(axis=1)
    if group is None:
        hits = int((said == truth)[answered].sum())
        return Selective(
            proportion(int(answered.sum()), answered.size, better="higher"),
            proportion(hits, int(answered.sum()), better="higher"),
        )
    coverage = mean(answered, group=group, seed=seed, better="higher")
    kept = np.where(answered, said, np.nan)
    return Selective(coverage, estimate(ACCURACY, truth, kept, group=group, seed=seed))


def _distributions(target: Values, probabilities: Values, name: str) -> tuple[Array, Array]:
    truth, given = paired(target, probabilities, name)
    if given.ndim != 2:
        raise ValueError(f"{name}: probabilities must be samples by classes, got shape {given.shape}")
    if truth.dtype.kind == "f" and (truth == np.round(truth)).all():
        truth = truth.astype(np.int64)
    if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= given.shape[1]:
        raise ValueError(f"{name}: targets must be class positions, got {truth[:5].tolist()}")
    sums = given.sum(axis=1)
    if (given < -1e-6).any() or not np.allclose(sums, 1, atol=1e-3):
        worst = int(np.abs(sums - 1).argmax())
        raise ValueError(f"{name}: row {worst} is no distribution: {given[worst][:5].tolist()}")
    return truth, given.astype(np.float64)


def _ranked(truth: Array, given: Array) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Confidence in rising order and correctness, the latter averaged over equal confidences."""
    confidence = given.max(axis=1)
    correct: Bool[np.ndarray, " n"] = given.argmax(axis=1) == truth
    values, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
    shared = np.bincount(place, correct) / count
    return np.repeat(values, count), np.repeat(shared, count)


def _parts(
    confidence: Float[np.ndarray, " n"], correct: Float[np.ndarray, " n"], bins: int
) -> list[tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]]:
    if bins < 1:
        raise ValueError(f"at least one bin is needed, got {bins}")
    bins = min(bins, len(confidence))
    return list(zip(np.array_split(confidence, bins), np.array_split(correct, bins), strict=True))


def _squared(target: Array, probabilities: Array) -> Float[np.ndarray, " n"]:
    truth, given = _distributions(target, probabilities, "brier")
    return np.asarray(((given - np.eye(given.shape[1])[truth]) ** 2).sum(axis=1))


def _surprise(target: Array, probabilities: Array) -> Float[np.ndarray, " n"]:
    truth, given = _distributions(target, probabilities, "nll")
    rows: Int[np.ndarray, " n"] = np.arange(len(truth))
    return np.asarray(-np.log(np.maximum(given[rows, truth], _FLOOR)))


ECE = Metric("ECE", ece, "lower", 0.0, 1.0, "probabilities")
BRIER = Metric("Brier", brier, "lower", 0.0, 2.0, "probabilities", per_sample=_squared)
NLL = Metric("NLL", nll, "lower", 0.0, -math.log(_FLOOR), "probabilities", per_sample=_surprise)
