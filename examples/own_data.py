"""Turn your own files into a data set. Run: python examples/own_data.py SOURCE TO.

SOURCE is either
* a folder with labels.csv (columns `id`, and any of `label`, `group`, `split`, `text`) and media anywhere
  below it: every file named like an id (u1.wav, faces/u1.png) becomes a part of that sample; or
* a folder of folders of media, each named by its class: cats/1.png, dogs/1.png.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from polymodal.media import MediaError, Sample, Text, part_of
from polymodal.media.check import check
from polymodal.runs import write


def labelled(source: Path) -> Iterator[Sample]:
    """One sample a row of labels.csv, with the files that carry its id."""
    files: dict[str, list[Path]] = {}
    for path in sorted(path for path in source.rglob("*.*") if path.is_file()):
        files.setdefault(path.stem, []).append(path)
    with (source / "labels.csv").open(newline="", encoding="utf-8-sig") as table:
        for row in csv.DictReader(table):
            parts = {part.kind: part for part in map(part_of, files.get(row["id"], []))}
            if row.get("text"):
                parts["text"] = Text(row["text"])
            tags = {"split": row["split"]} if row.get("split") else {}
            yield Sample(row["id"], parts, row.get("label") or None, row.get("group") or None, tags)


def by_folder(source: Path) -> Iterator[Sample]:
    """One sample a file, its folder the class."""
    for path in sorted(source.glob("*/*.*")):
        part = part_of(path)
        yield Sample(f"{path.parent.name}/{path.name}", {part.kind: part}, path.parent.name)


def main(source: Path, to: Path) -> None:
    """Write, read back, check."""
    samples = labelled if (source / "labels.csv").is_file() else by_folder
    print(f"{write(samples(source), to)} samples written to {to}")
    findings, summary = check(to)
    for name, part in summary.parts.items():
        print(f"{name}: {part.readable} of {part.n} readable, {dict(part.kinds)}")
    for finding in findings:
        print(
            f"{finding.severity}: {finding.kind} in {finding.where}, {finding.n} times, {finding.evidence[0]}"
        )
    print(f"next: polymodal data check {to}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (MediaError, FileExistsError) as error:
        sys.exit(f"error: {error}")
