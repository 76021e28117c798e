"""Pickled feature sets, put together here without running what they name, as samples."""

import codecs
import math
import mmap
import pickletools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from polymodal.media.part import MediaError, Text, refusing, size_of
from polymodal.media.sample import Part, Sample
from polymodal.media.series import Series

SIZE = 16 * 2**30  # bytes: MOSEI's unaligned features are 12 GB
DEPTH = 64

_PLAIN = ("set", "frozenset", "list", "tuple", "dict", "bytearray", "bytes", "str", "int", "float", "complex")
# Names that a pickle may speak of, and what each is here. None of them is ever looked up or called.
_NAMES = {
    **dict.fromkeys(("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"), "array"),
    **dict.fromkeys(("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), "scalar"),
    **dict.fromkeys(("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"), "frombuffer"),
    "numpy.ndarray": "type",
    "numpy.dtype": "dtype",
    "_codecs.encode": "encode",
    "collections.OrderedDict": "dict",
    "collections.defaultdict": "defaultdict",
    **{f"builtins.{name}": name for name in _PLAIN},
}
_MARK = object()


@dataclass
class _Name:
    """A global that a pickle named, found on the list."""

    path: str


@dataclass
class _Type:
    """An array type under construction."""

    code: str
    order: Literal["<", ">", "|", "="] = "="

    def dtype(self) -> np.dtype[Any]:
        """The type, of a code that NumPy itself writes."""
        if not re.fullmatch(r"[<>|=]?(O\d*|[biufcSU][1-9]\d{0,9})", self.code):
            raise _RefusedError(f"numpy.dtype {self.code[:50]!r}")
        return np.dtype(object) if "O" in self.code else np.dtype(self.code).newbyteorder(self.order)


@dataclass
class _Array:
    """An array under construction: the pickle holds references to it before it has a shape."""

    value: Any = None  # an array, or nested lists for one of objects

    def fill(self, shape: Any, dtype: np.dtype[Any], order: Literal["C", "F"], data: Any) -> "_Array":
        """Shape and data, once both are known to say the same: NumPy itself would believe the shape."""
        if (
            not isinstance(shape, tuple)
            or len(shape) > 32
            or not all(type(n) is int and n >= 0 for n in shape)
        ):
            raise ValueError(f"an array of shape {shape!r}")
        raw: Any = data.encode("latin-1") if isinstance(data, str) else data
        made_of: Any = list if dtype.hasobject else bytes
        if type(raw) is not made_of:
            raise ValueError(f"an array of {dtype} made of {type(raw).__name__}")
        if len(raw) != math.prod(shape) * (1 if dtype.hasobject else dtype.itemsize):
            raise ValueError(f"an array of shape {shape} and {dtype} with {len(raw):,} in it")
        if dtype.hasobject:  # by position, so that NumPy never looks at an object
            places = np.arange(len(raw)).reshape(shape).tolist()  # listed row by row in either order
            self.value = _placed(places, raw)
        elif raw:
            self.value = np.frombuffer(raw, dtype).reshape(shape, order=order)
        else:
            self.value = np.zeros(shape, dtype)
        return self


def _placed(places: Any, data: list[Any]) -> Any:
    return data[places] if isinstance(places, int) else [_placed(place, data) for place in places]


class _RefusedError(Exception):
    """A name, type or operation that is not on the list."""


def load(path: Path, *, limit: int = SIZE) -> Any:
    """Arrays and plain containers out of a pickle of any protocol, from Python 2 or 3.

    The file is taken as a list of instructions by a reader of our own, which can only put together dicts,
    lists, tuples, sets, text, bytes, numbers, None and NumPy arrays. It imports and calls nothing that the
    file names, and takes no memory that the file's own bytes do not fill.

    Args:
        path: the pickle.
        limit: its most bytes.

    Returns:
        The object: OrderedDict and defaultdict as dict, object arrays as lists, arrays read-only.

    Raises:
        MediaError: unsupported where the file asks for anything else (named, as in `os.system`), or broken,
            missing, empty, too_large.
    """
    size = size_of(path)
    if size > limit:
        raise MediaError("too_large", str(path), f"{size:,} bytes, the limit is {limit:,}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        try:
            with refusing(path, "pickle"):
                return _plain(_run(stream), {}, 0)
        except MediaError as error:
            if isinstance(error.__cause__, _RefusedError):
                what = f"refused: it asks for {error.__cause__}, no NumPy array or plain container"
                raise MediaError("unsupported", str(path), what) from None
            raise


def _run(stream: mmap.mmap) -> Any:
    """The object that the instructions leave on the stack, its arrays still in their `_Array`."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for name, arg in _instructions(stream):
        if name == "STOP":
            return stack.pop()
        if name in _PUSHES:
            stack.append(bytes(arg) if name == "BYTEARRAY8" else arg)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else arg] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name == "GLOBAL":
            stack.append(_named(*arg.split(" ", 1)))
        elif name == "INST":  # the arguments lie on the stack already
            stack.append(_made(_named(*arg.split(" ", 1)), tuple(_from_mark(stack))))
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name not in ("PROTO", "FRAME"):
            raise _RefusedError(f"the instruction {name}")
    raise ValueError("it ends before it is whole")


def _instructions(stream: Any) -> Iterator[tuple[str, Any]]:
    """Names and arguments as `pickletools` knows them, but for Python 2's text, which may be any bytes."""
    while code := stream.read(1).decode("latin-1"):
        step = _CODES[code]  # a KeyError where no pickle has such an instruction
        if step.name == "STRING":
            yield step.name, codecs.escape_decode(stream.readline().strip()[1:-1])[0].decode("latin-1")
        else:
            yield step.name, step.arg.reader(stream) if step.arg else None


_CODES = {step.code: step for step in pickletools.opcodes}
_PUSHES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}


def _called(value: Any) -> str:
    """A thing from the stack in a message."""
    return value.path if isinstance(value, _Name) else type(value).__name__.strip("_").lower()


def _named(module: str, name: str) -> _Name:
    path = f"{'builtins' if module == '__builtin__' else module}.{name}"  # Python 2's name for it
    if path not in _NAMES:
        raise _RefusedError(path[:200])
    return _Name(path)


def _from_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1
    while stack[at] is not _MARK:  # an IndexError where there is no mark
        at -= 1
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _pop(stack: list[Any], n: int) -> tuple[Any, ...]:
    items = tuple(stack[-n:])
    del stack[-n:]
    return items


def _put(stack: list[Any], kind: Any, items: Iterable[Any]) -> None:
    """Items into the list, dict or set on top of the stack."""
    target: Any = stack[-1]
    if type(target) is not kind:
        raise _RefusedError(f"items put into a {_called(target)}")
    if kind is list:
        target.extend(items)
    else:
        target.update(_pairs(list(items)) if kind is dict else map(_key, items))


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return [(_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True)]


def _key(key: Any) -> Any:
    """Keys and members of sets are plain: the hash of nested tuples can take for ever."""
    for item in key if type(key) is tuple else (key,):
        if item is not None and type(item) not in (str, bytes, int, float, bool, complex):
            raise _RefusedError(f"a key that is or holds a {_called(item)}")
    return key


def _made(name: Any, args: Any) -> Any:
    """What a call of a name on the list would give, put together here."""
    match _NAMES[name.path] if isinstance(name, _Name) else "", args:
        case "array", (_Name(path="numpy.ndarray"), *_):
            return _Array()
        case "dtype", (str() as code, *_):
            return _Type(code)
        case "scalar", (_Type() as kind, bytes() | str() as data) if not kind.dtype().hasobject:
            array = _Array().fill((1,), kind.dtype(), "C", data).value
            return array.item()
        case "frombuffer", (bytes() as data, _Type() as kind, shape, "C" | "F" as order):
            return _Array().fill(shape, kind.dtype(), order, data)
        case "encode" | "bytearray", (str() as text, "latin1" | "latin-1"):
            return text.encode("latin-1")
        case "bytearray", (bytes() as data,):
            return data
        case ("dict" | "defaultdict", ()) | ("defaultdict", (_Name(),)):
            return {}
        case "dict", (list() as rows,):
            return dict(_pairs([item for key, value in rows for item in (key, value)]))
        case "set" | "frozenset" as role, () | (list() | tuple(),):
            members = map(_key, args[0] if args else ())
            return set(members) if role == "set" else frozenset(members)
        case "bytes", ():
            return b""
        case "complex", (float() as real, float() as imaginary):
            return complex(real, imaginary)
    raise _RefusedError(f"a call of {_called(name)}")


def _build(stack: list[Any]) -> None:
    """BUILD: the state of an array or of its type; of anything else, refused."""
    state = stack.pop()
    match stack[-1], state:
        case _Type() as kind, (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            kind.order = order
        case _Array() as array, (*_, shape, _Type() as kind, int() as fortran, data):
            array.fill(shape, kind.dtype(), "F" if fortran else "C", data)
        case target, _:
            raise _RefusedError(f"a state set on a {_called(target)}")


_STEPS: Mapping[str, Callable[[list[Any]], Any]] = {
    "NONE": lambda stack: stack.append(None),
    "NEWTRUE": lambda stack: stack.append(True),
    "NEWFALSE": lambda stack: stack.append(False),
    "MARK": lambda stack: stack.append(_MARK),
    "POP": lambda stack: stack.pop(),
    "POP_MARK": _from_mark,
    "DUP": lambda stack: stack.append(stack[-1]),
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "EMPTY_SET": lambda stack: stack.append(set()),
    "EMPTY_TUPLE": lambda stack: stack.append(()),
    "LIST": lambda stack: stack.append(_from_mark(stack)),
    "TUPLE": lambda stack: stack.append(tuple(_from_mark(stack))),
    "TUPLE1": lambda stack: stack.append(_pop(stack, 1)),
    "TUPLE2": lambda stack: stack.append(_pop(stack, 2)),
    "TUPLE3": lambda stack: stack.append(_pop(stack, 3)),
    "DICT": lambda stack: stack.append(dict(_pairs(_from_mark(stack)))),
    "FROZENSET": lambda stack: stack.append(frozenset(map(_key, _from_mark(stack)))),
    "APPEND": lambda stack: _put(stack, list, [stack.pop()]),
    "APPENDS": lambda stack: _put(stack, list, _from_mark(stack)),
    "SETITEM": lambda stack: _put(stack, dict, _pop(stack, 2)),
    "SETITEMS": lambda stack: _put(stack, dict, _from_mark(stack)),
    "ADDITEMS": lambda stack: _put(stack, set, _from_mark(stack)),
    "STACK_GLOBAL": lambda stack: stack.append(_named(*_pop(stack, 2))),
    "REDUCE": lambda stack: stack.append(_made(*_pop(stack, 2))),
    "NEWOBJ": lambda stack: stack.append(_made(*_pop(stack, 2))),
    "OBJ": lambda stack: stack.append((lambda name, *args: _made(name, args))(*_from_mark(stack))),
    "BUILD": _build,
}


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    """The same nest with arrays for `_Array`; what is shared stays shared."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        if not isinstance(value.value, list):
            return value.value
        value = value.value
    if isinstance(value, _Name | _Type) or value is _MARK:
        raise _RefusedError(f"{_called(value)} as a value")
    if type(value) not in (list, tuple, dict):
        return value
    if seen.get(id(value)) is _MARK or depth > DEPTH:
        raise ValueError(f"containers nested deeper than {DEPTH}, or in themselves")
    if id(value) not in seen:
        seen[id(value)] = _MARK
        if type(value) is dict:
            made: Any = {key: _plain(item, seen, depth + 1) for key, item in value.items()}
        else:
            made = type(value)(_plain(item, seen, depth + 1) for item in value)
        seen[id(value)] = made
    return seen[id(value)]


_SIDES = {"train": "train", "valid": "val", "val": "val", "dev": "val", "test": "test"}


def samples_of(content: Any) -> Iterator[Sample]:
    """Samples out of what `load` gave, for two layouts that are shared as pickles.

    * MMSA: {train, valid, test}, each with `id` and any of raw_text, text, audio, vision, `*_lengths`,
      regression_labels, classification_labels, annotations. Target: the regression label, else the
      annotation, else the class. Group: the video, `id` before "$_$".
    * IEMOCAP_features: (videoIDs, videoSpeakers, videoLabels, videoText, videoAudio, videoVisual,
      videoSentence, trainVid, testVid), seven dicts by dialogue. Group: the speaker, as in "1M" for
      the man of session 1, else the dialogue and the speaker.

    Parts are `words` (Text) and the features `text`, `audio`, `video` (Series), cut at their lengths and
    absent at length 0. The tag `split` is train, val or test.

    Raises:
        MediaError: unsupported, with what was found, for other layouts; broken, where counts differ.
    """
    if isinstance(content, dict) and content and set(content) <= set(_SIDES):
        for side, table in content.items():
            yield from _mmsa(_SIDES[side], table)
    elif isinstance(content, tuple) and len(content) == 9 and all(isinstance(d, dict) for d in content[:7]):
        for dialogue in content[0]:
            yield from _dialogue(content, dialogue)
    else:
        keys = [str(key)[:20] for key in content][:8] if isinstance(content, dict) else ""
        found = f"{type(content).__name__} {keys}"
        raise MediaError("unsupported", "<pickle>", f"neither MMSA's nor IEMOCAP_features' layout: {found}")


def _parts(words: Any, features: Mapping[str, tuple[Any, Any]]) -> dict[str, Part]:
    parts: dict[str, Part] = {} if words is None else {"words": Text(str(words))}
    for name, (value, length) in features.items():
        if value is not None:
            with refusing(f"<pickle>[{name}]", "array of numbers"):
                values = np.atleast_2d(np.asarray(value, np.float64))[
                    : None if length is None else int(length)
                ]
            if values.size:
                parts[name] = Series(values)
    return parts


def _mmsa(side: str, table: Mapping[str, Any]) -> Iterator[Sample]:
    counts = {key: len(column) for key, column in table.items()}
    if "id" not in table or len(set(counts.values())) > 1:
        found = f"`id` and columns of one length wanted, found {counts}"
        raise MediaError("broken", f"<pickle>[{side}]", found)
    names = {"text": "text", "audio": "audio", "video": "vision"}
    for n, raw in enumerate(table["id"]):
        row = {key: column[n] for key, column in table.items()}
        kind = next((row[key] for key in ("annotations", "classification_labels") if key in row), None)
        target: str | float | None = None if kind is None else str(kind)
        if "regression_labels" in row:
            target = None if math.isnan(row["regression_labels"]) else float(row["regression_labels"])
        features = {part: (row.get(key), row.get(f"{key}_lengths")) for part, key in names.items()}
        group = str(raw).split("$_$")[0] if "$_$" in str(raw) else None
        yield Sample(str(raw), _parts(row.get("raw_text"), features), target, group, {"split": side})


def _dialogue(content: Any, dialogue: Any) -> Iterator[Sample]:
    names, speakers, labels, text, audio, video, words = (table.get(dialogue, ()) for table in content[:7])
    counts = {len(column) for column in (names, speakers, labels, text, audio, video, words) if len(column)}
    if counts != {len(labels)}:
        raise MediaError("broken", f"<pickle>[{dialogue}]", f"columns of {sorted(counts)} utterances")
    session = re.match(r"Ses0*(\d+)", str(dialogue))
    split = "train" if dialogue in content[7] else "test" if dialogue in content[8] else None
    given = {"text": text, "audio": audio, "video": video}
    for n, label in enumerate(labels):
        who = str(speakers[n]) if len(speakers) else ""
        features = {name: (column[n] if len(column) else None, None) for name, column in given.items()}
        parts = _parts(words[n] if len(words) else None, features)
        group = f"{session[1] if session else f'{dialogue}:'}{who}"
        tags = {"dialogue": str(dialogue)} | ({} if split is None else {"split": split})
        yield Sample(str(names[n]) if len(names) else f"{dialogue}_{n}", parts, str(label), group, tags)
