"""Panels by hand; agreement and effective judges against their definitions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from polymodal.chat import Usage, assistant
from polymodal.judge import Case, Judge, Rule, Verdict, invalid
from polymodal.judge.case import Reason
from polymodal.judge.labels import Labels
from polymodal.judge.panel import agreement, effective, panel
from polymodal.metrics import alpha, effective_judges

CASE = Case("a|1|", "1", "1", "a", "", (assistant("x"),))


def member(name: str, scores: Mapping[str, float] | None, reason: Reason = "timeout") -> Judge:
    usage = Usage(calls=1)
    given = (
        invalid(reason, "", usage=usage) if scores is None else Verdict(scores, rationale=name, usage=usage)
    )
    return Rule(name, lambda case: given, name)


def decided(how: Any, *scores: Mapping[str, float] | None) -> Verdict:
    judges = [member(f"j{i}", each) for i, each in enumerate(scores)]
    return panel(judges, how)(CASE, seed=0)


def test_a_majority_decides_score_by_score() -> None:
    found = decided("majority", {"x": 1, "y": 0}, {"x": 0, "y": 1}, {"x": 1, "y": 1})
    assert found.scores == {"x": 1, "y": 1}
    assert found.usage.calls == 3
    assert [m.judge.split("@")[0] for m in found.members] == ["j0", "j1", "j2"]
    assert found.rationale == "j2"
    assert decided("majority", {"x": 1}, {"x": 1, "y": 3}).scores == {"x": 1, "y": 3}


def test_a_mean_averages() -> None:
    assert decided("mean", {"x": 1}, {"x": 0}, {"x": 0.5}, None).scores == {"x": 0.5}


def test_without_votes_there_is_no_verdict() -> None:
    tie = decided("majority", {"x": 1}, {"x": 0})
    assert (tie.valid, tie.reason) == (False, "two_labels")
    few = decided("majority", {"x": 1}, None, None)
    assert (few.reason, len(few.members), few.usage.calls) == ("timeout", 3, 3)
    assert decided("mean", None).reason == "timeout"
    assert decided("majority", {"x": 1}, {"x": 0}, {"x": 1}, None).scores == {"x": 1}


def test_an_output_that_never_came_is_not_voted_on() -> None:
    gone = Case("a|1|", "1", "1", "a", "", (), error="timeout")
    found = panel([member("j", {"x": 1})])(gone, seed=0)
    assert (found.reason, found.members) == ("timeout", ())


def test_the_name_tells_who_sits_on_it() -> None:
    a, b, c = (member(name, {"x": 1}) for name in "abc")
    names = {panel([a, b]).name, panel([a, c]).name, panel([a, b], "mean").name}
    assert len(names) == 3
    assert panel([b, a]).name == panel([a, b]).name
    for wrong in ([], [a, a]):
        with pytest.raises(ValueError, match="each once"):
            panel(wrong)


def rated(table: Any, names: list[str]) -> Labels:
    rows = [
        {"subject": "s", "item": f"{i:03d}", "judge": name, "score": "x", "value": float(value)}
        for i, row in enumerate(table)
        for name, value in zip(names, row, strict=True)
        if not np.isnan(value)
    ]
    return Labels.from_rows(rows)


def test_agreement_is_alpha_over_units_by_judges() -> None:
    rng = np.random.default_rng(3)
    table = rng.integers(0, 4, (30, 3)).astype(float)
    table[rng.random(table.shape) < 0.2] = np.nan
    labels = rated(table, ["a", "b", "c"])
    for level in ("nominal", "ordinal", "interval"):
        found = agreement(labels, "x", level=level, draws=50)
        assert found.mean == pytest.approx(alpha(table, level=level))
        assert found.low <= found.mean <= found.high
    pair = agreement(labels, "x", judges=["a", "c"], draws=50)
    assert pair.mean == pytest.approx(alpha(table[:, [0, 2]]))
    with pytest.raises(ValueError, match="no label of 'y'"):
        agreement(labels, "y")


def test_effective_judges_from_errors_against_people() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 400).astype(float)
    shared = rng.random(400) < 0.2
    errors = [shared, shared, rng.random(400) < 0.2]
    table = np.column_stack([truth, *(np.where(wrong, 1 - truth, truth) for wrong in errors)])
    labels = rated(table, ["human", "a", "b", "c"])
    assert effective(labels, "x", ["a", "b"], "human") == pytest.approx(1)
    r = np.mean(
        [np.corrcoef(table[:, i] - truth, table[:, j] - truth)[0, 1] for i, j in ((1, 2), (1, 3), (2, 3))]
    )
    assert effective(labels, "x", ["a", "b", "c"], "human") == pytest.approx(effective_judges(3, r))
    assert effective(labels, "x", ["a", "c"]) < effective(labels, "x", ["a", "c"], "human")
    with pytest.raises(ValueError, match="no label of 'x' by nobody"):
        effective(labels, "x", ["a", "nobody"])
