"""Series of numbers over time: NumPy .npy, CSV and Parquet, measured before they are read."""

import csv
import io
import itertools
import math
import warnings
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from polymodal.media.part import (
    LIMITS,
    Kind,
    Limits,
    MediaError,
    Source,
    bytes_of,
    digest_of,
    head_of,
    name_of,
    opened,
    refusing,
    size_of,
)

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

NUMBERS = ("BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE")
MISSING = ("", "na", "n/a", "null", "none")
WIDTH = 100_000  # columns; every one costs a parser far more than a number does


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Series:
    """Numbers over time, or one row of precomputed features.

    Args:
        source: a .npy, CSV or Parquet file (told by content), its bytes, or an array "t d" or "d".
        columns: names of the columns to keep, in this order; all when empty. CSV (with a header) and Parquet.
        rate: rows a second, where known.
        limits: what decoding may cost.
    """

    source: Source
    columns: tuple[str, ...] = ()
    rate: float | None = None
    limits: Limits = LIMITS
    kind: ClassVar[Kind] = "series"

    def __repr__(self) -> str:
        return f"Series({name_of(self.source)})"

    def values(self) -> Float64[np.ndarray, "t d"]:
        """The numbers, one row a time step; one dimension becomes one row; missing cells are NaN.

        Raises:
            MediaError: missing, empty, broken, unsupported (objects, text, more than two axes), or larger
                than the limits.
        """
        # A header from Python 2 and a signalling NaN are read like any other, without a warning of NumPy's.
        with refusing(self.source, "series"), warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.filterwarnings("ignore", message="Reading `.npy`")
            values = self._read()
        if values.size == 0:
            raise MediaError("empty", name_of(self.source), f"a series of {values.shape} cells")
        return values

    def _read(self) -> Float64[np.ndarray, "t d"]:
        if isinstance(self.source, np.ndarray):
            _check_layout(self.source.dtype, self.source.shape, "<array>", self.limits)
            _no_names(self.columns, "<array>")
            return np.atleast_2d(self.source).astype(np.float64)
        head = head_of(self.source, 8)
        if head.startswith(b"\x93NUMPY"):
            _no_names(self.columns, name_of(self.source))
            return _npy(self.source, self.limits)
        if head.startswith(b"PAR1"):
            return _parquet(self.source, self.columns, self.limits)
        return _csv(self.source, self.columns, self.limits)

    def suffix(self) -> str:
        """The file suffix that fits the encoded bytes. Raises MediaError where there are none."""
        head = b"\x93NUMPY" if isinstance(self.source, np.ndarray) else head_of(self.source, 8)
        return {b"\x93NUM": ".npy", b"PAR1": ".parquet"}.get(head[:4], ".csv")

    def encoded(self) -> bytes:
        """The bytes as they came; an array as .npy. Raises MediaError."""
        if not isinstance(self.source, np.ndarray):
            return bytes_of(self.source, self.limits)
        stream = io.BytesIO()
        np.lib.format.write_array(stream, self.source, allow_pickle=False)
        return stream.getvalue()

    def digest(self) -> str:
        """32 hex digits of the encoded bytes or the array, and of the columns chosen. Raises MediaError."""
        return digest_of("series", self.source, self.columns)


def _no_names(columns: tuple[str, ...], where: str) -> None:
    if columns:
        raise MediaError("unsupported", where, f"columns {columns} of an array that has no column names")


def _check_layout(dtype: np.dtype[Any], shape: tuple[int, ...], where: str, limits: Limits) -> None:
    if dtype.kind not in "biuf":
        raise MediaError("unsupported", where, f"cells of type {dtype}, numbers wanted")
    if len(shape) > 2:
        raise MediaError("unsupported", where, f"{len(shape)} axes, a series has two (time, dim)")
    _check_cells(math.prod(shape), where, limits)


def _check_cells(cells: int, where: str, limits: Limits) -> None:
    if cells > limits.cells:
        raise MediaError("too_large", where, f"{cells:,} cells, the limit is {limits.cells:,}")


def _check_width(columns: int, where: str) -> None:
    if columns > WIDTH:
        raise MediaError("too_large", where, f"{columns:,} columns, the limit is {WIDTH:,}")


def _npy(source: Path | bytes, limits: Limits) -> Float64[np.ndarray, "t d"]:
    where = name_of(source)
    with opened(source) as stream:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream)
        _check_layout(dtype, shape, where, limits)
        cells = math.prod(shape)
        left = size_of(source) - stream.tell()
        if min(shape, default=0) < 0 or cells * dtype.itemsize > left:
            raise MediaError("broken", where, f"the header says {shape} of {dtype}, {left:,} bytes follow")
        data = np.frombuffer(stream.read(cells * dtype.itemsize), dtype=dtype, count=cells)
    values = data.reshape(shape, order="F" if fortran else "C")
    return np.atleast_2d(values).astype(np.float64)


def _lines(stream: BinaryIO, where: str) -> Iterator[str]:
    mark = b"\xef\xbb\xbf"
    for line in stream:
        if len(line) > WIDTH:
            _check_width(line.count(b",") + 1, where)  # before a split makes an object of every cell
        yield line.removeprefix(mark).decode()


def _csv(source: Path | bytes, columns: tuple[str, ...], limits: Limits) -> Float64[np.ndarray, "t d"]:
    """Comma-separated numbers; a first row that is not all numbers is a header; an empty cell is NaN."""
    where = name_of(source)
    with io.BytesIO(bytes_of(source, limits)) as stream:
        rows = csv.reader(_lines(stream, where), strict=True)
        first = next(rows, [])
        header = not _numeric(first)
        names = [name.strip() for name in first] if header else []
        lost = [name for name in columns if name not in names]
        if lost:
            raise MediaError(
                "broken", where, f"no column {lost[0]!r}" if header else "columns wanted, but no header"
            )
        keep = [names.index(name) for name in columns] or list(range(len(first)))
        cells = array("d")
        body: Iterable[list[str]] = rows if header else itertools.chain([first], rows)
        for row in body:
            if not row:
                continue
            if len(row) != len(first):
                raise MediaError(
                    "broken", where, f"line {rows.line_num} has {len(row)} cells, not {len(first)}"
                )
            _check_cells(len(cells) + len(keep), where, limits)
            chosen = [row[position] for position in keep] if columns else row
            try:
                cells.extend([float(cell) for cell in chosen])
            except ValueError:
                cells.extend([_number(cell) for cell in chosen])
    return np.frombuffer(cells, dtype=np.float64).reshape(-1, max(len(keep), 1)).copy()


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() in MISSING:
            return math.nan
        raise


def _numeric(row: list[str]) -> bool:
    try:
        return bool([_number(cell) for cell in row])
    except ValueError:
        return False


def _parquet(source: Path | bytes, columns: tuple[str, ...], limits: Limits) -> Float64[np.ndarray, "t d"]:
    import pyarrow.parquet as parquet

    where = name_of(source)
    with opened(source) as stream, parquet.ParquetFile(stream, pre_buffer=False) as table:
        names = _parquet_columns(table, columns, where, limits)
        out: NDArray[np.float64] = np.empty((table.metadata.num_rows, len(names)))
        at = 0
        for batch in table.iter_batches(batch_size=4096, columns=names, use_threads=False):
            if at + batch.num_rows > len(out):
                raise MediaError("broken", where, f"more rows than the {len(out):,} its footer says")
            for position, name in enumerate(names):
                column = batch.column(name).cast("float64")
                out[at : at + batch.num_rows, position] = column.to_numpy(zero_copy_only=False)
            at += batch.num_rows
    if at != len(out):
        raise MediaError("broken", where, f"{at:,} rows, its footer says {len(out):,}")
    return out


def _parquet_columns(table: "ParquetFile", columns: tuple[str, ...], where: str, limits: Limits) -> list[str]:
    """The columns to read, all of numbers, once rows times columns is known to be within the limits."""
    _check_width(table.metadata.num_columns, where)
    schema = [table.schema.column(position) for position in range(table.metadata.num_columns)]
    known = {column.path: column for column in schema}
    names = list(columns or known)
    for name in names:
        if name not in known:
            raise MediaError("broken", where, f"no column {name!r}")
        if known[name].max_repetition_level or known[name].physical_type not in NUMBERS:
            raise MediaError("unsupported", where, f"column {name!r} holds no plain numbers")
    _check_cells(max(table.metadata.num_rows, 0) * len(names), where, limits)
    return names
