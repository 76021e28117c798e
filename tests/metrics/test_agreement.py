"""Agreement: worked values, krippendorff, scikit-learn, statsmodels, and real ratings."""

import csv
from collections import defaultdict
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from polymodal.metrics import alpha, effective_judges, error_correlation, estimate_alpha, fleiss, kappa

RATINGS = Path(__file__).parents[2] / "../shared/data/geneval_ratings/annotations_clip.csv"
LEVELS = ["nominal", "ordinal", "interval"]
NAN = float("nan")


@pytest.mark.parametrize(
    ("ratings", "level", "expected"),
    [
        ([[1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1]], "nominal", 0.685714),
        ([[0, 1], [1, 0], [0, 1], [1, 0]], "nominal", -0.75),
        ([[1, 1, 0], [0, 0]], "nominal", 1 / 3),
        ([[1, 2], [3, 4], [1, 1]], "interval", 19 / 24),
        ([[1, 1], [3, 4], [5, 5]], "ordinal", 94 / 99),
    ],
)
def test_alpha_by_hand(ratings, level, expected):
    assert alpha(ratings, level=level) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_of_one_value_is_undefined_never_one(level):
    assert np.isnan(alpha([[2, 2], [2, 2]], level=level))
    assert "one value" in estimate_alpha([[2, 2], [2, 2]], level=level).reason


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(4))
def test_alpha_against_krippendorff(level, seed):
    rng = np.random.default_rng(seed)
    ratings = np.clip(rng.integers(1, 6, 40)[:, None] + rng.integers(-1, 2, (40, 4)), 1, 5).astype(float)
    ratings[rng.random(ratings.shape) < 0.3] = np.nan
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=level)
    assert alpha(ratings, level=level) == pytest.approx(expected)


def test_alpha_of_continuous_ratings_against_all_pairs():
    rng = np.random.default_rng(0)
    ratings = rng.normal(size=(30, 1)) + rng.normal(size=(30, 3)) + 1e4
    within = [(a - b) ** 2 for row in ratings for a in row for b in row]
    between = [(a - b) ** 2 for a in ratings.ravel() for b in ratings.ravel()]
    expected = 1 - (sum(within) / (3 - 1) / 90) / (sum(between) / (90 * 89))
    assert alpha(ratings, level="interval") == pytest.approx(expected)


def test_alpha_takes_names_and_missing_ratings():
    words = [["yes", "yes", "no"], ["no", "no", None], [None, "yes", None]]
    assert alpha(words) == pytest.approx(alpha([[1, 1, 0], [0, 0]]))
    assert alpha(np.array([["a", "a"], ["b", "a"]])) == alpha([[0, 0], [1, 0]])
    assert alpha([[1, 1, NAN], [2, NAN, 2], [1, 2, NAN]]) == alpha([[1, 1], [2, 2], [1, 2]])
    with pytest.raises(ValueError, match="have no order"):
        alpha(words, level="ordinal")


@pytest.mark.parametrize("ratings", [[], [[1, None], [None, 2]], np.empty((0, 3)), np.zeros(3), [[]]])
def test_alpha_needs_a_pair(ratings):
    with pytest.raises(ValueError, match=r"two ratings|units by raters"):
        alpha(ratings)


def test_alpha_has_an_interval_over_units():
    rng = np.random.default_rng(0)
    ratings = np.clip(rng.integers(1, 6, 60)[:, None] + rng.integers(-1, 2, (60, 3)), 1, 5).astype(float)
    ratings[::7, 0] = np.nan
    ratings[5] = [3, np.nan, np.nan]
    found = estimate_alpha(ratings, level="ordinal", draws=150)
    assert found.low < found.mean < found.high
    assert found.mean == alpha(ratings, level="ordinal")
    assert (found.n, found.n_valid) == (60, 59)
    again, same = (estimate_alpha(ratings[:20], draws=5, seed=3) for _ in range(2))
    assert again == same
    loop = [alpha(ratings[rng.integers(0, 60, 60)], level="ordinal") for _ in range(150)]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])), abs=0.08)
    assert "fewer than two units" in estimate_alpha([[1, 2]]).reason


def test_real_ratings():
    if not RATINGS.exists():
        pytest.skip("the GenEval ratings are not beside the project")
    table = defaultdict(list)
    with RATINGS.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            table[row["Input.index"]].append(float(row["Answer.task-quality"]))
    ratings = np.array(list(table.values()))
    assert ratings.shape == (400, 5)
    assert ratings.mean() == pytest.approx(3.1035)
    found = [alpha(ratings, level=level) for level in ("ordinal", "interval", "nominal")]
    assert found == pytest.approx([0.4642, 0.4676, 0.2976], abs=5e-5)


def test_kappa_by_hand():
    # Agreement .7, chance .5 * .6 + .5 * .4 = .5.
    a, b = list("yyyyynnnnn"), list("yyyynyynnn")
    assert kappa(a, b) == pytest.approx((0.7 - 0.5) / 0.5)
    assert kappa([1, 2], [1, 2]) == 1.0
    assert np.isnan(kappa([1, 1], [1, 1]))
    assert np.isnan(kappa([1, 1], [1, 1], weights="quadratic"))


@pytest.mark.parametrize("seed", range(4))
def test_kappa_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(1, 6, 50)
    b = np.clip(a + rng.integers(-1, 2, 50), 1, 5)
    assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    expected = cohen_kappa_score(a, b, weights="quadratic", labels=[1, 2, 3, 4, 5])
    assert kappa(a, b, weights="quadratic") == pytest.approx(expected)


def test_kappa_refuses_unpaired_ratings():
    with pytest.raises(ValueError, match="two ratings an item"):
        kappa([1, 2], [1])
    with pytest.raises(ValueError, match="two ratings an item"):
        kappa([], [])


def test_fleiss_by_hand_and_against_statsmodels():
    # Agreement by unit 1, 1/3; chance (4/6)^2 + (2/6)^2 = 5/9.
    assert fleiss([["a", "a", "a"], ["a", "b", "b"]]) == pytest.approx((2 / 3 - 5 / 9) / (4 / 9))
    ratings = np.random.default_rng(0).integers(0, 4, (30, 5))
    assert fleiss(ratings) == pytest.approx(fleiss_kappa(aggregate_raters(ratings)[0]))
    assert np.isnan(fleiss([[1, 1], [1, 1]]))
    for bad in ([[1, None], [1, 2]], [[1], [2]]):
        with pytest.raises(ValueError, match="no missing rating"):
            fleiss(bad)


@pytest.mark.parametrize(("correlation", "expected"), [(0, 3.0), (0.5, 1.5), (1, 1.0), (-0.4, 3.0)])
def test_effective_judges(correlation, expected):
    assert effective_judges(3, correlation) == pytest.approx(expected)


def test_effective_judges_refuses_what_cannot_be():
    for n, correlation in ((0, 0.5), (3, 1.5)):
        with pytest.raises(ValueError, match="a judge or more"):
            effective_judges(n, correlation)


def test_error_correlation_is_of_errors_where_people_judged_too():
    rng = np.random.default_rng(0)
    human, shared = rng.normal(size=4000), rng.normal(size=4000)
    verdicts = human + shared + rng.normal(size=(3, 4000))
    assert error_correlation(verdicts, human) == pytest.approx(0.5, abs=0.05)
    assert error_correlation(verdicts) == pytest.approx(2 / 3, abs=0.05)
    errors = verdicts - human
    expected = np.mean([np.corrcoef(errors[i], errors[j])[0, 1] for i, j in ((0, 1), (0, 2), (1, 2))])
    assert error_correlation(verdicts, human) == pytest.approx(expected)


def test_error_correlation_leaves_out_constant_judges_and_missing_items():
    verdicts = np.array([[1, 2, 3, 4.0], [2, 3, 4, 9.0], [0, 0, 0, 0.0]])
    assert error_correlation(verdicts) == pytest.approx(np.corrcoef(verdicts[:2])[0, 1])
    gap = verdicts[:2].copy()
    gap[0, 3] = np.nan
    assert error_correlation(gap) == pytest.approx(1.0)
    assert np.isnan(error_correlation(verdicts[1:]))
    assert np.isnan(error_correlation(np.full((2, 3), np.nan)))
    with pytest.raises(ValueError, match="two judges"):
        error_correlation(verdicts[:1])
