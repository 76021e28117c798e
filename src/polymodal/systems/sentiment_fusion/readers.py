"""Real data: which layout lies at a path, and its samples."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from polymodal.media import Audio, Frame, Image, Invalid, Part, Sample, Text, Video
from polymodal.media.part import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Rows = Iterator[Sample | Invalid]

LAYOUTS: Mapping[str, str] = {
    "iemocap": "Session*/dialog/EmoEvaluation/*.txt (the IEMOCAP release)",
    "meld": "{train,dev,test}_sent_emo.csv (MELD)",
    "digits": "{digit}_{speaker}_{index}.wav, here or in recordings/ (spoken digits)",
    "folder": "samples.jsonl, or Parquet shards with an id and a target column (polymodal)",
    "tables": "one CSV, Parquet or NPZ file a part, with -o columns=label:NAME,group:NAME",
}
EMOTIONS: Mapping[str, str] = {
    "ang": "angry",
    "hap": "happy",
    "exc": "excited",
    "sad": "sad",
    "fru": "frustrated",
    "neu": "neutral",
}
TABLES = (".csv", ".parquet", ".npz")
PICKLE = (
    "{} is a pickle, which can run code when it is read. Convert it first, with the reader that takes arrays "
    "and plain containers only: polymodal data convert {} OUT"
)
_LABEL = re.compile(r"\[(\d+\.?\d*) - (\d+\.?\d*)\]\s+(\w+)\s+(\w+)\s+\[([^\]]+)\]")
_SPOKEN = re.compile(r"(\S+)\s+\[[\d.]+-[\d.]+\]:\s*(.*)")
_FOLDER = re.compile(r"samples(-.*)?\.jsonl")
_DIGIT = re.compile(r"(\d)_([A-Za-z]\w*?)_(\d+)")


def detect(path: Path, columns: str = "") -> str:
    """Which of `LAYOUTS` lies at `path`; `columns` settles that Parquet files are feature tables.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a pickle, or no known layout (with the list of layouts and what was found).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file())
    suffixes = {file.suffix.lower() for file in files}
    if path.is_dir() and any(path.glob("Session*/dialog/EmoEvaluation")):
        return "iemocap"
    if any(file.name.endswith("_sent_emo.csv") for file in files):
        return "meld"
    if path.is_dir() and any(_DIGIT.fullmatch(wav.stem) for wav in _wavs(path)):
        return "digits"
    if any(_FOLDER.fullmatch(file.name) for file in files) or (".parquet" in suffixes and not columns):
        return "folder"
    if suffixes & set(TABLES):
        return "tables"
    for file in files:
        if file.suffix.lower() in (".pkl", ".pickle"):
            raise ValueError(PICKLE.format(file, file))
    found = ", ".join(sorted(p.name for p in (path.iterdir() if path.is_dir() else [path]))[:5]) or "nothing"
    known = "\n  ".join(LAYOUTS.values())
    raise ValueError(f"{path}: no known layout (found {found}). Known layouts:\n  {known}")


def read(path: Path, columns: str = "", *, seed: int = 0) -> Rows:
    """Samples of whatever lies at `path`, streaming; `columns` as `label:NAME,group:NAME` for tables.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, or tables that do not fit together.
    """
    path = Path(path)
    layout = detect(path, columns)
    if layout == "digits":
        return digits(path, seed=seed)
    if layout == "tables":
        return _tables(path, columns)
    if layout == "folder":
        from polymodal.media import folder

        return folder.read(path, missing="absent")
    return iemocap(path, half=columns.partition("left:")[2]) if layout == "iemocap" else meld(path)


def iemocap(path: Path, half: str = "") -> Rows:
    """The IEMOCAP release: six emotions kept, the other codes come out as `Invalid(reason="excluded")`.

    The group is the speaker: the session and the letter before the last three digits of the turn (the letter
    after `Ses01` names who wore the motion markers). Sessions, dialogues and times are tags.

    Args:
        path: Folder that holds `Session1` to `Session5`.
        half: `F` or `M`: who is seen in the left half of the pictures; without it both are seen.
    """
    for labels in sorted(path.glob("Session*/dialog/EmoEvaluation/*.txt")):
        if labels.name.startswith("._"):
            continue
        session, dialogue = labels.parents[2], labels.stem
        spoken = _transcript(session / "dialog" / "transcriptions" / labels.name)
        film = session / "dialog" / "avi" / "DivX" / f"{dialogue}.avi"
        for number, line in enumerate(labels.read_text("utf-8", errors="replace").splitlines(), 1):
            where = f"{labels.relative_to(path)}:{number}"
            if not line.startswith("[") or not (found := _LABEL.match(line)):
                if line.startswith("["):
                    yield Invalid(
                        dialogue, where, "broken", f"not [start - end] turn emotion [v, a, d]: {line!r}"
                    )
                continue
            start, end, turn, code, scores = found.groups()
            if code not in EMOTIONS:
                yield Invalid(turn, where, "excluded", f"emotion {code}")
                continue
            sex = turn[-4]
            parts: dict[str, Part] = {"text": Text(spoken[turn])} if turn in spoken else {}
            wav = session / "sentences" / "wav" / dialogue / f"{turn}.wav"
            parts |= {"audio": Audio(wav)} if wav.exists() else {}
            if film.exists():
                side = ("left" if sex == half else "right") if half else "both"
                parts["video"] = Half(film, start=float(start), end=float(end), side=side)
            tags: dict[str, str | float] = {
                "session": session.name.removeprefix("Session"),
                "sex": sex,
                "recording": dialogue,
                "dialogue": dialogue,
                "start": float(start),
                "end": float(end),
            }
            tags |= zip(("valence", "activation", "dominance"), map(float, scores.split(",")), strict=False)
            yield Sample(
                id=turn, parts=parts, target=EMOTIONS[code], group=f"{tags['session']}{sex}", tags=tags
            )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Half(Video):
    """A video in which one side of the picture counts: two people were filmed into one."""

    side: str = "both"

    def frames(self, every: float | None = None, count: int | None = None) -> Iterator[Frame]:
        """As `Video.frames`, cut to the side."""
        for frame in Video.frames(self, every, count):
            middle = frame.pixels.shape[1] // 2
            cut = {"left": slice(middle), "right": slice(middle, None), "both": slice(None)}[self.side]
            yield Frame(frame.time, frame.pixels[:, cut])

    def digest(self) -> str:
        """As `Video.digest`; the two sides differ."""
        return digest_of("video", self.source, self.start, self.end, self.side)


def meld(path: Path) -> Rows:
    """MELD's CSV files: group = dialogue, tags hold speaker, official split, season, episode and times."""
    for file in sorted(path.glob("*_sent_emo.csv") if path.is_dir() else [path]):
        split = file.name.partition("_")[0]
        with file.open(encoding="utf-8", errors="replace", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), 2):
                where = f"{file.name}:{number}"
                try:
                    dialogue = f"{split}-{int(row['Dialogue_ID'])}"
                    yield Sample(
                        id=f"{dialogue}-{int(row['Utterance_ID'])}",
                        parts={"text": Text(row["Utterance"])},
                        target=row["Emotion"].strip().lower(),
                        group=dialogue,
                        tags={
                            "split": split,
                            "speaker": row["Speaker"],
                            "recording": f"s{row['Season']}e{row['Episode']}",
                            "start": _seconds(row["StartTime"]),
                            "end": _seconds(row["EndTime"]),
                        },
                    )
                except (KeyError, ValueError, AttributeError, TypeError) as error:
                    yield Invalid(f"{split}-{number}", where, "broken", f"{type(error).__name__}: {error}")


def digits(path: Path, *, seed: int = 0) -> Rows:
    """Spoken digits, each paired with a picture of a handwritten digit of the same class.

    Pictures (8 x 8, scikit-learn) are dealt into disjoint pools, one a speaker, and never cross a fold.
    """
    from sklearn.datasets import load_digits

    found = [(wav, match) for wav in _wavs(path) if (match := _DIGIT.fullmatch(wav.stem))]
    speakers = sorted({match[2] for _, match in found})
    pictures = load_digits()
    order = np.random.default_rng(seed).permutation(len(pictures.target))
    pools = {
        (speaker, digit): [i for i in order if pictures.target[i] == digit][at :: len(speakers)]
        for at, speaker in enumerate(speakers)
        for digit in range(10)
    }
    for wav, match in found:
        digit, speaker, index = int(match[1]), match[2], int(match[3])
        pool = pools[speaker, digit]
        picture = pictures.images[pool[index % len(pool)]] * (255 / 16)
        grey = np.repeat(picture.round().astype(np.uint8)[:, :, None], 3, axis=2)
        yield Sample(
            id=wav.stem,
            parts={"audio": Audio(wav), "image": Image(grey)},
            target=str(digit),
            group=speaker,
        )


def _tables(path: Path, columns: str) -> Rows:
    from polymodal.media.tables import parse_columns, read_tables

    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in TABLES)
    return read_tables({file.stem: file for file in files}, parse_columns(columns))


def _transcript(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = path.read_text("utf-8", errors="replace").splitlines()
    return {found[1]: found[2] for line in lines if (found := _SPOKEN.match(line))}


def _wavs(path: Path) -> list[Path]:
    return sorted([*path.glob("*.wav"), *path.glob("recordings/*.wav")])


def _seconds(clock: str) -> float:
    """`00:14:38,127` in seconds."""
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return 60.0 * (60.0 * int(hours) + int(minutes)) + float(seconds)
