"""prepare from the command line: rows in equal rows out plus rows rejected with a reason."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from command_line import CommandResult, launch
from plain_out import run_plain

from benchmarks.common.waiting import WAIT_S
from hala_hpc.core.errors import UserError
from hala_hpc.data.corpus.reader import read_part, read_rows

GREETINGS = ["مرحبا بالعالم", "صباح الخير", "كيف حالك؟", "شكرا جزيلا", "إلى اللقاء"]


def prepare(
    folder: Path, nodes: dict[str, dict[str, Any]], *overrides: str, **env: Any
) -> CommandResult:
    """Launch a recipe of prepare nodes, each with these settings."""
    text = ""
    for name, settings in nodes.items():
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        text += "\n".join([f"[{name}]", 'stage = "prepare"', *lines, ""])
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    recipe, work = f"recipe={folder / 'recipe.toml'}", f"work={folder / 'work'}"
    return launch("stage=prepare", recipe, work, *overrides, **env)


def output(folder: Path, node: str) -> Path:
    return folder / "work" / "latest" / node / "output"


def summary(folder: Path, node: str) -> dict[str, Any]:
    path = folder / "work" / "latest" / node / "summary.json"
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def rejected(folder: Path) -> list[dict[str, Any]]:
    """The rejected rows in a folder, in order of their lines."""
    lines = [
        line
        for path in sorted(folder.glob("rejected-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted(map(json.loads, lines), key=lambda row: int(row["line"]))


def shard(folder: Path, unit: int) -> list[dict[str, Any]]:
    """The rows of one shard of a stage that ran without worker and gate."""
    return list(read_part(folder / "output" / str(unit) / f"part-{unit:05d}.parquet"))


def write_lines(path: Path, rows: Sequence[Any]) -> str:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return str(path)


def alpaca(number: int) -> dict[str, str]:
    answer = GREETINGS[number % len(GREETINGS)]
    return {"instruction": f"Greet guest {number}.", "input": "", "output": answer}


def pair(number: int) -> tuple[str, str]:
    return f"Good morning, guest {number}.", f"{GREETINGS[1]}، الضيف {number}."


def write_every_format(folder: Path) -> dict[str, dict[str, Any]]:
    """Write the same 50 pairs in each format; return the settings of a node for each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pairs = [pair(number) for number in range(50)]
    opus = [{"translation": {"ar": target, "en": source}} for source, target in pairs]
    write_lines(folder / "lines.jsonl", opus)
    text = json.dumps(opus, ensure_ascii=False, indent=1)
    (folder / "array.json").write_text(text, encoding="utf-8")
    with (folder / "table.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("ar", "en"), *((target, source) for source, target in pairs)])
    pq.write_table(pa.Table.from_pylist(opus), folder / "rows.parquet")
    (folder / "many").mkdir()
    write_lines(folder / "many" / "a.jsonl", opus[:20])
    pq.write_table(pa.Table.from_pylist(opus[20:]), folder / "many" / "b.parquet")
    names = ["lines.jsonl", "array.json", "table.csv", "rows.parquet", "many"]
    return {Path(name).stem: {"data": str(folder / name), "units": 3} for name in names}


@pytest.mark.slow
def test_every_format_gives_the_same_corpus(tmp_path: Path) -> None:
    nodes = write_every_format(tmp_path)
    assert prepare(tmp_path, nodes).code == 0
    for node in nodes:
        rows = list(read_rows(output(tmp_path, node)))
        found = sorted((row["source"], row["target"]) for row in rows)
        assert found == sorted(pair(number) for number in range(50))
        assert {row["origin"] for row in rows} == {node}
        ids = [row["id"] for row in rows]
        assert ids == [row["id"] for row in read_rows(output(tmp_path, "lines"))]
        details = summary(tmp_path, node)["details"]
        assert (details["kind"], details["input_rows"], details["unread"]) == ("pairs", 50, [])


def bad_lines() -> list[tuple[bytes, str]]:
    """Lines of a file and the rejection reason of each; '' if accepted, '-' for no row."""
    good = json.dumps(alpaca(0), ensure_ascii=False).encode()
    return [
        (b"\xef\xbb\xbf" + good, ""),
        (good + b"\r", "duplicate"),
        (b"", "-"),
        (b'{"instruction": "Greet', "corrupt-json"),
        (b"  \t", "-"),
        (good.replace(b"Greet", b"Gr\xff\xfeet"), "bad-utf8"),
        (good.replace(b"Greet", b"Gr\\ud83deet"), "lone-surrogate"),
        (good.replace(b"Greet", b"Gr\\u0000eet"), "nul"),
        (good.replace(b"Greet", b"Gr\x00eet"), "corrupt-json"),
        (b'"Greet"', "not-an-object"),
        (b"[" * 100_000, "corrupt-json"),
        (b'{"instruction": "Greet."}', "missing-field"),
        (b'{"instruction": "Greet.", "output": null}', "missing-field"),
        (b'{"instruction": "Greet.", "output": ["Hi"]}', "wrong-type"),
        (b'{"instruction": "Greet.", "output": " "}', "empty-text"),
        (b'{"instruction": "' + b"x" * 17_000_000 + b'", "output": "Hi"}', "too-long"),
        (b'{"instruction": "Code.", "output": "```\\nx\\n```"}', "code"),
        (json.dumps(alpaca(2)).encode(), ""),
    ]


def test_every_line_of_a_bad_file_is_accounted_for(tmp_path: Path) -> None:
    lines = bad_lines()
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join(line for line, _ in lines))
    settings = {"data": str(path), "units": 3, "max_rejected_fraction": 1, "drop_code": True}
    ended = prepare(tmp_path, {"bad": settings})
    assert ended.code == 0, ended

    wanted = {n: reason for n, (_, reason) in enumerate(lines, start=1) if reason not in {"", "-"}}
    found = rejected(output(tmp_path, "bad"))
    assert {row["line"]: row["reason"] for row in found} == wanted
    assert {row["where"] for row in found} == {str(path)}
    for row in found:
        raw = lines[row["line"] - 1][0].rstrip(b"\r")
        raw_text = row["row"].encode(errors="surrogateescape")
        assert raw_text == raw or (row["reason"] == "too-long" and raw.startswith(raw_text))
    facts = summary(tmp_path, "bad")
    counts = facts["rows_in"], facts["rows_out"], facts["rows_rejected"]
    assert counts == (16, 2, len(wanted))
    assert len(list(read_rows(output(tmp_path, "bad")))) == 2


@pytest.mark.slow
def test_equal_rows_of_several_files_are_written_once_and_counted(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "first.jsonl", [alpaca(n) for n in range(30)])
    turns = [("human", alpaca(3)["instruction"]), ("gpt", alpaca(3)["output"])]
    talk = {"conversations": [{"from": role, "value": text} for role, text in turns]}
    second = write_lines(tmp_path / "again.jsonl", [talk, talk])
    few = {"data": [first, second], "limit": 31, "units": 4}
    assert prepare(tmp_path, {"all": {"data": [first, second]}, "few": few}).code == 0

    facts = summary(tmp_path, "all")
    assert (facts["rows_in"], facts["rows_out"]) == (32, 30)
    assert facts["rejected"] == {"duplicate": 2}
    assert [row["where"] for row in rejected(output(tmp_path, "all"))] == [second, second]
    assert {row["origin"] for row in read_rows(output(tmp_path, "all"))} == {"first"}
    assert summary(tmp_path, "few")["rows_in"] == 31


@pytest.mark.slow
def test_workers_that_share_the_units_write_what_one_writes(tmp_path: Path) -> None:
    rows = [alpaca(n % 70) for n in range(90)]
    path = write_lines(tmp_path / "rows.jsonl", [*rows, {"instruction": "x"}])
    alone, shared = {"data": path, "units": 5}, {"data": path, "units": 5, "limit": 1000}
    ended = prepare(tmp_path, {"alone": alone, "shared": shared}, "shared.resources.workers=3")
    assert ended.code == 0, ended
    markers = (tmp_path / "work" / "latest" / "shared" / "done").glob("*.json")
    assert len({json.loads(marker.read_text())["attempt"] for marker in markers}) == 3
    for unit in range(5):
        name = f"rejected-{unit:05d}.jsonl"
        texts = [(output(tmp_path, node) / name).read_text() for node in ("alone", "shared")]
        assert texts[0] == texts[1]
    corpora = [list(read_rows(output(tmp_path, node))) for node in ("alone", "shared")]
    assert corpora[0] == corpora[1]
    assert len(corpora[0]) == 70


def test_fields_can_be_renamed_and_rows_dropped_by_value(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Greet guest {n}.", "chosen": GREETINGS[n], "source": ["ours", "aya"][n % 2]}
        for n in range(5)
    ]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    settings = {"data": path, "rows": "alpaca", "units": 2}
    refused = prepare(tmp_path, {"rows": settings})
    assert refused.code == 65
    assert "they have the fields: chosen, prompt, source" in refused.err
    overrides = [
        "rows.rename.prompt=instruction",
        "rows.rename.chosen=output",
        "rows.drop.source=aya",
    ]
    ended = prepare(tmp_path, {"rows": settings}, *overrides)
    assert ended.code == 0, ended
    facts = summary(tmp_path, "rows")
    assert (facts["rows_out"], facts["rejected"]) == (3, {"dropped": 2})
    texts = {row["messages"][1]["content"] for row in read_rows(output(tmp_path, "rows"))}
    assert texts == {GREETINGS[0], GREETINGS[2], GREETINGS[4]}


@pytest.mark.slow
def test_too_many_bad_rows_fail_and_the_rows_can_be_read(tmp_path: Path) -> None:
    rows = [alpaca(n) for n in range(80)] + [{"instruction": f"No answer {n}"} for n in range(20)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    ended = prepare(tmp_path, {"rows": {"data": path, "units": 2}})
    assert ended.code == 65, ended
    message = "max_rejected_fraction=0.05: 20 of 100 rows are rejected (missing-field 20)"
    assert message in ended.err
    state_dir = tmp_path / "work" / "latest" / "rows" / "kept"
    assert str(state_dir.resolve() / "00000" / "rejected-00000.jsonl") in ended.err
    found = [row for folder in state_dir.iterdir() for row in rejected(folder)]
    assert sorted(row["line"] for row in found) == list(range(81, 101))

    assert prepare(tmp_path, {"rows": {"data": path, "max_rejected_fraction": 0.2}}).code == 0


def test_text_in_parquet_that_is_no_utf8_spoils_its_own_row_only(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f"Guest {n}".encode() for n in range(40)]
    texts[7] = b"caf\xe9"
    sources = pa.array(texts, pa.binary()).view(pa.string())
    targets = pa.array(["ضيف"] * 40)
    translation = pa.StructArray.from_arrays([sources, targets], names=["en", "ar"])
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"translation": translation}), path)
    assert prepare(tmp_path, {"rows": {"data": str(path)}}).code == 0
    assert summary(tmp_path, "rows")["rows_out"] == 39
    (row,) = rejected(output(tmp_path, "rows"))
    assert (row["line"], row["reason"]) == (8, "bad-utf8")
    assert row["row"]["translation"]["en"].encode(errors="surrogateescape") == b"caf\xe9"


def test_shards_are_of_equal_length(tmp_path: Path) -> None:
    rows = [{"instruction": f"Row {n}.", "output": "x" * (n * 7919 % 1000 + 1)} for n in range(600)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    run_plain("prepare", {"data": path, "units": 5}, tmp_path)
    sizes = []
    for unit in range(5):
        texts = [m["content"] for row in shard(tmp_path, unit) for m in row["messages"]]
        sizes.append(sum(map(len, texts)))
    assert max(sizes) - min(sizes) <= 1100
    assert sum(sizes) > 250_000


@pytest.mark.slow
def test_several_processes_read_what_one_reads(tmp_path: Path) -> None:
    # Long rows: the file has several splits, and equal rows are far apart.
    good = [{"instruction": f"Row {n % 600}.", "output": f"{n % 600}" * 40_000} for n in range(650)]
    lines = [json.dumps(row).encode() for row in good]
    lines[300:300] = [b"", b"{", b'{"instruction": "' + b"x" * 17_000_000]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    assert path.stat().st_size > 2 * 32 * 2**20
    found = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        resources = {"cpus_per_rank": processes}
        settings = {"data": str(path), "units": 3, "resources": resources}
        run_plain("prepare", settings, folder)
        accepted = [
            row["messages"][0]["content"] for unit in range(3) for row in shard(folder, unit)
        ]
        assert sorted(accepted) == sorted(f"Row {n}." for n in range(600))
        lost = [row for unit in range(3) for row in rejected(folder / "output" / str(unit))]
        reasons = {row["line"]: row["reason"] for row in lost}
        wanted = {302: "corrupt-json", 303: "too-long"}
        assert reasons == wanted | dict.fromkeys(range(604, 654), "duplicate")
        assert all(row["row"] == lines[row["line"] - 1].decode() for row in lost[3:5])
        found.append((accepted, lost))
    assert found[0] == found[1]


def spoil(rows: list[dict[str, Any]], how: str) -> list[dict[str, Any]]:
    first, *others = rows
    if how == "changed":
        (question, answer) = first["messages"]
        return [{**first, "messages": [question, {**answer, "content": "Hi"}]}, *others]
    return {"lost": others, "doubled": [first, *rows], "swapped": [others[0], *others]}[how]


@pytest.mark.parametrize("how", ["changed", "lost", "doubled", "swapped"])
def test_the_check_finds_a_row_that_is_not_as_it_was_planned(tmp_path: Path, how: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_lines(tmp_path / "rows.jsonl", [alpaca(n) for n in range(20)])
    out = run_plain("prepare", {"data": path, "units": 2}, tmp_path)
    part = out.folder(1) / "part-00001.parquet"
    notes = pq.read_metadata(part).metadata
    schema = pq.read_schema(part).with_metadata(notes)
    rows = spoil(pq.read_table(part).to_pylist(), how)
    pq.write_table(pa.Table.from_pylist(rows, schema), part)
    with pytest.raises(UserError) as caught:
        out.commit(1)
    assert caught.value.code == 70


@pytest.mark.parametrize(("which", "accepted"), [("no", 4), ("fenced", 1), ("only", 2)])
def test_rows_of_code_are_dropped_by_setting(tmp_path: Path, which: str, accepted: int) -> None:
    code = "```python\nx = 1\n```"
    answers = ["Plain.", f"So:\n{code}", f"\n{code}\n\n{code}\n", "```\ny = 2"]
    rows = [{"instruction": f"Task {n}", "output": answer} for n, answer in enumerate(answers)]
    path = write_lines(tmp_path / "rows.jsonl", rows)
    settings = {"data": path, "units": 1, "drop_code": which}
    out = run_plain("prepare", settings, tmp_path)
    assert out.facts is not None
    assert out.facts.rows_out == accepted
    assert out.facts.rejected == ({"code": 4 - accepted} if accepted < 4 else {})


@pytest.mark.slow
def test_corrupt_rows_reconcile_by_a_program_of_its_own() -> None:
    arguments = ["--each", "20", "--good", "300", "--long", "0", "--units", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.corrupt_rows", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert done.returncode == 0, done
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["lost"], found["doubled"], found["wrong_reason"]) == (0, 0, 0)
    assert found["rejected"]["bad-utf8"] == 20


def hub_cache(folder: Path) -> dict[str, str]:
    """Make a hub cache with one fetched data set; return the variables that name it."""
    home = folder / "hub" / "datasets--lab--greetings"
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    rows = [dict(zip(("source", "target"), pair(n), strict=True)) for n in range(12)]
    write_lines(home / "snapshots" / "abc" / "train-00000-of-00001.jsonl", rows)
    write_lines(home / "snapshots" / "abc" / "test-00000-of-00001.jsonl", rows[:2])
    return {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}


def test_a_data_set_that_was_fetched_is_read_without_a_network(tmp_path: Path) -> None:
    env = hub_cache(tmp_path)
    ended = prepare(tmp_path, {"rows": {"data": "lab/greetings"}}, **env)
    assert ended.code == 0, ended
    rows = list(read_rows(output(tmp_path, "rows")))
    assert len(rows) == 12
    assert {row["origin"] for row in rows} == {"lab/greetings"}


def test_a_data_set_that_was_not_fetched_is_refused_with_the_fix(tmp_path: Path) -> None:
    env = hub_cache(tmp_path)
    ended = prepare(tmp_path, {"rows": {"data": "lab/greeting"}}, **env)
    assert ended.code == 66, ended
    assert "data set lab/greeting: is not in the hub cache" in ended.err
    assert "`python -m hala_hpc.fetch " in ended.err
    assert not (tmp_path / "work").exists()


ALPACA = json.dumps(alpaca(0))
OPUS = '{"translation": {"en": "Yes", "fr": "Oui"}}'
REFUSED: list[tuple[str, dict[str, str], dict[str, Any], int, str]] = [
    ("empty name", {}, {"data": ""}, 64, "names no data"),
    ("no name", {}, {"data": []}, 64, "names no data"),
    ("same language", {"a.jsonl": OPUS}, {"languages": ["ar", "ar"]}, 64, "both 'ar'"),
    ("unknown shape", {"a.jsonl": OPUS}, {"rows": "alpacca"}, 64, "alpacca"),
    ("too many units", {"a.jsonl": OPUS}, {"units": 1000}, 64, "256"),
    ("missing", {}, {"data": "gone.jsonl"}, 66, "gone.jsonl: there is no such file"),
    ("ending", {"a.xml": "<a/>"}, {}, 65, "no reader for the suffix '.xml'"),
    ("blank", {"a.jsonl": "\n\n \n"}, {}, 65, "is empty"),
    ("header only", {"a.csv": "en,ar\n"}, {}, 65, "is empty"),
    ("empty array", {"a.json": "[]"}, {}, 65, "is empty"),
    ("all corrupt", {"a.jsonl": "{\n{\n"}, {}, 65, "can be read (corrupt-json 2; the first is"),
    ("torn", {"a.parquet": "PAR1 and no end"}, {}, 65, "is not a complete Parquet file"),
    ("languages", {"a.jsonl": OPUS}, {}, 65, "translation has en, fr"),
    ("shape", {"a.jsonl": ALPACA}, {"rows": "openorca"}, 65, "rows=openorca (question, response)"),
    ("fields", {"a.csv": "x,y\n1,2\n"}, {}, 65, "they have the fields: x, y. Adapters: messages"),
    (
        "two kinds",
        {"a.jsonl": ALPACA, "b.jsonl": OPUS},
        {"languages": ["en", "fr"]},
        65,
        "a.jsonl holds conversations",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
def test_data_that_cannot_be_prepared_is_refused_at_once(tmp_path: Path, case: Any) -> None:
    _, files, settings, code, message = case
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    data = [str(tmp_path / name) for name in files]
    ended = prepare(tmp_path, {"rows": {"data": data, **settings}})
    assert ended.code == code, ended
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "work").exists()
