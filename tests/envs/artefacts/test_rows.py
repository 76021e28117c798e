from decimal import Decimal

import numpy as np
import pytest

from polymodal.envs.artefacts import ANALYTES, PageReader, classes_of, draw, rows, signs
from polymodal.envs.artefacts.page import value
from polymodal.envs.artefacts.signs import noise, readable, spot
from polymodal.envs.reading import Line

UNITS = {one.name: one.unit for one in ANALYTES}


def one(text, **words):
    (row,) = rows([Line(text, (10, 20, 200, 36))], **words)
    return row


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Glucose 99 mg/dL 70-99", "in range"),
        ("Glucose 99.1 mg/dL 70 - 99", "high"),
        ("Creatinine 0.59 mg/dL (0.60–1.20) L", "low"),
        ("Platelets22110^9/L 150-400", "in range"),
        ("Sodium 140 mmolL 135-145", "in range"),
        ("Glucose 5,4 mg/dL 3.9-5.5", "unsure"),  # a comma may be a point, or thousands
        ("Glucose 5.4 mg/dL 3,9-5,5", "unsure"),
        ("Glucose 85 mg/dL 70-", "unsure"),
        ("Glucose 85 mg/dL 7O-99", "unsure"),
        ("Glucose 85 mg/dL 99-70", "unsure"),  # reversed
        ("Glucose 85 70-99", "unsure"),  # no unit
        ("Glucose mg/dL 85 70-99", "unsure"),  # unit and value swapped
        ("Glucose 5.4 mmol/L 70-99", "unsure"),  # in another unit than its range
        ("Glucose 85 mmol/L 70-99", "unsure"),  # the unit is not its own
        ("Glucose 85 mg/dL 70-99 12", "unsure"),
    ],
)
def test_a_row_is_held_against_its_range_or_left_unsure(text, state):
    row = one(text, units=UNITS)
    assert row.state == state
    assert (row.text, row.box) == (text, (10, 20, 200, 36))
    assert text.startswith(row.name)


def test_figures_are_exact():
    row = one("Potassium 5.10 mmol/L 3.5-5.1")
    assert (row.value, row.low, row.high) == (Decimal("5.10"), Decimal("3.5"), Decimal("5.1"))
    assert row.state == "in range"


def test_pieces_at_one_height_are_one_row_and_titles_are_none():
    pieces = [
        Line("70-99", (150, 52, 190, 66)),
        Line("Laboratory report", (10, 10, 150, 30)),
        Line("Glucose", (10, 50, 70, 66)),
        Line("Albumin 4.0 g/dL 3.5-5.2", (10, 72, 190, 88)),
        Line("120 mg/dL", (80, 51, 140, 65)),
        Line("For research, not for care", (10, 120, 150, 130)),
    ]
    first, second = rows(pieces)
    assert (first.text, first.state, first.box) == ("Glucose 120 mg/dL 70-99", "high", (10, 50, 190, 66))
    assert (second.name, second.state) == ("Albumin", "in range")


def test_values_are_out_by_the_factor_they_are_drawn_with():
    rng = np.random.default_rng(0)
    for analyte in ANALYTES:
        low, high = Decimal(analyte.low), Decimal(analyte.high)
        for _ in range(20):
            assert low <= Decimal(value(analyte, "", rng)) <= high
            assert Decimal("1.25") < Decimal(value(analyte, "high", rng)) / high < Decimal("2.05")
            assert Decimal("1.2") < low / Decimal(value(analyte, "low", rng)) < Decimal("2.1")


def test_a_page_is_read_by_its_words():
    pytest.importorskip("rapidocr", reason="the extra [ocr] is not installed")
    drawn = draw("page", "glucose high", seed=2)
    reading = PageReader()(drawn.image.pixels())
    assert reading.classes == classes_of("page")
    assert reading.classes[int(np.argmax(reading.q))] == "glucose high"
    assert max(reading.q) > 0.95
    (sign,) = reading.signs
    assert (sign.name, sign.value) == ("Glucose", "high")
    assert sign.quote.startswith("Glucose")
    left, top, right, bottom = drawn.boxes["Glucose"]
    assert np.abs(np.array(sign.box) - (left, top, right, bottom)).max() <= 12


def test_a_posterior_follows_from_what_was_read():
    read = PageReader(slip=0.1)
    texts = ["Hemoglobin 14 g/dL 12.0-16.0", "Leukocytes 7 10^9/L 4.0-10.0", "Glucose 150 mg/dL 70-99"]
    reading = read.judged(rows([Line(t, (0, 20 * i, 99, 20 * i + 16)) for i, t in enumerate(texts)], UNITS))
    # in range in range high; creatinine was not read. One factor a row: .9 where the class fits, else .1
    odds = np.array([0.9 * 0.9 * 0.1, 0.1 * 0.9 * 0.1, 0.9 * 0.1 * 0.1, 0.9 * 0.9 * 0.1, 0.9 * 0.9 * 0.9])
    np.testing.assert_allclose(reading.q, odds / odds.sum(), atol=1e-12)
    assert reading.poor == pytest.approx(5 / 8)
    nothing = read.judged(())
    assert (nothing.q, nothing.signs) == ((), ())
    for table in read.confusion.values():
        np.testing.assert_allclose(table.sum(1), 1)


def test_what_cannot_be_read_is_unsure_not_guessed():
    read = PageReader()
    loud = draw("page", "glucose high", seed=1, poor=True, take=2).image.pixels()
    for image in (np.zeros((0, 0, 3), np.uint8), np.full((270, 360, 3), 255, np.uint8), loud):
        assert read(image).q == ()
        assert read(image).poor > 0.5


def test_noise_is_measured_and_a_spot_is_found():
    rng = np.random.default_rng(0)
    plain = np.full((100, 100, 3), 128.0)
    grain = rng.normal(0, 20, plain.shape[:2])[..., None]
    assert noise((plain + grain).astype(np.uint8)) == pytest.approx(20, rel=0.1)
    assert noise(draw("page", "glucose high", seed=1).image.pixels()) < 1
    drawn = draw("lesion", "round uniform", seed=4)
    assert np.abs(np.array(spot(drawn.image.pixels())) - drawn.boxes["lesion"]).max() <= 5
    assert not readable(drawn.image.pixels(), 256 / 96)
    assert readable(drawn.image.pixels(), 1.0)
    assert not readable("a picture")


def test_a_page_is_read_narrowed_and_once_more_in_full_where_a_row_is_missing(monkeypatch):
    texts = [f"{a.name} {a.low} {a.unit} {a.low} - {a.high}" for a in ANALYTES]
    whole = [Line(text, (40, 20 * k, 200, 20 * k + 16)) for k, text in enumerate(texts)]
    widths, shown = [], {400: whole, 320: whole}

    def read_lines(image):
        widths.append(image.pixels().shape[1])
        return shown[widths[-1]]

    monkeypatch.setattr(signs, "read_lines", read_lines)
    page = np.random.default_rng(0).integers(200, 210, (300, 400, 3)).astype(np.uint8)
    page[::20] = 0
    assert signs._narrowed(page)[0].box == (50, 0, 250, 16)  # in the page's own pixels
    for shown[320], wanted in ((whole, [320]), (whole[1:], [320, 400])):
        widths.clear()
        assert PageReader()(page).poor == pytest.approx(0.01)
        assert widths == wanted
