"""The paper's classifier as a composition of parts: encoders, a fusion by name, a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from polymodal.training.study.reading import encoder

if TYPE_CHECKING:
    from polymodal.nn import Fusion, Joined
    from polymodal.training import Ready
    from polymodal.training.study.reading import Ways
    from polymodal.training.study.trial import Arm, Fitting


def fusion(name: str, dims: Mapping[str, int], *, dim: int, dropout: float, absent: float) -> Fusion:
    """The fusion of a name; `concat` is the paper's, `concat_linear` the same without its dense layer.

    Raises:
        ValueError: an unknown name.
    """
    from polymodal import nn

    anchor = "text" if "text" in dims else next(iter(dims))
    ways: dict[str, Callable[[], Fusion]] = {
        "concat": lambda: nn.Concat(dims, dim, dropout=dropout, absent=absent),
        "concat_linear": lambda: nn.Concat(dims, dense=False, absent=absent),
        "weighted": lambda: nn.Weighted(dims, dim, absent=absent),
        "gated": lambda: nn.Gated(dims, dim, absent=absent),
        "mixture": lambda: nn.MixtureGate(dims, dim, dropout=dropout, absent=absent),
        "lowrank": lambda: nn.LowRank(dims, dim, rank=4, absent=absent),
        "outer": lambda: nn.Outer(dims, dim, dropout=dropout, absent=absent),
        "crossattention": lambda: nn.CrossAttention(dims, anchor, dim, dropout=dropout, absent=absent),
        "late": lambda: nn.Late(dims, dim, absent=absent),
    }
    if name not in ways:
        raise ValueError(f"unknown fusion {name!r}; known: {', '.join(ways)}")
    return ways[name]()


def network(ready: Ready, ways: Ways, arm: Arm, fitting: Fitting, *, seed: int) -> Joined:
    """The paper's model over the parts of `ready`, joined as the arm says.

    `outer` multiplies its parts out, so there the encoders are at most 16 wide, as its authors have it.
    """
    import torch

    from polymodal import nn

    classes = ready.statistics.classes
    wide = min(fitting.dim, 16) if arm.fusion == "outer" else fitting.dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {}
        for name, column in ready.columns.items():
            tokens = column.offsets is not None or column.values.shape[1] > 1
            width = ready.width(name)
            encoders[name] = encoder(*ways[name], width, tokens=tokens, dim=wide, dropout=arm.dropout)
        dims = dict.fromkeys(encoders, wide)
        joint = fusion(arm.fusion, dims, dim=fitting.dim, dropout=arm.dropout, absent=arm.absent)
        head = nn.Regress(joint.dim) if classes is None else nn.Softmax(joint.dim, len(classes))
        meta = {"ways": {name: list(ways[name]) for name in dims}, "statistics": ready.statistics.to_json()}
        return nn.Joined(encoders, joint, head, meta)
