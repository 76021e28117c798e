"""CLIP and SigLIP of transformers under the methods of our own towers."""

from typing import Any


def outside(name: str, **options: Any) -> tuple[Any, Any]:
    """The towers and the tokenizer of a model folder or a model on the hub.

    Raises:
        FileNotFoundError: neither a pocket model, a model folder nor a model on the hub.
    """
    from polymodal.nn.pocket import names

    known = ", ".join(names()) or "none here"
    raise FileNotFoundError(
        f"no dual encoder at {name!r}: give a pocket model ({known}), a folder or a hub name"
    )
