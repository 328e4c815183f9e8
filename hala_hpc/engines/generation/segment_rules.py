"""How segments are asked and judged: prompt, checks, policies and sizes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import TypeVar

from hala_hpc.data.checks.foreign_text import ForeignTexts
from hala_hpc.data.checks.glossary import find_terms
from hala_hpc.data.checks.settings import Digits, ForeignTextPolicy
from hala_hpc.data.checks.translation import OutputChecks
from hala_hpc.data.segmentation.layout import LayoutRules
from hala_hpc.data.segmentation.segments import Segment
from hala_hpc.data.segmentation.spans import language_between
from hala_hpc.engines.generation.prompts import fill_template
from hala_hpc.engines.generation.row_program import Answer, Prompt, Sampling

#: Reason: a placeholder of code, LaTeX or the like is missing in the answer.
LOST_PLACEHOLDER = "marks"
#: Number of texts whose segments and faults are memoized, as texts occur more than once.
MAX_MEMOIZED = 2048
#: Longer ones, in characters, are not memoized: they seldom occur twice, and memory is bounded.
MAX_MEMOIZED_CHARACTERS = 4000

T = TypeVar("T")


def memoize_short(function: Callable[..., T]) -> Callable[..., T]:
    """Memoize the last results of a function of texts, for short texts."""
    known = lru_cache(MAX_MEMOIZED)(function)

    def memoized(*texts: str) -> T:
        return (
            known(*texts) if sum(map(len, texts)) <= MAX_MEMOIZED_CHARACTERS else function(*texts)
        )

    return memoized


@cache
def with_logprobs(sampling: Sampling) -> Sampling:
    """The same sampling with log-probabilities; few occur for many prompts."""
    return replace(sampling, logprobs=True)


@dataclass(frozen=True)
class SegmentRules:
    """How segments are asked and judged."""

    prompt: str
    """With a field {text}, and perhaps {context} and {glossary}."""
    checks: OutputChecks
    digits: Digits
    retries: int
    """How often a segment of one line is retried before its row is rejected. If it is 0, no segment
    of several is asked in smaller ones either."""
    layout: LayoutRules
    glossary: Mapping[str, str]
    foreign_texts: ForeignTexts | None = None
    """What is done with segments in another language; None translates them."""
    logprobs: bool = False
    """Whether answers are wanted with their log-probabilities."""

    @cached_property
    def check_translation(self) -> Callable[[str, str], str]:
        """Checks a source and its translation; memoized for texts that occur again soon."""
        return memoize_short(self.checks.fault)

    @cached_property
    def smaller_layout(self) -> LayoutRules:
        """The rules for parts of a segment: texts in other languages are in none."""
        return replace(self.layout, is_apart=None)

    def find_policy(self, language: str) -> tuple[ForeignTextPolicy, str]:
        """What is done with a text, spans aside, and its language if that is not the corpus's."""
        if self.foreign_texts is None:
            return "translate", ""
        policy, kind = self.foreign_texts.policy_of(language)
        return policy, kind.value if kind else ""

    def is_apart(self, language: str) -> bool:
        """Whether a text, spans aside, is not to be translated with its neighbours."""
        return self.find_policy(language)[0] != "translate"

    def make_prompt(
        self, segment: Segment, context: str, sampling: Sampling, retry_reason: str
    ) -> Prompt:
        """The prompt for a segment after the texts of `context`."""
        values = {"text": segment.masked()}
        extra = 0
        if "{context}" in self.prompt:
            values["context"] = context
            extra += len(context)
        if "{glossary}" in self.prompt:
            terms = find_terms(
                " ".join(language_between(segment.text, segment.spans)), self.glossary
            )
            values["glossary"] = "\n".join(f"{term} = {into}" for term, into in terms)
            extra += len(values["glossary"])
        if self.logprobs:
            sampling = with_logprobs(sampling)
        return Prompt(
            fill_template(self.prompt, values), sampling, retry_reason, context_characters=extra
        )

    def find_fault(self, source: str, answer: Answer, translation: str | None) -> str:
        """Why an answer is no translation of a segment; empty if it is one."""
        if answer.reason:
            return answer.reason
        if translation is None:
            return LOST_PLACEHOLDER
        return self.check_translation(source, translation)
