"""Survival against lifelines; families, corrections and curves on labels made by hand."""

import math

import numpy as np
import pytest

from polymodal.judge.labels import Labels
from polymodal.judge.talks import Figures, survival
from polymodal.media import Sample


def test_survival_is_lifelines_s():
    from lifelines import KaplanMeierFitter

    rng = np.random.default_rng(0)
    length = rng.integers(5, 8, 400)
    first = rng.geometric(0.08, 400)
    first = np.where(first <= length, first, 0)
    rows = survival(first, length)
    fitter = KaplanMeierFitter().fit(np.where(first, first, length), first > 0)
    assert len(rows) == 7
    for t, (hazard, left) in enumerate(rows, 1):
        assert left.mean == pytest.approx(float(fitter.predict(t)))
        low, high = fitter.confidence_interval_.loc[t]
        assert (left.low, left.high) == pytest.approx((low, high))
        assert hazard.mean == pytest.approx((first == t).sum() / left.n_valid)


def test_survival_by_hand_and_at_its_ends():
    rows = survival(np.array([2, 0, 0]), np.array([2, 2, 3]))
    assert [row[0].mean for row in rows] == pytest.approx([0, 1 / 3, 0])
    assert [row[1].mean for row in rows] == pytest.approx([1, 2 / 3, 2 / 3])
    assert rows[0][1].low < 1 == rows[0][1].high  # no event is no certainty
    gone = survival(np.array([1, 1]), np.array([2, 2]))
    assert len(gone) == 1
    assert gone[0][1].mean == gone[0][1].low == 0 < gone[0][1].high
    assert survival(np.array([]), np.array([])) == []


def labels(n=200, judges=("rule", "noisy")):
    rng = np.random.default_rng(1)
    rows = []
    for subject, p in (("a", 0.2), ("b", 0.5)):
        for k in range(n):
            truth = float(rng.random() < p)
            heard = float(rng.random() < (0.9 if truth else 0.05))
            for judge, value in zip(judges, (truth, heard), strict=True):
                rows.append(
                    {
                        "subject": subject,
                        "item": f"i{k}",
                        "group": f"i{k}",
                        "variant": "mt",
                        "judge": judge,
                        "score": "defect",
                        "value": value,
                    }
                )
    return Labels.from_rows(rows), [Sample(f"i{k}", {}) for k in range(n)]


def test_family_is_paired_and_adjusted():
    found, samples = labels()
    book = Figures(found, samples, seed=0)
    values = book.values("defect", judge="rule", variant="mt")
    same = values["a"], values["a"]
    book.family("pairs", {"b - a": (values["b"], values["a"]), "none": same}, expected={"b - a": 0.3})
    assert book.estimates["b - a"].mean == pytest.approx(values["b"].mean() - values["a"].mean())
    assert book.estimates["b - a"].p == pytest.approx(2 / 2001, rel=0.5)
    none = book.estimates["none"]
    assert (none.mean, none.low, none.high, none.p) == (0, 0, 0, 1)
    assert book.legend["b - a"] == {"role": "result", "expected": 0.3}
    assert [row[0] for row in book.tables[0]["rows"]] == ["b - a", "none"]


def test_corrected_rates_cover_the_truth_and_a_coin_is_refused():
    found, samples = labels()
    book = Figures(found, samples, seed=0)
    people = book.sampled("defect", ["a", "b"], 60)
    assert sorted(people.values()) == [0] * 60 + [1] * 60
    told = book.corrected("noisy", people, "defect", ["a", "b", "absent"], "mt")
    assert set(told) == {"a", "b"}
    truth = book.values("defect", judge="rule", variant="mt")
    for name, (raw, corrected) in told.items():
        assert raw.mean == book.values("defect", judge="noisy", variant="mt")[name].mean()
        assert corrected.low <= truth[name].mean() <= corrected.high
    turned = found.where(judge="rule").merge(
        Labels.from_rows(
            {**row, "value": float(k % 2)}
            for k, row in enumerate(found.where(judge="noisy").table.to_pylist())
        )
    )
    coin = Figures(turned, samples, seed=0)
    assert coin.corrected("noisy", people, "defect", ["a"], "mt") == {}
    assert "not corrected" in coin.tables[-1]["title"]


def test_curves_by_turn_leave_out_what_is_unknown():
    found, samples = labels(4)
    book = Figures(found, samples, seed=0)
    first = {"a": np.array([1.0, 0.0, math.nan, 2.0])}
    book.by_turn("defect", first, np.full(4, 2), {"a": [0.25, 0.5]})
    hazard, left = book.curves
    assert [row["estimate"]["mean"] for row in hazard["rows"]] == pytest.approx([1 / 3, 1 / 2])
    assert [row["expected"] for row in left["rows"]] == [0.75, 0.375]


def test_agreement_of_two_judges_and_of_one():
    from krippendorff import alpha

    found, samples = labels()
    book = Figures(found, samples, seed=0)
    book.agreement("defect")
    one = book.estimates["judges/alpha, defect"]
    pivot = found.pivot("defect", rows=("subject", "item"), columns="judge")
    assert one.mean == pytest.approx(alpha(reliability_data=pivot.values.T, level_of_measurement="nominal"))
    assert one.low < one.mean < one.high
    assert 1 < book.tables[0]["rows"][0][1] < 2
    alone = Figures(found.where(judge="rule"), samples, seed=0)
    alone.agreement("defect")
    assert not alone.estimates
