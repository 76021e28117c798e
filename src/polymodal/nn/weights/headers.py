"""Checkpoints by their headers: each tensor's type, shape and place, without loading it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}
BYTES = ("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0")
FLOATS = ("F32", "BF16", "F16")
MOST_HEADER = 100_000_000  # bytes, as the safetensors library allows
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.h5", "*.msgpack", "*.onnx")
SAMPLE = 256  # bytes read of each tensor for the fingerprint


class WeightsError(ValueError):
    """Checkpoints that cannot be read or merged; the message names the file or tensor and what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored tensor: `start` and `stop` are places in its file, in bytes."""

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)


@dataclass(frozen=True)
class View:
    """Values of one stored tensor: `segments` are (first, after last) values in it, in the view's order."""

    entry: Entry
    shape: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]

    @cached_property
    def size(self) -> int:
        """Number of values."""
        return sum(stop - start for start, stop in self.segments)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(stop - start for start, stop in self.segments))

    @property
    def width(self) -> int:
        """Bytes of a value."""
        return WIDTHS[self.entry.dtype]

    def places(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Byte ranges in the file, (first, after last), that hold the view's values `start` to `stop`."""
        at = bisect_right(self._ends, start)
        while start < stop:
            first, last = self.segments[at]
            before = self._ends[at] - (last - first)
            end = min(stop, self._ends[at])
            base = self.entry.start + (first - before) * self.width
            yield base + start * self.width, base + end * self.width
            start, at = end, at + 1

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the stored tensor is left out."""
        return self.size == self.entry.size


def whole(entry: Entry) -> View:
    """All of a stored tensor."""
    return View(entry, entry.shape, ((0, entry.size),) if entry.size else ())


def rows(entry: Entry, spans: Sequence[tuple[int, int]]) -> View:
    """Rows of a stored tensor along its first axis, as (first, after last) spans in the order wanted."""
    step = entry.size // max(1, entry.shape[0])
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and joined[-1][1] == start * step:
            joined[-1] = (joined[-1][0], stop * step)
        else:
            joined.append((start * step, stop * step))
    count = sum(stop - start for start, stop in spans)
    return View(entry, (count, *entry.shape[1:]), tuple(joined))


@dataclass(frozen=True)
class Checkpoint:
    """A model folder: its configuration, its weight files, and every tensor's place in them."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    files: tuple[str, ...]
    entries: Mapping[str, Entry] = field(repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of headers, sizes and 256 bytes of each tensor: tells contents apart wherever they lie."""
        digest = hashlib.sha256()
        for file in self.files:
            with (self.folder / file).open("rb") as stream:
                here = [entry for entry in self.entries.values() if entry.file == file]
                digest.update(stream.read(min((entry.start for entry in here), default=8)))
                for entry in here:
                    stream.seek(max(entry.start, (entry.start + entry.stop - SAMPLE) // 2))
                    digest.update(stream.read(min(SAMPLE, entry.stop - entry.start)))
        return digest.hexdigest()

    @cached_property
    def companions(self) -> tuple[str, ...]:
        """Other files of the folder by relative path: all but hidden ones, `unread`, and the model card.

        A card tells of the model it lies beside; of a merge it would say what is not so.
        """
        skipped = {*self.files, *self.unread, "README.md"}
        return tuple(name for name in self._listed if name not in skipped)

    @cached_property
    def unread(self) -> tuple[str, ...]:
        """Weights that are no part of the checkpoint: other formats, copies outside the index."""
        marks = ("*.safetensors", "*.bin.index.json", *OTHER_FORMATS)
        return tuple(
            name
            for name in self._listed
            if name not in self.files and any(PurePosixPath(name).match(mark) for mark in marks)
        )

    @cached_property
    def _listed(self) -> tuple[str, ...]:
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return tuple(sorted(p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts)))

    def raw(self, name: str) -> bytes:
        """The stored bytes of one tensor.

        Raises:
            KeyError: there is no such tensor.
        """
        entry = self.entries[name]
        with (self.folder / entry.file).open("rb") as stream:
            return os.pread(stream.fileno(), entry.stop - entry.start, entry.start)


def read_checkpoint(source: str | Path) -> Checkpoint:
    """Reads the headers of a checkpoint.

    Args:
        source: a folder with `config.json` and `model.safetensors`, or with an index and shards; `local:`
            before it may be; a pocket model; or a name on the hub, which is fetched.

    Raises:
        FileNotFoundError: neither a folder nor on the hub.
        WeightsError: weights in another format or quantised; a file that is cut off, or whose header lies.
    """
    folder = _folder(str(source))
    config = _json(folder / "config.json", "a checkpoint has its config.json beside its weights")
    if config.get("quantization_config"):
        raise WeightsError(
            f"{source}: quantised weights cannot be merged: give the full-precision checkpoint"
        )
    entries: dict[str, Entry] = {}
    files = _files(folder)
    for file in files:
        for entry in _header(folder / file, file):
            if entry.name in entries:
                raise WeightsError(f"{folder / file}: {entry.name} is also in {entries[entry.name].file}")
            entries[entry.name] = entry
    _meets_index(folder, entries)
    return Checkpoint(str(source).removeprefix("local:"), folder, config, files, entries)


def _folder(source: str) -> Path:
    name = source.removeprefix("local:")
    if Path(name).is_dir():
        return Path(name)
    if name.startswith("pocket-"):
        from polymodal.nn.pocket import folder

        return folder(name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) and not source.startswith("local:"):
        from huggingface_hub import snapshot_download

        wanted = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.md"]
        try:
            return Path(snapshot_download(name, allow_patterns=wanted))
        except Exception as error:
            raise FileNotFoundError(f"{name!r} is no folder, and the hub gave none: {error}") from error
    raise FileNotFoundError(f"no checkpoint at {name!r}: give a folder, or a name on the hub (owner/model)")


def _json(path: Path, why: str) -> dict[str, Any]:
    if not path.exists():
        raise WeightsError(f"{path} is missing: {why}")
    if path.stat().st_size > MOST_HEADER:
        raise WeightsError(f"{path}: {path.stat().st_size} bytes of JSON, more than {MOST_HEADER}")
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: a {type(value).__name__} where an object should be")
    return value


def _files(folder: Path) -> tuple[str, ...]:
    """The weight files that make up the checkpoint, checked to lie inside the folder."""
    if not (folder / INDEX).exists():
        if (folder / SINGLE).exists():
            return (SINGLE,)
        other = sorted(path.name for pattern in OTHER_FORMATS for path in folder.glob(pattern))
        if other:
            raise WeightsError(
                f"{folder}: weights in another format ({', '.join(other[:3])}). Convert them once with "
                "transformers: AutoModel.from_pretrained(FOLDER).save_pretrained(NEW)"
            )
        raise WeightsError(f"{folder} has neither {SINGLE} nor {INDEX}")
    files = tuple(sorted({str(name) for name in _map(folder).values()}))
    for file in files:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file or path.suffix != ".safetensors":
            raise WeightsError(f"{folder / INDEX} names {file!r}, which is no safetensors file of its folder")
        if not (folder / file).is_file():
            raise WeightsError(f"{folder / INDEX} names {file}, which is not there: fetch that shard again")
    return files


def _map(folder: Path) -> Mapping[str, Any]:
    table = _json(folder / INDEX, "it lists the shards").get("weight_map")
    if not isinstance(table, dict) or not table:
        raise WeightsError(f"{folder / INDEX} has no weight_map")
    return table


def _meets_index(folder: Path, entries: Mapping[str, Entry]) -> None:
    if not (folder / INDEX).exists():
        return
    for name, file in _map(folder).items():
        if name not in entries:
            raise WeightsError(f"{folder / INDEX} promises {name}, which {file} does not hold")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def _header(path: Path, file: str) -> Iterator[Entry]:
    """The tensors of one file, in the order of their places, each place checked."""
    total = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MOST_HEADER, total - 8):
            raise WeightsError(
                f"{path}: a header of {length} bytes in a file of {total}: cut off or no safetensors"
            )
        try:
            table = json.loads(stream.read(length), object_pairs_hook=_once)
            table.pop("__metadata__", None)
            entries = [_entry(name, file, about, 8 + length) for name, about in table.items()]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WeightsError(f"{path}: its header cannot be read ({error})") from None
    at = 8 + length
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.stop)):
        if entry.start != at:
            raise WeightsError(f"{path}: {entry.name} overlaps another tensor or leaves a gap at byte {at}")
        at = entry.stop
        yield entry
    if at != total:
        what = "cut off" if at > total else "longer than its header says"
        raise WeightsError(f"{path}: {what}: {total} bytes, its header promises {at}; fetch it again")


def _entry(name: str, file: str, about: Mapping[str, Any], base: int) -> Entry:
    dtype, shape, (start, stop) = str(about["dtype"]), tuple(about["shape"]), about["data_offsets"]
    width = WIDTHS.get(dtype) or (1 if dtype in BYTES else 0)
    if not width:
        raise ValueError(f"{name} has the unknown type {dtype}")
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
        raise ValueError(f"{name}: shape and offsets are counts")
    if stop - start != prod(shape) * width:
        raise ValueError(f"{name}: {stop - start} bytes for shape {list(shape)} of {dtype}")
    return Entry(name, file, dtype, shape, base + start, base + stop)
