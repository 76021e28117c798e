"""Samples written as a folder that `polymodal.media.folder.read` reads: whole or not at all."""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polymodal.media.folder import KEYS, REFUSED, UNFINISHED
from polymodal.media.image import Image
from polymodal.media.part import MediaError, Pose, Text, opened
from polymodal.media.sample import SUFFIXES, Invalid, Part, Sample
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.video import Video
from polymodal.runs.atomic import write_folder

SHARD_BYTES = 128 * 2**20  # of embedded media, after which a Parquet shard is closed whatever its rows
INLINE = 4096  # numbers; a longer series of JSON lines is a .npy file


def write(
    samples: Iterable[Sample | Invalid],
    to: Path,
    *,
    shard_rows: int = 10_000,
    form: Literal["jsonl", "parquet"] = "jsonl",
    copy_media: bool = True,
) -> int:
    """Write samples as a folder, one shard in memory at a time.

    The folder appears under its name when everything is in it; a killed write leaves nothing that reads as
    a data set. Media files are copied into `media/` under their digests, each content once, uncut; text and
    numbers stand in the row. What cannot be written (missing media, a doubled id, a target that is NaN) and
    every Invalid given goes to invalid.jsonl, which `read` gives back.

    Args:
        samples: in any number; taken one by one.
        to: a folder that does not exist or is empty.
        shard_rows: rows of a file; a single JSON-lines shard is samples.jsonl.
        form: jsonl to read and edit, parquet for speed and size.
        copy_media: False puts the encoded media into the Parquet rows instead.

    Returns:
        The number of samples written, without those set aside.

    Raises:
        FileExistsError: `to` has something in it.
        ValueError: media in the rows of JSON lines, or Parquet of both classes and scores.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise FileExistsError(f"{to} exists and is not empty; give a new folder")
    if form not in ("jsonl", "parquet") or not (copy_media or form == "parquet") or shard_rows < 1:
        raise ValueError(
            f"form {form!r}, copy_media {copy_media}, shard_rows {shard_rows}: jsonl cannot hold media"
        )
    count = 0

    def fill(folder: Path) -> None:
        nonlocal count
        (folder / UNFINISHED).touch()
        writer = _Writer(folder, form, copy_media, shard_rows)
        for sample in samples:
            count += writer.take(sample)
        writer.close()
        (folder / UNFINISHED).unlink()

    write_folder(to, fill)
    return count


@dataclass
class _Writer:
    """One folder being filled."""

    folder: Path
    form: str
    copy_media: bool
    shard_rows: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    shards: int = 0
    ids: set[str] = field(default_factory=set)
    copied: dict[Any, str] = field(default_factory=dict)
    kinds: set[str] = field(default_factory=set)

    def take(self, sample: Sample | Invalid) -> bool:
        """Whether the sample was written; otherwise it was set aside."""
        if isinstance(sample, Invalid):
            self.refuse(sample)
            return False
        try:
            if sample.id in self.ids or not sample.id:
                raise MediaError("broken", sample.id, "the id is there already" if sample.id else "no id")
            if isinstance(sample.target, float) and not math.isfinite(sample.target):
                raise MediaError("broken", sample.id, f"the target is {sample.target}")
            row = self.row(sample)
        except (ValueError, OSError) as error:  # MediaError is a ValueError
            reason = error.reason if isinstance(error, MediaError) else "broken"
            self.refuse(Invalid(sample.id, f"sample {sample.id}", reason, str(error)))
            return False
        self.ids.add(sample.id)
        self.rows.append(row)
        if len(self.rows) >= self.shard_rows or self.size >= SHARD_BYTES:
            self.flush()
        return True

    def refuse(self, invalid: Invalid) -> None:
        """Set a row aside."""
        row = {key: getattr(invalid, key) for key in ("id", "where", "reason", "detail")}
        with (self.folder / REFUSED).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    def row(self, sample: Sample) -> dict[str, Any]:
        """The row of a sample, its media copied."""
        taken = set(KEYS) & set(sample.parts)
        if taken:
            raise MediaError("unsupported", sample.id, f"a part cannot be called {sorted(taken)[0]!r}")
        target = (
            sample.target if sample.target is None or isinstance(sample.target, str) else float(sample.target)
        )
        head = {"id": sample.id, "group": sample.group, "target": target, "tags": dict(sample.tags)}
        json.dumps(head, ensure_ascii=False, allow_nan=False).encode()
        return head | {name: self.cell(part) for name, part in sample.parts.items()}

    def cell(self, part: Part) -> Any:
        """A part as its row says it; the short form of JSON lines where there is one."""
        match part:
            case Text():
                said = part.read()
                said.encode()  # half a surrogate pair cannot be written
                plain = self.form == "jsonl" and said and part.language is None and _reads_as_text(said)
                return said if plain else {"text": said, "language": part.language}
            case Pose():
                return {"position": list(part.position), "rotation": list(part.rotation)}
            case Series() if isinstance(part.source, np.ndarray) and self.fits(part.source):
                values = part.values()
                self.size += values.nbytes
                if self.form == "parquet":
                    return {"values": values.astype(_kept(part.source)), "rate": part.rate}
                cells = [[None if math.isnan(cell) else cell for cell in row] for row in values.tolist()]
                return cells if part.rate is None else {"values": cells, "rate": part.rate}
            case Series():
                about = {"columns": list(part.columns) or None, "rate": part.rate}
                return self.medium(part, about)
            case Image():
                return self.medium(part, {})
            case Audio() if isinstance(part.source, np.ndarray):
                return self.medium(Audio(_float_wav(part)), {})
            case Audio() | Video():
                return self.medium(part, {"start": part.start or None, "end": part.end})

    def fits(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether numbers stand in the row: in Parquet always, in JSON lines where they are few."""
        return self.form == "parquet" or (array.size <= INLINE and not np.isinf(array).any())

    def medium(self, part: Image | Audio | Video | Series, about: Mapping[str, Any]) -> Any:
        """A file in media/, or the encoded bytes themselves."""
        about = {name: value for name, value in about.items() if value is not None}
        if not self.copy_media:
            data = part.encoded()
            self.size += len(data)
            return {"bytes": data, "kind": part.kind, **about}
        path = self.copy(part)
        plain = self.form == "jsonl" and not about and SUFFIXES.get(Path(path).suffix) == part.kind
        return path if plain else {"path": path, "kind": part.kind, **about}

    def copy(self, part: Image | Audio | Video | Series) -> str:
        """The content once under its digest, streamed where it is a file."""
        source = part.source
        cut = isinstance(source, Path) and isinstance(part, Audio | Video) and (part.start or part.end)
        if cut and source in self.copied:  # one long recording, many utterances
            return self.copied[source]
        suffix = part.suffix()
        (self.folder / "media").mkdir(exist_ok=True)
        unnamed = self.folder / "media" / "unnamed"
        state = hashlib.sha256()
        stream = io.BytesIO(part.encoded()) if isinstance(source, np.ndarray) else opened(source)
        with stream, unnamed.open("wb") as out:
            while block := stream.read(2**20):
                state.update(block)
                out.write(block)
        name = f"media/{state.hexdigest()[:32]}{suffix}"
        unnamed.replace(self.folder / name)
        if cut:
            self.copied[source] = name
        return name

    def flush(self) -> None:
        """Close the shard."""
        if not self.rows:
            return
        path = self.folder / f"samples-{self.shards:05d}.{self.form}"
        if self.form == "jsonl":
            with path.open("w", encoding="utf-8") as stream:
                for row in self.rows:
                    told = {
                        key: value for key, value in row.items() if value not in (None, {}) or key == "id"
                    }
                    stream.write(json.dumps(told, ensure_ascii=False) + "\n")
        else:
            self.kinds |= {type(row["target"]).__name__ for row in self.rows if row["target"] is not None}
            if len(self.kinds) > 1:
                raise ValueError("Parquet holds classes or scores in target, not both; write form='jsonl'")
            _write_parquet(self.rows, path)
        self.rows, self.size, self.shards = [], 0, self.shards + 1

    def close(self) -> None:
        """The last shard, or an empty file where nothing was written; a single one takes the short name."""
        self.flush()
        first = self.folder / "samples-00000.jsonl"
        if self.form == "jsonl" and self.shards < 2:
            first.touch()
            first.replace(self.folder / "samples.jsonl")
        elif self.form == "parquet" and not self.shards:
            _write_parquet([], first.with_suffix(".parquet"))


def _reads_as_text(said: str) -> bool:
    """Whether a bare string comes back as text: `read` takes "hello.wav" for a path."""
    return any(letter.isspace() for letter in said) or "." not in said


def _kept(array: np.ndarray[Any, Any]) -> np.dtype[Any]:
    """Short floats stay short on disk; whatever else becomes a double, as `values` gives it."""
    return np.dtype(np.float32) if array.dtype in (np.float16, np.float32) else np.dtype(np.float64)


def _float_wav(part: Audio) -> bytes:
    """An array of sound as a WAV of 32-bit floats, which comes back as it is."""
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, part.wave(), part.rate(), format="WAV", subtype="FLOAT")
    return stream.getvalue()


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    scores = any(isinstance(row["target"], float) for row in rows)
    head = {"id": pa.string(), "group": pa.string(), "target": pa.float64() if scores else pa.string()}
    columns = {key: pa.array([row[key] for row in rows], kind) for key, kind in head.items()}
    columns["tags"] = pa.array([json.dumps(row["tags"], ensure_ascii=False) for row in rows], pa.string())
    for name in dict.fromkeys(name for row in rows for name in row if name not in KEYS):
        columns[name] = _struct([row.get(name) for row in rows])
    pq.write_table(pa.table(columns), path, row_group_size=1000, compression="zstd", use_dictionary=False)


def _struct(cells: list[dict[str, Any] | None]) -> Any:
    """A column of parts, with the fields that any of them has."""
    import pyarrow as pa

    texts, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    types = {"columns": texts, "position": numbers, "rotation": numbers, "bytes": pa.binary()}
    types |= dict.fromkeys(("rate", "start", "end"), pa.float64())
    used = dict.fromkeys(key for cell in cells for key, value in (cell or {}).items() if value is not None)
    fields = {}
    for key in used:
        values = [None if cell is None else cell.get(key) for cell in cells]
        fields[key] = _tables(values) if key == "values" else pa.array(values, types.get(key, pa.string()))
    absent = pa.array([cell is None for cell in cells])
    return pa.StructArray.from_arrays(list(fields.values()), names=list(fields), mask=absent)


def _tables(values: list[np.ndarray[Any, Any] | None]) -> Any:
    """Arrays "t d" as lists of lists, without a Python number in between."""
    import pyarrow as pa

    given = [value for value in values if value is not None]
    flat = np.concatenate([value.ravel() for value in given])
    widths = np.concatenate([np.full(len(value), value.shape[1]) for value in given])
    lengths = [0 if value is None else len(value) for value in values]
    inner = pa.ListArray.from_arrays(_offsets(widths), pa.array(flat))
    absent = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(_offsets(lengths), inner, mask=absent)


def _offsets(lengths: Any) -> Any:
    import pyarrow as pa

    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
