"""Messages to tokens: weights, tools, system turns, control tokens and pieces without a label."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpora import row_id
from tiny_models import CHAT_TEMPLATE, make_tokenizer
from token_folders import make_tokens, tokenized

from hala_hpc.core.errors import BAD_DATA, UserError
from hala_hpc.data.corpus.reader import Row, part_name
from hala_hpc.data.corpus.writer import CorpusWriter
from hala_hpc.engines.training.dataset import load_training_data
from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX, ExampleMaker

CALL = {"type": "function", "function": {"name": "sky", "arguments": {"city": "Ankara"}}}
TOOL = {"type": "function", "function": {"name": "sky", "parameters": {"type": "object"}}}
#: A template like that of Qwen: tools in the system turn, calls in the assistant's.
TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: The same for a template that puts the arguments behind the name as text.
TEXT_TEMPLATE = TOOL_TEMPLATE.replace(
    "call.function | tojson", "call.function.name + call.function.arguments"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% endfor %}" + CHAT_TEMPLATE
)
#: Leaves system turns out without a word.
SILENT = CHAT_TEMPLATE.replace(
    "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("message-tokens")
    make_tokenizer(folder / "model")
    return folder


def load(folder: Path, template: str = TOOL_TEMPLATE) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.chat_template = template
    return tokenizer


def message(role: str, content: str = "", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def learned(tokenizer: Any, example: Any) -> str:
    assert not isinstance(example, str), example
    return str(tokenizer.decode([label for label in example.labels if label != IGNORE_INDEX]))


def write_rows(folder: Path, rows: list[list[dict[str, Any]]]) -> str:
    with CorpusWriter(folder / part_name(0), "conversations", has_fields=True) as writer:
        for messages in rows:
            row: Row = {"id": row_id(messages), "origin": "test", "messages": messages}
            writer.add(row)
    return str(folder)


TALK = [
    message("user", "Where is the school?"),
    message("assistant", "It is blue.", weight=0.0),
    message("user", "Good morning."),
    message("assistant", "Thank you."),
]


def test_an_answer_of_weight_0_is_context(folder: Path) -> None:
    tokenizer = load(folder)
    for style in ("chat", "plain"):
        maker = ExampleMaker(tokenizer, None, style)  # type: ignore[arg-type]
        (example,) = maker.encode([TALK])
        assert learned(tokenizer, example) == "Thank you.<|im_end|>"
        assert not isinstance(example, str)
        assert "It is blue." in tokenizer.decode(example.input_ids)
        turned = [*TALK[2:], *TALK[:2]]
        (example,) = maker.encode([turned])
        assert not isinstance(example, str)
        # Nothing after the last answer that is learned is read.
        assert tokenizer.decode(example.input_ids).endswith("Thank you.<|im_end|>")
        assert list(maker.encode([TALK[:2]])) == ["nothing_to_learn"]


def tool_talk(content: str = "", city: str = "Ankara") -> list[dict[str, Any]]:
    function = {"name": "sky", "arguments": {"city": city}}
    calls = json.dumps([{"type": "function", "function": function}])
    return [
        message("user", "The sky?"),
        message("assistant", content, tool_calls=calls),
        message("tool", "blue", tool_call_id="a1", name="sky"),
        message("assistant", "The sky is blue."),
    ]


@pytest.mark.parametrize("template", [TOOL_TEMPLATE, TEXT_TEMPLATE])
def test_calls_tools_and_results_are_as_the_template_shows_them(
    folder: Path, template: str
) -> None:
    tokenizer = load(folder, template)
    messages = tool_talk("I look.")
    (example,) = ExampleMaker(tokenizer, None).encode([messages], [json.dumps([TOOL])])
    arguments: Any = {"city": "Ankara"}
    if template is TEXT_TEMPLATE:
        arguments = json.dumps(arguments)
    decoded = [{**m} for m in messages]
    decoded[1]["tool_calls"] = [
        {"type": "function", "function": {"name": "sky", "arguments": arguments}}
    ]
    rendered = tokenizer.apply_chat_template(decoded, tools=[TOOL], tokenize=False)
    assert not isinstance(example, str), example
    assert tokenizer.decode(example.input_ids) == rendered.rstrip("\n")
    answers = learned(tokenizer, example)
    assert answers.startswith("I look.<call>")
    assert answers.endswith("</call><|im_end|>The sky is blue.<|im_end|>")
    assert "blue" not in answers.split("<|im_end|>")[0]


def test_what_a_template_does_not_show_is_the_reason_of_the_unused_row(folder: Path) -> None:
    tools = json.dumps([TOOL])
    plain = [message("user", "Hi"), message("assistant", "Good morning.")]
    hostile = tool_talk(city="<|im_end|>")
    rows = [tool_talk(), plain, plain, hostile, [message("system", "Be kind."), *plain]]
    listed = ["", tools, "", "", ""]
    expected = {
        CHAT_TEMPLATE: ["tool_calls_not_in_template", "tools_not_in_template", None],
        TOOL_TEMPLATE: [None, None, None, "control_tokens_in_call", None],
        SILENT: [
            "tool_calls_not_in_template",
            "tools_not_in_template",
            None,
            None,
            "left_out_by_template",
        ],
        NO_SYSTEM: [None, None, None, None, "refused_by_template"],
    }
    for template, reasons in expected.items():
        maker = ExampleMaker(load(folder, template), None)
        for example, reason in zip(maker.encode(rows, listed), reasons, strict=False):
            if reason:
                assert example == reason, template
    assert maker.template_errors == {"System role not supported": 1}
    maker = ExampleMaker(load(folder), None, "plain")
    assert next(iter(maker.encode([tool_talk()]))) == "tool_calls_not_in_template"


def test_tokens_that_control_a_model_are_text_in_a_text_special_or_not(folder: Path) -> None:
    names = ["<think>", "</tool_call>", "<|fim_prefix|>", "<｜User｜>", "[TOOL_CALLS]", "<unused7>"]
    text_names = ["<table>", "</h1>", "    ", "<3"]
    tokenizer = load(folder)
    tokenizer.add_tokens([*names, *text_names])
    maker = ExampleMaker(tokenizer, None)
    for name in (*names, "<|im_start|>", "<|im_end|>"):
        row = [message("user", "Hi"), message("assistant", f"Say {name} now.")]
        (example,) = maker.encode([row])
        assert not isinstance(example, str)
        number = tokenizer.convert_tokens_to_ids(name)
        template_only = {"<|im_start|>": 2, "<|im_end|>": 2}.get(name, 0)
        assert list(example.input_ids).count(number) == template_only, name
        assert learned(tokenizer, example) == f"Say {name} now.<|im_end|>"
    for name in text_names:
        (example,) = maker.encode([[message("user", "Hi"), message("assistant", f"a{name}b")]])
        assert not isinstance(example, str)
        assert tokenizer.convert_tokens_to_ids(name) in example.input_ids


def test_parts_without_a_label_are_not_written(folder: Path, tmp_path: Path) -> None:
    questions = ["Where is the school? " * 30, "Hi", "Good morning. " * 12]
    rows = [
        [message("user", f"{n} {text}"), message("assistant", "Yes.")]
        for n, text in enumerate(questions)
    ]
    options = {
        "model": str(folder / "model"),
        "train": [write_rows(tmp_path / "rows", rows)],
        "max_length": 32,
        "long_rows": "split",
    }
    for more in ({}, {"packing": True}):
        base = tmp_path / f"packing-{bool(more)}"
        made = tokenized(base, **options, units=1, held_out=0.0, **more)
        data = load_training_data(base / "tokens")
        assert data.facts.rows == 3
        assert made.markers[0].rows_out == 3
        for row in data.train:
            assert (row["labels"] != IGNORE_INDEX).any()


def test_too_many_refused_rows_end_the_node_with_the_error_of_the_template(
    folder: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    load(folder, NO_SYSTEM).save_pretrained(model)
    rows = [
        [
            *([message("system", "Be kind.")] * (n > 0)),
            message("user", f"Hi {n}"),
            message("assistant", "Yes."),
        ]
        for n in range(20)
    ]
    options = {
        "model": str(model),
        "train": [write_rows(tmp_path / "rows", rows)],
        "max_length": 96,
    }
    with pytest.raises(UserError) as caught:
        make_tokens(tmp_path / "refused", **options, units=3)
    assert caught.value.code == BAD_DATA
    message_text = str(caught.value)
    assert "19 of 20 rows are rejected (refused_by_template 19)" in message_text
    assert "errors of the chat template: 'System role not supported' (19 rows)" in message_text
    assert 'system_prompt = "user"' in message_text
    lenient = load_training_data(
        make_tokens(tmp_path / "few", **options, max_rejected_fraction=1.0)
    )
    assert lenient.facts.rows == 1
    moved = load_training_data(make_tokens(tmp_path / "moved", **options, system_prompt="user"))
    assert moved.facts.rows == 20
    tokenizer = load(folder)
    texts = {tokenizer.decode(row["input_ids"]) for row in moved.train}
    assert (
        "<|im_start|>user\nBe kind.\n\nHi 7<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>"
        in texts
    )
