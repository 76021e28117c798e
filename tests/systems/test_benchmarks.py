"""Benchmark tables and short answers: pictures in base64, references to other rows, what cannot be read."""

import base64

import numpy as np
import pytest

from polymodal.media import Image, Invalid, Sample
from polymodal.systems.benchmarks import answer_of, table

PICTURE = base64.b64encode(Image(np.full((6, 8, 3), 90, np.uint8)).encoded()).decode()
HEAD = "index\timage\tquestion\tanswer\tA\tB\tcategory\n"


def read(tmp_path, text):
    path = tmp_path / "table.tsv"
    path.write_text(text, encoding="utf-8")
    return list(table(path))


def test_rows_become_samples_and_a_number_stands_for_another_rows_picture(tmp_path):
    rows = read(tmp_path, HEAD + f"7\t{PICTURE}\twhich?\tB\tone\ttwo\tmath\n8\t7\thow many?\t3\t\t\t\n")
    assert all(isinstance(row, Sample) for row in rows)
    assert [row.target for row in rows] == ["B", "3"]
    assert [row.tags for row in rows] == [{"set": "math", "choices": "AB"}, {"set": "all", "choices": ""}]
    assert rows[0].parts["prompt"].read() == "which?\nA. one\nB. two\nAnswer with the letter."
    assert rows[1].parts["image"].digest() == rows[0].parts["image"].digest()


@pytest.mark.parametrize("cell", ["", "%%%", base64.b64encode(b"no picture").decode(), "99"])
def test_a_row_without_its_picture_is_invalid_and_the_others_stay(tmp_path, cell):
    first, second = read(tmp_path, HEAD + f"1\t{cell}\tq\ta\t\t\t\n2\t{PICTURE}\tq\ta\t\t\t\n")
    assert isinstance(first, Invalid)
    assert (first.id, first.reason) == ("1", "broken")
    assert first.where.endswith("table.tsv:2")
    assert isinstance(second, Sample)


def test_a_table_without_a_column_says_which(tmp_path):
    with pytest.raises(ValueError, match=r"no column answer, question"):
        read(tmp_path, "index\timage\n1\tx\n")


@pytest.mark.parametrize(
    ("reply", "choices", "expected"),
    [
        ("12", "", "12"),
        (" Top Left. ", "", "top left"),
        ("7 + 5 = 12, 12 - 3 = 9. 9", "", "9"),
        ("The answer is: B", "ABCD", "B"),
        ("(b)", "ABCD", "B"),
        ("none of these", "ABCD", ""),
        ("", "", ""),
    ],
)
def test_answers_are_read_from_replies(reply, choices, expected):
    assert answer_of(reply, choices) == expected
