"""What every network part keeps: the arguments that made it, as JSON, and the way back."""

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

Spec = dict[str, Any]
M = TypeVar("M", bound=type[nn.Module])
_KINDS: dict[str, type[nn.Module]] = {}


def member(cls: M) -> M:
    """Class decorator: each instance keeps the arguments that made it as `.spec`; `build(spec)` repeats them.

    Arguments may be JSON values, paths, other members, and mappings or sequences of these.

    Raises:
        ValueError: another class already has this name.
    """
    if _KINDS.setdefault(cls.__name__, cls) is not cls:
        raise ValueError(f"a network part named {cls.__name__} exists already")
    init = cls.__init__
    signature = inspect.signature(init)

    @functools.wraps(init)
    def remember(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            values = list(bound.arguments.items())[1:]
            object.__setattr__(self, "spec", {"class": cls.__name__} | {k: _to_json(v) for k, v in values})

    cls.__init__ = remember  # type: ignore[method-assign]
    return cls


def build(spec: Mapping[str, Any]) -> Any:
    """Makes the part that a spec describes, with fresh weights.

    Raises:
        ValueError: the spec names a part this installation does not have.
    """
    kind = spec.get("class")
    if kind not in _KINDS:
        raise ValueError(f"unknown network part {kind!r}; known: {', '.join(sorted(_KINDS))}")
    cls = _KINDS[kind]
    arguments = {name: _from_json(value) for name, value in spec.items() if name != "class"}
    positional = [
        value
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL
        for value in arguments.pop(name, ())
    ]
    return cls(*positional, **arguments)


def within(spec: Any) -> Iterator[Spec]:
    """A spec and all specs inside it, in the order of arguments."""
    if isinstance(spec, dict):
        if "class" in spec:
            yield spec
        for value in spec.values():
            yield from within(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from within(value)


def _to_json(value: Any) -> Any:
    """Mappings become pairs: their order is the order of parts, and JSON writers may sort keys."""
    if isinstance(value, nn.Module):
        return dict(value.spec)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {"items": [[key, _to_json(item)] for key, item in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_to_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "class" in value:
            return build(value)
        return {key: _from_json(item) for key, item in value["items"]}
    if isinstance(value, list):
        return tuple(_from_json(item) for item in value)
    return value
