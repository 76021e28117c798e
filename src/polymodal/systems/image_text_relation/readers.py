"""Real posts: LTEC's and TIRT's own files, NLVR's sentences, polymodal folders."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from polymodal.media import Image, Invalid, Part, Sample, Text, folder
from polymodal.systems.languages import distinct, language_of
from polymodal.systems.nlvr import nlvr

LAYOUTS = {
    "tirt": "textimage.csv, texts.csv, images/ (TIRT)",
    "nlvr": "dev.json and images/DIRECTORY/ (NLVR)",
    "ltec": "a JSON list of file_name, relation, tweet_id, text, and the pictures (LTEC)",
    "folder": "samples.jsonl, or Parquet shards with id, text, image and target (polymodal)",
}
_STRING = r'"(?:[^"\\]|\\.)*"'
_WORDS = rf"[\[{{]?\s*({_STRING}(?:\s*,\s*{_STRING})*)"
_TRANSLATED = re.compile(
    rf'"tweet_id":\s*"(\d+)",\s*"tweet_text":\s*{_WORDS}\s*[\]}}]?,\s*"english":\s*{_WORDS}'
)  # the published file is not JSON: it has texts in braces and lacks commas between records


def read(path: Path, columns: str = "", *, seed: int = 0) -> Iterator[Sample | Invalid]:
    """Posts of whatever lies at `path`; `columns` and `seed` change nothing.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, with those that are known.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if (path / "textimage.csv").is_file():
        return tirt(path)
    if (path / "dev.json").is_file() and (path / "images").is_dir():
        return nlvr(path)
    if any(path.glob("samples*.jsonl")) or any(path.glob("*.parquet")):
        return folder.read(path, missing="absent")
    for file in sorted(path.glob("*.json")):
        with file.open(encoding="utf-8-sig") as opened:
            head = opened.read(4096)
        if '"file_name"' in head and '"relation"' in head:
            return ltec(file)
    known = "\n  ".join(LAYOUTS.values())
    raise ValueError(f"{path}: no known layout. Known layouts:\n  {known}")


def _post(name: str, text: str, image: Path, target: str, language: str, pair: str, **tags: Any) -> Sample:
    parts: dict[str, Part] = {"image": Image(image)}
    if text:
        parts["text"] = Text(text, language)
    about: dict[str, str | float] = {
        "language": language,
        "pair": pair,
        **{k: v for k, v in tags.items() if v},
    }
    about |= {"text": flag} if (flag := _flag(text)) else {}
    return Sample(id=name, group=pair, parts=parts, target=target, tags=about)


def _flag(text: str) -> str:
    """What is odd about a text: empty, a link and no more, or no letter in it."""
    bare = re.sub(r"https?://\S+", "", text).strip()
    if not bare:
        return "link only" if text.strip() else "empty"
    return "" if any(letter.isalnum() for letter in bare) else "emoji only"


def ltec(file: Path) -> Iterator[Sample | Invalid]:
    """Posts in Latvian, and in English where a file beside it translates them.

    Ids that lost digits as floating point are mended from the picture's name (tag `repaired`).
    """
    english: dict[str, str] = {}
    for other in sorted(file.parent.glob("*.json")):
        for name, _, words in _TRANSLATED.findall(other.read_text("utf-8-sig") if other != file else ""):
            english[name] = " ".join(json.loads(word) for word in re.findall(_STRING, words)).strip()
    pictures = {path.name: path for path in file.parent.rglob("*.*")}
    seen: set[str] = set()
    for number, row in enumerate(json.loads(file.read_text("utf-8-sig"))):
        where, image, text = f"{file.name}[{number}]", str(row.get("file_name", "")), row.get("text") or ""
        name, relation = image.partition(".")[0], str(row.get("relation")).removesuffix(".0")
        if not name or relation not in ("0", "1", "2", "3") or name in seen:
            what = f"relation {relation!r} of {image!r}" + (
                ", which is there already" if name in seen else ""
            )
            yield Invalid(name, where, "excluded", what)
            continue
        seen.add(name)
        mended, path = name != str(row.get("tweet_id")), pictures.get(image, file.parent / image)
        yield _post(f"{name}-lv", text, path, relation, "lv", name, repaired=float(mended))
        if english.get(name):
            yield _post(f"{name}-en", english[name], path, relation, "en", name, repaired=float(mended))


def tirt(path: Path) -> Iterator[Sample | Invalid]:
    """TIRT's labels with the user's texts; what has spilled, disagrees or is doubled is Invalid."""
    texts: dict[str, str] = {}
    if (path / "texts.csv").is_file():
        with (path / "texts.csv").open(encoding="utf-8-sig", newline="") as rows:
            texts = {row["tweet_id"]: row["text"] for row in csv.DictReader(rows)}
    seen: set[str] = set()
    with (path / "textimage.csv").open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        for number, row in enumerate(csv.reader(lines)):
            name, *bits = [cell.strip() for cell in row[:7]] or [""]
            if number == 0 or not name:
                continue
            where = f"textimage.csv:{number + 1}"
            if len(bits) < 6 or not set(bits) <= {"0", "1"}:
                yield Invalid(name, where, "excluded", "labels that are not 0 or 1")
                continue
            relation = 2 * (bits[1] == "0") + (bits[0] == "0")
            if bits[2:].index("1") != relation if bits[2:].count("1") == 1 else True:
                yield Invalid(name, where, "excluded", "two labels and one-hot classes that disagree")
            elif name in seen:
                yield Invalid(name, where, "excluded", "an id that is there already")
            else:
                seen.add(name)
                image = path / "images" / f"{name}.jpg"
                yield _post(name, texts.get(name, ""), image, str(relation), "en", name)


def corpus(path: Path, languages: Sequence[str]) -> tuple[list[Sample], list[Invalid]]:
    """Labelled posts in these languages, in their order, without reposts; and what was left out.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, or no such post.
    """
    rows = list(read(path))
    posts = [
        s for s in rows if isinstance(s, Sample) and s.target is not None and language_of(s) in languages
    ]
    if not posts:
        raise ValueError(f"{path}: no labelled post in {', '.join(languages)}")
    classes = all(str(post.target) in (*"0123",) for post in posts)  # NLVR shows one sentence many pictures
    posts, gone = distinct(posts) if classes else (posts, [])
    posts.sort(key=lambda post: languages.index(language_of(post)))
    return posts, [*(row for row in rows if isinstance(row, Invalid)), *gone]
