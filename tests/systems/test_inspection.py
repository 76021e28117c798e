"""Our systems under `inspect eval`, and our runs in Inspect's viewer, in a real browser."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from tests.runs.showcase import talks
from typer.testing import CliRunner

from polymodal.chat import connect, said
from polymodal.judge import call_seed
from polymodal.metrics import proportion
from polymodal.runs import Run
from polymodal.systems import shelf

ROOT = Path(__file__).parents[2]
FEW = {"conversations": "2", "modes": "mt"}
MODEL = "scripted:open"
EVALS = """
import json, sys
from pathlib import Path
from inspect_ai import eval
from inspect_ai.log import bundle_log_dir, read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

def counted(*_):  # with its usage: the mock model would fetch a vocabulary to count tokens
    output = ModelOutput.from_content("mockllm", "Default output")
    output.usage = ModelUsage(input_tokens=2, output_tokens=2, total_tokens=4)
    return output

home = Path(sys.argv[1])
mock = get_model("mockllm/model", custom_outputs=counted)
how = {"log_dir": str(home / "logs"), "display": "none", "limit": 6}
logs = eval("polymodal/harm_evaluation", model=mock, task_args={"options": sys.argv[2].split(",")}, **how)
logs += eval("polymodal/image_text_relation", model=["polymodal/scripted:relation", mock], **how)
logs += [read_eval_log(path) for path in (home / "shown").glob("2*.eval")]

def told(log):
    samples = [
        {
            "id": sample.id,
            "error": str(sample.error or ""),
            "replies": [m.text for m in sample.messages if m.role == "assistant"],
        }
        for sample in log.samples or []
    ]
    scores = [
        {"name": s.name, "scored": s.scored_samples, "unscored": s.unscored_samples}
        | {name: metric.value for name, metric in s.metrics.items()}
        for s in log.results.scores
    ]
    about = {"status": log.status, "model": log.eval.model, "task": log.eval.task}
    return {**about, "samples": samples, "scores": scores}

(home / "told.json").write_text(json.dumps([told(log) for log in logs]))
bundle_log_dir(str(home / "shown"), str(home / "bundle"))
"""


def run_in(folder: Path, *command: str) -> None:
    """A command with Inspect's own files in `folder`, and no network to speak of."""
    home = {name: str(folder) for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **home, "INSPECT_LOG_DIR": str(folder / "shown"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with conversations."""
    run = Run.create("sentiment_fusion", {"seed": 0}, tmp_path_factory.mktemp("out"), title="Zorb flags")
    talks(run)
    run.finish({"DR/mt": proportion(3, 20), "not measured": proportion(0, 0)})
    return run.folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """Evals by the command line and in Python; a bundle of the first one's log and of our run's."""
    if not entry_points(group="inspect_ai"):
        pytest.skip("installed before its entry point for Inspect was there: pip install -e . once more")
    from polymodal.cli.bridge import inspect_log

    home = tmp_path_factory.mktemp("inspect")
    import typer

    verb = typer.Typer()
    verb.command()(inspect_log)
    said = CliRunner().invoke(verb, [str(finished), str(home / "shown")])
    assert said.exit_code == 0, said.output
    assert f"inspect view start --log-dir {home / 'shown'}" in said.output
    options = ",".join(f"{key}={value}" for key, value in FEW.items())
    command = [str(Path(sys.executable).parent / "inspect"), "eval", "polymodal/harm_evaluation"]
    run_in(home, *command, "--model", f"polymodal/{MODEL}", "--display", "none", "-T", f"options={options}")
    run_in(home, sys.executable, "-c", EVALS, str(home), options)
    return home


@pytest.fixture(scope="module")
def told(home: Path) -> dict[tuple[str, str], Any]:
    logs = json.loads((home / "told.json").read_text())
    return {(log["task"], log["model"]): log for log in logs}


def test_every_eval_ended_well(told: dict[tuple[str, str], Any]) -> None:
    assert len(told) == 4
    for log in told.values():
        assert log["status"] == "success"
        assert len(log["samples"]) == 6
        for sample in log["samples"]:
            assert sample["replies"]
            assert not sample["error"]
        assert all(score["scored"] + score["unscored"] == 6 for score in log["scores"])


def test_the_mock_breaks_no_rule(told: dict[tuple[str, str], Any]) -> None:
    scores = {s["name"]: s for s in told["polymodal/harm_evaluation", "mockllm/model"]["scores"]}
    assert scores["defect"]["mean"] == 0


def test_inspect_gets_the_replies_that_our_run_gets(told: dict[tuple[str, str], Any]) -> None:
    recipe: Any = shelf.load("harm_evaluation")
    config = shelf.configure(recipe, "tiny", FEW)
    model = connect(MODEL, scripts=recipe.SCRIPTS)
    by_id = {s["id"]: s for s in told["polymodal/harm_evaluation", f"polymodal/{MODEL}"]["samples"]}
    rows = list(recipe.inspection(config))
    assert set(by_id) == {row["id"] for row in rows}
    for row in rows:
        talk: tuple[Any, ...] = ()
        turn = row.get("first", 0)
        for message in row["messages"]:
            talk = (*talk, message)
            if message.role == "user":
                reply = model(*talk, seed=call_seed(row["item"], turn, seed=config.seed))
                talk, turn = (*talk, reply.message), turn + 1
        assert by_id[row["id"]]["replies"] == [said(m) for m in talk if m.role == "assistant"]


@pytest.fixture(scope="module")
def page(home: Path) -> Iterator[Any]:
    """The bundle in headless Chromium, served from this machine."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    place = functools.partial(Quiet, directory=str(home / "bundle"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), place)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1300, "height": 900})
        shown.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        yield shown
        browser.close()
    server.shutdown()
    server.server_close()


def opened(page: Any, task: str, sample: str) -> None:
    """Click from the list of logs to a sample.

    The list fills as the logs arrive, and a row that moves under the pointer opens another log: so once
    nothing more is fetched, and again where the sample is not there.
    """
    from playwright.sync_api import TimeoutError as Late

    for last in (False, False, True):
        page.goto(page.url.partition("#")[0])
        page.reload(wait_until="networkidle")
        page.get_by_text(task, exact=True).first.click()
        try:
            page.get_by_text(sample).first.click(timeout=15_000)
            break
        except Late:
            if last:
                raise
    page.locator("img[src^='data:image/']").first.wait_for()
    assert page.locator("img[src^='data:image/']").first.evaluate("image => image.naturalWidth") > 0


def test_the_viewer_shows_a_runs_conversations_and_pictures(page: Any) -> None:
    opened(page, "polymodal/sentiment_fusion", "What is this?")
    words = page.inner_text("body")
    assert "مربع أحمر" in words
    assert "withheld: 9f86d081884c" in words
    assert "media/gone.png" in words
    assert page.title() != "stolen"


def test_the_viewer_shows_an_evals_conversations_and_pictures(page: Any) -> None:
    opened(page, "polymodal/harm_evaluation", "Step 1 of")
    assert "Look at this picture" in page.inner_text("body")


def test_a_log_says_what_the_run_says(finished: Path, tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    from polymodal.systems.inspection import write_log

    log = read_eval_log(str(write_log(finished, tmp_path)))
    assert log.results is not None
    assert log.results.scores[0].metrics["DR/mt"].value == pytest.approx(0.15)
    assert "not measured" not in log.results.scores[0].metrics
    assert log.samples is not None
    sample = log.samples[0]
    assert [m.role for m in sample.messages] == ["user", "user", "assistant", "assistant", "user"]
    assert sample.scores is not None
    assert sample.scores["defect by exact rule"].value == 1
    assert sample.scores["refusal by panel"].reason == "two_labels"
    assert sample.metadata["harm"] == "colour"


def test_a_run_without_conversations_has_no_log(tmp_path: Path) -> None:
    from polymodal.systems.inspection import log_of

    run = Run.create("sentiment_fusion", {"seed": 0}, tmp_path)
    run.section("conversations", [{"id": "p", "turns": [{"role": "post", "path": "../../secret.png"}]}])
    run.finish({"one": proportion(1, 2)})
    log = log_of(run.folder)
    assert log.samples is not None
    assert log.samples[0].messages[0].text == "post: (../../secret.png)"
    bare = Run.create("sentiment_fusion", {"seed": 0}, tmp_path)
    bare.finish({"one": proportion(1, 2)})
    with pytest.raises(ValueError, match="kept no conversations"):
        log_of(bare.folder)


def test_options_may_hold_commas() -> None:
    from polymodal.systems.inspection import _pairs

    assert _pairs("modes=mt,st,seed=3") == {"modes": "mt,st", "seed": "3"}
    assert _pairs(["modes=mt", "st"]) == {"modes": "mt,st"}
    assert _pairs("") == {}
    with pytest.raises(ValueError, match="expected KEY=VALUE"):
        _pairs("tiny")
