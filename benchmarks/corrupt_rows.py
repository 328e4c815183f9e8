"""Sixteen kinds of odd or corrupt rows among good ones: each is accepted or rejected once.

`python -m benchmarks.corrupt_rows [--each 1000] [--good 30000] [--long 3]`

Writes two files of seeded rows, runs `prepare` on them through `launch`, and reads the results with
its own code: nothing of the product is imported. Prints counts. `lost`, `doubled` and
`wrong_reason` must be 0, otherwise it exits with 1.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

#: The documented limit in bytes; longer lines are rejected without parsing.
LINE_LIMIT = 16 * 1024 * 1024
ACCEPTED = ""
#: Timeout of `prepare` in seconds.
END_LIMIT_S = 3600


class Line(NamedTuple):
    """A line of an input file, and its expected result."""

    data: bytes
    reason: str
    """ACCEPTED, or the expected reason of the rejection."""


def alpaca(number: int, **fields: Any) -> bytes:
    """Make a good row, or one with other fields; None removes a field."""
    answer = "نعم، بالتأكيد" if number % 5 == 0 else f"Answer {number * 7}, of course."
    row = {"instruction": f"Question {number}?", "input": "", "output": answer, **fields}
    row = {name: value for name, value in row.items() if value is not None}
    return json.dumps(row, ensure_ascii=number % 2 == 0).encode()


def talk(number: int, role: str = "assistant") -> bytes:
    """Make a row of messages whose answer has this role."""
    turns = [("user", f"Said {number}?"), (role, f"Told {number}.")]
    messages = [{"role": name, "content": text} for name, text in turns]
    return json.dumps({"id": number, "messages": messages}).encode()


def spoilt(number: int, place: bytes, by: bytes) -> bytes:
    """Make a good row in which some bytes are replaced."""
    return alpaca(number).replace(place, by, 1)


OTHERS: list[bytes] = [b"[1, 2]", b'"a text"', b"17", b"null", b"true", b"[]"]
#: The kinds: a function that makes a row from its number, and the expected result.
KINDS: dict[str, tuple[Callable[[int], bytes], str]] = {
    "bad_utf8": (lambda n: spoilt(n, b"Que", b"Qu\xff\xfe"), "bad-utf8"),
    "nul_escape": (lambda n: spoilt(n, b"Que", b"Qu\\u0000"), "nul"),
    "nul_byte": (lambda n: spoilt(n, b"Que", b"Qu\0"), "corrupt-json"),
    "bom_before": (lambda n: b"\xef\xbb\xbf" + alpaca(n), "corrupt-json"),
    "carriage_return": (lambda n: alpaca(n) + b"\r", ACCEPTED),
    "lone_surrogate": (lambda n: spoilt(n, b"Que", b"Qu\\ud83d"), "lone-surrogate"),
    "truncated": (lambda n: alpaca(n)[: 20 + n % 20], "corrupt-json"),
    "not_an_object": (lambda n: OTHERS[n % len(OTHERS)], "not-an-object"),
    "missing_field": (lambda n: alpaca(n, output=None), "missing-field"),
    "wrong_type": (lambda n: alpaca(n, output=[n]), "wrong-type"),
    "empty_text": (lambda n: alpaca(n, instruction=" \t\u2003"[: n % 4]), "empty-text"),
    "number_answer": (lambda n: alpaca(n, output=n), ACCEPTED),
    "null_input": (lambda n: spoilt(n, b'"input": ""', b'"input": null'), ACCEPTED),
    "boolean_answer": (lambda n: alpaca(n, output=True), "wrong-type"),
    "array_of_objects": (lambda n: b"[" + alpaca(n) + b"]", "not-an-object"),
    "unknown_role": (lambda n: talk(n, "moderator"), "unknown-role"),
}


def make_lines(each: int, good: int, long: int) -> tuple[list[Line], list[Line]]:
    """Return the lines of an Alpaca file and of a file of messages, in a seeded order.

    Besides the kinds: good rows, exact repeats of a tenth of them, blank lines, and lines
    beyond the limit.
    """
    chance, number = random.Random(12), good
    rows = [Line(alpaca(n), ACCEPTED) for n in range(good)]
    talks = [Line(talk(n), ACCEPTED) for n in range(good // 10)]
    for make, reason in KINDS.values():
        made = [Line(make(n), reason) for n in range(number, number + each)]
        number += each
        (talks if reason == "unknown-role" else rows).extend(made)
    rows += chance.sample(rows[:good], good // 10)
    rows += [Line(b" " * (n % 3), "blank") for n in range(each // 10)]
    wide = b'{"instruction": "' + b"x" * LINE_LIMIT + b'", "output": "y"}'
    rows += [Line(wide, "too-long")] * long
    chance.shuffle(rows)
    chance.shuffle(talks)
    # The first line decides the adapter of the file.
    return [Line(alpaca(number), ACCEPTED), *as_repeated(rows)], [
        Line(talk(number), ACCEPTED),
        *talks,
    ]


def as_repeated(lines: list[Line]) -> list[Line]:
    """Return the lines with the expected rejection of repeated good ones."""
    earlier: set[bytes] = set()
    expected = []
    for line in lines:
        is_repeat = line.reason == ACCEPTED and line.data in earlier
        expected.append(Line(line.data, "duplicate") if is_repeat else line)
        earlier.add(line.data)
    return expected


def prepare(folder: Path, files: list[Path], units: int) -> Path:
    """Run the stage as a user does; return the folder with its output."""
    data = ", ".join(f'"{file}"' for file in files)
    recipe = folder / "recipe.toml"
    settings = f"units = {units}\nmax_rejected_fraction = 1\n"
    recipe.write_text(f'[rows]\nstage = "prepare"\ndata = [{data}]\n{settings}')
    overrides = [f"recipe={recipe}", "stage=rows", "launcher=local", f"work={folder / 'work'}"]
    subprocess.run(
        [sys.executable, "-m", "hala_hpc.launch", *overrides],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=END_LIMIT_S,
    )
    return folder / "work" / "latest" / "rows" / "output"


def texts_of(data: bytes) -> tuple[str, ...]:
    """Return the expected texts of a good line."""
    row = json.loads(data)
    if "messages" in row:
        return tuple(message["content"] for message in row["messages"])
    return row["instruction"], str(row["output"])


def count(output: Path, wanted: dict[Path, list[Line]]) -> dict[str, Any]:
    """Compare the output with the expected rows, row by row."""
    import pyarrow.parquet as pq

    found: Counter[tuple[str, ...]] = Counter()
    for part in sorted(output.glob("part-*.parquet")):
        for row in pq.read_table(part).to_pylist():
            found[tuple(message["content"] for message in row["messages"])] += 1
    rejected_entries: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for path in sorted(output.glob("rejected-*.jsonl")):
        for text in path.read_text(encoding="utf-8").split("\n")[:-1]:
            entry = json.loads(text)
            rejected_entries.setdefault((entry["where"], entry["line"]), []).append(entry)
    out, rejected = found.total(), sum(map(len, rejected_entries.values()))
    counts = Counter(entry["reason"] for entries in rejected_entries.values() for entry in entries)
    lost = doubled = wrong = rows = 0
    for path, lines in wanted.items():
        for number, line in enumerate(lines, start=1):
            entries = rejected_entries.pop((str(path), number), [])
            if line.reason == "blank":
                wrong += len(entries)
                continue
            rows += 1
            times = len(entries)
            if line.reason == ACCEPTED:
                times += found.pop(texts_of(line.data), 0)
            lost += times == 0
            doubled += times > 1
            wrong += not agrees(line, entries)
    made_up = found.total() + sum(map(len, rejected_entries.values()))
    return {
        "rows_in": rows,
        "rows_out": out,
        "rows_rejected": rejected,
        "rejected": dict(sorted(counts.items())),
        "lost": lost,
        "doubled": doubled,
        "wrong_reason": wrong,
        "made_up": made_up,
    }


def agrees(line: Line, entries: list[dict[str, Any]]) -> bool:
    """Whether a line was rejected as expected, with all its bytes, or not at all."""
    if line.reason == ACCEPTED:
        return not entries
    raw = line.data.rstrip(b"\r")
    for entry in entries:
        reported_raw = entry["row"].encode(errors="surrogateescape")
        whole = reported_raw == raw or (
            line.reason == "too-long" and reported_raw and raw.startswith(reported_raw)
        )
        if entry["reason"] != line.reason or not whole:
            return False
    return bool(entries)


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write the files, run the stage, and compare."""
    wanted: dict[Path, list[Line]] = {}
    for name, lines in zip(
        ("rows", "talks"), make_lines(args.each, args.good, args.long), strict=True
    ):
        path = folder / f"{name}.jsonl"
        path.write_bytes(b"\n".join(line.data for line in lines) + b"\n")
        wanted[path] = lines
    output = prepare(folder, list(wanted), args.units)
    summary = json.loads((output.parent / "summary.json").read_text())
    counted = count(output, wanted)
    reported = {
        name: summary[name] for name in ("rows_in", "rows_out", "rows_rejected", "rejected")
    }
    same = all(counted[name] == value for name, value in reported.items())
    return {"kinds": len(KINDS), "each": args.each, **counted, "summary_agrees": same}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=1000, help="rows of each kind")
    parser.add_argument("--good", type=int, default=30_000, help="good rows among them")
    parser.add_argument("--long", type=int, default=3, help="lines of 16 MiB")
    parser.add_argument("--units", type=int, default=8)
    with tempfile.TemporaryDirectory() as _folder:
        _found = measure(Path(_folder), parser.parse_args())
    print(json.dumps(_found))
    _bad = [_found[_name] for _name in ("lost", "doubled", "wrong_reason", "made_up")]
    sys.exit(0 if not any(_bad) and _found["summary_agrees"] else 1)
