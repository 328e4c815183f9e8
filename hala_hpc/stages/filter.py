"""filter: keep the pairs that pass cheap rules and a judge, or the conversations that pass it."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field, PositiveInt

from hala_hpc.core.errors import CONFIG, UserError
from hala_hpc.core.estimate import BILLION, Amount, Estimate, EstimateInputs, format_amount
from hala_hpc.core.records import UnitMarker
from hala_hpc.core.settings import CorpusRef, ModelRef
from hala_hpc.core.stage import CollectResult, UnitContext
from hala_hpc.data.checks.pair_settings import PairRules, Rule
from hala_hpc.data.corpus.reader import REJECTED as REJECTED_ROWS
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.engines.generation.engine_choice import engine_mistakes
from hala_hpc.engines.generation.model_fit import estimate_fit
from hala_hpc.engines.generation.prompts import fill_template, find_missing_fields
from hala_hpc.engines.generation.row_stage import TRIAL_SENTENCES, RowSettings, RowStage

if TYPE_CHECKING:
    # Imported where jobs use them: a dry run loads this file only for its settings.
    from hala_hpc.data.checks.pair_duplicates import RepeatedPairs
    from hala_hpc.engines.generation.conversation_judge import ConversationJudge
    from hala_hpc.engines.generation.row_program import Prompt, RowProgram

Share = Annotated[float, Field(ge=0, le=1)]

#: Our prompt: the paper names its judge (Qwen2.5-3B-Instruct, accept or reject), not its prompt.
PROMPT = (
    "You judge translations. Accept a pair when the translation says what the source says, in "
    "fluent and complete sentences. Reject it when meaning is missing, added or wrong, or when "
    "either side is in another language.\n\n"
    "Source: {source}\n\nTranslation: {target}\n\n"
    "Answer with one word, accept or reject."
)
#: Bytes of the result per byte of the corpus: every pair with its score, accepted or rejected.
SIZE_FACTOR = 1.5
#: The placeholders of a prompt, each with nothing.
NO_FIELDS = {"source": "", "target": "", "text": "", "context": ""}
DUPLICATE: Rule = "duplicate"
#: The judge rejected the pair, or its score is below the threshold.
REJECTED = "rejected_by_judge"


class Settings(RowSettings):
    """Settings of `filter`."""

    model: ModelRef
    """The judge model: hub id, folder, or `@node`."""
    corpus: CorpusRef
    """The rows to judge: pairs, translated conversations, or conversations."""
    source: str = "en"
    """Language of the source side, as an ISO 639 code."""
    target: str = "ar"
    """Language of the target side, as an ISO 639 code."""
    rules: PairRules = PairRules()
    """Rules that a pair must pass before it is judged; each rule has its own rejection reason.
    Conversations have none."""
    prompt: str = PROMPT
    """Prompt that should name both answers. It has the placeholders {source} and {target} for pairs
    and translated conversations, of which each message is judged, and {text} for conversations that
    are no translations. Of conversations it may have {context}: the messages before."""
    roles: list[str] = Field(default=["system", "user", "assistant"])
    """Roles whose messages are judged. A message that is equal to its source is not."""
    context_tokens: PositiveInt = 256
    """Max tokens of a context; of a longer one the last words are taken."""
    accept: str = "accept"
    """The answer that accepts a pair: a word, written as in the prompt."""
    reject: str = "reject"
    """The answer that rejects a pair. The judge is constrained to these two answers; their first
    tokens must differ."""
    threshold: Share = 0.5
    """Min score of an accepted row. The score is the probability of `accept` when only the two
    answers are possible: 0.5 takes the likelier answer, and higher values are stricter. That of a
    conversation is the lowest of its messages, whose scores are in `message_scores`."""
    target_share: Share | None = None
    """Accept this fraction of the judged rows, those with the highest scores, whatever the scores
    are. Replaces `threshold`."""
    units: PositiveInt = 256
    """Number of units, each with its own marker. A number, not a size: it must be known before the
    corpus exists."""


class JudgeTask:
    """Apply the rules, then ask one question; the pair is unchanged but gets score and verdict."""

    def __init__(self, settings: Settings, corpus: Path, kind: Kind = "pairs") -> None:
        from hala_hpc.data.checks.pair_filters import PairChecker
        from hala_hpc.engines.generation.row_program import Sampling

        self.settings, self.corpus, self.kind = settings, corpus, kind
        # The probability of `accept`, and the likelier of the two answers.
        self.extra = {"score": "double", "verdict": "string"}
        # Rejections by rules and judge are expected; a pair that could not be judged is not.
        self.wanted: frozenset[str] | None = frozenset({REJECTED, *get_args(Rule)})
        self.checker = PairChecker(settings.rules, settings.source, settings.target)
        self.sampling = Sampling(labels=(settings.accept, settings.reject))
        self.lowest = lowest_score(settings)

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Do nothing: a pair is never split, whatever the model's context."""

    @cached_property
    def repeated(self) -> "RepeatedPairs | None":
        """Pairs that repeat an earlier one, found on first use; None if that rule is disabled."""
        from hala_hpc.data.checks.pair_duplicates import RepeatedPairs

        return None if DUPLICATE in self.settings.rules.disabled else RepeatedPairs(self.corpus)

    def broken_rule(self, row: Row) -> str:
        """The first rule that a pair breaks; empty if there is none."""
        broken = self.checker.first_broken(row["source"], row["target"])
        if not broken and self.repeated is not None and row["id"] in self.repeated:
            return DUPLICATE
        return broken

    def program(self, row: Row) -> "RowProgram":
        """Judge a pair; return it with its score, or reject it."""
        from hala_hpc.engines.generation.row_program import Prompt, Rejection

        if broken := self.broken_rule(row):
            return Rejection(broken)
        both = {"source": row["source"], "target": row["target"]}
        answers = yield [Prompt(fill_template(self.settings.prompt, both), self.sampling)]
        answer = answers[0]
        if answer.reason:
            return Rejection(answer.reason, answer.text)
        found: dict[str, float | str] = {
            "score": answer.label_probabilities[0],
            "verdict": answer.text,
        }
        if answer.label_probabilities[0] < self.lowest:
            return Rejection(REJECTED, answer.text, found)
        return {**row, **found}

    def fault(self, before: Row, after: Row) -> str:
        """Find a changed pair, a score out of range, or an unknown verdict."""
        if any(after[name] != before[name] for name in ("id", "origin", "source", "target")):
            return "was changed"
        if not self.lowest <= after["score"] <= 1:
            return f"has the score {after['score']}"
        answers = (self.settings.accept, self.settings.reject)
        return "" if after["verdict"] in answers else f"has the verdict {after['verdict']!r}"


def lowest_score(settings: Settings) -> float:
    """Min score of a row that a unit accepts; with a share the rows are chosen when all are."""
    return settings.threshold if settings.target_share is None else 0.0


class Filter(RowStage[Settings]):
    """Run a judge model over pairs or conversations, many units in one engine."""

    name = "filter"
    version = 4
    Settings = Settings
    input_kinds = ("pairs", "conversations")

    def preflight(self) -> list[str]:
        """Check the judge's files, the placeholders in the prompt, and contradictory settings."""
        self.require_inputs()
        settings = self.settings
        mistakes = engine_mistakes(settings.engine.name)
        if "{text}" not in settings.prompt:
            mistakes += find_missing_fields("prompt", settings.prompt, ["source", "target"])
        for name in ("accept", "reject"):
            if not getattr(settings, name).strip():
                mistakes.append(f"{name}='': empty; give the answer that the prompt asks for")
        if settings.accept.strip().casefold() == settings.reject.strip().casefold():
            mistakes.append(f"accept={settings.accept}: same as reject; give two different answers")
        if settings.target_share is not None and "threshold" in settings.model_fields_set:
            mistakes.append(
                f"threshold={settings.threshold}: target_share={settings.target_share} is set too; "
                "set one of the two"
            )
        return mistakes

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The pairs that a judge accepts, and the seconds to prefill all and generate an answer."""
        settings, read = self.settings, inputs.throughput.read
        model, corpus = inputs.largest_model([settings.model]), inputs.text(settings.corpus)
        share = settings.target_share or read.accepted_share
        accepted, seconds, breakdown = inputs.corrected(corpus and corpus.times(share)), None, ""
        if model and accepted:
            tokens = (accepted.tokens + accepted.rows * read.judge_prompt_tokens) / share
            seconds = inputs.throughput.read_seconds(2 * model.billions * BILLION * tokens)
            breakdown = (
                f"{format_amount(tokens)} prompt tokens, 2 FLOPs per token and weight of "
                f"{format_amount(model.billions * BILLION)} weights, "
                f"{read.peak_share:.0%} of the peak"
            )
        size = SIZE_FACTOR * inputs.size_bytes([settings.corpus])
        weights = inputs.checkpoint(settings.model)
        need, misfits = estimate_fit(weights, settings.engine, inputs.capacity)
        output = Amount(accepted, None, size)
        return Estimate(
            output,
            model,
            seconds,
            hours_breakdown=breakdown,
            need=need,
            misfits=misfits,
            work=accepted.tokens if accepted else None,
        )

    def task(self, kind: Kind) -> "JudgeTask | ConversationJudge":
        """The row task for a corpus of this kind."""
        if kind != "pairs":
            return self.conversation_task(kind)
        for name in ("source", "target"):
            if f"{{{name}}}" not in self.settings.prompt:
                raise UserError(
                    f"prompt={self.settings.prompt!r}: no field {{{name}}}; the corpus holds "
                    "pairs, so ask about {source} and {target}",
                    CONFIG,
                )
        return JudgeTask(self.settings, Path(self.inputs.path(self.settings.corpus)), kind)

    def conversation_task(self, kind: Kind) -> "ConversationJudge":
        """The row task for conversations."""
        from hala_hpc.engines.generation.conversation_judge import ConversationJudge, JudgeQuestion

        settings = self.settings
        question = JudgeQuestion(
            settings.prompt,
            settings.accept,
            settings.reject,
            lowest_score(settings),
            tuple(settings.roles),
            settings.context_tokens,
        )
        return ConversationJudge(question, kind, REJECTED)

    def trial(self) -> "Sequence[Prompt]":
        """Questions about short sentences paired with themselves, with the two answers."""
        from hala_hpc.engines.generation.row_program import Prompt, Sampling

        settings = self.settings
        sampling = Sampling(labels=(settings.accept, settings.reject))
        asked = [
            {**NO_FIELDS, "source": text, "target": text, "text": text} for text in TRIAL_SENTENCES
        ]
        return [Prompt(fill_template(settings.prompt, both), sampling) for both in asked]

    @property
    def empty_prompt(self) -> str:
        """The prompt with an empty pair."""
        return fill_template(self.settings.prompt, NO_FIELDS)

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Check that the first tokens of both answers differ, then judge the pairs."""
        from transformers import AutoTokenizer

        from hala_hpc.engines.generation.labels import label_tokens

        tokenizer = AutoTokenizer.from_pretrained(self.inputs.path(self.settings.model))
        label_tokens(tokenizer, (self.settings.accept, self.settings.reject))
        super().run(units, out)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Gather the shards, keep the best rows if target_share is set, count rules and scores."""
        from hala_hpc.engines.generation.top_rows import (
            BestRows,
            keep_best_rows,
            read_corpus_scores,
            summarize_scores,
        )

        details = super().collect(markers, folders, output)
        scores = read_corpus_scores(output, output / REJECTED_ROWS)
        details |= {"rules": self.rule_counts(markers), "judge_scores": summarize_scores(scores)}
        if self.settings.target_share is None:
            return details
        best = BestRows(read_corpus_scores(output), self.settings.target_share)
        moved = keep_best_rows(output, self.work, best, REJECTED)
        details["lowest_score"] = best.lowest if best.count else None
        if moved:
            content = details["rejected_content"]
            content[REJECTED] = content.get(REJECTED, 0) + moved
        return CollectResult(details, {REJECTED: moved} if moved else {})

    def rule_counts(self, markers: list[UnitMarker]) -> dict[str, int]:
        """Pairs that each enabled rule rejected, in the order of the rules."""
        from hala_hpc.engines.generation.unit_files import sum_rejections

        rejected = sum_rejections(markers)
        disabled = self.settings.rules.disabled
        return {rule: rejected[rule] for rule in get_args(Rule) if rule not in disabled}


STAGE = Filter
