"""Write the generated parts of the README and of each system's page; `--check` fails where they drifted."""

import ast
import json
import re
import sys
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
    """A system's line in the README table."""
    legend = result["sections"].get("legend", {})
    headline = next(key for key, about in legend.items() if about.get("headline"))
    counts = {"reproduced": 0, "not reproduced": 0, "undetermined": 0}
    for claim in result["claims"]:
        counts[claim["verdict"]] += 1
    verdicts = " · ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
    estimate = result["estimates"][headline]
    label = legend[headline].get("label", headline)
    return f"| `{name}` | {label} | {interval(estimate)} | {estimate['n']:,} | {verdicts} |"


def table() -> str:
    """The README's table of systems."""
    head = "| system | headline | estimate [95 %] | n | claims |\n|---|---|---|---|---|"
    rows = [row(name, result) for name, result in results().items()]
    return "\n".join([head, *rows])


def tree() -> str:
    """The map of the folders: each file with the first line of its docstring."""
    lines = ["```"]
    for folder in ("media", "metrics", "nn", "training", "runs", "systems"):
        first = ast.get_docstring(ast.parse((SRC / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        files = " ".join(sorted(p.stem for p in (SRC / folder).glob("[a-z]*.py")))
        lines += [f"{folder + '/':<10} {first.splitlines()[0]}", *wrapped(files)]
    for name in ("cli.py", "testing.py"):
        first = ast.get_docstring(ast.parse((SRC / name).read_text(encoding="utf-8"))) or ""
        lines.append(f"{name:<10} {first.splitlines()[0]}")
    return "\n".join([*lines, "```"])


def wrapped(words: str) -> list[str]:
    """Words broken into indented lines."""
    lines = [" " * 11]
    for word in words.split():
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append(" " * 11)
        lines[-1] += word + " "
    return [line.rstrip() for line in lines if line.strip()]


def measured(name: str) -> str:
    """A page's *Measured* section, plain text: estimates and claims of every stored result of the system."""
    parts = []
    for key, result in results().items():
        if key != name and not key.startswith(name + "-"):
            continue
        legend = result["sections"].get("legend", {})
        parts.append(
            f"{key}.json, polymodal {result['versions']['polymodal']}: mean [95 % interval], n, closed form"
        )
        for metric, estimate in result["estimates"].items():
            if not legend.get(metric, {}).get("page"):
                continue
            expected = legend[metric].get("expected")
            known = "" if expected is None else f"  {expected:.4f}"
            parts.append(f"  {metric:<44} {interval(estimate):<24} {estimate['n']:>6}{known}")
        parts.append("  Claims:")
        for claim in result["claims"]:
            parts.append(f"  - {claim['verdict']}: {claim['text']}")
            parts.append(f"    paper {claim['paper']}; {claim['evidence']}")
    return "\n".join(parts) or "Nothing yet."


def put(text: str, marker: str, content: str) -> str:
    """`text` with what stands between the markers replaced."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no <!-- {marker} --> markers")
    return pattern.sub(lambda m: m[1] + content + "\n" + m[2], text)


def pages() -> dict[Path, str]:
    """Every generated file, as it should be."""
    readme = ROOT / "README.md"
    text = put(put(readme.read_text(encoding="utf-8"), "table", table()), "tree", tree())
    wanted = {readme: text}
    for init in sorted(SRC.glob("systems/*/__init__.py")):
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
