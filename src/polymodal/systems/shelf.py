"""The shelf: which systems there are, their pages and how to load one."""

from __future__ import annotations

import ast
import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Protocol, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from polymodal.metrics import Claim, Estimate

# name -> (what a person does with it, aliases from the paper); the order is the shelf order
SHELF: dict[str, tuple[str, tuple[str, ...]]] = {
    "sentiment_fusion": ("make", ("simplified-fusion", "2505.04642")),
    "fine_alignment": ("make", ("fg-clip", "2505.05071")),
    "model_merging": ("make", ("bring-reason-to-vision", "2505.05464")),
    "image_text_relation": ("judge", ("ltec", "2505.05040")),
    "harm_evaluation": ("judge", ("reveal", "2505.04673")),
    "user_trust": ("judge", ("trust-survey", "2505.05318")),
    "clinical_dialogue": ("act", ("amie", "2505.04653")),
}
SAME = {"model": "target", "vlm": "target", "llm": "donors"}  # other words for a field, where it is there
SETTINGS = ("tiny", "full", "weights")  # the last one where a system makes models that come with the package


class Recipe(Protocol):
    """What `systems/<name>/recipe.py` holds."""

    Config: type[Any]
    CLAIMS: tuple[Claim, ...]

    def tiny(self) -> Any:
        """The pocket setting: offline, minutes."""

    def full(self) -> Any:
        """The paper's setting."""

    def run(self, config: Any, run: Any) -> Mapping[str, Estimate]:
        """Do the work and record it."""


@dataclass(frozen=True, slots=True)
class Page:
    """A system's page, read from its `__init__.py` without importing it."""

    name: str
    job: str
    aliases: tuple[str, ...]
    title: str
    text: str


def known() -> tuple[str, ...]:
    """Names in shelf order; a box that is not on the shelf comes last."""
    boxes = {path.parent.name for path in Path(__file__).parent.glob("*/recipe.py")}
    return (*(name for name in SHELF if name in boxes), *sorted(boxes - SHELF.keys()))


def suggest(given: str, options: Iterable[str]) -> str:
    """`'x' is not known; did you mean 'y'? Known: ...`, for every wrong word a person types."""
    options = list(options)
    near = difflib.get_close_matches(given, options, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{given!r} is not known.{hint} Known: {', '.join(options) or 'none'}."


def resolve(name: str) -> str:
    """The system's name from its name or an alias.

    Raises:
        LookupError: naming what was given and what is known.
    """
    names = known()
    if name in names:
        return name
    for system, (_, aliases) in SHELF.items():
        if name.lower() in aliases:
            return system
    raise LookupError(f"system {suggest(name, names)}")


@cache
def page(name: str) -> Page:
    """The page of a system (name or alias).

    Raises:
        LookupError: unknown name.
    """
    name = resolve(name)
    source = (Path(__file__).parent / name / "__init__.py").read_text(encoding="utf-8")
    text = ast.get_docstring(ast.parse(source)) or ""
    job, aliases = SHELF.get(name, ("other", ()))
    return Page(name, job, aliases, text.partition("\n")[0], text)


def load(name: str) -> Recipe:
    """Import a system's recipe.

    Raises:
        LookupError: unknown name.
        ImportError: an extra is missing; the message holds the pip line.
    """
    module: Any = importlib.import_module(f"polymodal.systems.{resolve(name)}.recipe")
    recipe: Recipe = module
    return recipe


def configure(recipe: Recipe, setting: str, options: Mapping[str, str]) -> Any:
    """The Config of `setting` with `options` laid over it, each parsed by its field's type.

    Raises:
        LookupError: unknown setting or key, with what is known.
        ValueError: a value that does not parse as the field's type.
    """
    known = [name for name in SETTINGS if hasattr(recipe, name)]
    if setting not in known:
        raise LookupError(f"setting {suggest(setting, known)}")
    return override(getattr(recipe, setting)(), options)


def restored(recipe: Recipe, values: Mapping[str, Any]) -> Any:
    """The Config that a run folder remembers; JSON has lists where it had tuples.

    Raises:
        ValueError: a field that this version of polymodal does not know.
    """
    if unknown := values.keys() - {field.name for field in fields(recipe.Config)}:
        raise ValueError(
            f"the run was begun with a field {sorted(unknown)[0]!r}, which this version does not have: go on "
            "with the version that began it, or run anew"
        )
    return recipe.Config(**{key: tuple(x) if isinstance(x, list) else x for key, x in values.items()})


def override(config: Any, options: Mapping[str, str]) -> Any:
    """`config` with text `options` laid over it; see `configure`."""
    types = get_type_hints(type(config))
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    for key, text in options.items():
        if key not in values and SAME.get(key) in values:
            key = SAME[key]
        if key not in values:
            raise LookupError(f"option {suggest(key, values)}")
        try:
            values[key] = parse(text, types[key])
        except ValueError as error:
            raise ValueError(f"option {key}={text}: {error}") from None
    return type(config)(**values)


def parse(text: str, kind: Any) -> Any:
    """A command-line value as `kind`: str, int, float, bool, tuples of these, or None by `none`."""
    if get_origin(kind) is tuple:
        return tuple(parse(item, get_args(kind)[0]) for item in text.split(",") if item)
    options = get_args(kind)
    if type(None) in options:
        inner = next(option for option in options if option is not type(None))
        return None if text.lower() in ("none", "") else parse(text, inner)
    if options and all(isinstance(option, str) for option in options):  # Literal["a", "b"]
        if text not in options:
            raise ValueError(suggest(text, options))
        return text
    if get_origin(kind) in (Union, UnionType):  # float | Literal["a"]
        plain, words = options[0], get_args(options[1])
        if text in words:
            return text
        try:
            return parse(text, plain)
        except ValueError as error:
            raise ValueError(f"{error}; {', '.join(words)} would do") from None
    if kind is bool:
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise ValueError("expected true or false")
        return text.lower() in ("true", "yes", "1")
    if kind in (int, float, str):
        return kind(text)
    raise ValueError(f"cannot be given on the command line ({kind})")
