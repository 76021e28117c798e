"""Networks: encoders of each part, fusions that join them, heads that answer.

Axis names in every signature: b batch, t token or time, n region or patch, d dim, h w c height, width and
channel, m modality (part), k class. A mask is true where a position is real; `present` where a part is.
"""

from polymodal.nn.dual import Dual
from polymodal.nn.encoders import Chain, Convolved, Dense, Encoded, Encoder, Recurrent, Scaler
from polymodal.nn.fusion import Concat, CrossAttention, Fused, Fusion, Gated, Late, MixtureGate, Weighted
from polymodal.nn.heads import Head, Ordinal, Regress, Several, Softmax
from polymodal.nn.image import ImageTransformer, Patches
from polymodal.nn.joined import Joined
from polymodal.nn.members import build, member
from polymodal.nn.pretrained import Pretrained
from polymodal.nn.sound import LogMel, log_mel
from polymodal.nn.tensors import LowRank, Outer
from polymodal.nn.text import Letters, letters, ngrams

# fmt: off
__all__ = [
    "Chain", "Concat", "Convolved", "CrossAttention", "Dense", "Dual", "Encoded", "Encoder", "Fused",
    "Fusion", "Gated", "Head", "ImageTransformer", "Joined", "Late", "Letters", "LogMel", "LowRank",
    "MixtureGate", "Ordinal", "Outer", "Patches", "Pretrained", "Recurrent", "Regress", "Scaler", "Several",
    "Softmax", "Weighted", "build", "letters", "log_mel", "member", "ngrams",
]
# fmt: on
