"""inspect shows what data holds, and what prepare would reject and why, before a launch."""

import json
from pathlib import Path
from typing import Any

from in_one_process import run_commands

ARABIC = "العاصمة هي أنقرة، وهي مدينة كبيرة في تركيا."
ENGLISH = "The capital of the country is a large city with many old houses."


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def alpaca(number: int, **fields: Any) -> dict[str, Any]:
    return {"instruction": f"{number}. {ENGLISH}", "output": ARABIC, **fields}


def test_data_is_shown_as_prepare_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "notes.docx").write_text("")
    rows: list[Any] = [alpaca(n, source="web", score=None) for n in range(30)]
    rows += [
        alpaca(0),
        alpaca(31, output=""),
        alpaca(32, output=["a"]),
        [1],
        alpaca(33, source="bad"),
    ]
    write_rows(folder / "rows.jsonl", rows)
    turns = [
        {"role": "Human", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "model", "content": "\u202eYes", "weight": 0},
    ]
    talks = write_rows(tmp_path / "talks.jsonl", [{"messages": turns}, {"messages": turns[:1]}])
    other = write_rows(tmp_path / "other.jsonl", [{"frage": "Hi", "antwort": "Yes"}])
    lines = [
        ["inspect", f"data={folder}"],
        ["inspect", f"data={folder}", "max_rejected_fraction=0.2", "format=json"],
        ["inspect", f"data={talks}", "max_rejected_fraction=1"],
        ["inspect", f"data={folder}", "drop.source=bad,worse", "max_rejected_fraction=1"],
        ["inspect", f"data={folder}", "limit=10"],
        ["inspect", f"data={other}"],
        ["inspect", f"data={other}", "rename.frage=instruction", "rename.antwort=output"],
        ["inspect"],
        ["inspect", "data=/no/such/file.jsonl"],
        ["inspect", f"data={talks}", "rowz=auto", "format=yaml", "units=many"],
        ["inspect", "data=@node"],
        ["inspect", "--help"],
    ]
    (whole, as_json, messages, dropped, few, unnamed, renamed, none, absent, wrong, node, shown) = (
        run_commands(lines)
    )
    assert whole.code == 65, whole
    for text in (
        "files: 1 to read, 1 not read",
        "notes.docx",
        "rows: 35 read (all rows), conversations, read as alpaca",
        "en 100 %",
        "ar 100 %",
        "prepare would refuse this: 3 of 35 rows are bad (max_rejected_fraction=0.05)",
        f"{folder}/rows.jsonl:32",
        f"\u2067{ARABIC}\u2069",
        f". {ENGLISH}\u2069",
    ):
        assert text in whole.out, text
    assert as_json.code == 0, as_json
    found = json.loads(as_json.out)
    assert found["rejected"] == {
        "duplicate": 1,
        "empty-text": 1,
        "wrong-type": 1,
        "not-an-object": 1,
    }
    assert (found["rows"], found["rows_accepted"], found["all_rows_read"]) == (35, 31, True)
    assert found["fields"]["source"] == {"rows": 31, "types": {"str": 31}}
    assert found["fields"]["score"] == {"rows": 0, "types": {"null": 30}}
    assert found["lengths"]["assistant"]["max"] == len(ARABIC)
    assert len(found["samples"]) == 10
    assert messages.code == 0, messages
    assert "fields of turns: role, content, weight" in messages.out
    assert "no-answer" in messages.out
    # Controls of direction in a text do not reach the terminal.
    assert "\\u202eYes" in messages.out
    assert dropped.code == 65, dropped
    assert "mistake: drop: no row has 'worse' in the field 'source'" in dropped.out
    assert few.code == 0, few
    assert "rows: 10 read (the first rows; more follow)" in few.out
    assert unnamed.code == 65
    assert 'rename = { frage = "instruction", antwort = "output" }' in unnamed.err
    assert renamed.code == 0, renamed
    assert (none.code, absent.code) == (64, 66)
    assert "data= is missing" in none.err
    assert wrong.code == 64
    for text in ("unknown setting 'rowz': did you mean 'rows'?", "format=yaml: write text or json"):
        assert text in wrong.err
    assert node.code == 64
    assert "rename.question=instruction" in shown.out
