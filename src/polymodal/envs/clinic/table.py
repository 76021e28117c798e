"""A clinic's tables, checked; and the cases that come to it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from polymodal.media import Image

UNSURE = "not sure"  # what a patient may say to any question; what a reading that failed amounts to
EXACT = 1e-6  # by which a sum of probabilities may miss 1
SHORT = 6  # letters of a name below which it is looked for as words: `als` is in `also`
_ASIDE = re.compile(r"\([^()]*\)")


def squeeze(text: str) -> str:
    """Letters and digits alone, lower-case, accents off."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).lower()))


def normalise(name: str) -> str:
    """A diagnosis's name for comparing: what stands in parentheses removed, then as `squeeze`."""
    return squeeze(_ASIDE.sub(" ", name)) or squeeze(name)


def betrays(text: str, diagnosis: str, *, short: bool = True) -> bool:
    """Whether a text names a diagnosis, however written.

    Args:
        text: what is said.
        diagnosis: its name; what stands in parentheses is no part of it.
        short: look for the abbreviation in its parentheses as well.
    """
    words = [squeeze(word) for word in re.split(r"[\W_]+", text)]
    if short and any(squeeze(word) in words for word in re.findall(r"\(([A-Z]{2,}s?)\)", diagnosis)):
        return True
    name = normalise(diagnosis)
    if len(name) >= SHORT:
        return name in "".join(words)
    parts = [squeeze(word) for word in re.split(r"[\W_]+", _ASIDE.sub(" ", diagnosis)) if squeeze(word)]
    return bool(parts) and any(words[at : at + len(parts)] == parts for at in range(len(words)))


def unknown(given: str, known: Iterable[str]) -> str:
    """`'x' is not known; did you mean 'y'?`, for a name that a file or a person gives."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=1)
    if near:
        return f"{given!r} is not known; did you mean {near[0]!r}?"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{given!r} is not known; known: {', '.join(names[:10]) or 'none'}{more}"


@dataclass(frozen=True, slots=True)
class Disease:
    """What may be the matter. `severity` 1 is the worst (as in DDXPlus), 0 unknown."""

    name: str
    prior: float
    severity: int = 0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What can be asked.

    Attributes:
        name: of the finding, as in cases.
        question: as it is put to a patient.
        values: that it may have, besides UNSURE.
        cost: of asking, in questions.
        guards: diseases for which it is a red flag; none for most.
    """

    name: str
    question: str
    values: tuple[str, ...] = ("yes", "no")
    cost: float = 1.0
    guards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Artefact:
    """A kind of thing that a patient can show (lesion, trace, page), and the classes it falls in."""

    kind: str
    classes: tuple[str, ...]
    cost: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Clinic:
    """Diseases, findings and artefacts, and how often each shows.

    Attributes:
        diseases: in the order of the tables' rows.
        findings: in the order of the tables' columns.
        artefacts: by order; their tables are in `shows`.
        answers: P(answer s | disease d) of finding j. Answers are in the order of `Finding.values`; the last
            row s is UNSURE; where a finding has fewer values, the rows between are 0. Sums to 1 over s.
        shows: by kind, P(class c | disease d). Sums to 1 over c.

    Raises:
        ValueError: names given twice (aliases too), probabilities outside [0, 1], priors or rows that do not
            sum to 1 (within 1e-6), tables of another shape: named by disease and finding.
    """

    diseases: tuple[Disease, ...]
    findings: tuple[Finding, ...]
    artefacts: tuple[Artefact, ...]
    answers: Float[np.ndarray, "s d j"]
    shows: Mapping[str, Float[np.ndarray, "d c"]]
    _rows: dict[str, int] = field(init=False, repr=False)
    _columns: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", _rows(self.diseases))
        object.__setattr__(self, "_columns", _columns(self.findings))
        for finding in self.findings:
            for name in finding.guards:
                if normalise(name) not in self._rows:
                    known = unknown(name, (one.name for one in self.diseases))
                    raise ValueError(f"finding {finding.name!r} is a red flag of a disease that {known}")
        kinds = [one.kind for one in self.artefacts]
        if len(set(kinds)) < len(kinds) or set(kinds) != set(self.shows):
            raise ValueError(f"artefacts {kinds} and tables {list(self.shows)}: one table a kind is wanted")
        _priors(self.diseases)
        _answers(self)
        for one in self.artefacts:
            _shows(self, one)

    @property
    def prior(self) -> Float[np.ndarray, " d"]:
        """P(disease)."""
        return np.array([one.prior for one in self.diseases])

    def index(self, disease: str) -> int:
        """The row of a disease by its name or an alias, however written.

        Raises:
            LookupError: none of that name; the message names the nearest.
        """
        row = self._rows.get(normalise(disease))
        if row is None:
            raise LookupError(f"disease {unknown(disease, (one.name for one in self.diseases))}")
        return row

    def column(self, finding: str) -> int:
        """The column of a finding by its name, in any case.

        Raises:
            LookupError: none of that name; the message names the nearest.
        """
        column = self._columns.get(finding.strip().casefold())
        if column is None:
            raise LookupError(f"finding {unknown(finding, (one.name for one in self.findings))}")
        return column


def _rows(diseases: tuple[Disease, ...]) -> dict[str, int]:
    """Rows by normalised name and alias."""
    if not diseases:
        raise ValueError("a clinic has at least one disease")
    rows: dict[str, int] = {}
    for row, disease in enumerate(diseases):
        for name in (disease.name, *disease.aliases):
            other = rows.setdefault(normalise(name), row)
            if not normalise(name):
                raise ValueError(f"disease {disease.name!r}: the name {name!r} has no letter and no digit")
            if other != row:
                raise ValueError(
                    f"disease {disease.name!r}: its name or alias {name!r} is one of disease "
                    f"{diseases[other].name!r} too, once written alike ({normalise(name)!r})"
                )
    return rows


def _columns(findings: tuple[Finding, ...]) -> dict[str, int]:
    """Columns by name, cases folded."""
    columns: dict[str, int] = {}
    for column, finding in enumerate(findings):
        if not finding.name.strip() or columns.setdefault(finding.name.strip().casefold(), column) != column:
            raise ValueError(f"finding {finding.name!r}: the name is empty or given twice")
        if not finding.values or len({*finding.values, UNSURE}) <= len(finding.values):
            raise ValueError(
                f"finding {finding.name!r}: values {finding.values}; some are wanted, each once, without "
                f"{UNSURE!r}, which every finding has"
            )
        if not 0 <= finding.cost < np.inf:
            raise ValueError(f"finding {finding.name!r}: cost {finding.cost!r}; at least 0 is wanted")
    return columns


def _priors(diseases: tuple[Disease, ...]) -> None:
    for disease in diseases:
        if not 0 <= disease.prior <= 1:
            raise ValueError(f"disease {disease.name!r}: prior {disease.prior!r} is outside [0, 1]")
    total = sum(disease.prior for disease in diseases)
    if abs(total - 1) > EXACT:
        raise ValueError(f"the priors of {len(diseases)} diseases sum to {total:g}, not to 1")


def _answers(clinic: Clinic) -> None:
    most = max((len(one.values) for one in clinic.findings), default=0) + 1
    wanted = (most, len(clinic.diseases), len(clinic.findings))
    if clinic.answers.shape != wanted:
        raise ValueError(
            f"answers have the shape {clinic.answers.shape}; values + 1 x diseases x findings is {wanted}"
        )
    used = np.array([len(one.values) for one in clinic.findings])
    blank = (np.arange(most)[:, None] >= used) & (np.arange(most)[:, None] < most - 1)
    outside = ~((clinic.answers >= 0) & (clinic.answers <= 1))  # NaN too
    totals = clinic.answers.sum(0)
    for bad, what in (
        (outside.any(0), "a probability outside [0, 1]"),
        ((blank[:, None] & (clinic.answers != 0)).any(0), "a chance for an answer that it does not have"),
        (np.abs(totals - 1) > EXACT, "chances that do not sum to 1"),
    ):
        if bad.any():
            d, j = np.argwhere(bad)[0]
            said = ", ".join(f"{p:g}" for p in clinic.answers[:, d, j])
            where = f"disease {clinic.diseases[d].name!r}, finding {clinic.findings[j].name!r}"
            raise ValueError(f"{where}: {what} ({said}; the last is {UNSURE!r})")


def _shows(clinic: Clinic, one: Artefact) -> None:
    table, wanted = clinic.shows[one.kind], (len(clinic.diseases), len(one.classes))
    if len(set(one.classes)) < len(one.classes) or not one.classes or table.shape != wanted:
        raise ValueError(
            f"artefact {one.kind!r}: classes {one.classes} (each once), a table of shape {table.shape}; "
            f"diseases x classes is {wanted}"
        )
    bad = ~((table >= 0) & (table <= 1)).all(1) | (np.abs(table.sum(1) - 1) > EXACT)
    if bad.any():
        d = int(np.argmax(bad))
        said = ", ".join(f"{p:g}" for p in table[d])
        raise ValueError(
            f"disease {clinic.diseases[d].name!r}, artefact {one.kind!r}: no chances that sum to 1 ({said})"
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """One take of an artefact.

    Attributes:
        image: what the doctor sees; None where the take could not be made, told as "could not be read".
        truth: its class, for scoring only; "" where it is not known.
        poor: whether the take is of poor quality, for scoring only; None where it is not known.
    """

    image: Image | None
    truth: str = ""
    poor: bool | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A patient.

    Attributes:
        id: of the case, unique in its set.
        diagnosis: what is the matter; never told.
        initial: the complaint, as the patient opens with it.
        complaint: the finding that `initial` tells of, where it is one of the table.
        findings: the patient's answer to each finding of a table, a value or UNSURE.
        artefacts: by kind, the takes in order: a retake is answered with the next one.
        told: by section (history, symptoms, social, …), the sentences that a written case gives the patient.
        results: by name, what tests and examinations found, in words; told to the doctor on request.
        group: what must not be split: cases of one diagnosis, or one patient's visits.
        split: train, val, test or "".
        differential: a reference differential, where there is one.
        tags: anything else that is known: skin tone, department, leak.
    """

    id: str
    diagnosis: str
    initial: str
    complaint: str = ""
    findings: Mapping[str, str] = field(default_factory=dict)
    artefacts: Mapping[str, tuple[Shown, ...]] = field(default_factory=dict)
    told: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    split: str = ""
    differential: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
