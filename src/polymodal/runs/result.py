"""What a run found, as one file: the same bytes whether it was killed on the way or not."""

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polymodal.metrics import Estimate
from polymodal.runs.atomic import write_json

PACKAGES = ("polymodal", "numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "soundfile", "av", "torch")
"""Distributions whose version can change a figure; the missing ones are left out."""

ADDITIVE = ("samples", "steps", "macs", "bytes", "calls", "tokens")
"""Columns of the cost table that add up over its rows; parameters of two models do not."""


class RunError(ValueError):
    """A run folder cannot be used as asked; the message says what to do."""


@dataclass(frozen=True)
class Result:
    """The content of `result.json`: nothing in it depends on the clock, the machine's name or a kill.

    Attributes:
        system: the system's name; `title` is the same for people.
        config: the configuration as JSON.
        estimates: the figures by name, in the order to show them.
        claims: rows of text, paper (its own figure), verdict and evidence.
        sections: the report's sections by name.
        fingerprints: digests of the data by name.
        versions: of Python and of the packages whose code makes figures.
        cost: sums of the cost section's additive columns.
        files: bytes and sha256 of the tables and models by relative path.
    """

    system: str
    title: str
    config: Mapping[str, Any]
    estimates: Mapping[str, Estimate]
    claims: Sequence[Mapping[str, str]] = ()
    sections: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, int | float] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write `result.json` into `folder` atomically."""
        fields = {
            "system": self.system,
            "title": self.title,
            "config": dict(self.config),
            "estimates": {name: one.to_json() for name, one in self.estimates.items()},
            "claims": [dict(claim) for claim in self.claims],
            "sections": {name: self.sections[name] for name in sorted(self.sections)},
            "fingerprints": dict(sorted(self.fingerprints.items())),
            "versions": dict(self.versions),
            "cost": dict(self.cost),
            "files": {name: dict(self.files[name]) for name in sorted(self.files)},
        }
        write_json(folder / "result.json", fields)


def read_result(folder: Path) -> Result:
    """Read the result of a finished run.

    Raises:
        RunError: the folder is no run, or its run is not finished.
    """
    folder = Path(folder)
    path = folder / "result.json"
    if not path.exists():
        if (folder / "config.json").exists():
            raise RunError(f"{folder} is not finished: it has no result.json yet; resume it first")
        raise RunError(f"{folder} is not a run folder: it has neither result.json nor config.json")
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["estimates"] = {name: Estimate.from_json(one) for name, one in fields["estimates"].items()}
    return Result(**fields)


def number(folder: Path, system: str) -> int:
    """The n of a folder named `<system>-<n>`; 0 for any other name."""
    name, _, n = folder.name.rpartition("-")
    return int(n) if name == system and n.isdecimal() else 0


def newest(system: str, root: Path = Path("out")) -> Path | None:
    """The finished run of `system` with the highest number under `root`, if there is one."""
    finished = [path.parent for path in Path(root).glob(f"{system}-*/result.json")]
    return max((f for f in finished if number(f, system)), key=lambda f: number(f, system), default=None)


def model_of(folder: Path) -> tuple[str, Path]:
    """The system and the model folder of a run, given the run's folder or the model's own.

    Raises:
        RunError: no run there, or it made no model.
    """
    folder = Path(folder)
    run = (
        folder if (folder / "config.json").exists() and (folder / "events.jsonl").exists() else folder.parent
    )
    model = folder / "model" if run == folder else folder
    if not (run / "events.jsonl").exists():
        raise RunError(f"{folder} is neither a run folder nor a model inside one")
    if not model.is_dir():
        raise RunError(f"{run} made no model: there is no {model}")
    return json.loads((run / "config.json").read_text(encoding="utf-8"))["system"], model


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose code makes figures, without importing any of them."""
    found = {"python": platform.python_version(), "platform": f"{sys.platform}-{platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def total(rows: Iterable[Mapping[str, Any]]) -> dict[str, int | float]:
    """Add up the cost rows' additive columns (samples, steps, macs, bytes, calls, tokens)."""
    sums: dict[str, int | float] = {}
    for row in rows:
        for name in ADDITIVE:
            if isinstance(row.get(name), int | float):
                sums[name] = sums.get(name, 0) + row[name]
    return sums


def inventory(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size in bytes and sha256 (first 32 hex digits) of the files under `names`, by relative path."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        top = folder / name
        for file in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if file.is_file():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()[:32]
                found[file.relative_to(folder).as_posix()] = {"bytes": file.stat().st_size, "sha256": digest}
    return found
