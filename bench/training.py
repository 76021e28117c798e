"""A training step of the three-part net against MMSA's LF_DNN on the same tensors; floor: 1 x.

MMSA (pip package `MMSA`) is used where it is installed, without importing the rest of it; else a net of the
same layers, written here, stands in and the output says so. The time is the process's own, so that other
work on the machine does not count; one thread.
"""

import importlib
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

from polymodal.nn import Chain, Concat, Dense, Joined, Recurrent, Regress, Scaler

DIMS = {"text": 768, "audio": 32, "video": 16}
HIDDEN, WORDS, FUSED, DROPOUT = {"text": 64, "audio": 32, "video": 16}, 50, 128, 0.2
ROUNDS = {32: 40, 1024: 5}

Step = Callable[[], None]


def ours(inputs: dict[str, Tensor], target: Tensor) -> Step:
    """LSTM text, three dense layers a side, concatenation, two dense layers, a score."""
    sides = {
        name: Chain(Scaler(DIMS[name]), Dense(DIMS[name], HIDDEN[name], layers=3, dropout=DROPOUT))
        for name in ("audio", "video")
    }
    text = Recurrent(DIMS["text"], HIDDEN["text"], cell="lstm", bidirectional=False)
    net = Joined({"text": text} | sides, Concat(HIDDEN, FUSED, layers=2, dropout=DROPOUT), Regress(FUSED))
    masks = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    present = torch.ones(len(target), len(DIMS), dtype=torch.bool)
    net.fit_scalers([SimpleNamespace(inputs=inputs, masks=masks, present=present)])
    optimiser = torch.optim.Adam(net.parameters())

    def step() -> None:
        optimiser.zero_grad()
        net.head.loss(net(inputs, masks, present), target).backward()
        optimiser.step()

    return step


def theirs(inputs: dict[str, Tensor], target: Tensor, net: nn.Module) -> Step:
    """The peer's forward, mean absolute error, Adam."""
    optimiser = torch.optim.Adam(net.parameters())

    def step() -> None:
        optimiser.zero_grad()
        output = net(inputs["text"], inputs["audio"], inputs["video"])["M"]
        nn.functional.l1_loss(output[:, 0], target).backward()
        optimiser.step()

    return step


def peer() -> tuple[str, Callable[[], nn.Module]]:
    """MMSA's class if it is installed, else the form below."""
    settings = SimpleNamespace(
        feature_dims=tuple(DIMS.values()),
        hidden_dims=tuple(HIDDEN.values()),
        text_out=HIDDEN["text"],
        post_fusion_dim=FUSED,
        dropouts=(DROPOUT,) * 4,
        num_classes=1,
        train_mode="regression",
    )
    found = importlib.util.find_spec("MMSA")
    if found is None or not found.submodule_search_locations:
        return "stand-in for LF_DNN (MMSA is not installed)", StandIn
    root = found.submodule_search_locations[0]
    for name, folder in (
        ("MMSA", ""),
        ("MMSA.models", "/models"),
        ("MMSA.models.singleTask", "/models/singleTask"),
    ):
        package = ModuleType(name)  # without their __init__, which imports all of the toolkit
        package.__path__ = [root + folder]
        sys.modules[name] = package
    module = importlib.import_module("MMSA.models.singleTask.LF_DNN")
    return "MMSA LF_DNN", lambda: module.LF_DNN(settings)


class StandIn(nn.Module):
    """The layers of LF_DNN."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(DIMS["text"], HIDDEN["text"], batch_first=True)
        self.text = nn.Linear(HIDDEN["text"], HIDDEN["text"])
        self.sides = nn.ModuleDict({name: self.side(name) for name in ("audio", "video")})
        width = sum(HIDDEN.values())
        sizes = [(width, FUSED), (FUSED, FUSED)]
        layers = [layer for a, b in sizes for layer in (nn.Linear(a, b), nn.ReLU())]
        self.post = nn.Sequential(nn.Dropout(DROPOUT), *layers, nn.Linear(FUSED, 1))

    @staticmethod
    def side(name: str) -> nn.Sequential:
        """Batch norm, dropout, three layers."""
        sizes = [(DIMS[name], HIDDEN[name]), (HIDDEN[name], HIDDEN[name]), (HIDDEN[name], HIDDEN[name])]
        layers = [layer for a, b in sizes for layer in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(nn.BatchNorm1d(DIMS[name]), nn.Dropout(DROPOUT), *layers)

    def forward(self, text: Tensor, audio: Tensor, video: Tensor) -> dict[str, Tensor]:
        """Scores under the peer's key."""
        h = [self.sides["audio"](audio[:, 0]), self.sides["video"](video[:, 0])]
        h.append(self.text(self.rnn(text)[1][0][0]))
        return {"M": self.post(torch.cat(h, 1))}


def tensors(batch: int) -> tuple[dict[str, Tensor], Tensor]:
    """Random inputs of one batch and a target."""
    inputs = {name: torch.randn(batch, WORDS if name == "text" else 1, d) for name, d in DIMS.items()}
    return inputs, torch.randn(batch)


def main() -> int:
    """Interleaved rounds, medians; 1 where the floor is missed."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    name, make = peer()
    missed = 0
    for batch, rounds in ROUNDS.items():
        inputs, target = tensors(batch)
        steps = {"polymodal": ours(inputs, target), name: theirs(inputs, target, make())}
        times: dict[str, list[float]] = {who: [] for who in steps}
        for i in range(rounds + 1):
            for who, step in steps.items():
                start = time.process_time()
                step()
                if i:
                    times[who].append(time.process_time() - start)
        mine, other = (statistics.median(t) for t in times.values())
        missed += other < mine
        ratio = f"{other / mine:4.2f} x (floor 1)"
        print(f"batch {batch:>5}: polymodal {mine:7.4f} s, {name} {other:7.4f} s, ratio {ratio}")
    inputs, target = tensors(1)
    ours(inputs, target)()
    try:
        theirs(inputs, target, make())()
        print("batch     1: both run")
    except ValueError as error:
        print(f"batch     1: polymodal runs; {name}: {error}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
