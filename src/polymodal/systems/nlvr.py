"""Cornell NLVR: sentences about drawn pictures, each true or false of its picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from polymodal.media import Image, Invalid, Part, Sample, Text


def nlvr(path: Path) -> Iterator[Sample | Invalid]:
    """Sentences and pictures of a folder with `dev.json` and `images/DIRECTORY/` (Suhr et al. 2017).

    The target is `true` or `false`; the group is what stands before the dash in `identifier`: pictures of one
    sentence. Of a picture's six permutations the first is taken.
    """
    for number, line in enumerate((path / "dev.json").read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            name, group = str(row["identifier"]), str(row["identifier"]).partition("-")[0]
            image = path / "images" / str(row["directory"]) / f"dev-{name}-0.png"
            parts: dict[str, Part] = {"text": Text(row["sentence"], "en"), "image": Image(image)}
            yield Sample(name, parts, row["label"], group, {"language": "en", "pair": name})
        except (ValueError, KeyError, TypeError) as error:
            yield Invalid("", f"dev.json:{number}", "broken", f"{type(error).__name__}: {error}")
