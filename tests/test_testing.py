"""The public contracts hold for everything of ours, and catch what is broken."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polymodal import metrics
from polymodal.media import Audio, Image, Pose, Series, Text, Video
from polymodal.metrics import ACCURACY, Claim, Metric, above, proportion
from polymodal.runs import Run
from polymodal.testing import check_metric, check_part, check_recipe

METRICS = [value for value in vars(metrics).values() if isinstance(value, Metric)]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_keeps_its_contract(metric: Metric) -> None:
    check_metric(metric)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"better": "lower"}, "lower is better"),
        ({"high": 0.5}, "outside"),
        (
            {"score": lambda target, said: float(np.mean(np.arange(len(said)) * (target == said)) / 60)},
            "order",
        ),
        ({"score": lambda target, said: float(np.mean(target == said)) if len(target) else 1.0}, "empty"),
    ],
)
def test_a_broken_metric_is_caught(change: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_metric(replace(ACCURACY, **change))


@pytest.mark.parametrize(
    "part",
    [
        Text("a"),
        Image(np.zeros((2, 2, 3), np.uint8)),
        Audio(np.zeros(4, np.float32), 8000),
        Video(b"not looked at"),
        Series(np.zeros((2, 2))),
        Pose((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)),
    ],
    ids=lambda part: part.kind,
)
def test_every_part_keeps_its_contract(part: Any) -> None:
    check_part(part)


def test_a_part_that_can_be_changed_is_caught() -> None:
    @dataclass
    class Loose:
        text: str = "a"

        def digest(self) -> str:
            return "0" * 32

    with pytest.raises(AssertionError, match="frozen"):
        check_part(Loose())  # type: ignore[arg-type]


@dataclass(frozen=True)
class Config:
    n: int = 20
    seed: int = 0


def recipe(**change: Any) -> Any:
    """A recipe that counts, whole unless changed."""
    claims = (Claim("more than half", "-", above("counted", 0.5)),)

    def run(config: Config, run: Run) -> dict[str, metrics.Estimate]:
        found = {"counted": proportion(19, config.n), "coin": proportion(10, config.n)}
        legend = {"counted": {"role": "baseline"}, "coin": {"role": "control"}}
        run.section("legend", change.get("legend", legend))
        verdicts = [(claim, *claim.judge(found)) for claim in claims[: change.get("claims", 1)]]
        run.finish(found, verdicts, change.get("fingerprints", {"data": "0" * 32}))
        return found

    return SimpleNamespace(Config=Config, CLAIMS=claims, tiny=Config, full=Config, run=run)


def test_a_whole_recipe_passes(tmp_path: Path) -> None:
    assert check_recipe(recipe(), tmp_path, options={"n": 25}).config["n"] == 25


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"legend": {}}, "baseline and a control"),
        ({"claims": 0}, "claim"),
        ({"fingerprints": {}}, "fingerprint"),
    ],
)
def test_a_recipe_that_says_too_little_is_caught(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=said):
        check_recipe(recipe(**change), tmp_path)
