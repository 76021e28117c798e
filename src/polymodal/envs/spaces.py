"""Spaces that Gymnasium lacks: words, pictures of any size, actions as frozen records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import UInt8

try:
    from gymnasium import spaces
except ModuleNotFoundError as error:
    hint = 'environments need gymnasium; install it with: pip install "gymnasium>=1,<2"'
    raise ModuleNotFoundError(hint, name="gymnasium") from error

LETTERS = "abcdefghijklmnopqrstuvwxyz "
LONGEST = 20_000  # characters of a text, entries of a list
SIDE = 16  # of a drawn sample, at most


class Words(spaces.Space[str]):
    """Any text up to a length; `gymnasium.spaces.Text` wants its alphabet listed.

    Args:
        most: characters.
    """

    def __init__(self, most: int = LONGEST) -> None:
        super().__init__()
        self.most = most

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A few letters; masks are for other spaces."""
        return str(_draw(str, self.np_random))

    def contains(self, x: Any) -> bool:
        """Whether it is a text of that length."""
        return isinstance(x, str) and len(x) <= self.most

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Words) and other.most == self.most

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Words({self.most})"


class Picture(spaces.Space[UInt8[np.ndarray, "h w 3"]]):
    """A picture of any size, also 0 x 0 for none.

    Args:
        most: pixels, height times width.
    """

    def __init__(self, most: int = 64_000_000) -> None:
        super().__init__(None, np.uint8)
        self.most = most

    def sample(self, mask: Any = None, probability: Any = None) -> UInt8[np.ndarray, "h w 3"]:
        """A small picture of noise, or none."""
        height, width = self.np_random.integers(1, SIDE, size=2) * self.np_random.integers(2)
        return self.np_random.integers(256, size=(height, width, 3), dtype=np.uint8)

    def contains(self, x: Any) -> bool:
        """Whether it is uint8, "h w 3", within the bound."""
        fits = isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.ndim == 3 and x.shape[2] == 3
        return bool(fits and x.shape[0] * x.shape[1] <= self.most)

    def to_jsonable(self, sample_n: Any) -> list[Any]:
        """Nested lists."""
        return [picture.tolist() for picture in sample_n]

    def from_jsonable(self, sample_n: list[Any]) -> list[Any]:
        """Pictures again."""
        return [np.array(rows, np.uint8).reshape(len(rows), -1 if rows else 0, 3) for rows in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Picture) and other.most == self.most

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Picture({self.most})"


class Records(spaces.Space[Any]):
    """Actions that are frozen records: one of several dataclasses with plain fields.

    Fields are str, int, float, bool or tuples of these, nested as one likes. As JSON an action is
    `{"act": "ask", "text": ...}`: the class's name in lower case, and its fields.

    Args:
        kinds: the dataclasses.
        choices: by a field's name, values that `sample` draws from; others are drawn blindly.

    Raises:
        TypeError: a kind that is no dataclass, or a field of another type.
    """

    def __init__(self, *kinds: type, choices: Mapping[str, Sequence[Any]] | None = None) -> None:
        super().__init__()
        self.kinds = {kind.__name__.lower(): kind for kind in kinds}
        self.choices = {name: tuple(values) for name, values in (choices or {}).items() if values}
        for kind in kinds:
            if not is_dataclass(kind):
                raise TypeError(f"{kind.__name__} is no dataclass: an action is a frozen record")
        self._hints = {kind: {f.name: get_type_hints(kind)[f.name] for f in fields(kind)} for kind in kinds}
        for hints in self._hints.values():
            for hint in hints.values():
                _check(hint)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """A kind, each as likely, with drawn fields."""
        kind = list(self.kinds.values())[int(self.np_random.integers(len(self.kinds)))]
        drawn = {name: self._field(name, hint) for name, hint in self._hints[kind].items()}
        return kind(**drawn)

    def _field(self, name: str, hint: Any) -> Any:
        if name in self.choices:
            return self.choices[name][int(self.np_random.integers(len(self.choices[name])))]
        return _draw(hint, self.np_random)

    def contains(self, x: Any) -> bool:
        """Whether it is one of the kinds, every field of its type, numbers finite, texts bounded."""
        hints = self._hints.get(type(x))
        return hints is not None and all(_fits(getattr(x, name), hint) for name, hint in hints.items())

    def to_jsonable(self, sample_n: Any) -> list[Any]:
        """`{"act": ..., field: value}` each."""
        return [as_json(action) for action in sample_n]

    def from_jsonable(self, sample_n: list[Any]) -> list[Any]:
        """Actions again; lists become tuples.

        Raises:
            ValueError: an unknown act or field, one that lacks, or a value of another type.
        """
        return [self.read(data) for data in sample_n]

    def read(self, data: Any) -> Any:
        """One action from its JSON form; fields with a default may lack. Raises as `from_jsonable` does."""
        act = data.get("act") if isinstance(data, Mapping) else None
        if not isinstance(act, str) or act not in self.kinds:
            known = ", ".join(self.kinds)
            raise ValueError(f'an action is an object with "act" one of {known}; this is {repr(data)[:200]}')
        kind, given = self.kinds[act], {key: value for key, value in data.items() if key != "act"}
        hints = self._hints[kind]
        if unknown := given.keys() - hints.keys():
            raise ValueError(f"{act} has no field {sorted(unknown)[0]!r}; known: {', '.join(hints)}")
        try:
            action = kind(**{name: _tupled(value, hints[name]) for name, value in given.items()})
        except TypeError as error:
            raise ValueError(f"{act}: {error}") from None
        if not self.contains(action):
            raise ValueError(f"{act}: a field of another type in {repr(given)[:200]}")
        return action

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and other.kinds == self.kinds and other.choices == self.choices

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Records({', '.join(self.kinds)})"


def as_json(value: Any) -> Any:
    """As JSON: a record as `{"act": ..., field: value}`, tuples as lists, NumPy values as plain."""
    if is_dataclass(value) and not isinstance(value, type):
        act = {"act": type(value).__name__.lower()}
        return act | {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    return value


def _check(hint: Any) -> None:
    """Refuses a type that has no place in an action."""
    if get_origin(hint) is tuple:
        for inner in get_args(hint):
            if inner is not Ellipsis:
                _check(inner)
    elif hint not in (str, int, float, bool):
        raise TypeError(f"{hint} has no place in an action: str, int, float, bool or tuples of these")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a field's type."""
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple) or len(value) > LONGEST:
            return False
        each = _each(hint, len(value))
        return len(each) == len(value) and all(map(_fits, value, each))
    if hint is str:
        return isinstance(value, str) and len(value) <= LONGEST
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if hint is float:
        return isinstance(value, float | int) and math.isfinite(value)
    return isinstance(value, int)


def _each(hint: Any, n: int) -> tuple[Any, ...]:
    """The types of a tuple's entries, of which a value has `n`."""
    inner = get_args(hint)
    return inner[:1] * n if inner[-1] is Ellipsis else inner


def _draw(hint: Any, rng: np.random.Generator) -> Any:
    """A value of a field's type."""
    if get_origin(hint) is tuple:
        return tuple(_draw(inner, rng) for inner in _each(hint, int(rng.integers(4))))
    if hint is str:
        return "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=int(rng.integers(1, 12))))
    if hint is bool:
        return bool(rng.integers(2))
    return float(rng.random()) if hint is float else int(rng.integers(100))


def _tupled(value: Any, hint: Any) -> Any:
    """JSON's lists as the tuples that a field wants; what fits no tuple stays as it is."""
    if get_origin(hint) is not tuple or not isinstance(value, list):
        return value
    each = _each(hint, len(value))
    return tuple(map(_tupled, value, each)) if len(each) == len(value) else value
