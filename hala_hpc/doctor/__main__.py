"""Tell what would go wrong on a cluster: `python -m hala_hpc.doctor launcher=my-site.toml`.

Nothing is submitted, unless job=true sends it to compute nodes for a minute.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import start_quickly

    start_quickly()

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from hala_hpc.commands.arguments import asks_for_help, is_true, print_arguments, unknown_words
from hala_hpc.commands.command_line import read_launcher, read_line, report_mistakes
from hala_hpc.commands.defaults import choose
from hala_hpc.commands.planning.hub_pieces import fetch_line
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.errors import CONFIG, OK, UserError
from hala_hpc.core.overrides import split_words
from hala_hpc.core.paths import find_toml, named_path
from hala_hpc.core.recipe import with_inputs
from hala_hpc.doctor.examine import findings
from hala_hpc.doctor.findings import Finding, worst
from hala_hpc.doctor.scope import Visit

WORDS = {
    "launcher": "name of a shipped one, or a TOML file (default: slurm with sbatch, else local)",
    "work": "folder of the results to come (default: runs/<recipe>, or runs)",
    "recipe": "recipe whose jobs, models, data and space are looked at, too",
    "stage": "nodes or stages of the recipe that are meant (default: all)",
    "job": "true: look at compute nodes as well, with a job of a minute for each kind",
    "format": "text or json (default: text)",
}
MARKS = {"good": "ok  ", "warn": "WARN", "bad": "BAD "}


def doctor(arguments: Sequence[str]) -> int:
    """Print findings; 78 when one of them is bad."""
    if not arguments or asks_for_help(arguments):
        print_arguments(str(__doc__), WORDS)
        return OK
    words = split_words(list(arguments))
    visit = read_visit(words)
    found = list(findings(visit, tell))
    if words.get("format") == "json":
        state = worst(found)
        told = {"state": state, "findings": [asdict(finding) for finding in found]}
        print(json.dumps(told, ensure_ascii=False))
    else:
        print_findings(found)
    return CONFIG if worst(found) == "bad" else OK


def read_visit(words: Mapping[str, str]) -> Visit:
    """Understand the words; raises one UserError with all mistakes in them."""
    mistakes = unknown_words(words, WORDS)
    if words.get("format", "text") not in ("text", "json"):
        mistakes.append(f"format={words['format']}: write text or json")
    if "stage" in words and "recipe" not in words:
        mistakes.append("stage= means nodes of a recipe: name it with recipe=")
    if mistakes:
        raise UserError(mistakes)
    job = is_true(words, "job")
    choice = choose(words)
    stream = sys.stderr if words.get("format") == "json" else sys.stdout
    if "recipe" not in words:
        work = named_path("work", words.get("work") or "runs").absolute()
        print(f"launcher {choice.launcher}{choice.reason('launcher')}", file=stream, flush=True)
        launcher = read_launcher(find_toml("launcher", choice.launcher))
        return Visit(launcher, work, None, job)
    print(choice.told, file=stream, flush=True)
    given = {key: words[key] for key in ("recipe", "work", "launcher") if key in words}
    given |= {"stage": words.get("stage", "all")}
    line = read_line([f"{key}={value}" for key, value in given.items()], choice)
    steps = make_plan(line.nodes, line.work, line.environment)
    chosen = {name: steps[name] for name in with_inputs(line.nodes, line.chosen)}
    return Visit(line.launcher, line.work, chosen, job, fetch_line(line.words))


def print_findings(found: Sequence[Finding]) -> None:
    """What is good in a line each, the rest with reason (once in a row) and cure; the count."""
    topics = dict.fromkeys(finding.topic for finding in found)
    for topic in topics:
        print(topic)
        told = ""
        for finding in (one for one in found if one.topic == topic):
            print(f"  {MARKS[finding.state]} {finding.what}")
            if finding.state != "good":
                if finding.why != told:
                    print(f"       why:  {finding.why}")
                print(f"       cure: {finding.cure}")
                told = finding.why
    counts = {state: sum(one.state == state for one in found) for state in MARKS}
    print(f"\n{counts['good']} good, {counts['warn']} to know, {counts['bad']} bad")


def tell(text: str) -> None:
    """Say what is waited for, beside the report."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Console script: run the line, print mistakes, exit with their code."""
    sys.exit(report_mistakes(doctor, sys.argv[1:]))


if __name__ == "__main__":
    main()
