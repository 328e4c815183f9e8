"""How often the check of structure is wrong on human translations, and which defects it finds.

    python -m benchmarks.structure [--locales FOLDER] [--half tune|report] [--show N]

One seeded half of the messages is for setting the bounds of the check, the other for the report.
The last line is a JSON object: `clean` translations that keep a rule of their own
(`texts.keeps_the_rule`), `alarms` on them; `planted` and `found` defects, in all and by kind.
`excluded` counts messages whose translators broke the rule, `alarms_with_excluded` includes them.
With `--engine` an engine that breaks structure at seeded rates translates messages instead, at each
level: accepted rows, those of another structure, requests and tokens.
"""

import argparse
import collections
import json
import random
import sys
from pathlib import Path

from benchmarks.structure import texts
from benchmarks.structure.planter import KINDS, furnish
from hala_hpc.data.segmentation.alignment import find_structure_fault
from hala_hpc.data.segmentation.spans import protected_spans

CLEAN = 2000
OF_EACH_KIND = 100
SEED = 24


def main() -> None:
    """Read the messages, count, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structure")
    parser.add_argument("--locales", type=Path, default=texts.LOCALES)
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    parser.add_argument("--show", type=int, default=0, help="print so many errors of each sort")
    parser.add_argument("--engine", action="store_true", help="measure the levels instead")
    parser.add_argument("--rows", type=int, default=300, help="messages for --engine")
    args = parser.parse_args()
    pairs = texts.read_pairs(args.locales, SEED)
    if args.engine:
        from benchmarks.structure.levels import measure_levels

        print(json.dumps(measure_levels([source for source, _ in pairs[: args.rows]])))
        return
    half = pairs[0 if args.half == "tune" else 1 :: 2]
    clean = [pair for pair in half if texts.keeps_the_rule(pair)][:CLEAN]
    broken = [pair for pair in half if not texts.keeps_the_rule(pair)]
    alarms = [pair for pair in clean if is_faulty(*pair)]
    by_kind, missed = plant_all(clean)
    for name, (source, target) in [
        *(("alarm", pair) for pair in alarms[: args.show]),
        *missed[: args.show],
    ]:
        print(f"===== {name}\n{source}\n-----\n{target}", file=sys.stderr)
    found, planted = (sum(counts) for counts in zip(*by_kind.values(), strict=True))
    result = {
        "half": args.half,
        "clean": len(clean),
        "alarms": len(alarms),
        "alarm_share": round(len(alarms) / max(1, len(clean)), 5),
        "excluded": len(broken),
        "alarms_with_excluded": len(alarms) + sum(is_faulty(*pair) for pair in broken),
        "planted": planted,
        "found": found,
        "found_share": round(found / max(1, planted), 5),
        "by_kind": by_kind,
    }
    print(json.dumps(result))


def is_faulty(source: str, target: str) -> bool:
    """Whether the check finds a fault."""
    spans = protected_spans(source), protected_spans(target)
    return find_structure_fault(source, target, spans) is not None


def plant_all(
    clean: list[texts.Pair],
) -> tuple[dict[str, list[int]], list[tuple[str, texts.Pair]]]:
    """Return found and planted defects by kind, and the missed ones.

    A defect is planted into a pair only if the check finds nothing without it.
    """
    counts: dict[str, list[int]] = {}
    missed: list[tuple[str, texts.Pair]] = []
    for kind, planter in KINDS.items():
        draw = random.Random(f"{SEED} {kind}")
        tally: collections.Counter[bool] = collections.Counter()
        for pair in draw.sample(clean, len(clean)):
            if tally.total() == OF_EACH_KIND:
                break
            source, target = furnish(pair, draw)
            before = "\n".join(source), "\n".join(target)
            if not planter(source, target, draw) or "\n".join(target) == before[1]:
                continue
            if is_faulty(*before):
                continue
            after = before[0], "\n".join(target)
            tally[is_faulty(*after)] += 1
            if not is_faulty(*after):
                missed.append((kind, after))
        counts[kind] = [tally[True], tally.total()]
    return counts, missed


if __name__ == "__main__":
    main()
