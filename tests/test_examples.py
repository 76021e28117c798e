"""The examples run as a person would run them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile

from polymodal.media import read

ROOT = Path(__file__).parents[1]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / "own_data.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def sounds(tmp_path) -> Path:
    source = tmp_path / "mine"
    (source / "faces").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("u1", "u2"):
        soundfile.write(source / f"{name}.wav", rng.uniform(-1, 1, 4000), 8000)
    PIL.Image.new("RGB", (4, 4), (9, 0, 0)).save(source / "faces/u1.png")
    rows = "id,label,group,text,split\nu1,joy,anna,Oh good,train\nu2,,ben,,\nu3,joy,ben,Only words,test\n"
    (source / "labels.csv").write_text(rows)
    return source


def test_sounds_pictures_and_a_table_of_labels_become_a_data_set(sounds, tmp_path):
    done = run(sounds, tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert "3 samples written" in done.stdout
    assert "audio: 2 of 2 readable" in done.stdout
    first, second, third = read(tmp_path / "set")
    assert (first.id, first.target, first.group, first.tags) == ("u1", "joy", "anna", {"split": "train"})
    assert set(first.parts) == {"audio", "image", "text"}
    assert (second.target, set(second.parts)) == (None, {"audio"})
    assert third.parts["text"].read() == "Only words"


def test_folders_named_by_class_become_a_data_set(tmp_path):
    for level, name in enumerate(("cats", "dogs")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (4, 4), (level, 0, 0)).save(tmp_path / "mine" / name / "1.png")
    done = run(tmp_path / "mine", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    assert [(sample.id, sample.target) for sample in read(tmp_path / "set")] == [
        ("cats/1.png", "cats"),
        ("dogs/1.png", "dogs"),
    ]


def test_mistakes_are_answered_and_not_traced(tmp_path, sounds):
    assert run().stderr.startswith("Turn your own files into a data set.")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/notes.txt").touch()
    done = run(sounds, tmp_path / "set")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "not empty" in done.stderr
    (sounds / "u1.xyz").touch()
    done = run(sounds, tmp_path / "other")
    assert ".xyz is none of" in done.stderr
    assert "Traceback" not in done.stderr
