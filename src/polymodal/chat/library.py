"""A folder of texts to look things up in: passages and sources, by words and by sense."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from polymodal.media import Invalid, MediaError, Text
from polymodal.media.part import LIMITS, Limits, bytes_of

Encoder = Callable[[Sequence[str]], Float[np.ndarray, "n d"]]

SUFFIXES = (".txt", ".md", ".jsonl")
WORDS = 200  # of a passage, about
LONGEST = 4_000  # characters of a passage without a blank to cut it at
MOST = 200_000  # passages
FILES = 100_000
BLOCK = 256  # passages that an encoder is given at once
FUSED = 60  # reciprocal rank fusion's constant: 1 / (60 + rank)
DEPTH = 100  # ranks of each list that are fused
_WORD = re.compile(r"[^\W_]+")
_ENDS = re.compile(r"(ations?|ings?|ers?|ed|es|s|ly|ness)$")
_STOP = frozenset(
    _WORD.findall(
        "a about all am an and any are as at be been but by can could did do does for from had has have "
        "he her his how i if in into is it its me my no not of on or our please she should so tell than "
        "that the their them then there these they this those to was we were what when where which who "
        "why will with would you your"
    )
)


def terms(text: str) -> list[str]:
    """The words that a text is found by: lower-case, without English function words and endings."""
    return [_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP]


def _stem(word: str) -> str:
    """`smoker`, `smoking` and `smokes` alike; crude, and the same for what is sought and what is found."""
    if len(word) < 5 or not word.isascii():
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    cut = _ENDS.sub("", word)
    return (cut if len(cut) >= 3 else word).rstrip("e")


@dataclass(frozen=True, eq=False)  # no slots: the index is made once, when it is first needed
class Ranked:
    """Texts that are ranked by BM25."""

    texts: tuple[str, ...]

    @cached_property
    def _index(self) -> Any:
        import bm25s

        index = bm25s.BM25(method="lucene")
        # A text without words would leave the mean length undefined; no query holds a blank.
        index.index([terms(text) or [" "] for text in self.texts], show_progress=False)
        return index

    def scores(self, query: str) -> Float[np.ndarray, " n"]:
        """BM25 of every text, 0 where no word of the query is in it."""
        sought = terms(query)
        if not self.texts or not sought:
            return np.zeros(len(self.texts))
        return np.asarray(self._index.get_scores(sought), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Passage:
    """Some lines of a text.

    Attributes:
        text: the words.
        source: where they stand, `file:line`, or as the row of a JSON Lines file says.
        title: of the text, "" where it has none.
        score: in a search: BM25, or the fused reciprocal ranks where an encoder takes part.
    """

    text: str
    source: str
    title: str = ""
    score: float = 0.0


@dataclass(frozen=True, eq=False)
class Library:
    """Passages to search in.

    Attributes:
        passages: in order of files and lines.
        invalid: files and rows that could not be read.
        encoder: texts to vectors; None searches by words alone.
    """

    passages: tuple[Passage, ...]
    invalid: tuple[Invalid, ...] = ()
    encoder: Encoder | None = None

    @classmethod
    def read(cls, path: Path, *, encoder: Encoder | None = None, limits: Limits = LIMITS) -> Library:
        """The texts of a folder and the folders in it, or one file.

        .txt and .md are split at blank lines into passages of some 200 words; a row of .jsonl has `text`, and
        may have `title` and `source`. Other files are left alone. What cannot be read, or comes after the
        200,000th passage, is in `invalid`.

        Args:
            path: the folder or file.
            encoder: texts to vectors, "n d"; searches then go by words and by sense.
            limits: what one file may cost.

        Raises:
            MediaError: nothing there, or no readable text in it.
        """
        path = Path(path)
        passages: list[Passage] = []
        invalid: list[Invalid] = []
        for file, name in _files(path):
            for found in _file(file, name, path, limits):
                if isinstance(found, Invalid):
                    invalid.append(found)
                elif len(passages) < MOST:
                    passages.append(found)
                else:
                    invalid.append(Invalid("", found.source, "too_large", f"more than {MOST:,} passages"))
                    break
        if not passages:
            first = f"; {invalid[0].where}: {invalid[0].detail}" if invalid else ""
            raise MediaError("empty", str(path), f"no text to look up; wanted: {' '.join(SUFFIXES)}{first}")
        return cls(tuple(passages), tuple(invalid), encoder)

    @cached_property
    def _words(self) -> Ranked:
        return Ranked(tuple(f"{one.title}\n{one.text}" for one in self.passages))

    @cached_property
    def _vectors(self) -> Float[np.ndarray, "n d"]:
        texts = self._words.texts
        return np.concatenate([self._encoded(texts[at : at + BLOCK]) for at in range(0, len(texts), BLOCK)])

    def _encoded(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Vectors of length 1, or 0."""
        assert self.encoder is not None
        found = np.asarray(self.encoder(texts), dtype=np.float64)
        if found.ndim != 2 or len(found) != len(texts) or not np.isfinite(found).all():
            shape = found.shape
            raise ValueError(f"the encoder gave {shape} for {len(texts)} texts; finite n x d is wanted")
        out: Float[np.ndarray, "n d"] = found / np.maximum(
            np.linalg.norm(found, axis=1, keepdims=True), 1e-12
        )
        return out

    def search(self, query: str, n: int = 5) -> tuple[Passage, ...]:
        """The best passages, best first; equal ones in their order. Fewer than n where fewer fit.

        With an encoder both rankings are fused by reciprocal rank: a passage's score is the sum of
        1 / (60 + rank) over the two.

        Raises:
            ValueError: n below 1, or an encoder whose vectors do not fit.
        """
        if n < 1:
            raise ValueError(f"n={n}: at least 1")
        scores = self._words.scores(query)
        if self.encoder is not None:
            cosines = self._vectors @ self._encoded([query])[0]
            scores = _fused(scores) + _fused(cosines)
        order = np.argsort(-scores, kind="stable")[:n]
        return tuple(replace(self.passages[at], score=float(scores[at])) for at in order if scores[at] > 0)


def _fused(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """1 / (60 + rank) of the first 100, ranks from 1; 0 for the others and for what does not fit at all."""
    order = np.argsort(-scores, kind="stable")[:DEPTH]
    out = np.zeros(len(scores))
    out[order] = 1.0 / (FUSED + 1 + np.arange(len(order)))
    out[scores <= 0] = 0
    return out


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Files with their names below the folder, in order; hidden ones are left alone."""
    if path.is_file():
        yield path, path.name
        return
    if not path.is_dir():
        raise MediaError("missing", str(path), "no such file or folder")
    n = 0
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        if file.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in name.parts):
            n += 1
            if n > FILES:
                raise MediaError("too_large", str(path), f"more than {FILES:,} files")
            yield file, name.as_posix()


def _file(file: Path, name: str, root: Path, limits: Limits) -> Iterator[Passage | Invalid]:
    if root.is_dir() and not file.resolve().is_relative_to(root.resolve()):
        yield Invalid("", name, "unsupported", "a link that leads out of the folder")
        return
    try:
        if file.suffix.lower() == ".jsonl":
            lines = bytes_of(file, limits).split(b"\n")
            yield from (
                found for n, line in enumerate(lines, 1) if line.strip() for found in _row(line, name, n)
            )
        elif file.suffix.lower() in SUFFIXES:
            yield from _passages(Text(file, limits=limits).read(), name)
        else:
            yield Invalid("", name, "unsupported", f"none of {' '.join(SUFFIXES)}")
    except MediaError as error:
        yield Invalid("", name, error.reason, error.what)


def _row(line: bytes, name: str, number: int) -> Iterator[Passage | Invalid]:
    where = f"{name}:{number}"
    try:
        row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        yield Invalid("", where, "broken", f"not JSON: {str(error)[:100]}")
        return
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
        yield Invalid("", where, "schema", "no object with a text")
        return
    title, source = (str(row.get(key) or "") for key in ("title", "source"))
    for found in _passages(row["text"], where):
        yield replace(found, source=source or where, title=title)


def _passages(text: str, name: str) -> Iterator[Passage]:
    """Paragraphs joined up to 200 words, cut where one is longer; a heading begins a new passage."""
    title, start, held, n = "", 1, list[str](), 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        heading = re.match(r"#{1,6}\s+(.*)", line)
        if held and (heading or n >= WORDS or (not line.strip() and n >= WORDS // 2)):
            yield from _cut(held, f"{name}:{start}", title)
            held, n = [], 0
        if heading:
            title = heading[1].strip()
        elif line.strip():
            start = start if held else number
            held.append(line.strip())
            n += len(line.split())
    if held:
        yield from _cut(held, f"{name}:{start}", title)


def _cut(lines: list[str], source: str, title: str) -> Iterator[Passage]:
    words = [
        word[at : at + LONGEST] for word in " ".join(lines).split() for at in range(0, len(word), LONGEST)
    ]
    held, size, most = list[str](), 0, WORDS * 2
    for word in words:
        if held and (len(held) >= most or size + len(word) > LONGEST):
            yield Passage(" ".join(held), source, title)
            held, size = [], 0
        held.append(word)
        size += len(word) + 1
    yield Passage(" ".join(held), source, title)
