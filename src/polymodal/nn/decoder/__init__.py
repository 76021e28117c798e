"""A causal decoder of the Llama form, and one that sees: pocket models that transformers loads too."""

from polymodal.nn.decoder.decode import Made, continued, scored
from polymodal.nn.decoder.language import Decoder, taught
from polymodal.nn.decoder.layers import Cache, Shape

__all__ = ["Cache", "Decoder", "Made", "Shape", "continued", "scored", "taught"]
