"""Estimates of consultations: readers, arms with and without pictures, chat models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polymodal import metrics as m
from polymodal.metrics.acting import calibrated, unsupported
from polymodal.systems.consulting.rated import axes
from polymodal.systems.consulting.scored import MEANT, SCORES

if TYPE_CHECKING:
    from polymodal.envs.clinic import Clinic
    from polymodal.training.study import Book

Row = Mapping[str, Any]
READ = {"shuffled": "control", "blank": "control", "text": "baseline", "artefacts": "baseline"}
CHECKS = "Checks of the record"  # their heading in the report
CLAIMING = "unsupported="  # in a doctor's name: the script that makes claims up
FORGETS = "span="
WANTED = ("top1", "top3", "top5", "top10")
NAMES = {  # for who reads the report
    "T=6, 10, 14": "budgets of questions and pictures; ideal readers, 2,000 generated patients a seed",
    "multimodal, text, artefacts": "what the exact doctor may use: both, questions alone, pictures alone",
    "retaken": "poor pictures are taken again",
    "no stop, learned stop": "asked to the end; ended as was learned on other patients",
    "fixed, random, frequent": "other orders of questions: a fixed list, chance, the likeliest yes",
    "split, half": "published rewards for a question, in place of information gain",
    "shuffled, blank": "controls: the next patient's pictures; pictures that show nothing",
    "read": "the same doctor on pictures that are drawn and then read by trained readers",
}
DOCTORS = {
    "scripted:clinic": "a script in a chat model's place that knows the tables; no language model",
    "span": "it minds only the last {} turns of the talk: what a state can mend",
    "slip": "a differential begins with a random disease at chance {}: what votes can mend",
    "unsupported": "a note claims something unsaid and unseen at chance {}: what the check must find",
    "malformed": "a reply is broken JSON at chance {}",
}
ARMS = {
    "state": "phases, gaps and a state that is kept from turn to turn",
    "plain": "plain prompting: one call a turn",
    "plain_matched": "plain prompting with votes, up to the calls and tokens of state on the same case",
    "scrambled": "control: another case's state put in the place of its own at every turn",
    "late": "state before patients who tell of an allergy late",
    "rigid": "the same patients, and it may not go back",
    "again": "a case seen twice, half of the turns each; the second visit begins with the first one's state",
    "forgotten": "the same two visits, the second begun with nothing",
}
LOST = {
    "unfinished": "ended without a diagnosis, which counts as wrong",
    "reason": "were cut",
    "malformed": "had a call that gave nothing valid, asked twice",
    "invalid": "had a picture that could not be read",
    "leak": "had a patient who named the diagnosis",
    "new": "began as a first visit, since no earlier one was kept",
}
ENOUGH, NODES, WIDEST = 20, 61, 50.0  # of a mixed logit: cases, nodes, log odds that say nothing
ROLES = ("patient", "rater")  # whose calls are booked beside the doctor's
COST = ("calls", "tokens", "asked", "requested", "retakes", "malformed")


def read(book: Book, taught: Mapping[str, Any]) -> None:
    """How well trained readers read held-out pictures, good and poor, and by skin tone."""
    for key, one in taught.items():
        kind = key.rpartition("/")[2]
        right, poor = np.asarray(one["right"]), np.asarray(one["poor"]) == 1
        for name, some in (("good", right[~poor]), ("poor", right[poor])):
            book.add(f"reader of {kind}s: {name}", hits(some), page=True)
        gap = m.unpaired(hits(right[~poor]), hits(right[poor]))
        book.add(f"reader of {kind}s: good - poor", gap)
        book.add(f"reader of {kind}s: quality seen", hits(np.asarray(one["found"])))
        sure = m.estimate(m.ECE, np.asarray(one["target"]), np.asarray(one["q"]), seed=book.seed, draws=400)
        book.add(f"reader of {kind}s: ECE", sure)
        tones = np.array(one["tones"], dtype=object)
        for tone in sorted(set(tones) - {""}):
            found = hits(right[(tones == tone) & ~poor])
            book.add(f"reader of {kind}s: skin {tone}, good", found, role="control")


def hits(values: Any) -> m.Estimate:
    """A share with its interval."""
    return m.proportion(int(np.sum(values)), len(values), better="higher")


def column(rows: Sequence[Row], name: str, cases: Sequence[str]) -> Any:
    """A figure of every case, NaN where there is none."""
    known = {row["case"]: row[name] for row in rows if row.get(name) is not None}
    return np.array([float(known.get(one, np.nan)) for one in cases])


def told(
    book: Book, clinic: Clinic | None, rows: Sequence[Row], looked: Sequence[Row], *, ideal: str = ""
) -> None:
    """Everything about the consultations held; `ideal` names the estimate with ideal readers."""
    cases = list(dict.fromkeys(str(row["case"]) for row in rows))
    by = {
        (doctor, arm): [row for row in rows if (row["doctor"], row["arm"]) == (doctor, arm)]
        for doctor, arm in dict.fromkeys((str(row["doctor"]), str(row["arm"])) for row in rows)
    }
    exact = {arm: some for (doctor, arm), some in by.items() if doctor == "bayes"}
    if exact:
        pictured(book, clinic, exact, looked, cases, ideal=ideal)
    if lists := {arm: some for (doctor, arm), some in by.items() if doctor == "list"}:
        listed(book, lists, cases)
    talks = {key: some for key, some in by.items() if key[0] not in ("bayes", "list")}
    told_ = names(talks, ladder="nothing asked" in book.estimates)
    told_ |= MEANT if any("ranks" in row for row in rows) else {}
    book.sections.setdefault("about", {})["names"] = told_
    claimed(book, talks)
    talks = {key: some for key, some in talks.items() if CLAIMING not in key[0]}
    for doctor in dict.fromkeys(doctor for doctor, _ in talks):
        arms = {arm: some for (name, arm), some in talks.items() if name == doctor}
        held = list(dict.fromkeys(str(row["case"]) for some in arms.values() for row in some))
        compared(book, doctor, arms, held, first=doctor == leading(talks))
        axes(book, doctor, arms)
    odds(book, talks)
    costs(book, talks)


def names(talks: Mapping[tuple[str, str], Any], *, ladder: bool) -> dict[str, str]:
    """A sentence for each name that the figures use."""
    found, scripts = dict(NAMES) if ladder else {}, set[str]()
    for doctor in dict.fromkeys(doctor for doctor, _ in talks):
        script, _, rest = doctor.partition("?")
        options = [one.partition("=")[::2] for one in rest.split("&") if one]
        said = ["the same script" if script in scripts else DOCTORS.get(script, "a chat model")]
        scripts.add(script if script in DOCTORS else "")
        found[doctor] = "; ".join(said + [DOCTORS[key].format(x) for key, x in options if key in DOCTORS])
    for arm in dict.fromkeys(arm for _, arm in talks):
        name, _, options_ = arm.partition("?")
        found[arm] = ARMS[name] + (f" ({options_.replace('&', ', ')})" if options_ else "")
    return found


def leading(talks: Mapping[tuple[str, str], Any]) -> str:
    """The model whose comparison the claims are about: the one that forgets, or the first."""
    names = [doctor for doctor, _ in talks]
    return next((one for one in names if FORGETS in one), names[0] if names else "")


def pictured(
    book: Book,
    clinic: Clinic | None,
    arms: Mapping[str, Sequence[Row]],
    looked: Sequence[Row],
    cases: Sequence[str],
    *,
    ideal: str,
) -> None:
    """The exact doctor on pictures that are drawn and read."""
    right = {arm: column(some, "right", cases) for arm, some in arms.items()}
    for arm, values in right.items():
        role = READ.get(arm, "result")
        book.add(f"read: {arm}", hits(values), role=role, page=True)
        turns = sum(column(arms[arm], name, cases) for name in ("asked", "requested", "retakes"))
        noted(book, f"read: {arm}", arms[arm])
        book.add(f"read: {arm}, turns", m.mean(turns, better="lower"))
        course(book, f"read: {arm},", arms[arm], role=role, group="read, scores", label=arm)
    by_turn(book, "the exact doctor on pictures that are read", arms)
    for arm in [arm for arm in right if arm != "multimodal" and "multimodal" in right]:
        book.add(
            f"read: multimodal - {arm}", m.difference(None, right["multimodal"], right[arm], seed=book.seed)
        )
    if "blank" in right and "text" in right:
        found = m.difference(None, right["blank"], right["text"], seed=book.seed)
        book.add("read: blank - text", found, role="control", negative=True, expected=0.0)
    best = book.estimates.get(ideal)
    if best is not None and "multimodal" in right:
        cost = m.unpaired(best, book.estimates["read: multimodal"])
        book.add("read: cost of perception (ideal - read)", cost)
    if clinic is not None:
        first = "multimodal" if "multimodal" in arms else next(iter(arms))
        some, names = arms[first], [one.name for one in clinic.diseases]
        truth = {row["case"]: row["truth"] for row in some if "truth" in row}
        if truth:
            about = [row["p"] for row in some]
            scores = calibrated([truth[row["case"]] for row in some], about, names, seed=book.seed)
            for name, one in scores.items():
                book.add(f"read: {first}, {name}", one)
    for kind in dict.fromkeys(str(row["kind"]) for row in looked):
        for name, poor in (("good", False), ("poor", True)):
            some = [row for row in looked if row["kind"] == kind and row["poor"] is poor]
            if some:
                found = hits([row["said"] == row["truth"] for row in some])
                book.add(f"read in consultations: {kind}, {name}", found)


def noted(book: Book, name: str, rows: Sequence[Row]) -> None:
    """What went wrong in the consultations of an arm, where something did."""
    for key, what in LOST.items():
        if n := sum(bool(row.get(key)) for row in rows):
            book.sections["notes"].append(f"{name}: {n} of {len(rows)} consultations {what}.")
    why = Counter[str]()
    for row in rows:
        why.update(row.get("why") or {})
    if why:
        told = ", ".join(f"{reason} {n}" for reason, n in why.most_common())
        book.sections["notes"].append(f"{name}: what became of those calls: {told}.")


def listed(book: Book, arms: Mapping[str, Sequence[Row]], cases: Sequence[str]) -> None:
    """Lists of questions before written cases, and tests by their names."""
    tests = [x for row in arms.get("tests", ()) for x in row["found"]]
    if tests:
        book.add("tests found by their own name", hits(tests), expected=1.0, page=True)
    some = {arm: column(rows, "recall", cases) for arm, rows in arms.items() if arm != "tests"}
    for arm, values in some.items():
        role = "baseline" if arm == "random" else "result"
        book.add(f"{arm}: fact recall", m.mean(values, better="higher"), role=role, page=True)
        fresh = column(arms[arm], "yield", cases)
        book.add(f"{arm}: questions that bring news", m.mean(fresh, better="higher"), role=role)
    if {"checklist", "random"} <= some.keys():
        found = m.difference(None, some["checklist"], some["random"], seed=book.seed)
        book.add("checklist - random: fact recall", found, page=True)
    leaks = sum(int(row["leak"]) for rows in arms.values() for row in rows if "leak" in row)
    book.add(
        "diagnoses spoken by the patient", m.exact(float(leaks), n=len(cases)), role="control", expected=0.0
    )


def claimed(book: Book, talks: Mapping[tuple[str, str], Sequence[Row]]) -> None:
    """The provenance check: planted claims found and false alarms; shares of unsupported claims elsewhere."""
    for (doctor, arm), rows in talks.items():
        if CLAIMING in doctor:
            pairs = [p for row in rows for p in zip(row["planted"], row["claims"], strict=True)]
            found = [not ok for planted, ok in pairs if planted]
            alarms = [not ok for planted, ok in pairs if not planted]
            if found and alarms:
                told_: dict[str, Any] = {"role": "control", "page": True, "group": CHECKS}
                book.add("planted claims found", hits(found), expected=1.0, **told_)
                false = m.proportion(sum(alarms), len(alarms), better="lower")
                book.add("false alarms", false, expected=0.0, **told_)
        elif arm in ("late", "rigid"):
            name = f"{arm}: reopened{' and minded' if arm == 'late' else ''}"
            some = ["reopened" in row["flags"] and (arm == "rigid" or row["minded"]) for row in rows]
            about: dict[str, Any] = {"role": "control", "page": True, "group": CHECKS, "label": name}
            book.add(name, hits(some), expected=float(arm == "late"), **about)
        elif arm == "state" and any(row["claims"] for row in rows):
            share, whole = unsupported([[bool(x) for x in row["claims"]] for row in rows], seed=book.seed)
            for name, one in (("unsupported claims", share), ("talks with one", whole)):
                book.add(f"{doctor} {arm}: {name}", one, group=doctor, label=f"{arm}: {name}")


def compared(
    book: Book, doctor: str, arms: Mapping[str, Sequence[Row]], cases: Sequence[str], *, first: bool
) -> None:
    """A chat model's arms: top-k, what exact inference makes of what they learnt, and paired differences."""
    arms = {arm: rows for arm, rows in arms.items() if arm not in ("late", "rigid")}
    base = "plain_matched" if "plain_matched" in arms else "plain"
    for arm, rows in arms.items():
        role = "control" if arm == "scrambled" else "baseline" if arm.startswith("plain") else "result"

        def add(name: str, found: m.Estimate, arm: str = arm, role: str = role, **more: Any) -> None:
            about = {"role": role, "group": doctor, "label": f"{arm}: {name}"}
            book.add(f"{doctor} {arm}: {name}", found, **about, **more)

        for name in WANTED:
            values, first_ = column(rows, name, cases), name == "top1"
            add(name, hits(values[~np.isnan(values)]), page=first_, minor=not first_)
        learnt = column(rows, "acquired", cases)
        if np.isfinite(learnt).any():
            add("top1 by exact inference", hits(learnt[~np.isnan(learnt)]))
        for tag in ("yes", "no"):
            some = [row["top1"] for row in rows if row["tags"].get("leak") == tag]
            if some:
                add(f"top1, leak {tag}", hits(some))
        said = [row["relation"] for row in rows if "relation" in row]
        if said:
            valid = [x == "same" for x in said if x is not None]
            found = m.proportion(sum(valid), len(valid), invalid=len(said) - len(valid), better="higher")
            add("same by the rater", found, page=True)
        course(book, f"{doctor} {arm}:", rows, role=role, group=f"{doctor}, scores", label=arm)
        noted(book, f"{doctor} {arm}", rows)
    by_turn(book, doctor, arms)
    pairs = [("state", "plain"), ("state", base), ("scrambled", "plain"), ("state", "scrambled")]
    pairs += [("again", "forgotten"), ("again", "state")]
    pairs += [(arm, "state") for arm in arms if arm.startswith("state?")]
    for a, b in dict.fromkeys(pairs):
        if a in arms and b in arms:
            found = m.difference(
                None, column(arms[a], "top1", cases), column(arms[b], "top1", cases), seed=book.seed
            )
            book.add(f"{doctor}: {a} - {b}", found, group=doctor, label=f"{a} - {b}")
            if first:
                on: dict[str, Any] = {"page": True, "group": f"{doctor}, what the claims rest on"}
                book.add(f"{a} - {b}, top-1", found, **on)
                recall = [column(arms[arm], "recall", cases) for arm in (a, b)]
                if (a, b) == ("state", base) and np.isfinite(np.array(recall)).all(0).any():
                    found = m.difference(None, *recall, seed=book.seed)
                    book.add(f"{a} - {b}, fact recall", found, **on)


def course(book: Book, name: str, rows: Sequence[Row], *, role: str, group: str, label: str) -> None:
    """The scores of an arm's consultations, each over those that have a ground for it."""
    for key, (score, better) in SCORES.items():
        values = [float(row[key]) for row in rows if row.get(key) is not None]
        if values:
            yes = set(values) <= {0.0, 1.0}
            share = m.proportion(int(sum(values)), len(values), better=better) if yes else None
            found = share or m.mean(values, better=better)
            about: dict[str, Any] = {"role": role, "group": group, "label": f"{label}: {score}"}
            book.add(f"{name} {score}", found, minor=True, **about)


def by_turn(book: Book, title: str, arms: Mapping[str, Sequence[Row]]) -> None:
    """The share that would be right if a consultation ended at turn t with what it had ranked by then."""
    ranks = {arm: [row["ranks"] for row in rows if row.get("ranks")] for arm, rows in arms.items()}
    last = max((len(one) for some in ranks.values() for one in some), default=0)
    if last < 2:
        return
    rows = [
        {"arm": arm, "x": t, "estimate": hits([one[min(t, len(one)) - 1] == 1 for one in some]).to_json()}
        for arm, some in ranks.items()
        for t in range(1, last + 1)
        if some
    ]
    title = f"Top-1 if it ended at this turn, {title}"
    book.sections["curves"].append({"title": title, "x": "turn", "y": "top-1", "rows": rows})


def odds(book: Book, talks: Mapping[tuple[str, str], Sequence[Row]]) -> None:
    """Top-k on the arm, state against plain_matched, with a random intercept a case: a mixed logit."""
    rows: list[list[Any]] = []
    for doctor in dict.fromkeys(doctor for doctor, _ in talks):
        found: list[tuple[str, Any, m.Estimate]] = []
        for key in WANTED:
            mine, other = (
                {row["case"]: row[key] for row in talks.get((doctor, arm), ()) if key in row}
                for arm in ("state", "plain_matched")
            )
            both = [case for case in mine if case in other]
            if len(both) >= ENOUGH:
                sides = np.array([[side[case] for case in both] for side in (mine, other)], float)
                slope = _slope(sides)
                if isinstance(slope, str):
                    book.sections["notes"].append(f"{doctor}: no odds ratio of {key}: {slope}.")
                else:
                    found.append((key, sides.mean(axis=1), slope))
        held = m.benjamini_hochberg([np.nan if one.p is None else one.p for _, _, one in found])
        for (key, shares, one), p in zip(found, held, strict=True):
            ratio = [math.exp(x) for x in (one.mean, one.low, one.high)]
            rows.append([doctor, key, one.n_groups, *map(float, shares), *ratio, float(p)])
    if rows:
        note = "log odds by case, a random intercept each; Wald intervals; p by Benjamini-Hochberg over k"
        columns = ["doctor", "top-k", "cases", "state", "plain_matched", "odds ratio", "low", "high", "p"]
        book.sections["tables"].append(
            {"title": "Top-k, mixed logit", "note": note, "columns": columns, "rows": rows}
        )


def _slope(sides: Any) -> m.Estimate | str:
    """The log odds ratio of two arms "2 n" on the same cases, or why there is none.

    With two answers a case the ratio is that of the cases in which one arm alone is right (Neuhaus and others
    1994), so without such cases on both sides it is not finite. Cases mostly differ far more than arms do,
    which takes many nodes.
    """
    if (sides[0] == sides[1]).all():
        return "both arms are right in the same cases"
    if not (sides[0] > sides[1]).any() or not (sides[0] < sides[1]).any():
        return "all cases in which the arms differ are for one of them"
    n = sides.shape[1]
    x, case = np.repeat([1.0, 0.0], n), np.tile(np.arange(n), 2)
    slope = m.mixed_logit(sides.ravel(), x, case, nodes=NODES).slope()
    if slope.p is None or max(abs(slope.low), abs(slope.high)) > WIDEST:
        return "the arms are too far apart for an interval"
    return replace(slope, n_groups=n)


def costs(book: Book, talks: Mapping[tuple[str, str], Sequence[Row]]) -> None:
    """What the arms spent, a consultation each on average; and in all, by role."""
    if not talks:
        return
    others = [
        role for role in ROLES if any(f"{role} calls" in row for some in talks.values() for row in some)
    ]
    names_ = [*COST, *(f"{role} {what}" for role in others for what in ("calls", "tokens"))]
    rows = [
        [doctor, arm, *(float(np.mean([row.get(name, 0) for row in some])) for name in names_),
         sum(row["unfinished"] for row in some)]
        for (doctor, arm), some in talks.items()
    ]  # fmt: skip
    note = "means a consultation; calls and tokens are the doctor's where no other is named; unfinished: no "
    note += "differential was told"
    book.sections["tables"].append(
        {"title": "Cost of the arms", "note": note, "columns": ["doctor", "arm", *names_, "unfinished"],
         "rows": rows}
    )  # fmt: skip
    book.sections["cost"] = [
        {"name": f"{doctor} {arm}{f': {role}' if role else ''}",
         **{what: sum(row.get(f"{role} {what}".strip(), 0) for row in some) for what in ("calls", "tokens")}}
        for (doctor, arm), some in talks.items()
        for role in ("", *others)
    ]  # fmt: skip
