"""The frame of an answer is stripped at both ends, and no byte of the rest is changed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from standin_engine import StandInEngine

from hala_hpc.engines.generation.answer_frame import THINKING, AnswerFrame, TextFrame, ThinkingBlock
from hala_hpc.engines.generation.engine import Completion, EngineConfig, Request
from hala_hpc.engines.generation.engine_choice import make_engine
from hala_hpc.engines.generation.row_program import UNFINISHED_THINKING
from hala_hpc.engines.generation.settings import EngineSettings

START, END, TURN = "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"
#: As in the vocabulary of command-r7b-12-2024: the end of a turn is special, the tags are not.
ADDED = {START: 0, END: 1, TURN: 2, "<think>": 3, "</think>": 4, "<b>": 5, "قرطبة": 6, "<unk>": 7}
SPECIAL = {2, 7}


class LetterTokenizer:
    """Every letter is a token, beside the added ones."""

    all_special_ids = sorted(SPECIAL)

    def __init__(self, added: dict[str, int] | None = None) -> None:
        self.added = ADDED if added is None else added
        self.names = {number: text for text, number in self.added.items()}

    def get_added_vocab(self) -> dict[str, int]:
        return dict(self.added)

    def ids(self, *parts: str) -> list[int]:
        return [i for p in parts for i in ([self.added[p]] if p in self.added else map(ord, p))]

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "".join(self.names.get(number, chr(number)) for number in ids)

    def batch_decode(self, answers: Sequence[Sequence[int]], **given: Any) -> list[str]:
        return [self.decode(ids, **given) for ids in answers]


TOKENIZER = LetterTokenizer()


def bare(*parts: str, prompt: str = "", prompt_end: Sequence[str] = (), cut: bool = True) -> Any:
    """Text of an answer without its frame, or the reason why there is none."""
    frame = AnswerFrame(TOKENIZER, cut, TOKENIZER.ids(*prompt_end))
    (found,) = frame.decode([(TOKENIZER.ids(*parts), prompt)])
    return found.reason or found.text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ((START, "نعم\n", END, TURN), "نعم\n"),
        (("نعم", END, TURN), "نعم"),
        (("\n", START, "\n نعم", END, "\n", TURN), "\n نعم"),
        (("نعم ", START, " لا", TURN), f"نعم {START} لا"),
        (("نعم <unk>", "<unk>", " لا"), "نعم <unk><unk> لا"),
        ((START, END, TURN), ""),
        ((" a [[1]] b ", TURN), " a [[1]] b "),
        # A word that a lab added to the vocabulary is a word.
        (("قرطبة", " مدينة ", "قرطبة", TURN), "قرطبة مدينة قرطبة"),
    ],
)
def test_added_tokens_are_cut_at_both_ends_and_nowhere_else(
    parts: tuple[str, ...], text: str
) -> None:
    assert bare(*parts) == text


def test_a_token_of_the_prompt_stays_where_it_frames_the_answer() -> None:
    assert bare("<b>", "نعم", TURN) == "نعم"
    assert bare("<b>", "نعم", TURN, prompt="Translate: <b>yes") == "<b>نعم"


def test_thinking_is_cut_with_its_content_and_left_whole_where_it_is_wanted() -> None:
    parts = ("<think>", " hm ", START, "</think>", "\n\n", START, "نعم", END, TURN)
    assert bare(*parts) == "نعم"
    assert bare(*parts, cut=False).startswith(f"<think> hm {START}</think>")
    assert bare("hm", "</think>", "نعم", TURN, prompt_end=("<think>", "\n")) == "نعم"
    # Prompts that end their thinking begin none.
    closed = ("<think>", "\n", "</think>", "\n")
    assert bare("hm", "</think>", "نعم", TURN, prompt_end=closed) == "hm</think>نعم"


def test_thinking_without_an_end_is_no_answer() -> None:
    assert bare("<think>", "hm", TURN) == UNFINISHED_THINKING
    assert bare("hm", TURN, prompt_end=("<think>",)) == UNFINISHED_THINKING
    assert bare("<think>", "</think>", TURN) == ""


def test_tags_of_thinking_that_are_no_tokens_are_found_in_the_text() -> None:
    tokenizer = LetterTokenizer({TURN: 2})
    frame = AnswerFrame(tokenizer)
    answers_ids = [
        tokenizer.ids(text, TURN) for text in ("<think>hm</think> نعم", "<think>hm", "نعم")
    ]
    found = frame.decode([(ids, "") for ids in answers_ids])
    assert [one.text.strip() for one in found] == ["نعم", "", "نعم"]
    assert [one.reason for one in found] == ["", UNFINISHED_THINKING, ""]
    opened = AnswerFrame(tokenizer, prompt_end=tokenizer.ids("<think>\n"))
    assert opened.decode([(tokenizer.ids("hm</think>نعم", TURN), "")])[0].text == "نعم"


def test_only_the_ends_of_an_answer_are_examined() -> None:
    class Watched(list[int]):
        reads = 0

        def __getitem__(self, place: Any) -> Any:
            Watched.reads += isinstance(place, int)
            return super().__getitem__(place)

    frame = AnswerFrame(TOKENIZER)
    frame.strip_ids(Watched(TOKENIZER.ids(START, "a" * 5000, END, TURN)), "")
    assert Watched.reads < 20


@pytest.mark.parametrize("block", THINKING)
def test_texts_are_cut_by_the_same_rule(block: ThinkingBlock) -> None:
    frame = TextFrame.of([*ADDED, *block], cut_thinking=True)
    framed = f"{block.start} hm {block.end}\n{START}نعم\n{END} {TURN}\n"
    assert frame.strip(framed, "").text == "نعم\n"
    assert frame.strip(f"{block.start} hm", "").reason == UNFINISHED_THINKING
    assert frame.strip(f" نعم {START} لا ", "").text == f" نعم {START} لا "
    assert frame.strip(f"<b>نعم{END}", "say <b>").text == "<b>نعم"
    left = TextFrame.of([*ADDED, *block], cut_thinking=False)
    assert left.strip(framed, "").text == f"{block.start} hm {block.end}\n{START}نعم\n"


class Framing(StandInEngine):
    """Puts its answers between tags, and does not finish its thinking if prompted to think."""

    def _answer(self, request: Request) -> Completion:
        plain = super()._answer(request)
        text = "<think>" if "think" in request.prompt else f"{START}{plain.text}{END}"
        return Completion(plain.key, text, True, plain.tokens_in, plain.tokens_out)


def test_the_texts_of_any_other_engine_are_cut_by_the_tokens_of_its_model(tmp_path: Path) -> None:
    added = [{"content": text, "special": False} for text in ADDED]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    settings = EngineSettings(name=f"{__name__}:Framing")
    engine = make_engine(EngineConfig(str(tmp_path), settings))
    for key, prompt_text in enumerate(("abc", "think")):
        engine.add(Request(key, list(prompt_text.encode()), 9, prompt=prompt_text))
    first, second = engine.step()
    assert (first.text, first.reason) == ("ابج", "")
    assert (second.text, second.reason) == ("", UNFINISHED_THINKING)


def test_cutting_leaves_fingerprints_as_they_are_and_keeping_does_not() -> None:
    assert EngineSettings().result_half() == EngineSettings(cut_thinking=True).result_half()
    assert "cut_thinking" not in EngineSettings().result_half()
    assert EngineSettings(cut_thinking=False).result_half()["cut_thinking"] is False


#: Texts that must stay the same to the byte.
BYTES = [
    "نعم، الباب مفتوح.",
    " two  spaces\n\n\tand a tab ",
    "[[1]] code: `x = {1}` <|not a token|> [[2]]",
    "قرطبة 🕌\u200f e\u0301 <unk",
    "",
]


def test_answers_between_the_tokens_of_a_real_tokenizer_come_back_to_the_byte() -> None:
    from tokenizers import AddedToken

    from hala_hpc.demo.tokenizer import COHERE_END, train_tokenizer
    from hala_hpc.engines.generation.prompts import Prompter

    tokenizer = train_tokenizer(["the door is open"] * 9, 300, "cohere2")
    tags = (START, END, *THINKING[0], *THINKING[1], "[[1]]", "[[2]]")
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in tags])
    template = tokenizer.chat_template
    tokenizer.chat_template = template.replace(
        "<|CHATBOT_TOKEN|>{% endif %}", f"<|CHATBOT_TOKEN|>{START}{{% endif %}}"
    )
    prompter = Prompter(tokenizer)
    assert tokenizer.decode(prompter.tail).endswith(f"<|CHATBOT_TOKEN|>{START}")
    frame = AnswerFrame(tokenizer, prompt_end=prompter.tail)
    thought = "<|START_THINKING|> what <think> now<|END_THINKING|>"
    for before, after in (("", END), (START, END), (f"{thought}{START}", f"{END}\n")):
        plain = [f"{before}{text}{after}{COHERE_END}" for text in BYTES]
        ids = tokenizer(plain, add_special_tokens=False)["input_ids"]
        prompt_text = "Translate: [[1]] [[2]]"
        found = frame.decode([(one, prompt_text) for one in ids])
        assert [one.text for one in found] == BYTES
        # As an engine that decodes by itself hands them over.
        texts = TextFrame.of(list(tokenizer.get_added_vocab()), True)
        assert [texts.strip(one, prompt_text).text for one in plain] == BYTES
