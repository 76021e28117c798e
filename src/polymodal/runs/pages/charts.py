"""The report's figures: Altair drawings as inline SVG that takes its colours from the page."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from polymodal.metrics import Estimate, proportion

Row = dict[str, Any]
WIDE, NARROW = 740, 330
"""Inner widths in CSS pixels: text keeps its size on a phone because the figure is drawn twice."""

INK, MUTED, LINE, PAPER, ACCENT = (f"var(--{name})" for name in ("ink", "muted", "line", "paper", "accent"))
HUES = [f"var(--hue-{n})" for n in range(1, 9)]
DASHES = {"line": [1, 0], "line dashed": [6, 3], "line dotted": [2, 2]}
ROLES = {"result": ACCENT, "baseline": MUTED, "control": "var(--control)"}
SHAPES = {"result": "circle", "baseline": "square", "control": "diamond"}
NOISE = re.compile(r' (?:aria-[a-z]+|role|pointer-events|font-family)="[^"]*"')
"""What the renderer says about every mark; the figure speaks once, as a whole."""


@dataclass(frozen=True)
class Figure:
    """A drawing for wide and for narrow pages, said in words for those who do not see it."""

    wide: Markup
    narrow: Markup
    keys: tuple[tuple[str, str, str], ...] = ()
    """Label, colour and mark (a class of the style sheet) of what the figure shows."""


def _figure(
    draw: Callable[[int, Any], Any],
    rows: Sequence[Row],
    alt_text: str,
    keys: Sequence[tuple[str, str, str]] = (),
) -> Figure:
    """Draw twice; `draw` gets a width and the rows by name, as Altair would copy them for every mark."""
    import altair as alt
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):  # checking our own drawings against the schema takes two thirds of the time
        base = alt.Chart(alt.NamedData("rows"))
        wide, narrow = (_svg(draw(width, base), rows, alt_text) for width in (WIDE, NARROW))
    return Figure(wide, narrow, tuple(keys))


def _svg(chart: Any, rows: Sequence[Row], alt_text: str) -> Markup:
    """Render without a browser; scale into its box, and read as one picture with `alt_text` as its text."""
    import altair
    import vl_convert

    chart = (
        chart.configure(background="transparent", font="inherit", padding=2)
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=MUTED, titleColor=MUTED, gridColor=LINE, domainColor=LINE, tickColor=LINE,
            labelFontSize=12, titleFontSize=12, titleFontWeight="normal", titlePadding=8, labelPadding=6,
        )
        .configure_axisY(domain=False, ticks=False)
        .configure_title(color=INK, fontSize=13, fontWeight="normal", anchor="start")
    )  # fmt: skip
    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    drawing = chart.to_dict(validate=False)
    drawing["datasets"] = {**drawing.get("datasets", {}), "rows": list(rows)}
    text = vl_convert.vegalite_to_svg(drawing, vl_version=version)
    text = re.sub(r"<[^>]+>", lambda tag: NOISE.sub("", tag[0]), text)
    width, height = (int(n) for n in re.findall(r'(?:width|height)="(\d+)"', text)[:2])
    label = f'role="img" aria-label="{escape(alt_text)}"'
    head = f'<svg {label} viewBox="0 0 {width} {height}" style="max-width:{width}px">'
    return Markup(head + text[text.index(">") + 1 :])  # noqa: S704  the renderer escapes what is data


def said(estimate: Estimate) -> str:
    """An estimate in words for alternative texts: mean and interval."""
    return f"{short(estimate.mean)} ({short(estimate.low)} to {short(estimate.high)})"


def short(value: float | None) -> str:
    """A number as tables show it: three decimals when small, thousands separated when large."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return text.replace("-", "−")


def forest(rows: Sequence[Row], alt_text: str, *, zero: bool = False) -> Figure:
    """Intervals one below the other, with a tick where a closed form says the figure should lie.

    Args:
        rows: label, mean, low, high, role (`result`, `baseline`, `control`), expected (or None).
        alt_text: the figure in words.
        zero: draw the line of no difference.
    """
    import altair as alt

    order = [row["label"] for row in rows]
    roles = list(ROLES)

    def draw(width: int, base: Any) -> Any:
        beside = width == WIDE  # on a phone the labels stand above their lines, which need the width
        column = min(300, max(120, 30 + 8 * max(map(len, order)))) if beside else 0
        labels = alt.Axis(
            labelColor=INK, labelLimit=column - 8, labelAlign="left", labelPadding=column, grid=False
        )
        y = alt.Y("label:N", sort=order, title=None, axis=labels if beside else None)
        x = alt.X("low:Q", title=None, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(tickCount=5))
        base = base.encode(y=y)
        colour = alt.Color("role:N", legend=None, scale=alt.Scale(domain=roles, range=list(ROLES.values())))
        shape = alt.Shape("role:N", legend=None, scale=alt.Scale(domain=roles, range=list(SHAPES.values())))
        lines = base.mark_rule(strokeWidth=2.5, strokeCap="round", opacity=0.55).encode(
            x=x, x2="high:Q", color=colour
        )
        points = base.mark_point(filled=True, size=70, opacity=1).encode(
            x="mean:Q", color=colour, shape=shape
        )
        ticks = base.transform_filter("isValid(datum.expected)")
        ticks = ticks.mark_tick(color=INK, thickness=2, size=17).encode(x="expected:Q")
        above = base.mark_text(align="left", dy=-15, fontSize=12, color=INK, limit=width)
        layers = [lines, ticks, points, *([] if beside else [above.encode(text="label:N", x=alt.value(0))])]
        if zero:
            layers.insert(0, alt.Chart().mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.XDatum(0)))
        return alt.layer(*layers).properties(width=width - column, height=alt.Step(27 if beside else 44))

    present = {row["role"] for row in rows}
    keys = [(role, ROLES[role], SHAPES[role]) for role in ROLES if role in present]
    if any(row.get("expected") is not None for row in rows):
        keys.append(("expected", INK, "tick"))
    keys = keys if len(keys) > 1 else []
    return _figure(draw, rows, alt_text, keys)


def _hues(arms: Sequence[str]) -> dict[str, Any]:
    """Eight hues, and when these are used up the same ones dashed, then dotted."""
    import altair as alt

    hues = [HUES[i % 8] for i in range(len(arms))]
    dashes = [list(DASHES.values())[i // 8 % 3] for i in range(len(arms))]
    return {
        "color": alt.Color("arm:N", legend=None, scale=alt.Scale(domain=arms, range=hues)),
        "strokeDash": alt.StrokeDash("arm:N", legend=None, scale=alt.Scale(domain=arms, range=dashes)),
    }


def _keys(arms: Sequence[str]) -> list[tuple[str, str, str]]:
    marks = list(DASHES)
    return [(arm, HUES[i % 8], marks[i // 8 % 3]) for i, arm in enumerate(arms)] if len(arms) > 1 else []


def learning(rows: Sequence[Row], column: str, alt_text: str) -> Figure:
    """Curves over training steps: one thin line a seed, and their mean as far as all of them go.

    Runs stop when they get no better, so a mean over those that are left would jump.

    Args:
        rows: arm, seed, step and the value under `column`.
        column: `loss` or `val`.
        alt_text: the figure in words.
    """
    import altair as alt

    arms = list(dict.fromkeys(row["arm"] for row in rows))
    seeds = len({row["seed"] for row in rows})
    begun = Counter(arm for arm, _ in {(row["arm"], row["seed"]) for row in rows})
    there = Counter((row["arm"], row["step"]) for row in rows)
    rows = [{**row, "all": there[row["arm"], row["step"]] == begun[row["arm"]]} for row in rows]

    def draw(width: int, base: Any) -> Any:
        x = alt.X("step:Q", title="step", axis=alt.Axis(grid=False, tickCount=width // 80, format="~s"))
        y = alt.Y(f"{column}:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
        base = base.encode(x=x, **_hues(arms))
        mean = base.transform_filter("datum.all").mark_line(strokeWidth=2).encode(y=y.aggregate("mean"))
        thin = base.mark_line(strokeWidth=1, opacity=0.28).encode(y=y, detail="seed:N")
        return (thin + mean if seeds > 1 else mean).properties(width=width - 40, height=200)

    return _figure(draw, rows, alt_text, _keys(arms))


def confusion(classes: Sequence[str], matrix: Sequence[Sequence[float]], alt_text: str) -> Figure:
    """Counts of targets (rows) against predictions (columns), shaded by the share of their row."""
    import altair as alt

    rows = []
    for target, counts in zip(classes, matrix, strict=True):
        whole = sum(counts) or 1
        for prediction, n in zip(classes, counts, strict=True):
            share = n / whole
            rows.append(
                {"target": target, "prediction": prediction, "n": n, "share": share, "ink": share > 0.55}
            )

    def draw(width: int, base: Any) -> Any:
        side = max(16, min(58, (width - 90) // len(classes)))
        flat = 0 if 7 * max(map(len, classes)) < side else -40
        labels = alt.Axis(labelAngle=flat, labelLimit=90, orient="top")
        x = alt.X("prediction:N", sort=list(classes), axis=labels)
        y = alt.Y("target:N", sort=list(classes), axis=alt.Axis(labelLimit=90))
        base = base.encode(x=x, y=y)
        opacity = alt.Opacity("share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.04, 1]))
        cells = base.mark_rect(color=ACCENT, cornerRadius=3, stroke=PAPER, strokeWidth=2).encode(
            opacity=opacity
        )
        text = base.mark_text(fontSize=12 if side > 26 else 9).encode(
            text="n:Q",
            color=alt.condition("datum.ink", alt.value(PAPER), alt.value(INK)),
            opacity=alt.condition("datum.n > 0", alt.value(1), alt.value(0.35)),
        )
        chart = cells + text if side >= 22 else cells
        return chart.properties(width=side * len(classes), height=side * len(classes))

    return _figure(draw, rows, alt_text)


def calibration(bins: Sequence[Row], before: Sequence[Row], alt_text: str) -> Figure:
    """Accuracy against stated confidence, with Wilson intervals; on the diagonal, words are kept.

    Args:
        bins: confidence, accuracy and n of each bin.
        before: the same before a temperature or another map, or nothing.
        alt_text: the figure in words.
    """
    import altair as alt

    rows = [_binned(row, "after") for row in bins] + [_binned(row, "before") for row in before]
    rows = [row for row in rows if row]
    hues = {"after": ACCENT, "before": MUTED}

    def draw(width: int, base: Any) -> Any:
        side = min(width - 40, 330)
        scale = alt.Scale(domain=[0, 1])
        x = alt.X(
            "confidence:Q", title="stated confidence", scale=scale, axis=alt.Axis(tickCount=5, grid=False)
        )
        y = alt.Y("accuracy:Q", title="accuracy", scale=scale, axis=alt.Axis(tickCount=5))
        ideal = alt.Chart(
            alt.InlineData([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
        )
        diagonal = ideal.mark_line(color=MUTED, strokeDash=[3, 3], strokeWidth=1).encode(x=x, y=y)
        colour = alt.Color(
            "when:N", legend=None, scale=alt.Scale(domain=list(hues), range=list(hues.values()))
        )
        base = base.encode(x=x, color=colour)
        spans = base.mark_rule(strokeWidth=2, opacity=0.4).encode(y="low:Q", y2="high:Q")
        lines = base.mark_line(strokeWidth=1.5, opacity=0.8).encode(y=y)
        points = base.mark_point(filled=True, opacity=1, size=40).encode(y=y)
        return (diagonal + spans + lines + points).properties(width=side, height=side)

    keys = [("after calibration", ACCENT, "circle"), ("before", MUTED, "circle")] if before else []
    return _figure(draw, rows, alt_text, keys)


def _binned(row: Row, when: str) -> Row:
    n = int(row["n"])
    if not n or row["accuracy"] is None or row["confidence"] is None:
        return {}
    span = proportion(round(row["accuracy"] * n), n)
    return {
        "confidence": row["confidence"],
        "accuracy": row["accuracy"],
        "low": span.low,
        "high": span.high,
        "when": when,
    }


def curves(rows: Sequence[Row], x: str, y: str, alt_text: str) -> Figure:
    """One line an arm over x, with intervals, and ticks where closed forms say the figures should lie.

    Args:
        rows: arm, x, mean, low, high and expected (or None).
        x: title of the axis.
        y: title of the axis, or nothing.
        alt_text: the figure in words.
    """
    import altair as alt

    arms = list(dict.fromkeys(row["arm"] for row in rows))

    def draw(width: int, base: Any) -> Any:
        along = alt.X("x:Q", title=x, axis=alt.Axis(grid=False, tickCount=5), scale=alt.Scale(zero=False))
        up = alt.Y("mean:Q", title=y or None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
        low = alt.Y("low:Q", title=y or None)
        hues = _hues(arms)
        base = base.encode(x=along, color=hues["color"])
        bands = base.mark_area(opacity=0.14).encode(y=low, y2="high:Q")
        spans = base.mark_rule(strokeWidth=2, opacity=0.5).encode(y=low, y2="high:Q")
        lines = base.mark_line(strokeWidth=2).encode(y=up, strokeDash=hues["strokeDash"])
        points = base.mark_point(filled=True, opacity=1, size=36).encode(y=up)
        known = base.transform_filter("isValid(datum.expected)")
        ticks = known.mark_point(shape="stroke", size=200, strokeWidth=2, opacity=1)
        expected = ticks.encode(y=alt.Y("expected:Q", title=y or None))
        return (bands + spans + lines + expected + points).properties(width=width - 40, height=230)

    keys = _keys(arms)
    if any(row.get("expected") is not None for row in rows):
        keys.append(("expected", MUTED, "dash"))
    return _figure(draw, rows, alt_text, keys)


def span(estimate: Estimate, low: float, high: float) -> Mapping[str, float] | None:
    """Where an interval lies on a scale from `low` to `high`, in per cent; None where there is none."""
    values = (estimate.low, estimate.mean, estimate.high)
    if not all(math.isfinite(value) for value in values) or high <= low:
        return None
    at = [round(100 * (value - low) / (high - low), 2) for value in values]
    return {"low": at[0], "mean": at[1], "high": at[2], "zero": round(100 * (0 - low) / (high - low), 2)}
