"""Detection and false alarm rates of the checks on planted translation defects: one JSON line.

    python -m benchmarks.defects [PAIRS.jsonl] [--half tune|report]

PAIRS.jsonl has rows `{"translation": {"en": ..., "ar": ...}}` of human translations; without it the
demo's generator makes the pairs. One seeded half of the pairs and of `phrases` is for tuning the
checks, the other half for the report.

Human translations are defective, too. Those that break the rule of their catalogue are excluded, by
the text alone and without the checks' code. The rule: each `<tag>`, `$variable`, `%directive` and
`{field}`, and each number of two digits or more, is on both sides equally often, in any digits; and
the translation has no more lines, as those of catalogues are wrapped by hand.
`excluded` counts them; `alarms_with_excluded` is the number of alarms with them.
"""

import argparse
import collections
import itertools
import json
import random
import re
import sys
from pathlib import Path

from benchmarks.defects.makers import Makers, Pair
from hala_hpc.data.checks.settings import CheckSettings
from hala_hpc.data.checks.translation import OutputChecks

CLEAN = 2000
OF_EACH_KIND = 90
SEED = 20
SETTINGS = CheckSettings(glossary={"Hala": "هالة"})
_RULE = re.compile(r"<[^<>]*>|\$\w+|%\(\w+\)\w|%[a-z]|\{\w*\}|[0-9]{2,}")
_DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩", "0123456789")


def main() -> None:
    """Read or make the pairs, count, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defects")
    parser.add_argument("pairs", nargs="?", type=Path)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--show", action="store_true", help="print each error")
    args = parser.parse_args()
    every = read(args.pairs) if args.pairs else made()
    random.Random(SEED).shuffle(every)
    pairs = every[0 if args.half == "tune" else 1 :: 2]
    valid = [pair for pair in pairs if keeps_the_rule(pair)]
    clean = valid[:CLEAN]
    checks = OutputChecks(SETTINGS, "en", "ar")
    false = [(checks.fault(*pair), pair) for pair in clean]
    false = [alarm for alarm in false if alarm[0]]
    broken = [pair for pair in pairs if not keeps_the_rule(pair)]
    by_kind, reasons, missed = count_found(checks, clean, args.half)
    if args.show:
        show(false, missed)
    found, made_ = (sum(counts) for counts in zip(*by_kind.values(), strict=True))
    result = {
        "half": args.half,
        "clean": len(clean),
        "excluded": len(broken),
        "false_alarms": len(false),
        "false_alarm_share": round(len(false) / len(clean), 5),
        "alarms_with_excluded": len(false) + sum(bool(checks.fault(*pair)) for pair in broken),
        "defects": made_,
        "found": found,
        "found_share": round(found / made_, 5),
        "by_kind": by_kind,
        "reasons": reasons,
    }
    print(json.dumps(result))


def read(path: Path) -> list[Pair]:
    """Read the pairs of a file with text on both sides."""
    with path.open(encoding="utf-8") as lines:
        both = [json.loads(line)["translation"] for line in lines]
    return [(row["en"], row["ar"]) for row in both if row["en"].strip() and row["ar"].strip()]


def made() -> list[Pair]:
    """Make pairs of one to eight sentences with the demo's generator."""
    from hala_hpc.demo.pairs import distinct_pairs

    draw = random.Random(SEED)
    sentences = distinct_pairs(draw)
    texts = []
    for size in itertools.islice(itertools.cycle((1, 1, 2, 3, 5, 8)), 2 * CLEAN):
        some = list(itertools.islice(sentences, size))
        texts.append((" ".join(s.english for s in some), " ".join(s.arabic for s in some)))
    return texts


def keeps_the_rule(pair: Pair) -> bool:
    """Whether both sides have the same directives and numbers: see the module docstring."""
    before, after = (collections.Counter(_RULE.findall(side.translate(_DIGITS))) for side in pair)
    source, translation = (sum(map(bool, map(str.strip, side.split("\n")))) for side in pair)
    return before == after and translation <= source


def count_found(
    checks: OutputChecks, clean: list[Pair], half: str
) -> tuple[dict[str, list[int]], dict[str, dict[str, int]], list[tuple[str, Pair]]]:
    """Return detected and made defects by kind, the reasons given, and the missed defects."""
    by_kind: dict[str, list[int]] = {}
    reasons: dict[str, dict[str, int]] = {}
    missed = []
    for kind, make in Makers(half).all().items():
        draw = random.Random(f"{SEED} {kind}")
        order = draw.sample(clean, len(clean))
        defects = [defect for pair in order if (defect := make(pair, draw)) and defect != pair]
        given = [(checks.fault(*defect), defect) for defect in defects[:OF_EACH_KIND]]
        by_kind[kind] = [sum(bool(reason) for reason, _ in given), len(given)]
        reasons[kind] = dict(collections.Counter(reason for reason, _ in given if reason))
        missed += [(kind, defect) for reason, defect in given if not reason]
    return by_kind, reasons, missed


def show(false: list[tuple[str, Pair]], missed: list[tuple[str, Pair]]) -> None:
    """Print the false alarms and the missed defects."""
    for name, (source, translation) in [
        *false,
        *(("missed " + kind, pair) for kind, pair in missed),
    ]:
        print(name, repr(source), repr(translation), sep="\n    ", file=sys.stderr)


if __name__ == "__main__":
    main()
