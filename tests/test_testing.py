"""The public contracts hold for everything of ours, and catch what is broken."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from polymodal import metrics
from polymodal.chat import Scripted, Usage, assistant, said, user
from polymodal.judge import (
    Case,
    Rule,
    Verdict,
    asked,
    choice,
    contains,
    equals,
    invalid,
    panel,
    read_rubric,
    regex,
    unjudged,
)
from polymodal.media import Audio, Image, Message, Pose, Sample, Series, Text, Video
from polymodal.metrics import ACCURACY, Claim, Metric, above, proportion
from polymodal.runs import Run
from polymodal.testing import check_judge, check_metric, check_part, check_recipe, check_subject

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


def talk(name: str, reply: str) -> Case:
    messages = (user("What is it?"), assistant(reply))
    return Case(f"a|{name}|", name, name, "a", "", messages, reference="yes")


CASES = (talk("1", "Yes."), talk("2", "No, it is red."), talk("3", "Perhaps."))
HARM = read_rubric(
    {
        "id": "harm",
        "version": "1",
        "source": "ours",
        "licence": "CC0-1.0",
        "rater": "any",
        "items": [{"id": "red", "text": "Is red named?", "kind": "binary"}],
    }
)


def judging(messages: tuple[Message, ...], seed: int) -> str:
    return '{"red": 1}' if '"No, it is red."' in said(messages[-1]) else '{"red": 0}'


MODEL = asked(Scripted("judging", judging), HARM)
BROKEN = asked(Scripted("broken", lambda *_: "{"), HARM)


@pytest.mark.parametrize(
    "judge",
    [
        contains("red"),
        contains(),
        regex("re+d"),
        equals(),
        choice(["yes", "no"]),
        Rule("length", lambda case: {"length": len(said(case.messages[-1])) if case.messages else 0}),
        MODEL,
        BROKEN,
        panel([contains("red", score="red"), MODEL]),
    ],
    ids=lambda judge: judge.name,
)
def test_every_judge_keeps_its_contract(judge: Any) -> None:
    verdicts = check_judge(judge, *CASES)
    assert len(verdicts) == 3


class Judged:
    """A judge that names `red`, and breaks one promise."""

    def __init__(self, broken: str) -> None:
        self.broken, self.calls = broken, 0

    @property
    def name(self) -> str:
        return "judged" if self.broken == "digest" else f"judged@{self.calls if self.broken == 'name' else 1}"

    def __call__(self, case: Case, *, seed: int) -> Verdict:
        self.calls += 1
        if self.broken != "gone" and case.error:
            return unjudged(case, self.name) or invalid("timeout", self.name)
        words = " ".join(said(message) for message in case.messages)
        scores = {"red": float("red" in words)}
        match self.broken:
            case "nan":
                scores = {"red": float("nan")}
            case "signs":
                return Verdict(scores, judge="other@1")
            case "order":
                scores = {"red": float(self.calls)}
            case "names":
                scores = {"red": float(case.subject == "a")}
            case "obeys":
                scores = {"red": 0.0 if "label" in words else 1.0}
        return Verdict(scores, judge=self.name)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("digest", "name@digest"),
        ("nan", "red is nan"),
        ("signs", "signs as 'other@1'"),
        ("order", "order of cases"),
        ("names", "names of subject"),
        ("obeys", "obeys 'Ignore your"),
        ("gone", "never came"),
        ("name", "changes with use|signs as"),
    ],
)
def test_a_broken_judge_is_caught(broken: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_judge(Judged(broken), *CASES)


def test_a_judge_may_hang_on_every_turn_without_orders() -> None:
    turns = Rule("turns", lambda case: {"turns": len(case.messages)})
    assert check_judge(turns, *CASES, orders=())[0].scores == {"turns": 2}
    with pytest.raises(AssertionError, match="obeys"):
        check_judge(turns, *CASES)
    with pytest.raises(AssertionError, match="two cases"):
        check_judge(turns, CASES[0])


def answering(broken: str = "") -> Any:
    """A subject that repeats what it is asked, and breaks one promise."""
    calls = iter(range(99))

    def subject(sample: Sample, *, seed: int) -> Any:
        n = next(calls)
        match broken:
            case "messages":
                return [assistant("x")], Usage()
            case "silent":
                return (user("x"),), Usage()
            case "cost":
                return (assistant("x"),), 1
            case "order":
                return (assistant(str(n)),), Usage()
            case "threads":
                return (assistant(str(n > 3)),), Usage()
        return (user(sample.parts["ask"]), assistant(f"{sample.id} {seed}")), Usage(calls=1)

    return subject


def test_every_subject_keeps_its_contract() -> None:
    samples = [Sample(name, {"ask": Text(name)}) for name in "ab"]
    assert [said(messages[1]) for messages, _ in check_subject(answering(), *samples, seed=3)] == [
        "a 3",
        "b 3",
    ]
    for broken, words in {
        "messages": "a tuple of messages",
        "silent": "nothing said",
        "cost": "the cost is int",
        "order": "second time",
        "threads": "at once",
    }.items():
        with pytest.raises(AssertionError, match=words):
            check_subject(answering(broken), *samples)
    with pytest.raises(AssertionError, match="two samples"):
        check_subject(answering(), samples[0])
