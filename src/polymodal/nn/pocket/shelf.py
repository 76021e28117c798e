"""Where pocket weights lie: one folder a model, package data, in the Hugging Face layout."""

from pathlib import Path

HOME = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the pocket models that came with this installation."""
    return tuple(sorted(path.parent.name for path in HOME.glob("*/config.json")))


def folder(name: str) -> Path:
    """The folder of a pocket model: `config.json`, `model.safetensors`, `tokenizer.json`, `README.md`.

    Raises:
        FileNotFoundError: no such pocket model, naming those that exist.
    """
    if name not in names():
        known = ", ".join(names()) or "none in this installation"
        raise FileNotFoundError(f"no pocket model {name!r}; known: {known}")
    return HOME / name
