"""A run as one static folder to look at and show: no server, no network, no script."""

import json
import math
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from polymodal.metrics import Estimate
from polymodal.runs.atomic import write_folder
from polymodal.runs.pages import charts
from polymodal.runs.pages.exhibit import read_back
from polymodal.runs.pages.talks import curves, folded, missing, tables, talks
from polymodal.runs.result import Result, RunError, read_result

SEVERITIES = ("error", "warning", "note")
KINDS = ("", "controls", "lower is better", "differences")
LARGE = 2.0
"""Figures beyond this (counts, seconds) are told in the table; beside shares they would flatten the plot."""

Page = dict[str, Any]


def report(folder: Path) -> Path:
    """Write `<folder>/report/index.html` with the media it shows, and return its path.

    The sections a run may have, each left out where there is no data (rows are JSON objects, estimates are
    `Estimate.to_json()`):

    * `about`: text, warning, names (what a name in the figures means, by the name)
    * `legend`: by estimate name: role (`result`, `baseline`, `control`), group, label, expected, of, and
      `minor` for what is in the table alone
    * `controls`: name, estimate, difference
    * `learning`: arm, seed, step, loss, val, world
    * `confusion`: classes, matrix
    * `calibration`: bins (confidence, accuracy, n), before (the same)
    * `groups`: group, estimate
    * `missing`: arm, p, estimate, expected
    * `curves`: title, x, y, rows (arm, x, estimate, expected)
    * `tables`: title, note, columns, rows (lists of cells)
    * `conversations`, `disagreements`: id, title, tags, turns (role, phase, and text, path of a picture,
      sound or video, or `withheld`: a digest), verdicts (judge, score, value, reason), tables (title,
      columns, rows; a cell {text, line} links to that line of the talk, from 1)
    * `findings`: kind, severity, where, n, evidence
    * `invalid`: reason, n, first
    * `examples`: id, group, parts by name ({kind, path or text}), target, prediction, probability, present
    * `cost`: name, parameters, macs, samples, steps, bytes, ...
    * `notes`: sentences

    Args:
        folder: a finished run.

    Raises:
        RunError: the run is not finished, or a section lacks a field.
    """
    folder = Path(folder)
    result = read_result(folder)
    page = _page(folder, result)
    html = _environment().get_template("report.html").render(page)

    def fill(place: Path) -> None:
        (place / "index.html").write_text(html, encoding="utf-8")
        shown = [part for example in page.get("examples", ()) for part in example["parts"].values()]
        for name in ("conversations", "disagreements"):
            shown += [turn for talk in page.get(name, ()) for turn in talk["turns"]]
        for part in shown:
            if "path" in part:
                target = place / part["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / part["path"], target)

    write_folder(folder / "report", fill)
    return folder / "report" / "index.html"


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(short=charts.short, count=_count, p=_p, cell=_cell, folded=folded)
    return environment


def _page(folder: Path, result: Result) -> Page:
    """Everything the template shows; a section of the run that has no data has no key here."""
    page: Page = {"result": result, "folder": folder.name, "about": {}, **_head(folder, result)}
    makers: dict[str, Callable[[Any], Page]] = {
        "about": lambda data: {"about": data},
        "controls": _controls,
        "learning": _learning,
        "confusion": _confusion,
        "calibration": _calibration,
        "groups": _groups,
        "missing": missing,
        "curves": curves,
        "tables": tables,
        "conversations": lambda data: {"conversations": talks(folder, data)},
        "disagreements": lambda data: {"disagreements": talks(folder, data)},
        "findings": _findings,
        "invalid": _invalid,
        "examples": lambda data: _examples(folder, data),
        "cost": lambda data: {"cost": data, "cost_columns": _columns(data)},
        "notes": lambda data: {"notes": data},
    }
    for name, make in makers.items():
        data = result.sections.get(name)
        if not data:
            continue
        try:
            page.update(make(data))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"section {name!r} of {folder} cannot be shown: {type(error).__name__} {error}"
            ) from error
    return page


def _findings(data: list[Page]) -> Page:
    rows = _rows(data, "kind", "n")
    return {"findings": sorted(rows, key=lambda row: SEVERITIES.index(row["severity"]))}


def _invalid(data: list[Page]) -> Page:
    return {"invalid": _rows(data, "reason"), "invalid_n": sum(row["n"] for row in data)}


def _examples(folder: Path, data: list[Page]) -> Page:
    return {"examples": [read_back(folder, row) for row in _rows(data, "id", "target", "prediction")]}


def _rows(data: list[Page], *names: str) -> list[Page]:
    """The rows, each of which must have these fields (KeyError)."""
    for row in data:
        for name in names:
            row[name]
    return data


def _head(folder: Path, result: Result) -> Page:
    """What every run has: estimates, claims, clock, and how to repeat it."""
    legend = result.sections.get("legend", {})
    groups: dict[str, list[Page]] = {}
    for name, estimate in result.estimates.items():
        group, rest = _split(name)
        about = legend.get(name, {})
        group = about.get("group") or group
        row = {"name": name, "label": about.get("label") or rest, "estimate": estimate}
        row["minor"] = bool(about.get("minor"))
        role = about.get("role") if about.get("role") in charts.ROLES else "result"
        groups.setdefault(group, []).append({**row, "role": role, "expected": about.get("expected")})
    timing = folder / "timing.json"
    return {
        "panels": [_panel(group, rows) for group, rows in groups.items()],
        "tiles": _tiles(groups, next((name for name, about in legend.items() if about.get("headline")), "")),
        "methods": sorted({e.method for e in result.estimates.values() if e.method not in ("", "exact")}),
        "verdicts": Counter(claim["verdict"] for claim in result.claims),
        "timing": json.loads(timing.read_text(encoding="utf-8")) if timing.exists() else None,
        "command": _command(result),
        "resume": f"polymodal run {result.system} --resume {folder.parent.name or '.'}/{folder.name}",
    }


def _command(result: Result) -> str:
    """The line that repeats the run, with every field said, so that later defaults do not change it."""
    words = ["polymodal", "run", result.system]
    for key, value in result.config.items():
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += ["-o", f"{key}={text}"]
    return shlex.join(words)


def _split(name: str) -> tuple[str, str]:
    """The first segment of a name such as `redundant/all` or `card: accuracy`, and the rest.

    A slash between blanks is a word.
    """
    group, slash, rest = name.partition("/")
    if slash and not group.endswith(" ") and not rest.startswith(" "):
        return group, rest
    group, colon, rest = name.partition(": ")
    return (group, rest) if colon else ("", name)


def _panel(group: str, rows: list[Page]) -> Page:
    """One group of estimates: figures of what shares a scale, and all in one table."""
    shown = [row for row in rows if _is_plotted(row["estimate"]) and not row["minor"]]
    apart = (
        sum(row["role"] == "control" for row in shown) > 5
    )  # few controls are best seen beside the results

    def kind(row: Page) -> str:
        if _is_difference(row["estimate"]):
            return "differences"
        if row["estimate"].better == "lower":
            return "lower is better"
        return "controls" if apart and row["role"] == "control" else ""

    kinds = {title: [row for row in shown if kind(row) == title] for title in KINDS}
    return {
        "group": group,
        "rows": rows,
        "figures": [(title, _forest(part, group, title)) for title, part in kinds.items() if part],
        "has": {
            "groups": any(row["estimate"].n_groups is not None for row in rows),
            "expected": any(row["expected"] is not None for row in rows),
            "p": any(row["estimate"].p is not None for row in rows),
        },
    }


def _is_difference(estimate: Estimate) -> bool:
    return estimate.p is not None or estimate.method.startswith(("paired", "difference"))


def _is_plotted(estimate: Estimate) -> bool:
    """Whether it has an interval to draw, and is no count that would flatten the others."""
    known = all(map(math.isfinite, _ends(estimate)))
    return known and estimate.method != "exact" and abs(estimate.mean) <= LARGE


def _forest(rows: list[Page], group: str, title: str) -> charts.Figure:
    names = Counter(row["label"] for row in rows)
    points = [
        {
            "label": row["label"] if names[row["label"]] == 1 else row["name"],
            **dict(zip(("low", "mean", "high"), _ends(row["estimate"]), strict=True)),
            "role": row["role"],
            "expected": row["expected"],
        }
        for row in rows
    ]
    spoken = "; ".join(f"{row['label']} {charts.said(row['estimate'])}" for row in rows)
    what = " ".join(word for word in (group, title or "estimates") if word)
    return charts.forest(points, f"{what} with intervals: {spoken}", zero=title == "differences")


def _ends(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.low, estimate.mean, estimate.high


def _tiles(groups: Mapping[str, list[Page]], headline: str) -> list[Page]:
    """The headline's figure of each group (else its first result; four groups at most) beside a baseline."""
    tiles = []
    wanted = _split(headline)[1]
    leading = sorted(groups.items(), key=lambda one: all(row["name"] != headline for row in one[1]))
    for group, rows in leading:
        results = [row for row in rows if row["role"] == "result" and _is_plotted(row["estimate"])]
        results = [row for row in results if not _is_difference(row["estimate"])]
        if not results:
            continue
        first = next((row for row in results if _split(row["name"])[1] == wanted), results[0])
        better = first["estimate"].better
        rivals = [row for row in rows if row["role"] == "baseline" and row["estimate"].better == better]
        rivals = [row for row in rivals if math.isfinite(row["estimate"].mean)]
        sign = -1 if better == "lower" else 1
        best = max(rivals, key=lambda row: sign * row["estimate"].mean, default=None)
        tiles.append({**first, "group": group, "baseline": best, "span": _on_unit(first["estimate"])})
    return tiles[:4]


def _on_unit(estimate: Estimate) -> Mapping[str, float] | None:
    return charts.span(estimate, 0, 1) if estimate.low >= 0 and estimate.high <= 1 else None


def _controls(data: list[Page]) -> Page:
    rows = []
    for row in data:
        both = {
            key: Estimate.from_json(row[key]) if row.get(key) else None for key in ("estimate", "difference")
        }
        world, name = _split(row["name"])
        rows.append({"world": world, "name": name, **both})
    return {"controls": _spanned(rows, "difference")}


def _groups(data: list[Page]) -> Page:
    rows = [{"name": row["group"], "estimate": Estimate.from_json(row["estimate"])} for row in data]
    return {"groups": _spanned(rows, "estimate")}


def _spanned(rows: list[Page], key: str) -> list[Page]:
    """Give each row its interval's place on the scale that all rows share."""
    ends = [end for row in rows if row[key] for end in _ends(row[key]) if math.isfinite(end)]
    if key == "difference":
        ends.append(0.0)
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    return [{**row, "span": charts.span(row[key], low, high) if row[key] else None} for row in rows]


def _learning(data: list[Page]) -> Page:
    """Curves of one world a figure; the world is the arm's first segment where it is not a field."""
    worlds: dict[str, list[Page]] = {}
    for row in data:
        world, arm = _split(str(row["arm"]))
        worlds.setdefault(row.get("world") or world, []).append({**row, "arm": arm})
    figures = []
    for world, rows in worlds.items():
        for column, words in (("loss", "training loss"), ("val", "validation loss")):
            here = [row for row in rows if row.get(column) is not None]
            if len({row["step"] for row in here}) > 1:  # one step makes no curve
                arms = ", ".join(dict.fromkeys(row["arm"] for row in here))
                title = f"{world}: {words}" if world else words
                figures.append(
                    (title, charts.learning(_thinned(here), column, f"{title} by step for {arms}"))
                )
    return {"learning": figures} if figures else {}


def _thinned(rows: list[Page], points: int = 150) -> list[Page]:
    """Keep at most `points` steps: more cannot be seen, and would weigh on the page."""
    steps = sorted({row["step"] for row in rows})
    kept = set(steps[:: math.ceil(len(steps) / points)]) | {steps[-1]}
    return [row for row in rows if row["step"] in kept]


def _confusion(data: Page) -> Page:
    classes, matrix = [str(name) for name in data["classes"]], data["matrix"]
    right = sum(matrix[i][i] for i in range(len(classes)))
    worst = max(
        ((n, classes[i], classes[j]) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j),
        default=None,
    )
    words = f"Confusion matrix of {len(classes)} classes: {right:,} of {sum(map(sum, matrix)):,} right"
    if worst and worst[0]:
        words += f"; most often mistaken: {worst[1]} for {worst[2]} ({worst[0]} times)"
    return {"confusion": charts.confusion(classes, matrix, words), "confusion_words": words}


def _calibration(data: Page) -> Page:
    bins = data["bins"]
    n = sum(row["n"] for row in bins) or 1
    gap = sum(row["n"] * abs(row["accuracy"] - row["confidence"]) for row in bins if row["n"]) / n
    words = (
        f"Reliability curve of {len(bins)} bins; mean gap between confidence and accuracy {charts.short(gap)}"
    )
    return {
        "calibration": charts.calibration(bins, data.get("before") or [], words),
        "calibration_words": words,
    }


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _count(n: float) -> str:
    return f"{n:,}"


def _p(p: float | None) -> str:
    return "" if p is None else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return _count(value)
    return charts.short(value) if isinstance(value, float) else str(value)
