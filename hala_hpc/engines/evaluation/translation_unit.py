"""Makes a unit of translations: the answers of one model to all held-out pairs, and their scores.

Answers are in a journal; an attempt generates those that earlier ones have not left there.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from hala_hpc.engines.evaluation.answer_journal import AnswerJournal, request_key
from hala_hpc.engines.evaluation.metrics import (
    METRICS,
    score_structure,
    score_translations,
)
from hala_hpc.engines.evaluation.score_files import (
    ModelScores,
    ModelWeights,
    TranslatedSentence,
    name_translation_score,
)
from hala_hpc.engines.generation.batch import AnswerCount, answer_all
from hala_hpc.engines.generation.engine import Completion, EngineConfig
from hala_hpc.engines.generation.engine_choice import make_engine
from hala_hpc.engines.generation.prompts import fill_template
from hala_hpc.engines.models.files import find_folder, read_model_config, weight_files

#: A held-out pair: id, source, reference.
HeldOutPair = tuple[str, str, str]


@dataclass(frozen=True)
class GeneratedTranslations:
    """Answers of a model to held-out pairs."""

    answers: list[Completion | None]
    """In the order of the pairs; None if the model's context has no room for one."""
    tokens_per_s: float | None
    """Of those that this attempt generated, without the start of the engine."""


@dataclass(frozen=True)
class TranslationRun:
    """A model, and the corpus that it translates."""

    label: str
    corpus: str
    """Name of the corpus in its scores; empty if it is the only one."""
    config: EngineConfig
    languages: tuple[str, str] = ("en", "ar")
    """Codes of the languages of both sides, for the checks of structure."""


def translate_pairs(
    run: TranslationRun,
    template: str,
    pairs: Sequence[HeldOutPair],
    journal: AnswerJournal,
    count: AnswerCount,
) -> GeneratedTranslations:
    """The answers of a model to the sources of pairs.

    `template` is the prompt with the field {text}.

    Raises: StopRequested if the job must stop.
    """
    prompts = [fill_template(template, {"text": source}) for _, source, _ in pairs]
    keys = {prompt: request_key("translate", [prompt]) for prompt in prompts}
    found = {
        prompt: read_completion(journal.answers[key])
        for prompt, key in keys.items()
        if key in journal.answers
    }
    rest = [prompt for prompt in prompts if prompt not in found]
    tokens_per_s = None
    count.rows += len(prompts) - len(rest)
    if rest:
        empty_prompt = fill_template(template, {"text": ""})
        with closing(make_engine(run.config)) as engine:

            def add(prompt: str, answer: Completion) -> None:
                journal.add(keys[prompt], write_completion(answer))

            began, tokens = time.monotonic(), count.tokens
            answers = answer_all(engine, rest, empty_prompt, count, add)
            tokens_per_s = (count.tokens - tokens) / (time.monotonic() - began)
        found |= {p: answer for p, answer in zip(rest, answers, strict=True) if answer}
        journal.write()
    return GeneratedTranslations([found.get(prompt) for prompt in prompts], tokens_per_s)


def describe_weights(model: str) -> ModelWeights:
    """Size and number format of a model's weights; nothing is loaded."""
    config = read_model_config(model)
    method = (config.get("quantization_config") or {}).get("quant_method")
    stored = str(config.get("dtype") or config.get("torch_dtype") or "unknown")
    folder = find_folder(model)
    size = sum(file.stat().st_size for file in weight_files(folder)) if folder else 0
    return ModelWeights(number_format=str(method or stored), gb=round(size / 1e9, 3))


def write_completion(answer: Completion) -> dict[str, Any]:
    """An answer as a JSON value."""
    names = ("text", "whole", "tokens_in", "tokens_out", "reason")
    return {name: getattr(answer, name) for name in names}


def read_completion(value: dict[str, Any]) -> Completion:
    """An answer from its JSON value; its key has no meaning any more."""
    return Completion(key=0, **value)


def score_answers(
    run: TranslationRun, pairs: Sequence[HeldOutPair], generated: GeneratedTranslations
) -> tuple[ModelScores, list[TranslatedSentence]]:
    """The scores of a model's translations, and these.

    A truncated answer is scored as it is, a missing one as an empty translation.
    """
    answers = generated.answers
    hypotheses = [answer.text.strip() if answer else "" for answer in answers]
    rows = [
        TranslatedSentence(id_, source, reference, text)
        for (id_, source, reference), text in zip(pairs, hypotheses, strict=True)
    ]
    scores = score_translations(hypotheses, [reference for _, _, reference in pairs])
    structure = score_structure([source for _, source, _ in pairs], hypotheses, run.languages)
    values = scores.values | structure.values
    signatures = scores.signatures | structure.signatures
    answered = [answer for answer in answers if answer]
    names = {metric: name_translation_score(metric, run.corpus) for metric in METRICS}
    found = ModelScores(
        label=run.label,
        corpus=run.corpus,
        scores={names[metric]: value for metric, value in values.items()},
        signatures={names[metric]: text for metric, text in signatures.items()},
        samples=dict.fromkeys(names.values(), len(pairs)),
        tokens_in=sum(answer.tokens_in for answer in answered),
        tokens_out=sum(answer.tokens_out for answer in answered),
        tokens_per_s=generated.tokens_per_s,
        weights=describe_weights(run.config.model),
        cut=sum(not answer.whole for answer in answered),
        too_long=len(answers) - len(answered),
    )
    return found, rows
