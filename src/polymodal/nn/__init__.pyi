from .dual import Dual
from .encoders import Chain, Convolved, Dense, Encoded, Encoder, Recurrent, Scaler
from .fusion import Concat, CrossAttention, Fused, Fusion, Gated, Late, MixtureGate, Weighted
from .heads import Head, Ordinal, Regress, Several, Softmax
from .image import ImageTransformer, Patches
from .joined import Joined
from .members import build, member
from .pretrained import Pretrained
from .sound import LogMel, log_mel
from .tensors import LowRank, Outer
from .text import Letters, letters, ngrams

# fmt: off
__all__ = [
    "Chain", "Concat", "Convolved", "CrossAttention", "Dense", "Dual", "Encoded", "Encoder", "Fused",
    "Fusion", "Gated", "Head", "ImageTransformer", "Joined", "Late", "Letters", "LogMel", "LowRank",
    "MixtureGate", "Ordinal", "Outer", "Patches", "Pretrained", "Recurrent", "Regress", "Scaler", "Several",
    "Softmax", "Weighted", "build", "letters", "log_mel", "member", "ngrams",
]
# fmt: on
