"""Networks: encoders of each part, fusions that join them, heads that answer, all saved in safetensors.

Axis names in every signature: b batch, t token or time, n region or patch, d dim, h w c height, width and
channel, m modality (part), k class. A mask is true where a position is real; `present` where a part is.
"""

from polymodal.nn.encoders import Chain, Dense, Encoded, Encoder, Scaler
from polymodal.nn.fusion import Concat, Fused, Fusion
from polymodal.nn.heads import Head, Regress, Softmax
from polymodal.nn.joined import Joined
from polymodal.nn.members import build, member

__all__ = [
    "Chain",
    "Concat",
    "Dense",
    "Encoded",
    "Encoder",
    "Fused",
    "Fusion",
    "Head",
    "Joined",
    "Regress",
    "Scaler",
    "Softmax",
    "build",
    "member",
]
