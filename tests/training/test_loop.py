"""The loop: learns, resumes to the same bits, keeps the best, leaves the world as it was, shares work."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.training.worlds import ready
from torch import Tensor, nn

from polymodal.training.batches import Batch, batches, mean_loss, predict
from polymodal.training.loop import _stream, fit

TABLE = ready(120)
ROWS = range(60)


class Net(nn.Module):
    """Two parts, one hidden layer, dropout and a running buffer."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.hidden = nn.Linear(7, 16)
        self.norm = nn.BatchNorm1d(16)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(16, 3)

    def forward(self, inputs: dict[str, Tensor], masks: dict[str, Tensor], present: Tensor) -> Tensor:
        x = torch.cat([x[:, 0] for x in inputs.values()], 1)
        return self.out(self.dropout(torch.relu(self.norm(self.hidden(x)))))


def net(seed: int = 0) -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net()


def loss(module: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(module(batch.inputs, batch.masks, batch.present), batch.target)


def feed(epoch: int) -> Iterable[Batch]:
    return batches(TABLE, ROWS, size=8, seed=0, epoch=epoch)  # 8 batches, the last of 4 rows


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: x.clone() for name, x in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scripted(*values: float) -> Callable[[], float]:
    left = iter(values)
    return lambda: next(left)


def test_it_learns() -> None:
    module = net()
    steps = list(
        fit(
            module,
            feed,
            loss,
            seed=0,
            steps=150,
            lr=0.02,
            evaluate=lambda: mean_loss(module, TABLE, range(60, 90), loss),
            every=20,
        )
    )
    assert [step.n for step in steps] == list(range(1, 151))
    assert [step.n for step in steps if step.val is not None] == [20, 40, 60, 80, 100, 120, 140, 150]
    assert steps[-1].epoch == 150 // 8
    assert steps[0].loss > 2 * steps[-1].loss
    said = predict(module, TABLE, range(90, 120)).argmax(1)
    assert (said == TABLE.target[90:]).mean() > 0.8
    assert not module.training


@pytest.mark.parametrize("name", ["AdamW", "SGD"])
def test_ten_and_ten_are_twenty_to_the_bit(name: str, tmp_path: Path) -> None:
    def optimizer(module: nn.Module) -> torch.optim.Optimizer | None:
        return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9) if name == "SGD" else None

    def run(module: nn.Module, state: dict[str, Tensor] | None = None) -> Iterator:
        evaluate = lambda: mean_loss(module, TABLE, range(60, 90), loss)  # noqa: E731
        options = {"schedule": "cosine", "warmup": 3, "evaluate": evaluate, "every": 4, "state": state}
        return fit(module, feed, loss, seed=5, steps=20, optimizer=optimizer(module), **options)

    straight = net()
    losses = [step.loss for step in run(straight)]
    broken = net()
    found = []
    for step in run(broken):
        found.append(step.loss)
        if step.n == 10:  # the third batch of the second epoch, dropout on
            save_file(step.state(), tmp_path / "state.safetensors")
            break
    resumed = net(seed=99)
    torch.manual_seed(12345)
    found += [step.loss for step in run(resumed, load_file(tmp_path / "state.safetensors"))]
    assert found == losses
    assert same(weights(resumed), weights(straight))


def test_a_state_carries_the_best_weights() -> None:
    module = net()
    for step in fit(module, feed, loss, seed=0, steps=8, evaluate=scripted(1.0, 2.0), every=2):
        if step.n == 2:
            best = weights(module)
        if step.n == 4:
            state = step.state()
            break
    other = net(1)
    list(fit(other, feed, loss, seed=0, steps=8, evaluate=scripted(3.0, 4.0), every=2, state=state))
    assert same(weights(other), best)


def test_same_seed_same_weights_whatever_happens_around() -> None:
    one, two, other = net(), net(), net()
    list(fit(one, feed, loss, seed=3, steps=12))
    for _ in fit(two, feed, loss, seed=3, steps=12):
        torch.rand(5)
    list(fit(other, feed, loss, seed=4, steps=12))
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    list(fit(net(), feed, loss, seed=0, steps=4))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("how", ["end", "break", "close", "error"])
def test_best_weights_come_back(how: str) -> None:
    module = net()
    kept = {}
    steps = fit(module, feed, loss, seed=0, steps=12, evaluate=scripted(3.0, 1.0, 2.0, 2.0), every=3)

    def consume(steps: Iterable) -> None:
        for step in steps:
            if step.n == 6:
                assert step.best
                kept.update(weights(module))
            if step.n == 9:
                assert not step.best
                if how in ("break", "close"):
                    return
                if how == "error":
                    raise KeyError

    if how == "error":
        with pytest.raises(KeyError):
            consume(steps)
        steps.close()
    elif how == "close":
        consume(steps)
        assert not same(weights(module), kept)
        steps.close()
    else:
        consume(steps)
        del steps
    assert same(weights(module), kept)
    assert not module.training


def test_break_in_a_for_is_enough() -> None:
    module = net()
    for step in fit(module, feed, loss, seed=0, steps=12, evaluate=scripted(1.0, 2.0, 2.0, 2.0), every=2):
        if step.n == 2:
            best = weights(module)
        if step.n == 5:
            break
    assert same(weights(module), best)
    with pytest.raises(RuntimeError, match="step 5 is over"):
        step.state()


def test_patience() -> None:
    vals = scripted(5.0, 4.0, 4.0, 6.0, float("nan"), 1.0)
    steps = list(fit(net(), feed, loss, seed=0, steps=99, evaluate=vals, every=2, patience=3))
    assert steps[-1].n == 10
    assert [step.n for step in steps if step.best] == [2, 4]


def test_without_evaluation_the_last_weights_stay() -> None:
    module = net()
    for step in fit(module, feed, loss, seed=0, steps=3):
        assert step.val is None
        last = weights(module)
    assert same(weights(module), last)


def test_state_is_of_the_step_that_is_on() -> None:
    steps = fit(net(), feed, loss, seed=0, steps=3)
    first = next(steps)
    first.state()
    next(steps)
    with pytest.raises(RuntimeError, match="step 1 is over"):
        first.state()


def test_schedules() -> None:
    def rates(**options) -> list[float]:
        return [step.lr for step in fit(net(), feed, loss, seed=0, lr=1.0, steps=4, clip=1e-3, **options)]

    assert rates() == [1, 1, 1, 1]
    assert rates(warmup=2) == [0.5, 1, 1, 1]
    assert rates(schedule="linear") == [1, 0.75, 0.5, 0.25]
    assert rates(schedule="cosine", warmup=2) == pytest.approx([0.5, 1, 1, 0.5])


def test_rates_of_a_given_optimizer_are_peaks() -> None:
    module = net()
    layers = {module.hidden: 1e-3, module.out: 1e-1}
    optimizer = torch.optim.SGD([{"params": x.parameters(), "lr": lr} for x, lr in layers.items()])
    list(fit(module, feed, loss, seed=0, steps=4, optimizer=optimizer, schedule="linear"))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25e-3, 0.25e-1])


@pytest.mark.parametrize(("clip", "moved"), [(0.5, 0.5), (None, 10.0)])
def test_clip_is_the_largest_norm_of_the_gradient(clip: float | None, moved: float) -> None:
    module = nn.Linear(1, 1, bias=False)
    before = module.weight.item()

    def steep(module: nn.Module, batch: Batch) -> Tensor:
        return -10 * module.weight.sum()

    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    list(fit(module, feed, steep, seed=0, steps=1, optimizer=optimizer, clip=clip))
    assert module.weight.item() - before == pytest.approx(moved, rel=1e-4)


def test_frozen_parameters_stay() -> None:
    module = net()
    module.hidden.requires_grad_(False)
    before = weights(module.hidden)
    list(fit(module, feed, loss, seed=0, steps=3))
    assert same(weights(module.hidden), before)


def test_bf16_runs_beside_full_precision() -> None:
    seen = []

    def watched(module: nn.Module, batch: Batch) -> Tensor:
        out = module(batch.inputs, batch.masks, batch.present)
        seen.append(out.dtype)
        return nn.functional.cross_entropy(out, batch.target)

    for precision in ("no", "bf16", "no"):
        [step] = fit(net(), feed, watched, seed=0, steps=1, precision=precision)
        assert step.loss > 0
    assert seen == [torch.float32, torch.bfloat16, torch.float32]


def test_errors() -> None:
    with pytest.raises(ValueError, match="steps and every are at least 1"):
        fit(net(), feed, loss, seed=0, steps=0)
    with pytest.raises(ValueError, match="epoch 0 has no batches"):
        list(fit(net(), lambda epoch: [], loss, seed=0, steps=1))
    once = iter(list(feed(0)))
    with pytest.raises(ValueError, match="epoch 1 has no batches: no rows, or an iterator that was used up"):
        list(fit(net(), lambda epoch: once, loss, seed=0, steps=20))
    with pytest.raises(FloatingPointError, match="the loss is nan at step 1"):
        list(fit(net(), feed, lambda m, b: loss(m, b) * float("nan"), seed=0, steps=1))


def test_states_of_others_are_refused() -> None:
    [state] = [step.state() for step in fit(net(), feed, loss, seed=0, steps=1)]
    with pytest.raises(ValueError, match="made with seed 0, not 1"):
        fit(net(), feed, loss, seed=1, steps=1, state=state)
    with pytest.raises(ValueError, match="the state is of another module"):
        fit(nn.Linear(1, 1), feed, loss, seed=0, steps=1, state=state)


def test_an_optimizer_with_more_than_tensors_says_so() -> None:
    module = net()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    step = next(steps := fit(module, feed, loss, seed=0, steps=1, optimizer=optimizer))
    optimizer.state[module.out.weight]["history"] = [1]
    with pytest.raises(TypeError, match="cannot be resumed"):
        step.state()
    steps.close()


def test_a_finished_state_yields_nothing_and_restores_the_best() -> None:
    module = net()
    for step in fit(module, feed, loss, seed=0, steps=4, evaluate=scripted(1.0, 2.0), every=2):
        state = step.state()
    other = net(1)
    assert not list(fit(other, feed, loss, seed=0, steps=4, state=state))
    assert same(weights(other), weights(module))


WORKER = '''
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from polymodal.training.loop import _stream, fit


class Rows(tuple):
    """A batch of plain tensors."""

    def to(self, device):
        return self


def feed(epoch):
    noise = torch.Generator().manual_seed(epoch)
    for i in range(5):  # the fifth does not go round between two
        yield Rows((torch.randn(4, 3, generator=noise), torch.tensor([epoch, i])))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.rarely, self.out = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 1)


def loss(module, batch):  # reaches into the bare module, and leaves a layer out of most graphs
    x, at = batch
    seen.append(at)
    hidden = module.rarely(x) if at[1] == 3 else module.first(x)
    out = module.out(nn.functional.dropout(hidden.relu(), 0.2))
    return (out[:, 0] - x.sum(1)).square().mean()


rank = int(os.environ["RANK"])
torch.manual_seed(rank)  # other weights and another opinion on val in each process
seen, vals, module, opinion = [], [], Net(), float(rank)
for step in fit(module, feed, loss, seed=1, steps=6, lr=0.01, evaluate=lambda: opinion - len(vals), every=3):
    if step.val is not None:
        vals.append(step.val)
    last = step.loss
numbers = {"seen": torch.stack(seen), "loss": torch.tensor(last), "vals": torch.tensor(vals)}
save_file(module.state_dict() | numbers, Path(sys.argv[1]) / f"{rank}.safetensors")
'''


def test_two_processes_share_the_batches_and_end_with_equal_weights(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    launch = ["-W", "error", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(tmp_path)],
        env=plain | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert a.pop("seen").tolist() == [[0, 0], [0, 2], [1, 0], [1, 2], [2, 0], [2, 2]]
    assert b.pop("seen").tolist() == [[0, 1], [0, 3], [1, 1], [1, 3], [2, 1], [2, 3]]
    assert a["vals"].tolist() == [0.0, -1.0]
    assert same(a, b)  # weights, and the numbers a consumer may stop by


def test_an_epoch_with_fewer_batches_than_processes_is_dealt_again() -> None:
    shares = [
        [next(stream)[2] for stream in [_stream(lambda epoch: "ab", 0, 0, rank, 3)]] for rank in range(3)
    ]
    assert shares == [["a"], ["b"], ["a"]]
    later = _stream(lambda epoch: "abcde", 0, 2, 1, 2)
    assert [next(later) for _ in range(3)] == [(0, 4, "d"), (1, 2, "b"), (1, 4, "d")]
