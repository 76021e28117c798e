"""A network from columns: an encoder a part, a fusion by name, a head for the targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from polymodal.training.study.book import Book
from polymodal.training.study.cohort import Record, gathered, plan, study, usable, ways_of
from polymodal.training.study.reading import encoder
from polymodal.training.study.trial import Arm, Fitting, final

if TYPE_CHECKING:
    from polymodal.media import Sample
    from polymodal.nn import Fusion, Joined
    from polymodal.training import Ready
    from polymodal.training.study.reading import Ways


def network(ready: Ready, ways: Ways, arm: Arm, fitting: Fitting, *, seed: int) -> Joined:
    """Parts encoded apart and joined as the arm says, `fitting.dim` wide; a vector enters as it is.

    Fusions are `concat`, `additive` (a concatenation without its dense layer: a sum of one function a part),
    `lowrank` and `crossattention`, where the first part asks.

    Raises:
        ValueError: an unknown fusion.
    """
    import torch

    from polymodal import nn

    classes = ready.statistics.classes
    dim, drop, absent = fitting.dim, arm.dropout, arm.absent
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {}
        for name, column in ready.columns.items():
            tokens, width = column.offsets is not None or column.values.shape[1] > 1, ready.width(name)
            plain = ways[name] == ("series", "series") and not tokens
            encoders[name] = (
                nn.Chain(nn.Scaler(width))
                if plain
                else encoder(*ways[name], width, tokens=tokens, dim=dim, dropout=drop)
            )
        dims = {name: one.dim for name, one in encoders.items()}
        anchor = next(iter(dims))
        known: dict[str, Callable[[], Fusion]] = {
            "concat": lambda: nn.Concat(dims, dim, dropout=drop, absent=absent),
            "additive": lambda: nn.Concat(dims, dense=False, absent=absent),
            "lowrank": lambda: nn.LowRank(dims, dim, rank=16, absent=absent),
            "crossattention": lambda: nn.CrossAttention(dims, anchor, dim, dropout=drop, absent=absent),
        }
        if arm.fusion not in known:
            raise ValueError(f"unknown fusion {arm.fusion!r}; known: {', '.join(known)}")
        joint = known[arm.fusion]()
        head = nn.Regress(joint.dim) if classes is None else nn.Softmax(joint.dim, len(classes))
        meta = {"ways": {name: list(ways[name]) for name in dims}, "statistics": ready.statistics.to_json()}
        return nn.Joined(encoders, joint, head, meta)


def learnt(
    run: Record,
    book: Book,
    samples: Sequence[Sample],
    fusions: Sequence[str],
    fitting: Fitting,
    *,
    seeds: int,
) -> Joined:
    """A person's samples in grouped folds: fusions, single parts, controls and baselines, as `trained/NAME`.

    Args:
        run: does the jobs.
        book: takes the results; those of other arms in it stay.
        samples: with targets; one without a group is its own.
        fusions: the model's first.
        fitting: how to train.
        seeds: trainings of each fusion.

    Raises:
        ValueError: no usable sample, or an audit error that was not accepted.
    """
    own = [replace(one, group=one.group or one.id, target=str(one.target)) for one in samples]
    kept, _ = usable(own)
    ways = ways_of(kept, {})
    arms = plan(list(ways), fusions, dropout=0.3, absent=0.0)
    cohort = gathered(run, kept, ways, protocol="group", seed=book.seed)
    account = Book(seed=book.seed)
    study(run, account, network, cohort, arms, fitting, seeds=seeds)
    for name, found in account.estimates.items():
        book.add(f"trained/{name}", found, **account.legend[name])
    for name in ("findings", "controls", "learning", "confusion", "calibration", "examples"):
        book.sections[name] = account.sections.get(name, [])
    return final(network, cohort.table, ways, cohort.last(), arms[0], fitting, seed=book.seed)
