"""Feature tables as samples: one CSV, Parquet or NPZ file a part, joined by row or by id."""

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.media.part import LIMITS, Limits, MediaError, head_of, refusing
from polymodal.media.sample import Invalid, Sample
from polymodal.media.series import Series

Columns = Mapping[str, str | int]
KEYS = {  # what a column can be beside a feature, and the names it goes by unless told
    "label": ("label", "labels", "target"),
    "group": ("group", "groups"),
    "id": ("id", "ids"),
    "split": ("split",),
}


@dataclass
class _Table:
    """One file: features by row, the columns that are none, and the rows that cannot be read."""

    path: Path
    rows: NDArray[Any] | list[NDArray[Any]]
    keys: dict[str, list[Any]]
    bad: dict[int, str] = field(default_factory=dict)


def parse_columns(text: str) -> dict[str, str | int]:
    """`label:NAME,group:/REGEX/,id:0` as a mapping; a number counts columns, -1 is the last.

    Raises:
        MediaError: unsupported, for an unknown key or an entry without one.
    """
    out: dict[str, str | int] = {}
    entry = re.compile(r"\s*(\w+)\s*:\s*(/.*?/(?=,|\s*$)|[^,]*)\s*(?:,|$)")
    at = 0
    while at < len(text):
        found = entry.match(text, at)
        if not found or found[1] not in KEYS or not found[2].strip():
            known = " ".join(KEYS)
            raise MediaError(
                "unsupported", "columns", f"{text[at:]!r} is not KEY:NAME with KEY one of: {known}"
            )
        name = found[2].strip()
        out[found[1]] = int(name) if re.fullmatch(r"-?\d+", name) else name
        at = found.end()
    return out


def read_tables(
    tables: Mapping[str, Path], columns: Columns | None = None, *, limits: Limits = LIMITS
) -> Iterator[Sample | Invalid]:
    """Samples from one feature table a part: the same row order, or a shared id in any order.

    Args:
        tables: file by part name: CSV (header optional; .tsv by tabs), Parquet (a list column is a series),
            or NPZ (the array of the part's name, "n d" or "n t d"; `NAME_lengths` cuts padding).
        columns: which columns are no features: `label`, `group`, `id`, `split`, each a name or a number;
            `group` may be "/REGEX/", searched in the id. Columns with these very names are known untold.
        limits: cells of one table.

    Returns:
        A Sample a row, in the first table's order, or an Invalid where a row cannot be read.

    Raises:
        MediaError: before the first sample, for a file that is no table, a pickle, a column that is not
            there, and tables that differ in rows, ids, labels, groups or splits (both counts are given).
    """
    wanted = dict(columns or {})
    pattern = str(wanted.get("group", ""))
    regex = None
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        with refusing(pattern, "regular expression"):
            regex = re.compile(pattern[1:-1])
        del wanted["group"]
    loaded = {part: _load(Path(path), part, wanted, limits) for part, path in tables.items()}
    for key, name in wanted.items():
        if not any(key in table.keys for table in loaded.values()):
            places = ", ".join(str(table.path) for table in loaded.values())
            raise MediaError("broken", places, f"no column {name!r} for {key}")
    orders = _aligned(list(loaded.values()))
    keys = {key: _agreed(key, list(loaded.values()), orders) for key in KEYS}
    return _samples(loaded, orders, keys, regex)


def _samples(
    loaded: Mapping[str, _Table], orders: list[list[int]], keys: Mapping[str, list[Any] | None], regex: Any
) -> Iterator[Sample | Invalid]:
    seen: set[str] = set()
    for n, places in enumerate(zip(*orders, strict=True)):
        at = list(zip(loaded.items(), places, strict=True))
        value = {key: column[n] if column else None for key, column in keys.items()}
        name = str(n) if value["id"] is None else str(value["id"])
        where = f"{at[0][0][1].path}:{places[0] + 1}"
        group = None if value["group"] is None else str(value["group"])
        found = regex.search(name) if regex else None
        bad = [(f"{table.path}:{row + 1}", table.bad[row]) for (_, table), row in at if row in table.bad]
        if bad:
            yield Invalid(name, bad[0][0], "broken", bad[0][1])
        elif name in seen:
            yield Invalid(name, where, "id", f"the id {name!r} is there already")
        elif isinstance(value["label"], float) and not math.isfinite(value["label"]):
            yield Invalid(name, where, "target", f"the label is {value['label']}")
        elif regex and not found:
            yield Invalid(name, where, "group", f"{regex.pattern!r} is not found in the id {name!r}")
        else:
            parts = {part: Series(table.rows[row]) for (part, table), row in at if len(table.rows[row])}
            tags = {} if value["split"] is None else {"split": str(value["split"])}
            if found:
                group = found[1] if found.re.groups else found[0]
            yield Sample(name, parts, value["label"], group, tags)
        seen.add(name)


def _load(path: Path, part: str, columns: Columns, limits: Limits) -> _Table:
    suffix = path.suffix.lower()
    head = head_of(path, 4)
    if suffix in (".pkl", ".pickle", ".p") or head[:1] == b"\x80":
        raise MediaError(
            "unsupported", str(path), "a pickle: first `polymodal data convert FILE TO`, then read TO"
        )
    readers = {".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".npz": _npz}
    if suffix not in readers:
        raise MediaError("unsupported", str(path), f"{suffix or 'no suffix'} is none of: {' '.join(readers)}")
    with refusing(path, "table"):
        table = readers[suffix](path, part, columns, limits)
    if "label" in table.keys:
        table.keys["label"] = _targets(table.keys["label"])
    return table


def _csv(path: Path, part: str, columns: Columns, limits: Limits) -> _Table:
    import csv

    del part
    keys: dict[str, list[Any]] = {}
    bad: dict[int, str] = {}
    cells, texts = array("d"), Counter[int]()
    with path.open(newline="", encoding="utf-8-sig") as stream:
        lines = filter(None, csv.reader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))
        start = list(islice(lines, 2))
        if not start:
            raise MediaError("empty", str(path), "no rows")
        header, width = _is_header(start, columns), len(start[0])
        names = [name.strip() for name in start[0]] if header else [""] * width
        found = _positions(path, names, columns)
        keep = [position for position in range(width) if position not in found.values()]
        _some(path, keep)
        keys = {key: [] for key in found}
        n = -1
        for n, row in enumerate(chain(start[header:], lines)):
            for key, position in found.items():
                keys[key].append((row[position].strip() or None) if position < len(row) else None)
            wrong = [position for position in keep if position < len(row) and not _numeric(row[position])]
            texts.update(wrong)
            if len(row) != width:
                bad[n] = f"{len(row)} cells, {width} expected"
            elif wrong:
                bad[n] = f"column {names[wrong[0]] or wrong[0]!r} holds {row[wrong[0]][:40]!r}, no number"
            cells.extend([math.nan] * len(keep) if n in bad else [float(row[at] or "nan") for at in keep])
            if len(cells) > limits.cells:
                raise MediaError("too_large", str(path), f"more cells than the limit of {limits.cells:,}")
    if texts and texts.most_common(1)[0][1] > (n + 1) / 2:
        worst = texts.most_common(1)[0][0]
        raise MediaError(
            "broken", str(path), f"column {names[worst] or worst!r} holds text: name what it is in columns"
        )
    return _Table(path, np.frombuffer(cells, np.float64).reshape(n + 1, 1, len(keep)), keys, bad)


def _numeric(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _is_header(lines: list[list[str]], columns: Columns) -> bool:
    """A first row that has a known name, or text where the second row has a number."""
    first = [cell.strip() for cell in lines[0]]
    known = {*columns.values(), *(name for names in KEYS.values() for name in names)}
    second = lines[1] if len(lines) > 1 else first
    below = (not _numeric(a) and _numeric(b) and b.strip() for a, b in zip(first, second, strict=False))
    return bool(known & set(first)) or any(below)


def _positions(path: Path, names: Sequence[str], columns: Columns) -> dict[str, int]:
    """Where each key's column is in this table; a named column that another table may have is left out."""
    out: dict[str, int] = {}
    for key, usual in KEYS.items():
        told = columns.get(key)
        if isinstance(told, int):
            if not -len(names) <= told < len(names):
                raise MediaError("broken", str(path), f"no column {told} for {key}: there are {len(names)}")
            out[key] = told % len(names)
            continue
        for name in usual if told is None else (told,):
            if name in names:
                out[key] = names.index(name)
                break
    return out


def _some(path: Path, features: Sequence[Any]) -> None:
    if not features:
        raise MediaError("empty", str(path), "no feature columns beside those named")


def _parquet(path: Path, part: str, columns: Columns, limits: Limits) -> _Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    del part
    with pq.ParquetFile(path) as file:
        cells = file.metadata.num_rows * file.metadata.num_columns
        if not cells or cells > limits.cells:
            raise MediaError(
                "too_large" if cells else "empty",
                str(path),
                f"{cells:,} cells, the limit is {limits.cells:,}",
            )
        content = file.read()
    found = _positions(path, content.column_names, columns)
    keys = {key: content.column(position).to_pylist() for key, position in found.items()}
    rest = [name for n, name in enumerate(content.column_names) if n not in found.values()]
    _some(path, rest)
    types = {name: content.schema.field(name).type for name in rest}
    lists = [name for name in rest if pa.types.is_list(types[name]) or pa.types.is_large_list(types[name])]
    if lists and rest != lists[:1]:
        raise MediaError(
            "unsupported", str(path), f"{lists[0]!r} holds lists, so it must be the only feature column"
        )
    if lists:
        series = [
            np.array([] if row is None else row, np.float64) for row in content.column(lists[0]).to_pylist()
        ]
        return _Table(path, [row if row.ndim > 1 or not len(row) else row[None] for row in series], keys)
    for name, kind in types.items():
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise MediaError("broken", str(path), f"column {name!r} holds {kind}: name what it is in columns")
    values = [content.column(name).cast("float64").to_numpy() for name in rest]
    return _Table(path, np.stack(values, axis=1)[:, None, :], keys)


def _npz(path: Path, part: str, columns: Columns, limits: Limits) -> _Table:
    with refusing(path, "NPZ file"):
        arrays = _arrays(path, limits)
    found = {key: columns.get(key) for key in KEYS}
    names = {
        key: next((name for name in ([told] if told is not None else KEYS[key]) if name in arrays), None)
        for key, told in found.items()
    }
    keys = {key: arrays[name].tolist() for key, name in names.items() if name is not None}
    features = [name for name, array in arrays.items() if array.ndim in (2, 3) and array.dtype.kind in "biuf"]
    name = part if part in features else features[0] if len(features) == 1 else None
    if name is None:
        raise MediaError(
            "broken", str(path), f"no array {part!r} of n d or n t d; it has: {' '.join(arrays)}"
        )
    values = arrays[name]
    lengths = arrays.get(f"{name}_lengths", arrays.get("lengths"))
    counts = {len(column) for column in keys.values()} | ({len(lengths)} if lengths is not None else set())
    if counts - {len(values)}:
        raise MediaError("broken", str(path), f"{name} has {len(values)} rows, another array {max(counts)}")
    rows = values[:, None, :] if values.ndim == 2 else values
    if lengths is None or values.ndim == 2:
        return _Table(path, rows, keys)
    return _Table(path, [row[: int(n)] for row, n in zip(rows, lengths, strict=True)], keys)


def _arrays(path: Path, limits: Limits) -> dict[str, NDArray[Any]]:
    """All arrays of an NPZ, each believed only as far as the bytes that it holds."""
    import zipfile

    out = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.file_size > limits.cells * 8:
                raise MediaError("too_large", str(path), f"{info.filename}: {info.file_size:,} bytes")
            with archive.open(info) as stream:
                version = np.lib.format.read_magic(stream)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, fortran, dtype = read(stream)
                if dtype.hasobject:
                    raise MediaError(
                        "unsupported", str(path), f"{info.filename} holds Python objects, a pickle inside"
                    )
                raw = stream.read(info.file_size)
            if len(raw) != math.prod(shape) * dtype.itemsize:
                raise MediaError(
                    "broken", str(path), f"{info.filename} says {shape} of {dtype}, has {len(raw):,} bytes"
                )
            array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
            out[info.filename.removesuffix(".npy")] = array
    return out


def _targets(values: list[Any]) -> list[str | float | None]:
    """Scores where the column is one of floats, else classes by name."""
    texts = [None if value is None else str(value).strip() for value in values]
    given = [text for text in texts if text]
    scores = all(map(_numeric, given)) and not all(re.fullmatch(r"[+-]?\d+", text) for text in given)
    return [None if not text else float(text) if scores else text for text in texts]


def _aligned(tables: list[_Table]) -> list[list[int]]:
    """For each table, its rows in the first table's order."""
    first = tables[0]
    shared = all("id" in table.keys for table in tables)
    orders = [list(range(len(first.rows)))]
    for table in tables[1:]:
        counts = f"{first.path} has {len(first.rows):,} rows, {table.path} has {len(table.rows):,}"
        if shared:
            here = {key: row for row, key in enumerate(_numbered(table.keys["id"]))}
            wanted = dict.fromkeys(_numbered(first.keys["id"]))
            lost = [key for key in wanted if key not in here] or [key for key in here if key not in wanted]
            if lost:
                raise MediaError(
                    "broken", str(table.path), f"{counts}; the first id in one only is {lost[0][0]!r}"
                )
            orders.append([here[key] for key in wanted])
        elif len(table.rows) != len(first.rows):
            row = min(len(table.rows), len(first.rows)) + 1
            raise MediaError(
                "broken", str(table.path), f"{counts}; row {row} is in one only, and no id is shared"
            )
        else:
            orders.append(orders[0])
    return orders


def _numbered(ids: list[Any]) -> list[tuple[str, int]]:
    """Ids with which time each is met, so that a doubled one still finds its own row."""
    met: Counter[str] = Counter()
    out = []
    for name in map(str, ids):
        out.append((name, met[name]))
        met[name] += 1
    return out


def _agreed(key: str, tables: list[_Table], orders: list[list[int]]) -> list[Any] | None:
    """One column of a key from all tables that have it, in the common order."""
    have = [(table, order) for table, order in zip(tables, orders, strict=True) if key in table.keys]
    if not have:
        return None
    first, order = have[0]
    values = [first.keys[key][row] for row in order]
    for table, other in have[1:]:
        pairs = list(zip(values, (table.keys[key][row] for row in other), strict=True))
        wrong = [n for n, (a, b) in enumerate(pairs) if not _same(a, b)]
        if wrong:
            a, b = pairs[wrong[0]]
            said = f"row {order[wrong[0]] + 1} is {a!r} in {first.path} and {b!r} here"
            raise MediaError(
                "broken", str(table.path), f"{key}: {len(wrong):,} of {len(pairs):,} rows differ; {said}"
            )
    return values


def _same(a: Any, b: Any) -> bool:
    return str(a) == str(b) or (_numeric(str(a)) and _numeric(str(b)) and float(a) == float(b))
