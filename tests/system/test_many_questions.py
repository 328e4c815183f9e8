"""Rows read in batches equal rows read one by one."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from hala_hpc.data.ingest.adapt import RowFormat
from hala_hpc.data.ingest.fast_path import fast_path_fields, read_question_batch
from hala_hpc.data.ingest.row_language import WantedLanguages
from hala_hpc.data.ingest.spill import SplitTask, spill_split
from hala_hpc.data.ingest.splits import BufferedSplit, InputSplit
from hala_hpc.data.readers.json_lines import LineRange, read_chunks, split_lines

TEXTS = ["Hi", "مرحبا\nبكم", "x" * 900, "\u2003 y", "\ufeffz", "```c```"]
ODD: list[Any] = [None, "", " \n", "\u2003", "\x1c", 0, False, [], {}, ["a"], 7, "a\0b", "\ud800"]
RAW = [b"", b" ", b"{", b"[]", b"null", b'"x"', b'{"instruction": "a", "output": "\xff"}', b"\r"]
RAW += [
    b'{"instruction": "a", "output": "b", "x": "\xff"}',
    b'{"instruction": "a", "output": "\\q"}',
]
RAW += [
    b'{"instruction": "a", "output": "b", "output": "c"}',
    b'{"instruction": "a", "output": NaN}',
]
RAW += [
    b'{"instruction": "a", "output": "b"} {"instruction": "c", "output": "d"}',
    b"\xef\xbb\xbf{}",
]


def row_line(chance: random.Random, names: list[str], odd: float) -> bytes:
    if chance.random() < odd:
        return chance.choice(RAW)
    fields = ["instruction", "output", "input", "system", "origin", "more", *names]
    row: dict[str, Any] = {}
    for name in fields:
        if name in fields[:2] or chance.random() < 0.2:
            texts = ODD if chance.random() < odd else TEXTS
            row[name] = chance.choice(texts)
        if chance.random() < odd:
            row.pop(name, None)
    text = json.dumps(row, ensure_ascii=chance.random() < 0.5)
    return text.encode(errors="surrogatepass") + chance.choice([b"", b"", b"\r", b" "])


RENAMES = [{}, {"problem": "instruction"}, {"a": "output", "b": "instruction"}]
RENAMES += [{"a": "output", "b": "output"}, {"note": "input"}, {"input": "instruction"}]
RENAMES += [{"output": "instruction", "instruction": "output"}, {"system": "note"}]


@pytest.mark.parametrize("odd", [0.0, 0.002, 0.3])
@pytest.mark.parametrize("rename", RENAMES, ids=str)
def test_rows_read_in_batches_equal_rows_read_one_by_one(
    tmp_path: Path, rename: dict[str, str], odd: float
) -> None:
    import pyarrow as pa

    chance = random.Random(3)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(row_line(chance, list(rename), odd) for _ in range(3000)))
    row_format = RowFormat("alpaca", ("en", "ar"), rename=rename)
    (split,) = split_lines(path)
    tables = []
    for number, each in enumerate[InputSplit]([split, BufferedSplit(list(split.records()))]):
        file = tmp_path / f"{number}.arrow"
        spill_split(SplitTask(each, "w", "o", "alpaca", row_format, file))
        with pa.ipc.open_file(file) as opened:
            table = opened.read_all()
        raws = [
            text if reason else None
            for text, reason in zip(
                table["raw"].to_pylist(), table["reason"].to_pylist(), strict=True
            )
        ]
        tables.append([table.drop_columns("raw").to_pylist(), raws])
    assert tables[0] == tables[1]


def test_a_field_with_an_empty_name_is_not_read() -> None:
    from hala_hpc.data.readers.adapters import OPENORCA

    row = {"question": "q", "response": "a", "": "x", "more": "y", "input": "z"}
    questions = read_question_batch(json.dumps(row).encode() + b"\n", OPENORCA)
    assert questions is not None
    assert (questions.questions, questions.answers, questions.systems) == (["q"], ["a"], [""])


def test_chunks_cover_a_file_with_any_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    sizes = [5, 300_000, 0, 17_000_000, 7, 16_777_215, 16_777_216, 255 * 1024, 3]
    path.write_bytes(b"\n".join(b"x" * size for size in sizes))
    whole = LineRange(path, 0, path.stat().st_size, 1)
    found = [row for part, _ in read_chunks(whole) for row in part.rows()]
    assert found == list(whole.rows())
    assert [number for number, _, too_long in found if too_long] == [4, 7]
    for part, data in read_chunks(whole):
        if data:
            assert data == path.read_bytes()[part.offset : part.offset + (part.size or 0)]
        else:
            assert (part.size or 0) >= 16 * 2**20


def test_rows_with_special_settings_are_read_one_by_one() -> None:
    from hala_hpc.data.readers.adapters import ALPACA

    assert fast_path_fields(ALPACA, RowFormat("alpaca", ("en", "ar"))) == ALPACA
    renamed = fast_path_fields(
        ALPACA, RowFormat("alpaca", ("en", "ar"), {"problem": "instruction"})
    )
    assert renamed == ALPACA._replace(question="problem")
    assert fast_path_fields(ALPACA, RowFormat("alpaca", ("en", "ar"), drop_code="only")) is None
    wanted = WantedLanguages(("en",))
    assert fast_path_fields(ALPACA, RowFormat("alpaca", ("en", "ar"), wanted=wanted)) is None
