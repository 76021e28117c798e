"""record, log, atomic, values and result: what a run writes, and what survives."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.runs.toy import recipe, square

from polymodal.media import Audio, Image, Pose, Series, Text, Video
from polymodal.metrics import Claim, above, proportion
from polymodal.runs import JobError, Run, RunError, model_of, newest, passing, read_result
from polymodal.runs.atomic import umask, write_folder, write_json
from polymodal.runs.log import read
from polymodal.runs.pages.exhibit import read_back
from polymodal.runs.result import versions
from polymodal.runs.values import Shelf, pack, unpack

HALF = {"toy/half": proportion(5, 10)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create("toy", {"seed": 3, "dims": (1, 2)}, tmp_path)


def kinds(run: Run) -> list[str]:
    return [entry["kind"] for entry in read(run.folder / "events.jsonl")]


def test_files_become_a_folder_at_once_and_replace_the_one_before(run: Run) -> None:
    run.files("net", {"config.json": b"{}", "old.bin": b"1"})
    made = run.files("net", {"config.json": b"{ }"})
    assert made == run.folder / "net"
    assert {path.name: path.read_bytes() for path in made.iterdir()} == {"config.json": b"{ }"}
    assert run.finish(HALF).files["net/config.json"]["bytes"] == 3


def test_folders_are_numbered_and_never_shared(tmp_path: Path) -> None:
    (tmp_path / "toy-7").mkdir()
    (tmp_path / "toy-x").mkdir()
    (tmp_path / "toy-old-9").mkdir()
    first, second = Run.create("toy", {}, tmp_path), Run.create("toy", {}, tmp_path)
    assert (first.folder.name, second.folder.name) == ("toy-8", "toy-9")
    (tmp_path / "other-1").write_text("a file in the way")
    assert Run.create("other", {}, tmp_path).folder.name == "other-2"


def test_two_that_start_at_once_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Path.mkdir

    def outrun(self: Path, *args: object, **kwargs: object) -> None:
        if self.name == "toy-1" and not self.exists():
            made(self)  # somebody else was faster, between our look and our step
        made(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", outrun)
    assert Run.create("toy", {}, tmp_path).folder.name == "toy-2"


def test_config_is_json_or_refused_by_name(tmp_path: Path) -> None:
    @dataclass
    class Config:
        seed: int = 4
        dims: tuple[int, ...] = (2, 3)
        data: Path = Path("a/b")

    run = Run.create("toy", Config(), tmp_path)
    assert run.config == {"seed": 4, "dims": [2, 3], "data": "a/b"}
    assert run.seed == 4
    with pytest.raises(TypeError, match=r"config\.model is a set"):
        Run.create("toy", {"model": {1}}, tmp_path)
    with pytest.raises(TypeError, match="config is a int"):
        Run.create("toy", 5, tmp_path)


def test_once_remembers_arrays_nan_and_lists(run: Run) -> None:
    made = []

    def work() -> object:
        made.append(1)
        return {
            "x": np.arange(6.0).reshape(2, 3),
            "pair": (1, float("nan")),
            "n": np.int64(3),
            "text": "ä",
            "no": None,
        }

    first = run.once("a", work)
    run.close()
    again = Run.resume(run.folder)
    second = again.once("a", work)
    assert len(made) == 1
    assert repr(first) == repr(second)
    assert second["x"].shape == (2, 3)
    assert second["pair"][0] == 1
    assert np.isnan(second["pair"][1])
    assert kinds(again) == ["started", "job", "resumed", "kept"]


def test_once_names_what_it_cannot_remember(run: Run) -> None:
    with pytest.raises(TypeError, match=r"'bad'\.deep\[1\] is a object"):
        run.once("bad", lambda: {"deep": [0, object()]})
    with pytest.raises(TypeError, match="array of Python objects"):
        run.once("objects", lambda: np.array([object()]))
    with pytest.raises(TypeError, match="key 5"):
        run.once("key", lambda: {5: 1})
    with pytest.raises(ZeroDivisionError):
        run.once("zero", lambda: 1 / 0)
    assert kinds(run) == ["started"] + ["failed"] * 4
    assert run.once("bad", lambda: 1) == 1


def test_map_keeps_order_and_does_the_rest_when_one_fails(run: Run) -> None:
    seen = []
    run._watch = seen.append
    with pytest.raises(JobError, match="no square for -1") as error:
        run.map(square, {"a": (2.0,), "b": (-1.0,), "c": (3.0,)}, name="squares")
    assert error.value.keys == ["b"]
    assert [e["key"] for e in seen if e["kind"] == "progress"] == ["a", "b", "c"]
    assert [e for e in seen if e["kind"] == "progress"][-1]["of"] == 3
    assert "Traceback" in next(e for e in seen if e["kind"] == "failed")["trace"]
    run._watch = None
    assert run.map(square, {"c": (3.0,), "a": (2.0,), "d": (0.0,)}) == {"c": 9.0, "a": 4.0, "d": 0.0}
    assert kinds(run).count("job") == 3


def test_map_reports_a_value_that_cannot_be_kept(run: Run) -> None:
    with pytest.raises(JobError, match="is a complex"):
        run.map(complex, {"a": (1.0,)})


def test_result_is_the_same_after_a_resume_that_redoes_nothing(tmp_path: Path) -> None:
    run = Run.create("toy", {"seed": 7}, tmp_path)
    recipe(run)
    before = (run.folder / "result.json").read_bytes()
    (run.folder / "result.json").unlink()
    again = Run.resume(run.folder)
    assert not again.finished
    recipe(again)
    assert again.finished
    assert (run.folder / "result.json").read_bytes() == before
    timing = json.loads((run.folder / "timing.json").read_text())
    assert timing["sessions"] == 2
    assert set(timing["jobs"]) == {"data", "score", *(f"fold {n}" for n in range(6))}
    assert "seconds" not in before.decode()


def test_result_reads_back(tmp_path: Path) -> None:
    run = Run.create("toy", {"seed": 7}, tmp_path, title="a toy")
    recipe(run)
    result = read_result(run.folder)
    assert result.title == "a toy"
    assert result.estimates["toy/right"].n == 50
    assert result.claims[0]["verdict"] == "reproduced"
    assert result.cost == {"steps": 120, "samples": 300}
    assert set(result.files) == {"predictions.parquet", "folds.csv", "scores.csv", "model/weights.bin"}
    assert result.files["model/weights.bin"]["bytes"] == 512
    assert "numpy" in result.versions
    assert newest("toy", tmp_path) == run.folder
    assert newest("toys", tmp_path) is None
    assert model_of(run.folder) == ("toy", run.folder / "model")
    assert model_of(run.folder / "model") == ("toy", run.folder / "model")


def test_folders_that_are_no_runs_are_told_so(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RunError, match="not finished"):
        read_result(run.folder)
    with pytest.raises(RunError, match="not a run folder"):
        read_result(tmp_path)
    with pytest.raises(RunError, match=r"no config\.json"):
        Run.resume(tmp_path)
    with pytest.raises(RunError, match="made no model"):
        model_of(run.folder)
    with pytest.raises(RunError, match="neither a run folder"):
        model_of(tmp_path)


def test_a_folder_in_use_is_refused_and_then_let_go(run: Run) -> None:
    with pytest.raises(RunError, match="in use by another process"):
        Run.resume(run.folder)
    with run:
        pass
    Run.resume(run.folder).close()


def test_another_configuration_is_refused_by_field(run: Run) -> None:
    run.close()
    with pytest.raises(RunError, match="dims was \\[1, 2\\], now \\[1, 3\\]; seed was 3, now 4"):
        Run.resume(run.folder, config={"seed": 4, "dims": [1, 3]})
    again = Run.resume(run.folder, config={"seed": 3, "dims": (1, 2)})  # the refused one let go
    again.matches({"seed": 3, "dims": [1, 2]})


def test_versions_that_changed_are_said(run: Run) -> None:
    head = json.loads((run.folder / "config.json").read_text())
    head["versions"]["numpy"] = "1.0"
    run.close()
    (run.folder / "config.json").write_text(json.dumps(head))
    Run.resume(run.folder).close()
    result = Run.resume(run.folder).finish(HALF)
    assert result.versions["numpy"] == f"1.0, then {np.__version__}"
    assert result.versions["python"] == versions()["python"]


def test_a_torn_last_line_is_cut_off_and_a_torn_middle_named(run: Run) -> None:
    run.event("note", text="kept")
    run.close()
    path = run.folder / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at": 1, "ki')
    assert len(list(read(path))) == 2
    Run.resume(run.folder).close()
    assert path.read_bytes().startswith(whole + b'{"at": ')
    assert [entry["kind"] for entry in read(path)] == ["started", "note", "resumed"]
    path.write_bytes(b"broken\n" + whole)
    with pytest.raises(ValueError, match="line 1: not an event"):
        list(read(path))
    assert list(read(path.with_name("none.jsonl"))) == []


def test_leftovers_of_a_killed_write_are_swept(run: Run) -> None:
    run.section("notes", ["x"])
    run.close()
    for left in (run.folder / ".partial-a.json", run.folder / "sections" / ".partial-b.json"):
        left.write_text("half")
    (run.folder / ".partial-model").mkdir()
    Run.resume(run.folder).close()
    assert not list(run.folder.rglob(".partial-*"))


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, [1])
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, [float("nan")])

    def fail(place: Path) -> None:
        (place / "half").write_text("x")
        raise OSError("disk full")

    folder = tmp_path / "model"
    write_folder(folder, lambda place: (place / "w").write_text("1"))
    with pytest.raises(OSError, match="disk full"):
        write_folder(folder, fail)
    write_folder(folder, lambda place: (place / "w").write_text("2"))
    assert (folder / "w").read_text() == "2"
    assert json.loads(path.read_text()) == [1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "model"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


def test_tables(run: Run) -> None:
    import pyarrow.parquet as pq

    run.table("a.csv", [{"x": 1, "y": "a,b"}, {"y": "c", "z": 2.5}])
    assert (run.folder / "a.csv").read_text() == 'x,y,z\n1,"a,b",\n,c,2.5\n'
    run.table("a.jsonl", [{"x": 1, "y": "ä\n"}, {"x": None, "y": "c"}])
    assert (run.folder / "a.jsonl").read_text() == '{"x": 1, "y": "ä\\n"}\n{"x": null, "y": "c"}\n'
    run.table("deep/b.parquet", {"id": ["a", "b"], "p": [[0.5, 0.5], None]})
    assert pq.read_table(run.folder / "deep/b.parquet").to_pylist()[0] == {"id": "a", "p": [0.5, 0.5]}
    with pytest.raises(ValueError, match="different lengths"):
        run.table("c.csv", {"a": [1], "b": []})
    with pytest.raises(ValueError, match=r"\.parquet, \.csv or \.jsonl"):
        run.table("c.txt", [])
    with pytest.raises(ValueError, match="outside"):
        run.table("../c.csv", [])
    with pytest.raises(ValueError, match="outside"):
        run.model(lambda place: None, "..")


def test_sections_are_strict_json(run: Run) -> None:
    run.section(
        "groups", [{"group": "a", "estimate": HALF["toy/half"], "x": np.float32(0.5), "y": float("inf")}]
    )
    rows = json.loads((run.folder / "sections/groups.json").read_text())
    assert rows[0]["estimate"]["n"] == 10
    assert (rows[0]["x"], rows[0]["y"]) == (0.5, None)
    with pytest.raises(ValueError, match="lower-case"):
        run.section("../x", [])
    with pytest.raises(TypeError, match=r"section 'notes'\[0\] is a object"):
        run.section("notes", [object()])


def test_values_round_trip_and_shelf_answers(tmp_path: Path) -> None:
    value = {"a": [np.arange(3), {"b": float("-inf")}], "c": True}
    packed, arrays = pack(value)
    back = unpack(json.loads(json.dumps(packed)), arrays)
    assert repr(back) == repr(value)
    shelf = Shelf(tmp_path)
    with pytest.raises(KeyError):
        shelf.get("a")
    shelf.put("a", [1])
    assert "a" in shelf
    assert shelf.get("a") == [1]


def test_media_are_copied_by_content(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "a.PNG"
    picture.write_bytes(Image(np.zeros((4, 5, 3), np.uint8)).encoded())
    name = run.media(Image(picture))
    assert name.endswith(".png")
    assert (run.folder / name).read_bytes() == picture.read_bytes()
    assert run.media(Image(picture)) == name
    assert run.media(Image(np.zeros((4, 5, 3), np.uint8))).endswith(".png")
    tone = np.sin(np.arange(800) / 9).astype(np.float32)
    wav = run.folder / run.media(Audio(tone, rate=8000))
    assert Audio(wav).seconds() == pytest.approx(0.1)
    cut = run.folder / run.media(Audio(wav, start=0.05))
    assert Audio(cut).seconds() == pytest.approx(0.05)
    assert (run.folder / run.media(Text("hé"))).read_text() == "hé"
    assert run.media(Video(b"not decoded here")).endswith(".mp4")
    film = tmp_path / "film.avi"
    film.write_bytes(b"film")
    assert (run.folder / run.media(Video(film))).read_bytes() == b"film"
    series = run.media(Series(np.arange(6.0).reshape(3, 2)))
    pose = run.media(Pose((0.0, 0.0, 1.0)))
    example = {"parts": {"s": {"kind": "series", "path": series}, "p": {"kind": "pose", "path": pose},
                         "gone": {"kind": "image", "path": "media/none.png"},
                         "out": {"kind": "text", "path": "../x"},
                         "said": {"kind": "text", "text": "hi"}}}  # fmt: skip
    parts = read_back(run.folder, example)["parts"]
    assert parts["s"]["shape"] == (3, 2)
    assert parts["s"]["lines"][0].startswith("0.0,26.0 ")
    assert "missing" in parts["gone"]["lost"]
    assert "missing" in parts["out"]["lost"]
    assert parts["said"]["text"] == "hi"
    constant = run.media(Series(np.array([[np.nan, 1.0], [2.0, 1.0]])))
    lines = read_back(run.folder, {"parts": {"s": {"kind": "series", "path": constant}}})["parts"]["s"][
        "lines"
    ]
    assert lines == ["0.0,26.0 100.0,26.0"]


def test_a_passing_run_knows_what_the_earlier_one_did_and_leaves_nothing(run: Run) -> None:
    run.once("a", lambda: 5)
    run.model(lambda place: (place / "w").write_text("x"))
    with passing(run.folder) as (root, copy):
        assert copy is not None
        other = Run.resume(copy)  # while the first one is still open
        assert other.once("a", lambda: 6) == 5
        assert not (copy / "model").exists()
        other.close()
    assert not root.exists()
    with passing() as (root, copy):
        assert copy is None
        Run.create("toy", {}, root).close()


def test_a_failing_claim_stays(run: Run) -> None:
    claim = Claim("more than half", "-", above("toy/half", 0.9))
    result = run.finish(HALF, [(claim, *claim.judge(HALF))])
    assert [row["verdict"] for row in result.claims] == ["not reproduced"]
