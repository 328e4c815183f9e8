"""translate: translate every row of a corpus into the target language."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from hala_hpc.core.estimate import Amount, Estimate, EstimateInputs, TextAmount, format_amount
from hala_hpc.core.settings import CorpusRef, ModelRef, runtime
from hala_hpc.data.checks.settings import CheckSettings, ForeignTextPolicy
from hala_hpc.data.corpus.figures import FIGURE_TYPES
from hala_hpc.data.corpus.messages import replace_content
from hala_hpc.data.corpus.reader import Kind, Row
from hala_hpc.data.segmentation.levels import JsonPolicy, SegmentLevel
from hala_hpc.engines.generation.engine_choice import engine_mistakes
from hala_hpc.engines.generation.model_fit import estimate_fit
from hala_hpc.engines.generation.prompts import fill_template, find_missing_fields
from hala_hpc.engines.generation.row_stage import TRIAL_SENTENCES, RowSettings, RowStage

if TYPE_CHECKING:
    # Imported where jobs use them: a dry run loads this file only for its settings.
    from hala_hpc.engines.generation.row_program import Prompt, RowProgram
    from hala_hpc.engines.generation.translation import Translator


#: Bytes of the result per byte of the corpus: a translation is stored with its source, and its
#: letters may take two bytes each in UTF-8.
SIZE_FACTOR = 3.0
#: The placeholders of a prompt, each with nothing.
EMPTY_FIELDS = {"text": "", "context": "", "glossary": ""}


class Settings(RowSettings):
    """Settings of `translate`."""

    model: ModelRef
    """The translation model: hub id, folder, or `@node` of a quantize, sft or merge node."""
    corpus: CorpusRef
    """The rows: conversations or pairs. `@node/rejected` names the rows that a node rejected."""
    source: str = "en"
    """Language of the corpus, as an ISO 639 code."""
    target: str = "ar"
    """Language to translate into, as an ISO 639 code."""
    prompt: str = "Translate everything that follows into Arabic:\n\n{text}"
    """The prompt, with the placeholder {text}; the default is the paper's. It may have the
    placeholders {context}, see `context`, and {glossary}, see `checks.glossary`."""
    context: Literal["none", "previous"] = "none"
    """What the model reads before a message, in the place of {context}: nothing, or the source of
    the messages before it. A pair has none."""
    context_tokens: PositiveInt = 256
    """Max tokens of a context; of a longer one the last words are taken."""
    roles: list[str] = Field(default=["system", "user", "assistant"])
    """Roles whose messages are translated; other messages stay unchanged."""
    target_language_text: ForeignTextPolicy = "keep"
    """What is done with a line that is in the target language already: `keep` leaves it as it is,
    `drop` rejects its row, `translate` prompts the model with it."""
    other_language_text: ForeignTextPolicy = "keep"
    """The same for a line in a third language. `translate` needs no model to detect languages if
    source and target have different scripts."""
    field: Literal["source", "target"] = "source"
    """Side of a pair that is translated; the translation replaces the other side."""
    segment: SegmentLevel = "text"
    """The largest segment: a whole message, a paragraph, or a line (without its bullet; a cell of a
    table). What comes back faulty is generated again in smaller ones, and nothing else."""
    segment_tokens: PositiveInt = 512
    """Max tokens of a segment. Longer texts are split at paragraphs, lines, then at sentences; the
    limit is lower if the context of the model is smaller."""
    rewrap: bool = True
    """Whether a paragraph that was wrapped at a width, as in mail and manual pages, is wrapped
    again. The model reads it as one line; `false` leaves it one."""
    json_values: JsonPolicy = "keep"
    """What is done with values of JSON in a text that are sentences or have four words in a row:
    `translate` translates them and escapes them again. Keys, numbers, shorter values, tool calls
    and fenced code are kept in any case; other keys or another structure are a fault."""
    retries: NonNegativeInt = 2
    """How often a line that fails a check is generated again, resampled or split further. 0: nor is
    a larger segment generated again in smaller ones."""
    checks: CheckSettings = CheckSettings()
    """Checks of each translation; a row that fails after all retries is rejected."""
    logprobs: bool = True
    """Whether the engine returns log-probabilities of the tokens, for `mean_logprob` of each row;
    without them that column is empty."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = runtime(0.2)
    """Fail if a larger fraction of the rows is rejected, as soon as that is certain. Below 1: fail
    also if over 80 % of the first 200 rows are rejected for one reason that does not depend on
    the rows."""
    units: PositiveInt = 512
    """Number of units, each with its own marker. A number, not a size: it must be known before the
    corpus exists."""


class TranslationTask:
    """Base of the tasks for both kinds of rows: holds the translator of their texts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.extra: dict[str, str] = FIGURE_TYPES
        self.wanted: frozenset[str] | None = frozenset()
        self.translator: Translator | None = None
        self.count: Callable[[str], int] = len

    def fit(self, room: int, count: Callable[[str], int]) -> None:
        """Make the translator for a model with `room` tokens left for the text."""
        from hala_hpc.data.checks.foreign_text import ForeignTexts
        from hala_hpc.data.checks.translation import OutputChecks
        from hala_hpc.data.segmentation.layout import LayoutRules
        from hala_hpc.engines.generation.segment_rules import SegmentRules
        from hala_hpc.engines.generation.translation import Translator

        settings = self.settings
        self.count = count
        foreign_texts = ForeignTexts(
            settings.source,
            settings.target,
            settings.target_language_text,
            settings.other_language_text,
        )
        rules = SegmentRules(
            prompt=settings.prompt,
            checks=OutputChecks(settings.checks, settings.source, settings.target),
            digits=settings.checks.digits,
            retries=settings.retries,
            layout=LayoutRules(self.limit(room), count, settings.segment),
            glossary=settings.checks.glossary,
            foreign_texts=foreign_texts,
            logprobs=settings.logprobs,
        )
        self.translator = Translator(rules, settings.source, settings.rewrap, settings.json_values)

    def limit(self, room: int) -> int:
        """Max tokens of a segment where texts may have `room` without a context."""
        from hala_hpc.engines.generation.answer_stream import ROOM_GROWTH

        if self.settings.context == "previous":
            # The room of a text is a part of what the model has, that of a context is all of it.
            room = max(1, room - -(-self.settings.context_tokens // (1 + ROOM_GROWTH)))
        return min(self.settings.segment_tokens, room)


class ConversationTask(TranslationTask):
    """Translate the messages of a conversation; a row is accepted if all messages are."""

    kind: Kind = "translations"

    def is_asked(self, message: Row) -> bool:
        """Whether a message is translated: its role is in `roles`, and it is not blank."""
        return message["role"] in self.settings.roles and bool(message["content"].strip())

    def program(self, row: Row) -> "RowProgram":
        """Translate a conversation; its source messages are kept in `messages_source`."""
        from hala_hpc.engines.generation.translation import TranslatedTexts

        assert self.translator is not None
        texts = [m["content"] for m in row["messages"] if self.is_asked(m)]
        made = yield from self.translator.translate(texts, self.contexts(row["messages"]))
        if not isinstance(made, TranslatedTexts):
            return made
        left = iter(made.texts)
        messages = [
            replace_content(m, next(left)) if self.is_asked(m) else m for m in row["messages"]
        ]
        sides = {"messages": messages, "messages_source": row["messages"]}
        return {**row, **sides, **made.figures.to_columns()}

    def contexts(self, messages: Sequence[Row]) -> list[str]:
        """What the model reads before each message that is translated."""
        from hala_hpc.engines.generation.message_context import previous_contexts

        if self.settings.context == "none":
            return []
        contexts = previous_contexts(messages, self.settings.context_tokens, self.count)
        both = zip(messages, contexts, strict=True)
        return [context for message, context in both if self.is_asked(message)]

    def fault(self, before: Row, after: Row) -> str:
        """Find lost, changed or blank messages, and damaged code, LaTeX and similar spans."""
        if after["messages_source"] != before["messages"]:
            return "its source messages were changed"
        sides = [[replace_content(m, "") for m in row["messages"]] for row in (before, after)]
        if sides[0] != sides[1]:
            return "has messages that differ from its source"
        for old, new in zip(before["messages"], after["messages"], strict=True):
            if fault := text_fault(old["content"], new["content"], self.settings.json_values):
                return fault
        return ""


class PairTask(TranslationTask):
    """Translate one side of a pair; the text of the other side is dropped."""

    kind: Kind = "pairs"

    def program(self, row: Row) -> "RowProgram":
        """Make a pair of a text and its translation."""
        from hala_hpc.engines.generation.translation import TranslatedTexts

        assert self.translator is not None
        text = row[self.settings.field]
        made = yield from self.translator.translate([text])
        if not isinstance(made, TranslatedTexts):
            return made
        sides = {"source": text, "target": made.texts[0]}
        return {**row, **sides, **made.figures.to_columns()}

    def fault(self, before: Row, after: Row) -> str:
        """Find a changed source, a blank target, and damaged code, LaTeX and similar spans."""
        if after["source"] != before[self.settings.field]:
            return "its source was changed"
        return text_fault(after["source"], after["target"], self.settings.json_values)


def text_fault(source: str, translation: str, json_values: JsonPolicy = "keep") -> str:
    """The fault of a translation whatever the check settings are; empty if it has none."""
    from hala_hpc.data.segmentation.json_values import restore_json
    from hala_hpc.data.segmentation.spans import lost_spans

    if source.strip() and not translation.strip():
        return "has a blank translation"
    if json_values == "translate":
        translation = restore_json(source, translation)
    lost = lost_spans(source, translation)
    return f"has {lost[0]!r} more or less often than its source" if lost else ""


class Translate(RowStage[Settings]):
    """Run a translation model over a corpus, many units in one engine."""

    name = "translate"
    Settings = Settings
    version = 7
    input_kinds = ("conversations", "pairs")

    def preflight(self) -> list[str]:
        """Check the model files, the corpus, the engine, and the placeholder in the prompt."""
        self.require_inputs()
        mistakes = engine_mistakes(self.settings.engine.name)
        mistakes += find_missing_fields("prompt", self.settings.prompt, ["text"])
        return mistakes + self.find_unused_fields()

    def find_unused_fields(self) -> list[str]:
        """Placeholders of the prompt for which there is nothing, and a context without its own."""
        settings, mistakes = self.settings, []
        has_context = "{context}" in settings.prompt
        if settings.context == "previous" and not has_context:
            mistakes.append(
                f"context=previous: prompt={settings.prompt!r} has no place for it; add {{context}}"
            )
        if settings.context == "none" and has_context:
            mistakes.append("context=none: prompt has {context}; set context=previous or remove it")
        if "{glossary}" in settings.prompt and not settings.checks.glossary:
            mistakes.append(
                "checks.glossary={}: prompt has {glossary}; add the terms or remove {glossary}"
            )
        return mistakes

    def estimate(self, inputs: EstimateInputs) -> Estimate:
        """The corpus with its translations, and the GPU seconds to generate them."""
        model = inputs.largest_model([self.settings.model])
        text, seconds, breakdown = self.translated(inputs), None, ""
        if model and text:
            write = inputs.throughput.write
            seconds = text.target / write.tokens_per_s_of(model)
            breakdown = (
                f"{format_amount(text.target)} tokens generated, {write.describe(model)} on a GPU"
            )
        size = SIZE_FACTOR * inputs.size_bytes([self.settings.corpus])
        weights = inputs.checkpoint(self.settings.model)
        need, misfits = estimate_fit(weights, self.settings.engine, inputs.capacity)
        output = Amount(text, None, size)
        return Estimate(
            output,
            model,
            seconds,
            hours_breakdown=breakdown,
            need=need,
            misfits=misfits,
            work=text.target if text else None,
        )

    def translated(self, inputs: EstimateInputs) -> TextAmount | None:
        """Rows and tokens of both sides; measured counts if the node is finished."""
        corpus, expected = inputs.text(self.settings.corpus), None
        if corpus:
            is_target = corpus.target and self.settings.field == "target"
            source = corpus.target if is_target else corpus.source
            growth = inputs.throughput.write.tokens_per_source_token
            expected = corpus._replace(source=source, target=source * growth)
        text, counted = inputs.corrected(expected), inputs.counted
        if text is not expected and text and counted and counted.tokens_out:
            return text._replace(target=float(counted.tokens_out))
        return text

    def task(self, kind: Kind) -> ConversationTask | PairTask:
        """The row task for a corpus of this kind."""
        return PairTask(self.settings) if kind == "pairs" else ConversationTask(self.settings)

    def trial(self) -> "Sequence[Prompt]":
        """Translations of short sentences with the node's prompt."""
        from hala_hpc.engines.generation.row_program import Prompt

        return [
            Prompt(fill_template(self.settings.prompt, {**EMPTY_FIELDS, "text": text}))
            for text in TRIAL_SENTENCES
        ]

    @property
    def empty_prompt(self) -> str:
        """The prompt with an empty text."""
        return fill_template(self.settings.prompt, EMPTY_FIELDS)


STAGE = Translate
