"""Pictures of medicine as samples: SCIN, PTB-XL and PAD-UFES-20; for research only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
from jaxtyping import Float

from polymodal.envs.cases.rows import RowError, literal, table
from polymodal.media import Image, Invalid, MediaError, Part, Sample
from polymodal.media.part import bytes_of

SCIN = ("case_id", "image_1_path", "image_2_path", "image_3_path", "fitzpatrick_skin_type")
SCIN_LABELS = ("case_id", "weighted_skin_condition_label")
PTBXL = ("ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
PAD = ("patient_id", "lesion_id", "img_id", "diagnostic", "fitspatrick")
SPEED, HEIGHT = 25.0, 10.0  # paper: mm a second, mm a millivolt
DENSE = 4  # pixels a mm
TALL = 40  # mm of paper
LONGEST = 60.0  # seconds of a record

Rows = Iterator[Sample | Invalid]


def scin(path: Path) -> Rows:
    """SCIN: a sample a case, one to three photos; the target is the label of the greatest weight.

    Pictures that occur in several cases make one group of them, so that a split by group does not tear them
    apart. A case without labels has no target.

    Args:
        path: folder with scin_cases.csv and scin_labels.csv; the photos lie where the table says, from there
            or from the folder above.

    Raises:
        ValueError: a column is not there, by name.
        MediaError: no such file.
    """
    labels: dict[str, dict[str, Any] | RowError] = {}
    for _, row in table(path / "scin_labels.csv", SCIN_LABELS):
        if not isinstance(row, RowError):
            try:
                labels[row["case_id"]] = literal(row, "weighted_skin_condition_label", dict)
            except RowError as error:
                labels[row["case_id"]] = error
    found = list(table(path / "scin_cases.csv", SCIN))
    groups = _groups(path, [row for _, row in found if not isinstance(row, RowError)])
    for number, row in found:
        where = f"scin_cases.csv:{number}"
        weights = row if isinstance(row, RowError) else labels.get(row["case_id"], {})
        if isinstance(row, RowError) or isinstance(weights, RowError):
            fault = row if isinstance(row, RowError) else weights
            assert isinstance(fault, RowError)
            yield Invalid(
                "" if isinstance(row, RowError) else row["case_id"], where, fault.reason, fault.detail
            )
            continue
        name = row["case_id"]
        photos = [row[column] for column in SCIN[1:4] if row[column]]
        parts: dict[str, Part] = {
            "image" if n == 0 else f"image_{n + 1}": Image(_beside(path, photo))
            for n, photo in enumerate(photos)
        }
        numbers = {label: float(w) for label, w in weights.items() if isinstance(w, int | float)}
        target = max(numbers, key=numbers.__getitem__) if numbers else None
        if parts:
            yield Sample(name, parts, target, groups[name], {"tone": row["fitzpatrick_skin_type"]})
        else:
            yield Invalid(name, where, "missing", "no photo")


def _beside(path: Path, photo: str) -> Path:
    """Where a photo of the table lies; the table's own place for one that leads out of the folder."""
    for root in (path, path.parent):
        file = root / photo
        if file.is_file() and file.resolve().is_relative_to(root.resolve()):
            return file
    return path / Path(photo).name


def _groups(path: Path, rows: list[dict[str, str]]) -> dict[str, str]:
    """Cases by the first case that they share a picture with, through any number of others."""
    above = {row["case_id"]: row["case_id"] for row in rows}

    def first(name: str) -> str:
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    owner: dict[str, str] = {}
    for row in rows:
        for column in SCIN[1:4]:
            if row[column]:
                try:
                    digest = Image(_beside(path, row[column])).digest()
                except MediaError:
                    continue
                above[first(row["case_id"])] = first(owner.setdefault(digest, row["case_id"]))
    return {name: first(name) for name in above}


def ptbxl(path: Path, *, fast: bool = False) -> Rows:
    """PTB-XL: lead II of each record drawn on paper (25 mm/s, 10 mm/mV); a patient is a group.

    Folds 1 to 8 are tagged train, 9 val, 10 test. The target is the code of the greatest likelihood, the
    first of equal ones; with scp_statements.csv beside it, the diagnostic class of the greatest among those
    that have one.

    Args:
        path: folder with ptbxl_database.csv and the records.
        fast: draw the 500 Hz records instead of those of 100 Hz.

    Raises:
        ValueError: a column is not there, by name.
        MediaError: no such file.
    """
    classes = None
    if (path / "scp_statements.csv").is_file():
        named = table(path / "scp_statements.csv", ("", "diagnostic_class"))
        classes = {row[""]: row["diagnostic_class"] for _, row in named if isinstance(row, dict)}
    for number, row in table(path / "ptbxl_database.csv", PTBXL):
        name = "" if isinstance(row, RowError) else row["ecg_id"]
        try:
            if isinstance(row, RowError):
                raise row
            codes = literal(row, "scp_codes", dict)
            if classes is not None:
                codes = {code: p for code, p in codes.items() if classes.get(code)}
            code = max(codes, key=codes.__getitem__) if codes else None
            fold = int(float(row["strat_fold"]))
            split = {9: "val", 10: "test"}.get(fold, "train")
            record = path / row["filename_hr" if fast else "filename_lr"]
            image = Image(Image(_paper(*_lead(record, path))).encoded())  # as PNG, a twentieth of the size
            target = classes[code] if classes and code else code
            patient = row["patient_id"].removesuffix(".0")
            yield Sample(name, {"image": image}, target, patient, {"split": split, "fold": str(fold)})
        except (RowError, MediaError) as error:
            detail = error.detail if isinstance(error, RowError) else str(error)
            yield Invalid(name, f"ptbxl_database.csv:{number}", error.reason, detail)
        except (ValueError, TypeError, IndexError) as error:
            yield Invalid(name, f"ptbxl_database.csv:{number}", "broken", str(error)[:200])


def _lead(record: Path, root: Path) -> tuple[Float[np.ndarray, " t"], float]:
    """Lead II (else the first) of a WFDB record of format 16: millivolts, and samples a second."""
    if not record.resolve().is_relative_to(root.resolve()):
        raise RowError("path", f"{record}: a path inside {root} is wanted")
    head, *rest = bytes_of(record.with_name(record.name + ".hea")).decode("ascii", "replace").splitlines()
    words, signals = head.split(), [line.split() for line in rest if line and line[0] != "#"]
    if len(words) < 4 or len(signals) < int(words[1]) or int(words[1]) < 1:
        raise RowError("broken", f"{record.name}.hea: no WFDB header")
    n, rate = int(words[1]), float(words[2].split("/")[0])
    lead = next((i for i, one in enumerate(signals[:n]) if one[-1].upper() == "II"), 0)
    gain = re.match(r"(-?[\d.]+)(?:\((-?\d+)\))?", signals[lead][2])
    if any(one[1] != "16" for one in signals[:n]) or not gain or not float(gain[1]):
        raise RowError("unsupported", f"{record.name}.hea: only format 16 with a gain is read")
    data = bytes_of(record.with_name(record.name + ".dat"))
    seconds = len(data) / (2 * n * rate) if 1 <= rate <= 100_000 else np.inf
    if len(data) % (2 * n) or seconds > LONGEST:
        found = f"{len(data):,} bytes of {n} leads at {rate:g} Hz"
        raise RowError("broken", f"{record.name}.dat: {found}; up to {LONGEST:g} s of whole rows are wanted")
    values = np.frombuffer(data, "<i2").reshape(-1, n)[:, lead].astype(np.float64)
    zero = float(gain[2] if gain[2] is not None else signals[lead][4])
    return (values - zero) / float(gain[1]), rate


def _paper(volts: Float[np.ndarray, " t"], rate: float) -> np.ndarray:
    """A trace on millimetre paper, "h w 3" of uint8; what leaves the paper is cut at its edge."""
    width, height = int(len(volts) / rate * SPEED * DENSE) + 1, TALL * DENSE
    sheet = PIL.Image.new("RGB", (width, height), (255, 250, 246))
    pen = PIL.ImageDraw.Draw(sheet)
    for mm in range(max(width, height) // DENSE + 1):
        colour = (236, 160, 150) if mm % 5 == 0 else (250, 222, 214)
        pen.line([(mm * DENSE, 0), (mm * DENSE, height)], fill=colour)
        pen.line([(0, mm * DENSE), (width, mm * DENSE)], fill=colour)
    across = np.arange(len(volts)) / rate * SPEED * DENSE
    down = np.clip(height / 2 - volts * HEIGHT * DENSE, 0, height - 1)
    pen.line(list(zip(across.tolist(), down.tolist(), strict=True)), fill=(20, 20, 30), width=2)
    return np.asarray(sheet)


def pad(path: Path) -> Rows:
    """PAD-UFES-20: a sample a photo, the target its diagnosis; a patient is a group.

    Args:
        path: folder with metadata.csv; photos lie in it or in folders below.

    Raises:
        ValueError: a column is not there, by name.
        MediaError: no such file.
    """
    photos = {file.name: file for file in sorted(path.rglob("*.png"))}
    for number, row in table(path / "metadata.csv", PAD):
        where = f"metadata.csv:{number}"
        if isinstance(row, RowError):
            yield Invalid("", where, row.reason, row.detail)
            continue
        name = Path(row["img_id"]).name
        tags = {"lesion": row["lesion_id"], "tone": row["fitspatrick"]}
        image = Image(photos.get(name, path / name))
        yield Sample(name, {"image": image}, row["diagnostic"] or None, row["patient_id"], tags)


SETS = {"scin_cases.csv": scin, "ptbxl_database.csv": ptbxl, "metadata.csv": pad}
