"""Answers of people who differ: logit models with a random intercept, person-level tests."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from polymodal.metrics.estimate import Estimate, normal_quantile
from polymodal.metrics.metric import Labels, Values

_STEPS = 60  # Newton steps for the mode of a person's effect; it takes about six


@dataclass(frozen=True, slots=True)
class Mixed:
    """A fitted model: P(y <= k) = s(tau_k - x beta - b), b ~ N(0, sigma^2) a person.

    Attributes:
        beta: " p" slopes on the logit scale.
        tau: " k-1" thresholds, rising; for two levels the intercept of P(y = 1) is -tau[0].
        sigma: standard deviation of the person effects.
        covariance: of (beta, tau, sigma), from the observed information; NaN rows where it is singular.
        loglik: marginal log-likelihood.
        n: answers.
        n_groups: people.
    """

    beta: Float[np.ndarray, " p"]
    tau: Float[np.ndarray, " _"]
    sigma: float
    covariance: Float[np.ndarray, "q q"]
    loglik: float
    n: int
    n_groups: int

    def slope(self, column: int = 0, *, level: float = 0.95) -> Estimate:
        """A slope with its Wald interval and p-value."""
        from scipy.special import ndtr

        mean = float(self.beta[column])
        error = math.sqrt(max(float(self.covariance[column, column]), 0.0))
        known = math.isfinite(error) and error > 0
        half = normal_quantile(level) * error if known else float("nan")
        return Estimate(
            mean=mean, low=mean - half, high=mean + half,
            n=self.n, n_valid=self.n, n_groups=self.n_groups, method="mixed logit, Wald", level=level,
            p=float(2 * ndtr(-abs(mean) / error)) if known else None,
            reason="" if known else "the information matrix is singular: no interval",
        )  # fmt: skip


def mixed_logit(
    y: Values, x: Values, group: Labels, *, nodes: int = 15, sigma: float | int | None = None
) -> Mixed:
    """Logistic regression with one random intercept a person, by adaptive Gauss-Hermite quadrature.

    Args:
        y: " n" 0 or 1.
        x: "n p" covariates without a constant, or " n" for one.
        group: " n" people.
        nodes: of the quadrature (Pinheiro and Bates 1995); 1 is Laplace's approximation.
        sigma: fixes the spread of people; 0 is plain logistic regression. None estimates it.

    Raises:
        ValueError: shapes differ, y is not 0 or 1 or never changes, or the columns of x are collinear.
    """
    answers = np.asarray(y, dtype=np.float64)
    if not np.isin(answers, (0.0, 1.0)).all():
        raise ValueError("a mixed logit needs answers of 0 or 1")
    return cumulative_logit(answers, x, group, nodes=nodes, sigma=sigma)


def cumulative_logit(
    y: Values, x: Values, group: Labels, *, nodes: int = 15, sigma: float | int | None = None
) -> Mixed:
    """Ordinal regression with one random intercept a person; a higher x beta + b means a higher level.

    Args:
        y: " n" levels, any numbers; their order counts.
        x: "n p" covariates without a constant, or " n".
        group: " n" people.
        nodes: of the quadrature.
        sigma: as in `mixed_logit`.

    Raises:
        ValueError: shapes differ, a value is missing, one level only, or collinear columns.
    """
    from scipy.optimize import minimize

    design = np.asarray(x, dtype=np.float64)
    design = design[:, None] if design.ndim == 1 else design
    levels, code = np.unique(np.asarray(y, dtype=np.float64), return_inverse=True)
    people, person = np.unique(np.asarray(group).astype(str), return_inverse=True)
    if not len(code) == len(design) == len(person) or not np.isfinite(design).all():
        raise ValueError("y, x and group need the same length and no missing value")
    if len(levels) < 2 or not np.isfinite(levels).all():
        raise ValueError("the answers must take two levels or more, none of them missing")
    if np.linalg.matrix_rank(design - design.mean(axis=0)) < design.shape[1]:
        raise ValueError("the columns of x are collinear or constant")
    order = np.argsort(person, kind="stable")
    problem = _Problem(code[order], design[order], person[order], len(levels), len(people), nodes, sigma)
    with np.errstate(over="ignore"):
        found = minimize(problem.loss, problem.start(), jac=True, method="BFGS", options={"gtol": 1e-4})
        best = _polished(problem, found.x)
        covariance = _inverse(problem.hessian(best))
        loss = problem.loss(best)[0]
    beta, tau, spread = problem.unpack(best)
    turned = _chain(problem, best)
    return Mixed(beta, tau, abs(spread), turned @ covariance @ turned.T, -loss, len(code), len(people))


def _inverse(h: Float[np.ndarray, "q q"]) -> Float[np.ndarray, "q q"]:
    try:
        return np.asarray(np.linalg.inv(h))
    except np.linalg.LinAlgError:
        return np.full_like(h, np.nan)


def _polished(problem: "_Problem", start: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    """A few Newton steps: the search stops where gradients are small, not where they vanish."""
    best, loss = start, problem.loss(start)[0]
    for _ in range(4):
        gradient = problem.loss(best)[1]
        if np.abs(gradient).max() < 1e-8:
            break
        try:
            new = best - np.linalg.solve(problem.hessian(best), gradient)
        except np.linalg.LinAlgError:
            break
        lower = problem.loss(new)[0]
        if not lower <= loss + 1e-9:
            break
        best, loss = new, lower
    return best


def _chain(problem: "_Problem", at: Float[np.ndarray, " q"]) -> Float[np.ndarray, "o q"]:
    """Derivatives of (beta, tau, sigma) by the free parameters; a fixed sigma has none."""
    p, cuts = problem.design.shape[1], problem.levels - 1
    jacobian = np.zeros((p + cuts + 1, len(at)))
    jacobian[np.arange(p), np.arange(p)] = 1.0
    steps = np.concatenate([[1.0], np.exp(at[p + 1 : p + cuts])])
    for k in range(cuts):
        jacobian[p + k, p : p + k + 1] = steps[: k + 1]
    if problem.fixed is None:
        jacobian[-1, -1] = math.copysign(1.0, at[-1])
    return jacobian


@dataclass(frozen=True)
class _Problem:
    """The marginal likelihood; free parameters are beta, tau_1, the logs of tau's steps, and sigma."""

    code: Int[np.ndarray, " n"]
    design: Float[np.ndarray, "n p"]
    person: Int[np.ndarray, " n"]
    levels: int
    people: int
    nodes: int
    fixed: float | int | None

    @cached_property
    def _quadrature(self) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        x, w = np.polynomial.hermite_e.hermegauss(self.nodes)
        return x, np.log(w) + x**2 / 2  # weights of the plain integral over x

    @cached_property
    def _first(self) -> Int[np.ndarray, " g"]:
        return np.flatnonzero(np.diff(self.person, prepend=-1))

    def start(self) -> Float[np.ndarray, " q"]:
        """No slopes, thresholds from the shares of the levels, people that differ a little."""
        below = np.cumsum(np.bincount(self.code, minlength=self.levels))[:-1] / len(self.code)
        tau = np.log(below / (1 - below))
        free = [np.zeros(self.design.shape[1]), tau[:1], np.log(np.diff(tau))]
        return np.concatenate([*free, [0.5]] if self.fixed is None else free)

    def unpack(
        self, at: Float[np.ndarray, " q"]
    ) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " _"], float]:
        """Slopes, thresholds, sigma."""
        p, cuts = self.design.shape[1], self.levels - 1
        tau = at[p] + np.concatenate([[0.0], np.cumsum(np.exp(at[p + 1 : p + cuts]))])
        return at[:p], tau, float(at[-1] if self.fixed is None else self.fixed)

    def loss(self, at: Float[np.ndarray, " q"]) -> tuple[float, Float[np.ndarray, " q"]]:
        """Negative marginal log-likelihood and its gradient (Fisher's identity over the nodes)."""
        beta, tau, sigma = self.unpack(at)
        cuts = np.concatenate([[-np.inf], tau, [np.inf]])
        low, high = cuts[self.code], cuts[self.code + 1]
        fixed = self.design @ beta
        mode, width = self._modes(low - fixed, high - fixed, sigma)
        x, log_w = self._quadrature
        u = mode[:, None] + width[:, None] * x  # each person's nodes, in units of sigma
        shift = fixed[:, None] + sigma * u[self.person]
        upper, lower = high[:, None] - shift, low[:, None] - shift
        gap = -np.expm1(low - high)[:, None]
        logp = -np.logaddexp(0, -upper) - np.logaddexp(0, lower) + np.log(gap)
        joint = np.add.reduceat(logp, self._first) - u**2 / 2 + log_w + np.log(width)[:, None]
        top = joint.max(axis=1, keepdims=True)
        mass = np.exp(joint - top)
        total = mass.sum(axis=1, keepdims=True)
        loglik = float(np.sum(top + np.log(total))) - self.people * math.log(2 * math.pi) / 2
        share = (mass / total)[self.person]
        slope = (_logistic(upper) + _logistic(lower) - 1) * share  # d log p / d (x beta + b)
        gradient = [-(slope.sum(axis=1) @ self.design)]
        gradient.append(-self._by_thresholds(at, share, upper, lower, gap))
        if self.fixed is None:
            gradient.append(-np.atleast_1d(np.sum(slope * u[self.person])))
        return -loglik, np.concatenate(gradient)

    def _by_thresholds(
        self,
        at: Float[np.ndarray, " q"],
        share: Float[np.ndarray, "n m"],
        upper: Float[np.ndarray, "n m"],
        lower: Float[np.ndarray, "n m"],
        gap: Float[np.ndarray, "n 1"],
    ) -> Float[np.ndarray, " _"]:
        rise = (share * _logistic(-upper) / (_logistic(-lower) * gap)).sum(axis=1)
        fall = (share * _logistic(lower) / (_logistic(upper) * gap)).sum(axis=1)
        by_cut = np.bincount(self.code, rise, self.levels + 1)[:-1]
        by_cut[:-1] -= np.bincount(self.code, fall, self.levels)[1:]
        later = np.cumsum(by_cut[: self.levels - 1][::-1])[::-1]
        p = self.design.shape[1]
        later[1:] *= np.exp(at[p + 1 : p + self.levels - 1])
        return np.asarray(later)

    def _modes(
        self, low: Float[np.ndarray, " n"], high: Float[np.ndarray, " n"], sigma: float
    ) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
        """Mode of each person's effect in units of sigma, and the width of its posterior there."""
        u = np.zeros(self.people)
        for _ in range(_STEPS):
            shift = sigma * u[self.person]
            up, down = _logistic(high - shift), _logistic(low - shift)
            slope = np.add.reduceat(up + down - 1, self._first) * sigma - u
            bend = np.add.reduceat(up * (1 - up) + down * (1 - down), self._first) * sigma**2 + 1
            step = np.clip(slope / bend, -2, 2)
            u = u + step
            if np.abs(step).max() < 1e-10:
                break
        return u, 1 / np.sqrt(bend)

    def hessian(self, at: Float[np.ndarray, " q"]) -> Float[np.ndarray, "q q"]:
        """Central differences of the gradient."""
        step = 1e-4
        rows = [self.loss(at + step * e)[1] - self.loss(at - step * e)[1] for e in np.eye(len(at))]
        table = np.stack(rows) / (2 * step)
        return np.asarray((table + table.T) / 2)


def _logistic(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    from scipy.special import expit

    return np.asarray(expit(x))


def person_test(a: Values, b: Values) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Welch's test of one number a person between two groups of people.

    Args:
        a: one number a person on the last axis; axes in front are other studies.
        b: the same for the other people.

    Returns:
        t and its two-sided p-value; NaN where nobody differs from anybody in a group.

    Raises:
        ValueError: fewer than two people on a side.
    """
    from scipy.special import stdtr

    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(first.shape[-1], second.shape[-1]) < 2:
        raise ValueError("a person-level test needs two people on each side")
    parts = [x.var(axis=-1, ddof=1) / x.shape[-1] for x in (first, second)]
    error = parts[0] + parts[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (first.mean(axis=-1) - second.mean(axis=-1)) / np.sqrt(error)
        freedom = error**2 / sum(
            v**2 / (x.shape[-1] - 1) for v, x in zip(parts, (first, second), strict=True)
        )
    return np.asarray(t), np.asarray(2 * stdtr(freedom, -np.abs(t)))
