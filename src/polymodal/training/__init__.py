"""Fitting and judging: splits, the loop, controls, baselines, the leak audit."""

from polymodal.training.splits import (
    Split,
    fingerprint,
    folds,
    grouped,
    leave_one_group_out,
    nested,
    official,
    random_folds,
    stratified,
)

__all__ = [
    "Split",
    "fingerprint",
    "folds",
    "grouped",
    "leave_one_group_out",
    "nested",
    "official",
    "random_folds",
    "stratified",
]
