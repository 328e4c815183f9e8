"""Corpora, row formats and input files."""

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from hala_hpc.core.errors import UserError
from hala_hpc.data.corpus.index import CorpusIndex
from hala_hpc.data.corpus.reader import (
    count_rows,
    part_name,
    read_rows,
    read_translation_pairs,
    rejected_name,
    require_kind,
)
from hala_hpc.data.corpus.writer import CorpusWriter, RejectedRow, RejectWriter, count_rejected
from hala_hpc.data.readers.adapters import (
    Texts,
    build_adapters,
    compute_row_digest,
    find_adapter,
)
from hala_hpc.data.readers.hub_files import select_hub_files
from hala_hpc.data.readers.json_array import json_file
from hala_hpc.data.readers.row_values import RowError
from hala_hpc.data.readers.sources import DatasetSelection, find_sources

KNOWN = build_adapters(("en", "ar"))


def write_pairs(folder: Path, counts: list[int], group_characters: int = 200) -> Path:
    number = 0
    for unit, count in enumerate(counts):
        path = folder / part_name(unit)
        with CorpusWriter(path, "pairs", group_characters=group_characters) as writer:
            for _ in range(count):
                row = {"id": f"{number:032x}", "source": f"row {number}", "target": "صفّ " * 9}
                writer.add({**row, "origin": "test"})
                number += 1
    return folder


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_corpus_is_read_in_the_order_of_its_shards(tmp_path: Path) -> None:
    write_pairs(tmp_path, [3, 0, 25])
    rows = list(read_rows(tmp_path))
    assert count_rows(tmp_path) == len(rows) == 28
    assert [row["source"] for row in rows] == [f"row {number}" for number in range(28)]
    assert rows[0]["target"] == "صفّ " * 9


@pytest.mark.parametrize("first_last", [(0, 28), (2, 4), (3, 3), (11, 19), (27, 40), (28, 30)])
def test_a_slice_is_the_rows_of_those_numbers(tmp_path: Path, first_last: tuple[int, int]) -> None:
    write_pairs(tmp_path, [3, 0, 25])
    first, last = first_last
    assert list(CorpusIndex(tmp_path).read(*first_last)) == list(read_rows(tmp_path))[first:last]


def test_pairs_come_of_pair_rows_and_of_translated_messages(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", [1])
    assert list(read_translation_pairs(tmp_path / "pairs")) == [(f"{0:032x}", "row 0", "صفّ " * 9)]
    with CorpusWriter(tmp_path / "talk" / part_name(0), "translations") as writer:
        row = {"id": "7", "origin": "test", "messages": [user("مرحبا"), user("شكرا")]}
        writer.add({**row, "messages_source": [user("Hello"), user("Thanks")]})
    assert list(read_translation_pairs(tmp_path / "talk")) == [
        ("7.0", "Hello", "مرحبا"),
        ("7.1", "Thanks", "شكرا"),
    ]


def test_a_corpus_of_the_wrong_kind_is_named_with_both_kinds(tmp_path: Path) -> None:
    write_pairs(tmp_path, [1])
    with pytest.raises(UserError, match="holds pairs, but this stage needs conversations"):
        require_kind(tmp_path, "conversations")


def test_a_folder_that_is_not_a_corpus_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no files part-") as raised:
        count_rows(tmp_path)
    assert raised.value.code == 65
    with pytest.raises(UserError, match="no such folder") as raised:
        count_rows(tmp_path / "gone")
    assert raised.value.code == 66


@pytest.mark.parametrize("size", [0, 3, 900])
def test_a_truncated_shard_is_named(tmp_path: Path, size: int) -> None:
    write_pairs(tmp_path, [100])
    part = tmp_path / part_name(0)
    part.write_bytes(part.read_bytes()[:size])
    with pytest.raises(UserError, match=r"part-00000.parquet: cannot be read") as raised:
        list(read_rows(tmp_path))
    assert raised.value.code == 65


def test_a_shard_with_damage_inside_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, [2000], group_characters=1_000_000)
    part = tmp_path / part_name(0)
    data = bytearray(part.read_bytes())
    data[100:2000] = bytes(1900)
    part.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read"):
        list(read_rows(tmp_path))


def test_a_changed_byte_is_never_read_as_a_row(tmp_path: Path) -> None:
    write_pairs(tmp_path, [200], group_characters=1_000_000)
    part, chance = tmp_path / part_name(0), Random(1)
    whole, data = list(read_translation_pairs(tmp_path)), part.read_bytes()
    codes: Counter[int] = Counter()
    for _ in range(150):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        part.write_bytes(changed)
        codes[code_of_reading(tmp_path, whole)] += 1
    # A changed byte of the metadata about the writer may change nothing.
    assert set(codes) <= {0, 65}
    assert codes[65] > 60


def code_of_reading(folder: Path, whole: list[tuple[str, str, str]]) -> int:
    """Exit code of reading the corpus: of the error, 0 if it is unchanged, else 1."""
    try:
        return int(list(read_translation_pairs(folder)) != whole)
    except UserError as error:
        return error.code


def test_a_shard_whose_writing_failed_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / part_name(0)
    with pytest.raises(KeyError), CorpusWriter(path, "pairs") as writer:
        writer.add({"id": "1"})
    assert list(tmp_path.iterdir()) == []


def test_a_shard_whose_last_rows_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / part_name(0)
    # Rows are buffered for a row group, which is written when the block ends.
    with pytest.raises(TypeError), CorpusWriter(path, "pairs") as writer:
        writer.add({"id": 1, "origin": "o", "source": "s", "target": "t"})
    assert list(tmp_path.iterdir()) == []


def test_rejected_rows_keep_every_byte(tmp_path: Path) -> None:
    path, raw = tmp_path / rejected_name(0), b'{"a": "\xff\xfe caf\xc3\xa9"}'
    with RejectWriter(path) as writer:
        for row in (
            RejectedRow("a.jsonl", 7, "bad-utf8", raw.decode(errors="surrogateescape")),
            RejectedRow("a.jsonl", 9, "empty-text", {"instruction": "مرحبا"}, id="x"),
        ):
            writer.add_line(row.to_json())
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert first["row"].encode(errors="surrogateescape") == raw
    assert second == {
        "where": "a.jsonl",
        "line": 9,
        "reason": "empty-text",
        "id": "x",
        "row": {"instruction": "مرحبا"},
    }
    assert count_rejected(path) == {"bad-utf8": 1, "empty-text": 1}
    path.write_text(path.read_text() + '{"where": "a.jsonl"}\n')
    with pytest.raises(UserError, match=f"{rejected_name(0)}: has a line that is not a rejected"):
        count_rejected(path)


GOOD: list[tuple[str, dict[str, Any], Any]] = [
    (
        "alpaca",
        {"instruction": "Add.", "input": "2 and 3", "output": "5"},
        [("user", "Add.\n\n2 and 3"), ("assistant", "5")],
    ),
    (
        "alpaca",
        {"instruction": "ترجم", "input": None, "output": "نعم", "system": "كن موجزا"},
        [("system", "كن موجزا"), ("user", "ترجم"), ("assistant", "نعم")],
    ),
    (
        "openorca",
        {"id": "cot.1", "system_prompt": "", "question": "Why?", "response": "So."},
        [("user", "Why?"), ("assistant", "So.")],
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "system", "value": " "},
                {"from": "human", "value": "Hi"},
                {"from": "gpt", "value": "Hello"},
                {"from": "human", "value": "Bye"},
            ],
            "system": "Be kind.",
        },
        [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")],
    ),
    (
        "messages",
        {"messages": [user("x = 1"), {"role": "assistant", "content": "```\nx\n```"}]},
        [("user", "x = 1"), ("assistant", "```\nx\n```")],
    ),
]


@pytest.mark.parametrize(("name", "row", "turns"), GOOD)
def test_each_row_format_is_recognized_and_read(name: str, row: dict[str, Any], turns: Any) -> None:
    adapter = find_adapter([row], "auto", KNOWN)
    assert adapter is not None
    assert adapter.name == name
    assert list(zip(*adapter.read(row)[:2], strict=True)) == turns


@pytest.mark.parametrize(
    "row",
    [
        {"translation": {"ar": "نعم", "en": "Yes", "fr": "Oui"}},
        {"en": "Yes", "ar": "نعم", "score": 0.5},
        {"source": "Yes", "target": "نعم"},
    ],
)
def test_pairs_are_read_in_the_order_of_the_languages(row: dict[str, Any]) -> None:
    adapter = find_adapter([row], "auto", KNOWN)
    assert adapter is not None
    assert adapter.read(row) == Texts([], ["Yes", "نعم"])


BAD: list[tuple[str, Any, str]] = [
    ("alpaca", {"instruction": "Add.", "input": ""}, "missing-field"),
    ("alpaca", {"instruction": None, "output": "5"}, "missing-field"),
    ("alpaca", {"instruction": ["Add."], "output": "5"}, "wrong-type"),
    ("alpaca", {"instruction": "Add.", "output": " \n"}, "empty-text"),
    ("alpaca", {"instruction": "Add.", "input": True, "output": "5"}, "wrong-type"),
    ("alpaca", {"instruction": "a\0b", "output": "5"}, "nul"),
    ("alpaca", {"instruction": "a\ud800b", "output": "5"}, "lone-surrogate"),
    ("messages", {"messages": "Hi"}, "wrong-type"),
    ("messages", {"messages": ["Hi"]}, "wrong-type"),
    ("messages", {"messages": []}, "no-answer"),
    ("messages", {"messages": [user("Hi")]}, "no-answer"),
    ("messages", {"messages": [{"role": "moderator", "content": "5"}]}, "unknown-role"),
    ("messages", {"messages": [user("2+3?"), {"role": "tool", "content": "5"}]}, "no-answer"),
    ("messages", {"messages": [{"from": "Function_Call", "value": "{}"}]}, "bad-tool-call"),
    (
        "messages",
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}]},
        "bad-tool-call",
    ),
    ("messages", {"messages": [{"role": "user"}]}, "missing-field"),
    ("messages", {"messages": [user("")]}, "empty-text"),
    ("opus", {"translation": {"en": "Yes"}}, "missing-field"),
    ("opus", {"translation": "Yes"}, "wrong-type"),
    ("opus", {"translation": {"en": "Yes", "ar": ""}}, "empty-text"),
]


@pytest.mark.parametrize(("name", "row", "reason"), BAD)
def test_a_row_that_cannot_be_used_has_a_reason(name: str, row: Any, reason: str) -> None:
    with pytest.raises(RowError) as raised:
        compute_row_digest(*KNOWN[name].read(row))
    assert str(raised.value) == reason


def test_ids_depend_on_roles_and_texts_only() -> None:
    one = KNOWN["alpaca"].read({"instruction": "a", "output": "b", "id": 1})
    same = KNOWN["openorca"].read({"question": "a", "response": "b", "id": 2})
    swapped = Texts(one.roles[::-1], one.texts[::-1])
    assert compute_row_digest(*one) == compute_row_digest(*same)
    assert (
        len({compute_row_digest(*texts)[0] for texts in (one, swapped, Texts([], ["a", "b"]))}) == 3
    )
    # Artifacts depend on this value.
    assert compute_row_digest(*one)[0].hex() == "9b6da9fc9837253cf9ba5cf73d4155c9"


@pytest.mark.parametrize("rows", [0, 1, 3000])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read_row_by_row(tmp_path: Path, rows: int, indent: int | None) -> None:
    path = tmp_path / "rows.json"
    wanted = [{"n": n, "text": "سطر ] , [ {" * 60} for n in range(rows)]
    path.write_text(json.dumps(wanted, ensure_ascii=False, indent=indent), encoding="utf-8")
    found = list(json_file(path))
    assert [record.value for record in found] == wanted
    assert [record.line for record in found] == list(range(1, rows + 1))


def test_a_json_array_keeps_its_odd_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b'[{"a": "\\ud800"}, 12, "x\xff", {"a": "ok"}]')
    reasons = [record.reason for record in json_file(path)]
    assert reasons == ["", "not-an-object", "bad-utf8", ""]


@pytest.mark.parametrize(
    "text", ['[{"a": 1}, {"a": 2', '[{"a": 1}, {"a" 2}, {}]', '[{"a": 1}', '[{"a": 1}] [{}]']
)
def test_a_malformed_json_array_is_reported_with_the_row(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"rows.json: cannot be read after row [01]"):
        list(json_file(path))


def test_a_json_file_may_hold_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"a": 1}\n{"a": 2}\n')
    assert [record.value for record in json_file(path)] == [{"a": 1}, {"a": 2}]


def test_a_folder_gives_the_files_of_a_split_and_subset(tmp_path: Path) -> None:
    names = ["ar-en/train-0.jsonl", "ar-en/test.jsonl.gz", "de-en/train.jsonl", "ar-en/.x.jsonl"]
    for name in [*names, "ar-en/dataset_info.json", "ar-en/README.md"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        opened = gzip.open if name.endswith(".gz") else open
        with opened(tmp_path / name, "wt") as file:
            file.write('{"a": 1}\n')

    def names_of(choice: DatasetSelection) -> list[str]:
        found = find_sources(str(tmp_path), choice)
        assert all(next(source.read()).value == {"a": 1} for source in found)
        return [str(Path(source.where).relative_to(tmp_path)) for source in found]

    assert names_of(DatasetSelection("train", "ar-en")) == ["ar-en/train-0.jsonl"]
    assert names_of(DatasetSelection("test", "ar-en")) == ["ar-en/test.jsonl.gz"]
    assert len(names_of(DatasetSelection())) == 3
    with pytest.raises(UserError, match=r"subset=fr-en: .* it has ar-en, de-en"):
        names_of(DatasetSelection(subset="fr-en"))
    with pytest.raises(UserError, match="split=validation: no file"):
        names_of(DatasetSelection("validation"))


def test_of_a_data_set_on_the_hub_the_same_files_are_meant_by_their_names() -> None:
    names = ["README.md", "ar-en/train-0.jsonl", "ar-en/test.jsonl.gz", "de-en/train-0.parquet"]
    assert select_hub_files(names, DatasetSelection("test", "ar-en")) == [
        "README.md",
        "ar-en/test.jsonl.gz",
    ]
    assert select_hub_files(names, DatasetSelection(subset="ar-en")) == [
        "README.md",
        "ar-en/train-0.jsonl",
    ]
    assert select_hub_files(names, DatasetSelection()) == [
        "README.md",
        "ar-en/train-0.jsonl",
        "de-en/train-0.parquet",
    ]
    assert select_hub_files(["1M-GPT4.parquet"], DatasetSelection("train")) == ["1M-GPT4.parquet"]
    with pytest.raises(UserError, match="subset=fr-en has no data files"):
        select_hub_files(names, DatasetSelection(subset="fr-en"))


def test_a_missing_file_of_a_set_is_reported(tmp_path: Path) -> None:
    for number in (0, 2):
        (tmp_path / f"train-{number:05d}-of-00003.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="has 2 of the 3 files"):
        find_sources(str(tmp_path), DatasetSelection())


def test_a_truncated_gzip_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 9000)[:-20])
    with pytest.raises(UserError, match=r"rows.jsonl.gz: cannot be read") as raised:
        list(find_sources(str(path), DatasetSelection())[0].read())
    assert raised.value.code == 65
