"""Turns as people write them: roles, parts, weights and tools are read, or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from prepare_runs import prepare, summary

from hala_hpc.data.corpus.reader import read_rows

CALL = {"name": "get_weather", "arguments": {"city": "Ankara"}}
FORMATTED = {"type": "function", "function": CALL}
TOOL = {"name": "get_weather", "parameters": {"type": "object"}}


def ask(text: str = "Hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(content: Any = "Yes", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def call(**fields: Any) -> dict[str, Any]:
    return assistant(None, **fields)


def talk(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": list(turns), **fields}


def named(role: str, answer: str = "assistant") -> dict[str, Any]:
    """A conversation in ShareGPT's fields with a turn of this role between two others."""
    turns = [("human", "Hi"), (role, "5"), (answer, "Yes")]
    return {"conversations": [{"from": name, "value": text} for name, text in turns]}


#: Rows, and the roles that their messages have or the reason why they are rejected.
ROLES: list[tuple[dict[str, Any], str]] = [
    (named("developer"), "user system assistant"),
    (named(" Developer "), "user system assistant"),
    (named("tool"), "user tool assistant"),
    (named("function"), "user tool assistant"),
    (named("Observation"), "user tool assistant"),
    (named("Tool Response"), "user tool assistant"),
    (named("tool-result"), "user tool assistant"),
    (named("ipython"), "user tool assistant"),
    (named("user", "model"), "user user assistant"),
    (named("user", "BOT"), "user user assistant"),
    (named("user", "GPT\n"), "user user assistant"),
    (named("Narrator"), "user system assistant"),
    (named("moderator"), "unknown-role"),
    (named("7"), "unknown-role"),
]
#: Rows, and the text of their answer or the reason.
PARTS: list[tuple[dict[str, Any], str]] = [
    (talk(ask("1"), assistant([{"type": "text", "text": "One"}])), "One"),
    (
        talk(
            ask("2"), assistant([{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}])
        ),
        "One\nTwo",
    ),
    (talk(ask("3"), assistant([{"type": "output_text", "text": "One"}])), "One"),
    (talk(ask("4"), assistant(["One", "Two"])), "One\nTwo"),
    (talk(ask("5"), assistant([{"text": "One", "image_url": None}])), "One"),
    (
        talk(
            ask("6"), assistant([{"type": "text", "text": None}, {"type": "text", "text": "One"}])
        ),
        "One",
    ),
    (
        talk(ask("7"), assistant([{"type": "image_url", "image_url": {"url": "x"}}])),
        "part-image_url",
    ),
    (
        talk(ask("8"), assistant([{"type": "text", "text": "a"}, {"type": "input_audio"}])),
        "part-input_audio",
    ),
    (talk(ask("9"), assistant([{"type": "text", "text": {"value": "a"}}])), "part-text"),
    (talk(ask("10"), assistant([{"type": "Öl <b>\n", "x": 1}])), "part--l-b-"),
    (talk(ask("11"), assistant([])), "empty-text"),
    (talk(ask("12"), assistant([7])), "wrong-type"),
    (talk(ask("13"), assistant({"text": "a"})), "wrong-type"),
]
#: Answers, and whether they are learned or the reason.
WEIGHTS: list[tuple[dict[str, Any], str]] = [
    ({"weight": 0}, "context"),
    ({"weight": 0.0}, "context"),
    ({"weight": False}, "context"),
    ({"train": False}, "context"),
    ({"mask": True}, "context"),
    ({"masked": 1}, "context"),
    ({"weight": 1, "mask": True}, "context"),
    ({"weight": 1}, "learned"),
    ({"train": True, "mask": False}, "learned"),
    ({"weight": None, "train": None}, "learned"),
    ({"weight": 0.5}, "wrong-weight"),
    ({"weight": "0"}, "wrong-weight"),
    ({"weight": -1}, "wrong-weight"),
    ({"mask": [0, 1]}, "wrong-weight"),
]
#: Turns, and the calls that they make or the reason.
CALLS: list[tuple[dict[str, Any], Any]] = [
    (
        call(tool_calls=[{"id": "a1", "type": "function", "function": CALL}]),
        [{"id": "a1", **FORMATTED}],
    ),
    (call(tool_calls=[{"function": {**CALL, "arguments": '{"city": "Ankara"}'}}]), [FORMATTED]),
    (call(tool_calls=json.dumps([CALL])), [FORMATTED]),
    (call(tool_calls=[CALL, CALL]), [FORMATTED, FORMATTED]),
    (call(function_call=CALL), [FORMATTED]),
    (call(function_call={**CALL, "arguments": '{"city": "Ankara"}'}), [FORMATTED]),
    ({"role": "function_call", "content": json.dumps(CALL)}, [FORMATTED]),
    ({"from": "Tool Call", "value": json.dumps([CALL])}, [FORMATTED]),
    (assistant("I look.", tool_calls=[CALL]), [FORMATTED]),
    (
        call(tool_calls=[{"name": "now", "arguments": ""}]),
        [{"type": "function", "function": {"name": "now", "arguments": {}}}],
    ),
    (
        call(tool_calls=[{"name": "now", "parameters": {}}]),
        [{"type": "function", "function": {"name": "now", "arguments": {}}}],
    ),
    (call(tool_calls=[{"id": 1}]), "bad-tool-call"),
    (call(tool_calls=["{"]), "bad-tool-call"),
    (call(tool_calls=[{"name": "now", "arguments": [1]}]), "bad-tool-call"),
    ({"role": "function_call", "content": "get_weather(Ankara)"}, "bad-tool-call"),
    (call(tool_calls=[{"name": "a\ud800", "arguments": {}}]), "lone-surrogate"),
    (call(tool_calls=[]), "missing-field"),
]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def called(turn: dict[str, Any], number: int) -> dict[str, Any]:
    """A conversation in which a tool is called with its result; its number makes it unique."""
    result = {"role": "tool", "content": {"sky": "blue"}, "tool_call_id": "a1", "name": "now"}
    return talk(ask(f"call {number}"), turn, result, assistant("Blue."), tools=json.dumps([TOOL]))


def outcomes(folder: Path) -> dict[str, dict[int, Any]]:
    """By file: messages of accepted rows and reasons of rejected ones, by line."""
    output = folder / "work" / "latest" / "rows" / "output"
    found: dict[str, dict[int, Any]] = {}
    for path in output.glob("rejected-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.setdefault(Path(row["where"]).name, {})[row["line"]] = row["reason"]
    return found


def test_turns_of_every_form_are_read_or_refused_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    weighed = [talk(ask(f"weight {n}"), assistant("Yes", **f)) for n, (f, _) in enumerate(WEIGHTS)]
    files = {
        "calls.jsonl": [called(turn, n) for n, (turn, _) in enumerate(CALLS)],
        "parts.jsonl": [row for row, _ in PARTS],
        "roles.jsonl": [{**row, "system": f"{n}"} for n, (row, _) in enumerate(ROLES)],
        "weights.jsonl": weighed,
    }
    for name, rows in files.items():
        write_rows(data / name, rows)
    ended = prepare(
        tmp_path, [data], 'role_names = { narrator = "system" }', "max_rejected_fraction = 1"
    )
    assert ended.code == 0, ended
    counts = summary(tmp_path)
    assert counts["rows_in"] == sum(map(len, files.values()))
    assert counts["rows_in"] == counts["rows_out"] + counts["rows_rejected"]
    rejected = outcomes(tmp_path)
    accepted = list(read_rows(tmp_path / "work" / "latest" / "rows" / "output"))
    taken = iter(accepted)

    def outcome(name: str, line: int) -> Any:
        return rejected.get(name, {}).get(line) or next(taken)

    for line, (turn, calls) in enumerate(CALLS, 1):
        found = outcome("calls.jsonl", line)
        if isinstance(calls, str):
            assert found == calls, turn
            continue
        assert json.loads(found["messages"][1]["tool_calls"]) == calls, turn
        assert found["messages"][1]["content"] == (
            "I look." if turn.get("content") == "I look." else ""
        )
        assert found["messages"][2] == {
            "role": "tool",
            "content": '{"sky": "blue"}',
            "tool_call_id": "a1",
            "name": "now",
        }
        assert found["messages"][3] == {"role": "assistant", "content": "Blue."}
        assert json.loads(found["tools"]) == [{"type": "function", "function": TOOL}]
    for line, (row, answer) in enumerate(PARTS, 1):
        found = outcome("parts.jsonl", line)
        assert (found if isinstance(found, str) else found["messages"][1]["content"]) == answer, row
    for line, (row, roles) in enumerate(ROLES, 1):
        found = outcome("roles.jsonl", line)
        if not isinstance(found, str):
            found = " ".join(message["role"] for message in found["messages"][1:])
        assert found == roles, row
    for line, (fields, state) in enumerate(WEIGHTS, 1):
        found = outcome("weights.jsonl", line)
        if not isinstance(found, str):
            found = "context" if found["messages"][1].get("weight") == 0 else "learned"
        assert found == state, fields
    assert next(taken, None) is None


@pytest.mark.long
def test_a_corpus_without_such_fields_has_the_columns_of_before(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    plain = write_rows(
        tmp_path / "plain.jsonl", [talk(ask(), assistant("Yes", weight=1, name=None))]
    )
    ended = prepare(tmp_path, [plain])
    assert ended.code == 0, ended
    [part] = (tmp_path / "work" / "latest" / "rows" / "output").glob("part-*.parquet")
    schema = pq.read_schema(part)
    assert schema.names == ["id", "origin", "messages"]
    assert [field.name for field in schema.field("messages").type.value_type] == ["role", "content"]


def test_rows_with_tools_are_left_out_if_that_is_set(tmp_path: Path) -> None:
    prompt = [ask("prompt"), assistant("Not learned."), ask("And?")]
    rows = [
        called(call(tool_calls=[CALL]), 0),
        named("tool"),
        talk(ask(), assistant("Yes")),
        talk(ask("listed"), assistant("Yes"), tools="hammer, saw"),
    ]
    completed = {"prompt": prompt, "completion": [assistant("Learned.")]}
    data = [
        write_rows(tmp_path / "rows.jsonl", rows),
        write_rows(tmp_path / "prompt.jsonl", [completed]),
    ]
    ended = prepare(tmp_path, data, 'tool_use = "reject"')
    assert ended.code == 0, ended
    assert summary(tmp_path)["rejected"] == {"tool-use": 2}
    accepted = list(read_rows(tmp_path / "work" / "latest" / "rows" / "output"))
    assert [row["messages"][0]["content"] for row in accepted] == ["Hi", "listed", "prompt"]
    # As in TRL, an answer within the prompt is context.
    weights = [message.get("weight") for message in accepted[2]["messages"]]
    assert weights == [None, 0, None, None]


@pytest.mark.long
def test_a_role_that_is_not_known_names_the_setting(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [named("moderator"), named("user")])
    ended = prepare(tmp_path, [rows])
    assert ended.code == 65, ended
    assert 'role_names = { narrator = "system" }' in ended.err + ended.out
