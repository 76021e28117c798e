"""Words in pictures: signs, captions and screens read by rapidocr, one thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any

from polymodal.media import Image, MediaError, Sample

LANGUAGES = ("de", "en", "es", "et", "fr", "it", "lt", "lv", "nl", "pl", "pt", "zh")
SIDE = 256  # smaller pictures are enlarged to this, pixels; the engine's own 736 is eight times slower
SURE = 0.5  # the engine's confidence, below which what it read is left out
_ONE = Lock()  # a session of onnxruntime is shared by all threads


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text in a picture.

    Attributes:
        text: what is written.
        box: left, top, right, bottom in pixels.
        sure: the engine's confidence, from 0 to 1.
    """

    text: str
    box: tuple[int, int, int, int]
    sure: float = 1.0


def read_text(image: Image, language: str = "en") -> str:
    """The words of a picture, line by line from the top; "" where there are none.

    As `read_lines`, without places.

    Raises:
        MediaError: the picture cannot be read.
        ValueError: a language that the models cannot read.
        ModuleNotFoundError: without the extra `[ocr]`; the message holds the pip line.
    """
    return "\n".join(line.text for line in read_lines(image, language))


def read_lines(image: Image, language: str = "en") -> list[Line]:
    """The pieces of text in a picture with their places, from the top; none where nothing is written.

    Marks without a letter or a digit, which drawn shapes are now and then taken for, are left out.

    Args:
        image: of any size.
        language: BCP 47 tag of what is written; the models inside the wheel read Latin script and Chinese.

    Raises:
        MediaError: the picture cannot be read.
        ValueError: a language that the models cannot read.
        ModuleNotFoundError: without the extra `[ocr]`; the message holds the pip line.
    """
    if language.split("-")[0] not in LANGUAGES:
        raise ValueError(f"no model reads {language!r}; known languages: {', '.join(LANGUAGES)}")
    pixels = image.pixels()[:, :, ::-1].copy()  # the engine takes blue, green, red
    with _ONE:
        found = _engine()(pixels)
    if found.txts is None:
        return []
    scores = getattr(found, "scores", None) or (1.0,) * len(found.txts)
    rows = sorted(zip(found.boxes.tolist(), found.txts, scores, strict=True), key=lambda row: _place(row[0]))
    return [
        Line(words, _upright(box), float(score))
        for box, words, score in rows
        if any(letter.isalnum() for letter in words)
    ]


def _upright(box: list[list[float]]) -> tuple[int, int, int, int]:
    """The upright box around four corners."""
    x, y = [corner[0] for corner in box], [corner[1] for corner in box]
    return round(min(x)), round(min(y)), round(max(x)), round(max(y))


def _place(box: list[list[float]]) -> tuple[float, float]:
    """Middle height, then left edge."""
    return sum(y for _, y in box) / len(box), min(x for x, _ in box)


@cache
def _engine() -> Any:
    try:
        from rapidocr import RapidOCR
    except ModuleNotFoundError:
        hint = 'reading text in pictures needs rapidocr; install it with: pip install "polymodal[ocr]"'
        raise ModuleNotFoundError(hint, name="rapidocr") from None
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    limits = {"Det.limit_side_len": SIDE, "Global.text_score": SURE, "Global.use_cls": False}
    return RapidOCR(params={**threads, **limits, "Global.log_level": "critical"})


def read_all(samples: Sequence[Sample]) -> dict[str, str]:
    """The words in each sample's `image` by the sample's id; "" where there is none to read.

    The language is the sample's tag `language`. A job for a run: each picture is read once.

    Raises:
        ValueError: a language that the models cannot read.
    """
    found: dict[str, str] = {}
    for sample in samples:
        image, language = sample.parts.get("image"), str(sample.tags.get("language", "en"))
        try:
            found[sample.id] = read_text(image, language) if isinstance(image, Image) else ""
        except MediaError:
            found[sample.id] = ""
    return found
