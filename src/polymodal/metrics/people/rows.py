"""Rows of finished studies, by columns: what they say of reliance, trust and agreement."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal.metrics.agreement import estimate_alpha
from polymodal.metrics.estimate import Estimate, mean, proportion
from polymodal.metrics.metric import Array
from polymodal.metrics.people.scales import cronbach, omega, scored, straight
from polymodal.metrics.people.trust import learning, trust_calibration
from polymodal.metrics.reliance import Trials, advised, delegated, weight_of_advice

ANSWERS = ("truth", "advice", "initial", "final")
FEWEST = 10  # different numbers; with no more, they are names of options and not amounts


def trials(columns: Mapping[str, Array]) -> Trials:
    """Rows as counts: with answers before the advice where there are any, else only what was relied on."""
    people, item = columns["rater"], columns.get("item")
    if "initial" in columns and any(x is not None for x in columns["initial"]):
        return advised(*(columns[name] for name in ANSWERS), rater=people, item=item)
    if "relied" in columns:
        return delegated(columns["advice_correct"], columns["relied"], rater=people, item=item)
    truth, advice, final = (columns[name] for name in ("truth", "advice", "final"))
    lost = np.array(
        [a is None or y is None or h is None for y, a, h in zip(truth, advice, final, strict=True)]
    )
    right, relied = (np.where(lost, np.nan, x == advice) for x in (truth, final))
    return delegated(right, relied, rater=people, item=item)


def conditions(columns: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The rows of each display, and of each mode where there are several, in the order of their first row."""
    whole = np.full(len(columns["rater"]), "all", dtype=object)
    displays, modes = columns.get("display", whole), columns.get("mode", whole)
    several = len(set(modes.tolist())) > 1
    label = np.array([f"{d}, {o}" if several else str(d) for d, o in zip(displays, modes, strict=True)])
    names = dict.fromkeys(label.tolist())
    return {name: {key: x[label == name] for key, x in columns.items()} for name in names}


def stated(columns: Mapping[str, Array], *, seed: int = 0, draws: int = 2000) -> dict[str, Estimate]:
    """Stated trust of one condition against accuracy and over time, and the weight of numeric advice.

    Args:
        columns: `rater`, and where there are any: `trust` (1-7), `order`, `capability`, `advice_correct`, or
            `truth` and `advice`.
        seed: of the bootstraps.
        draws: of the bootstraps.

    Returns:
        What `trust_calibration` and `learning` give, and the raw and clipped weight of advice; {} where no
        trust was stated and answers are words.
    """
    found: dict[str, Estimate] = {}
    rater, n = columns["rater"], len(columns["rater"])
    if "trust" in columns and np.isfinite(columns["trust"]).any():
        trust, right = columns["trust"], correct(columns)
        kind = columns.get("capability", np.full(n, "all", dtype=object))
        found |= trust_calibration((trust - 1) / 6, right, rater, kind, seed=seed, draws=draws)
        _, first, who = np.unique(rater.astype(str), return_index=True, return_inverse=True)
        order = np.lexsort((columns.get("order", np.arange(n)), who))
        place = np.arange(n) - np.searchsorted(who[order], who[order])
        grid = np.full((2, int(who.max()) + 1, int(place.max()) + 1), np.nan)
        grid[:, who[order], place] = right[order], trust[order]
        lean = columns.get("propensity", np.full(n, np.nan))
        learnt = learning(grid[0], grid[1], lean[first])  # propensity is asked once a person
        found |= {f"learning: {key}": one for key, one in learnt.items()}
    try:
        numbers = [columns[name].astype(np.float64) for name in ANSWERS[1:]]
    except (KeyError, TypeError, ValueError):
        return found
    if len(np.unique(numbers[0])) <= FEWEST:
        return found
    raw, clipped = weight_of_advice(numbers[1], numbers[0], numbers[2])
    found["weight of advice, raw"] = mean(raw, group=rater, seed=seed, draws=draws)
    found["weight of advice, clipped"] = mean(clipped, group=rater, seed=seed, draws=draws)
    return found


def correct(columns: Mapping[str, Array]) -> Array:
    """Whether the advice was right " n"; NaN where there was none."""
    if "advice_correct" in columns:
        return columns["advice_correct"]
    pairs = zip(columns["truth"], columns["advice"], strict=True)
    return np.array([np.nan if a is None or y is None else float(a == y) for y, a in pairs])


def discriminates(dprime: Estimate) -> str:
    """What a d' says in words."""
    if math.isnan(dprime.low):
        return "undetermined"
    if dprime.low > 0:
        return "people discriminate"
    return "reversed discrimination" if dprime.high < 0 else "no discrimination"


def matrix(columns: Mapping[str, Array]) -> Array:
    """Ratings as "units raters", NaN where there is none; without raters by their place in the unit."""
    unit = list(
        zip(*(columns[name] for name in ("item", "subject", "field") if name in columns), strict=True)
    )
    seen: Counter[Any] = Counter()
    place = columns["rater"].tolist() if "rater" in columns else []
    for key in unit if not place else ():
        place.append(seen[key])
        seen[key] += 1
    rows, raters = ({name: i for i, name in enumerate(dict.fromkeys(x))} for x in (unit, place))
    table = np.full((len(rows), len(raters)), np.nan)
    table[[rows[x] for x in unit], [raters[x] for x in place]] = columns["value"]
    return table


def rated(
    columns: Mapping[str, Array], keys: Mapping[str, Mapping[str, Any]], *, seed: int = 0, draws: int = 2000
) -> dict[str, Estimate]:
    """Long ratings: mean and agreement by field, and scales whose items are fields named `scale-number`.

    Args:
        columns: `item` and `value`, and where there are any `rater`, `subject` and `field`.
        keys: of scales by name; see `scored`.
        seed: of the bootstraps.
        draws: of the bootstraps.
    """
    field = columns.get("field", np.full(len(columns["value"]), "rating", dtype=object))
    tables = {name: {key: x[field == name] for key, x in columns.items()} for name in dict.fromkeys(field)}
    found: dict[str, Estimate] = {}
    for name, some in tables.items():
        if str(name).rpartition("-")[0] in keys:
            continue
        found[f"{name}: mean"] = mean(some["value"], group=some["item"], seed=seed, draws=draws)
        table = matrix(some)
        if (np.isfinite(table).sum(axis=1) > 1).any():
            for level in ("ordinal", "interval", "nominal"):
                found[f"{name}: {level} alpha"] = estimate_alpha(table, level=level, seed=seed, draws=draws)
    for scale, key in keys.items():
        wanted = [f"{scale}-{k + 1}" for k in range(key["items"])]
        if set(wanted) <= set(tables):
            found |= {
                f"{scale}: {name}": one
                for name, one in _scale(tables, wanted, key, seed=seed, draws=draws).items()
            }
    return found


def _scale(
    tables: Mapping[str, Mapping[str, Array]],
    fields: Sequence[str],
    key: Mapping[str, Any],
    *,
    seed: int,
    draws: int,
) -> dict[str, Estimate]:
    """One scale's subscales over all administrations, its reliability, and who ticked straight down."""
    told = [
        {(r, i): v for r, i, v in zip(some["rater"], some["item"], some["value"], strict=True)}
        for some in (tables[field] for field in fields)
    ]
    people = sorted(set().union(*told), key=str)
    x = np.array([[one.get(person, np.nan) for one in told] for person in people], dtype=np.float64)
    who = np.array([str(rater) for rater, _ in people])
    reverse = [-i - 1 for i in key["scores"].get("composite", ()) if i < 0]
    lines = straight(x, reverse=reverse)
    found = {name: mean(one, group=who, seed=seed, draws=draws) for name, one in scored(key, x).items()}
    found["straight lines"] = proportion(int(lines.sum()), len(lines), better="lower")
    if key["items"] > 2:
        turned = x.copy()
        turned[:, reverse] = sum(key["range"]) - turned[:, reverse]
        found["alpha"] = cronbach(turned, seed=seed, draws=draws)
        found["omega"] = omega(turned)
    return found


def codings(columns: Mapping[str, Array], known: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Codings by `axis/leaf` as "studies coders"; a study that a coder did not code on an axis is NaN.

    Raises:
        ValueError: a leaf that the taxonomy does not have.
    """
    rows = zip(*(columns[name] for name in ("study", "coder", "axis", "leaves")), strict=True)
    said = {(study, coder, axis): set(leaves) for study, coder, axis, leaves in rows}
    for (study, _, axis), leaves in said.items():
        for leaf in sorted(leaves - {leaf for other, leaf in known if other == axis}):
            raise ValueError(f"study {study}: no leaf {leaf!r} on the axis {axis!r}")
    studies, coders = (list(dict.fromkeys(columns[name])) for name in ("study", "coder"))
    return {
        f"{axis}/{leaf}": [
            [float(leaf in said[s, c, axis]) if (s, c, axis) in said else np.nan for c in coders]
            for s in studies
        ]
        for axis, leaf in known
    }
