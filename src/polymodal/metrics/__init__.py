"""Numbers about answers: estimates with intervals, paired tests, agreement, scores."""
# ruff: isort: skip_file
# fmt: off

from polymodal.metrics.metric import Metric
from polymodal.metrics.estimate import Estimate, bounds, exact, mean, over_seeds, proportion
from polymodal.metrics.significance import benjamini_hochberg, holm, mcnemar, permutation, wilcoxon
from polymodal.metrics.difference import difference, estimate, unpaired
from polymodal.metrics.claim import Check, Checked, Claim, Verdict, above, below, every, inside
from polymodal.metrics.labels import (
    ACCURACY, AUROC, BALANCED_ACCURACY, MACRO_F1, WEIGHTED_F1, ClassScore, Confusion,
    accuracy, auroc, balanced_accuracy, confusion, macro_f1, per_class, weighted_f1)
from polymodal.metrics.scores import (
    ACC5, ACC7, HAS0, MAE, NON0, PEARSON,
    acc5, acc7, has0, has0_classification, has0_regression, mae, non0, pearson)
from polymodal.metrics.calibration import (
    BRIER, ECE, NLL, Bin, Selective,
    brier, coverage_threshold, ece, fit_temperature, nll, reliability, selective, tempered)
from polymodal.metrics.correction import Isotonic, isotonic, rectified, rogan_gladen
from polymodal.metrics.agreement import (
    alpha, effective_judges, error_correlation, estimate_alpha, fleiss, kappa)
from polymodal.metrics.robustness import area, areas, effective
from polymodal.metrics.reliance import Trials, advised, delegated, reliance, reliance_difference, sensitivity
from polymodal.metrics.mixed import Mixed, cumulative_logit, mixed_logit, person_test
from polymodal.metrics.preference import Preference, bradley_terry, elo_k4

__all__ = [  # noqa: RUF022
    "ACC5", "ACC7", "ACCURACY", "AUROC", "BALANCED_ACCURACY", "BRIER", "Bin", "Check", "Checked", "Claim",
    "ClassScore", "Confusion", "ECE", "Estimate", "HAS0", "Isotonic", "MACRO_F1", "MAE", "Metric", "Mixed",
    "NLL", "NON0", "PEARSON", "Preference", "Selective", "Trials", "Verdict", "WEIGHTED_F1", "above", "acc5",
    "acc7", "accuracy", "advised", "alpha", "area", "areas", "auroc", "balanced_accuracy", "below",
    "benjamini_hochberg", "bounds", "bradley_terry", "brier", "confusion", "coverage_threshold",
    "cumulative_logit", "delegated", "difference", "ece", "effective", "effective_judges", "elo_k4",
    "error_correlation", "estimate", "estimate_alpha", "every", "exact", "fit_temperature", "fleiss", "has0",
    "has0_classification", "has0_regression", "holm", "inside", "isotonic", "kappa", "macro_f1", "mae",
    "mcnemar", "mean", "mixed_logit", "nll", "non0", "over_seeds", "pearson", "per_class", "permutation",
    "person_test", "proportion", "rectified", "reliability", "reliance", "reliance_difference",
    "rogan_gladen", "selective", "sensitivity", "tempered", "unpaired", "weighted_f1", "wilcoxon",
]
