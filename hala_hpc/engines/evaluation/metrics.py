"""Score translations against references: BLEU, chrF++ and ROUGE-L, each with a signature."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

METRICS = ("bleu", "chrf++", "rouge_l")


@dataclass(frozen=True)
class Scores:
    """Scores by metric, and for each the signature that describes how it was computed."""

    values: dict[str, float] = field(default_factory=dict)
    """From 0 to 100, higher is better."""
    signatures: dict[str, str] = field(default_factory=dict)


def score_translations(hypotheses: Sequence[str], references: Sequence[str]) -> Scores:
    """Corpus BLEU and chrF++ (sacreBLEU) and mean ROUGE-L F1 of translations."""
    from sacrebleu.metrics import BLEU, CHRF

    values, signatures = {}, {}
    for name, metric in (("bleu", BLEU()), ("chrf++", CHRF(word_order=2))):
        values[name] = float(metric.corpus_score(list(hypotheses), [list(references)]).score)
        signatures[name] = str(metric.get_signature())
    values["rouge_l"] = rouge_l(hypotheses, references)
    signatures["rouge_l"] = rouge_signature()
    return Scores(values, signatures)


def rouge_l(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Mean F1 of the longest common subsequence of words, from 0 to 100."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=WordTokenizer())
    pairs = zip(references, hypotheses, strict=True)
    scores: list[float] = [scorer.score(first, text)["rougeL"].fmeasure for first, text in pairs]
    return 100.0 * sum(scores) / len(scores)


def rouge_signature() -> str:
    """Describe how `rouge_l` is computed, in the form of sacreBLEU's signatures."""
    from importlib.metadata import version

    return f"type:rougeL|measure:f1|tok:unicode-words|case:lc|version:{version('rouge-score')}"


class WordTokenizer:
    """Tokenizer for words of any script: that of rouge-score drops all letters but a to z."""

    def tokenize(self, text: str) -> list[str]:
        """Split at white space, punctuation and symbols; diacritics stay with their letters."""
        spaced = (" " if unicodedata.category(c)[0] in "PS" else c for c in text.lower())
        return "".join(spaced).split()
