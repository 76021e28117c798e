"""What a person brings to talks: ready conversations, pictures with words, labels by people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from polymodal.judge.labels import Labels
from polymodal.media import Image, Invalid, MediaError, Sample, Text, verify
from polymodal.media.likeness import near_pictures, picture_hash

SHOWN = (".png", ".jpg", ".jpeg", ".webp", ".gif")
MARK, LONGEST = "<img_turn>", 100  # where the picture is shown; turns of a talk at most


def ready(path: Path, images: Path) -> Iterator[Sample | Invalid]:
    """Conversations of a JSON Lines file: id, group, turns, image, image_turn, target, seed, port, tags.

    A row whose tag `twin_of` names another is its harmless twin and becomes a part of it.

    Args:
        path: the file.
        images: what its pictures' paths are relative to.
    """
    rows = lines(path)
    tags = [row["tags"] if isinstance(row.get("tags"), dict) else {} for row in rows]
    twins = {str(tag["twin_of"]): row for row, tag in zip(rows, tags, strict=True) if "twin_of" in tag}
    for k, (row, tag) in enumerate(zip(rows, tags, strict=True), 1):
        if "twin_of" not in tag:
            yield _row(row, tag, f"{path.name}:{k}", images, twins.get(str(row.get("id")), {}))


def lines(path: Path, needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Objects of a JSON Lines file; a line that is none has no keys.

    Raises:
        ValueError: a row lacks a needed key.
    """
    found = []
    for k, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        found.append(row if isinstance(row, dict) else {})
        if missing := [key for key in needed if key not in found[-1]]:
            raise ValueError(f"{path.name}:{k}: no {', '.join(missing)}")
    return found


def _row(
    row: dict[str, Any], tags: Mapping[str, Any], where: str, folder: Path, twin: Mapping[str, Any]
) -> Sample | Invalid:
    more = {key: row.get(key) for key in ("seed", "port", "system")}
    more |= {f"twin{t}": text for t, text in enumerate(twin.get("turns") or [], 1)}
    tags = {"policy": row.get("target"), "harm": row.get("target"), **tags}
    images = [folder / str(row["image"])] if row.get("image") else []
    found = made(
        str(row.get("id") or where), where, row.get("turns"), images, row.get("image_turn"), tags, more
    )
    if isinstance(found, Sample) and row.get("group"):
        return replace(found, group=str(row["group"]))
    return found


def made(
    item: str,
    where: str,
    turns: Any,
    images: Sequence[Path],
    shown: Any,
    tags: Mapping[str, Any],
    more: Mapping[str, Any],
) -> Sample | Invalid:
    """A conversation of these turns and the first picture that is there, or what is wrong with it.

    Args:
        item: its name.
        where: file and row.
        turns: texts; one of them may hold `<img_turn>`.
        images: where its picture may lie; none where it has no picture.
        shown: the turn that shows it, from 1, where no mark says so.
        tags: kept with it.
        more: other texts by name.
    """
    if not isinstance(turns, list) or not 0 < len(turns) <= LONGEST:
        return Invalid(item, where, "schema", f"turns are a list of 1 to {LONGEST} texts")
    if not all(isinstance(turn, str) and turn.strip() for turn in turns):
        return Invalid(item, where, "schema", "a turn is no text, or empty")
    marked = [t for t, turn in enumerate(turns, 1) if MARK in turn] or [shown or int(bool(images))]
    if len(marked) > 1 or not isinstance(marked[0], int) or not 0 <= marked[0] <= len(turns):
        return Invalid(item, where, "schema", f"one turn shows the picture, not {marked} of {len(turns)}")
    parts: dict[str, Any] = {
        f"turn{t}": Text(turn.replace(MARK, "").strip()) for t, turn in enumerate(turns, 1)
    }
    parts |= {name: Text(text) for name, text in more.items() if isinstance(text, str) and text}
    kept: dict[str, str | float] = {k: v for k, v in tags.items() if isinstance(v, str | int | float)}
    if not images:
        return Sample(item, parts, None, item, kept | {"image_turn": 0})
    picture = Image(next((path for path in images if path.is_file()), images[-1]))
    try:
        verify(picture)
        return Sample(
            item, parts | {"image": picture}, None, picture.digest(), kept | {"image_turn": marked[0]}
        )
    except MediaError as error:
        return Invalid(item, where, error.reason, str(error))


def pictures(folder: Path) -> list[Sample]:
    """The person's own pictures, with title and words; `metadata.jsonl` (file, title, tags) or file names."""
    listed = folder / "metadata.jsonl"
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SHOWN]
    rows = [{"file": str(file.relative_to(folder))} for file in files]
    found = []
    for row in lines(listed, ("file",)) if listed.is_file() else rows:
        title = str(row.get("title") or Path(row["file"]).stem)
        words = f"{title} {row.get('tags', '')}".lower().replace("_", " ")
        tags: dict[str, str | float] = {"title": title, "words": " ".join(re.findall(r"\w+", words))}
        found.append(Sample(row["file"], {"image": Image(folder / row["file"])}, tags=tags))
    return found


def merged(samples: list[Sample]) -> list[Sample]:
    """Samples whose pictures are near-duplicates (difference hash, 6 bits of 64 at most) in one group."""
    seen = {one.group: picture for one in samples if isinstance(picture := one.parts.get("image"), Image)}
    names, of = list(seen), {name: name for name in seen}
    for i, j, _ in near_pictures([picture_hash(one.pixels()) for one in seen.values()]):
        of |= {name: of[names[i]] for name in names if of[name] == of[names[j]]}
    return [replace(one, group=of.get(one.group, one.group)) for one in samples]


def people(path: Path) -> Labels:
    """Human labels of talks from JSON Lines: case (`subject|item|variant`), rater, score, value.

    Raises:
        ValueError: a row that is not so; the message names it.
    """
    rows = []
    for k, row in enumerate(lines(path, ("case", "rater", "score", "value")), 1):
        case = str(row["case"]).split("|")
        if len(case) != 3:
            raise ValueError(f"{path.name}:{k}: a case is subject|item|variant, not {row['case']!r}")
        about = {"judge": str(row["rater"]), "score": str(row["score"]), "value": float(row["value"])}
        rows.append(dict(zip(("subject", "item", "variant"), case, strict=True)) | about)
    return Labels.from_rows(rows)
