"""Decoders small enough to make in a test, with weights large enough that a prompt sways the reply."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from polymodal.nn.decoder import Decoder, Seeing
from polymodal.nn.dual import Dual
from polymodal.nn.pocket import Tokens

TEXTS = [f"a {colour} star and {n} circles are on the left" for colour in ("red", "blue") for n in range(32)]
QUESTIONS = ["what is 3 + 4", "which colour is the star on the left side?", "how many"]


def tokens() -> Tokens:
    """Tokens of a few captions."""
    return Tokens.trained(TEXTS, size=340)


def stirred(net: nn.Module, spread: float = 0.3) -> None:
    """Large random weights, the same each time; norms too, so that a norm left out is seen."""
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in net.parameters():
            centre = 1.0 if weight.ndim == 1 else 0.0
            weight.copy_(centre + spread * torch.randn(weight.shape, generator=stream))
            weight.copy_(weight.half())  # what disk keeps


def decoder(layers: int = 2, context: int = 96) -> Decoder:
    """Two layers of three heads."""
    words = tokens()
    net = Decoder.pocket(24, layers, 3, 40, len(words), context, words=words)
    stirred(net)
    return net.eval()


def seeing(context: int = 96) -> Seeing:
    """The decoder with a tower that sees 16 x 16 pixels as four patches."""
    net = decoder(context=context)
    dual = Dual.pocket(net.words, dim=16, layers=2, heads=2, patch=8, size=16)
    both = Seeing.pocket(dual, net)
    stirred(both)
    return both.eval()


def written(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
