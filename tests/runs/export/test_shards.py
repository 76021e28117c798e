import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import soundfile

from polymodal.media import Audio, Image, Invalid, MediaError, Pose, Sample, Series, Text, Video
from polymodal.media.folder import read
from polymodal.runs.export.shards import write

FORMS = [("jsonl", True), ("parquet", True), ("parquet", False)]


def film(path: Path) -> Path:
    import av

    with av.open(str(path), "w") as box:
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 32, 16, "yuv420p"
        for shade in range(0, 200, 20):
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), shade, np.uint8), format="rgb24")
            box.mux(track.encode(frame))
        box.mux(track.encode())
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Media of every kind in files, with names that no one would call safe."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(
        folder / "a picture.JPG", "JPEG"
    )
    soundfile.write(folder / "b.wav", rng.uniform(-1, 1, 800), 8000, subtype="PCM_16")
    film(folder / "film.mp4")
    np.save(folder / "d.npy", rng.normal(size=(5, 3)))
    (folder / "e.csv").write_text("x,y\n1,2\n3,\n")
    (folder / "f.txt").write_text("text in a file\n")
    return folder


def every_kind(source: Path) -> list[Sample]:
    rng = np.random.default_rng(1)
    files = {
        "said": Text(source / "f.txt"),
        "seen": Image(source / "a picture.JPG"),
        "heard": Audio(source / "b.wav", start=0.01, end=0.05),
        "filmed": Video(source / "film.mp4", start=0.2),
        "felt": Series(source / "d.npy", rate=50.0),
        "table": Series(source / "e.csv", columns=("y",)),
        "there": Pose((1.0, 2.5, -3.0), (0.5, 0.5, 0.5, 0.5)),
    }
    arrays = {
        "said": Text("héllo  \n wörld", language="en"),
        "seen": Image(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)),
        "heard": Audio(rng.uniform(-1, 1, 90).astype(np.float32), rate=16000),
        "filmed": Video((source / "film.mp4").read_bytes()),
        "felt": Series(np.array([[1.5, np.nan], [-0.1, 1e-300]])),
        "there": Pose((0.1, 0.2, 0.3)),
    }
    odd = {
        "said": Text("hello.wav"),
        "felt": Series(rng.normal(size=(1000, 9)).astype(np.float32)),
        "x": Text(""),
    }
    return [
        Sample("files", files, "joy", "anna", {"split": "train", "take": 3, "score": 0.25}),
        Sample("arrays", arrays, "1", "ben"),
        Sample("odd", odd),
        Sample("no parts", {}),
    ]


def content(part):
    match part:
        case Text():
            return part.read(), part.language
        case Image():
            return part.pixels().tolist()
        case Audio():
            return part.rate(), part.wave().tolist()
        case Video():
            return [(frame.time, frame.pixels.tobytes()) for frame in part.frames()]
        case Series():
            return part.rate, part.values().shape, part.values().tobytes()
        case Pose():
            return part


@pytest.mark.parametrize(("form", "copy_media"), FORMS)
@pytest.mark.parametrize("shard_rows", [1, 10])
def test_all_six_kinds_come_back_as_they_were(tmp_path, source, form, copy_media, shard_rows):
    samples = every_kind(source)
    count = write(iter(samples), tmp_path / "set", form=form, copy_media=copy_media, shard_rows=shard_rows)
    assert count == len(samples)
    found = list(read(tmp_path / "set"))
    assert [type(sample) for sample in found] == [Sample] * count
    for sample, back in zip(samples, found, strict=True):
        assert (back.id, back.target, back.group, back.tags) == (
            sample.id,
            sample.target,
            sample.group,
            sample.tags,
        )
        assert {name: content(part) for name, part in back.parts.items()} == {
            name: content(part) for name, part in sample.parts.items()
        }
    for name, part in samples[0].parts.items():
        if copy_media or name != "table":
            assert found[0].parts[name].digest() == part.digest()
    again = tmp_path / "again"
    write(found, again, form=form, copy_media=copy_media, shard_rows=shard_rows)
    assert [sample.digest() for sample in read(again)] == [sample.digest() for sample in found]


def test_shards_are_named_in_order_and_a_single_one_plainly(tmp_path):
    samples = [Sample(str(n), {"text": Text(f"number {n}")}) for n in range(25)]
    write(samples, tmp_path / "many", shard_rows=10)
    assert sorted(file.name for file in (tmp_path / "many").iterdir()) == [
        f"samples-0000{n}.jsonl" for n in range(3)
    ]
    assert [sample.id for sample in read(tmp_path / "many")] == [str(n) for n in range(25)]
    write(samples, tmp_path / "one")
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["samples.jsonl"]
    first = json.loads((tmp_path / "one/samples.jsonl").read_text().splitlines()[0])
    assert first == {"id": "0", "text": "number 0"}
    write(samples, tmp_path / "table", form="parquet")
    assert pq.read_table(tmp_path / "table").num_rows == 25


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_nothing_written_is_an_empty_set(tmp_path, form):
    assert write([], tmp_path / "set", form=form) == 0
    assert list(read(tmp_path / "set")) == []


def test_one_content_is_kept_once_and_a_long_film_copied_once(tmp_path, source):
    (tmp_path / "twin.wav").write_bytes((source / "b.wav").read_bytes())
    samples = [
        Sample("1", {"a": Audio(source / "b.wav")}),
        Sample("2", {"a": Audio(tmp_path / "twin.wav")}),
        *(
            Sample(f"cut {n}", {"v": Video(source / "film.mp4", start=n / 10, end=n / 10 + 0.1)})
            for n in range(5)
        ),
    ]
    write(samples, tmp_path / "set")
    assert len(list((tmp_path / "set/media").iterdir())) == 2
    starts = [sample.parts["v"].start for sample in read(tmp_path / "set") if "v" in sample.parts]
    assert starts == [0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_cannot_be_written_is_set_aside_and_read_back(tmp_path, form):
    given = [
        Sample("good", {"t": Text("fine")}),
        Sample("good", {"t": Text("again")}),
        Sample("", {"t": Text("nameless")}),
        Sample("nan", {}, float("nan")),
        Sample("lost", {"a": Audio(tmp_path / "none.wav")}),
        Sample("key", {"tags": Text("a part of a key's name")}),
        Sample("half", {"t": Text("\ud800")}),
        Sample("tag", {}, tags={"x": float("inf")}),
        Invalid("older", "old.csv:7", "id", "there already"),
    ]
    assert write(given, tmp_path / "set", form=form) == 1
    good, *rest = read(tmp_path / "set")
    assert isinstance(good, Sample)
    assert [invalid.id for invalid in rest] == ["good", "", "nan", "lost", "key", "half", "tag", "older"]
    assert [invalid.reason for invalid in rest] == [
        *["broken"] * 3,
        "missing",
        "unsupported",
        "broken",
        "broken",
        "id",
    ]
    assert rest[-1] == given[-1]
    assert "none.wav" in rest[3].detail
    assert write(read(tmp_path / "set"), tmp_path / "copy", form=form) == 1
    assert list(read(tmp_path / "copy"))[1:] == rest


def test_scores_stay_numbers_and_classes_text(tmp_path):
    for form in ("jsonl", "parquet"):
        write(
            [Sample("a", {}, 3.0), Sample("b", {}, -0.5), Sample("c", {})],
            tmp_path / f"scores.{form}",
            form=form,
        )
        assert [sample.target for sample in read(tmp_path / f"scores.{form}")] == [3.0, -0.5, None]
    mixed = [Sample("a", {}, 3.0), Sample("b", {}, "joy")]
    with pytest.raises(ValueError, match="classes or scores"):
        write(mixed, tmp_path / "mixed", form="parquet")
    assert not (tmp_path / "mixed").exists()
    assert write(mixed, tmp_path / "mixed") == 2
    assert [sample.target for sample in read(tmp_path / "mixed")] == [3.0, "joy"]


def test_a_folder_in_use_and_impossible_forms_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        write([], tmp_path)
    with pytest.raises(ValueError, match="jsonl cannot hold media"):
        write([], tmp_path / "set", copy_media=False)
    assert [item.name for item in tmp_path.iterdir()] == ["notes.txt"]


def test_an_error_in_the_source_leaves_nothing(tmp_path):
    def failing():
        yield Sample("a", {"t": Text("one")})
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk"):
        write(failing(), tmp_path / "set", shard_rows=1)
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys
from pathlib import Path
from polymodal.media import Sample, Text
from polymodal.runs.export.shards import write

def samples():
    n = 0
    while True:
        yield Sample(str(n), {"t": Text(f"row {n}")})
        n += 1
        if n == 50:
            print("writing", flush=True)

write(samples(), Path(sys.argv[1]), shard_rows=7, form=sys.argv[2])
"""


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_killed_write_leaves_nothing_that_reads_as_a_data_set(tmp_path, form):
    env = {
        key: value for key, value in os.environ.items() if not key.startswith("COV")
    }  # killed: no coverage
    command = [sys.executable, "-c", SLOW, str(tmp_path / "set"), form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "set").exists()
    (left,) = tmp_path.iterdir()
    assert list(left.glob("samples-*"))
    with pytest.raises(MediaError, match="did not end"):
        read(left)
    assert write([Sample("a", {})], tmp_path / "set", form=form) == 1


def test_memory_does_not_grow_with_rows(tmp_path):
    import tracemalloc

    def samples(n):
        values = np.zeros((1, 300))
        return (Sample(str(row), {"x": Series(values)}) for row in range(n))

    write(samples(10), tmp_path / "warm", form="parquet")
    tracemalloc.start()
    write(samples(2000), tmp_path / "set", shard_rows=100, form="parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 300 * 8
