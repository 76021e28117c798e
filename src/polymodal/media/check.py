"""Looking through a data set before training: faults, unreadable media, duplicates."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from polymodal.media import likeness
from polymodal.media.folder import read
from polymodal.media.image import Image
from polymodal.media.part import LIMITS, Kind, Limits, MediaError, Pose, Text
from polymodal.media.sample import Invalid, Part, Sample
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.video import Video

SHOWN = 20  # pieces of evidence of one finding
CLASSES = 1000  # different targets that are counted one by one
BITS = 10  # of a picture's hash, where its look must agree too
LONG = 2000  # characters above which a text is kept as its sketch
JACCARD = 0.9

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a check found.

    Args:
        kind: what, in a few words that stay the same: `broken media`, `duplicate`, `crossing group`.
        severity: an error makes results worthless, a warning may have a good reason, a note informs.
        where: the part, column, tag or file it is about.
        n: how often it was found.
        evidence: the first cases, for people.
    """

    kind: str
    severity: Severity
    where: str
    n: int
    evidence: tuple[str, ...]


@dataclass(slots=True)
class PartSummary:
    """One part over all samples: how many have it, their kinds, and the range of what they measure.

    Args:
        n: samples that have it.
        readable: those whose part decodes.
        kinds: how many of each kind.
        low: least and ...
        high: ... greatest of each measure: characters; width and height in pixels; seconds; rows and columns.
        total: the sum of each measure.
    """

    n: int = 0
    readable: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    total: dict[str, float] = field(default_factory=dict)

    def add(self, measures: dict[str, float]) -> None:
        """Take one more into the ranges and sums."""
        self.readable += 1
        for name, value in measures.items():
            self.low[name] = min(self.low.get(name, value), value)
            self.high[name] = max(self.high.get(name, value), value)
            self.total[name] = self.total.get(name, 0) + value


@dataclass(slots=True)
class Summary:
    """What a data set holds.

    Args:
        n: samples.
        invalid: rows that are none.
        parts: by name.
        targets: how many `class`, `score` and `none`.
        classes: how many samples of each class, of the first 1,000 classes.
        scores: least and greatest score, None without any.
        groups: how many samples in each group; samples without one are not counted.
    """

    n: int = 0
    invalid: int = 0
    parts: dict[str, PartSummary] = field(default_factory=dict)
    targets: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    scores: tuple[float, float] | None = None
    groups: Counter[str] = field(default_factory=Counter)

    def count(self, sample: Sample) -> None:
        """Take one more sample, without its parts."""
        self.n += 1
        target = sample.target
        self.targets["none" if target is None else "class" if isinstance(target, str) else "score"] += 1
        if isinstance(target, str) and (target in self.classes or len(self.classes) < CLASSES):
            self.classes[target] += 1
        elif isinstance(target, float):
            low, high = self.scores or (target, target)
            self.scores = min(low, target), max(high, target)
        if sample.group is not None:
            self.groups[sample.group] += 1


def check(
    data: Path | Iterable[Sample | Invalid], *, limits: Limits = LIMITS
) -> tuple[list[Finding], Summary]:
    """Read all rows, decode all media under the limits, and look for what is there twice.

    Kinds of findings: `invalid row`, `missing media`, `broken media` (errors); `duplicate` (all parts of two
    samples are the same), `conflicting targets` (and their targets differ), `near-duplicate` (text of equal
    shingles, pictures and sounds that were re-encoded or rescaled), `mixed kinds` and `mixed targets`
    (warnings); `shared part` (one part of two samples is the same), `absent part` (notes).

    Memory grows by digests and prints alone, some 3 kB a medium.

    Args:
        data: a folder or file as `read` takes it, or samples.
        limits: what decoding one part may cost.

    Returns:
        The findings, errors first, and what the data set holds.

    Raises:
        MediaError: where the path is no data set.
    """
    rows = read(data, missing="absent", limits=limits) if isinstance(data, Path) else data
    looking = _Looking()
    for row in rows:
        if isinstance(row, Invalid):
            looking.summary.invalid += 1
            said = f"{row.where}: {row.id} {row.detail}" if row.id else f"{row.where}: {row.detail}"
            looking.add("invalid row", "error", row.reason, said)
        else:
            looking.sample(row)
    looking.repeated()
    for (name, kind), prints in looking.prints.items():
        for i, j, likeness_ in _ALIKE[kind](prints):
            a, b = prints[i], prints[j]
            if a.digest != b.digest:  # equal ones are no near-duplicates
                looking.add("near-duplicate", "warning", name, f"{a.id} ~ {b.id}, {kind}, {likeness_:.3f}")
    looking.whole()
    return looking.findings(), looking.summary


@dataclass(slots=True)
class _Print:
    """What is kept of one medium: whose it is, its content's digest, and what to know it again by."""

    id: str
    digest: str
    content: Any


class _Looking:
    """One check under way: what was counted, and the first pieces of evidence of each finding."""

    def __init__(self) -> None:
        self.summary = Summary()
        self.counts: Counter[tuple[str, Severity, str]] = Counter()
        self.evidence: dict[tuple[str, Severity, str], list[str]] = {}
        self.wholes: dict[bytes, list[tuple[str, str]]] = {}
        self.single: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
        self.prints: dict[tuple[str, Kind], list[_Print]] = {}

    def add(self, kind: str, severity: Severity, where: str, said: str, n: int = 1) -> None:
        """Count one more case."""
        self.counts[kind, severity, where] += n
        kept = self.evidence.setdefault((kind, severity, where), [])
        if len(kept) < SHOWN:
            kept.append(said)

    def findings(self) -> list[Finding]:
        """Errors first, else in the order they were met."""
        keys = sorted(self.counts, key=lambda key: ("error", "warning", "note").index(key[1]))
        return [Finding(*key, self.counts[key], tuple(self.evidence[key])) for key in keys]

    def sample(self, sample: Sample) -> None:
        """Count a sample, decode its parts, keep its prints."""
        self.summary.count(sample)
        digests = {name: self.part(sample.id, name, part) for name, part in sample.parts.items()}
        told = "".join(f"{name}\0{digest}\0" for name, digest in sorted(digests.items()))
        whole = hashlib.sha256(told.encode()).digest()[:16]
        if digests and all(digests.values()):
            target = "" if sample.target is None else str(sample.target)
            self.wholes.setdefault(whole, []).append((sample.id, target))
        for name, digest in digests.items():
            if digest:
                self.single.setdefault((name, digest), []).append((sample.id, whole))

    def part(self, name: str, key: str, part: Part) -> str:
        """The digest of a part that decodes, "" for one that does not."""
        about = self.summary.parts.setdefault(key, PartSummary())
        about.n += 1
        about.kinds[part.kind] += 1
        try:
            digest = part.digest()
            measures, content = _decoded(part)
        except MediaError as error:
            kind = "missing media" if error.reason == "missing" else "broken media"
            self.add(kind, "error", key, f"{name}: {error}")
            return ""
        about.add(measures)
        if content is not None:
            self.prints.setdefault((key, part.kind), []).append(_Print(name, digest, content))
        return digest

    def repeated(self) -> None:
        """Samples and parts with the same content."""
        for members in self.wholes.values():
            if len(members) > 1:
                self.add("duplicate", "warning", "sample", " = ".join(name for name, _ in members[:SHOWN]))
            if len({target for _, target in members if target}) > 1:
                said = " = ".join(f"{name}: {target}" for name, target in members[:SHOWN])
                self.add("conflicting targets", "warning", "sample", said)
        for (key, _), owners in self.single.items():
            if len({whole for _, whole in owners}) > 1:
                self.add("shared part", "note", key, " = ".join(name for name, _ in owners[:SHOWN]))

    def whole(self) -> None:
        """What only all samples together can show."""
        summary = self.summary
        if not summary.n:
            self.add("no samples", "error", "rows", f"0 samples, {summary.invalid} invalid rows")
        if summary.targets["class"] and summary.targets["score"]:
            self.add("mixed targets", "warning", "target", f"{dict(summary.targets)}")
        for key, about in summary.parts.items():
            if len(about.kinds) > 1:
                self.add("mixed kinds", "warning", key, f"{dict(about.kinds)}")
            if about.n < summary.n:
                said = f"{about.n} of {summary.n} samples have it"
                self.add("absent part", "note", key, said, summary.n - about.n)


def _decoded(part: Part) -> tuple[dict[str, float], Any]:
    """What a part measures, and its print; None for kinds and contents without one. Raises MediaError."""
    match part:
        case Text():
            said = part.read()
            return {"characters": len(said)}, _text_print(said) if said.strip() else None
        case Image():
            pixels = part.pixels()
            print_ = (likeness.picture_hash(pixels), likeness.picture_look(pixels))
            return {"width": pixels.shape[1], "height": pixels.shape[0]}, print_
        case Audio():
            wave, rate = part.wave(), part.rate()
            return {"seconds": len(wave) / rate}, likeness.sound_print(wave, rate)
        case Video():
            return _film(part)
        case Series():
            rows, columns = part.values().shape
            return {"rows": rows, "columns": columns}, None
        case Pose():
            part.matrix()
            return {}, None


def _film(part: Video) -> tuple[dict[str, float], Any]:
    """All frames and all sound decoded; the look of three frames, so that a shared opening is no likeness."""
    seconds = part.seconds()
    at = [seconds / 4, seconds / 2, seconds * 3 / 4]
    looks: list[NDArray[np.uint8]] = []
    n, shape = 0, (0, 0, 3)
    for frame in part.frames():
        n, shape = n + 1, frame.pixels.shape
        while len(looks) < 3 and frame.time - part.start >= at[len(looks)] - 1e-9:
            looks.append(likeness.picture_look(frame.pixels))
        last = frame.pixels
    if not n:
        raise MediaError("empty", repr(part), "no frames")
    looks += [likeness.picture_look(last)] * (3 - len(looks))
    if (sound := part.sound()) is not None:
        sound.wave()
    measures = {"seconds": seconds, "frames": n, "width": shape[1], "height": shape[0]}
    return measures, (seconds, np.concatenate(looks))


def _text_print(said: str) -> tuple[NDArray[np.uint64], str | NDArray[np.uint64]]:
    """Keys to find candidates by, then the text itself where it is shorter than its sketch."""
    sketch = likeness.min_hashes(said)
    return likeness.bands_of(sketch), said if len(said) <= LONG else sketch


def _near_texts(prints: list[_Print]) -> Iterator[likeness.Pair]:
    """Exact for short texts; a long one is judged by its 128 min-hashes, give or take .03."""
    for i, j in likeness.candidates([print_.content[0] for print_ in prints]):
        a, b = prints[i].content[1], prints[j].content[1]
        if isinstance(a, str) and isinstance(b, str):
            index = likeness.jaccard(a, b)
        else:
            left, right = (likeness.min_hashes(said) if isinstance(said, str) else said for said in (a, b))
            index = float(np.mean(left == right))
        if index >= JACCARD:
            yield i, j, index


def _near_images(prints: list[_Print]) -> Iterable[likeness.Pair]:
    looks = np.stack([print_.content[1] for print_ in prints])
    return likeness.near_pictures([print_.content[0] for print_ in prints], BITS, looks=looks)


def _near_films(prints: list[_Print]) -> Iterator[likeness.Pair]:
    for i, j, cosine in likeness.near_looks(np.stack([print_.content[1] for print_ in prints])):
        a, b = prints[i].content[0], prints[j].content[0]
        if abs(a - b) <= 0.02 * max(a, b) + 0.1:
            yield i, j, cosine


def _near_sounds(prints: list[_Print]) -> Iterable[likeness.Pair]:
    return likeness.near_sounds([print_.content for print_ in prints])


_ALIKE: dict[Kind, Callable[[list[_Print]], Iterable[likeness.Pair]]] = {
    "text": _near_texts,
    "image": _near_images,
    "audio": _near_sounds,
    "video": _near_films,
}
