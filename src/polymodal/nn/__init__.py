"""Networks: encoders of each part, fusions that join them, heads that answer.

Axis names in every signature: b batch, t token or time, n region or patch, d dim, h w c height, width and
channel, m modality (part), k class. A mask is true where a position is real; `present` where a part is.

The names are in `__init__.pyi` and are loaded at their first use: what needs one part, such as the merging of
weights, does not pay for the memory of the others.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
