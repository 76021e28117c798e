"""Lessons of a decoder: questions with answers as rows of tokens, like lengths together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, Int
from torch import Tensor

from polymodal.nn.decoder import Seeing, prompt, taught
from polymodal.training.loop import fit

if TYPE_CHECKING:
    from polymodal.nn.pocket import Tokens

PACKED = 250  # steps between the states that a killed run goes on from
POOL = 16  # batches whose rows are sorted by length together
TOWER = "vision_tower."


@dataclass(frozen=True, slots=True)
class Row:
    """Lessons one behind the other.

    Attributes:
        ids: `<start>`, slots of a picture, then questions and answers in turn.
        counted: which of them are of an answer.
        look: what the tower says of the picture.
    """

    ids: Int[np.ndarray, " t"]
    counted: Bool[np.ndarray, " t"]
    look: Float16[np.ndarray, "n d"] | None = None

    @classmethod
    def of(
        cls,
        words: Tokens,
        lessons: Iterable[tuple[str, str]],
        room: int,
        *,
        prefix: str = "",
        look: Any = None,
    ) -> Row:
        """As many questions and answers as have room, the prefix before the first."""
        ids: list[int] = []
        counted: list[bool] = []
        for asked, said in lessons:
            if ids:
                asks = words.ids(prompt.plain(asked) + prompt.BREAK)
            else:
                asks = prompt.question(words, f"{prefix} {asked}", 0 if look is None else len(look))
            says = prompt.answer(words, said)
            if len(ids) + len(asks) + len(says) > room:
                break
            ids += asks + says
            counted += [False] * len(asks) + [True] * len(says)
        return cls(np.array(ids, np.int16), np.array(counted, bool), look)


@dataclass(frozen=True, slots=True)
class Block:
    """A batch of rows, padded on the right.

    Attributes:
        ids: tokens.
        counted: which of them the loss counts.
        looks: what the tower said of the rows' pictures.
    """

    ids: Int[Tensor, "b t"]
    counted: Bool[Tensor, "b t"]
    looks: Float[Tensor, "b n d"] | None = None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Block:
        """Rows as one batch; what pads is never counted, and stands behind all that is."""
        length = max(len(row.ids) for row in rows)
        ids, counted = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), bool)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids)], counted[i, : len(row.ids)] = row.ids, row.counted
        looks = [torch.from_numpy(row.look) for row in rows if row.look is not None]
        return cls(
            torch.from_numpy(ids), torch.from_numpy(counted), torch.stack(looks).float() if looks else None
        )

    def to(self, device: torch.device | str) -> Block:
        """The same on a device."""
        looks = None if self.looks is None else self.looks.to(device)
        return Block(self.ids.to(device), self.counted.to(device), looks)


def order(n: int, size: int, epoch: int, *, seed: int) -> Iterator[list[int]]:
    """Which rows of n are drawn together, pool by pool of an epoch."""
    drawn = np.random.default_rng((seed, epoch)).permutation(n).tolist()
    for at in range(0, n - size + 1, size * POOL):
        yield drawn[at : at + size * POOL]


def blocks(
    rows: Mapping[int, Row] | Sequence[Row], n: int, size: int, *, seed: int
) -> Callable[[int], Iterator[Block]]:
    """Batches of an epoch: rows of like length together, batches in drawn order."""

    def epoch(number: int) -> Iterator[Block]:
        rng = np.random.default_rng((seed, number, 1))
        for drawn in order(n, size, number, seed=seed):
            pool = sorted((rows[i] for i in drawn), key=lambda row: len(row.ids))
            for start in rng.permutation(np.arange(0, len(pool) - size + 1, size)).tolist():
                yield Block.of(pool[start : start + size])

    return epoch


def lost(net: Any, given: Block) -> Tensor:
    """Cross-entropy of the answers' tokens, of a decoder or of one that sees."""
    scores = net(given.ids) if given.looks is None else net(given.looks, given.ids)
    return taught(scores, given.ids, given.counted)


class Record(Protocol):
    """What remembers: a run."""

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """Do it the first time, give its value back later."""

    def event(self, kind: str, **fields: Any) -> None:
        """Write down that something happened."""


@dataclass(frozen=True, slots=True)
class Course:
    """How a model is trained.

    Attributes:
        stage: the name of its lessons.
        steps: updates.
        batch: rows an update.
        lr: peak rate, after a warm-up of a tenth of the steps; half a cosine follows.
        rows: sequences that are drawn once.
    """

    stage: str
    steps: int
    batch: int
    lr: float
    rows: int


def steps(
    net: Any,
    feed: Callable[[int], Iterator[Any]],
    course: Course,
    state: Mapping[str, Tensor] | None = None,
    *,
    loss: Callable[[Any, Any], Tensor] = lost,
    seed: int,
) -> Any:
    """The training loop of a course; a vision tower that is not frozen learns at half the rate."""
    tower = [p for name, p in net.named_parameters() if name.startswith(TOWER) and p.requires_grad]
    rest = [p for name, p in net.named_parameters() if not name.startswith(TOWER) and p.requires_grad]
    groups = [{"params": part, "lr": lr} for part, lr in ((rest, course.lr), (tower, course.lr / 2)) if part]
    chosen = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    return fit(
        net, feed, loss, seed=seed, steps=course.steps, lr=course.lr, schedule="cosine",
        warmup=course.steps // 10, optimizer=chosen, state=state,
    )  # fmt: skip


def train(
    record: Record,
    name: str,
    net: Any,
    course: Course,
    feed: Callable[[int], Iterator[Any]],
    *,
    loss: Callable[[Any, Any], Tensor] = lost,
    seed: int,
) -> list[float]:
    """Trains in place, a remembered job each `PACKED` steps, so that a killed one goes on; all losses."""
    state: dict[str, Tensor] | None = None
    losses: list[float] = []

    def go() -> dict[str, Any]:
        told, end = [], min(len(losses) + PACKED, course.steps)
        for step in steps(net, feed, course, state, loss=loss, seed=seed):
            told.append(step.loss)
            if step.n == end:
                return {"losses": told, "state": {key: x.numpy() for key, x in step.state().items()}}
        raise AssertionError

    while len(losses) < course.steps:
        packed = record.once(f"{name}/{course.stage}/{len(losses)}", go)
        losses += packed["losses"]
        state = {key: torch.from_numpy(np.array(x)) for key, x in packed["state"].items()}
        done = f"{name}: {course.stage}, step {len(losses)} of {course.steps}"
        record.event("note", text=f"{done}, loss {np.mean(losses[-50:]):.3f}")
    assert state is not None
    net.load_state_dict(
        {key.removeprefix("model."): x for key, x in state.items() if key.startswith("model.")}
    )
    net.eval()
    return losses


def replies(
    net: Any, prompts: Sequence[str], looks: Float16[np.ndarray, "p n d"] | None = None, *, tokens: int = 24
) -> list[str]:
    """Greedy replies of a decoder, or of one that sees and what its tower said; a hundred at once.

    Args:
        net: with its `words`.
        prompts: questions.
        looks: states of the tower, or what else stands for them, a picture a prompt; None for text alone.
        tokens: of a reply, at most.
    """
    out: list[str] = []
    for at in range(0, len(prompts), 100):
        some = slice(at, at + 100)
        ids, mask = prompt.asked(net.words, prompts[some], 0 if looks is None else looks.shape[1])
        if isinstance(net, Seeing) or looks is not None:
            given = None if looks is None else torch.from_numpy(looks[some]).float()
            out += net.generate(given, ids, mask, tokens=tokens)
        else:
            out += net.generate(ids, mask, tokens=tokens)
    return out
