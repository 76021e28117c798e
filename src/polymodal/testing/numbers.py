"""Contracts of numbers: metrics and recipes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from polymodal.metrics import Estimate, Metric
    from polymodal.runs import Run
    from polymodal.systems.shelf import Recipe


def check_metric(metric: Metric, *, seed: int = 0, n: int = 60) -> None:
    """A metric keeps its range and direction, ignores the order of rows and refuses nothing at all.

    Raises:
        AssertionError: saying which promise is broken.
    """
    from polymodal.metrics import estimate

    rng = np.random.default_rng(seed)
    target, right, wrong = _answers(metric, rng, n)
    best, worst = metric.score(target, right), metric.score(target, wrong)
    for score in (best, worst):
        assert metric.low <= score <= metric.high, (
            f"{metric.name}: {score} outside [{metric.low}, {metric.high}]"
        )
    better = best > worst if metric.better == "higher" else best < worst
    assert better, (
        f"{metric.name}: {metric.better} is better, but right answers give {best} and wrong {worst}"
    )
    order = rng.permutation(n)
    again = metric.score(target[order], wrong[order])
    assert math.isclose(again, worst, abs_tol=1e-9), f"{metric.name}: depends on the order of rows"
    made = estimate(metric, target, wrong, seed=seed, draws=200)
    assert made.low <= made.mean <= made.high, f"{metric.name}: {made.mean} outside its interval"
    assert made.n == n, f"{metric.name}: n {made.n} of {n}"
    try:
        metric.score(target[:0], right[:0])
    except ValueError:
        return
    raise AssertionError(f"{metric.name}: an empty input gives a number")


def _answers(metric: Metric, rng: np.random.Generator, n: int) -> tuple[Any, Any, Any]:
    """Targets, perfect answers and mostly wrong ones, in the form the metric's task asks for."""
    if metric.task == "scores":
        scores = rng.normal(0, 1.5, n)
        return scores, scores.copy(), rng.permutation(scores)
    target = rng.integers(0, 2, n)
    other = np.where(rng.random(n) < 0.8, 1 - target, target)
    if metric.task == "classes":
        return target, target.copy(), other
    return target, np.eye(2)[target] * 0.98 + 0.01, np.eye(2)[other] * 0.98 + 0.01


def check_recipe(recipe: Recipe, folder: Path, *, options: Mapping[str, Any] | None = None) -> Run:
    """A recipe runs in a run folder, says all it must, and runs again to the same bytes.

    Args:
        recipe: the module or object with Config, tiny, full, CLAIMS and run.
        folder: where the two run folders are made.
        options: fields of the Config to change, to keep the check short.

    Raises:
        AssertionError: saying which promise is broken.
    """
    from polymodal.runs import Run

    fields = dataclasses.fields(recipe.Config)
    assert len(fields) <= 16, f"Config has {len(fields)} fields, at most 16"
    assert recipe.CLAIMS, "no claims"
    recipe.full()
    results = []
    for _ in range(2):
        config = dataclasses.replace(recipe.tiny(), **dict(options or {}))
        run = Run.create("checked", config, root=folder)
        _check_estimates(recipe.run(config, run))
        results.append((run.folder / "result.json").read_text(encoding="utf-8"))
    assert results[0] == results[1], "two runs of one configuration differ"
    stored = json.loads(results[0])
    roles = {entry.get("role") for entry in stored["sections"].get("legend", {}).values()}
    assert {"baseline", "control"} <= roles, f"a result needs a baseline and a control, legend has {roles}"
    assert len(stored["claims"]) == len(recipe.CLAIMS), "a claim is missing from the result"
    assert stored["fingerprints"], "no data fingerprint"
    return run


def _check_estimates(estimates: Mapping[str, Estimate]) -> None:
    assert estimates, "no estimates"
    for name, estimate in estimates.items():
        known = not (math.isnan(estimate.low) or math.isnan(estimate.high))
        assert not known or estimate.low <= estimate.mean <= estimate.high, (
            f"{name}: mean outside its interval"
        )
        assert known or estimate.reason, f"{name}: no interval and no reason"
        assert 0 <= estimate.n_valid <= estimate.n, f"{name}: {estimate.n_valid} of {estimate.n} valid"
