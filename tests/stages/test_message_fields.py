"""Weights, calls, results and names of messages go from prepare through translate to the tokens."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import launch, recipe
from corpora import KNOWN
from tiny_models import CHAT_TEMPLATE, make_tokenizer

from benchmarks.kills.node import DISABLED_CHECKS, empty_model
from hala_hpc.data.corpus.reader import Row, read_rows
from hala_hpc.engines.training.dataset import load_training_data
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX

ENGINE = Path(__file__).parents[2] / "docs" / "adding-an-engine.md"
CALL = {"name": "sky", "arguments": {"city": "Ankara"}}
TOOL = {"type": "function", "function": {"name": "sky", "parameters": {"type": "object"}}}
TOOL_TEMPLATE = "{% if tools %}{{ tools | tojson }}\n{% endif %}" + CHAT_TEMPLATE.replace(
    "{{ m.content }}",
    "{{ m.content }}{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}",
)
ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": KNOWN[7]}]},
            {"role": "user", "content": KNOWN[3], "name": "Sami"},
            {"role": "assistant", "content": KNOWN[1], "weight": 0},
            {"role": "user", "content": KNOWN[4]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "a1", "function": CALL}]},
            {"role": "tool", "content": KNOWN[5], "tool_call_id": "a1", "name": "sky"},
            {"role": "assistant", "content": KNOWN[6], "train": True},
        ],
        "tools": [TOOL],
    },
    {"messages": [{"role": "user", "content": KNOWN[0]}, {"role": "bot", "content": KNOWN[2]}]},
]


@pytest.mark.slow
@pytest.mark.long
def test_fields_of_messages_reach_the_labels(tmp_path: Path, work: Path) -> None:
    make_tokenizer(tmp_path / "words")
    (tmp_path / "words" / "chat_template.jinja").write_text(TOOL_TEMPLATE)
    engine = ENGINE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "capitals.py").write_text(engine)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    text = f"""
[rows]
stage = "prepare"
data = "{rows}"
units = 1
[capitals]
stage = "translate"
model = "{empty_model(tmp_path / "model")}"
corpus = "@rows"
units = 1
prompt = "{{text}}"
engine.name = "capitals:CapitalsEngine"
checks.disabled = {DISABLED_CHECKS}
[tokens]
stage = "tokenize"
model = "{tmp_path}/words"
train = "@capitals"
units = 1
held_out = 0.0
"""
    ended = launch("stage=all", recipe(tmp_path, text), f"work={work}", PYTHONPATH=str(tmp_path))
    assert ended.code == 0, ended
    [talk, plain] = read_rows(work / "latest" / "capitals" / "output")
    assert [m["role"] for m in talk["messages"]] == [
        *("system", "user", "assistant", "user", "assistant", "tool", "assistant"),
    ]
    assert [m["content"] for m in talk["messages"]] == [
        *(KNOWN[n].upper() for n in (7, 3, 1, 4)),
        "",
        KNOWN[5],
        KNOWN[6].upper(),
    ]
    for sides in ("messages", "messages_source"):
        assert fields_of(talk[sides]) == {
            1: {"name": "Sami"},
            2: {"weight": 0.0},
            4: {"tool_calls": json.dumps([{"id": "a1", "type": "function", "function": CALL}])},
            5: {"tool_call_id": "a1", "name": "sky"},
        }
    assert json.loads(talk["tools"]) == [TOOL]
    assert fields_of(plain["messages"]) == {}
    check_labels(work / "latest" / "tokens" / "output")


def fields_of(messages: list[Row]) -> dict[int, dict[str, Any]]:
    """What messages have beside role and content, by number."""
    found = {
        number: {name: value for name, value in message.items() if name not in ("role", "content")}
        for number, message in enumerate(messages)
    }
    return {number: fields for number, fields in found.items() if fields}


def check_labels(tokens: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokens / "tokenizer")
    [talk, plain] = sorted(load_training_data(tokens).train, key=lambda row: -row["length"])
    learned = [
        tokenizer.decode([label for label in row["labels"] if label != IGNORE_INDEX])
        for row in (talk, plain)
    ]
    assert learned == [
        f"{json.dumps(CALL)}<|im_end|>{KNOWN[6].upper()}<|im_end|>",
        f"{KNOWN[2].upper()}<|im_end|>",
    ]
    text = tokenizer.decode(talk["input_ids"])
    assert text.startswith(json.dumps([TOOL]))
    assert f"<|im_start|>tool\n{KNOWN[5]}<|im_end|>" in text
    assert f"<|im_start|>assistant\n{KNOWN[1].upper()}<|im_end|>" in text
