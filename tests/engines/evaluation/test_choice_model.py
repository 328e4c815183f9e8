"""Choices scored in few passes get the log-probabilities of lm-eval's own backend."""

from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import untrained_model

from hala_hpc.engines.evaluation.choice_rows import ONE_PASS, PASS_EACH, SHARED_PREFIX

QUESTIONS = [f"السؤال {number}: ما هذا؟{' نص' * number}\nالإجابة:" for number in range(9)]
LETTERS = ["أ", "ب", "ج", "د", "هـ"]
TEXTS = ["الولد يأكل الخبز", "صباح الخير", "شكرا جزيلا"]


def ask(task: str, labels: list[str], end: str = "") -> list[Any]:
    return [
        SimpleNamespace(args=(f"{task} {question}{end}", label), task_name=task)
        for question in QUESTIONS
        for label in labels
    ]


@pytest.mark.long
@pytest.mark.slow
def test_log_probabilities_are_those_of_lm_eval_for_letters_numbers_and_texts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from lm_eval.models.huggingface import HFLM

    from hala_hpc.engines.evaluation.choice_model import MAX_CHOICE_TOKENS, choice_model_class

    model = str(untrained_model(tmp_path_factory.getbasetemp()))
    settings = {"pretrained": model, "dtype": "float32", "device": "cpu"}
    ours, theirs = choice_model_class()(**settings), HFLM(**settings, batch_size=4)
    long_text = "الولد " * MAX_CHOICE_TOKENS
    asked = {
        "digits": ask("digits", ["0", "1", "2"]),
        "letters": ask("letters", LETTERS),
        "chat": ask("chat", LETTERS, end="\n"),
        "texts": ask("texts", [*TEXTS, long_text]),
    }
    requests = [request for part in asked.values() for request in part]
    found = ours.loglikelihood(requests, disable_tqdm=True)
    expected = theirs.loglikelihood(requests, disable_tqdm=True)
    assert [value for value, _ in found] == pytest.approx([v for v, _ in expected], abs=2e-4)
    assert [is_best for _, is_best in found] == [is_best for _, is_best in expected]
    assert ours.describe_ways("digits") == ONE_PASS
    # A tokenizer of bytes: letters of two tokens, of which four share the first.
    assert ours.describe_ways("letters") in (ONE_PASS, SHARED_PREFIX)
    assert ours.describe_ways("texts") == PASS_EACH
    assert ours.describe_ways("unknown") == "none"
    few = [request for name in ("digits", "letters") for request in asked[name]]
    assert count_rows(ours, few) < len(few) / 2


def count_rows(lm: Any, requests: list[Any]) -> int:
    """Rows that the model reads for requests."""
    rows = 0

    def count(_: Any, inputs: tuple[Any, ...]) -> None:
        nonlocal rows
        rows += len(inputs[0])

    hook = lm.model.register_forward_pre_hook(count)
    lm.loglikelihood(requests, disable_tqdm=True)
    hook.remove()
    return rows


@pytest.mark.long
@pytest.mark.slow
def test_a_batch_that_does_not_fit_is_halved_and_no_answer_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    import torch

    from hala_hpc.engines.evaluation.choice_model import choice_model_class

    model = str(untrained_model(tmp_path_factory.getbasetemp()))
    lm = choice_model_class()(pretrained=model, dtype="float32", device="cpu")
    requests = ask("digits", ["0", "1", "2"])
    expected = lm.loglikelihood(requests, disable_tqdm=True)
    lm.budget.tokens = 100_000
    limit = 150

    def refuse(_: Any, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel() > limit:
            raise torch.OutOfMemoryError("made up")

    lm.model.register_forward_pre_hook(refuse)
    found = lm.loglikelihood(requests, disable_tqdm=True)
    assert [v for v, _ in found] == pytest.approx([v for v, _ in expected], abs=2e-4)
    assert lm.budget.tokens <= 200
    limit = 3
    with pytest.raises(torch.OutOfMemoryError):
        lm.loglikelihood(requests, disable_tqdm=True)
