"""JSON, Parquet and Arrow as people write them: read whole, or refused with what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from prepare_runs import prepare, questions, summary

from hala_hpc.data.readers.json_array import json_file


def turns(name: str) -> list[dict[str, str]]:
    """A conversation whose question has this name."""
    return [{"role": "user", "content": name}, {"role": "assistant", "content": "نعم"}]


def row(name: str, **fields: Any) -> dict[str, Any]:
    """An Alpaca row."""
    return {"instruction": name, "output": "نعم", **fields}


def padded(role: str, text: str) -> dict[str, Any]:
    """A turn of ShareGPT with the names of another format, which are null."""
    return {"from": role, "value": text, "role": None, "content": None}


def write_layouts(folder: Path) -> None:
    """Write one file of each layout."""
    texts = {
        "list.json": json.dumps({"version": "1", "data": [row("list 1"), row("list 2")]}),
        "pretty.json": "\n".join(json.dumps(row(f"pretty {n}"), indent=2) for n in range(3)),
        "one.json": json.dumps(row("one"), indent=2),
        "arrays.jsonl": json.dumps(turns("array 1")) + "\n" + json.dumps(turns("array 2")),
        "array.jsonl": json.dumps([row("array 3")], indent=1),
        "text.jsonl": json.dumps({"messages": json.dumps(turns("text"))}),
        "prompt.jsonl": json.dumps({"prompt": "prompt", "completion": "نعم"}),
        "prompt-turns.jsonl": json.dumps(
            {"prompt": turns("prompt turns")[:1], "completion": turns("")[1:]}
        ),
        "numbers.jsonl": json.dumps(row("number", output=42)),
        "null.jsonl": json.dumps({"conversations": [padded("human", "null"), padded("gpt", "x")]}),
        "metadata.json": "{}",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_tables(folder)


def write_tables(folder: Path) -> None:
    """Write Parquet with padding and with an impossible date, and a saved Arrow folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"messages": turns("padded 1"), "instruction": None, "output": None},
        {"messages": None, **row("padded 2")},
        {"messages": None, **row("padded 3")},
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "padded.parquet")
    late = pa.array([2**60], pa.timestamp("us"))
    dated = pa.table({"instruction": ["dated"], "output": ["نعم"], "at": late})
    pq.write_table(dated, folder / "dated.parquet")
    saved = folder / "saved" / "train"
    saved.mkdir(parents=True)
    table = pa.table({"instruction": ["saved"], "output": ["نعم"]})
    with pa.ipc.new_stream(saved / "data-00000-of-00001.arrow", table.schema) as file:
        file.write_table(table)
    for name in ("state.json", "dataset_info.json"):
        (saved / name).write_text("{}")
    (folder / "saved" / "dataset_dict.json").write_text('{"splits": ["train"]}')


def test_rows_in_every_layout_are_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_layouts(data)
    ended = prepare(tmp_path, [data])
    assert ended.code == 0, ended
    assert questions(tmp_path) == [
        *("array 1", "array 2", "array 3", "dated", "list 1", "list 2", "null", "number", "one"),
        *("padded 1", "padded 2", "padded 3", "pretty 0", "pretty 1", "pretty 2", "prompt"),
        *("prompt turns", "saved", "text"),
    ]
    found = summary(tmp_path)
    assert (found["rows_in"], found["rows_rejected"]) == (19, 0)
    assert found["details"]["files_unread"] == 4


def test_data_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "lists.json").write_text(json.dumps({"a": [{"x": 1}], "b": [{"x": 2}]}))
    (tmp_path / "twice.csv").write_text("instruction,output,output\nq,a,b\n")
    (tmp_path / "numbers.jsonl").write_text("[1, 2]\n[3]\n")
    (tmp_path / "names.jsonl").write_text('{"a b": "q", "id": 3, "completion": "a", "\\u0000": 1}')
    files = [tmp_path / name for name in ("lists.json", "twice.csv", "numbers.jsonl")]
    urls = ["https://huggingface.co/datasets/a/b/x.jsonl", str(tmp_path / "*.jsonl")]
    ended = prepare(tmp_path, [*files, tmp_path / "names.jsonl", *map(Path, urls)])
    assert ended.code == 65, ended
    assert "jq -c '.[\"b\"][]' lists.json > lists-rows.jsonl" in ended.err
    assert "two of its columns are named 'output'" in ended.err
    assert "not-an-object 2; the first is row 1); each row must be an object" in ended.err
    assert 'rename = { "a b" = "instruction", completion = "output" }' in ended.err
    assert "\0" not in ended.err
    assert "is an address, but data are read from the disk or by hub id" in ended.err
    assert f"patterns are not expanded; give the folder ({tmp_path})" in ended.err
    table = pa.table([["q"], ["a"], ["b"]], names=["instruction", "output", "output"])
    pq.write_table(table, tmp_path / "twice.parquet")
    ended = prepare(tmp_path, [tmp_path / "twice.parquet"])
    assert ended.code == 65, ended
    assert "two of its columns are named 'output'" in ended.err + ended.out


def test_a_large_list_within_an_object_is_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    rows = [row("x" * 3000 + str(number)) for number in range(1000)]
    for indent in (None, 1):
        path.write_text(json.dumps({"data": rows, "end": {"a": [1]}}, indent=indent))
        assert [record.value for record in json_file(path)] == rows
    path.write_text("".join(json.dumps(each, indent=1) for each in rows))
    assert [record.value for record in json_file(path)] == rows


def test_a_first_line_that_is_cut_off_does_not_change_the_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for start in ('{"messages": [', '[{"a": 1},', '{"a": "b', "{", "["):
        path.write_text("\n".join([start, *(json.dumps(row(str(n))) for n in range(3))]))
        reasons = [record.reason for record in json_file(path)]
        assert reasons == ["corrupt-json", "", "", ""], start


@pytest.mark.long
def test_settings_that_name_what_no_row_has_are_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [row("q1", label=1), row("q2", label=2), row("q3", label=True)]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    ended = prepare(tmp_path, [path], 'drop = { lable = ["bad"], label = [7, 1] }')
    assert ended.code == 65, ended
    text = ended.err + ended.out
    assert "drop: no row has the field 'lable'; the rows have the fields: instruction, la" in text
    assert "drop: no row has '7' in the field 'label'" in text
    ended = prepare(tmp_path, [path], "drop = { label = [1, true] }", "max_rejected_fraction = 1")
    assert ended.code == 0, ended
    assert questions(tmp_path) == ["q2"]
