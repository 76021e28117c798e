import json
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polymodal.media import Audio, Image, Invalid, Limits, MediaError, Pose, Sample, Series, Text, Video
from polymodal.media.folder import read


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with one picture and one table, ready for rows."""
    (tmp_path / "media").mkdir()
    PIL.Image.new("RGB", (3, 2), (255, 0, 0)).save(tmp_path / "media/red.png")
    np.save(tmp_path / "media/t.npy", np.eye(2))
    (tmp_path / "note.txt").write_text("from a file")
    return tmp_path


def lines(folder: Path, *rows, name: str = "samples.jsonl") -> Path:
    told = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / name).write_bytes(b"\n".join(told) + b"\n")
    return folder


def table(folder: Path, name: str = "samples-00000.parquet", **columns) -> Path:
    pq.write_table(pa.table(columns), folder / name)
    return folder


def only(folder: Path, **options):
    (found,) = read(folder, **options)
    return found


def test_a_row_in_words(place):
    row = {
        "id": "u1",
        "group": "anna",
        "target": "joy",
        "tags": {"split": "train", "take": 3, "seen": True, "none": None},
        "said": "Well, look at red.png",
        "url": "https://example.org/x",
        "seen": "media/red.png",
        "file": "note.txt",
        "felt": [[1, 2], [3, None]],
        "flat": [1, 2.5],
        "there": {"position": [1, 2, 3], "rotation": [0, 0, 0, 1]},
        "here": {"position": [0, 0, 0]},
        "none": None,
        "empty": "",
        "nothing": [],
    }
    sample = only(lines(place, row))
    assert (sample.id, sample.group, sample.target) == ("u1", "anna", "joy")
    assert sample.tags == {"split": "train", "take": 3, "seen": "true"}
    assert set(sample.parts) == {"said", "url", "seen", "file", "felt", "flat", "there", "here"}
    assert sample.parts["said"].read() == "Well, look at red.png"
    assert sample.parts["url"].read() == "https://example.org/x"
    assert sample.parts["file"].read() == "from a file"
    assert sample.parts["seen"].pixels().tolist() == [[[255, 0, 0]] * 3] * 2
    assert np.array_equal(sample.parts["felt"].values(), [[1, 2], [3, np.nan]], equal_nan=True)
    assert sample.parts["flat"].values().tolist() == [[1, 2.5]]
    assert sample.parts["there"] == Pose((1, 2, 3), (0, 0, 0, 1))
    assert sample.parts["here"] == Pose((0, 0, 0))


def test_a_row_in_objects(place):
    for name in ("a.bin", "b.bin", "c.bin"):
        (place / name).write_bytes(b"never opened here")
    row = {
        "id": 7,
        "said": {"text": "hello.wav", "language": "en"},
        "heard": {"path": "a.bin", "kind": "audio", "start": 1, "end": 2.5},
        "filmed": {"path": "b.bin", "kind": "video", "start": 0.5},
        "felt": {"path": "c.bin", "kind": "series", "columns": ["x", "y"], "rate": 50},
        "values": {"values": [[1], [2]], "rate": 4},
    }
    sample = only(lines(place, row))
    assert sample.id == "7"
    assert sample.parts["said"] == Text("hello.wav", "en")
    heard, filmed, felt = sample.parts["heard"], sample.parts["filmed"], sample.parts["felt"]
    assert (type(heard), heard.start, heard.end) == (Audio, 1, 2.5)
    assert (type(filmed), filmed.start, filmed.end) == (Video, 0.5, None)
    assert (type(felt), felt.columns, felt.rate) == (Series, ("x", "y"), 50)
    assert sample.parts["values"].values().tolist() == [[1], [2]]


BAD = {
    "not JSON": (b'{"id": "a"', "broken"),
    "not UTF-8": (b'{"id": "\xff"}', "broken"),
    "no object": (b"[1, 2]", "broken"),
    "too deep": (b"[" * 100_000, "broken"),
    "endless integer": (b'{"id": ' + b"9" * 5000 + b"}", "broken"),
    "no id": ({"text": "hi"}, "id"),
    "id that is a list": ({"id": ["a"]}, "id"),
    "doubled id": ({"id": "first"}, "id"),
    "target NaN": (b'{"id": "a", "target": NaN}', "target"),
    "target a list": ({"id": "a", "target": [1]}, "target"),
    "group a list": ({"id": "a", "group": [1]}, "group"),
    "tags a list": ({"id": "a", "tags": [1]}, "tags"),
    "tags nested": ({"id": "a", "tags": {"x": {}}}, "tags"),
    "tags no JSON": ({"id": "a", "tags": "{x"}, "tags"),
    "a lone number": ({"id": "a", "age": 3}, "kind"),
    "a truth": ({"id": "a", "seen": True}, "kind"),
    "words in a list": ({"id": "a", "x": ["one", "two"]}, "kind"),
    "ragged": ({"id": "a", "x": [[1, 2], [3]]}, "kind"),
    "three axes": ({"id": "a", "x": [[[1]]]}, "kind"),
    "unknown object": ({"id": "a", "x": {"colour": "red"}}, "kind"),
    "unknown kind": ({"id": "a", "x": {"path": "media/red.png", "kind": "smell"}}, "kind"),
    "unknown suffix": ({"id": "a", "x": "media/odd.xyz"}, "kind"),
    "unknown suffix in an object": ({"id": "a", "x": {"path": "media/odd.xyz"}}, "unsupported"),
    "option of another kind": ({"id": "a", "x": {"path": "media/red.png", "start": 1}}, "unsupported"),
    "option of other values": ({"id": "a", "x": {"values": [1], "start": 1}}, "kind"),
    "odd option": ({"id": "a", "x": {"path": "media/t.npy", "columns": "x"}}, "kind"),
    "odd time": ({"id": "a", "x": {"path": "a.wav", "start": -1}}, "kind"),
    "path a number": ({"id": "a", "x": {"path": 3}}, "kind"),
    "bytes in JSON": ({"id": "a", "x": {"bytes": "iVBO", "kind": "image"}}, "kind"),
    "pose too short": ({"id": "a", "x": {"position": [1, 2]}}, "broken"),
    "pose of words": ({"id": "a", "x": {"position": "abc"}}, "kind"),
    "missing file": ({"id": "a", "x": "media/blue.png"}, "missing"),
    "a folder": ({"id": "a", "x": {"path": "media", "kind": "image"}}, "missing"),
    "absolute": ({"id": "a", "x": "/etc/motd.txt"}, "path"),
    "up": ({"id": "a", "x": "media/../../x.png"}, "path"),
    "up, other slashes": ({"id": "a", "x": "..\\x.png"}, "path"),
    "a drive": ({"id": "a", "x": "C:\\x.png"}, "path"),
    "an address": ({"id": "a", "x": "https://example.org/x.png"}, "path"),
    "a file address": ({"id": "a", "x": {"path": "file:///etc/passwd", "kind": "text"}}, "path"),
    "by a link": ({"id": "a", "x": "media/link.png"}, "path"),
    "by a linked folder": ({"id": "a", "x": "out/x.png"}, "path"),
    "zero byte": (b'{"id": "a", "x": "a\\u0000b.png"}', "path"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_row_is_named_and_the_others_are_read(tmp_path_factory, place, name):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.png").write_bytes(b"secret")
    (place / "media/link.png").symlink_to(outside / "x.png")
    (place / "out").symlink_to(outside)
    (place / "media/odd.xyz").write_bytes(b"?")
    row, reason = BAD[name]
    lines(place, {"id": "first", "x": "media/red.png"}, b"  ", row, {"id": "last", "y": "text"})
    first, bad, last = read(place)
    assert (first.id, last.id) == ("first", "last")
    assert isinstance(bad, Invalid)
    assert (bad.where, bad.reason) == ("samples.jsonl:3", reason)
    assert bad.detail
    if isinstance(row, dict) and isinstance(row.get("id"), str):
        assert bad.id == row["id"]
    if "x" in (row if isinstance(row, dict) else {}):
        assert "part 'x'" in bad.detail


def test_a_missing_file_can_be_left_to_whoever_decodes_it(place):
    lines(place, {"id": "a", "x": "media/blue.png", "y": "words"})
    sample = only(place, missing="absent")
    assert sample.parts["y"].read() == "words"
    with pytest.raises(MediaError, match=r"blue\.png"):
        sample.parts["x"].pixels()


def test_limits_hold_for_rows_and_reach_the_parts(place):
    long = {"id": "b", "text": "x" * 300}
    lines(
        place,
        {"id": "a", "seen": "media/red.png", "felt": [1, 2]},
        long,
        {"id": "c", "x": [1, 2, 3]},
        {"id": "d"},
    )
    first, second, third, last = read(place, limits=Limits(bytes=200, cells=2, pixels=5))
    assert (second.where, second.reason) == ("samples.jsonl:2", "too_large")
    assert (third.reason, last.id) == ("too_large", "d")
    with pytest.raises(MediaError, match="pixels"):
        first.parts["seen"].pixels()


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        ([1, 2, 1], ["1", "2", "1"]),
        ([1, 2.5, 3], [1.0, 2.5, 3.0]),
        ([1, None, 2e0], [1.0, None, 2.0]),
        (["1", "", True], ["1", None, "true"]),
        ([-2, "joy"], ["-2", "joy"]),
    ],
)
def test_whole_numbers_are_classes_unless_a_score_is_among_them(tmp_path, targets, found):
    rows = [{"id": str(n), "target": target, "t": 'say "target": 1.5'} for n, target in enumerate(targets)]
    assert [sample.target for sample in read(lines(tmp_path, *rows))] == found
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    for n, row in enumerate(rows):
        lines(sharded, row, b'broken "target": 1.5', name=f"samples-{n}.jsonl")
    assert [sample.target for sample in read(sharded) if isinstance(sample, Sample)] == found


def test_parquet_shards_in_order_with_every_way_to_say_a_part(tmp_path):
    png = (Path(PIL.__file__), tmp_path / "p.png")[1]
    PIL.Image.new("RGB", (2, 2)).save(png)
    encoded = png.read_bytes()
    table(
        tmp_path,
        "b.parquet",
        id=["3"],
        target=pa.array([2], pa.int64()),
        said=["last"],
    )
    table(
        tmp_path,
        "a.parquet",
        id=pa.array([1, 2]),
        group=pa.array([4.0, None]),
        target=pa.array([0, 1], pa.int8()),
        tags=pa.array([[("a", "x")], None], pa.map_(pa.string(), pa.string())),
        said=["hi there", None],
        seen=[{"bytes": encoded, "path": "x.png"}, {"bytes": None, "path": "p.png"}],
        kind=[{"bytes": encoded, "kind": "image"}, None],
        flat=[[1.0, 2.0], [3.0, None]],
        grid=[[[1, 2], [3, 4]], None],
        fixed=pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        there=[{"position": [1.0, 2.0, 3.0], "rotation": None}, None],
    )
    first, second, third = read(tmp_path)
    assert [first.id, second.id, third.id] == ["1", "2", "3"]
    assert (first.target, second.target, third.target) == ("0", "1", "2")
    assert (first.group, second.group) == ("4", None)
    assert first.tags == {"a": "x"}
    assert first.parts["seen"].size() == second.parts["seen"].size() == first.parts["kind"].size() == (2, 2)
    assert first.parts["grid"].values().tolist() == [[1, 2], [3, 4]]
    assert first.parts["fixed"].values().tolist() == [[1, 2]]
    assert np.array_equal(second.parts["flat"].values(), [[3, np.nan]], equal_nan=True)
    assert first.parts["there"] == Pose((1, 2, 3))
    assert set(second.parts) == {"seen", "flat", "fixed"}


def test_parquet_scores_tags_and_bad_cells(tmp_path):
    table(
        tmp_path,
        id=["a", "b", "c", "d", "e", None],
        target=[1.0, float("nan"), None, 2.5, 3.0, 4.0],
        tags=['{"k": 1}', None, "", "{", None, None],
        x=pa.array([[[1, 2], [3, 4]], None, None, None, [[1], [2, 3]], None]),
    )
    found = list(read(tmp_path))
    assert [getattr(row, "target", getattr(row, "reason", "")) for row in found] == [
        1.0,
        "target",
        None,
        "tags",
        "kind",
        "id",
    ]
    assert found[0].tags == {"k": 1}
    assert found[4].where == "samples-00000.parquet:5"
    table(tmp_path, "t.parquet", id=["z"], seen=[{"bytes": b"?", "path": None}])
    assert list(read(tmp_path))[-1].reason == "kind"


def test_bytes_can_be_text_or_series_only_where_that_makes_sense(tmp_path):
    table(
        tmp_path,
        id=["a", "b"],
        x=[
            {"bytes": b"1,2\n", "kind": "series", "start": None},
            {"bytes": b"1", "kind": "series", "start": 2.0},
        ],
        y=[None, {"bytes": b"abc", "kind": "text", "start": None}],
    )
    good, bad = read(tmp_path)
    assert good.parts["x"].values().tolist() == [[1, 2]]
    assert bad.reason == "kind"


def test_integers_in_one_shard_are_scores_where_another_has_floats(tmp_path):
    table(tmp_path, "a.parquet", id=["a"], target=[1])
    table(tmp_path, "b.parquet", id=["b"], target=[1.5])
    assert [sample.target for sample in read(tmp_path)] == [1.0, 1.5]


def test_a_damaged_shard_loses_no_row_silently(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"id": [str(n) for n in range(60)], "x": list(rng.normal(size=(60, 50)))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=20, compression="snappy")
    whole = (tmp_path / "a.parquet").read_bytes()
    about = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(1)
    at = about.data_page_offset
    (tmp_path / "a.parquet").write_bytes(whole[:at] + b"\xff" * 400 + whole[at + 400 :])
    found = list(read(tmp_path))
    assert len(found) == 60
    bad = [row for row in found if isinstance(row, Invalid)]
    assert 0 < len(bad) <= 20
    assert {row.reason for row in bad} == {"broken"}
    assert bad[-1].where == "a.parquet:40"
    (tmp_path / "a.parquet").write_bytes(whole[:-30])
    (lost,) = read(tmp_path)
    assert (lost.where, lost.reason) == ("a.parquet:0", "broken")


def test_a_row_group_above_the_limit_is_not_read(tmp_path):
    table(tmp_path, id=["a", "b"], x=[[0.5] * 500] * 2)
    found = list(read(tmp_path, limits=Limits(bytes=10)))
    assert [row.where for row in found] == ["samples-00000.parquet:1", "samples-00000.parquet:2"]
    assert "row group" in found[0].detail


def test_layouts_are_found_in_a_fixed_order(tmp_path):
    table(tmp_path, "x.parquet", id=["parquet"])
    assert only(tmp_path).id == "parquet"
    lines(tmp_path, {"id": "sharded"}, name="samples-1.jsonl")
    assert only(tmp_path).id == "sharded"
    lines(tmp_path, {"id": "single"})
    assert only(tmp_path).id == "single"
    assert only(tmp_path / "samples-1.jsonl").id == "sharded"
    assert only(tmp_path / "x.parquet").id == "parquet"
    (tmp_path / "samples.jsonl").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "samples.jsonl").read_bytes())
    assert only(tmp_path).id == "single"


def test_rows_set_aside_by_a_writer_come_last(tmp_path):
    lines(tmp_path, {"id": "a"})
    lines(
        tmp_path,
        {"id": "b", "where": "x.csv:3", "reason": "broken", "detail": "torn"},
        b"{",
        name="invalid.jsonl",
    )
    first, second, third = read(tmp_path)
    assert isinstance(first, Sample)
    assert second == Invalid("b", "x.csv:3", "broken", "torn")
    assert third.where == "invalid.jsonl:2"


def test_what_is_no_data_set_is_answered_with_what_is_known(tmp_path):
    with pytest.raises(MediaError, match=r"no such file or folder.*samples\.jsonl") as caught:
        read(tmp_path / "none")
    assert caught.value.reason == "missing"
    with pytest.raises(MediaError, match="it has nothing"):
        read(tmp_path)
    (tmp_path / "features.pkl").write_bytes(b"x")
    with pytest.raises(
        MediaError, match=r"it has features\.pkl; wanted: samples\.jsonl.*polymodal data convert"
    ):
        read(tmp_path)
    with pytest.raises(MediaError, match="not a data set"):
        read(tmp_path / "features.pkl")


def test_reading_is_lazy_and_streams(place):
    rows = [{"id": str(n), "seen": "media/red.png"} for n in range(50)]
    samples = read(lines(place, *rows))
    assert next(samples).id == "0"
    (place / "media/red.png").unlink()
    assert isinstance(next(samples), Invalid)
    assert isinstance(next(read(place)), Invalid)
    assert Image(place / "media/red.png").source == place / "media/red.png"
