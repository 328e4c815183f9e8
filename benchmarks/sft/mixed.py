"""Passes by tokens compared with passes by rows, on rows of very different lengths."""

import random
from collections.abc import Sequence
from functools import partial
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.sft import row_batches
from benchmarks.sft.between_rounds import print_progress, remove, rounded
from benchmarks.sft.sides import figures_of, make_tokens, metrics_of, start_ours
from benchmarks.sft.turns import race
from benchmarks.sft.workload import Turns, load_turns, make_model, write_rows

#: Tokens of a row: median, deviation of the logarithm, minimum and maximum. Mixtures of instruction
#: data are about as wide (the range is that of the task; the shape is assumed).
MEDIAN_TOKENS, DEVIATION, MIN_TOKENS, MAX_TOKENS = 200, 1.1, 20, 4000
#: Characters that a token has about, of the tokenizer that is trained on the rows.
CHARACTERS_A_TOKEN = 4
MAX_LENGTH = 4096
#: Maximum padded tokens of a pass on either side, as the memory allows.
PASS_TOKENS = MAX_LENGTH * row_batches.ROWS_AT_ONCE
#: Tolerance of the losses of a step, as a share of their size: sums in another order.
LOSS_TOLERANCE = 1e-5
#: The sides, by the stage that each runs.
STAGES = {"tokens": "sft", "rows": row_batches.__file__}


def mixed_turns(files: Sequence[Path], count: int, seed: int) -> list[Turns]:
    """Make rows of about 20 to 4,000 tokens, each of several turns one after the other."""
    draw = random.Random(seed)
    parts = load_turns(files, draw)
    rows = []
    for _ in range(count):
        tokens = draw.lognormvariate(log(MEDIAN_TOKENS), DEVIATION)
        left = CHARACTERS_A_TOKEN * min(max(tokens, MIN_TOKENS), MAX_TOKENS)
        chosen = []
        while left > 0:
            chosen.append(draw.choice(parts))
            left -= sum(map(len, chosen[-1]))
        questions, answers = zip(*chosen, strict=True)
        rows.append((" ".join(questions), " ".join(answers)))
    return rows


def mixed_rows(base: Path, arguments: Any, warm_steps: int) -> dict[str, Any]:
    """Run both ways in turns: the ratio of their useful tokens/s, and the figures of each.

    Raises: ValueError if the losses of a step differ by more than `LOSS_TOLERANCE`.
    """
    base.mkdir()
    turns = mixed_turns(arguments.data, arguments.mixed_rows, arguments.seed)
    rows = write_rows(base, turns)
    model = make_model(base / "model", turns, "qwen2", arguments.hidden)
    tokens = make_tokens(base / "tokenized", model, rows, packing=False, max_length=MAX_LENGTH)
    # After the first steps; the last one is excluded, as a model is saved after it.
    steps = range(warm_steps, tokens.steps - 1)
    settings = {"micro_batch_tokens": PASS_TOKENS}
    gains, cpu_gains, fills, passes, differs = [], [], {}, {}, 0.0
    for number in range(arguments.rounds):
        starts = {
            name: partial(start_ours, base / name, model, tokens, stage=stage, **settings)
            for name, stage in sorted(STAGES.items(), reverse=number % 2 == 1)
        }
        took = {name: one.took(steps) for name, one in race(starts, steps).items()}
        # Both train on the same rows in these steps.
        gains.append(took["rows"].seconds / took["tokens"].seconds)
        cpu_gains.append(took["rows"].cpu_s / took["tokens"].cpu_s)
        differs = max(differs, loss_difference(*(base / name for name in STAGES)))
        fills = {name: figures_of(base / name).batch_fill for name in STAGES}
        passes = {name: figures_of(base / name).passes_per_step for name in STAGES}
        remove(*(base / name for name in STAGES))
        print_progress(
            {"tokens_to_rows": rounded(gains), "cpu": rounded(cpu_gains), "differs": differs}
        )
    if differs > LOSS_TOLERANCE:
        raise ValueError(f"losses of the two ways differ by {differs:.1e} of their size")
    lengths = sorted(tokens.lengths.tolist())
    return {
        "tokens_to_rows": round(median(gains), 4),
        "tokens_to_rows_rounds": rounded(gains),
        "tokens_to_rows_cpu": round(median(cpu_gains), 4),
        "mixed_loss_difference": differs,
        "mixed_lengths": [lengths[0], lengths[len(lengths) // 2], lengths[-1]],
        "mixed_fill": fills,
        "mixed_passes_per_step": passes,
    }


def loss_difference(one: Path, other: Path) -> float:
    """Return the maximum relative difference of the losses of a step."""
    pairs = zip(metrics_of(one), metrics_of(other), strict=True)
    return max(abs(a.loss / b.loss - 1) for a, b in pairs if a.loss and b.loss)
