"""Pocket models: small weights that come with the package, and the tokenizer they share."""

from polymodal.nn.pocket.shelf import folder, names
from polymodal.nn.pocket.tokens import Tokens

__all__ = ["Tokens", "folder", "names"]
