"""What a run may remember: JSON nests with NumPy arrays, written without pickle."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.runs.atomic import write_bytes

Value = Any
"""A JSON-able nest (dict, list, str, int, float, bool, None) whose leaves may be NumPy arrays."""


def plain(value: Any, where: str = "value") -> Any:
    """Turn `value` into strict JSON: arrays and tuples to lists, NaN and infinities to null, paths to text.

    Objects with `to_json()` and dataclasses are written by their fields.

    Raises:
        TypeError: something has no JSON form; the message says where it sits.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "to_json"):
        return plain(value.to_json(), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(k, where): plain(v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}, which has no JSON form")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where} has the key {key!r}: keys must be text, as JSON has no others")
    return key


def pack(value: Value, where: str = "value") -> tuple[Any, dict[str, NDArray[Any]]]:
    """Split a value into strict JSON and the arrays it names; `unpack` puts them together again.

    Raises:
        TypeError: a leaf is neither JSON nor a plain array; the message says where it sits.
    """
    arrays: dict[str, NDArray[Any]] = {}

    def walk(item: Any, at: str) -> Any:
        if isinstance(item, np.generic):
            item = item.item()
        if item is None or isinstance(item, str | bool | int):
            return item
        if isinstance(item, float):
            return item if math.isfinite(item) else {"$float": repr(item)}
        if isinstance(item, np.ndarray):
            if item.dtype.hasobject:
                raise TypeError(f"{at} is an array of Python objects, which cannot be written without pickle")
            arrays[f"a{len(arrays)}"] = item
            return {"$array": f"a{len(arrays) - 1}"}
        if isinstance(item, Mapping):
            return {_key(k, at): walk(v, f"{at}.{k}") for k, v in item.items()}
        if isinstance(item, list | tuple):
            return [walk(v, f"{at}[{i}]") for i, v in enumerate(item)]
        raise TypeError(f"{at} is a {type(item).__name__}; a run remembers JSON values and NumPy arrays only")

    return walk(value, where), arrays


def unpack(packed: Any, arrays: Mapping[str, NDArray[Any]]) -> Value:
    """Rebuild the value that `pack` took apart; tuples come back as lists."""
    if isinstance(packed, list):
        return [unpack(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if packed.keys() == {"$array"}:
        return arrays[packed["$array"]]
    if packed.keys() == {"$float"}:
        return float(packed["$float"])
    return {key: unpack(item, arrays) for key, item in packed.items()}


class Shelf:
    """Values by key in one folder; the JSON file is written last, so a value is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".json")

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def put(self, key: str, value: Value) -> Value:
        """Write `value` and give back exactly what a later `get` will give."""
        packed, arrays = pack(value, f"the value of {key!r}")
        path = self._path(key)
        if arrays:
            buffer = BytesIO()
            np.savez(buffer, **arrays)  # type: ignore[arg-type]
            write_bytes(path.with_suffix(".npz"), buffer.getvalue())
        entry = {"key": key, "arrays": len(arrays), "value": packed}
        write_bytes(path, json.dumps(entry, ensure_ascii=False, allow_nan=False).encode())
        return unpack(packed, arrays)

    def get(self, key: str) -> Value:
        """Read the value of `key`.

        Raises:
            KeyError: nothing was put under it.
        """
        path = self._path(key)
        if not path.exists():
            raise KeyError(key)
        entry = json.loads(path.read_text(encoding="utf-8"))
        if not entry["arrays"]:
            return unpack(entry["value"], {})
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            return unpack(entry["value"], {name: arrays[name] for name in arrays.files})
