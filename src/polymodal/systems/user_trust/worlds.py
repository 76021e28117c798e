"""The jobs of a run: simulated people under displays, and worlds with known answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polymodal import metrics as m
from polymodal.metrics import Estimate
from polymodal.metrics import people as p
from polymodal.systems.user_trust import data, method

WORLDS = ("learning", "attitude", "null", "scales", "coding")
Pool = Mapping[str, Sequence[tuple[int, float, str]]]  # by capability: advised answer, stated confidence, id


def trials(arm: str, mode: method.Mode, n: int, each: int, pool: Pool, *, seed: int) -> dict[str, Any]:
    """Simulated people at their trials under a display, as the rows of a finished study.

    Args:
        arm: display, baseline or control.
        mode: of the trials.
        n: people.
        each: trials of each.
        pool: items with advice; answers are numbers of options, 0 the right one.
        seed: of the group of people; the same seed is the same people at the same trials.
    """
    x = data.people(n, each, {c: [code for code, _, _ in some] for c, some in pool.items()}, seed=seed)
    rates = np.array([np.mean([code == 0 for code, _, _ in some]) for some in pool.values()])
    kinds, lists = np.array(list(pool), dtype=object)[x["capability"]], list(pool.values())
    chosen = zip(x["capability"], x["item"], strict=True)
    sure, names = zip(*(lists[c][i][1:] for c, i in chosen), strict=True)
    stated, size, blank = np.array(sure), len(sure), np.full(len(sure), np.nan)
    known = {"card": rates[x["capability"]], "global": np.full(size, rates.mean()), "never": np.zeros(size)}
    mu, cut = data.PLANTED.get(arm, (0.0, 0.0))
    follow = known[arm] > data.OWN if arm in known else mu * (x["advice"] == 0) + x["noise"] > cut
    if arm == "bot":  # it follows as often as the agent says that it is right
        follow = x["coin"] < stated
    initial, final, relied, played = method.act(
        mode, x["own"], x["advice"], follow,
        surer=stated > data.OWN + 0.2 * (x["coin"] - 0.5), asks=x["noise"] < 0.25,
    )  # fmt: skip
    played = played & (stated >= method.WITHHELD) if arm == "abstain" else played
    a, b = p.course((x["advice"] == 0).astype(np.float64).reshape(n, each), data.UP, data.DOWN)
    trust = np.clip(np.round(1 + 6 * (a.ravel() + b.ravel() * x["start"]) + x["slip"]), 1, 7)

    def text(values: Any, there: Any = True) -> list[str | None]:
        return [str(v) if k else None for v, k in np.broadcast(values, np.broadcast_to(there, size))]

    return {
        "rater": [f"{seed}-{k:03d}" for k in x["rater"]], "item": list(names), "order": x["order"],
        "capability": kinds.tolist(), "mode": text(mode), "display": text(arm), "truth": text(0),
        "advice": text(x["advice"], played), "final": text(final),
        "initial": text(0, False) if initial is None else text(initial),
        "confidence_initial": blank, "confidence_final": blank,
        "advice_confidence": stated, "rt_initial": x["seconds"], "rt_final": x["seconds"], "trust": trust,
        "block": text("trials"), "propensity": x["propensity"], "source": text("simulated"),
        "advice_correct": np.where(played, x["advice"] == 0, np.nan),
        "relied": np.where(played, relied, np.nan),
    }  # fmt: skip


def world(name: str, taxonomy: str | None, draws: int, *, seed: int) -> dict[str, Any]:
    """A world with a known answer, measured; estimates as JSON."""
    found: dict[str, Estimate] = {}
    if name == "learning":
        found = {f"learning: {key}": one for key, one in p.learning(*data.learners(seed=seed)).items()}
    elif name == "attitude":
        propensity, trust, right, relied = data.attitudes(seed=seed)
        rater = np.repeat(np.arange(len(trust)), right.shape[1])
        counts = m.delegated(right.ravel(), relied.ravel(), rater=rater)
        found["attitude: d'"] = m.reliance(counts, seed=seed, draws=draws)["d'"]
        for other, x in (("relying", relied.mean(axis=1)), ("propensity", propensity)):
            found[f"attitude: trust and {other}"] = m.estimate(m.PEARSON, trust, x, seed=seed, draws=draws)
    elif name == "null":
        yes, n = data.nulls(seed=seed) / 60, 20 * 60
        a, b = yes[:, :20].mean(axis=1), yes[:, 20:].mean(axis=1)
        z = np.abs(a - b) / np.sqrt((a + b) / 2 * (1 - (a + b) / 2) * 2 / n)
        hits = {"pooled z": z > 1.959964, "person-level": m.person_test(yes[:, :20], yes[:, 20:])[1] < 0.05}
        for key, hit in hits.items():
            found[f"null study: {key} rejects"] = m.proportion(int(hit.sum()), len(hit))
    elif name == "scales":
        for width, rho in ((12, 0.3), (3, 0.5)):
            x = data.answered(400, width, rho, seed=seed)
            found[f"scale of {width}: alpha"] = p.cronbach(x, seed=seed, draws=draws)
        lines = p.straight(data.answered(400, 12, 0.3, lazy=0.1, seed=seed), reverse=range(5))
        found["straight lines: flagged"] = m.proportion(int(lines[360:].sum()), 40)
        found["straight lines: false flags"] = m.proportion(int(lines[:360].sum()), 360, better="lower")
    else:
        known = [f"{axis}/{leaf}" for axis, leaf in method.leaves(taxonomy)]
        codes = data.coders(len(known), seed=seed)
        by_leaf = {leaf: codes[:, k].tolist() for k, leaf in enumerate(known)}
        found = {f"coding: {leaf}": one for leaf, one in p.coding(by_leaf, seed=seed, draws=200).items()}
    return {key: one.to_json() for key, one in found.items()}
