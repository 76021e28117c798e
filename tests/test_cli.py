"""The verbs as a person types them, on a small set of spoken digits made here."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from polymodal.cli import main, verbs
from polymodal.runs import JobError
from polymodal.runs.executor import Done
from polymodal.systems import shelf

# pure tones tell the digit by a single column, and the audit says so
SMALL = ["-o", "steps=30", "--seeds", "1", "-o", "protocol=speaker", "--executor", "inline"]
SMALL += ["--accept", "label column"]


def typed(*words: str) -> int:
    """Exit code of `polymodal WORDS`, in process."""
    argv, sys.argv = sys.argv, ["polymodal", *words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = argv
    return 0


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `polymodal WORDS`."""
    code = typed(*words)
    return code, *capsys.readouterr()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three speakers say ten digits four times: a tone a digit, a timbre a speaker."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    time = np.arange(1600) / 8000
    for s, speaker in enumerate(("ann", "bob", "cy")):
        for digit in range(10):
            for index in range(4):
                tone = np.sin(2 * np.pi * (200 + 150 * digit + 10 * s) * time)
                wave = 0.3 * tone + 0.02 * rng.normal(size=time.size)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", wave, 8000)
    return folder


@pytest.fixture(scope="session")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the digits."""
    root = tmp_path_factory.mktemp("runs")
    assert typed("run", "sentiment_fusion", "-o", f"data={digits}", *SMALL, "--out", str(root)) == 0
    return root / "sentiment_fusion-1"


def test_list_and_show_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "list")
    assert code == 0
    assert "make   sentiment_fusion" in out
    code, out, _ = call(capsys, "show", "2505.04642")
    assert code == 0
    for heading in ("Claim", "Kept", "Left out", "Try", "Your data", "Measured"):
        assert heading in out
    assert "fusion" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bogus"], "Known: list, show, run"),
        (["show", "sentimental_fusion"], "Did you mean 'sentiment_fusion'?"),
        (["run", "nothing"], "Known: sentiment_fusion"),
        (["run", "sentiment_fusion:huge"], "Known: tiny, full"),
        (["run", "sentiment_fusion", "-o", "dims=3"], "Did you mean 'dim'?"),
        (["run", "sentiment_fusion", "-o", "dim"], "expected KEY=VALUE"),
        (["run", "sentiment_fusion", "-o", "dim=wide"], "option dim=wide"),
        (["run", "sentiment_fusion", "-o", "data=/nowhere/at/all"], "/nowhere/at/all"),
        (["run", "sentiment_fusion", "--resume", "/nowhere/run"], "/nowhere/run"),
        (["run", "sentiment_fusion", "--executor", "magic"], "magic"),
        (["report", "/nowhere/run"], "/nowhere/run"),
        (["compare", "/nowhere/a", "/nowhere/b"], "/nowhere/a"),
        (["predict", "/nowhere/run", "x.wav"], "/nowhere/run"),
        (["data", "check", "/nowhere/data"], "/nowhere/data"),
        (["data", "convert", "/nowhere/x.pkl", "to"], "/nowhere/x.pkl"),
        (["claims", "nothing"], "Known: sentiment_fusion"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_words_are_answered_with_what_is_known(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *words)
    assert code == 2
    assert said in " ".join(err.split()), err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("out/*/result.json"))


def test_run_leaves_a_result_a_report_and_a_model(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["claims"]
    assert (finished / "report" / "index.html").exists()
    assert (finished / "model" / "model.safetensors").exists()
    assert (finished / "predictions.parquet").exists()


def test_report_can_be_made_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = finished / "report" / "index.html"
    before = page.read_bytes()
    code, out, _ = call(capsys, "report", str(finished))
    assert code == 0
    assert str(page) in out
    assert page.read_bytes() == before


def test_claims_come_with_the_verdicts_of_the_newest_run(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "claims", "sentiment_fusion", "--out", str(finished.parent))
    assert code == 0
    assert str(finished.name) in out
    assert "undetermined" in out
    code, out, _ = call(capsys, "claims", "--out", "/nowhere")
    assert code == 0
    assert "not run yet" in out


def test_a_run_compared_with_itself_differs_by_exactly_nothing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "compare", str(finished), str(finished))
    assert code == 0
    assert "0.0000" in out


def test_predict_answers_each_sample_in_json_with_any_part_missing(
    finished: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFFnothing")
    wav = digits / "3_ann_0.wav"
    code, out, _ = call(capsys, "predict", str(finished), str(wav), str(broken), str(tmp_path / "notes.xyz"))
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 3, "one line a file: none is lost"
    good = next(row for row in rows if row["id"] == "3_ann_0")
    assert good["prediction"] in [str(d) for d in range(10)]
    assert abs(sum(good["probabilities"].values()) - 1) < 1e-5
    assert good["present"] == ["audio"]
    assert all(row.get("invalid") or row.get("prediction") is not None for row in rows)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "3.wav").write_bytes(wav.read_bytes())
    (tmp_path / "set" / "samples.jsonl").write_text('{"id": "mine", "audio": "3.wav"}\n{broken\n')
    code, out, _ = call(capsys, "predict", str(finished), str(tmp_path / "set"))
    mine, invalid = (json.loads(line) for line in out.splitlines())
    assert mine["probabilities"] == pytest.approx(good["probabilities"], abs=1e-5)
    assert invalid["invalid"] == "broken"
    code, _, err = call(capsys, "predict", str(finished), str(wav), "--missing", "refuse")
    assert code == 2
    assert "image" in err
    code, _, err = call(capsys, "predict", str(finished), str(wav), "--missing", "maybe")
    assert code == 2


def test_data_check_finds_what_is_wrong_and_says_so_with_its_exit_code(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "data", "check", str(digits), "--quick")
    assert code == 0, out
    assert "120" in out
    rows = [
        {"id": f"s{i}", "group": f"g{i % 4}", "text": f"words number {i} are here", "target": str(i % 2)}
        for i in range(20)
    ]
    rows[3]["audio"] = "gone.wav"
    rows[5]["id"] = "s4"
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = call(capsys, "data", "check", str(tmp_path))
    assert code == 1
    assert "missing" in out
    assert "samples.jsonl:" in out


def test_data_convert_reads_arrays_and_refuses_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pickle

    split = {
        "id": ["v1$_$0", "v1$_$1", "v2$_$0"],
        "raw_text": ["good", "bad", "so so"],
        "text": np.ones((3, 4, 5), np.float32),
        "audio": np.ones((3, 2, 3), np.float32),
        "vision": np.ones((3, 2, 2), np.float32),
        "regression_labels": np.array([1.0, -1.0, 0.0]),
    }
    file = tmp_path / "features.pkl"
    file.write_bytes(pickle.dumps({"train": split, "valid": split, "test": split}))
    code, out, _ = call(capsys, "data", "convert", str(file), str(tmp_path / "set"))
    assert code == 0, out
    assert "samples in" in out
    code, out, _ = call(capsys, "data", "check", str(tmp_path / "set"), "--quick")
    file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code, _, err = call(capsys, "data", "convert", str(file), str(tmp_path / "other"))
    assert code == 2
    assert "system" in err


@pytest.mark.usefixtures("untraced")
def test_a_killed_run_resumes_to_the_same_bytes(finished: Path, digits: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "polymodal", "run", "sentiment_fusion"]
    start = [*words, "-o", f"data={digits}", *SMALL, "--out", str(tmp_path)]
    folder = tmp_path / "sentiment_fusion-1"
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    events = folder / "events.jsonl"
    while process.poll() is None and not (events.exists() and events.read_text().count('"job"') >= 3):
        time.sleep(0.01)  # a wait that spins takes the core that the run needs
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "result.json").exists()
    again = subprocess.run(
        [*words, "--resume", str(folder), "--executor", "inline"], capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert (folder / "result.json").read_bytes() == (finished / "result.json").read_bytes()


def test_resume_refuses_another_configuration(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "run", "sentiment_fusion", "--resume", str(finished), "-o", "dim=7")
    assert code == 2
    assert "dim" in err


def test_missing_extra_is_answered_with_the_pip_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_torch(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(shelf, "load", no_torch)
    code, _, err = call(capsys, "run", "sentiment_fusion")
    assert code == 2
    assert 'pip install "polymodal[nn]"' in err


def test_our_own_faults_keep_their_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> None:
        raise RuntimeError("ours")

    def failed(name: str) -> None:
        raise JobError([Done("fold 1", error="ValueError: theirs")])

    monkeypatch.setattr(shelf, "load", fails)
    with pytest.raises(RuntimeError, match="ours"):
        typed("run", "sentiment_fusion")
    monkeypatch.setattr(shelf, "load", failed)
    code, _, err = call(capsys, "run", "sentiment_fusion")
    assert code == 2
    assert "fold 1" in err
    monkeypatch.setenv("POLYMODAL_TRACEBACK", "1")
    with pytest.raises(LookupError, match="nothing"):
        typed("show", "nothing")


def test_under_torchrun_only_the_first_rank_keeps_and_says_anything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RANK", "1")
    with verbs.ranked(tmp_path, None) as (root, earlier), verbs.live() as watch:
        watch({"kind": "note", "text": "silence"})
        assert root != tmp_path
        assert earlier is None
    assert not root.exists()
    monkeypatch.setenv("RANK", "0")
    with verbs.ranked(tmp_path, None) as (root, _), verbs.live() as watch:
        watch({"kind": "note", "text": "a word"})
        watch({"kind": "progress", "name": "jobs", "n": 1, "of": 2, "key": "fold 1"})
        assert root == tmp_path
    assert "silence" not in (said := capsys.readouterr().err)
    assert "a word" in said


def test_a_missing_extra_that_ended_jobs_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from polymodal.runs import JobError
    from polymodal.runs.executor import Done

    def fail() -> None:
        raise JobError([Done("a", error="ModuleNotFoundError: No module named 'inspect_ai'")])

    monkeypatch.setattr(verbs, "app", fail)
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err
    assert "1 job failed" in told
    assert 'pip install "polymodal[inspect]"' in told


def test_chat_asks_a_model_and_tells_the_cost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, told = call(capsys, "chat", "scripted:say?text=Four.", "What is 2 + 2?")
    assert (code, out) == (0, "Four.\n")
    assert told.startswith("1 call")
    (tmp_path / "a.xyz").write_bytes(b"no picture")
    code, out, told = call(capsys, "chat", "scripted:echo", "What is this?", str(tmp_path / "a.xyz"))
    assert (code, out) == (2, "")
    assert "a.xyz" in told
