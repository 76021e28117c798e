import io
import struct
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from polymodal.media import Limits, MediaError, Series
from polymodal.testing import check_part

NAN = np.nan


def npy(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def header(shape: str, dtype: str = "<f8", data: bytes = b"") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data


def parquet(columns: dict[str, object]) -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()


def reason(series: Series) -> tuple[str, str]:
    with pytest.raises(MediaError) as caught:
        series.values()
    assert "<bytes>" in str(caught.value) or "<array>" in str(caught.value)
    return caught.value.reason, caught.value.what


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "<i8", "|u1", "|b1"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy(dtype: str, version: tuple[int, int]) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    for order in (array, np.asfortranarray(array)):
        values = Series(npy(order, version)).values()
        np.testing.assert_array_equal(values, array.astype(np.float64))
        assert values.dtype == np.float64


def test_one_axis_is_one_row_and_three_are_refused() -> None:
    for source in (np.arange(3), npy(np.arange(3))):
        np.testing.assert_array_equal(Series(source).values(), [[0, 1, 2]])
    assert (
        reason(Series(np.zeros((1, 2, 3))))[0] == reason(Series(npy(np.zeros((1, 2, 3)))))[0] == "unsupported"
    )
    assert Series(npy(np.array(5.0))).values().tolist() == [[5.0]]
    assert reason(Series(np.zeros((0, 3)))) == ("empty", "a series of (0, 3) cells")


def test_npy_headers_that_lie_or_hide_objects() -> None:
    found = "1,000,000,000,000 cells, the limit is 50,000,000"
    assert reason(Series(header("(1000000, 1000000)"))) == ("too_large", found)
    assert reason(Series(header("(1000, 10)", data=bytes(80))))[0] == "broken"
    assert reason(Series(header("(-1, -10)", data=bytes(80))))[0] == "broken"
    assert reason(Series(header("(3,)", dtype="|O", data=bytes(24)))) == (
        "unsupported",
        "cells of type object, numbers wanted",
    )
    assert reason(Series(header("(3,)", dtype="<U4", data=bytes(48))))[0] == "unsupported"
    assert reason(Series(header("(3,)", dtype="<c16", data=bytes(48))))[0] == "unsupported"
    assert reason(Series(header("(" * 4000)))[0] == "broken"
    assert reason(Series(header("__import__('os').getpid()")))[0] == "broken"
    assert reason(Series(b"\x93NUMPY\x09\0" + bytes(100)))[0] == "broken"


def test_arrays() -> None:
    array = np.array([[1.0, NAN], [3.0, np.inf]])
    series = Series(array, rate=100.0)
    np.testing.assert_array_equal(series.values(), array)
    np.testing.assert_array_equal(Series(series.encoded()).values(), array)
    assert series.suffix() == ".npy"
    assert repr(series) == "Series(<array>)"
    assert reason(Series(np.array(["a"])))[0] == "unsupported"
    assert reason(Series(array, columns=("a",)))[0] == "unsupported"
    assert reason(Series(array, limits=Limits(cells=3))) == ("too_large", "4 cells, the limit is 3")
    check_part(series)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("\ufeffa,b\r\n1,2\r\n\r\n3,\r\n", [[1, 2], [3, NAN]]),
        ('"a, b",c\n"1", -2e3 ', [[1, -2000]]),
        ("a\nNaN\nNA\nnull\ninf\n", [[NAN], [NAN], [NAN], [np.inf]]),
        ("7", [[7]]),
        (",1\n", [[NAN, 1]]),
    ],
)
def test_csv(text: str, values: list[list[float]]) -> None:
    series = Series(text.encode())
    np.testing.assert_array_equal(series.values(), values)
    assert series.suffix() == ".csv"


@pytest.mark.parametrize(
    ("data", "columns", "kind"),
    [
        (b"a,b\n", (), "empty"),
        (b"\n", (), "empty"),
        (b"1,2\n3\n", (), "broken"),
        (b"a\n1\nx\n", (), "broken"),
        (b"a\n\xff\n", (), "broken"),
        (b'"a\n1\n', (), "broken"),
        (b"1,2\n", ("a",), "broken"),
        (b"a,b\n1,2\n", ("c",), "broken"),
        (b"1," * 200_000, (), "too_large"),
        (b'"' + b"a\n" * 100_000, (), "broken"),
    ],
)
def test_csv_that_is_none(data: bytes, columns: tuple[str, ...], kind: str) -> None:
    assert reason(Series(data, columns))[0] == kind


def test_csv_limits_and_lines() -> None:
    assert reason(Series(b"1,2\n" * 9, limits=Limits(cells=10))) == ("too_large", "12 cells, the limit is 10")
    assert reason(Series(b"1,2\n" * 9, limits=Limits(bytes=10)))[0] == "too_large"
    assert reason(Series(b"1,2\n1,2,3\n")) == ("broken", "line 2 has 3 cells, not 2")


def test_parquet(tmp_path: Path) -> None:
    columns = {"a": [1.0, None, 3.0], "b": [1, 2, 3], "c": [True, False, None], "text": ["x", "y", "z"]}
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(columns))
    series = Series(path, columns=("c", "a", "b"))
    np.testing.assert_array_equal(series.values(), [[1, 1, 1], [0, NAN, 2], [NAN, 3, 3]])
    assert series.suffix() == ".parquet"
    assert series.digest() == Series(path.read_bytes(), ("c", "a", "b")).digest() != Series(path).digest()
    assert reason(Series(path.read_bytes())) == ("unsupported", "column 'text' holds no plain numbers")
    assert reason(Series(path.read_bytes(), ("z",))) == ("broken", "no column 'z'")
    lists = parquet({"a": [[1.0], [2.0]]})
    assert reason(Series(lists))[0] == "unsupported"
    assert reason(Series(path.read_bytes(), ("a", "b"), limits=Limits(cells=5)))[0] == "too_large"
    assert reason(Series(path.read_bytes()[:-20]))[0] == "broken"


def test_parquet_of_very_many_rows_and_columns() -> None:
    """Run lengths: a file of some kilobytes holds eighty million cells."""
    stream = io.BytesIO()
    table = pyarrow.table({name: np.zeros(1_000_000) for name in "abcdefgh"})
    with pyarrow.parquet.ParquetWriter(stream, table.schema) as writer:
        for _ in range(10):
            writer.write_table(table)
    found = "80,000,000 cells, the limit is 50,000,000"
    assert len(stream.getvalue()) < 500_000
    assert reason(Series(stream.getvalue())) == ("too_large", found)


def test_a_file_keeps_its_digest_under_another_name(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.arange(3))
    assert Series(tmp_path / "a.npy").digest() == Series(tmp_path / "b.npy").digest()
    assert Series(tmp_path / "a.npy").encoded() == (tmp_path / "a.npy").read_bytes()
    with pytest.raises(MediaError, match=r"c\.npy: no such file"):
        Series(tmp_path / "c.npy").values()
