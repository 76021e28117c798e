"""Whether people follow advice when they should: RAIR, RSR, d', weight of advice, regret."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from polymodal.metrics.estimate import Estimate
from polymodal.metrics.metric import Array, Better, Labels, Values
from polymodal.metrics.resample import FEW, Summed, percentile, weights

COLUMNS = (
    "n", "own_right", "advice_right", "final_right", "either_right", "agree", "apart", "switched", "neither",
    "mended_n", "mended", "kept_n", "kept", "right_n", "right_rely", "wrong_n", "wrong_rely",
)  # fmt: skip
WHOLE = COLUMNS.index("right_n")  # the columns before this one need the initial answer
_AT = {name: at for at, name in enumerate(COLUMNS)}
NO_INITIAL = "no initial answer: the person relied instead of answering"

Sums = Float[np.ndarray, "... s"]


@dataclass(frozen=True, slots=True)
class Trials:
    """Advice trials as counts: one row a valid trial, one column an event of `COLUMNS`.

    Attributes:
        counts: "n s", 0 or 1; NaN in the columns that need an initial answer where there is none.
        rater: " n", who answered.
        item: " n", what was asked, or None to take people as the only clusters.
        invalid: trials left out because something was missing.
    """

    counts: Float[np.ndarray, "n s"]
    rater: Array
    item: Array | None
    invalid: int = 0

    def pick(self, mask: Bool[np.ndarray, " n"]) -> "Trials":
        """The valid trials where `mask` holds; `invalid` is left behind."""
        item = None if self.item is None else self.item[mask]
        return Trials(self.counts[mask], self.rater[mask], item)


def advised(
    truth: Labels,
    advice: Labels,
    initial: Labels,
    final: Labels,
    *,
    rater: Labels,
    item: Labels | None = None,
) -> Trials:
    """Trials with an answer before and after the advice.

    Args:
        truth: " n" right answers; None or NaN makes a trial invalid, as in the other three.
        advice: " n" advised answers.
        initial: " n" own answers before the advice.
        final: " n" answers after it.
        rater: " n" people.
        item: " n" items, for intervals that hold for other items too.

    Raises:
        ValueError: lengths differ, or there is no trial.
    """
    columns = [np.asarray(x, dtype=object) for x in (truth, advice, initial, final)]
    people, items, valid = _checked(columns, rater, item)
    y, a, h0, h1 = (x[valid] for x in columns)
    apart, right = h0 != a, a == y
    own = h0 == y
    mended, kept, relied = apart & right, own & ~right, h1 == a
    events = [
        np.ones(len(y), dtype=bool), own, right, h1 == y, own | right, relied, apart, apart & relied,
        apart & ~relied & (h1 != h0), mended, mended & relied, kept, kept & (h1 == h0),
        mended, mended & relied, apart & ~right, apart & ~right & relied,
    ]  # fmt: skip
    counts = np.column_stack([np.asarray(x, dtype=np.float64) for x in events])
    return Trials(counts, people[valid], None if items is None else items[valid], int((~valid).sum()))


def delegated(advice_correct: Values, relied: Values, *, rater: Labels, item: Labels | None = None) -> Trials:
    """Trials in which a person relied instead of answering: no RAIR or RSR, but H, F and d'.

    Args:
        advice_correct: " n" 0 or 1; NaN makes a trial invalid.
        relied: " n" 0 or 1.
        rater: " n" people.
        item: " n" items, as in `advised`.

    Raises:
        ValueError: lengths differ, there is no trial, or a value is neither 0 nor 1.
    """
    columns = [np.asarray(x, dtype=np.float64) for x in (advice_correct, relied)]
    people, items, valid = _checked(columns, rater, item)
    right, follows = (x[valid] for x in columns)
    if not np.isin(np.concatenate([right, follows]), (0.0, 1.0)).all():
        raise ValueError("advice_correct and relied are 0 or 1")
    counts = np.full((len(right), len(COLUMNS)), np.nan)
    events = {
        "n": np.ones(len(right)), "advice_right": right, "agree": follows,
        "right_n": right, "right_rely": right * follows,
        "wrong_n": 1 - right, "wrong_rely": (1 - right) * follows,
    }  # fmt: skip
    for name, x in events.items():
        counts[:, _AT[name]] = x
    return Trials(counts, people[valid], None if items is None else items[valid], int((~valid).sum()))


def _checked(
    columns: list[Array], rater: Labels, item: Labels | None
) -> tuple[Array, Array | None, Bool[np.ndarray, " n"]]:
    people = np.asarray(rater)
    items = None if item is None else np.asarray(item)
    lengths = {len(x) for x in (*columns, people, *([] if items is None else [items]))}
    if len(lengths) > 1 or not len(people):
        raise ValueError(f"trials need columns of one length, got {sorted(lengths)}")
    valid = np.ones(len(people), dtype=bool)
    for x in columns:
        valid &= np.array([value is not None and value == value for value in x], dtype=bool)
    return people, items, valid


def sensitivity(hits: Values, signals: Values, alarms: Values, noises: Values) -> tuple[Array, Array]:
    """Log-linear (Hautus 1995) d' = z(H) - z(F) and criterion c = -(z(H) + z(F)) / 2.

    Args:
        hits: times relied where the advice was right.
        signals: times the advice was right.
        alarms: times relied where it was wrong.
        noises: times it was wrong.

    Returns:
        Both, from (hits + .5) / (signals + 1) and (alarms + .5) / (noises + 1); NaN without any trial on a
        side.
    """
    h, s, f, n = (np.asarray(x, dtype=np.float64) for x in (hits, signals, alarms, noises))
    none = (s == 0) | (n == 0)
    d, c = _detection(np.asarray((h + 0.5) / (s + 1)), np.asarray((f + 0.5) / (n + 1)))
    return np.where(none, np.nan, d), np.where(none, np.nan, c)


def _detection(h: Values, f: Values) -> tuple[Array, Array]:
    from scipy.special import ndtri

    z_h, z_f = ndtri(np.asarray(h)), ndtri(np.asarray(f))
    return np.asarray(z_h - z_f), np.asarray(-(z_h + z_f) / 2)


def _share(part: str, whole: str, sign: float = 1.0) -> Callable[[Sums], Array]:
    """Share of events, or what is left of 1 where the sign is negative."""

    def of(s: Sums) -> Array:
        x = np.asarray(s[..., _AT[part]] / s[..., _AT[whole]])
        return x if sign > 0 else np.asarray(1 - x)

    return of


def _more(a: str, b: str) -> Callable[[Sums], Array]:
    return lambda s: np.asarray((s[..., _AT[a]] - s[..., _AT[b]]) / s[..., _AT["n"]])


def _relying(which: int, *, corrected: bool) -> Callable[[Sums], Array]:
    """Either d' (0) or criterion (1); uncorrected ones fall back on the correction where a rate is 0 or 1."""

    def of(s: Sums) -> Array:
        counts = [s[..., _AT[x]] for x in ("right_rely", "right_n", "wrong_rely", "wrong_n")]
        safe = sensitivity(*counts)[which]
        if corrected:
            return safe
        h, f = counts[0] / counts[1], counts[2] / counts[3]
        edge = (h == 0) | (h == 1) | (f == 0) | (f == 1)
        return np.where(edge, safe, _detection(h, f)[which])

    return of


def _oracle(s: Sums) -> Array:
    return np.asarray(s[..., _AT["either_right"]] / s[..., _AT["n"]])


def _best(s: Sums) -> Array:
    """Accuracy at the best criterion with the same d' on the decisive trials, where just one side is right.

    The best cut is x* = d'/2 + ln(kept_n / mended_n) / d'; without discrimination the better of always and
    never following is best.
    """
    from scipy.special import ndtr

    n, mended, kept = (s[..., _AT[x]] for x in ("n", "mended_n", "kept_n"))
    both = s[..., _AT["own_right"]] - kept
    d = sensitivity(s[..., _AT["mended"]], mended, kept - s[..., _AT["kept"]], kept)[0]
    plain = np.maximum(mended, kept)
    slope = np.where(d > 1e-9, d, 1.0)
    cut = slope / 2 + np.log(kept / mended) / slope
    found = np.where(d > 1e-9, mended * ndtr(slope - cut) + kept * ndtr(cut), plain)
    return np.asarray((both + np.where(np.isnan(d), plain, found)) / n)


STATISTICS: dict[str, tuple[Callable[[Sums], Array], Better | None]] = {
    "rair": (_share("mended", "mended_n"), "higher"),
    "rsr": (_share("kept", "kept_n"), "higher"),
    "over-reliance": (_share("kept", "kept_n", -1.0), "lower"),
    "under-reliance": (_share("mended", "mended_n", -1.0), "lower"),
    "switch share": (_share("switched", "apart"), None),
    "agreement share": (_share("agree", "n"), None),
    "neither share": (_share("neither", "apart"), None),
    "hit rate": (_share("right_rely", "right_n"), "higher"),
    "false alarm rate": (_share("wrong_rely", "wrong_n"), "lower"),
    "d'": (_relying(0, corrected=False), "higher"),
    "criterion": (_relying(1, corrected=False), None),
    "d', log-linear": (_relying(0, corrected=True), "higher"),
    "criterion, log-linear": (_relying(1, corrected=True), None),
    "own accuracy": (_share("own_right", "n"), "higher"),
    "advice accuracy": (_share("advice_right", "n"), "higher"),
    "final accuracy": (_share("final_right", "n"), "higher"),
    "gain over own": (_more("final_right", "own_right"), "higher"),
    "gain over advice": (_more("final_right", "advice_right"), "higher"),
    "regret": (lambda s: _oracle(s) - s[..., _AT["final_right"]] / s[..., _AT["n"]], "lower"),
    "regret, criterion": (lambda s: _best(s) - s[..., _AT["final_right"]] / s[..., _AT["n"]], "lower"),
    "regret, sensitivity": (lambda s: _oracle(s) - _best(s), "lower"),
}
"""Score of counts and its good direction, by name. Shares lie in [0, 1], gains in [-1, 1]."""
UNBOUNDED = ("d'", "criterion", "d', log-linear", "criterion, log-linear")


def reliance(trials: Trials, *, seed: int = 0, draws: int = 2000, level: float = 0.95) -> dict[str, Estimate]:
    """Every statistic of `STATISTICS` with its interval.

    Args:
        trials: at least one.
        seed: of the bootstrap.
        draws: of the bootstrap.
        level: nominal coverage.

    Returns:
        Estimates by name. The interval is a percentile bootstrap of people, widened by the ratio of the
        two-way to the one-way standard error where items are known (Cameron, Gelbach and Miller 2011).
        An empty denominator gives NaN, n_valid 0 and the reason.

    Raises:
        ValueError: no trial at all.
    """
    return _estimates(
        trials.counts, trials, [(1.0, 0)], "bootstrap of people", seed=seed, draws=draws, level=level
    )


def reliance_difference(
    a: Trials, b: Trials, *, seed: int = 0, draws: int = 2000, level: float = 0.95
) -> dict[str, Estimate]:
    """Every statistic of a minus that of b; people or items that are in both are drawn together.

    Args:
        a: trials of one condition.
        b: trials of the other.
        seed: of the bootstrap, as are the others.
        draws: of the bootstrap.
        level: nominal coverage.

    Raises:
        ValueError: no trial on a side.
    """
    if not len(a.counts) or not len(b.counts):
        raise ValueError("a difference needs trials on both sides")
    width = len(COLUMNS)
    counts = np.zeros((len(a.counts) + len(b.counts), 2 * width))
    counts[: len(a.counts), :width] = a.counts
    counts[len(a.counts) :, width:] = b.counts
    both = a.item is not None and b.item is not None
    item = np.concatenate([a.item, b.item]) if both else None
    joined = Trials(counts, np.concatenate([a.rater, b.rater]), item, a.invalid + b.invalid)
    way = "difference, bootstrap of people"
    return _estimates(counts, joined, [(1.0, 0), (-1.0, width)], way, seed=seed, draws=draws, level=level)


def _estimates(
    counts: Float[np.ndarray, "n s"],
    trials: Trials,
    sides: list[tuple[float, int]],
    way: str,
    *,
    seed: int,
    draws: int,
    level: float,
) -> dict[str, Estimate]:
    if not len(counts):
        raise ValueError("no valid trial")
    people = _positions(trials.rater)
    by_person = _by(counts, people)
    blocks = list(weights(len(by_person), draws=draws, seed=seed)) if len(by_person) > 1 else []
    items = None if trials.item is None else _by(counts, _positions(trials.item))
    found = {}
    for name, (score, better) in STATISTICS.items():
        of = _signed(score, sides)
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = float(of(counts.sum(axis=0)[None])[0])
        reason, low, high = "", float("nan"), float("nan")
        if not math.isfinite(centre):
            gap = np.isnan(counts[:, :WHOLE]).any()
            centre, reason = float("nan"), NO_INITIAL if gap else "no trial of this kind"
        elif not blocks:
            reason = "one person: no interval"
        else:
            drawn = np.concatenate([Summed(by_person, of).weighted(w) for w in blocks])
            low, high = percentile(drawn, level, len(by_person))
            wide = 1.0 if items is None else _widening(of, counts, by_person, items)
            ends = np.array([min(0.0, low - centre), max(0.0, high - centre)]) * wide + centre
            if name not in UNBOUNDED:
                floor = -1.0 if name.startswith("gain") or len(sides) > 1 else 0.0
                ends = np.clip(ends, min(floor, centre), 1.0)
            low, high = (float(end) for end in ends)
            reason = FEW if len(by_person) < 6 else ""
        n = len(counts) + trials.invalid
        found[name] = Estimate(
            mean=centre, low=low, high=high, n=n, n_valid=len(counts) if math.isfinite(centre) else 0,
            n_groups=len(by_person), method=way + (", two-way" if items is not None else ""), level=level,
            better=better, reason=reason,
        )  # fmt: skip
    return found


def _positions(names: Array) -> Array:
    return np.asarray(np.unique(names.astype(str), return_inverse=True)[1])


def _by(counts: Float[np.ndarray, "n s"], index: Array) -> Float[np.ndarray, "g s"]:
    sums = np.zeros((int(index.max()) + 1, counts.shape[1]))
    np.add.at(sums, index, counts)
    return sums


def _signed(score: Callable[[Sums], Array], sides: list[tuple[float, int]]) -> Callable[[Sums], Array]:
    width = len(COLUMNS)

    def of(s: Sums) -> Array:
        return np.asarray(sum(sign * score(s[..., at : at + width]) for sign, at in sides))

    return of


def _widening(of: Callable[[Sums], Array], trials: Array, people: Array, items: Array) -> float:
    """Two-way over one-way standard error of a smooth statistic, from its linear influence a trial."""
    total = trials.sum(axis=0)
    step = 1e-4 * len(trials)
    moved = np.eye(len(total)) * step
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (of(total + moved) - of(total - moved)) / (2 * step)
    slope = np.where(np.isfinite(slope), slope, 0.0)  # a column that the statistic never looks at
    own, shared, single = (float(np.sum((np.nan_to_num(x) @ slope) ** 2)) for x in (people, items, trials))
    # Each trial's share counts once, not once for its person and once for its item.
    return math.sqrt(max(own, shared, own + shared - single) / own) if own > 0 else 1.0


def weight_of_advice(
    initial: Values, advice: Values, final: Values
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """How far a number moved towards the advised one: (final - initial) / (advice - initial).

    Args:
        initial: " n" own numbers.
        advice: " n" advised numbers.
        final: " n" numbers after the advice.

    Returns:
        Raw, and clipped to [0, 1]; NaN where the advice equals the initial number.
    """
    h0, a, h1 = (np.asarray(x, dtype=np.float64) for x in (initial, advice, final))
    away = np.where(a == h0, np.nan, a - h0)
    raw = (h1 - h0) / away
    return raw, np.clip(raw, 0.0, 1.0)


def expected_accuracy(own: float | int, advice: float | int, rair: float | int, rsr: float | int) -> float:
    """Accuracy where own and advised answers are right independently: hr + h(1-r)RSR + (1-h)r RAIR."""
    return own * advice + own * (1 - advice) * rsr + (1 - own) * advice * rair


def best_cut(dprime: float | int, own: float | int, advice: float | int) -> float:
    """Best cut on evidence X ~ N(d'[right], 1) with equal pay-offs: d'/2 + ln(h(1-r) / ((1-h)r)) / d'.

    The prior odds are those of decisive trials, where just one of the two is right.

    Raises:
        ValueError: no discrimination, or rates outside (0, 1).
    """
    if dprime <= 0 or not (0 < own < 1 and 0 < advice < 1):
        raise ValueError("a best cut needs d' above 0 and rates inside (0, 1)")
    return dprime / 2 + math.log(own * (1 - advice) / ((1 - own) * advice)) / dprime
