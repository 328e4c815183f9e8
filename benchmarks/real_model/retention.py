"""How well a model retains its English: perplexity of paragraphs, with paired intervals.

`python -m benchmarks.real_model.retention MODEL...` prints a JSON object: for each model the mean
negative log-likelihood of a token of each paragraph.
"""

import json
import math
import sys
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from benchmarks.real_model.manual_pages import paragraphs

PARAGRAPHS = 200
#: Of the normal distribution, for 95 %.
QUANTILE = 1.96


class Interval(NamedTuple):
    """A value with its interval of 95 %."""

    value: float
    low: float
    high: float


def losses(model: str, texts: Sequence[str]) -> list[float]:
    """Mean negative log-likelihood of a token of each text, in nats."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype="float32").eval()
    found = []
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer(text, return_tensors="pt").input_ids
            found.append(float(network(input_ids=ids, labels=ids).loss))
    return found


def perplexity(found: Sequence[float]) -> Interval:
    """Perplexity over paragraphs of equal weight, with its interval."""
    return Interval(*(math.exp(one) for one in mean_of(found)))


def change(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Return the factor by which the perplexity of the same paragraphs changed, with interval."""
    differences = [new - old for old, new in zip(before, after, strict=True)]
    return Interval(*(math.exp(one) for one in mean_of(differences)))


def mean_of(values: Sequence[float]) -> Interval:
    """The mean of some values, with its interval of 95 % by the normal distribution."""
    mean = fmean(values)
    half = QUANTILE * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Interval(mean, mean - half, mean + half)


def wilson(right: int, count: int) -> Interval:
    """A share with Wilson's interval of 95 %, which is right for small counts as well."""
    share, square = right / count, QUANTILE**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = QUANTILE / (1 + square / count)
    half *= math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return Interval(share, middle - half, middle + half)


if __name__ == "__main__":
    wanted = paragraphs(PARAGRAPHS)
    print(json.dumps({model: losses(model, wanted) for model in sys.argv[1:]}))
