"""Benchmark tables of vision-language models (TSV with base64), and short answers."""

from __future__ import annotations

import base64
import binascii
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from polymodal.media import Image, Invalid, MediaError, Part, Sample, Text


def answer_of(reply: str, choices: Sequence[str] = ()) -> str:
    """What a reply answers: its last sentence, or the last of the letters offered; "" for neither."""
    said = reply.strip().lower().rstrip(" .")
    said = re.split(r"[.:]\s+", said)[-1].strip()
    if choices:
        letters = re.findall(r"\b([a-z])\b", said)
        known = [letter for letter in letters if letter.upper() in choices]
        return known[-1].upper() if known else ""
    return said


def table(path: Path) -> Iterator[Sample | Invalid]:
    """A benchmark table of vision-language models (TSV), one sample a row.

    Columns: `index`, `image` (base64, or the index of the row that has the picture), `question`, `answer`,
    options `A` to `D`, `category`, which becomes the tag `set`. Without its picture a row is Invalid.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a column that is needed is missing.
    """
    csv.field_size_limit(1 << 28)  # a picture is one cell
    pictures: dict[str, bytes] = {}
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        if lost := {"index", "image", "question", "answer"} - set(rows.fieldnames or ()):
            raise ValueError(f"{path}: no column {', '.join(sorted(lost))}; it has {rows.fieldnames}")
        for number, row in enumerate(rows, 2):
            yield _row(row, pictures, f"{path}:{number}")


def _row(row: dict[str, str], pictures: dict[str, bytes], where: str) -> Sample | Invalid:
    index, cell = row["index"], row["image"] or ""
    try:
        data = pictures[cell] if cell in pictures else base64.b64decode(cell, validate=True)
        image = Image(data)
        image.size()
    except (binascii.Error, MediaError) as error:
        return Invalid(index, where, "broken", f"the picture cannot be read: {error}")
    pictures[index] = data
    options = {letter: text for letter in "ABCD" if (text := row.get(letter) or "")}
    lines = [row["question"], *(f"{letter}. {text}" for letter, text in options.items())]
    lines += ["Answer with the letter."] if options else []
    tags: dict[str, str | float] = {"set": row.get("category") or "all", "choices": "".join(options)}
    parts: dict[str, Part] = {"image": image, "prompt": Text("\n".join(lines))}
    return Sample(index, parts, row["answer"], tags=tags)
