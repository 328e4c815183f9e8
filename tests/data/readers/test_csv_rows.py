"""CSV and TSV: no quotation mark, separator or encoding makes rows vanish."""

from pathlib import Path

import pytest
from prepare_runs import prepare, questions, summary

from hala_hpc.data.readers.csv_rows import csv_file
from hala_hpc.data.readers.records import InputRecord
from hala_hpc.data.readers.text_files import PLAIN_TEXT, TextFormat

PAIRS = ['"Hello', "Good night", "Thank you", 'Bye" he said', '"Yes" and "no"']


def read(path: Path, text: str, text_format: TextFormat = PLAIN_TEXT) -> list[InputRecord]:
    """Write and read a file."""
    path.write_text(text, encoding="utf-8")
    return list(csv_file(path, text_format))


def reasons(path: Path, text: str, text_format: TextFormat = PLAIN_TEXT) -> list[str]:
    """The reasons of the records of a file."""
    return [record.reason for record in read(path, text, text_format)]


def test_quotes_in_tsv_belong_to_the_text(tmp_path: Path) -> None:
    lines = [f"{source}\tجملة {number}" for number, source in enumerate(PAIRS)]
    (tmp_path / "a.tsv").write_text("\n".join(["en\tar", *lines, ""]), encoding="utf-8")
    (tmp_path / "b.csv").write_text("en;ar\nfrom b;نعم\n", encoding="utf-16")
    (tmp_path / "c.csv").write_text("en|ar\nfrom c|نعم\n", encoding="utf-16-le")
    (tmp_path / "d.csv").write_text("sep=;\nen;ar\nfrom d;نعم\n", encoding="utf-8-sig")
    files = [tmp_path / name for name in ("a.tsv", "b.csv", "c.csv", "d.csv")]
    ended = prepare(tmp_path, files)
    assert ended.code == 0, ended
    assert questions(tmp_path) == sorted([*PAIRS, "from b", "from c", "from d"])
    assert summary(tmp_path)["rows_in"] == len(PAIRS) + 3


@pytest.mark.long
def test_the_encoding_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("en,ar\nYes,نعم\n", encoding="cp1256")
    refused = prepare(tmp_path, [tmp_path / "a.csv"])
    assert refused.code == 65, refused
    assert 'encoding = "cp1256"' in refused.err
    ended = prepare(tmp_path, [tmp_path / "a.csv"], 'encoding = "cp1256"')
    assert ended.code == 0, ended
    assert questions(tmp_path) == ["Yes"]


def test_fields_that_a_writer_put_in_quotes_are_undone_in_tsv(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    doubled = read(path, 'en\tar\n"He said ""hi"""\tx\n"plain"\ty\n')
    assert [record.value and record.value["en"] for record in doubled] == [
        'He said "hi"',
        '"plain"',
    ]
    quoted = read(path, '"en"\t"ar"\n"a\tb"\t"x"\n"open\nend"\t"y"\n')
    assert [record.reason for record in quoted] == ["", "open-quote", "open-quote"]
    assert quoted[0].value == {"en": "a\tb", "ar": "x"}


def test_a_row_of_csv_may_have_several_lines_unless_they_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    whole = read(path, 'en,ar\n"Dear all,\n\nyours",x\nlast,y\n')
    assert [record.value and record.value["en"] for record in whole] == [
        "Dear all,\n\nyours",
        "last",
    ]
    assert [record.line for record in whole] == [2, 5]
    swallowed = 'en,ar\n"one,1\ntwo,2\nthree",3\nfour,4\n'
    assert reasons(path, swallowed) == ["open-quote", "", "", ""]
    assert reasons(path, swallowed, TextFormat(quoting="csv")) == ["", ""]
    assert reasons(path, swallowed, TextFormat(quoting="none")) == [""] * 4
    assert reasons(path, 'en,ar\n"one,1\ntwo,2\nthree,3\n') == ["open-quote", "", ""]
    assert reasons(path, 'en,ar\n"one,1\n"two" x,2\n') == ["open-quote", ""]


def test_every_line_of_a_file_with_open_quotes_is_accounted_for(tmp_path: Path) -> None:
    lines = ['"a,1', '"b,2', "c,3", '"d""e,4', 'f",5', "g", '"h",6', '"i,7']
    records = read(tmp_path / "a.csv", "\n".join(["x,y", *lines]))
    assert [record.line for record in records] == list(range(2, len(lines) + 2))
