"""Three test prompts come before the rows; an engine that answers none of them stops its node."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from corpora import pair, write_corpus
from plain_out import PlainContext, PlainInputs, run_plain
from standin_engine import StandInEngine, arabic

from benchmarks.kills.node import empty_model
from hala_hpc.core.errors import CONFIG, FailureClass, UserError
from hala_hpc.engines.generation.engine import Completion, EngineConfig, Request
from hala_hpc.engines.generation.row_stage import TRIAL_SENTENCES
from hala_hpc.jobs.failures.classify import Evidence, classify
from hala_hpc.jobs.failures.policy import POLICY, Action
from hala_hpc.stages.translate import Settings, Translate

TEXTS = [f"The boy in house {number} reads." for number in range(12)]


class Scripted(StandInEngine):
    """Answers the test prompts as scripted, and those of rows well."""

    scripted_answers: ClassVar[tuple[Any, ...]] = ()
    asked: ClassVar[list[str]] = []

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.left = list(Scripted.scripted_answers)
        Scripted.asked = []

    def _answer(self, request: Request) -> Completion:
        Scripted.asked.append(request.prompt)
        done = super()._answer(request)
        if not self.left:
            return done
        text, whole, tokens_out = self.left.pop(0)
        return Completion(request.key, text, whole, done.tokens_in, tokens_out)


def run(tmp_path: Path, *scripted_answers: tuple[str, bool, int], **given: Any) -> PlainContext:
    """Translate twelve rows with an engine that first gives these answers."""
    Scripted.scripted_answers = scripted_answers
    corpus = write_corpus(tmp_path / "c", [pair(text, "") for text in TEXTS])
    settings = {
        "model": str(empty_model(tmp_path / "model")),
        "corpus": str(corpus),
        "units": 2,
        "engine": {"name": f"{__name__}:Scripted", **given},
        "checks": {"disabled": ["length_ratio"]},
    }
    return run_plain("translate", settings, tmp_path)


EMPTY, CUT = (" ", True, 1), ("", False, 1)
TAGGED = ("<|START|>نعم<|END|>", True, 9)
THINKING = ("<think>so", False, 88)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([EMPTY] * 3, "check prompt_style and the chat template"),
        ([CUT] * 3, "raise engine.max_new_tokens"),
        ([TAGGED] * 3, "make them added tokens of the model's tokenizer"),
        ([THINKING] * 3, "raise engine.max_growth and engine.max_new_tokens"),
        ([EMPTY, CUT, TAGGED], "'<|START|>نعم<|END|>' (framed)"),
    ],
)
def test_a_node_fails_before_its_rows_where_no_answer_can_be_used(
    tmp_path: Path, answers: list[tuple[str, bool, int]], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        run(tmp_path, *answers)
    assert caught.value.code == CONFIG
    assert message in str(caught.value)
    assert TRIAL_SENTENCES[0] in str(caught.value)
    assert len(Scripted.asked) == 3
    found = classify(Evidence(code=CONFIG, reasons=(str(caught.value),)))
    assert found
    assert found.kind is FailureClass.CONFIG_ERROR
    assert POLICY[found.kind].action is Action.STOP


@pytest.mark.parametrize(
    "answers",
    [
        [EMPTY, EMPTY, ("no translation at all", True, 4)],
        [("The door is open.", True, 5)] * 3,
        [("نعم نعم نعم", False, 88)] * 3,
        [("a <|x|> b", True, 5)] * 3,
    ],
)
def test_one_answer_is_enough_however_bad_it_is(
    tmp_path: Path, answers: list[tuple[str, bool, int]]
) -> None:
    out = run(tmp_path, *answers)
    assert len(out.markers) == 2
    assert (
        sum(marker.rows_in for marker in out.markers.values()) == len(TEXTS) == out.counts["rows"]
    )
    tokens = sum(len(arabic(text).encode()) for text in TEXTS)
    assert (
        out.counts["tokens"] == tokens == sum(marker.tokens_out for marker in out.markers.values())
    )
    assert [TRIAL_SENTENCES[n] in Scripted.asked[n] for n in range(3)] == [True] * 3


def test_they_come_once_in_an_engine_whatever_its_size_becomes(tmp_path: Path) -> None:
    Scripted.scripted_answers = ()
    corpus = write_corpus(tmp_path / "c", [pair(text, "") for text in [*TEXTS, "a prompt of two"]])
    settings = Settings(
        model=str(empty_model(tmp_path / "model")),
        corpus=str(corpus),
        units=2,
        engine={"name": f"{__name__}:Small"},  # type: ignore[arg-type]
        checks={"disabled": ["length_ratio"]},  # type: ignore[arg-type]
    )
    stage = Translate(settings, PlainInputs())
    stage.run([0, 1], PlainContext(tmp_path, stage))
    assert sum(TRIAL_SENTENCES[0] in prompt for prompt in Scripted.asked) == 1


class Small(Scripted):
    """Runs out of memory with more than four rows at once."""

    def step(self) -> list[Completion]:
        if self.max_num_seqs > 4 and len(self.held) > 4:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().step()
