"""Mixed logit: nodes, statsmodels at sigma 0, the population slope, planted people, the null."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import ttest_ind
from statsmodels.miscmodels.ordinal_model import OrderedModel

from polymodal.metrics import cumulative_logit, mixed_logit, person_test

BETA = np.array([0.8, -0.5])


def planted(sigma, *, people=60, trials=30, seed=0):
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), trials)
    x = rng.normal(size=(len(person), 2))
    latent = x @ BETA + rng.normal(0, sigma, people)[person] + rng.logistic(size=len(person))
    return x, latent, person


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_fifteen_nodes_are_enough(sigma):
    x, latent, person = planted(sigma)
    few, many = (mixed_logit(latent > 0.3, x, person, nodes=nodes) for nodes in (15, 41))
    assert np.abs(few.beta - many.beta).max() <= 1e-5
    assert abs(few.sigma - many.sigma) <= 1e-5
    assert few.loglik == pytest.approx(many.loglik, rel=1e-7)
    assert few.slope(0).low < 0.8 < few.slope(0).high
    assert few.slope(1).p < 1e-4
    assert few.sigma == pytest.approx(sigma, rel=0.35)


def test_without_people_it_is_the_plain_logit():
    x, latent, person = planted(0.0)
    y = (latent > 0.3).astype(float)
    peer = sm.Logit(y, sm.add_constant(x)).fit(disp=0)
    ours = mixed_logit(y, x, person, sigma=0.0)
    assert ours.beta == pytest.approx(peer.params[1:], abs=1e-5)
    assert -ours.tau[0] == pytest.approx(peer.params[0], abs=1e-5)
    assert ours.loglik == pytest.approx(peer.llf)
    assert np.sqrt(np.diag(ours.covariance))[:2] == pytest.approx(peer.bse[1:], rel=1e-4)
    small = mixed_logit(y, x, person, sigma=1e-4)
    assert small.beta == pytest.approx(ours.beta, abs=1e-5)


def test_the_population_slope_is_weaker():
    x, latent, person = planted(1.5, people=150, trials=20)
    y = (latent > 0).astype(float)
    ours = mixed_logit(y, x[:, :1], person)
    peer = sm.GEE(
        y, sm.add_constant(x[:, :1]), person, family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    ).fit()  # fmt: skip
    assert peer.params[1] == pytest.approx(ours.beta[0] / np.sqrt(1 + 0.346 * ours.sigma**2), rel=0.1)


def test_ordinal_without_people_is_the_ordered_model():
    x, latent, person = planted(0.0)
    y = np.digitize(latent, [-1, 0, 1.5])
    peer = OrderedModel(y, x, distr="logit")
    fitted = peer.fit(disp=0, method="bfgs", gtol=1e-8)
    ours = cumulative_logit(y * 10, x, person, sigma=0.0)
    assert ours.beta == pytest.approx(fitted.params[:2], abs=1e-4)
    assert ours.tau == pytest.approx(peer.transform_threshold_params(fitted.params)[1:-1], abs=1e-4)
    assert ours.loglik == pytest.approx(fitted.llf)


def test_ordinal_people_are_found():
    x, latent, person = planted(1.0, people=80)
    found = cumulative_logit(np.digitize(latent, [-1, 0, 1.5]), x, person)
    assert found.beta == pytest.approx(BETA, abs=0.12)
    assert found.tau == pytest.approx([-1, 0, 1.5], abs=0.4)
    assert found.sigma == pytest.approx(1, abs=0.25)
    assert np.all(np.isfinite(np.diag(found.covariance)))


def test_a_spread_at_its_edge_has_slopes_all_the_same():
    x, latent, person = planted(0.0, seed=5)
    free = mixed_logit(latent > 0, x, person)
    plain = mixed_logit(latent > 0, x, person, sigma=0.0)
    assert free.loglik >= plain.loglik - 1e-6
    assert free.sigma < 0.4


@pytest.mark.parametrize(
    ("y", "x", "message"),
    [
        ([0, 1, 2], [1, 2, 3], "0 or 1"),
        ([1, 1, 1], [1, 2, 3], "two levels"),
        ([0, 1, 1], [1, 1, 1], "collinear"),
        ([0, 1, 1], [1, 2], "same length"),
    ],
)
def test_what_cannot_be_fitted_says_why(y, x, message):
    with pytest.raises(ValueError, match=message):
        mixed_logit(y, x, list("abb"))


def test_person_level_test_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 12)), rng.normal(0.5, 2, size=(5, 9))
    t, p = person_test(a, b)
    peer = ttest_ind(a, b, axis=1, equal_var=False)
    assert t == pytest.approx(peer.statistic)
    assert p == pytest.approx(peer.pvalue)
    with pytest.raises(ValueError, match="two people"):
        person_test(a[:, :1], b)
    assert np.isnan(person_test([1, 1], [1, 1])[1])
