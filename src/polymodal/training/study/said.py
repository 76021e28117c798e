"""What all arms said of the same test samples, put together over seeds and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.metrics import ACCURACY, MAE, Metric
from polymodal.metrics.calibration import coverage_threshold, fit_temperature, tempered

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Said:
    """What all arms said of the same test samples, fold after fold.

    Attributes:
        ids, groups, present, fold: of the n test samples: names, groups, parts that they have, folds.
        target: class names or scores, " n".
        classes: in the order of the logits; None for scores.
        outputs: "s n k" logits or "s n" scores by `ARM` or `ARM|CONTROL`, a row a seed.
        probabilities: "s n k" by arm, each fold and seed at its own temperature; empty for scores.
        raw: the same before.
        confidence: by arm, the thresholds "s n" that answer 80 % of val.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    present: tuple[tuple[str, ...], ...]
    fold: tuple[int, ...]
    target: NDArray[Any]
    classes: tuple[str, ...] | None
    outputs: dict[str, NDArray[Any]]
    probabilities: dict[str, NDArray[Any]]
    raw: dict[str, NDArray[Any]]
    confidence: dict[str, NDArray[Any]]

    @property
    def model(self) -> str:
        """The first arm: what the others are held against."""
        return next(iter(self.outputs))

    @property
    def metric(self) -> Metric:
        """Accuracy for classes, mean absolute error for scores."""
        return MAE if self.classes is None else ACCURACY

    def predictions(self, name: str) -> NDArray[Any]:
        """Class names or scores, "s n"."""
        outputs = self.outputs[name]
        return outputs if self.classes is None else np.asarray(self.classes)[outputs.argmax(-1)]

    def scores(self, name: str) -> NDArray[np.float64]:
        """1 or 0 for right and wrong classes, absolute errors for scores, "s n"."""
        said = self.predictions(name)
        right = np.abs(said - self.target) if self.classes is None else said == self.target
        return np.asarray(right, np.float64)


def said(arms: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], coverage: float = 0.8) -> Said:
    """Put the jobs' values together: for each arm a row a seed, in it the folds, as `judged` gave them.

    Args:
        arms: values by arm, seed and fold, the model first.
        coverage: share of val that the confidence thresholds answer.
    """
    first = next(iter(arms.values()))[0]
    rows = [(fold, row) for fold, value in enumerate(first) for row in value["rows"]]
    classes = first[0]["classes"]
    joined: dict[str, NDArray[Any]] = {}
    chances: dict[str, dict[str, NDArray[Any]]] = {"raw": {}, "cooled": {}, "sure": {}}
    for arm, seeds in arms.items():
        for key in seeds[0][0]["outputs"]:
            joined[arm if key == "full" else f"{arm}|{key}"] = np.stack(
                [np.concatenate([value["outputs"][key] for value in folds]) for folds in seeds]
            )
        if classes is not None:
            cells = [[_cooled(value, coverage) for value in folds] for folds in seeds]
            for i, name in enumerate(chances):
                chances[name][arm] = np.stack([np.concatenate([c[i] for c in folds]) for folds in cells])
    return Said(
        ids=tuple(row["id"] for _, row in rows),
        groups=tuple(row["group"] for _, row in rows),
        present=tuple(tuple(row["present"]) for _, row in rows),
        fold=tuple(fold for fold, _ in rows),
        target=np.asarray([row["target"] for _, row in rows]),
        classes=None if classes is None else tuple(classes),
        outputs=joined,
        probabilities=chances["cooled"],
        raw=chances["raw"],
        confidence=chances["sure"],
    )


def _cooled(value: Mapping[str, Any], coverage: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Probabilities on test before and after the temperature that val asks for, and val's threshold."""
    t = fit_temperature(value["val"], value["val_target"])
    sure = coverage_threshold(tempered(value["val"], t).max(1), coverage)
    logits = value["outputs"]["full"]
    return tempered(logits), tempered(logits, t), np.full(len(logits), sure)
