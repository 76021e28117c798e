"""A folder of samples, JSON lines or Parquet shards: each row a sample or its fault."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

import numpy as np

from polymodal.media.part import LIMITS, Kind, Limits, MediaError, Pose, Text
from polymodal.media.sample import READERS, SUFFIXES, Invalid, Part, Sample, part_of
from polymodal.media.series import Series

Missing = Literal["refuse", "absent"]
UNFINISHED = ".unfinished"  # lies in a folder that is still being written
REFUSED = "invalid.jsonl"  # the rows that a writer could not write
KEYS = ("id", "group", "target", "tags")
LAYOUTS = "samples.jsonl, samples-*.jsonl, or *.parquet with an id column"
OPTIONS = {"start": float, "end": float, "rate": float, "columns": tuple, "language": str}
LOST = 100_000  # rows of one unreadable stretch that are named one by one


class _RowError(Exception):
    """What is wrong with one row."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def read(path: Path, *, missing: Missing = "refuse", limits: Limits = LIMITS) -> Iterator[Sample | Invalid]:
    """The samples of a folder, or of one of its files, in order and one at a time.

    A row has `id`, and may have `group`, `target` (text is a class; numbers are scores where any of them has
    a fraction, else classes) and `tags`. Every other key is a part: text; a path inside the folder, known by
    its suffix; numbers for a series; or an object that says more (docs/data.md). null and "" mean absent.

    Args:
        path: a folder with samples.jsonl, samples-*.jsonl or *.parquet, or one such file.
        missing: what a path without a file makes: an Invalid row, or a part that fails when it is decoded,
            so that the sample can be used without it.
        limits: what one part or row may cost.

    Returns:
        A Sample a row. A row that cannot be one is an Invalid naming file, row, reason and what was found;
        those that a writer set aside (invalid.jsonl) come last.

    Raises:
        MediaError: at once, where the path is no data set.
    """
    root, files = files_of(Path(path))
    return _samples(root, files, missing, limits)


def files_of(path: Path) -> tuple[Path, list[Path]]:
    """The folder that paths are relative to, and the files with rows. Raises MediaError as `read` does."""
    if path.is_file():
        if path.suffix not in (".jsonl", ".parquet"):
            raise MediaError(
                "unsupported", str(path), f"not a data set; a data set is a folder with {LAYOUTS}"
            )
        return path.parent, [path]
    if not path.is_dir():
        raise MediaError(
            "missing", str(path), f"no such file or folder; a data set is a folder with {LAYOUTS}"
        )
    if (path / UNFINISHED).exists():
        raise MediaError("broken", str(path), "its writing did not end; write it again")
    for pattern in ("samples.jsonl", "samples-*.jsonl", "*.parquet"):
        if files := sorted(
            file for file in path.glob(pattern) if file.is_file() and file.name[0] not in "._"
        ):
            return path, files
    found = ", ".join(sorted(item.name for item in path.iterdir())[:5]) or "nothing"
    advice = "for a pickle: polymodal data convert FILE TO; for other files: examples/own_data.py"
    raise MediaError(
        "unsupported", str(path), f"not a data set: it has {found}; wanted: {LAYOUTS} ({advice})"
    )


def _samples(root: Path, files: list[Path], missing: Missing, limits: Limits) -> Iterator[Sample | Invalid]:
    seen: set[str] = set()
    scored: bool | None = None
    for file in files:
        for number, row in _rows(file, limits):
            where, name = f"{file.name}:{number}", ""
            try:
                if isinstance(row, _RowError):
                    raise row
                name = _name(row.get("id"))
                if name in seen:
                    raise _RowError("id", f"the id {name!r} is there already")
                if scored is None and type(row.get("target")) is int:
                    scored = any(map(_has_scores, files))
                found: Sample | Invalid = _sample(name, row, root, bool(scored), missing, limits)
                seen.add(name)
            except _RowError as error:
                found = Invalid(name, where, error.reason, error.detail)
            yield found
    if (root / REFUSED).is_file() and files != [root / REFUSED]:
        yield from _set_aside(root / REFUSED, limits)


def _set_aside(file: Path, limits: Limits) -> Iterator[Invalid]:
    for number, row in _json_rows(file, limits):
        if isinstance(row, _RowError):
            yield Invalid("", f"{file.name}:{number}", row.reason, row.detail)
        else:
            yield Invalid(*(str(row.get(key, "")) for key in ("id", "where", "reason", "detail")))


def _rows(file: Path, limits: Limits) -> Iterator[tuple[int, dict[str, Any] | _RowError]]:
    return _json_rows(file, limits) if file.suffix == ".jsonl" else _parquet_rows(file, limits)


def _lines(file: Path, limits: Limits) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines that are not blank, None for one longer than the limit."""
    number = 0
    with file.open("rb") as stream:
        while line := stream.readline(limits.bytes + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if len(line) > limits.bytes and not line.endswith(b"\n"):
                while (rest := stream.readline(2**20)) and not rest.endswith(b"\n"):
                    pass
                yield number, None
            elif line.strip():
                yield number, line


def _json_rows(file: Path, limits: Limits) -> Iterator[tuple[int, dict[str, Any] | _RowError]]:
    for number, line in _lines(file, limits):
        if line is None:
            yield number, _RowError("too_large", f"a line longer than {limits.bytes:,} bytes")
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError covers bad UTF-8 and endless integers too
            yield number, _RowError("broken", f"not JSON: {str(error)[:100]}")
            continue
        yield (
            number,
            row if isinstance(row, dict) else _RowError("broken", f"a {type(row).__name__}, no object"),
        )


def _parquet_rows(file: Path, limits: Limits) -> Iterator[tuple[int, dict[str, Any] | _RowError]]:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file, pre_buffer=False)
    except Exception as error:  # Arrow raises what it likes on bytes that nobody wrote
        yield 0, _RowError("broken", f"not a readable Parquet file: {_first_line(error)}")
        return
    with table:
        number = 0
        for group in range(table.metadata.num_row_groups):
            end = number + max(table.metadata.row_group(group).num_rows, 0)
            try:
                for row in _group_rows(table, group, limits):
                    number += 1
                    yield number, row
            except Exception as error:
                for lost in range(number + 1, min(end, number + LOST) + 1):
                    yield lost, _RowError("broken", f"unreadable row: {_first_line(error)}")
            number = end


def _group_rows(table: Any, group: int, limits: Limits) -> Iterator[dict[str, Any]]:
    about = table.metadata.row_group(group)
    if about.total_byte_size > 16 * limits.bytes:
        raise MediaError("too_large", "", f"a row group of {about.total_byte_size:,} bytes")
    size = max(1, min(1024, 2**25 * about.num_rows // max(about.total_byte_size, 1)))
    for batch in table.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
        for position in range(batch.num_rows):
            yield {name: _value(batch.column(name)[position]) for name in batch.schema.names}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]


def _value(scalar: Any) -> Any:
    """A cell as Python has it, but numbers in lists as arrays."""
    import pyarrow.types as types

    kind = scalar.type
    if not scalar.is_valid:
        return None
    if types.is_struct(kind):
        return {name: _value(scalar[name]) for name in (kind.field(n).name for n in range(kind.num_fields))}
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        cells = scalar.values
        if types.is_integer(cells.type) or types.is_floating(cells.type):
            return cells.to_numpy(zero_copy_only=False)
        if types.is_nested(cells.type) and not types.is_struct(cells.type):
            lengths = set(cells.value_lengths().to_pylist())
            flat = cells.flatten()
            if len(lengths) == 1 and flat.null_count == 0:
                return flat.to_numpy(zero_copy_only=False).reshape(len(cells), *lengths)
            return [_value(cell) for cell in cells]
    return scalar.as_py()


def _has_scores(file: Path) -> bool:
    """Whether any target in this file is a number with a fraction, so that whole ones are scores too."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq
        import pyarrow.types as types

        schema = pq.read_schema(file)
        return "target" in schema.names and types.is_floating(schema.field("target").type)
    looks = re.compile(rb'"target"\s*:\s*-?\d+(\.\d|[eE])')
    for _, line in _lines(file, LIMITS):
        if line and looks.search(line):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and isinstance(row.get("target"), float):
                return True
    return False


def _name(value: Any) -> str:
    """An id or a group as text; whole numbers are names too."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise _RowError("id", "no id" if value in (None, "") else f"the id is {value!r}, text wanted")
    return str(value)


def _sample(
    name: str, row: Mapping[str, Any], root: Path, scored: bool, missing: Missing, limits: Limits
) -> Sample:
    group = row.get("group")
    if isinstance(group, float) and math.isnan(group):
        group = None
    parts = {key: _part(key, value, root, missing, limits) for key, value in row.items() if key not in KEYS}
    given = {key: part for key, part in parts.items() if part is not None}
    try:
        group = None if group in (None, "") else _name(group)
    except _RowError as error:
        raise _RowError("group", f"the group is {row['group']!r}, text wanted") from error
    return Sample(name, given, _target(row.get("target"), scored), group, _tags(row.get("tags")))


def _target(value: Any, scored: bool) -> str | float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return float(value) if scored else str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _RowError("target", f"the target is {value}")
    if not isinstance(value, str | float):
        raise _RowError("target", f"the target is a {type(value).__name__}, text or a number wanted")
    return value


def _tags(value: Any) -> dict[str, str | float]:
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _RowError("tags", f"tags are no JSON: {error}") from error
    if isinstance(value, list) and all(isinstance(pair, tuple) for pair in value):
        value = dict(value)  # a map of Parquet's
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise _RowError("tags", f"tags are a {type(value).__name__}, an object wanted")
    for key, tag in value.items():
        if tag is not None and not isinstance(tag, str | int | float):
            raise _RowError("tags", f"the tag {key!r} is a {type(tag).__name__}, text or a number wanted")
    known = {key: tag for key, tag in value.items() if tag is not None}
    return {key: str(tag).lower() if isinstance(tag, bool) else tag for key, tag in known.items()}


def _part(key: str, value: Any, root: Path, missing: Missing, limits: Limits) -> Part | None:
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if item is not None}
    if value is None or (not isinstance(value, np.ndarray) and value in ("", [], {})):
        return None
    try:
        if isinstance(value, str):
            return _from_text(value, root, missing, limits)
        if isinstance(value, list | np.ndarray):
            return Series(_numbers(value, limits), limits=limits)
        if isinstance(value, dict):
            return _from_object(value, root, missing, limits)
    except (MediaError, _RowError) as error:
        said = error.detail if isinstance(error, _RowError) else error.what
        raise _RowError(error.reason, f"part {key!r}: {said}") from error
    advice = "text, a path, a list of numbers or an object wanted; a lone number belongs in tags"
    raise _RowError("kind", f"part {key!r} is a {type(value).__name__}: {advice}")


def _from_text(value: str, root: Path, missing: Missing, limits: Limits) -> Part:
    """A path where it looks like one of a known kind, else the text itself."""
    suffix = PurePosixPath(value).suffix.lower()
    if re.search(r"\s", value) or not suffix:
        return Text(value, limits=limits)
    if suffix in SUFFIXES:
        return part_of(_inside(value, root, missing), limits=limits)
    if re.fullmatch(r"\.\w{2,5}", suffix) and len(value) < 255 and (root / value).is_file():
        raise _RowError("kind", f"{value!r} is a file of no known kind; say it: {{'path': …, 'kind': …}}")
    return Text(value, limits=limits)


def _inside(value: str, root: Path, missing: Missing) -> Path:
    """The file that a relative path names, once it is known to lie in the folder."""
    if "://" in value:
        raise _RowError("path", f"{value!r}: addresses are not fetched; put the file into the folder")
    if (
        PurePosixPath(value).is_absolute()
        or PureWindowsPath(value).drive
        or ".." in re.split(r"[/\\]", value)
    ):
        raise _RowError("path", f"{value!r} leads out of the folder; paths are relative to it, without ..")
    try:
        path = (root / value).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise _RowError("path", f"{value[:100]!r} is no path: {error}") from error
    if not path.is_relative_to(root.resolve()):
        raise _RowError("path", f"{value!r} leads out of the folder by a link")
    if missing == "refuse" and not path.is_file():
        raise _RowError("missing", f"no such file: {value}")
    return root / value


def _from_object(value: Mapping[str, Any], root: Path, missing: Missing, limits: Limits) -> Part:
    if "position" in value:
        axes: Any = [_numbers(value.get(key, unset), limits).ravel().tolist() for key, unset in _POSE.items()]
        pose = Pose(*map(tuple, axes))
        pose.matrix()
        return pose
    kind = value.get("kind")
    options = {name: _option(name, value[name], value) for name in OPTIONS if name in value}
    if isinstance(value.get("text"), str) and kind in (None, "text"):
        return _made("text", value["text"], options, limits)
    if "values" in value and kind in (None, "series"):
        return _made("series", _numbers(value["values"], limits), options, limits)
    path, data = value.get("path", ""), value.get("bytes")
    if not isinstance(path, str) or not (path or isinstance(data, bytes)):
        raise _RowError(
            "kind", f"an object with {sorted(value)}; text, path, values, bytes or position wanted"
        )
    if kind not in (None, *READERS):
        raise _RowError("kind", f"{kind!r} is no kind of part: {' '.join(READERS)}")
    if not isinstance(data, bytes):
        return part_of(_inside(path, root, missing), kind, **options, limits=limits)
    found = kind or SUFFIXES.get(PurePosixPath(path).suffix.lower(), "text")
    if found == "text":
        raise _RowError("kind", f"bytes of no known kind; say one of: {' '.join(READERS)}")
    return _made(found, data, options, limits)


_POSE = {"position": (), "rotation": (1.0, 0.0, 0.0, 0.0)}


def _made(kind: Kind, source: Any, options: dict[str, Any], limits: Limits) -> Part:
    try:
        return READERS[kind](source, **options, limits=limits)
    except TypeError as error:
        raise _RowError("kind", f"{sorted(options)} of {kind}: {error}") from error


def _option(name: str, value: Any, of: Mapping[str, Any]) -> Any:
    wanted = OPTIONS[name]
    if wanted is tuple and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if wanted is str and isinstance(value, str):
        return value
    if wanted is float and isinstance(value, int | float) and math.isfinite(value) and value >= 0:
        return float(value)
    raise _RowError("kind", f"{name} is {value!r} in {sorted(of)}")


def _numbers(value: Any, limits: Limits) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers "d" or "t d"; null is NaN."""
    try:
        out = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _RowError("kind", f"a list that is no table of numbers: {str(error)[:100]}") from error
    if out.ndim not in (1, 2):
        raise _RowError("kind", f"numbers on {out.ndim} axes; a series has one or two")
    if out.size > limits.cells:
        raise _RowError("too_large", f"{out.size:,} cells, the limit is {limits.cells:,}")
    return out
