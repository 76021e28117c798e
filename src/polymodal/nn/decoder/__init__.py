"""A causal decoder of the Llama form, and one that sees; transformers loads both."""

from polymodal.nn.decoder.decode import Made, continued, scored
from polymodal.nn.decoder.language import Decoder, taught
from polymodal.nn.decoder.layers import Cache, Shape
from polymodal.nn.decoder.prompt import answered, asked, lesson, question
from polymodal.nn.decoder.seeing import Eye, Seeing

# fmt: off
__all__ = [
    "Cache", "Decoder", "Eye", "Made", "Seeing", "Shape", "answered", "asked", "continued", "lesson",
    "question", "scored", "taught",
]
# fmt: on
