"""Speed of `sft` compared with a plain TRL and DeepSpeed script, and the fill of its batches.

    python -m benchmarks.sft [--data FILE ...] [--rows 1024] [--rounds 3]

Two ranks on this machine, ZeRO-2, the same model, rows and global batch on both sides, and passes
of about the same size; ours through `launch`. The last line is a JSON object:

- `ratio_to_trl`: tokens/s of ours over the plain script's on rows of equal length, where there
  is nothing to pad; the first three steps are left out. Both are alive at once and take turns, see
  `benchmarks.sft.turns`. Median of the rounds.
- `ratio_to_trl_cpu`: the same of the seconds of cores that all processes of a side took; other
  programs on the machine change them less.
- `first_step_ratio`: time from the start of the job to the end of the first step, ours over the
  plain script's. The plain script makes tokens of its few rows in that time, `sft` finds them.
- `fill`: share of the token slots that are no padding: `packed` (a model of attention alone),
  `grouped` (LFM2) and `plain` (TRL's default: rows in random order, padded).
- `kept`: share of the tokens that packing keeps.
- `gain_to_fill`: useful tokens/s over those of TRL's default, over the ratio of the fills.
- `tokens_to_rows`: useful tokens/s of `sft` with passes by tokens over those of the same stage with
  passes of four rows, on rows of 20 to 4,000 tokens in the same order; the maximum padded tokens of
  a pass are equal. In turns, and the losses of all steps must be equal
  (`mixed_loss_difference`). `mixed_fill` and `mixed_passes_per_step` explain it;
  `tokens_to_rows_cpu` is the ratio in seconds of cores.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.machine import machine
from benchmarks.sft.between_rounds import print_progress, remove, rounded
from benchmarks.sft.mixed import mixed_rows
from benchmarks.sft.sides import (
    make_tokens,
    ours,
    ours_timing,
    plain,
    plain_timing,
    start_ours,
    start_plain,
)
from benchmarks.sft.tokens import trl_tokens_a_row
from benchmarks.sft.turns import race
from benchmarks.sft.workload import equal_turns, make_model, turns_of, write_rows
from hala_hpc.core.environment import set_job_environment

#: Steps at the start that are not measured.
WARM_STEPS = 3


def equal_rows(base: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run both sides on rows of equal length, in turns."""
    base.mkdir()
    turns = equal_turns(arguments.rows, arguments.seed)
    rows = write_rows(base, turns)
    model = make_model(base / "model", turns, "qwen2", arguments.hidden)
    tokens = make_tokens(base / "tokens", model, rows, packing=False)
    starts = {
        "ours": lambda: start_ours(base / "ours", model, tokens, group_by_length=False),
        "plain": lambda: start_plain(base / "plain", model, rows),
    }
    # Rows a second times tokens a row. The last step is excluded: a model is saved after it.
    share = tokens.tokens_a_row / trl_tokens_a_row(model, rows.plain)
    steps = range(WARM_STEPS, tokens.steps - 1)
    found: dict[str, list[float]] = {"ratio_to_trl": [], "ratio_to_trl_cpu": []}
    found["first_step_ratio"] = []
    for number in range(arguments.rounds):
        running = race(dict(sorted(starts.items(), reverse=number % 2 == 1)), steps)
        mine, theirs = running["ours"].took(steps), running["plain"].took(steps)
        found["ratio_to_trl"].append(share * theirs.seconds / mine.seconds)
        found["ratio_to_trl_cpu"].append(share * theirs.cpu_s / mine.cpu_s)
        plain_first_s = plain_timing(running["plain"]).first_s
        found["first_step_ratio"].append(ours_timing(base / "ours").first_s / plain_first_s)
        remove(base / "ours", base / "plain")
        print_progress({name: rounded(ratios) for name, ratios in found.items()})
    return {
        **{name: round(median(ratios), 4) for name, ratios in found.items()},
        "ratios_to_trl": rounded(found["ratio_to_trl"]),
        "ratios_to_trl_cpu": rounded(found["ratio_to_trl_cpu"]),
        "tokens_a_row": round(tokens.tokens_a_row, 1),
    }


def real_rows(base: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare packing and grouping with TRL's default padding, on rows of real lengths."""
    base.mkdir()
    turns = turns_of(arguments.data, arguments.real_rows, arguments.seed)
    rows = write_rows(base, turns)
    found: dict[str, Any] = {"fill": {}, "gain": {}, "gain_to_fill": {}}
    for name, family in (("grouped", "lfm2"), ("packed", "qwen2")):
        model = make_model(base / family, turns, family, arguments.hidden)
        padded = make_tokens(base / f"padded-{family}", model, rows, packing=False)
        tokens = padded
        if name == "packed":
            tokens = make_tokens(base / "packed", model, rows, packing=True)
            found["kept"] = tokens.facts.tokens / padded.facts.tokens
        gains = []
        for number in range(arguments.rounds):
            mine = ours(base / "ours", model, tokens)
            theirs = plain(base / "plain", model, rows)
            after_first = padded.facts.tokens * (1 - 1 / len(theirs.ends_s))
            rate = tokens.after_first_step(grouped=True) / mine.rest_s
            gains.append(rate / (after_first / theirs.rest_s))
            print_progress({"round": number, name: round(gains[-1], 3)})
            remove(base / "ours", base / "plain")
        # A packed sequence has as many slots as `max_length`, whatever the others have.
        fill = tokens.facts.fill or tokens.fill(grouped=True)
        plain_fill = padded.plain_fill()
        found["fill"] |= {name: round(fill, 4), f"plain_{family}": round(plain_fill, 4)}
        found["gain"][name] = round(median(gains), 3)
        found["gain_to_fill"][name] = round(median(gains) / (fill / plain_fill), 4)
    return found


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sft")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="JSONL files of rows")
    parser.add_argument("--rows", type=int, default=1024, help="rows of equal length")
    parser.add_argument("--real-rows", type=int, default=1024, help="maximum rows of real lengths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=512, help="width of the tiny models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it runs")
    parser.add_argument("--mixed-rows", type=int, default=1024, help="rows of 20 to 4,000 tokens")
    parser.add_argument("--only", choices=["equal", "real", "mixed"], help="one part of it")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.real_rows, arguments.mixed_rows = 384, 320, 384
        arguments.rounds, arguments.hidden = 1, 128
    set_job_environment()
    with tempfile.TemporaryDirectory(prefix="hala-benchmark-") as base:
        found: dict[str, Any] = {}
        if arguments.only in (None, "equal"):
            found |= equal_rows(Path(base) / "equal", arguments)
        if arguments.only in (None, "real"):
            found |= real_rows(Path(base) / "real", arguments)
        if arguments.only in (None, "mixed"):
            found |= mixed_rows(Path(base) / "mixed", arguments, WARM_STEPS)
    files = [file.name for file in arguments.data] or "made"
    print(json.dumps({**found, "data": files, "machine": machine()}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
