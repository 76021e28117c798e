"""Samples and messages: parts with a name, a group and a target; any file as a part."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polymodal.media.image import Image
from polymodal.media.part import Kind, MediaError, Pose, Text
from polymodal.media.series import Series
from polymodal.media.sound import Audio
from polymodal.media.video import Video

Part = Text | Image | Audio | Video | Series | Pose

SUFFIXES: Mapping[str, Kind] = {
    ".txt": "text",
    ".png": "image",
    ".jpg": "image",
    ".jpeg": "image",
    ".webp": "image",
    ".gif": "image",
    ".wav": "audio",
    ".flac": "audio",
    ".ogg": "audio",
    ".mp4": "video",
    ".webm": "video",
    ".avi": "video",
    ".npy": "series",
    ".csv": "series",
    ".parquet": "series",
}
READERS: Mapping[Kind, Callable[..., Part]] = {
    "text": Text,
    "image": Image,
    "audio": Audio,
    "video": Video,
    "series": Series,
}


def part_of(path: Path, kind: Kind | None = None, **options: Any) -> Part:
    """A file as the part it holds; nothing is opened yet.

    Args:
        path: the file.
        kind: text, image, audio, video or series; by the suffix when None.
        options: fields of the part, such as `start`, `end`, `columns`, `limits`.

    Raises:
        MediaError: unsupported, for an unknown suffix, kind or option.
    """
    found = kind or SUFFIXES.get(path.suffix.lower())
    if found is None or found not in READERS:
        known = " ".join(SUFFIXES) if kind is None else " ".join(READERS)
        raise MediaError(
            "unsupported", str(path), f"{kind or path.suffix or 'no suffix'} is none of: {known}"
        )
    try:
        return READERS[found](path, **options)
    except TypeError as error:
        raise MediaError(
            "unsupported", str(path), f"options of {found}: {sorted(options)}: {error}"
        ) from error


def verify(part: Part) -> None:
    """Decodes the whole part and keeps nothing. Raises MediaError where anything of it cannot be read."""
    match part:
        case Text():
            part.read()
        case Image():
            part.pixels()
        case Audio():
            part.wave()
        case Video():
            for _ in part.frames():
                pass
            sound = part.sound()
            if sound is not None:
                sound.wave()
        case Series():
            part.values()
        case Pose():
            part.matrix()


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says: a role such as user, assistant or system, and the parts of it in order."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to learn from or to judge.

    Args:
        id: its name, unique in its set.
        parts: what was given, by name; an absent part is not in it.
        target: a class (str), a score (float), or None where it is not known.
        group: what must not be split between train and test: a speaker, a subject, a video.
        tags: anything else that is known of it.
    """

    id: str
    parts: Mapping[str, Part]
    target: str | float | None = None
    group: str | None = None
    tags: Mapping[str, str | float] = field(default_factory=dict)

    def digest(self) -> str:
        """32 hex digits of the parts and their names: equal for equal input, whatever id or target says.

        Raises:
            MediaError: where a part's file cannot be read.
        """
        state = hashlib.sha256()
        for name in sorted(self.parts):
            state.update(f"{name}\0{self.parts[name].digest()}\0".encode())
        return state.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A sample that could not be read: counted, never dropped silently or scored 0.

    Args:
        id: its name, where that much could be read, else "".
        where: the file and row, or the path.
        reason: as MediaError's, or a reader's own word such as `schema`.
        detail: a sentence for people.
    """

    id: str
    where: str
    reason: str
    detail: str
