"""Encoders of one part: scaler, dense, recurrent, convolved; padding never matters."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from polymodal.nn.members import Spec, member

CLIP_SD = 10.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """One part, encoded: tokens (zero where the mask is false) and one vector a sample.

    `summary` is that vector where it is not the mean of the tokens.
    """

    tokens: Float[Tensor, "b t d"]
    mask: Bool[Tensor, "b t"]
    summary: Float[Tensor, "b d"] | None = None

    @property
    def vector(self) -> Float[Tensor, "b d"]:
        """One vector a sample; the mean is made when it is asked for, which inside a chain nobody does."""
        if self.summary is not None:
            return self.summary
        return self.tokens.sum(1) / self.mask.sum(1, keepdim=True).clamp(min=1)


class Encoder(nn.Module):
    """Turns `x` "b t width" with `mask` "b t" into `Encoded` tokens and vectors of `dim` columns.

    A plain vector is t = 1. What stands in masked positions, NaN included, never changes the output.
    """

    width: int
    dim: int
    spec: Spec

    def forward(self, x: Shaped[Tensor, "b t *_"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes a padded batch."""
        raise NotImplementedError

    def example(self, t: int = 1) -> Shaped[Tensor, "1 t _"]:
        """One sample of zeros, t steps long, as `forward` takes it."""
        return torch.zeros(1, t, self.width)


def keep(x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
    """`x` with zeros in masked positions, whatever stood there (a product would keep NaN)."""
    return torch.where(mask[..., None], x, 0)


def mean(tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
    """Mean over the tokens the mask keeps; zeros where it keeps none."""
    return keep(tokens, mask).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def pooled(tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Encoded:
    """Tokens, cleaned, with their masked mean as the vector."""
    return Encoded(keep(tokens, mask), mask)


@member
class Scaler(Encoder):
    """Standardises columns by the mean and sd of the tokens it was fitted on, kept as buffers.

    A constant column becomes 0, values are clipped at ±10 sd, non-finite cells become the mean. `digest`
    says what it was fitted on, so that an audit can hold it against the training split.
    """

    location: Tensor
    spread: Tensor
    count: Tensor
    rate: Tensor
    seen: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = self.dim = width
        self.register_buffer("location", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("spread", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("rate", torch.ones(width))
        self.register_buffer("seen", torch.zeros(64, dtype=torch.uint8))

    @property
    def digest(self) -> str:
        """Digest of the data behind the statistics; empty before `fit`."""
        return bytes(self.seen.tolist()).rstrip(b"\0").decode("ascii")

    @property
    def sd(self) -> Float[Tensor, " d"]:
        """Standard deviation of each column (population)."""
        return (self.spread / self.count.clamp(min=1)).sqrt()

    def fit(
        self,
        batches: Iterable[tuple[Float[Tensor, "_ _ d"], Bool[Tensor, "_ _"]]],
        *,
        digest: str = "",
    ) -> "Scaler":
        """Forgets, then observes every (x, mask) of the batches, which must come from train rows only."""
        self.reset(digest=digest)
        for x, mask in batches:
            self.observe(x, mask)
        return self

    def reset(self, *, digest: str = "") -> None:
        """Forgets all statistics; `digest` (at most 64 ASCII characters) names what comes next.

        Raises:
            ValueError: the digest is longer.
        """
        code = digest.encode("ascii")
        if len(code) > self.seen.numel():
            raise ValueError(f"digest has {len(code)} characters, at most {self.seen.numel()} are kept")
        for buffer in (self.location, self.spread, self.count, self.seen):
            buffer.zero_()
        self.rate.fill_(1.0)
        self.seen[: len(code)] = torch.tensor(list(code), dtype=torch.uint8)

    @torch.no_grad()
    def observe(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> None:
        """Merges one batch into mean and sd (Chan, Golub and LeVeque 1979), leaving out non-finite cells."""
        rows = x[mask].to(torch.float64)
        valid = rows.isfinite()
        rows = torch.where(valid, rows, 0.0)
        n = valid.sum(0).to(torch.float64)
        location = rows.sum(0) / n.clamp(min=1)
        spread = torch.where(valid, (rows - location) ** 2, 0.0).sum(0)
        total = self.count + n
        shift = location - self.location
        safe = total.clamp(min=1)
        self.spread += spread + shift**2 * self.count * n / safe
        self.location += shift * n / safe
        self.count.copy_(total)
        sd = self.sd
        live = sd > 1e-7 * self.location.abs().clamp(min=1e-12)
        self.rate.copy_(torch.where(live, 1.0 / torch.where(live, sd, 1.0), 0.0))

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """(x − mean) / sd; the identity, but for clipping, before `fit`."""
        x = (x - self.location.to(x.dtype)).nan_to_num(0.0, 0.0, 0.0)
        return pooled((x * self.rate.to(x.dtype)).clamp(-CLIP_SD, CLIP_SD), mask)


@member
class Chain(Encoder):
    """Encoders in a row, each reading the tokens of the one before: `Chain(Scaler(24), Dense(24, 32))`.

    Raises:
        ValueError: a member reads another width than the one before it gives.
    """

    def __init__(self, *members: Encoder) -> None:
        super().__init__()
        for i, (a, b) in enumerate(pairwise(members)):
            if a.dim != b.width:
                raise ValueError(f"chain member {i + 1} reads {b.width} columns but is given {a.dim}")
        self.members = nn.ModuleList(members)
        self.width, self.dim = members[0].width, members[-1].dim

    def forward(self, x: Shaped[Tensor, "b t *_"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes by each member in turn; the vector is the last one's."""
        for encode in self.members:
            out: Encoded = encode(x, mask)
            x, mask = out.tokens, out.mask
        return out

    def example(self, t: int = 1) -> Shaped[Tensor, "1 t _"]:
        """What the first member takes."""
        first: Encoder = self.members[0]  # type: ignore[assignment]
        return first.example(t)


def stack(width: int, dim: int, layers: int, dropout: float) -> nn.Sequential:
    """`layers` times Drop(ReLU(Linear))."""
    sizes = [width] + [dim] * layers
    blocks = [(nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)) for a, b in pairwise(sizes)]
    return nn.Sequential(*(layer for block in blocks for layer in block))


@member
class Dense(Encoder):
    """Fully connected layers, h = Drop(ReLU(W x + b)), token by token; the vector is the masked mean.

    arXiv 2505.04642, section 3.
    """

    def __init__(self, width: int, dim: int, layers: int = 1, dropout: float = 0.3) -> None:
        super().__init__()
        self.width, self.dim = width, dim
        self.layers = stack(width, dim, layers, dropout)

    def forward(self, x: Float[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Encodes each token alone."""
        tokens: Tensor = self.layers(keep(x, mask))
        return pooled(tokens, mask)


@member
class Recurrent(Encoder):
    """GRU or LSTM over the real tokens, both ways by default; the vector is the final state of each way.

    Each way meets the padding last, so that no state has passed through it: the way back runs over rows
    reversed within their own lengths. For more layers put several in a `Chain`.

    Raises:
        ValueError: `dim` is odd and two ways must share it, or the cell is unknown.
    """

    def __init__(self, width: int, dim: int, cell: str = "gru", bidirectional: bool = True) -> None:
        super().__init__()
        if cell not in ("gru", "lstm"):
            raise ValueError(f"cell is gru or lstm, not {cell!r}")
        if bidirectional and dim % 2:
            raise ValueError(f"two ways cannot share {dim} columns evenly")
        self.width, self.dim = width, dim
        make, hidden = (nn.GRU if cell == "gru" else nn.LSTM), dim // (1 + bidirectional)
        self.onward = make(width, hidden, batch_first=True)
        self.back = make(width, hidden, batch_first=True) if bidirectional else None

    def forward(self, x: Float[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Runs the cell over each row's real tokens, wherever they stand."""
        n, place = mask.sum(1, keepdim=True), torch.arange(mask.shape[1], device=mask.device)
        whole, order = bool(mask.all()), None
        x = x if whole else keep(x, mask)
        if not bool((mask == (place < n)).all()):  # real tokens first, their order kept
            order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
            x = _taken(x, order)
        runs = [_run(self.onward, x)]
        ends = [_taken(runs[0], (n - 1).clamp(min=0))[:, 0]]
        if self.back is not None:
            turn = torch.where(place < n, n - 1 - place, place)
            runs.append(_taken(_run(self.back, _taken(x, turn)), turn))
            ends.append(runs[1][:, 0])
        tokens, vector = torch.cat(runs, 2), torch.cat(ends, 1)
        tokens = tokens if order is None else _taken(tokens, order.argsort(dim=1))
        if whole and n.numel():
            return Encoded(tokens, mask, vector)
        return Encoded(keep(tokens, mask), mask, keep(vector[:, None], n > 0)[:, 0])


def _taken(x: Float[Tensor, "b t d"], index: Int[Tensor, "b s"]) -> Float[Tensor, "b s d"]:
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def _run(rnn: nn.GRU | nn.LSTM, x: Float[Tensor, "b t _"]) -> Float[Tensor, "b t d"]:
    """All states; without oneDNN where features are wide and fixed, for it would take their gradient too."""
    backend: Any = torch.backends.mkldnn
    usual = backend.enabled
    if x.shape[2] > 4 * rnn.hidden_size and torch.is_grad_enabled() and not x.requires_grad and len(x) > 1:
        backend.enabled = False
    try:
        states: Tensor = rnn(x)[0]
    finally:
        backend.enabled = usual
    return states


@member
class Convolved(Encoder):
    """1-D convolutions with stride, ReLU and dropout: t tokens become ceil(t / stride) a layer."""

    def __init__(
        self, width: int, dim: int, layers: int = 2, kernel: int = 3, stride: int = 2, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.width, self.dim, self.stride = width, dim, stride
        sizes = [width] + [dim] * layers
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, 2 * (kernel // 2) + 1, stride, kernel // 2) for a, b in pairwise(sizes)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "b t _"], mask: Bool[Tensor, "b t"]) -> Encoded:
        """Convolves with zeros beyond each row's end; a token stays if its window's centre is real."""
        for layer in self.layers:
            x = layer(keep(x, mask).transpose(1, 2)).transpose(1, 2)
            x, mask = self.dropout(x.relu()), mask[:, :: self.stride]
        return pooled(x, mask)
