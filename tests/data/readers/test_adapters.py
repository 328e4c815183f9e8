"""Rows in the published format of the paper's data sets run through the recipe."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import launch

from hala_hpc.data.corpus.reader import read_rows

CODE = "Write it.\n```python\nprint(1)\n```"
#: For each node of the recipe: rows as published, the texts that must come out, and the reasons
#: why others do not.
PUBLISHED: dict[str, tuple[list[dict[str, Any]], list[list[str]], dict[str, int]]] = {
    "orca-405k": (
        [
            {
                "id": "niv.242684",
                "system_prompt": "",
                "question": "Is the sea salty?",
                "response": "It is.",
            },
            {
                "id": "flan.564327",
                "system_prompt": "You are an AI assistant.",
                "question": "Why?",
                "response": "Rivers bring salt.",
            },
        ],
        [
            ["user: Is the sea salty?", "assistant: It is."],
            ["system: You are an AI assistant.", "user: Why?", "assistant: Rivers bring salt."],
        ],
        {},
    ),
    "hermes": (
        [
            {
                "conversations": [
                    {"from": "system", "value": "You are Hermes 3."},
                    {"from": "human", "value": "Who are you?"},
                    {"from": "gpt", "value": "Hermes."},
                    {"from": "human", "value": "And I?"},
                    {"from": "gpt", "value": "My guest."},
                ]
            },
            {
                "conversations": [
                    {"from": "human", "value": "Print one."},
                    {"from": "gpt", "value": CODE},
                ]
            },
            {
                "conversations": [
                    {"from": "human", "value": "What is 2 + 3?"},
                    {"from": "gpt", "value": '<tool_call>\n{"name": "add"}\n</tool_call>'},
                    {"from": "tool", "value": "5"},
                    {"from": "gpt", "value": "It is 5."},
                ]
            },
        ],
        [
            [
                "system: You are Hermes 3.",
                "user: Who are you?",
                "assistant: Hermes.",
                "user: And I?",
                "assistant: My guest.",
            ]
        ],
        {"code": 1, "tool-use": 1},
    ),
    "scp": (
        [
            {
                "domain": "Mechanics",
                "problem": "Find $F$ for $m = 2$.",
                "matched_solution": "$F = ma$.",
                "o1_solution": "Another.",
                "is_o1_solution_same_with_matched_solution": True,
                "qwq_solution": "A third.",
                "is_qwq_solution_same_with_matched_solution": False,
            }
        ],
        [["user: Find $F$ for $m = 2$.", "assistant: $F = ma$."]],
        {},
    ),
    "realign": (
        [
            {
                "id": 0,
                "items": [
                    {"from": "human", "value": "Name a colour."},
                    {"from": "gpt", "value": "Green."},
                ],
            }
        ],
        [["user: Name a colour.", "assistant: Green."]],
        {},
    ),
    "lamini": (
        [
            {"instruction": "Sum up.", "response": "Done.", "instruction_source": "alpaca"},
            {"instruction": "Sum up.", "response": "Done.", "instruction_source": "flan"},
        ],
        [["user: Sum up.", "assistant: Done."]],
        {"duplicate": 1},
    ),
    "tulu": (
        [
            {
                "id": "personas_math_1",
                "messages": [
                    {"content": "Add 2 and 3.", "role": "user"},
                    {"content": "5", "role": "assistant"},
                ],
                "source": "ai2-adapt-dev/personahub_math_v5_regen_149960",
            },
            {
                "id": "aya_2",
                "messages": [
                    {"content": "Habari?", "role": "user"},
                    {"content": "Nzuri.", "role": "assistant"},
                ],
                "source": "ai2-adapt-dev/tulu_v3.9_aya_100k",
            },
            {
                "id": "wildchat_3",
                "messages": [
                    {"content": "Où se trouve la plus haute montagne ?", "role": "user"},
                    {"content": "Elle se trouve au Népal.", "role": "assistant"},
                ],
                "source": "ai2-adapt-dev/tulu_v3.9_wildchat_100k",
            },
        ],
        [["user: Add 2 and 3.", "assistant: 5"]],
        {"dropped": 1, "other-language": 1},
    ),
    "synthetic": (
        [{"prompt": "How to plant?", "chosen": "Dig first.", "rejected": "No."}],
        [["user: How to plant?", "assistant: Dig first."]],
        {},
    ),
    "opus": (
        [{"translation": {"ar": "نعم", "en": "Yes"}}],
        [["source: Yes", "target: نعم"]],
        {},
    ),
}


def lines_of(row: dict[str, Any]) -> list[str]:
    if "messages" in row:
        return [f"{message['role']}: {message['content']}" for message in row["messages"]]
    return [f"{name}: {row[name]}" for name in ("source", "target")]


def write_published(folder: Path, node: str) -> Path:
    """Rows in the format that the data set has on the hub."""
    rows = PUBLISHED[node][0]
    if node in {"realign", "synthetic"}:
        path = folder / f"{node}.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif node in {"scp", "hermes"}:
        path = folder / f"{node}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / f"{node}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.slow
def test_the_recipe_reads_each_data_set_of_the_paper_as_published(tmp_path: Path) -> None:
    overrides = [f"{node}.data={write_published(tmp_path, node)}" for node in PUBLISHED]
    spread = [
        f"{node}.{key}" for node in PUBLISHED for key in ("units=2", "max_rejected_fraction=1")
    ]
    ended = launch(
        f"stage={','.join(PUBLISHED)}",
        "recipe=hala",
        f"work={tmp_path / 'work'}",
        *overrides,
        *spread,
    )
    assert ended.code == 0, ended
    for node, (rows, wanted, rejected) in PUBLISHED.items():
        folder = tmp_path / "work" / "latest" / node
        found = sorted(map(lines_of, read_rows(folder / "output")))
        assert found == sorted(wanted), node
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["rejected"] == rejected, node
        assert summary["rows_in"] == len(rows)
