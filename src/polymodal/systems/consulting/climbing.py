"""The ladder of the exact doctor: ideal readers, every policy, every budget, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from polymodal import metrics as m
from polymodal.envs.clinic.generated import drawn
from polymodal.envs.doctor import EPSILON, Stop, cut, ladder, learned_stops

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic
    from polymodal.training.study import Book

BUDGETS = (6, 10, 14)
LADDER: Mapping[str, Mapping[str, Any]] = {
    "multimodal": {}, "retaken": {"retakes": 2}, "text": {"show": "text"}, "artefacts": {"show": "artefacts"},
    "fixed": {"policy": "fixed"}, "frequent": {"policy": "frequent"}, "random": {"policy": "random"},
    "split": {"policy": "split"}, "half": {"policy": "half"}, "shuffled": {"show": "shuffled"},
}  # fmt: skip
UNSTOPPED = {"multimodal": "no stop", "retaken": "retaken, no stop"}  # the same, asked to the end
SHARES, MID = (0.0, 0.3, 0.6, 0.9), 12  # of poor takes, and the budget that they are compared at
KNOWN = {  # the spec's Monte Carlo of 1,000 patients, at 6, 10 and 14 turns
    "multimodal": (0.74, 0.79, 0.82), "retaken": (0.79, 0.86, 0.87), "no stop": (0.74, 0.78, 0.78),
    "text": (0.38, 0.42, 0.45), "artefacts": (0.37, 0.37, 0.37), "fixed": (0.27, 0.41, 0.41),
    "random": (0.29, 0.35, 0.44), "shuffled": (0.18, 0.25, 0.30),
}  # fmt: skip
WORN = {  # the same by the share of poor takes, at 12 turns
    "plain": (0.86, 0.80, 0.73, 0.69), "retaken": (0.86, 0.86, 0.85, 0.79),
    "quality ignored": (0.86, 0.80, 0.73, 0.62),
}  # fmt: skip
POOR = f"Poor pictures, T={MID}"  # a heading of the report
STOPS = {"multimodal": "", "learned stop": ", learned"}  # by arm, behind the names of what its stop does
ROLES = {"fixed": "baseline", "random": "baseline", "frequent": "baseline", "shuffled": "control"}


def rungs(
    clinic: Clinic, turns: Sequence[int], stop: float | Literal["learned"], *, seed: int, n: int = 2_000
) -> dict[str, Any]:
    """One seed's patients before the exact doctor with ideal readers, in every arm at every budget.

    The arm `learned stop` stops as was learned on other patients; with `stop` learned, all arms do.
    """
    group, made = drawn(clinic, n, seed=seed), dict[str, dict[int, Any]]()
    learned = learned_stops(clinic, turns, seed=seed)
    usual = learned if stop == "learned" else dict.fromkeys(turns, Stop(stop, EPSILON))
    for arm, options in LADDER.items():
        # No policy looks at its budget or stop: one course, asked to the end, tells all of them.
        told = ladder(clinic, group, seed=seed, turns=max(turns), tau=None, **options)
        stops: dict[str, Mapping[int, Stop]] = {arm: usual}
        if arm in UNSTOPPED:
            stops[UNSTOPPED[arm]] = {}
        if arm == "multimodal":
            stops["learned stop"] = learned
        for name, by in stops.items():
            made[name] = {t: cut(told, t, by.get(t)) for t in turns}
    found: dict[str, Any] = {
        f"T={t}: {name}": dict(zip(("right", "turns"), by[t], strict=True))
        for t in turns
        for name, by in made.items()
    }
    for name, policy_ in (("nothing asked", "none"), ("everything asked", "all")):
        found[name] = {"right": ladder(clinic, group, seed=seed, policy=policy_).right.astype(int)}
    for share in SHARES:
        worn = drawn(clinic, n, seed=seed, poor=share)
        for arm, options in (
            ("plain", {}),
            ("retaken", {"retakes": 2}),
            ("quality ignored", {"quality": False}),
        ):
            out = ladder(clinic, worn, seed=seed, turns=MID, share=share, **options)
            found[f"poor {share}: {arm}"] = {"right": out.right.astype(int)}
    return found


def climbed(told: Mapping[str, Any], budgets: Sequence[int], book: Book) -> None:
    """The ladder over all seeds: top-1, turns, and the paired differences that claims ask for."""
    names = next(iter(told.values())).keys()
    right = {name: np.array([told[key][name]["right"] for key in told], float) for name in names}
    turns = {n: np.array([told[key][n]["turns"] for key in told], float) for n in names if n.startswith("T=")}

    def paired(name: str, a: Any, b: Any, **more: Any) -> None:
        found = m.difference(None, a.ravel(), b.ravel(), seed=book.seed, draws=500)
        book.add(name, replace(found, between=spread_of(a - b)), **more)

    for name, values in right.items():
        head, _, arm = name.partition(": ")
        more: dict[str, Any] = {"page": arm in (*KNOWN, "learned stop") and head.startswith("T=")}
        if head.startswith("T=") and arm in KNOWN and tuple(budgets) == BUDGETS:
            more["expected"] = KNOWN[arm][budgets.index(int(head[2:]))]
        elif head.startswith("poor "):
            at = SHARES.index(float(head.removeprefix("poor ")))
            more |= {"group": POOR, "label": f"{head}: {arm}", "expected": WORN[arm][at], "page": True}
        elif not arm:
            more["group"] = "No budget"
        hits = m.proportion(int(values.sum()), values.size, better="higher")
        book.add(name, replace(hits, between=spread_of(values)), role=ROLES.get(arm, "result"), **more)
    for t in budgets:
        base = right[f"T={t}: multimodal"]
        for arm in ("text", "artefacts", "fixed", "random", "frequent", "shuffled"):
            paired(f"T={t}: multimodal - {arm}", base, right[f"T={t}: {arm}"])
        paired(f"T={t}: frequent - random", right[f"T={t}: frequent"], right[f"T={t}: random"])
        whole, spent = right[f"T={t}: no stop"], turns[f"T={t}: no stop"].mean()
        for arm, how in STOPS.items():
            kept = turns[f"T={t}: {arm}"]
            paired(f"T={t}: turns saved by stopping{how}", 1 - kept / spent, np.zeros_like(kept))
            paired(f"T={t}: accuracy lost by stopping{how}", whole, right[f"T={t}: {arm}"])
            book.add(f"T={t}: turns taken{how}", m.mean(kept.ravel(), better="lower"))
    lost = {arm: right[f"poor 0.0: {arm}"] - right[f"poor 0.6: {arm}"] for arm in ("plain", "retaken")}
    paired("poor 0 to .6: loss saved by retakes", lost["plain"], lost["retaken"], group=POOR)
    for x, rows in (("turns", "T="), ("share of poor takes", "poor ")):
        curve = [
            {
                "arm": name.partition(": ")[2],
                "x": float(name[len(rows) :].partition(":")[0]),
                "estimate": one.to_json(),
            }
            for name, one in book.estimates.items()
            if name in right and name.startswith(rows)
        ]
        book.sections["curves"].append(
            {"title": f"Top-1 by {x}, ideal readers", "x": x, "y": "top-1", "rows": curve}
        )


def spread_of(values: Any) -> float | None:
    """The standard deviation of the seeds' means."""
    return float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else None
