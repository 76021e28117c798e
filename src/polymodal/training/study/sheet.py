"""Answers to the same items as columns: what is invalid is wrong, never dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polymodal.media import Sample
from polymodal.metrics import (
    BALANCED_ACCURACY,
    Estimate,
    bounds,
    difference,
    estimate,
    kappa,
    mcnemar,
    mean,
    proportion,
)
from polymodal.metrics.metric import Metric

Column = NDArray[np.float64]
Key = tuple[str, ...]
DRAWS = 1000


def macro(target: Column, prediction: Column) -> float:
    """Mean F1 of the classes in target or prediction; what is below 0 is invalid and of no class."""
    found = []
    for name in np.union1d(target, prediction):
        a, b = target == name, prediction == name
        found += [2 * (a & b).sum() / (a.sum() + b.sum())] if name >= 0 else []
    return float(np.mean(found))


MACRO = Metric("macro-F1", macro, "higher", 0.0, 1.0, "classes")
KAPPA = Metric("Cohen kappa", lambda t, p: kappa(t, p), "higher", -1.0, 1.0, "classes")


def tuned(chances: Column, yes: NDArray[np.bool_]) -> float:
    """The threshold on P(yes) that is right most often; of equals the one nearest to .5."""
    points = np.unique(chances)
    edges = np.concatenate([[0.0], (points[1:] + points[:-1]) / 2, [1.0], [0.5]])
    right = ((chances[:, None] >= edges) == yes[:, None]).mean(axis=0)
    return float(min(edges[right == right.max()], key=lambda edge: abs(edge - 0.5)))


class Sheet:
    """Values by key (subject, condition ...) and item; NaN where an answer is invalid or was never asked.

    Attributes:
        told: what was answered, a number a class.
        sure: the probability of a yes, where it is known.
        kept: the items that figures are made of.
    """

    def __init__(self, items: Sequence[str], groups: Sequence[str], *, seed: int) -> None:
        self.place = {item: i for i, item in enumerate(items)}
        self.groups = np.asarray(groups, dtype=object)
        self.kept = np.ones(len(items), bool)
        self.told: dict[Key, Column] = {}
        self.sure: dict[Key, Column] = {}
        self.seed = seed

    def put(self, key: Key, item: str, value: float | None, sure: float | None = None) -> None:
        """Write down an answer; None is invalid."""
        for columns, number in ((self.told, value), (self.sure, sure)):
            column = columns.setdefault(key, np.full(len(self.place), np.nan))
            column[self.place[item]] = np.nan if number is None else number

    def right(self, told: Column, truth: Column) -> Column:
        """1 where right, 0 where wrong or invalid, NaN where no truth is known or the item is not kept."""
        return np.where(np.isnan(truth) | ~self.kept, np.nan, told == truth)

    def same(self, a: Column, b: Column) -> Column:
        """1 where two answers agree, 0 where not, NaN where one is invalid or the item is not kept."""
        return np.where(np.isnan(a) | np.isnan(b) | ~self.kept, np.nan, a == b)

    def rate(self, values: Column) -> Estimate:
        """The mean of zeros and ones, NaN left out: Wilson, or a bootstrap where items share a group."""
        valid = np.isfinite(values)
        names = self.groups[valid].tolist()
        if len(set(names)) == len(names):
            return proportion(int(values[valid].sum()), len(names), better="higher")
        return mean(values[valid], group=names, seed=self.seed, draws=DRAWS, better="higher")

    def gap(self, a: Column, b: Column) -> Estimate:
        """The mean of a - b over the items that have both, with the exact McNemar test."""
        found = difference(None, a, b, group=self.groups, seed=self.seed, draws=DRAWS)
        wins, losses = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
        return replace(found, p=mcnemar(wins, losses), method="paired bootstrap, McNemar", better="higher")

    def scores(self, told: Column, truth: Column) -> dict[str, Estimate]:
        """All scores of predicted classes; an invalid answer is wrong, and a class that nobody predicts 0."""
        here = np.isfinite(truth) & self.kept
        target, said = truth[here], told[here]
        answered, right = np.isfinite(said), (said == target).astype(float)
        prediction = np.where(answered, said, -1.0).astype(int)
        groups = self.groups[here].tolist()
        out = {"accuracy": self.rate(self.right(told, truth))}
        for metric in (MACRO, BALANCED_ACCURACY, KAPPA):
            out[metric.name] = estimate(
                metric, target.astype(int), prediction, group=groups, seed=self.seed, draws=DRAWS
            )
        out["coverage"] = self.rate(np.where(here, np.isfinite(told), np.nan))
        out["accuracy on answered"] = self.rate(np.where(np.isfinite(told), self.right(told, truth), np.nan))
        out["accuracy, invalid right or wrong"] = bounds(np.where(answered, right, np.nan), better="higher")
        return out

    def macro_gap(self, a: Column, b: Column, truth: Column) -> Estimate:
        """Macro-F1 of a minus that of b over the items that both were asked about, paired."""
        here = np.isfinite(truth) & self.kept
        first, second = (np.where(np.isfinite(x[here]), x[here], -1.0).astype(int) for x in (a, b))
        target, groups = truth[here].astype(int), self.groups[here].tolist()
        return difference(MACRO, first, second, target, group=groups, seed=self.seed, draws=DRAWS)

    def decide(self, truths: Mapping[str, Column], threshold: str, *, question: int) -> None:
        """Answer by the probability of a yes, at a threshold for each question.

        Args:
            truths: by question; other questions stay as they are told.
            threshold: a number, or `tuned`: chosen for each column on every fifth item, which then leaves
                the figures.
            question: where in a key the question stands; the key's last word is the condition, and what was
                tuned in the plain one ("") holds in all.

        Raises:
            ValueError: a subject without probabilities.
        """
        tune = (np.arange(len(self.place)) % 5 == 0) & (threshold == "tuned")
        for key, sure in self.sure.items():
            truth = truths.get(key[question])
            if truth is None:
                continue
            if np.isnan(sure).all():
                raise ValueError(
                    f"{key[0]} gives no log-probabilities of its first token: decide by its words"
                )
            plain = self.sure[*key[:-1], ""]
            held = tune & np.isfinite(plain) & np.isfinite(truth)
            edge = tuned(plain[held], truth[held] == 1) if held.any() else float(threshold)
            self.told[key] = np.where(np.isnan(sure), np.nan, sure >= edge)
        self.kept = ~tune


def text_prior(posts: Sequence[Sample], texts: Sequence[str], *, seed: int) -> dict[str, list[str]]:
    """What majority and character n-grams say of each sample, in five folds that cut no group.

    Args:
        posts: with their targets as names of classes.
        texts: of each; "" where there is none.
        seed: of the folds.
    """
    from polymodal.training import baselines, folds

    y, words = [str(post.target) for post in posts], np.array([text or " - " for text in texts], dtype=object)
    found = {name: [""] * len(y) for name in ("majority", "char n-grams")}
    for split in folds(posts, 5, seed=seed):
        for one in (baselines.majority(y, split), baselines.ngram(words.tolist(), y, split, seed=seed)):
            for i, said in zip(split.test, one.predict(words[list(split.test)]), strict=True):
                found[one.name][i] = str(said)
    return found
