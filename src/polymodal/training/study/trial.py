"""One job of a study: train an arm on a split, and all that its model says of val and test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal.metrics.calibration import tempered
from polymodal.training.controls import Condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from polymodal.nn import Joined
    from polymodal.training import Ready, Split, Table
    from polymodal.training.study.reading import Ways

TUNED = 2e-5  # learning rate of a pretrained model's own weights


@dataclass(frozen=True, slots=True)
class Arm:
    """One model to train: a fusion under one condition of the control table.

    A `probed` arm is also asked what it says when parts are strangers' or noisy, and for every set of parts.
    """

    name: str
    fusion: str = "concat"
    condition: str = "full"
    dropout: float = 0.3
    absent: float = 0.0
    probed: bool = False


@dataclass(frozen=True, slots=True)
class Fitting:
    """How an arm is trained; `patience` counts evaluations on val, each 50 steps, without a new lowest."""

    dim: int = 32
    steps: int = 600
    batch: int = 64
    lr: float = 3e-3
    patience: int = 8


def prepared(table: Table, split: Split, ways: Ways) -> Ready:
    """The table with statistics of the split's train rows alone."""
    task: Any = "classes" if any(isinstance(target, str) for target in table.targets) else "scores"
    grids = [name for name, (_, how) in ways.items() if how == "patches" or how.startswith("tune:")]
    return table.ready(table.fit(split.train, task=task, whole=grids))


def lean(ready: Ready) -> Ready:
    """Without the parts that no sample has: a model need not carry what a condition took away."""
    some = np.any(ready.present, axis=0).tolist()
    columns = {name: column for here, (name, column) in zip(some, ready.columns.items(), strict=True) if here}
    return replace(ready, columns=columns, present=ready.present[:, some])


def train(
    model: Joined, ready: Ready, split: Split, fitting: Fitting, *, seed: int
) -> list[dict[str, float]]:
    """Fit on train, 60 epochs at most, and keep the weights that are best on val; steps with their losses."""
    import torch

    from polymodal.training.batches import batches, mean_loss
    from polymodal.training.loop import fit

    def loss(module: Any, batch: Any) -> Any:
        return module.head.loss(module(batch.inputs, batch.masks, batch.present), batch.target)

    rows, held = ready.labelled(split.train), ready.labelled(split.val)
    plain = batches(ready, split.train, size=256, seed=0, shuffle=False)
    model.fit_scalers(plain, digest=ready.statistics.seen)
    tuned = [p for name, p in model.named_parameters() if p.requires_grad and ".model." in name]
    others = [p for name, p in model.named_parameters() if p.requires_grad and ".model." not in name]
    rates = [{"params": others, "lr": fitting.lr}, {"params": tuned, "lr": TUNED}]
    curve = []
    for step in fit(
        model,
        lambda epoch: batches(ready, rows, size=fitting.batch, seed=seed, epoch=epoch),
        loss,
        seed=seed,
        steps=min(fitting.steps, 60 * -(-len(rows) // fitting.batch)),
        lr=fitting.lr,
        optimizer=torch.optim.AdamW(rates, weight_decay=1e-4) if tuned else None,
        evaluate=lambda: mean_loss(model, ready, held, loss),
        patience=fitting.patience,
    ):
        if step.val is not None:
            curve.append({"step": step.n, "loss": step.loss, "val": step.val})
    return curve


def judged(
    network: Callable[..., Joined],
    table: Table,
    ways: Ways,
    split: Split,
    arm: Arm,
    fitting: Fitting,
    *,
    seed: int,
) -> dict[str, Any]:
    """One job: train one arm on one split with one seed, and everything that its model says of val and test.

    Args:
        network: of (ready, ways, arm, fitting, seed=), at the top of a module.
        table: all samples.
        ways: how its parts were read.
        split: train to fit on, val to choose by, test to judge.
        arm: what to train.
        fitting: how.
        seed: of weights, batches and controls.

    Returns:
        `rows` of test with a target (id, group, target, present); `outputs` for them (logits "n k" or scores
        " n") by name: `full`, for a probed arm also `shuffle:PART` and `noise:PART:1` at test and
        `keep:PARTS` for the sets of `presences`; `val` and its targets; the training curve, what was dropped
        and excluded, parameters, multiply-adds.
    """
    import torch

    from polymodal.training.batches import predict

    torch.set_num_threads(1)
    ready = prepared(table, split, ways)
    ready = changed = lean(under(arm.condition, ready, split, seed=seed))
    model = network(ready, ways, arm, fitting, seed=seed)
    curve = train(model, changed, split, fitting, seed=seed)
    test, val = ready.labelled(split.test), ready.labelled(split.val)
    outputs = {"full": predict(model, changed, test)}
    if arm.probed:
        names = [f"shuffle:{part}" for part in ready.names]
        names += [f"noise:{part}:1" for part in ready.names if ready.width(part)]  # ids take no noise
        for name in names:
            outputs[name] = predict(model, under(name, ready, split, seed=seed), test)
        for kept in presences(ready.names):
            here = ready.present & np.array([name in kept for name in ready.names])
            outputs["keep:" + "+".join(kept)] = predict(model, replace(ready, present=here), test)
    classes = ready.statistics.classes
    return {
        "rows": [
            {
                "id": table.ids[i],
                "group": table.groups[i],
                "target": table.targets[i],
                "present": parts(table, i),
            }
            for i in test.tolist()
        ],
        "outputs": outputs,
        "classes": None if classes is None else list(classes),
        "val": predict(model, changed, val),
        "val_target": changed.target[val],
        "curve": curve,
        "dropped": ready.statistics.dropped,
        "excluded": ready.excluded,
        "stamp": list(changed.stamp),
        **cost(model, ready),
    }


def under(name: str, ready: Ready, split: Split, *, seed: int) -> Ready:
    """The table under a condition; a shuffle that finds one row on a side leaves all as it is and says so."""
    condition = Condition.parse(name)
    if condition.kind == "shuffle" and 1 in (len(split.train), len(split.val), len(split.test)):
        return replace(ready, stamp=(*ready.stamp, f"{name} left out: a fold has a side of one row"))
    return condition.over(ready, split, seed=seed)


def parts(table: Table, row: int) -> list[str]:
    """Names of the parts that a sample has."""
    return [name for name, here in zip(table.columns, table.present[row].tolist(), strict=True) if here]


def presences(names: Sequence[str], most: int = 4) -> list[tuple[str, ...]]:
    """Every set of parts that may be left, all of them first; none where there are more than `most` parts."""
    if len(names) > most:
        return []
    choices = product((True, False), repeat=len(names))
    return [tuple(n for n, here in zip(names, kept, strict=True) if here) for kept in choices]


def survival(
    values: Mapping[str, NDArray[Any]], names: Sequence[str], p: float, part: str = ""
) -> NDArray[Any]:
    """Each sample's expected score when every part (or only `part`) is missing with probability `p`.

    Exact, over all sets of parts that may be left: no draw of who is missing adds noise to the curve.

    Args:
        values: per-sample scores by set of parts, `keep:A+B` as `judged` names them.
        names: all parts.
        p: probability.
        part: the only one that goes missing; "" for all.
    """
    total: Any = 0.0
    for kept in presences(names):
        chances = [(p if name in ("", part) or not part else 0.0) for name in names]
        weight = np.prod([1 - q if name in kept else q for name, q in zip(names, chances, strict=True)])
        total = total + weight * values["keep:" + "+".join(kept)]
    return np.asarray(total)


def cost(model: Joined, ready: Ready) -> dict[str, int]:
    """Parameters, and multiply-adds of one sample."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from polymodal.training.batches import batches

    one = next(batches(ready, [0], size=1, seed=0, shuffle=False))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(one.inputs, one.masks, one.present)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "macs": counter.get_total_flops() // 2,
    }


def latency(models: Mapping[str, Joined], ready: Ready, rounds: int = 20) -> dict[str, list[float]]:
    """Seconds that a whole model takes for one sample on this machine: the median of each round of ten.

    The models take turns, so that what slows one round slows all of them: compare them round by round.
    """
    import time

    import torch

    from polymodal.training.batches import batches

    one = next(batches(ready, [0], size=1, seed=0, shuffle=False))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.no_grad():
        for _ in range(10 * rounds + 10):
            for name, model in models.items():
                model.eval()
                began = time.perf_counter()
                model(one.inputs, one.masks, one.present)
                seconds[name].append(time.perf_counter() - began)
    return {  # the first ten only warm up
        name: np.median(np.reshape(found[10:], (rounds, 10)), axis=1).tolist()
        for name, found in seconds.items()
    }


def baselines(
    table: Table, ways: Ways, split: Split, *, seed: int, texts: Sequence[str] = ()
) -> dict[str, Any]:
    """Predictions of the baselines for the rows that `judged` tells of; over all parts' mean tokens.

    Args:
        table: all samples.
        ways: how its parts were read.
        split: as in `judged`.
        seed: of the forest and the prior.
        texts: of all samples, where there are any: adds character n-grams.
    """
    from polymodal.training import baselines as known

    ready = prepared(table, split, ways)
    train, val, test = (tuple(ready.labelled(x).tolist()) for x in (split.train, split.val, split.test))
    split = replace(split, train=train, val=val, test=test)
    blank: Any = "" if ready.statistics.classes is not None else 0.0
    y = np.asarray([blank if target is None else target for target in table.targets])
    vectors = [ready.vectors(name) for name in ready.names if ready.width(name)]
    x = np.hstack(vectors) if vectors else np.zeros((len(y), 0))
    found = [known.majority(y, split), known.prior(y, split, seed=seed)]
    found += [make(x, y, split, seed=seed) for make in (known.logistic, known.forest) if vectors]
    said = {one.name: one.predict(x[list(split.test)]) for one in found}
    if texts:
        grams = known.ngram(texts, y, split, seed=seed)
        said[grams.name] = grams.predict(np.asarray(texts, dtype=object)[list(split.test)])
    return said


def final(
    network: Callable[..., Joined],
    table: Table,
    ways: Ways,
    split: Split,
    arm: Arm,
    fitting: Fitting,
    *,
    seed: int,
    coverage: float = 0.8,
) -> Joined:
    """The model to keep: trained once more, its `meta` with the temperature and the threshold from val.

    Args:
        network: as in `judged`, as are the others.
        table: all samples.
        ways: how its parts were read.
        split: train and val.
        arm: what to train.
        fitting: how.
        seed: of weights and batches.
        coverage: share of val that the threshold answers.
    """
    from polymodal.metrics.calibration import coverage_threshold, fit_temperature
    from polymodal.training.batches import predict

    ready = prepared(table, split, ways)
    model = network(ready, ways, arm, fitting, seed=seed)
    train(model, ready, split, fitting, seed=seed)
    if ready.statistics.classes is not None:
        val = ready.labelled(split.val)
        logits = predict(model, ready, val)
        warmth = fit_temperature(logits, ready.target[val])
        sure = coverage_threshold(tempered(logits, warmth).max(1), coverage)
        model.meta |= {"temperature": warmth, "threshold": sure}
    return model
