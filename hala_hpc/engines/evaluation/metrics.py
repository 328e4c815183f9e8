"""Score translations against references: BLEU, chrF++, TER and ROUGE-L, each with a signature.

BLEU is computed with two tokenizers. 13a is what papers print; it leaves Arabic punctuation joined
to its word, which `intl` splits off. ROUGE-L is computed over words of any script, and as
rouge-score does it, which drops all letters but a to z: equal Arabic texts without digits get 0.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

METRICS = ("bleu", "bleu_intl", "chrf++", "ter", "rouge_l", "rouge_l_ascii", "structure")
#: Checks of translations for what source and translation must have in common.
STRUCTURE_CHECKS = ("placeholders", "markup", "structure", "numbers")


@dataclass(frozen=True)
class Scores:
    """Scores by metric, and for each the signature that describes how it was computed."""

    values: dict[str, float] = field(default_factory=dict)
    """From 0 to 100, higher is better; of TER lower is, and it has no upper bound."""
    signatures: dict[str, str] = field(default_factory=dict)


def make_corpus_metrics() -> dict[str, Any]:
    """sacreBLEU's metrics by name."""
    from sacrebleu.metrics import BLEU, CHRF, TER

    return {
        "bleu": BLEU(),
        "bleu_intl": BLEU(tokenize="intl"),
        "chrf++": CHRF(word_order=2),
        "ter": TER(),
    }


def score_translations(hypotheses: Sequence[str], references: Sequence[str]) -> Scores:
    """Corpus scores of sacreBLEU and mean ROUGE-L F1 of translations."""
    values, signatures = {}, {}
    for name, metric in make_corpus_metrics().items():
        values[name] = float(metric.corpus_score(list(hypotheses), [list(references)]).score)
        signatures[name] = str(metric.get_signature())
    for name, tokenizer in (("rouge_l", WordTokenizer()), ("rouge_l_ascii", None)):
        values[name] = rouge_l(hypotheses, references, tokenizer)
        signatures[name] = rouge_signature("ascii" if tokenizer is None else "unicode-words")
    return Scores(values, signatures)


def score_structure(
    sources: Sequence[str], hypotheses: Sequence[str], languages: tuple[str, str]
) -> Scores:
    """Share of translations that have the placeholders, markup, lists and numbers of their source.

    In percent, by the checks that `translate` rejects rows with; `languages`: codes of both sides.
    """
    from hala_hpc.data.checks.settings import CHECKS, CheckSettings
    from hala_hpc.data.checks.translation import OutputChecks

    others = [reason for reason in CHECKS if reason not in STRUCTURE_CHECKS]
    checks = OutputChecks(CheckSettings.model_validate({"disabled": others}), *languages)
    pairs = zip(sources, hypotheses, strict=True)
    whole = sum(not checks.fault(source, text) for source, text in pairs)
    signature = f"checks:{'+'.join(STRUCTURE_CHECKS)}|languages:{'-'.join(languages)}"
    return Scores({"structure": 100.0 * whole / len(sources)}, {"structure": signature})


def rouge_l(
    hypotheses: Sequence[str], references: Sequence[str], tokenizer: "WordTokenizer | None"
) -> float:
    """Mean F1 of the longest common subsequence of words, from 0 to 100.

    Without a tokenizer, words are those of rouge-score: of letters a to z and digits.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=tokenizer)
    pairs = zip(references, hypotheses, strict=True)
    scores: list[float] = [scorer.score(first, text)["rougeL"].fmeasure for first, text in pairs]
    return 100.0 * sum(scores) / len(scores)


def rouge_signature(words: str) -> str:
    """Describe how ROUGE-L is computed over these words, in the form of sacreBLEU's signatures."""
    from importlib.metadata import version

    return f"type:rougeL|measure:f1|tok:{words}|case:lc|version:{version('rouge-score')}"


class WordTokenizer:
    """Tokenizer for words of any script: that of rouge-score drops all letters but a to z."""

    def tokenize(self, text: str) -> list[str]:
        """Split at white space, punctuation and symbols; diacritics stay with their letters."""
        spaced = (" " if unicodedata.category(c)[0] in "PS" else c for c in text.lower())
        return "".join(spaced).split()
