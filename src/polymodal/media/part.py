"""What every part stands on: refusals, limits, bounded reading and digests; text and poses."""

import hashlib
import io
import math
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

Reason = Literal["missing", "broken", "too_large", "empty", "unsupported"]
Kind = Literal["text", "image", "audio", "video", "series", "pose"]
Source = Path | bytes | NDArray[Any]


class MediaError(ValueError):
    """A medium that cannot be read: `reason` for counting, a sentence for people.

    Args:
        reason: missing, broken, too_large, empty or unsupported.
        where: the file, or `<bytes>`, `<array>`, `<text>` for media without one.
        what: what is wrong, with the limit that was met where there is one.
    """

    def __init__(self, reason: Reason, where: str, what: str) -> None:
        super().__init__(reason, where, what)  # all three in args, so that the error survives pickling
        self.reason, self.where, self.what = reason, where, what

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one part may cost to decode; each is checked before memory is taken.

    Args:
        bytes: encoded size of what is read whole (text, pictures, series); sound and video are streamed.
        pixels: width times height of a picture or of a video frame; Pillow ends at 178,956,970 in any case.
        seconds: length of sound or video asked for; samples are held to as many seconds at 48 kHz.
        frames: frames of one video or animation.
        cells: rows times columns of a series.
    """

    bytes: int = 256 * 2**20
    pixels: int = 64_000_000
    seconds: float = 3600.0
    frames: int = 100_000
    cells: int = 50_000_000


LIMITS = Limits()


def name_of(source: Source | str) -> str:
    """How a source is called in messages."""
    if isinstance(source, Path):
        return str(source)
    if isinstance(source, np.ndarray):
        return "<array>"
    return "<bytes>" if isinstance(source, bytes) else "<text>"


def size_of(source: Path | bytes) -> int:
    """Encoded size in bytes.

    Raises:
        MediaError: missing, empty, or no regular file (a folder, a pipe, a device).
    """
    if isinstance(source, bytes):
        size = len(source)
    else:
        try:
            status = source.stat()
        except FileNotFoundError:
            raise MediaError("missing", str(source), "no such file") from None
        except (OSError, ValueError) as error:
            raise MediaError("missing", str(source), f"cannot be opened: {error}") from error
        if not stat.S_ISREG(status.st_mode):
            raise MediaError("unsupported", str(source), "not a regular file")
        size = status.st_size
    if size == 0:
        raise MediaError("empty", name_of(source), "0 bytes")
    return size


def opened(source: Path | bytes) -> BinaryIO:
    """The encoded bytes as a stream. Close it. Raises MediaError as `size_of` does."""
    size_of(source)
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise MediaError("missing", str(source), f"cannot be opened: {error.strerror}") from error


def head_of(source: Path | bytes, n: int = 64) -> bytes:
    """The first `n` bytes, to tell formats by what they are and not by their names."""
    with opened(source) as stream:
        return stream.read(n)


def bytes_of(source: Path | bytes, limits: Limits = LIMITS) -> bytes:
    """All encoded bytes. Raises MediaError as `size_of` does, and when there are more than `limits.bytes`."""
    size = size_of(source)
    if size > limits.bytes:
        raise MediaError("too_large", name_of(source), f"{size:,} bytes, the limit is {limits.bytes:,}")
    if isinstance(source, bytes):
        return source
    with opened(source) as stream:
        return stream.read(size)  # not to the end: the file may be growing


def digest_of(kind: Kind, source: Source | str, *how: object) -> str:
    """32 hex digits of SHA-256 over the kind, how it is cut or chosen, and the content.

    Files count by what is in them, never by their names; arrays by dtype, shape and values.
    """
    state = hashlib.sha256(f"{kind}\0{how!r}\0".encode())
    if isinstance(source, np.ndarray):
        if source.dtype.hasobject:
            raise MediaError("unsupported", name_of(source), "an array of Python objects")
        state.update(f"{source.dtype.str}{source.shape}\0".encode())
        state.update(np.ascontiguousarray(source).tobytes())
    elif isinstance(source, str):
        state.update(source.encode("utf-8", "surrogatepass"))
    elif isinstance(source, bytes):
        state.update(source)
    else:
        with opened(source) as stream:
            while block := stream.read(2**20):
                state.update(block)
    return state.hexdigest()[:32]


@contextmanager
def refusing(source: Source | str, what: str) -> Iterator[None]:
    """Turns whatever a decoder raises into a MediaError that names the source.

    Decoders meet bytes that nobody wrote on purpose and raise nearly every built-in error on them, so all
    of `Exception` is meant here; what is no error of theirs (KeyboardInterrupt) passes.
    """
    try:
        yield
    except MediaError:
        raise
    except MemoryError as error:
        raise MediaError("too_large", name_of(source), f"no memory to decode this {what}") from error
    except Exception as error:
        said = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        detail = said.strip().splitlines() or [type(error).__name__]  # soundfile's, then libav's, own words
        raise MediaError("broken", name_of(source), f"not a readable {what}: {detail[0][:200]}") from error


def cut(start: float, end: float | None, total: float, where: str, limits: Limits) -> tuple[float, float]:
    """Where a cut begins and ends in a medium of `total` seconds (infinite: not known).

    Raises:
        MediaError: empty, where nothing lies between; too_large, where more than `limits.seconds` do.
    """
    if not (0 <= start < math.inf) or not (end is None or end > start):
        raise MediaError("empty", where, f"nothing lies between {start:g} and {end} s")
    stop = total if end is None else min(end, total)
    if not stop > start:
        raise MediaError("empty", where, f"a cut from {start:g} s of what is {total:g} s long")
    if stop - start > limits.seconds and stop < math.inf:
        raise MediaError("too_large", where, f"{stop - start:,.0f} s, the limit is {limits.seconds:,.0f} s")
    return start, stop


@dataclass(frozen=True, slots=True)
class Text:
    """Text, inline or in a UTF-8 file.

    Args:
        text: the text itself, or the path of a file that holds it.
        language: a BCP 47 tag such as `en` or `ur`, where known.
        limits: what reading may cost.
    """

    text: str | Path
    language: str | None = None
    limits: Limits = LIMITS
    kind: ClassVar[Kind] = "text"

    def read(self) -> str:
        """The text. Raises MediaError when the file is missing, too large or not UTF-8; empty is text too."""
        if isinstance(self.text, str):
            return self.text
        if self.text.is_file() and self.text.stat().st_size == 0:
            return ""
        with refusing(self.text, "UTF-8 text"):
            return bytes_of(self.text, self.limits).decode("utf-8-sig")

    def digest(self) -> str:
        """32 hex digits of the text, wherever it lies."""
        return digest_of("text", self.read())


@dataclass(frozen=True, slots=True)
class Pose:
    """Where something is and how it is turned, in a right-handed frame.

    Args:
        position: x, y, z in metres.
        rotation: a quaternion w, x, y, z of any length above 0.
    """

    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    kind: ClassVar[Kind] = "pose"

    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """The homogeneous matrix from the pose's own frame to the world.

        Raises:
            MediaError: broken, where a number is missing or not finite, or the quaternion is zero.
        """
        numbers = (*self.position, *self.rotation)
        if len(self.position) != 3 or len(self.rotation) != 4 or not all(map(math.isfinite, numbers)):
            raise MediaError("broken", "<pose>", f"3 and 4 finite numbers wanted, not {numbers}")
        size = math.hypot(*self.rotation)
        if size < 1e-12 or math.isinf(size):
            raise MediaError("broken", "<pose>", "the rotation is the zero quaternion")
        w, x, y, z = (value / size for value in self.rotation)
        out = np.eye(4)
        out[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        out[:3, 3] = self.position
        return out

    def digest(self) -> str:
        """32 hex digits of the seven numbers."""
        return digest_of("pose", np.array((*self.position, *self.rotation), dtype=np.float64))
