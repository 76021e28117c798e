"""The face of the metrics floor: light to import, every metric with direction, range and task."""

import subprocess
import sys

import numpy as np
import pytest

from polymodal import metrics

MEMBERS = [value for name in metrics.__all__ if isinstance(value := getattr(metrics, name), metrics.Metric)]
HEAVY = ("torch", "scipy", "sklearn", "pandas", "pyarrow")


def test_importing_it_loads_nothing_heavy():
    code = f"import sys, polymodal.metrics; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("metric", MEMBERS, ids=lambda metric: metric.name)
def test_every_metric_states_itself_and_refuses_nothing(metric):
    assert metric.better in ("higher", "lower")
    assert metric.task in ("classes", "scores", "probabilities")
    assert metric.low < metric.high
    assert metric.per_sample is None or metric.sums is None
    assert (metric.sums is None) == (metric.of_sums is None)
    empty = np.empty((0, 2)) if metric.task == "probabilities" else np.empty(0)
    with pytest.raises(ValueError, match="no samples"):
        metric.score(np.empty(0), empty)
    with pytest.raises(ValueError, match="no samples"):
        metrics.estimate(metric, np.empty(0), empty)


def test_names_are_unique():
    assert len({metric.name for metric in MEMBERS}) == len(MEMBERS) == 14
