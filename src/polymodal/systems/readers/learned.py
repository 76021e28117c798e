"""Readers of a person's own pictures, trained on what is labelled."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal import metrics as m
from polymodal.envs.artefacts.worn import worn
from polymodal.envs.cases import labelled, perception
from polymodal.systems.consulting import figures, pictured
from polymodal.systems.readers.pictures import PictureReader, Pictures, learn
from polymodal.training.study import Book

if TYPE_CHECKING:
    from polymodal.envs.cases.labelled import Labelled
    from polymodal.runs import Run

SEEN = 2_000  # pictures that an epoch shows, as of the drawn ones: few pictures are shown again and again
BATCH = 64


def lesson(
    path: str | None, kind: str, classes: Sequence[str], folder: str, *, epochs: int, seed: int
) -> dict[str, Any]:
    """A run's job: a reader of one kind, kept in the run's folder, and what it said of held-out pictures.

    Args:
        path: of the cases, or of a perception set, which tells kind and classes itself.
        kind: of artefact.
        classes: of the kind; none trains on drawn pictures, as `pictured.taught`.
        folder: of the run.
        epochs: of so many pictures as are drawn for a reader, however few there are.
        seed: of sides, weights and order.

    Raises:
        ValueError: a perception set with too few pictures of a class.
    """
    if path is not None and perception(Path(path)):
        return _of_set(path, folder, epochs, seed=seed)
    if not classes or path is None:
        return pictured.taught(kind, folder, epochs, seed=seed)
    some = [one for one in labelled.of_cases(Path(path)) if one.kind == kind]
    return taught(kind, classes, some, folder, epochs, seed=seed)


def _of_set(path: str, folder: str, epochs: int, *, seed: int) -> dict[str, Any]:
    some, lost, out = labelled.of_set(Path(path))
    classes = sorted({one.truth for one in some})
    found: dict[str, Any] = {"few": True, "n": {}}
    if some:
        found = taught(some[0].kind, classes, some, folder, epochs, seed=seed)
    if found.get("few"):
        n = found["n"].get("train", 0)
        wanted = f"{labelled.LEAST} of {labelled.KINDS} classes are wanted, {labelled.RARE} of each"
        raise ValueError(
            f"{path}: {n} labelled pictures to train on; {wanted}: `polymodal data check {path}`"
        )
    ids = "".join(one.group + one.truth for one in some).encode()
    about = {"rows": [[one.reason, one.where] for one in lost], "out": dict(out)}
    return found | about | {"print": hashlib.sha256(ids).hexdigest()[:32]}


def looked(config: Any, run: Run, work: Any, label: str, claims: Sequence[m.Claim]) -> dict[str, m.Estimate]:
    """The whole run on a perception set: its reader, trained and tested; there is nobody to consult.

    Args:
        config: the run's, with the set as `data`.
        run: where it is recorded.
        work: the run's job, which hands `("reader", config, kind, classes, folder)` to `lesson`.
        label: what every report says.
        claims: of the system, none of which can be judged here.

    Raises:
        JobError: too few pictures of a class; its message says what is wanted.
    """
    book = Book(seed=config.seed)
    book.sections["notes"] = []
    jobs = {"reader/set": ("reader", config, "", (), str(run.folder))}
    one = run.map(work, jobs, name="reader")["reader/set"]
    told(book, {"reader/set": one})
    n = sum(one["n"].values())
    text = (
        f"{config.data}: {n} pictures of {len(one['classes'])} classes ({', '.join(one['classes'][:12])}). "
    )
    text += f"A reader of {one['kind']}s is trained and tested; a set of pictures has no tables and no "
    book.sections["about"] = {"text": f"{text}patients, so no consultation is held.", "warning": label}
    left = [f"{times} pictures {why}" for why, times in one["out"].items() if times]
    book.sections["notes"] += [f"Left out: {', '.join(left)}."] if left else []
    why = Counter(reason for reason, _ in one["rows"])
    first = dict(reversed(one["rows"]))
    book.sections["invalid"] = [{"reason": f"row: {x}", "n": n, "first": first[x]} for x, n in why.items()]
    for about in list(book.legend.values())[:1]:
        about["headline"] = True
    for name, section in (book.sections | {"legend": book.legend}).items():
        run.section(name, section)
    judged = [(claim, *claim.judge(book.estimates)) for claim in claims]
    run.finish(book.estimates, judged, {"pictures": one["print"]})
    return book.estimates


def taught(
    kind: str, classes: Sequence[str], some: Sequence[Labelled], folder: str, epochs: int, *, seed: int
) -> dict[str, Any]:
    """Train a reader on labelled pictures, keep it, test it, and train its control on shuffled classes.

    Where no picture of train says how good it is, copies that are worn here stand for poor takes on all
    sides, and what is as it came counts as good.

    Returns:
        Of the test side: truth and q by class, poor (1, 0, -1 not known), seen poor, group, tag, what the
        control said; n a side, the most frequent class of train, what could not be read, whether copies were
        worn. Without a reader (`few`), where too little could be read: counts alone.
    """
    sides = labelled.dealt(some, seed=seed)
    size = labelled.size_of(sides["train"] or some)
    made, lost, counts = dict[str, Pictures](), list[list[str]](), dict[str, int]()
    told = any(one.poor is not None for one in sides["train"])
    groups: list[str] = []
    for n, (side, these) in enumerate(sides.items()):
        pixels, kept, gone = labelled.decoded(these, size)
        made[side], counts[side] = _pictures(pixels, kept, classes), len(kept)
        lost += [[side, one.reason, one.where] for one in gone]
        groups = [one.group for one in kept]  # of test, which comes last
        if not told:
            made[side] = _with_worn(made[side], np.random.default_rng([seed, n]))
            groups *= 2
    out: dict[str, Any] = {
        "kind": kind,
        "classes": list(classes),
        "n": counts,
        "lost": lost,
        "worn": not told,
    }
    many = np.bincount(made["train"].target, minlength=len(classes))
    if not labelled.enough(dict(enumerate((many // (1 if told else 2)).tolist()))):
        return out | {"few": True}
    reader, control = (_trained(kind, classes, made, epochs, seed=seed, shuffled=x) for x in (False, True))
    _keep(reader, folder, kind)
    test = made["test"]
    if not len(test.target):
        return out
    q, poor = reader.probabilities(test.pixels)
    return out | {
        "truth": test.target,
        "q": q,
        "poor": test.poor,
        "seen": (poor > 0.5).astype(int),
        "control": control.probabilities(test.pixels)[0].argmax(1),
        "majority": int(many.argmax()),
        "group": groups,
        "tag": list(test.tags),
    }


def _pictures(pixels: Any, kept: Sequence[Labelled], classes: Sequence[str]) -> Pictures:
    poor = np.array([-1 if one.poor is None else int(one.poor) for one in kept], int)
    target = np.array([list(classes).index(one.truth) for one in kept], int)
    return Pictures(pixels, target, poor, tuple(one.tag for one in kept))


def _with_worn(some: Pictures, rng: np.random.Generator) -> Pictures:
    """The pictures as good takes, and a worn copy of each behind them."""
    if not len(some.target):
        return some
    scale = min(some.pixels.shape[1:3]) / labelled.SHORT
    copies = np.stack([worn(one, {}, rng, scale=scale)[0] for one in some.pixels])
    poor = np.repeat([0, 1], len(some.target))
    return Pictures(
        np.concatenate([some.pixels, copies]), np.tile(some.target, 2), poor, some.tags + some.tags
    )


def _trained(
    kind: str,
    classes: Sequence[str],
    made: Mapping[str, Pictures],
    epochs: int,
    *,
    seed: int,
    shuffled: bool,
) -> PictureReader:
    train, val = made["train"], made["val"]
    if shuffled:
        train = replace(train, target=_shuffled(train.target, np.random.default_rng([seed, 99])))
    n = len(train.target)
    times = epochs * max(1, SEEN // n)
    batch = min(BATCH, max(8, n // 8))
    held = val if len(val.target) else train  # of one patient alone there is nothing to set aside
    reader = learn(kind, classes, train, held, seed=seed, epochs=times, batch=batch)
    reader.net.meta["own"] = True
    return reader


def _shuffled(target: Any, rng: np.random.Generator) -> Any:
    """Classes dealt anew, to each class's pictures as all have them: chance may leave few half in order."""
    ends = np.cumsum(np.bincount(target)) / len(target)
    new = target.copy()
    for c in np.unique(target):
        rows = np.flatnonzero(target == c)
        many = np.diff(np.round(ends * len(rows)).astype(int), prepend=0)
        new[rows] = rng.permutation(np.repeat(np.arange(len(many)), many))
    return new


def _keep(reader: PictureReader, folder: str, kind: str) -> None:
    from polymodal.runs.atomic import write_folder

    write_folder(pictured.kept_at(folder, kind), reader.save_pretrained)


def told(book: Book, made: Mapping[str, Any]) -> None:
    """How well readers read held-out pictures: those of drawn pictures, and those of a person's own."""
    figures.read(book, {key: one for key, one in made.items() if "classes" not in one})
    for one in made.values():
        if "classes" in one:
            noted(book, one)
            if "truth" in one:
                scored(book, one)


def noted(book: Book, one: Mapping[str, Any]) -> None:
    """What a reader was trained on, and what it could not be."""
    name, n = f"reader of {one['kind']}s", one["n"]
    if one.get("few"):
        text = f"{n['train']} pictures could be read, too few to train on: the exact doctor asks in words"
    else:
        text = f"trained on {n['train']} pictures of {len(one['classes'])} classes, {n['val']} for validation"
        text += f", {n['test']} for the test" if n["test"] else "; no labelled picture to test it on"
        text += "; nobody said which are poor, so copies worn here are" if one["worn"] else ""
    book.sections["notes"].append(f"{name}: {text}.")
    for reason, times in Counter(reason for _, reason, _ in one["lost"]).items():
        first = next(where for _, why, where in one["lost"] if why == reason)
        book.sections["notes"].append(
            f"{name}: pictures that cannot be read, {reason}: {times}, first {first}."
        )


def scored(book: Book, one: Mapping[str, Any]) -> None:
    """Accuracy on good and poor takes with intervals by group, beside the majority and shuffled classes."""
    name, lost = f"reader of {one['kind']}s", sum(side == "test" for side, _, _ in one["lost"])
    truth, q, poor = (np.asarray(one[key]) for key in ("truth", "q", "poor"))
    group, tag = np.array(one["group"], object), np.array(one["tag"], object)
    said, bad = q.argmax(1), poor == 1
    right = (said == truth).astype(float)
    good = ~bad

    def mean(values: Any, rows: Any, gone: int = 0) -> m.Estimate:
        some, names = values[rows], [*group[rows]]
        n = len(set(names))
        if n == len(names) or len(set(some)) < 2:  # a bootstrap of equal values has no width
            told = m.proportion(round(n * some.mean()), n, invalid=gone, better="higher")
            return replace(told, n_groups=n)
        found = np.concatenate([some, np.full(gone, np.nan)])  # what cannot be read is invalid
        names += [None] * gone
        return m.mean(found, group=names, seed=book.seed, better="higher")

    if good.any():
        book.add(f"{name}: good", mean(right, good, lost), page=True)
        ways: dict[str, Any] = {"group": list(group[good]), "seed": book.seed}
        balanced = m.estimate(m.BALANCED_ACCURACY, truth[good], said[good], **ways)
        book.add(f"{name}: balanced accuracy", balanced, page=True)
        book.add(f"{name}: ECE", m.estimate(m.ECE, truth[good], q[good], **(ways | {"draws": 500})))
        most, control = (truth == one["majority"]).astype(float), np.asarray(one["control"]) == truth
        book.add(f"{name}: the most frequent class", mean(most, good), role="baseline", page=True)
        gap = m.difference(None, right[good], most[good], **ways)
        book.add(f"{name}: good - the most frequent class", gap)
        about: dict[str, Any] = {"role": "control", "page": True}
        book.add(f"{name}: trained on shuffled classes", mean(control.astype(float), good), **about)
        gap = m.difference(None, right[good], control[good].astype(float), **ways)
        book.add(f"{name}: good - shuffled classes", gap)
    if bad.any():
        book.add(f"{name}: poor", mean(right, bad), page=True)
    if (poor >= 0).any():
        seen = (np.asarray(one["seen"]) == poor).astype(float)
        book.add(f"{name}: quality seen", mean(seen, poor >= 0))
    for label in sorted(set(tag) - {""}):
        where = label if str(label).startswith("fold") else f"skin {label}"
        if (rows := good & (tag == label)).any():
            book.add(f"{name}: {where}, good", mean(right, rows), role="control")
