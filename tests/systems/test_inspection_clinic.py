"""clinical_dialogue under `inspect eval`: our own talks and figures, limits, broken models."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio import to_thread
from tests.systems.test_inspection import run_in

from polymodal.chat import ChatError, connect, user
from polymodal.chat.inspected import Evaluated
from polymodal.envs import cases as files
from polymodal.envs.clinic.generated import patients
from polymodal.systems import shelf
from polymodal.systems.clinical_dialogue import data, recipe
from polymodal.systems.consulting import places, talked

MIND = "scripted:clinic"
EVALS = """
import json, sys
from pathlib import Path
from inspect_ai import eval
from inspect_ai.model import ModelOutput, ModelUsage, get_model

def counted(*_):
    output = ModelOutput.from_content("mockllm", "Default output")
    output.usage = ModelUsage(input_tokens=2, output_tokens=2, total_tokens=4)
    return output

home, options = Path(sys.argv[1]), sys.argv[2].split(",")
mock = get_model("mockllm/model", custom_outputs=counted)
how = {"log_dir": str(home / "logs"), "display": "none"}
name, mind = "polymodal/clinical_dialogue", "polymodal/scripted:clinic"
logs = eval(name, model=mind, task_args={"options": options}, **how)
logs += eval(name, model=mock, task_args={"options": options, "arm": "plain"}, limit=2, **how)
logs += eval(name, model=mock, task_args={"options": options}, limit=1, token_limit=50, **how)

def told(log):
    samples = [
        {
            "id": sample.id,
            "error": str(sample.error or ""),
            "limit": sample.limit.type if sample.limit else "",
            "talk": [[m.role, m.text] for m in sample.messages],
            "score": sample.scores["consultation"].value,
            "answer": sample.scores["consultation"].answer,
            "group": sample.metadata["group"],
            "calls": sum(event.event == "model" for event in sample.events),
        }
        for sample in log.samples
    ]
    means = {score.name: score.metrics["mean"].value for score in log.results.scores}
    return {"status": log.status, "samples": samples, "means": means}

(home / "told.json").write_text(json.dumps([told(log) for log in logs]))
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A clinic on disk that the scripted mind knows, its patients without pictures."""
    folder, clinic = tmp_path_factory.mktemp("clinic"), data.pocket()
    (folder / "clinic.json").write_text(json.dumps(files.to_json(clinic)))
    rows = [
        {"id": one.id, "diagnosis": one.diagnosis, "initial": one.initial, "group": f"g{i % 2}",
         "findings": {k: {"yes": True, "no": False}.get(v) for k, v in one.findings.items()}}
        for i, one in enumerate(patients(clinic, 3, seed=3))
    ]  # fmt: skip
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"data": str(folder), "turns": "4", "seed": "5"}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, options: dict[str, str]) -> list[Any]:
    home = tmp_path_factory.mktemp("inspect")
    run_in(home, sys.executable, "-c", EVALS, str(home), ",".join(f"{k}={v}" for k, v in options.items()))
    logs: list[Any] = json.loads((home / "told.json").read_text())
    assert [log["status"] for log in logs] == ["success"] * 3
    return logs


def test_inspect_holds_the_consultations_that_our_run_holds(told: Any, options: dict[str, str]) -> None:
    config = shelf.configure(recipe, "tiny", options)
    clinic = recipe.place(config)[0]
    seats = recipe.before(config, connect(MIND, scripts=places.scripts(clinic)))
    by_id = {sample["id"]: sample for sample in told[0]["samples"]}
    assert set(by_id) == {case.id for case in seats.cases}
    for i, case in enumerate(seats.cases):
        found, sample = seats.held("state", i), by_id[case.id]
        (role, note), *talk = sample["talk"]
        roles = {"user": "patient", "assistant": "doctor"}
        assert (role, "not for care" in note) == ("system", True)
        assert [[roles[r], text] for r, text in talk] == [
            [line["role"], line["text"]] for line in talked.spoken(found)
        ]
        row = talked.row(found)
        assert sample["score"]["top1"] == row["right"]
        assert sample["score"]["turns"] == row["asked"] + row["requested"] + row["retakes"] > 0
        assert sample["calls"] == row["calls"] > 0
        assert (sample["group"], sample["error"]) == (case.group, "")
        assert sample["answer"] == next(iter(row["p"]))
    scores = [sample["score"] for sample in told[0]["samples"]]
    for name in ("top1", "top3", "top10", "turns", "malformed", "unsupported", "unfinished"):
        assert told[0]["means"][name] == pytest.approx(sum(s[name] for s in scores) / len(scores))


def test_a_model_that_gives_nothing_valid_is_counted_and_ends_no_case_silently(told: Any) -> None:
    for sample in told[1]["samples"]:
        assert sample["error"] == ""
        assert sample["score"] == {
            "top1": 0, "top3": 0, "top10": 0, "turns": 4, "malformed": 5, "unsupported": 0, "unfinished": 1
        }  # fmt: skip
        assert sample["talk"][-1] == ["assistant", "Goodbye."]


def test_a_sample_that_meets_its_limit_presents_what_it_has_and_says_so(told: Any) -> None:
    (sample,) = told[2]["samples"]
    assert (sample["limit"], sample["error"]) == ("token", "")
    assert sample["talk"][-1] == ["assistant", "Goodbye."]
    assert sample["score"]["unfinished"] == 1


def test_the_evaluated_model_fails_in_our_words_and_keeps_inspects() -> None:
    class LimitExceededError(Exception):
        pass

    class Broken:
        def __init__(self, error: Exception) -> None:
            self.error = error

        async def generate(self, *_: Any, **__: Any) -> Any:
            raise self.error

    for error, reason in ((LimitExceededError("tokens"), "over_budget"), (TimeoutError("late"), "timeout")):
        model: Any = Evaluated(Broken(error))  # type: ignore[arg-type]
        talk = SimpleNamespace(model=model)

        async def main(talk: Any = talk) -> None:
            await to_thread.run_sync(lambda: talk.model(user("Hello."), seed=0))

        with pytest.raises(ChatError) as failed:
            anyio.run(main)
        assert (failed.value.reason, repr(model.failed)) == (reason, repr(error))


def test_an_arm_that_is_not_known_is_named() -> None:
    from polymodal.systems.inspection import clinical_dialogue

    with pytest.raises(ValueError, match="arm=parrot: unknown; known: state"):
        clinical_dialogue(options="cases=1", arm="parrot")
