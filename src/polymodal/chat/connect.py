"""A model from one string: a script, a service by URL, a checkpoint, or one of Inspect's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from polymodal.chat.cached import Store, cached
from polymodal.chat.model import PLAIN, ChatModel, Decoding
from polymodal.chat.scripted import BUILT_IN
from polymodal.chat.strategies import debate, self_consistency, verify_and_correct

KINDS = "scripted:NAME?key=value", "openai:MODEL@URL", "local:PATH_OR_HUB_ID", "inspect:PROVIDER/MODEL"
FORMS = ", ".join((*KINDS, "STRATEGY:N:MODEL"))
Script = Callable[..., ChatModel]
DEBATERS, WARM = 3, 0.7  # at temperature 0 copies of one model would only repeat each other
STRATEGIES: Mapping[str, Callable[[ChatModel, int], ChatModel]] = {
    "self_consistency": self_consistency,
    "verify_and_correct": lambda model, n: verify_and_correct(model, model, n),
    "debate": lambda model, n: debate([model] * DEBATERS, n, model),
}


def connect(
    spec: str,
    *,
    decoding: Decoding = PLAIN,
    scripts: Mapping[str, Script] = {},
    store: Store | None = None,
) -> ChatModel:
    """The model that a string names.

    Args:
        spec: one of these:
            `scripted:NAME?key=value&...`, a script of the caller's or the built-in `echo` and `say?text=...`;
            `openai:MODEL@URL`, any OpenAI-compatible endpoint, the URL from OPENAI_BASE_URL where not given,
            the key from OPENAI_API_KEY where it is set;
            `local:PATH_OR_HUB_ID`, a checkpoint run here by transformers, or `local:pocket-vlm`, `pocket-lm`
            and `pocket-reasoner`, small ones that come with the package, and folders made from these;
            `inspect:PROVIDER/MODEL`, any provider of Inspect AI;
            `STRATEGY:N:MODEL`, one of these thinking in a way of `STRATEGIES` by itself: `self_consistency`
            of N replies, `verify_and_correct` in N rounds, `debate` of three in N rounds.
        decoding: how replies are drawn; scripts have their own ways. Where copies of a model are to differ, a
            temperature of 0 becomes .7.
        scripts: factories by name; their keyword arguments are what `?key=value` may set, read by annotation.
        store: where replies are kept, so that none is asked for twice; not those of scripts, which are free.

    Raises:
        LookupError: an unknown kind, script or option, with what is known.
        ValueError: a value, model or endpoint that is missing or cannot be read.
        ModuleNotFoundError: the kind's extra is not installed; `name` is the missing package.
    """
    kind, colon, rest = spec.partition(":")
    if colon and kind in STRATEGIES:
        number, _, inner = rest.partition(":")
        if not number.isdecimal():
            raise ValueError(f"{_clean(spec)!r}: after {kind}: stand a number, a colon and a model")
        if kind != "verify_and_correct" and not decoding.temperature:
            decoding = replace(decoding, temperature=WARM)
        model = connect(inner, decoding=decoding, scripts=scripts, store=store)
        return STRATEGIES[kind](model, int(number))
    if not colon or kind not in ("scripted", "openai", "local", "inspect"):
        raise LookupError(f"no kind of model in {_clean(spec)!r}; a model is one of: {FORMS}")
    if not rest.strip():
        raise ValueError(f"{spec!r} names no model; a model is one of: {FORMS}")
    if kind == "scripted":
        return _scripted(rest, {**BUILT_IN, **scripts})
    model = {"openai": _openai, "local": _local, "inspect": _inspected}[kind](rest, decoding)
    return cached(model, store) if store is not None else model


def _scripted(rest: str, scripts: Mapping[str, Script]) -> ChatModel:
    name, _, written = rest.partition("?")
    if name not in scripts:
        raise LookupError(f"no script {name!r}; known: {', '.join(sorted(scripts))}")
    options = inspect.signature(scripts[name], eval_str=True).parameters
    try:
        given = parse_qsl(written, keep_blank_values=True, strict_parsing=bool(written))
    except ValueError:
        raise ValueError(f"scripted:{rest}: after the ? stand key=value pairs joined by &") from None
    values: dict[str, Any] = {}
    for key, value in given:
        known = ", ".join(options) or "none"
        if key not in options:
            raise LookupError(f"scripted:{name} has no option {key!r}; known: {known}")
        if key in values:
            raise ValueError(f"scripted:{name}: {key} is given twice")
        values[key] = _read(value, options[key].annotation, f"scripted:{name}: {key}")
    missing = [key for key, option in options.items() if option.default is option.empty and key not in values]
    if missing:
        raise ValueError(f"scripted:{name} needs {', '.join(missing)}: scripted:{name}?{missing[0]}=...")
    return scripts[name](**values)


def _read(value: str, wanted: Any, where: str) -> Any:
    """A written value as its annotation wants it."""
    if wanted is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{where}={value!r}: it is true or false")
        return value.lower() == "true"
    if wanted in (int, float):
        try:
            return wanted(value)
        except ValueError:
            raise ValueError(f"{where}={value!r}: it is a number ({wanted.__name__})") from None
    return value


def _openai(rest: str, decoding: Decoding) -> ChatModel:
    from polymodal.chat.remote import Remote

    model, at, url = rest.partition("@http")
    if not at and (found := re.search(r"@(?=[^@]*[:/.])", rest)):
        raise ValueError(
            f"openai:{_clean(rest[: found.start()])}: after @ stands a URL with http:// or https://"
        )
    if not model:
        raise ValueError("openai:@URL names no model; it is openai:MODEL@URL")
    return Remote(model, "http" + url if at else None, decoding)


def _local(rest: str, decoding: Decoding) -> ChatModel:
    from polymodal.chat.local import Local, Pocket, is_pocket

    return (Pocket if is_pocket(rest) else Local)(rest, decoding=decoding)


def _inspected(rest: str, decoding: Decoding) -> ChatModel:
    from polymodal.chat.inspected import Inspected

    return Inspected(rest, decoding=decoding)


def _clean(text: str) -> str:
    """Without what may be a password in a URL: errors are shown and logged."""
    return re.sub(r"//[^/@\s]*@", "//***@", text)
