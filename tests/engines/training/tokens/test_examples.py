"""Conversations to examples: which tokens have labels, in work that grows as they do."""

from pathlib import Path
from typing import Any

import pytest
from tiny_models import make_tokenizer

from hala_hpc.engines.training.tokens.examples import IGNORE_INDEX, ExampleMaker

#: Templates by how they render turns: one like ChatML, one that renders older answers differently
#: from the last (as those of models that think), one whose turns are numbered.
TEMPLATES = {
    "alike": "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}",
    "last_otherwise": "{% for m in messages %}<{{ m['role'] }}>"
    "{% if m['role'] == 'assistant' and loop.last %}thought {% endif %}{{ m['content'] }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
    "numbered": "{% for m in messages %}<{{ m['role'] }} {{ loop.index }}>{{ m['content'] }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant {{ messages | length + 1 }}>{% endif %}",
}


class CountingTokenizer:
    """A tokenizer that counts the characters of all templates that it renders."""

    def __init__(self, tokenizer: Any) -> None:
        self.inner, self.letters = tokenizer, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.inner(*args, **options)

    def apply_chat_template(self, *args: Any, **options: Any) -> str:
        text: str = self.inner.apply_chat_template(*args, **options)
        self.letters += len(text)
        return text


def counting(folder: Path, template: str) -> CountingTokenizer:
    from transformers import AutoTokenizer

    make_tokenizer(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.chat_template = TEMPLATES[template]
    return CountingTokenizer(tokenizer)


def talk(messages: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": "It is good."} for n in range(messages)]


def loss_tokens(example: Any) -> int:
    return sum(label != IGNORE_INDEX for label in example.labels)


@pytest.mark.parametrize("template", ["alike", "last_otherwise"])
def test_work_grows_as_a_conversation_does(tmp_path: Path, template: str) -> None:
    tokenizer = counting(tmp_path, template)
    counts = []
    for messages in (40, 400):
        tokenizer.letters = 0
        [example] = ExampleMaker(tokenizer, None).encode([talk(messages)])
        assert not isinstance(example, str)
        counts.append(tokenizer.letters)
    assert counts[1] < 12 * counts[0]


def test_a_conversation_of_more_messages_than_tokens_is_refused_without_tokenizing(
    tmp_path: Path,
) -> None:
    tokenizer = counting(tmp_path, "alike")
    assert list(ExampleMaker(tokenizer, 512).encode([talk(10_000)])) == ["too_long"]
    assert tokenizer.letters == 0


def test_answers_that_are_rendered_alike_have_all_labels(tmp_path: Path) -> None:
    maker = ExampleMaker(counting(tmp_path, "alike"), None)
    few, many = (next(iter(maker.encode([talk(messages)]))) for messages in (2, 20))
    # The last token ends the text, once.
    assert loss_tokens(many) - 1 == 10 * (loss_tokens(few) - 1) > 0


def test_older_answers_that_are_rendered_differently_have_no_labels(tmp_path: Path) -> None:
    maker = ExampleMaker(counting(tmp_path, "last_otherwise"), None)
    few, many = (next(iter(maker.encode([talk(messages)]))) for messages in (2, 20))
    assert loss_tokens(many) == loss_tokens(few) > 0


def test_answers_of_a_template_that_numbers_its_turns_have_all_labels(tmp_path: Path) -> None:
    maker = ExampleMaker(counting(tmp_path, "numbered"), None)
    [example] = maker.encode([talk(20)])
    assert not isinstance(example, str)
    assert loss_tokens(example) >= 10 * 3
