import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polymodal.media import Invalid, Limits, MediaError, Sample
from polymodal.media.tables import parse_columns, read_tables


@pytest.fixture
def put(tmp_path):
    def write(name: str, content) -> Path:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        elif name.endswith(".parquet"):
            pq.write_table(pa.table(content), path)
        else:
            np.savez(path, **content)
        return path

    return write


def told(rows):
    """What samples say, in short."""
    return [
        (row.id, row.target, row.group, {name: part.values().tolist() for name, part in row.parts.items()})
        if isinstance(row, Sample)
        else (row.id, row.reason)
        for row in rows
    ]


TEXT = "id,x,y,label,speaker\na,1,2,joy,anna\nb,3,,sad,ben\n"


def test_two_tables_in_one_order(put):
    tables = {"text": put("t.csv", TEXT), "audio": put("a.csv", "7,joy\n8,sad\n")}
    with pytest.raises(MediaError, match="column 'speaker' holds text"):
        read_tables(tables)
    first, second = read_tables({"text": tables["text"]}, {"group": "speaker"})
    assert (first.id, first.target, first.group) == ("a", "joy", "anna")
    assert first.parts["text"].values().tolist() == [[1, 2]]
    assert np.isnan(second.parts["text"].values()[0, 1])
    found = list(read_tables({**tables, "audio": put("a.csv", "v\n7\n8\n")}, {"group": "speaker"}))
    assert [row.parts["audio"].values().item() for row in found] == [7, 8]


def test_columns_by_number_without_a_header(put):
    rows = read_tables({"x": put("x.csv", "u1,0.5,1.5,3\nu2,2.5,3.5,4\n")}, {"label": -1, "id": 0})
    assert told(rows) == [("u1", "3", None, {"x": [[0.5, 1.5]]}), ("u2", "4", None, {"x": [[2.5, 3.5]]})]
    rows = read_tables({"x": put("x.csv", "1,2\n3,4\n")})
    assert told(rows) == [("0", None, None, {"x": [[1, 2]]}), ("1", None, None, {"x": [[3, 4]]})]
    with pytest.raises(MediaError, match="no column 9 for label: there are 2"):
        read_tables({"x": put("x.csv", "1,2\n3,4\n")}, {"label": 9})


def test_a_shared_id_joins_in_any_order_and_groups_come_out_of_it(put):
    tables = {
        "text": put("t.csv", "id,x,label\ns1_a,1,p\ns1_b,2,q\ns2_a,3,p\n"),
        "audio": put(
            "a.parquet", {"id": ["s2_a", "s1_a", "s1_b"], "v": [30, 10, 20], "label": ["p", "p", "q"]}
        ),
    }
    rows = list(read_tables(tables, {"group": r"/s(\d)/"}))
    assert told(rows) == [
        ("s1_a", "p", "1", {"text": [[1]], "audio": [[10]]}),
        ("s1_b", "q", "1", {"text": [[2]], "audio": [[20]]}),
        ("s2_a", "p", "2", {"text": [[3]], "audio": [[30]]}),
    ]
    assert [row.group for row in read_tables(tables, {"group": "/^s./"})] == ["s1", "s1", "s2"]
    assert told(read_tables(tables, {"group": "/^s1/"}))[2] == ("s2_a", "group")
    with pytest.raises(MediaError, match="regular expression"):
        read_tables(tables, {"group": "/(/"})


def test_scores_classes_and_splits(put):
    rows = read_tables({"x": put("x.csv", "x,target,split\n1,-2,train\n2,0.5,test\n3,,\n4,nan,train\n")})
    assert told(rows) == [
        ("0", -2.0, None, {"x": [[1]]}),
        ("1", 0.5, None, {"x": [[2]]}),
        ("2", None, None, {"x": [[3]]}),
        ("3", "target"),
    ]
    splits = read_tables({"x": put("x.csv", "x,fold\n1,train\n2,\n")}, {"split": "fold"})
    assert [row.tags for row in splits] == [{"split": "train"}, {}]
    scores = read_tables({"x": put("x.parquet", {"x": [1.0, None], "label": [1.0, 2.0]})})
    assert [row.target for row in scores] == [1.0, 2.0]
    classes = read_tables({"x": put("x.parquet", {"x": [1, 2], "label": [1, 2]})})
    assert [row.target for row in classes] == ["1", "2"]


def test_bad_rows_are_named_and_the_rest_is_read(put):
    content = "id,x,y\na,1,2\nb,1\nc,one,2\na,5,6\nd,7,8\n"
    rows = list(read_tables({"x": put("x.csv", content), "z": put("z.csv", "v\n1\n2\n3\n4\n5\n")}))
    assert [row.id for row in rows if isinstance(row, Sample)] == ["a", "d"]
    b, c, a = (row for row in rows if isinstance(row, Invalid))
    assert (b.where.rpartition("/")[2], b.detail) == ("x.csv:2", "2 cells, 3 expected")
    assert c.detail == "column 'x' holds 'one', no number"
    assert (a.id, a.reason) == ("a", "id")


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ("x\n1\n2\n3\n", "x\n1\n2\n", r"has 3 rows, .*b\.csv has 2; row 3 is in one only"),
        ("id,x\na,1\nb,2\n", "id,x\nb,1\n", "has 2 rows, .* has 1; the first id in one only is 'a'"),
        ("id,x\na,1\n", "id,x\na,1\nz,1\n", "has 1 rows, .* has 2; the first id in one only is 'z'"),
        (
            "x,label\n1,p\n2,q\n3,q\n",
            "x,label\n1,p\n2,r\n3,s\n",
            "label: 2 of 3 rows differ; row 2 is 'q' in .* and 'r'",
        ),
        (
            "x,group\n1,p\n2,q\n",
            "x,group\n1,p\n2,\n",
            "group: 1 of 2 rows differ; row 2 is 'q' in .* and None",
        ),
    ],
)
def test_tables_that_do_not_fit_say_how(put, left, right, said):
    with pytest.raises(MediaError, match=said):
        read_tables({"a": put("a.csv", left), "b": put("b.csv", right)})


def test_labels_written_differently_are_the_same(put):
    tables = {
        "a": put("a.csv", "x,label\n1,2.0\n2,0.5\n"),
        "b": put("b.parquet", {"x": [1, 2], "label": [2, 0.5]}),
    }
    assert [row.target for row in read_tables(tables)] == [2.0, 0.5]
    tables["b"] = put("b.csv", "x,label\n1,2\n2,.5\n")
    assert [row.target for row in read_tables(tables)] == [2.0, 0.5]


def test_npz_of_vectors_and_of_padded_series(put):
    series = np.arange(24.0).reshape(2, 4, 3)
    arrays = {"audio": series, "audio_lengths": [2, 0], "text": np.asfortranarray([[1, 2], [3, 4]])}
    path = put("s.npz", {**arrays, "labels": ["p", "q"], "id": ["a", "b"], "split": ["train", "test"]})
    first, second = read_tables({"audio": path, "text": path})
    assert first.parts["audio"].values().tolist() == series[0, :2].tolist()
    assert set(second.parts) == {"text"}
    assert second.parts["text"].values().tolist() == [[3, 4]]
    assert (first.id, first.target, first.tags) == ("a", "p", {"split": "train"})
    (only, _) = read_tables(
        {"x": put("one.npz", {"features": series, "emotion": [3, 4]})}, {"label": "emotion"}
    )
    assert (only.target, only.parts["x"].values().shape) == ("3", (4, 3))


def test_npz_that_lies_or_lacks_is_refused(put, tmp_path):
    with pytest.raises(MediaError, match=r"no array 'x' of n d or n t d; it has: a b"):
        read_tables({"x": put("two.npz", {"a": np.eye(2), "b": np.eye(2)})})
    with pytest.raises(MediaError, match="x has 2 rows, another array 3"):
        read_tables({"x": put("n.npz", {"x": np.eye(2), "label": [1, 2, 3]})})
    with pytest.raises(MediaError, match="Python objects, a pickle inside"):
        read_tables({"x": put("o.npz", {"x": np.eye(2), "id": np.array(["a", None], object)})})
    with pytest.raises(MediaError, match="bytes"):
        read_tables({"x": put("big.npz", {"x": np.zeros((100, 100))})}, limits=Limits(cells=50))
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive:
        archive.writestr("x.npy", header.ljust(127) + b"\n" + bytes(80))
    with pytest.raises(MediaError, match=r"says \(1000000, 1000000\) of float64, has 80 bytes"):
        read_tables({"x": tmp_path / "lie.npz"})
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(MediaError, match="not a readable"):
        read_tables({"x": tmp_path / "torn.npz"})


def test_parquet_lists_are_series(put):
    nested = {"id": ["a", "b", "c"], "x": [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]], None]}
    first, second, third = read_tables({"x": put("x.parquet", nested)})
    assert first.parts["x"].values().tolist() == [[1, 2], [3, 4]]
    assert second.parts["x"].values().tolist() == [[5, 6]]
    assert third.parts == {}
    flat = read_tables({"x": put("x.parquet", {"x": [[1.0, 2.0], [3.0, 4.0]]})})
    assert [row.parts["x"].values().tolist() for row in flat] == [[[1, 2]], [[3, 4]]]
    with pytest.raises(MediaError, match="only feature column"):
        read_tables({"x": put("x.parquet", {"x": [[1.0]], "y": [1]})})
    with pytest.raises(MediaError, match="'who' holds string: name what it is"):
        read_tables({"x": put("x.parquet", {"x": [1], "who": ["anna"]})})


class Trap:
    def __reduce__(self):
        return os.system, ("true",)


def test_what_is_no_table_is_answered_with_what_to_do(put, tmp_path):
    for name in ("f.pkl", "f.csv"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        with pytest.raises(MediaError, match="polymodal data convert FILE TO"):
            read_tables({"x": tmp_path / name})
    with pytest.raises(MediaError, match=r"\.xls is none of: \.csv \.tsv \.parquet \.npz"):
        read_tables({"x": put("x.xls", "1")})
    with pytest.raises(MediaError, match="no such file"):
        read_tables({"x": tmp_path / "none.csv"})
    with pytest.raises(MediaError, match="no rows"):
        read_tables({"x": put("x.csv", "\n\n")})
    with pytest.raises(MediaError, match="no column 'emotion' for label"):
        read_tables({"x": put("x.csv", "x\n1\n")}, {"label": "emotion"})
    with pytest.raises(MediaError, match="more cells than the limit of 3"):
        read_tables({"x": put("x.csv", "1,2\n3,4\n")}, limits=Limits(cells=3))
    with pytest.raises(MediaError, match="the limit is 3"):
        read_tables({"x": put("x.parquet", {"x": [1, 2, 3, 4]})}, limits=Limits(cells=3))
    for path in (put("k.csv", "id,label\na,b\n"), put("k.parquet", {"id": ["a"]})):
        with pytest.raises(MediaError, match="no feature columns"):
            read_tables({"x": path})
    put("x.parquet", {"x": [1]}).rename(tmp_path / "y.csv")
    with pytest.raises(MediaError, match="not a readable table"):
        read_tables({"x": tmp_path / "y.csv"})


def test_tabs_and_a_single_row(put):
    assert told(read_tables({"x": put("x.tsv", "a\tb\n1\t2\n")})) == [("0", None, None, {"x": [[1, 2]]})]
    assert told(read_tables({"x": put("x.csv", "1,2\n")})) == [("0", None, None, {"x": [[1, 2]]})]
    assert told(read_tables({"x": put("x.csv", "a,b,label\n")})) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("label:NAME,group:NAME", {"label": "NAME", "group": "NAME"}),
        ("label:-1, id:0", {"label": -1, "id": 0}),
        (r"group:/a{1,2}:[,x]$/,label:y", {"group": r"/a{1,2}:[,x]$/", "label": "y"}),
        ("split:my fold", {"split": "my fold"}),
        ("", {}),
    ],
)
def test_columns_are_told_in_one_string(text, found):
    assert parse_columns(text) == found


@pytest.mark.parametrize("text", ["NAME", "labels:x", "label:", "label:x,,id:0", "label=x"])
def test_other_strings_are_answered_with_the_keys(text):
    with pytest.raises(MediaError, match="label group id split"):
        parse_columns(text)
