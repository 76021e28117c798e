"""Where talks come from: a person's own files, the official stages, official runs."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polymodal.judge.talks.ready import MARK, lines, made, ready
from polymodal.media import Invalid, Sample

CELL = 200_000  # characters of a cell at most


def read(path: Path, images: Path | None = None) -> Iterator[Sample | Invalid]:
    """Conversations from `samples.jsonl` (or its folder), official stages (`ConvGen/`), or an official run.

    Args:
        path: file or folder; what cannot be used in it is given as Invalid, by file and row.
        images: the pictures' folder where it is not beside the conversations.

    Raises:
        FileNotFoundError: nothing of the kind there.
    """
    file = path / "samples.jsonl" if path.is_dir() else path
    stages = [path / name for name in ("ConvGenTextPorted", "ConvGen") if (path / name).is_dir()]
    if file.suffix == ".jsonl" and file.is_file():
        yield from ready(file, images or file.parent)
    elif stages:
        for file in sorted(stages[0].glob("*.tsv")):
            for k, cells in enumerate(_cells(file, header=True), 2):
                yield _official(cells, f"{file.name}:{k}", file.stem, images or path / "MinedImages")
    elif path.suffix == ".tsv" and path.is_file():
        for k, cells in enumerate(_cells(path), 1):
            yield _recorded(cells, f"{path.name}:{k}", path.stem)
    else:
        raise FileNotFoundError(f"{path}: neither samples.jsonl, nor ConvGen/, nor a run's .tsv")


def policies(path: Path) -> dict[str, dict[str, str]]:
    """Policies by id from `policies.jsonl`, given or beside the conversations; none where there is none.

    Raises:
        ValueError: a policy lacks id, harm, name, rule or judge_note (which may be empty).
    """
    folder = path if path.is_dir() else path.parent
    file = path if path.name == "policies.jsonl" else folder / "policies.jsonl"
    rows = lines(file, ("id", "harm", "name", "rule", "judge_note")) if file.is_file() else []
    return {row["id"]: row for row in rows}


def _cells(path: Path, *, header: bool = False) -> Iterator[Any]:
    """Rows of a tab-separated file, as lists or by column; cells of any size, judged by who reads them."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as stream:
            yield from (csv.DictReader if header else csv.reader)(stream, delimiter="\t")
    finally:
        csv.field_size_limit(before)


def _official(row: Mapping[str, Any], where: str, stem: str, folder: Path) -> Sample | Invalid:
    """A row of ConvGen: a Python list of turns in a cell, the picture by file, or by its row's number."""
    cell, name, number = row.get("GenConv") or "", str(row.get("MinedImages") or ""), row.get("Index")
    try:
        turns = ast.literal_eval(cell) if len(cell) <= CELL else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        turns = None
    turns = [_plain(turn) for turn in turns] if isinstance(turns, list) else turns
    more = {
        "seed": row.get("GeneratedSeed"),
        "port": _plain(row.get("GPTXResult") or "").replace(MARK, "").strip(),
    }
    tags = {"policy": row.get("SubPolicy") or stem, "harm": stem.split("_")[0]}
    if isinstance(turns, list) and str(row.get("NumTurns") or len(turns)).strip() != str(len(turns)):
        tags["told_turns"] = row["NumTurns"]  # the list wins
    here = folder / f"{stem}_images"
    return made(
        f"{stem}-{number}",
        where,
        turns,
        [folder / name, here / name, here / f"{number}_0.jpg"],
        None,
        tags,
        more,
    )


def _recorded(row: Sequence[str], where: str, stem: str) -> Sample | Invalid:
    """A finished talk of an official run: number, row, messages; its replies are judged as they are."""
    try:
        talk = [(one["role"], one["content"]) for one in json.loads(row[2]) if one["role"] != "system"]
        texts = [(r, c if isinstance(c, str) else "\n".join(p.get("text", "") for p in c)) for r, c in talk]
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        return Invalid(f"{stem}-{row[0] if row else ''}", where, "schema", f"no talk: {error}")
    replies = [text for role, text in texts if role == "assistant"]
    harm = stem.removesuffix("_harm").split("_")[-1]
    more = {f"reply{t}": text or " " for t, text in enumerate(replies, 1)}
    turns, tags = (
        [text for role, text in texts if role == "user"],
        {"harm": harm, "policy": harm, "subject": stem},
    )
    return made(row[0], where, turns, [], None, tags, more)


def _plain(text: Any) -> Any:
    """The official files write breaks as backslash and letter."""
    return (
        text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r") if isinstance(text, str) else text
    )
