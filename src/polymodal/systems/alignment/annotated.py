"""Pictures in other people's files: FineHARD, FG-OVD, COCO, captions, NLVR, folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np

from polymodal.media import Image, Invalid, MediaError, Text, folder
from polymodal.systems.alignment.pictures import (
    Option,
    Picture,
    Region,
    Split,
    broken,
    checked,
    distinct,
    lines,
    marked,
)

Rows = Iterator[Picture | Invalid]
LAYOUTS = {
    "polymodal": "samples.jsonl with image, long, short, and target: a list of box, phrase, negatives",
    "finehard": "a JSON list of f_path, caption, short_caption, bbox_info (FineHARD)",
    "fgovd": "JSON lines of img_path, bbox, pos_expression, neg_expression, width, height (FG-OVD)",
    "retrieval": "JSON lines of filename and caption, a list (retrieval)",
    "coco": "a JSON object of images, annotations, categories (COCO instances)",
    "nlvr": "dev.json and images/DIRECTORY/ (NLVR): its panels as real regions",
    "folder": "samples.jsonl or Parquet shards with an image and a text (captions alone)",
}
SIZES, NAMED = {10: "small", 20: "medium", 30: "large"}, {"#0099ff": "blue"}
KINDS = ("circle", "square", "triangle"), ("yellow", "black", "blue")
PATCH = 1 / 14  # of the side, of a common encoder
PANEL, PITCH = 100, 150  # NLVR: three panels of 100 px, one each 150 px
CAPTION = ("long", "text", "caption")


def pictures(path: Path) -> Rows:
    """Pictures of whatever lies at `path`, and the rows that could not be read.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, with those that are known.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if (path / "dev.json").is_file() and (path / "images").is_dir():
        return nlvr(path)
    files = [path] if path.is_file() else sorted([*path.glob("*.jsonl"), *path.glob("*.json")])
    for file in files:
        if found := _layout(file):
            return found
    if path.is_dir() and (any(path.glob("samples*.jsonl")) or any(path.glob("*.parquet"))):
        return captions(path)
    known = "\n  ".join(LAYOUTS.values())
    raise ValueError(f"{path}: no known layout. Known layouts:\n  {known}")


@lru_cache(maxsize=2)
def usable(path: str) -> tuple[tuple[Picture, ...], tuple[Invalid, ...]]:
    """Pictures that can be opened, small regions marked, and what cannot be used. Raises as `pictures`."""
    kept, lost = [], []
    for row in pictures(Path(path)):
        if isinstance(row, Invalid):
            lost.append(row)
            continue
        try:
            row.image.size()
        except MediaError as error:
            lost.append(Invalid(row.id, row.id, error.reason, str(error)))
        else:
            kept.append(row)
    return tuple(marked(kept, PATCH)), tuple(lost)


def parted(
    path: str, split: str, *, whole: bool, seed: int
) -> tuple[Sequence[Picture], list[dict[str, Any]]]:
    """The pictures of a split, and what was left out, by reason.

    Where no picture names its split, every fifth group is for the test, or all are.

    Args:
        path: in any of `LAYOUTS`.
        split: `train` or `test`.
        whole: nothing is trained, so that all unnamed pictures are for the test.
        seed: of the draw of groups.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: no known layout, no usable picture, or one in train and test (a leak).
    """
    if not path:
        raise ValueError("give data: -o data=PATH; layouts:\n  " + "\n  ".join(LAYOUTS.values()))
    kept, lost = usable(path)
    if not kept:
        raise ValueError(f"{path}: no usable picture" + (f"; first fault: {lost[0].detail}" if lost else ""))
    groups = sorted({one.group for one in kept})
    drawn = set(np.random.default_rng(seed).permutation(groups)[: -(-len(groups) // 5)].tolist())
    named = any(one.split for one in kept)

    def where(one: Picture) -> str:
        tested = whole or (one.group in drawn and not named)
        return one.split or ("test" if tested else "train")

    found = [one for one in kept if where(one) == split]
    if split == "test" and not whole:
        train = {one.image.digest() for one in kept if where(one) == "train"}
        if leaks := [one.id for one in found if one.image.digest() in train]:
            raise ValueError(f"leak: {len(leaks)} pictures are in train and test, first {leaks[0]!r}")
    if not found:
        raise ValueError(f"{path}: no picture for {split}")
    return found, counted(lost)


def counted(lost: Iterable[Invalid]) -> list[dict[str, Any]]:
    """What was left out, by reason, as rows of a report's section `invalid`."""
    found: dict[str, list[Invalid]] = {}
    for one in lost:
        found.setdefault(one.reason, []).append(one)
    first = {reason: f"{many[0].where}: {many[0].detail}" for reason, many in found.items()}
    return [{"reason": reason, "n": len(found[reason]), "first": first[reason]} for reason in sorted(found)]


def _layout(file: Path) -> Rows | None:
    """The reader of a file by its first bytes, if it is one of ours."""
    with file.open(encoding="utf-8-sig", errors="replace") as opened:
        head = opened.read(20_000)
    if file.suffix == ".json":
        if '"bbox_info"' in head or '"f_path"' in head:
            return finehard(file)
        return coco(file) if head.lstrip().startswith("{") and '"images"' in head else None
    row = next((row for _, row in lines(file) if isinstance(row, dict)), {})
    if "pos_expression" in row:
        return fgovd(file)
    if {"filename", "caption"} <= row.keys():
        return retrieval(file)
    return polymodal(file) if isinstance(row.get("target"), list) else None


def _place(file: Path, name: str) -> Path:
    """Where a picture named in `file` lies: beside it, or in images/ beside it."""
    for place in (file.parent / name, file.parent / "images" / name):
        if place.is_file():
            return place
    return file.parent / name


def _regions(rows: Iterable[Any], where: str, make: Callable[[Any, str], Region]) -> list[Region | Invalid]:
    found: list[Region | Invalid] = []
    for i, row in enumerate(rows):
        at = f"{where} region {i}"
        try:
            found.append(make(row, at))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            found.append(broken(at, str(error) if isinstance(error, ValueError) else error))
    return found


def _picture(where: str, regions: Iterable[Region | Invalid], **fields: Any) -> Rows:
    """A picture with those of its regions that can be used, behind those that cannot."""
    regions = list(regions)
    yield from (one for one in regions if isinstance(one, Invalid))
    yield Picture(regions=tuple(one for one in regions if isinstance(one, Region)), **fields)


def polymodal(file: Path) -> Rows:
    """Our own rows; negatives are texts, or [text, what was changed]."""

    def region(row: Mapping[str, Any], where: str) -> Region:
        told = [one if isinstance(one, list) else [one, ""] for one in row.get("negatives", ())]
        options = distinct(row["phrase"], (Option(str(text), str(change)) for text, change in told))
        sets = {"hard": options} if options else {}
        return Region(checked(row["box"], where), str(row["phrase"]), sets, str(row.get("label") or ""))

    for number, row in lines(file):
        where = f"{file.name}:{number}"
        if isinstance(row, str) or not row.get("image"):
            yield broken(where, row if isinstance(row, str) else "no image")
            continue
        name, short = str(row.get("id") or number), row.get("short") or ()
        yield from _picture(
            where, _regions(row.get("target") or (), where, region), id=name,
            group=str(row.get("group") or name), image=Image(_place(file, row["image"])),
            long=str(row.get("long") or ""), short=(short,) if isinstance(short, str) else tuple(short),
            split=_split(row.get("split") or (row.get("tags") or {}).get("split")),
        )  # fmt: skip


def _split(name: Any) -> Split:
    return name if name in ("train", "val", "test") else ""


def finehard(file: Path) -> Rows:
    """FineHARD's list: boxes with scores, short expressions, negatives by number."""

    def region(row: Mapping[str, Any], where: str) -> Region:
        phrase = row.get("short_expr") or row["long_expr"]
        told = row.get("short_expr_negs") or {}
        texts = told.values() if isinstance(told, Mapping) else told
        options = distinct(phrase, (Option(str(text)) for text in texts))
        return Region(checked(row["bbox"][:4], where), phrase, {"hard": options} if options else {})

    for number, row in enumerate(json.loads(file.read_text("utf-8-sig"))):
        where = f"{file.name}[{number}]"
        if not isinstance(row, dict) or not row.get("f_path"):
            yield broken(where, "no f_path")
            continue
        short = row.get("short_caption") or ""
        yield from _picture(
            where, _regions(row.get("bbox_info") or (), where, region), id=str(row["f_path"]),
            group=str(row["f_path"]), image=Image(_place(file, row["f_path"])),
            long=row.get("caption") or "", short=(short,) if short else (),
        )  # fmt: skip


def fgovd(file: Path) -> Rows:
    """FG-OVD's rows, those of one picture together; a doubled positive stays, and is a tie."""

    def region(row: Mapping[str, Any], where: str) -> Region:
        x, y, w, h = row["bbox"]
        phrase = row["pos_expression"][0]
        options = tuple(Option(text) for text in row["neg_expression"])
        box = checked([x, y, x + w, y + h], where, float(row["width"]), float(row["height"]))
        return Region(box, phrase, {str(row.get("test_type") or "hard"): options})

    good = [(n, row) for n, row in lines(file) if isinstance(row, dict) and row.get("img_path")]
    good.sort(key=lambda pair: str(pair[1]["img_path"]))
    for name, rows in groupby(good, key=lambda pair: str(pair[1]["img_path"])):
        found = [one for n, row in rows for one in _regions([row], f"{file.name}:{n}", region)]
        yield from _picture(name, found, id=name, group=name, image=Image(_place(file, name)), split="test")


def retrieval(file: Path) -> Rows:
    """Pictures with about five captions each."""
    for number, row in lines(file):
        if isinstance(row, str) or not row.get("filename"):
            yield broken(f"{file.name}:{number}", row if isinstance(row, str) else "no filename")
            continue
        told = row.get("caption") or ()
        name = str(row["filename"])
        said = (told,) if isinstance(told, str) else tuple(str(text) for text in told)
        yield Picture(name, name, Image(_place(file, name)), short=said)


def coco(file: Path) -> Rows:
    """COCO's boxes: each a region whose class is its category; crowds are left out."""
    whole = json.loads(file.read_text("utf-8-sig"))
    names = {one["id"]: str(one["name"]) for one in whole.get("categories", ())}
    boxes: dict[Any, list[Any]] = {}
    for row in whole.get("annotations", ()):
        if not row.get("iscrowd"):
            boxes.setdefault(row.get("image_id"), []).append(row)

    def region(row: Mapping[str, Any], where: str, about: Mapping[str, Any]) -> Region:
        x, y, w, h = row["bbox"]
        box = checked([x, y, x + w, y + h], where, float(about["width"]), float(about["height"]))
        name = names[row["category_id"]]
        return Region(box, name, label=name)

    for about in whole["images"]:
        where, name = f"{file.name} image {about.get('id')}", str(about["file_name"])
        found = _regions(boxes.get(about["id"], ()), where, partial(region, about=about))
        yield from _picture(where, found, id=name, group=name, image=Image(_place(file, name)))


def captions(path: Path) -> Rows:
    """A plain folder of pictures and texts: the global term alone."""
    for row in folder.read(path):
        if isinstance(row, Invalid):
            yield row
            continue
        image = next((part for part in row.parts.values() if isinstance(part, Image)), None)
        said = {k: part.read() for k, part in row.parts.items() if isinstance(part, Text)}
        if image is None or not said:
            yield Invalid(row.id, f"sample {row.id}", "excluded", "an image and a text are needed")
            continue
        long = next((said[key] for key in CAPTION if key in said), "")
        short = said.get("short") or next(iter(said.values()))
        split = _split(row.tags.get("split"))
        yield Picture(row.id, row.group or row.id, image, long, (short,), split=split)


def nlvr(path: Path) -> Rows:
    """Each panel one picture, each of its objects a region; rivals differ in one attribute, or are all 26.

    The group is what stands before the dash in `identifier`: pictures of one sentence.
    """
    seen: set[str] = set()
    for number, row in lines(path / "dev.json"):
        where = f"dev.json:{number}"
        try:
            if isinstance(row, str):
                raise ValueError(row)
            name, panels = str(row["identifier"]), row["structured_rep"]
            file = path / "images" / str(row["directory"]) / f"dev-{name}-0.png"
            pixels = Image(file).pixels()
        except (MediaError, ValueError, KeyError, TypeError) as error:
            yield broken(where, error)
            continue
        for i, objects in enumerate(panels if name not in seen else ()):
            at = f"{where} panel {i}"
            image = Image(np.ascontiguousarray(pixels[:, i * PITCH : i * PITCH + PANEL]))
            found = _regions(objects, at, _object)
            yield from _picture(at, found, id=f"{name}-{i}", group=name.partition("-")[0], image=image)
        seen.add(name)


def _object(row: Mapping[str, Any], where: str) -> Region:
    x, y, side = row["x_loc"], row["y_loc"], row["size"]
    colour = NAMED.get(row["color"], str(row["color"]).lower())
    kind, size = str(row["type"]), SIZES[side]
    box = checked([x, y, x + side, y + side], where, PANEL, PANEL)
    mine = (size, colour, kind)

    def changed(words: Iterable[str]) -> str:
        pairs = zip(("size", "colour", "shape"), words, mine, strict=True)
        return "+".join(what for what, theirs, ours in pairs if theirs != ours)

    others = [words for words in product(SIZES.values(), *KINDS[::-1]) if words != mine]
    every = tuple(Option(_said(words), changed(words)) for words in others)
    near = tuple(option for option in every if "+" not in option.changed)
    return Region(box, _said(mine), {"near": near, "all": every}, _said(mine), f"size {side}")


def _said(words: Iterable[str]) -> str:
    return "a " + " ".join(words)
