"""A person's data as a study: read in parallel, audited, split by group, trained, shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from polymodal.media import Invalid, MediaError, Sample, Text
from polymodal.metrics import difference, mean
from polymodal.training.leaks import audit
from polymodal.training.splits import (
    Split,
    fingerprint,
    folds,
    grouped,
    leave_one_group_out,
    official,
    random_folds,
)
from polymodal.training.study.book import Book
from polymodal.training.study.reading import Ways, choose, reader
from polymodal.training.study.said import Said, said
from polymodal.training.study.trial import Arm, Fitting, baselines, judged, prepared
from polymodal.training.table import Table

CHUNK = 250  # parts one job reads
SHOWN = 12  # samples shown in the report
MANY = 12  # groups above which they are dealt to five folds

Network = Callable[..., Any]
Cells = dict[str, list[list[dict[str, Any]]]]  # values by arm, seed and fold


class Record(Protocol):
    """What a study asks of a run: do jobs once, keep media."""

    accept: tuple[str, ...]

    def map(self, work: Callable[..., Any], jobs: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        """Values of independent jobs, each done once."""

    def media(self, part: Any) -> str:
        """Keep a part for the report; its relative path."""

    def section(self, name: str, data: object) -> None:
        """Keep a section of the report."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Samples, their parts as numbers, and the folds."""

    samples: list[Sample]
    ways: Ways
    table: Table
    splits: list[Split]
    seed: int

    def fingerprint(self) -> str:
        """Of the samples' ids, targets and content."""
        return fingerprint(_digest(sample) for sample in self.samples)

    def last(self) -> Split:
        """For the model that is kept: all samples but a val side of whole groups, test empty."""
        try:
            return grouped(self.samples, (85, 15, 0), seed=self.seed)
        except ValueError:  # too few groups
            return self.splits[0]


def usable(
    rows: Iterable[Sample | Invalid], parts: Sequence[str] = ()
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Samples with a target and the wanted parts; what was left out, counted by reason for the report.

    Raises:
        ValueError: nothing usable, or a wanted part that no sample has.
    """
    samples: list[Sample] = []
    lost: dict[str, dict[str, Any]] = {}
    for row in rows:
        if isinstance(row, Sample) and row.target is not None:
            samples.append(row)
            continue
        reason = "no target" if isinstance(row, Sample) else row.reason
        reason = row.detail if isinstance(row, Invalid) and reason == "excluded" else reason
        entry = lost.setdefault(reason, {"reason": reason, "n": 0, "first": row.id})
        entry["n"] += 1
    names = sorted({name for sample in samples for name in sample.parts})
    if not names:
        raise ValueError(f"no sample with a target and a part; left out: {list(lost.values())}")
    if unknown := [name for name in parts if name not in names]:
        raise ValueError(f"part {unknown[0]!r} is in no sample; the data has {', '.join(names)}")
    kept = [replace(s, parts={n: s.parts[n] for n in parts or names if n in s.parts}) for s in samples]
    return kept, list(lost.values())


def plan(parts: Sequence[str], fusions: Sequence[str], *, dropout: float, absent: float) -> list[Arm]:
    """The model first, other fusions, each part alone, left out or shuffled throughout, targets shuffled.

    Args:
        parts: names.
        fusions: the model's, then those it is compared with.
        dropout: of all arms.
        absent: chance that training drops a part; the arm `plain` is the model without it.
    """
    model, *others = fusions
    if len(parts) < 2:
        named = [Arm(model, model, dropout=dropout, probed=True)]
        return [*named, Arm("shuffled targets", model, "shuffled targets", dropout)]
    arms = [Arm(model, model, dropout=dropout, absent=absent, probed=True)]
    arms += [Arm(name, name, dropout=dropout, absent=absent, probed=name == "late") for name in others]
    arms += [Arm("plain", model, dropout=dropout, probed=True)] if absent else []
    names = [*(f"only:{x}" for x in parts), *(f"shuffle:{x}:both" for x in parts)]
    names += [f"drop:{x}" for x in parts if len(parts) > 2]
    return [*arms, *(Arm(name, model, name, dropout, absent) for name in (*names, "shuffled targets"))]


def ways_of(samples: Sequence[Sample], asked: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """How each part is read: (kind, way), by its kind and what is `asked` of that kind, else `auto`."""
    kinds: dict[str, str] = {}
    for sample in samples:
        for name, part in sample.parts.items():
            kinds.setdefault(name, part.kind)
    return {
        name: (kinds[name], choose(kinds[name], asked.get(kinds[name], "auto"))) for name in sorted(kinds)
    }


def gathered(run: Record, samples: list[Sample], ways: Ways, *, protocol: str, seed: int) -> Cohort:
    """Read all parts, a few hundred a job and each once, and split by the protocol.

    Raises:
        ValueError: too few groups, a tag that samples lack, or a class missing from train.
    """
    splits = splits_of(samples, protocol, seed=seed)
    cache: dict[str, Any] = {}
    for name, (kind, how) in ways.items():
        parts = [s.parts[name] for s in samples if name in s.parts and kind != "series"]
        chunks = [parts[i : i + CHUNK] for i in range(0, len(parts), CHUNK)]
        jobs = {f"features/{name}/{i}": (kind, how, chunk) for i, chunk in enumerate(chunks)}
        for value in run.map(feature_job, jobs).values():
            cache |= {f"{name}-{digest}": array for digest, array in value.items()}
    table = Table.read(samples, {name: reader(*way) for name, way in ways.items()}, cache=cache)
    return Cohort(samples, ways, table, splits, seed)


def feature_job(kind: str, how: str, parts: Sequence[Any]) -> dict[str, Any]:
    """Arrays by digest; what cannot be read is left for the table to count."""
    import torch

    torch.set_num_threads(1)
    read, found = reader(kind, how), {}
    for part in parts:
        try:
            found[part.digest()] = read(part)
        except MediaError:
            continue
    return found


def splits_of(samples: Sequence[Sample], protocol: str, *, seed: int) -> list[Split]:
    """Folds by what is kept out of train.

    Args:
        samples: of all folds.
        protocol: `auto` (the official split if there is one, else groups), `group`, `official`, `random`, or
            the name of a tag; `speaker` is the group where no tag has that name. Up to twelve groups are left
            out one by one, more are dealt to five folds.
        seed: of the folds.

    Raises:
        ValueError: too few groups, a tag that samples lack, or a class missing from train.
    """
    tagged = all(protocol in sample.tags for sample in samples)
    if protocol == "official" or (protocol == "auto" and all("split" in s.tags for s in samples)):
        return [official(samples, seed=seed)]
    if protocol == "random":
        return random_folds(samples, 5, seed=seed)
    by = "group" if protocol in ("auto", "group") or (protocol == "speaker" and not tagged) else protocol
    groups = {sample.group if by == "group" else sample.tags.get(by) for sample in samples}
    if None not in groups and len(groups) <= MANY:
        return leave_one_group_out(samples, seed=seed, by=by)
    return folds(samples, 5, seed=seed, by=by)


def audit_job(cohort: Cohort, fold: int, costly: bool) -> list[dict[str, Any]]:
    """What the audit finds in one fold."""
    split = cohort.splits[fold]
    ready = prepared(cohort.table, split, cohort.ways)
    vectors = {}
    for i, name in enumerate(ready.names):
        if ready.width(name):
            vectors[name] = np.where(ready.present[:, i, None], ready.vectors(name), np.nan)
    saw = {"statistics": ready.statistics.seen}
    found = audit(cohort.samples, split, vectors, seed=cohort.seed, fitted=saw, costly=costly)
    return [asdict(one) for one in found]


def audited(run: Record, cohort: Cohort) -> list[dict[str, Any]]:
    """Findings over all folds, each kind and place once.

    Raises:
        ValueError: an error that the person did not accept.
    """
    jobs = {f"audit/{i}": (cohort, i, i == 0) for i in range(len(cohort.splits))}
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for value in run.map(audit_job, jobs).values():
        for found in value:
            known = merged.setdefault((found["kind"], found["where"]), found)
            known["n"] = max(known["n"], found["n"])
    findings = list(merged.values())
    run.section("findings", findings)
    errors = [f for f in findings if f["severity"] == "error" and f["kind"] not in run.accept]
    if errors:
        lines = [f"  {f['kind']} in {f['where']} ({f['n']}): {'; '.join(f['evidence'][:2])}" for f in errors]
        hint = " ".join(f'--accept "{kind}"' for kind in sorted({f["kind"] for f in errors}))
        raise ValueError(
            "\n".join(["the audit found what makes scores worthless:", *lines, f"to go on: {hint}"])
        )
    return findings


def judged_job(
    network: Network, cohort: Cohort, split: Split, arm: Arm, fitting: Fitting, number: int
) -> dict[str, Any]:
    """One arm, one fold, one seed (`number`)."""
    return judged(network, cohort.table, cohort.ways, split, arm, fitting, seed=number)


def baseline_job(cohort: Cohort, fold: int, texts: Sequence[str]) -> dict[str, Any]:
    """The baselines in one fold."""
    return baselines(cohort.table, cohort.ways, cohort.splits[fold], seed=cohort.seed, texts=texts)


def trained(
    run: Record,
    network: Network,
    cohort: Cohort,
    plan: Sequence[Arm],
    fitting: Fitting,
    *,
    seeds: int,
    title: str = "",
) -> Cells:
    """Values by arm, seed and fold; controls that need a training of their own take one seed."""
    every = range(cohort.seed, cohort.seed + seeds)
    few = {arm.name: every if arm.condition.startswith(("full", "only")) else every[:1] for arm in plan}
    jobs = {
        f"{title}{arm.name}/{s}/{i}": (network, cohort, split, arm, fitting, s)
        for arm in plan
        for s in few[arm.name]
        for i, split in enumerate(cohort.splits)
    }
    values = run.map(judged_job, jobs)
    folded = range(len(cohort.splits))
    return {a.name: [[values[f"{title}{a.name}/{s}/{i}"] for i in folded] for s in few[a.name]] for a in plan}


def study(
    run: Record,
    book: Book,
    network: Network,
    cohort: Cohort,
    plan: Sequence[Arm],
    fitting: Fitting,
    *,
    seeds: int,
) -> Said:
    """Audit, train every arm in every fold, hold it against baselines and random folds, fill the book.

    Args:
        run: does the jobs.
        book: takes the results.
        network: of (ready, ways, arm, fitting, seed=), at the top of a module.
        cohort: samples, table and folds.
        plan: the model first.
        fitting: how arms are trained.
        seeds: trainings of the model and of each single part.

    Raises:
        ValueError: an audit error that was not accepted.
    """
    book.sections["findings"] = audited(run, cohort)
    cells = trained(run, network, cohort, plan, fitting, seeds=seeds)
    told = said(cells)
    texts = _texts(cohort.samples) if any(kind == "text" for kind, _ in cohort.ways.values()) else ()
    based = run.map(baseline_job, {f"baselines/{i}": (cohort, i, texts) for i in range(len(cohort.splits))})
    names = based["baselines/0"]
    book.table(told, others={name: np.concatenate([v[name] for v in based.values()])[None] for name in names})
    book.account(told, [arm.name for arm in plan if arm.condition == "full"], sorted(cohort.ways))
    book.learned(cells, fitting.batch)
    book.groups(told, told.model, _tags(told, cohort.samples))
    book.record(told, [arm.name for arm in plan])
    book.sections["notes"] = _notes(cohort.splits, cells[told.model][0][0], run.accept)
    if cohort.splits[0].by != "sample" and len(cohort.splits) > 1:
        leaked(run, book, network, told, cohort, plan, fitting)
    shown(run, book, told, cohort.samples)
    return told


def leaked(
    run: Record,
    book: Book,
    network: Network,
    told: Said,
    cohort: Cohort,
    plan: Sequence[Arm],
    fitting: Fitting,
) -> None:
    """The same arms in folds that cut groups: what such folds would have claimed, paired by sample."""
    wanted = [arm for arm in plan if arm.condition.startswith("only:")] or [plan[0]]
    cut = replace(cohort, splits=random_folds(cohort.samples, 5, seed=cohort.seed))
    cells = trained(run, network, cut, wanted, fitting, seeds=1, title="random folds, ")
    other = said(cells)
    place = {name: i for i, name in enumerate(other.ids)}
    here = [i for i, name in enumerate(told.ids) if name in place]
    rows, groups = [place[told.ids[i]] for i in here], [told.groups[i] for i in here]
    for arm in wanted:
        random, whole = other.scores(arm.name)[0][rows], told.scores(arm.name)[0][here]
        found = mean(random, group=groups, seed=book.seed, better=told.metric.better)
        book.add(f"random folds, {arm.name}", found)
        gap = difference(None, random, whole, group=groups, seed=book.seed)
        book.add(f"random folds - grouped, {arm.name}", gap)


def shown(run: Record, book: Book, told: Said, samples: Sequence[Sample]) -> None:
    """A few samples from the model's worst to its best, with what they look and sound like."""
    known = {sample.id: sample for sample in samples}
    scores, answers = told.scores(told.model)[0], told.predictions(told.model)[0]
    order = np.argsort(scores, kind="stable")
    for i in order[np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int)]:
        sample, chances = known[told.ids[i]], told.probabilities.get(told.model)
        parts = {name: _exhibit(run, part) for name, part in sample.parts.items()}
        book.row(
            "examples",
            id=sample.id,
            group=sample.group,
            parts={name: part for name, part in parts.items() if part},
            target=sample.target,
            prediction=answers[i].item(),
            probability=None if chances is None else float(chances[0][i].max()),
            present=sorted(sample.parts),
        )


def _exhibit(run: Record, part: Any) -> dict[str, Any]:
    try:
        if part.kind == "text":
            return {"kind": "text", "text": part.read()[:2000]}
        if part.kind == "series":
            return {"kind": "series", "text": " x ".join(map(str, part.values().shape)) + " numbers"}
        return {"kind": part.kind, "path": run.media(part)}
    except MediaError:
        return {}


def _digest(sample: Sample) -> str:
    try:
        return f"{sample.id} {sample.target} {sample.digest()}"
    except MediaError:
        return f"{sample.id} {sample.target}"


def _texts(samples: Sequence[Sample]) -> list[str]:
    found = []
    for sample in samples:
        try:
            found.append(" ".join(p.read() for p in sample.parts.values() if isinstance(p, Text)))
        except MediaError:
            found.append("")
    return found


def _tags(told: Said, samples: Sequence[Sample]) -> dict[str, list[str]]:
    """Tags with few values, by which the score is told apart."""
    known = {sample.id: sample.tags for sample in samples}
    names = sorted({name for tags in known.values() for name in tags} - {"split"})
    values = {name: [str(known[i].get(name, "")) for i in told.ids] for name in names}
    return {f"{name} ": found for name, found in values.items() if 1 < len(set(found)) <= MANY}


def _notes(splits: Sequence[Split], value: Mapping[str, Any], accepted: Sequence[str]) -> list[str]:
    by = f"{len(splits)} folds by {splits[0].by}" if len(splits) > 1 else f"one split, {splits[0].by}"
    notes = [by, *(f"split: {stamp}" for stamp in splits[0].stamp), *value["stamp"]]
    notes += [f"part {name!r}: columns left out, {', '.join(c)}" for name, c in value["dropped"].items() if c]
    notes += [f"{reason}: {n} samples left out" for reason, n in value["excluded"].items()]
    return notes + [f"audit error accepted: {kind}" for kind in accepted]
