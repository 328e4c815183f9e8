"""filter: keep the pairs of a corpus that cheap rules let pass and a judge model accepts."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import Field, PositiveInt

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
    # What only jobs need is imported there: a dry run loads this file for its settings.
    from hala_hpc.data.checks.pair_duplicates import RepeatedPairs
    from hala_hpc.engines.generation.row_program import Prompt, RowProgram

Share = Annotated[float, Field(ge=0, le=1)]

#: Ours: the paper tells its judge (Qwen2.5-3B-Instruct, accept or reject) but not its words.
PROMPT = (
    "You judge translations. Accept a pair when the translation says what the source says, in "
    "fluent and complete sentences. Reject it when meaning is missing, added or wrong, or when "
    "either side is in another language.\n\n"
    "Source: {source}\n\nTranslation: {target}\n\n"
    "Answer with one word, accept or reject."
)
#: Bytes of the result for each byte of the corpus: every pair with its score, kept or rejected.
SIZE_FACTOR = 1.5
DUPLICATE: Rule = "duplicate"
#: The judge said no, or not yes loudly enough.
REJECTED = "rejected_by_judge"


class Settings(RowSettings):
    """Settings of `filter`."""

    model: ModelRef
    """The judge: a hub id, a folder, or `@node`."""
    corpus: CorpusRef
    """The pairs to judge."""
    source: str = "en"
    """Language of the source side, as in ISO 639."""
    target: str = "ar"
    """Language of the target side, as in ISO 639."""
    rules: PairRules = PairRules()
    """What a pair must be like before it is judged; each rule has a reason of its own."""
    prompt: str = PROMPT
    """The question, with places {source} and {target}; it should name both answers."""
    accept: str = "accept"
    """The answer that keeps a pair: a word, as the prompt has it."""
    reject: str = "reject"
    """The answer that rejects it. The judge is held to these two; the first token must differ."""
    threshold: Share = 0.5
    """Lowest score that is kept. The score is the probability of `accept` where only the two
    answers are possible, so 0.5 takes the judge at its word and more is stricter."""
    target_share: Share | None = None
    """Keep this share of the judged pairs, those with the best scores, whatever their scores are.
    Takes the place of `threshold`."""
    units: PositiveInt = 256
    """Pieces with a mark of their own. A number, not a size: known before the corpus exists."""


class JudgeTask:
    """The rules, then one question; the pair itself stays as it is and gets score and verdict."""

    def __init__(self, settings: Settings, corpus: Path, kind: Kind = "pairs") -> None:
        from hala_hpc.data.checks.pair_filters import PairChecker
        from hala_hpc.engines.generation.row_program import Sampling

        self.settings, self.corpus, self.kind = settings, corpus, kind
        # The probability of `accept`, and the likelier of the two words.
        self.extra = {"score": "double", "verdict": "string"}
        # What rules and judge reject is no sign of trouble; a pair that could not be judged is.
        self.wanted: frozenset[str] | None = frozenset({REJECTED, *get_args(Rule)})
        self.checker = PairChecker(settings.rules, settings.source, settings.target)
        self.sampling = Sampling(labels=(settings.accept, settings.reject))
        self.lowest = settings.threshold if settings.target_share is None else 0.0

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Nothing depends on the model: a pair is never cut."""

    @cached_property
    def repeated(self) -> "RepeatedPairs | None":
        """The pairs that repeat an earlier one, found on first use; None when that is no matter."""
        from hala_hpc.data.checks.pair_duplicates import RepeatedPairs

        return None if DUPLICATE in self.settings.rules.disabled else RepeatedPairs(self.corpus)

    def broken_rule(self, row: Row) -> str:
        """The first rule that a pair breaks; empty when there is none."""
        broken = self.checker.first_broken(row["source"], row["target"])
        if not broken and self.repeated is not None and row["id"] in self.repeated:
            return DUPLICATE
        return broken

    def program(self, row: Row) -> "RowProgram":
        """The pair with its score when it is good enough."""
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
        """A changed pair, or a score that is none or too low."""
        if any(after[name] != before[name] for name in ("id", "origin", "source", "target")):
            return "was changed"
        if not self.lowest <= after["score"] <= 1:
            return f"has the score {after['score']}"
        answers = (self.settings.accept, self.settings.reject)
        return "" if after["verdict"] in answers else f"has the verdict {after['verdict']!r}"


class Filter(RowStage[Settings]):
    """Runs a judge over pairs, many units in one engine."""

    name = "filter"
    version = 2
    Settings = Settings
    input_kinds = ("pairs",)

    def preflight(self) -> list[str]:
        """The judge's files, the places in the prompt, and settings that contradict each other."""
        self.require_inputs()
        settings = self.settings
        mistakes = engine_mistakes(settings.engine.name)
        mistakes += find_missing_fields("prompt", settings.prompt, ["source", "target"])
        for name in ("accept", "reject"):
            if not getattr(settings, name).strip():
                mistakes.append(f"{name}='' is no word; give the answer that the prompt asks for")
        if settings.accept.strip().casefold() == settings.reject.strip().casefold():
            mistakes.append(f"accept and reject are both {settings.accept!r}; they must differ")
        if settings.target_share is not None and "threshold" in settings.model_fields_set:
            mistakes.append(
                f"threshold={settings.threshold} and target_share={settings.target_share} both "
                "say what is kept; leave one out"
            )
        return mistakes

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The pairs that a judge keeps, and the seconds in which it reads all and says a word."""
        settings, read = self.settings, inputs.throughput.read
        model, corpus = inputs.largest_model([settings.model]), inputs.text(settings.corpus)
        share = settings.target_share or read.accepted_share
        accepted, seconds, breakdown = inputs.corrected(corpus and corpus.times(share)), None, ""
        if model and accepted:
            tokens = (accepted.tokens + accepted.rows * read.judge_prompt_tokens) / share
            seconds = inputs.throughput.read_seconds(2 * model.billions * BILLION * tokens)
            breakdown = (
                f"{format_amount(tokens)} tokens read, 2 FLOPs each and for each of "
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

    def task(self, kind: Kind) -> JudgeTask:
        """What is done with each pair."""
        return JudgeTask(self.settings, Path(self.inputs.path(self.settings.corpus)), kind)

    def trial(self) -> "Sequence[Prompt]":
        """The question about short sentences beside themselves, with the two answers."""
        from hala_hpc.engines.generation.row_program import Prompt, Sampling

        settings = self.settings
        sampling = Sampling(labels=(settings.accept, settings.reject))
        asked = [{"source": text, "target": text} for text in TRIAL_SENTENCES]
        return [Prompt(fill_template(settings.prompt, both), sampling) for both in asked]

    @property
    def empty_prompt(self) -> str:
        """The question about an empty pair."""
        return fill_template(self.settings.prompt, {"source": "", "target": ""})

    def run(self, units: Iterable[int], out: UnitContext) -> None:
        """Judge the pairs, once it is known that one token tells the answers apart."""
        from transformers import AutoTokenizer

        from hala_hpc.engines.generation.labels import label_tokens

        tokenizer = AutoTokenizer.from_pretrained(self.inputs.path(self.settings.model))
        label_tokens(tokenizer, (self.settings.accept, self.settings.reject))
        super().run(units, out)

    def collect(self, markers: list[UnitMarker], folders: list[Path], output: Path) -> Any:
        """Gather the shards, the best of them where a share is wanted; counts rules and scores."""
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
        """Pairs that each rule rejected, in the order of the rules; those that are off left out."""
        from hala_hpc.engines.generation.unit_files import sum_rejections

        rejected = sum_rejections(markers)
        disabled = self.settings.rules.disabled
        return {rule: rejected[rule] for rule in get_args(Rule) if rule not in disabled}


STAGE = Filter
