"""Check what would fail on a cluster: `python -m hala_hpc.doctor launcher=my-site.toml`.

Submits nothing, unless job=true runs the checks on compute nodes for about a minute.
"""

if __name__ == "__main__":
    # Before the imports that follow: they import pydantic.
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from hala_hpc.commands.arguments import (
    asks_for_help,
    describe_unknown_arguments,
    is_true,
    print_arguments,
)
from hala_hpc.commands.command_line import parse_command_line, read_launcher, run_command
from hala_hpc.commands.defaults import resolve_defaults
from hala_hpc.commands.planning.cleaned_steps import choose_steps
from hala_hpc.commands.planning.hub_dependencies import format_fetch_command
from hala_hpc.commands.planning.plan import make_plan
from hala_hpc.core.errors import CONFIG, OK, UserError
from hala_hpc.core.overrides import parse_overrides
from hala_hpc.core.paths import expand_path, find_toml
from hala_hpc.doctor.examine import examine_scope
from hala_hpc.doctor.findings import Finding, worst_state
from hala_hpc.doctor.scope import DoctorScope

ARGUMENTS = {
    "launcher": "shipped launcher or TOML file (default: slurm if there is sbatch, else local)",
    "work": "folder for the results (default: runs/<recipe>, or runs)",
    "recipe": "recipe whose jobs, models, data and disk space are checked, too",
    "stage": "nodes or stages of the recipe to check (default: all)",
    "job": "true: also check compute nodes, with a job of about a minute for each kind",
    "format": "text or json (default: text)",
}
SYMBOLS = {"good": "ok   ", "warn": "WARN ", "error": "ERROR"}


def doctor(arguments: Sequence[str]) -> int:
    """Print the findings; return 78 (CONFIG) if one of them is an error."""
    if not arguments or asks_for_help(arguments):
        print_arguments(str(__doc__), ARGUMENTS)
        return OK
    overrides = parse_overrides(list(arguments))
    scope = parse_scope(overrides)
    found = list(examine_scope(scope, print_progress))
    if overrides.get("format") == "json":
        state = worst_state(found)
        report = {"state": state, "findings": [asdict(finding) for finding in found]}
        print(json.dumps(report, ensure_ascii=False))
    else:
        print_findings(found)
    return CONFIG if worst_state(found) == "error" else OK


def parse_scope(overrides: Mapping[str, str]) -> DoctorScope:
    """Parse the overrides.

    Raises: UserError (USAGE) with all mistakes.
    """
    mistakes = describe_unknown_arguments(overrides, ARGUMENTS)
    if overrides.get("format", "text") not in ("text", "json"):
        mistakes.append(f"format={overrides['format']}: write text or json")
    if "stage" in overrides and "recipe" not in overrides:
        mistakes.append("stage= selects nodes of a recipe: set recipe= as well")
    if mistakes:
        raise UserError(mistakes)
    job = is_true(overrides, "job")
    choice = resolve_defaults(overrides)
    stream = sys.stderr if overrides.get("format") == "json" else sys.stdout
    if "recipe" not in overrides:
        work = expand_path("work", overrides.get("work") or "runs").absolute()
        print(
            f"launcher {choice.launcher}{choice.format_reason('launcher')}", file=stream, flush=True
        )
        launcher = read_launcher(find_toml("launcher", choice.launcher))
        return DoctorScope(launcher, work, None, job)
    print(choice.message, file=stream, flush=True)
    given = {key: overrides[key] for key in ("recipe", "work", "launcher") if key in overrides}
    given |= {"stage": overrides.get("stage", "all")}
    line = parse_command_line([f"{key}={value}" for key, value in given.items()], choice)
    steps = make_plan(line.nodes, line.work, line.environment)
    chosen = choose_steps(line, steps)
    return DoctorScope(line.launcher, line.work, chosen, job, format_fetch_command(line.overrides))


def print_findings(found: Sequence[Finding]) -> None:
    """Print each finding; warnings and errors with reason (once in a row) and fix; then counts."""
    topics = dict.fromkeys(finding.topic for finding in found)
    for topic in topics:
        print(topic)
        last_why = ""
        for finding in (one for one in found if one.topic == topic):
            print(f"  {SYMBOLS[finding.state]} {finding.what}")
            if finding.state != "good":
                if finding.why != last_why:
                    print(f"        why: {finding.why}")
                print(f"        fix: {finding.fix}")
                last_why = finding.why
    counts = {state: sum(one.state == state for one in found) for state in SYMBOLS}
    print(f"\n{counts['good']} good, {counts['warn']} warnings, {counts['error']} errors")


def print_progress(text: str) -> None:
    """Print to stderr what the doctor waits for, apart from the report."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Console script: run the doctor, print mistakes, exit with their code."""
    sys.exit(run_command(doctor, sys.argv[1:]))


if __name__ == "__main__":
    main()
