"""The one training loop: a generator of steps over accelerate, stopped by `break`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast
from torch import Tensor, nn

Loss = Callable[[Any, Any], Tensor]  # (module, batch) -> scalar
Precision = Literal["no", "bf16"]
Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True, slots=True)
class Step:
    """One update of the weights.

    Attributes:
        n: counts from 1.
        epoch: passes over the data before this batch.
        lr: of the first parameter group in this step.
        val: what `evaluate` gave after this step, None where it was not asked.
        best: whether `val` is the lowest so far.
        seconds: since `fit` started.
    """

    n: int
    epoch: int
    lr: float
    val: float | None
    best: bool
    seconds: float
    _loss: Tensor
    _training: _Training

    @property
    def loss(self) -> float:
        """Training loss before the update, over all processes; reading it waits for the device."""
        return float(self._loss)

    def state(self) -> dict[str, Tensor]:
        """Everything that `fit(state=...)` needs to go on to the same numbers, ready for safetensors.

        Raises:
            RuntimeError: the loop has moved on; ask before the next step.
        """
        if self._training.n != self.n or self._training.closed:
            raise RuntimeError(f"step {self.n} is over: ask for its state before the next step")
        return self._training.state()


def fit(
    module: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    loss: Loss,
    *,
    seed: int,
    steps: int,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    optimizer: torch.optim.Optimizer | None = None,
    clip: float | None = 1.0,
    schedule: Schedule = "constant",
    warmup: int = 0,
    evaluate: Callable[[], float] | None = None,
    every: int = 50,
    patience: int | None = None,
    precision: Precision = "no",
    state: Mapping[str, Tensor] | None = None,
) -> Generator[Step, None, None]:
    """Train `module` in place, one yielded `Step` an update.

    When the generator ends — by steps, patience, an error or the consumer's `break` — the weights with the
    lowest `val` are back in the module, which is left in eval mode. A generator that is kept in a variable
    ends at `close()`.

    Dropout and the like are a function of (seed, process, step) and the order of the data one of (seed,
    epoch), so a resumed run repeats the numbers of an unbroken one; global random state is left alone. Under
    torchrun each process takes its own batches (every w-th of w processes), gradients are averaged, and
    `loss` and `val` are the same everywhere, so that any rule to `break` by them holds on all.

    Args:
        module: on any device; accelerate moves it.
        batches: epoch -> batches, in the same order on every process; anything with `.to(device)`.
        loss: of (module, batch), a scalar; sees the module as it was given.
        seed: of everything random in here.
        steps: updates at most.
        lr: peak learning rate of the default AdamW.
        weight_decay: of the default AdamW.
        optimizer: over the module's parameters, in place of AdamW; its own rates are the peaks.
        clip: largest norm of the gradient; None leaves it.
        schedule: of the rate after the warm-up: `constant`, or `linear` or half a `cosine` towards 0.
        warmup: steps over which the rate rises linearly.
        evaluate: gives a number to make small; asked in eval mode and without gradients, each `every`
            steps and at the last.
        every: steps between evaluations.
        patience: evaluations without a new lowest before the loop ends.
        precision: `bf16` runs the forward pass in bfloat16.
        state: of an earlier `Step.state()`; everything else as it was then.

    Raises:
        ValueError: an epoch without batches, or a state of another seed or module.
        FloatingPointError: the loss is not finite (looked at each step on CPU, at evaluations on GPU).
    """
    if min(steps, every) < 1 or warmup < 0:
        raise ValueError(f"steps and every are at least 1, warmup 0: got {steps}, {every}, {warmup}")
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),  # said aloud, or processes without a GPU train apart
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    objective = accelerator.prepare_model(_Objective(module, loss, precision, accelerator.device.type))
    parameters = [p for p in module.parameters() if p.requires_grad]
    if optimizer is None:
        optimizer = torch.optim.AdamW(
            parameters, lr=lr, weight_decay=weight_decay, fused=_fusable(parameters)
        )
    training = _Training(module, optimizer, seed=seed)
    if state is not None:
        training.load(state)
    plan = _Plan(steps, clip, schedule, warmup, evaluate, every, patience)
    return _steps(training, objective, accelerator, batches, parameters, plan)


@dataclass(frozen=True, slots=True)
class _Plan:
    steps: int
    clip: float | None
    schedule: Schedule
    warmup: int
    evaluate: Callable[[], float] | None
    every: int
    patience: int | None

    def factor(self, n: int) -> float:
        """Share of the peak rate in step n."""
        if n <= self.warmup:
            return n / self.warmup
        done = (n - 1 - self.warmup) / max(1, self.steps - self.warmup)
        return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[
            self.schedule
        ]

    def asks(self, n: int) -> bool:
        """Whether step n is followed by an evaluation."""
        return self.evaluate is not None and (n % self.every == 0 or n == self.steps)


class _Objective(nn.Module):
    """Module and loss as one forward pass, so that the loss sees the bare module under any wrapper."""

    def __init__(self, module: nn.Module, loss: Loss, precision: Precision, device: str) -> None:
        super().__init__()
        self.module = module
        self.loss = loss
        self.precision, self.device = precision, device

    def forward(self, batch: Any) -> Tensor:
        if self.precision == "no":
            return self.loss(self.module, batch)
        # Not accelerate's own setting: that one is fixed for the whole process by its first user.
        with torch.autocast(self.device, torch.bfloat16):
            return self.loss(self.module, batch).float()


class _Training:
    """What changes from step to step."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, *, seed: int) -> None:
        self.module = module
        self.optimizer = optimizer
        self.rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.seed = seed
        self.n = self.epoch = self.used = self.stale = 0  # used: batches of this epoch, over all processes
        self.best: dict[str, Tensor] = {}
        self.best_val = math.inf
        self.closed = False

    def rate(self, factor: float) -> float:
        """Set the rate of every group; returns the first."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        return self.rates[0] * factor

    def keep(self, val: float) -> bool:
        """Remember the weights if `val` is the lowest so far."""
        self.stale += 1
        if not val < self.best_val:
            return False
        self.best_val, self.stale = val, 0
        self.best = {name: x.detach().clone() for name, x in self.module.state_dict().items()}
        return True

    def close(self) -> None:
        """Put the best weights back."""
        if self.best:
            self.module.load_state_dict(self.best)
        self.module.eval()
        self.closed = True

    def state(self) -> dict[str, Tensor]:
        """Copies on the CPU, flat."""
        flat = {f"model.{name}": x for name, x in self.module.state_dict().items()}
        flat |= {f"best.{name}": x for name, x in self.best.items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            flat |= {f"optimizer.{i}.{name}": x for name, x in slots.items() if x is not None}
        if wrong := [name for name, x in flat.items() if not isinstance(x, Tensor)]:
            raise TypeError(f"this optimizer keeps more than tensors and cannot be resumed: {wrong[:3]}")
        flat["progress"] = torch.tensor([self.seed, self.n, self.epoch, self.used, self.stale])
        flat["best_val"] = torch.tensor(self.best_val, dtype=torch.float64)
        return {name: x.detach().cpu().clone().contiguous() for name, x in flat.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state`."""
        seed, self.n, self.epoch, self.used, self.stale = map(int, state["progress"].tolist())
        if seed != self.seed:
            raise ValueError(f"the state was made with seed {seed}, not {self.seed}")
        self.best_val = float(state["best_val"])
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
        for key, x in state.items():
            room, _, name = key.partition(".")
            if name:
                parts[room][name] = x.clone()
        try:
            self.module.load_state_dict(parts["model"])
        except RuntimeError as error:
            raise ValueError(f"the state is of another module: {error}") from error
        self.best = parts["best"]
        slots: dict[int, dict[str, Tensor]] = {}
        for key, x in parts["optimizer"].items():
            i, _, name = key.partition(".")
            slots.setdefault(int(i), {})[name] = x
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": slots})


def _steps(
    training: _Training,
    objective: nn.Module,
    accelerator: Accelerator,
    batches: Callable[[int], Iterable[Any]],
    parameters: list[nn.Parameter],
    plan: _Plan,
) -> Generator[Step, None, None]:
    began = time.perf_counter()
    rank, world, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    stream = _stream(batches, training.epoch, training.used, rank, world)
    try:
        while training.n < plan.steps and not (plan.patience and training.stale >= plan.patience):
            training.epoch, training.used, batch = next(stream)
            rate = training.rate(plan.factor(training.n + 1))
            if not training.module.training:
                training.module.train()
            with _noise(rank, training.n, device, seed=training.seed):
                value = objective(batch.to(device))
                training.optimizer.zero_grad(set_to_none=True)
                accelerator.backward(value)
                if plan.clip is not None:
                    nn.utils.clip_grad_norm_(parameters, plan.clip, foreach=True)
                training.optimizer.step()
            training.n += 1
            value = value.detach() if world == 1 else cast(Tensor, accelerator.reduce(value.detach(), "mean"))
            asks = plan.asks(training.n)
            if (asks or device.type == "cpu") and not math.isfinite(value):
                raise FloatingPointError(f"the loss is {float(value)} at step {training.n}")
            val = _asked(plan, training.module, accelerator) if asks else None
            best = val is not None and training.keep(val)
            seconds = time.perf_counter() - began
            yield Step(training.n, training.epoch, rate, val, best, seconds, value, training)
    finally:
        training.close()


def _asked(plan: _Plan, module: nn.Module, accelerator: Accelerator) -> float:
    """What `evaluate` says; under several processes what it says on the first."""
    assert plan.evaluate is not None
    module.eval()
    with torch.no_grad():
        val = float(plan.evaluate())
    if accelerator.num_processes == 1:
        return val
    return float(broadcast(torch.tensor(val, dtype=torch.float64, device=accelerator.device)))


def _stream(
    batches: Callable[[int], Iterable[Any]], epoch: int, used: int, rank: int, world: int
) -> Iterator[tuple[int, int, Any]]:
    """(epoch, batches used in it, batch) for this process, for ever.

    Processes share an epoch batch by batch; what does not go round is left out, and an epoch with fewer
    batches than processes is dealt again from its start.
    """
    while True:
        feed = iter(batches(epoch))
        first: list[Any] = []
        for _ in islice(feed, used):
            pass
        while group := list(islice(feed, world)):
            if len(group) < world:
                if used:
                    break
                group = [group[i % len(group)] for i in range(world)]
            first = group
            used += world
            yield epoch, used, group[rank]
        if not first and not used:
            raise ValueError(f"epoch {epoch} has no batches: no rows, or an iterator that was used up")
        epoch, used = epoch + 1, 0


@contextmanager
def _noise(rank: int, n: int, device: torch.device, *, seed: int) -> Iterator[None]:
    """Torch's generators seeded for one step, and put back as they were."""
    mixed = (seed * 0x9E3779B97F4A7C15 + n * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**64
    mixed = ((mixed ^ (mixed >> 31)) * 0x94D049BB133111EB) % 2**64
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(mixed ^ (mixed >> 29))
        yield
    finally:
        for generator, was in zip(generators, before, strict=True):
            generator.set_state(was)


def _fusable(parameters: Iterable[nn.Parameter]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
