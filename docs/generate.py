"""Write the generated parts of the README and of each system's page; `--check` fails where they drifted."""

import ast
import json
import re
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "polymodal"
WIDTH = 100


def results() -> dict[str, dict[str, Any]]:
    """What `run` printed, from docs/results: `NAME.json` is the pocket run, `NAME-*.json` are others."""
    files = sorted((ROOT / "docs" / "results").glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def interval(estimate: dict[str, Any]) -> str:
    """`.889 [.880, .897]`."""
    low, high = estimate["low"], estimate["high"]
    if estimate["mean"] is None:
        return "not defined"
    if low is None or high is None:
        return f"{estimate['mean']:.3f}"
    return f"{estimate['mean']:.3f} [{low:.3f}, {high:.3f}]"


def row(name: str, result: dict[str, Any]) -> str:
    """A line of the README table: the headline, beside the best baseline and a negative control."""
    estimates, legend = result["estimates"], result["sections"]["legend"]
    headline = next((key for key in estimates if legend[key].get("headline")), next(iter(estimates)))
    world, _, what = headline.rpartition("/")
    near = [key for key in estimates if key.rpartition("/")[0] == world or key.rpartition("/")[2] == what]
    near = [key for key in near if not legend[key].get("minor")]
    better = estimates[headline].get("better")
    sign = -1 if better == "lower" else 1
    rivals = [key for key in near if legend[key]["role"] == "baseline" and estimates[key]["better"] == better]
    own = headline.partition(": ")[0] + ": "
    rivals = [key for key in rivals if key.startswith(own)] or rivals  # of the headline's own group, if any
    best = max(rivals, key=lambda key: sign * estimates[key]["mean"], default=None)
    controls = [key for key in near if legend[key]["role"] == "control"]
    controls += [key for key in estimates if legend[key]["role"] == "control"]
    shuffled = [key for key in controls if key.endswith("shuffled targets") or legend[key].get("negative")]
    control = (shuffled or controls)[0]
    counts = Counter(claim["verdict"] for claim in result["claims"])
    verdicts = " · ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items(), reverse=True))
    beside = [
        f"{key.removeprefix(world + '/')} {interval(estimates[key])}" if key else "–"
        for key in (best, control)
    ]
    return (
        f"| `{name}` | {headline} | {interval(estimates[headline])} | {estimates[headline]['n']:,} "
        f"| {beside[0]} | {beside[1]} | {verdicts} |"
    )


def table() -> str:
    """The README's table of systems."""
    head = "| result | score | estimate [95 %] | n | best baseline | negative control | claims |\n"
    rows = [row(name, result) for name, result in results().items()]
    return head + "|---|---|---|---|---|---|---|\n" + "\n".join(rows)


FOLDERS = ("media", "metrics", "nn", "chat", "training", "envs", "judge", "runs", "systems", "cli", "testing")


def tree() -> str:
    """The map of the folders: each file with the first line of its docstring."""
    lines = ["```"]
    for folder in (name for name in FOLDERS if (SRC / name).exists()):
        first = ast.get_docstring(ast.parse((SRC / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        inside = [
            p for p in (SRC / folder).glob("[a-z]*") if p.suffix == ".py" or (p / "__init__.py").exists()
        ]
        boxes = sorted(f"{p.name}/" if p.is_dir() else p.stem for p in inside)
        files = " ".join(boxes)
        lines += [f"{folder + '/':<10} {first.splitlines()[0]}", *wrapped(files)]
    return "\n".join([*lines, "```"])


def wrapped(words: str) -> list[str]:
    """Words broken into indented lines."""
    lines = [" " * 11]
    for word in words.split():
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append(" " * 11)
        lines[-1] += word + " "
    return [line.rstrip() for line in lines if line.strip()]


def shown(name: str, legend: dict[str, Any]) -> bool:
    """Whether an estimate belongs on the page: what the legend picks, else closed forms and differences."""
    if any(about.get("page") for about in legend.values()):
        return bool(legend.get(name, {}).get("page"))
    minor = [
        "noise:",
        "drop:",
        "missing:",
        "NLL",
        "Brier",
        "ECE",
        "coverage",
        "prior",
        "weighted F1",
        "macro",
    ]
    known = legend.get(name, {}).get("expected") is not None
    return not name.rpartition("/")[2].startswith(tuple(minor)) and (
        known or " - " in name or "/" not in name
    )


def measured(name: str) -> str:
    """A page's *Measured* section, plain text: estimates and claims of every stored result of the system."""
    parts = []
    for key, result in results().items():
        if key != name and not key.startswith(name + "-"):
            continue
        legend = result["sections"].get("legend", {})
        parts.append(f"docs/results/{key}.json: mean [95 % interval], closed form where there is one")
        for metric, estimate in result["estimates"].items():
            about = legend.get(metric, {})
            if shown(metric, legend):
                known = "" if about.get("expected") is None else f"  {about['expected']:.3f}"
                parts.append(f"  {metric:<44} {interval(estimate)}{known}")
        for claim in result["claims"]:
            if not claim["evidence"].startswith("no estimate") or key == name:
                parts.append(f"  {claim['verdict']}: {claim['text']} (paper: {claim['paper']})")
    lines = [line for part in parts for line in textwrap.wrap(part, WIDTH, subsequent_indent="    ")]
    return "\n".join(f"    {line}" for line in lines) or "    Nothing yet."


def put(text: str, marker: str, content: str) -> str:
    """`text` with what stands between the markers replaced."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?([ ]*<!-- /{marker} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no <!-- {marker} --> markers")
    return pattern.sub(lambda m: m[1] + content + "\n" + m[2], text)


def pages() -> dict[Path, str]:
    """Every generated file, as it should be."""
    readme = ROOT / "README.md"
    text = put(put(readme.read_text(encoding="utf-8"), "table", table()), "tree", tree())
    wanted = {readme: text}
    for init in sorted(recipe.parent / "__init__.py" for recipe in SRC.glob("systems/*/recipe.py")):
        wanted[init] = put(init.read_text(encoding="utf-8"), "measured", measured(init.parent.name))
    return wanted


def main() -> int:
    """Write, or with --check only compare."""
    stale = [path for path, text in pages().items() if path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run `make docs`")
        return 1 if stale else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
