"""Tensor fusions against their published forms, with the weights carried over."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn import (
    Chain,
    Concat,
    Dense,
    Encoded,
    Encoder,
    Fusion,
    Head,
    Joined,
    LowRank,
    Outer,
    Recurrent,
    Regress,
    Scaler,
    Softmax,
)

TEXT, AUDIO, VIDEO, BATCH, WORDS = 10, 5, 7, 6, 4
HIDDEN = {"text": 4, "audio": 3, "video": 2}


def whole(vector: Tensor) -> Encoded:
    return Encoded(vector[:, None], torch.ones(len(vector), 1, dtype=torch.bool), vector)


def led(x: Tensor) -> Tensor:
    return functional.pad(x, (1, 0), value=1.0)


def vectors(dims: dict[str, int], n: int = 5) -> dict[str, Encoded]:
    return {name: whole(torch.randn(n, d)) for name, d in dims.items()}


def test_outer_is_the_published_product() -> None:
    """Zadeh et al. 2017, equation 3."""
    encoded = vectors({"a": 3, "b": 2, "c": 4})
    fusion = Outer({"a": 3, "b": 2, "c": 4}, dense=False)
    parts = [led(encoded[name].vector) for name in "abc"]
    want = torch.einsum("bi,bj,bk->bijk", *parts).flatten(1)
    assert fusion.dim == want.shape[1] == 60
    torch.testing.assert_close(
        fusion(encoded, torch.ones(5, 3, dtype=torch.bool)).vector, want, atol=1e-5, rtol=0
    )


def test_low_rank_is_the_published_sum() -> None:
    """Liu et al. 2018, equation 8, weighted over ranks."""
    dims = {"a": 3, "b": 2, "c": 4}
    encoded, fusion = vectors(dims), LowRank(dims, 6, rank=5)
    with torch.no_grad():
        fusion.bias.normal_()
    terms = [torch.einsum("bi,rik->brk", led(encoded[name].vector), fusion.factors[name]) for name in dims]
    want = torch.einsum("r,brk,brk,brk->bk", fusion.weight, *terms) + fusion.bias
    torch.testing.assert_close(
        fusion(encoded, torch.ones(5, 3, dtype=torch.bool)).vector, want, atol=1e-5, rtol=0
    )


def test_full_rank_is_outer_under_a_linear_layer() -> None:
    """Rank (2+1)(2+1)(2+1) with one-hot factors picks out each product; the last factor holds its weights."""
    dims = {"a": 2, "b": 2, "c": 2}
    encoded, present = vectors({"a": 2, "b": 2, "c": 2}), torch.ones(5, 3, dtype=torch.bool)
    present[1, 0] = present[2, 1] = False
    outer, linear = Outer(dims, dense=False), nn.Linear(27, 4)
    low = LowRank(dims, 4, rank=27)
    hot = torch.eye(3)
    with torch.no_grad():
        for r in range(27):
            i, j, k = r // 9, r // 3 % 3, r % 3
            low.factors["a"][r] = hot[i][:, None].expand(3, 4)
            low.factors["b"][r] = hot[j][:, None].expand(3, 4)
            low.factors["c"][r] = hot[k][:, None] * linear.weight[:, r]
        low.weight.fill_(1.0)
        low.bias.copy_(linear.bias)
    torch.testing.assert_close(
        low(encoded, present).vector, linear(outer(encoded, present).vector), atol=1e-5, rtol=0
    )


class Side(nn.Module):
    """The toolkits' audio and video net: batch norm, then three linear layers with ReLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.layers = nn.ModuleList(
            [nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x).relu()
        return x


class Published(nn.Module):
    """The toolkits' three-part net, late fusion (`dense`), tensor fusion or low-rank fusion at its end."""

    def __init__(self, fusion: str, out: int, rank: int = 3) -> None:
        super().__init__()
        self.rnn = nn.LSTM(TEXT, 8, batch_first=True)
        self.project = nn.Linear(8, HIDDEN["text"])
        self.audio, self.video = Side(AUDIO, HIDDEN["audio"]), Side(VIDEO, HIDDEN["video"])
        self.fusion = fusion
        width = 9 if fusion == "dense" else 5 * 4 * 3
        self.post = nn.ModuleList([nn.Linear(width, 6), nn.Linear(6, 6), nn.Linear(6, out)])
        sizes = {"audio": 4, "video": 3, "text": 5}
        self.factors = nn.ParameterDict(
            {n: nn.Parameter(torch.randn(rank, d, out)) for n, d in sizes.items()}
        )
        self.fusion_weights = nn.Parameter(torch.randn(1, rank))
        self.fusion_bias = nn.Parameter(torch.randn(1, out))

    def forward(self, text: Tensor, audio: Tensor, video: Tensor) -> Tensor:
        t = self.project(self.rnn(text)[1][0][0])
        a, v = self.audio(audio), self.video(video)
        if self.fusion == "rank":
            product = (
                led(a)
                @ self.factors["audio"]
                * (led(v) @ self.factors["video"])
                * (led(t) @ self.factors["text"])
            )
            return (self.fusion_weights @ product.permute(1, 0, 2))[:, 0] + self.fusion_bias
        z = (
            torch.cat([a, v, t], 1)
            if self.fusion == "dense"
            else torch.einsum("bi,bj,bk->bijk", led(a), led(v), led(t)).flatten(1)
        )
        return self.post[2](self.post[1](self.post[0](z).relu()).relu())


def side(published: Side) -> Encoder:
    """The same as a chain of our parts: batch norm's running statistics go into a scaler."""
    norm = published.norm
    scaler, dense = (
        Scaler(norm.num_features),
        Dense(norm.num_features, published.layers[0].out_features, layers=3),
    )
    with torch.no_grad():
        scaler.location.copy_(norm.running_mean)
        scaler.rate.copy_((norm.running_var + norm.eps).rsqrt())
        for ours, theirs in zip(
            [m for m in dense.layers if isinstance(m, nn.Linear)], published.layers, strict=True
        ):
            ours.load_state_dict(theirs.state_dict())
    return Chain(scaler, dense)


def joined(published: Published, fusion: Fusion, head: Head) -> Joined:
    """Our net on the published weights, the text net's last linear layer being the parts' own `project`."""

    class Projected(Recurrent):
        def forward(self, x: Tensor, mask: Tensor) -> Encoded:
            return whole(published.project(super().forward(x, mask).vector))

    text = Projected(TEXT, 8, cell="lstm", bidirectional=False)
    text.onward.load_state_dict(published.rnn.state_dict())
    text.dim = HIDDEN["text"]
    encoders = {"audio": side(published.audio), "video": side(published.video), "text": text}
    return Joined(encoders, fusion, head).eval()


def post(published: Published, fusion: Concat | Outer, head: Softmax | Regress) -> None:
    layers = [m for m in fusion.layers if isinstance(m, nn.Linear)]
    for ours, theirs in zip([*layers, head.linear], published.post, strict=True):
        ours.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("kind", ["dense", "outer", "rank", "squashed"])
def test_logits_of_the_published_nets(kind: str) -> None:
    torch.manual_seed(0)
    dims = {name: HIDDEN[name] for name in ("audio", "video", "text")}
    published = Published("outer" if kind == "squashed" else kind, 1 if kind == "squashed" else 3)
    for part in (published.audio, published.video):
        part.norm.running_mean.normal_()
        part.norm.running_var.uniform_(0.5, 2)
    published.eval()
    head: Softmax | Regress = Softmax(6, 3)
    fusion: Fusion
    if kind == "rank":
        fusion, head = LowRank(dims, 3, rank=3), Softmax(3, 3)
        with torch.no_grad():
            for name in dims:
                fusion.factors[name].copy_(published.factors[name])
            fusion.weight.copy_(published.fusion_weights[0])
            fusion.bias.copy_(published.fusion_bias[0])
            head.linear.weight.copy_(torch.eye(3))
            head.linear.bias.zero_()
    else:
        fusion = Concat(dims, 6, layers=2) if kind == "dense" else Outer(dims, 6, layers=2)
        head = Regress(6, span=(-3.0, 3.0)) if kind == "squashed" else head
        post(published, fusion, head)
    text, audio, video = torch.randn(BATCH, WORDS, TEXT), torch.randn(BATCH, AUDIO), torch.randn(BATCH, VIDEO)
    want = published(text, audio, video)
    if kind == "squashed":
        want = (6 * torch.sigmoid(want) - 3)[:, 0]
    inputs = {"text": text, "audio": audio[:, None], "video": video[:, None]}
    masks = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    got = joined(published, fusion, head)(inputs, masks, torch.ones(BATCH, 3, dtype=torch.bool))
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
