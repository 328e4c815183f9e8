"""Fetch what a launch reads from the hub: `python -m hala_hpc.fetch recipe=hala stage=all`.

For a login node with a network, as compute nodes are offline. Takes the overrides of a launch.
Fetches the models, data sets and all else that the missing nodes read, into the hub cache of the
launcher (HF_HOME). Only files that are read are fetched. The size is printed first, and an
interrupted fetch is resumed. Fetched files are compared with the hub's digests, and then opened in
a process without a network.
"""

if __name__ == "__main__":
    import os

    from hala_hpc.core.startup import prepare_process

    # A lab shares its hub cache: fetched files get the permissions of the user's own umask.
    mask = os.umask(0o077)
    # Before the imports that follow: they import pydantic.
    prepare_process()
    os.umask(mask)

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hala_hpc.commands.arguments import asks_for_help, is_true, print_arguments
from hala_hpc.commands.command_line import (
    LAUNCH_ARGUMENTS,
    CommandLine,
    parse_command_line,
    run_command,
)
from hala_hpc.commands.planning.cleaned_steps import choose_steps
from hala_hpc.commands.planning.hub_dependencies import (
    find_hub_dependencies,
    find_required_repositories,
    make_hub_site,
)
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.errors import CONFIG, NO_INPUT, OK, UserError
from hala_hpc.core.hub_dependency import HubSite
from hala_hpc.core.overrides import parse_overrides
from hala_hpc.core.paths import ROOT

OWN_ARGUMENTS = {
    "dry_run": "true: print what would be fetched and its size, and fetch nothing",
    "check": "true: fetch nothing; read and open again what is here, without a network",
    "update": "true: fetch the newest commits of the hub, also of what is here and complete",
}
ARGUMENTS = {
    name: LAUNCH_ARGUMENTS[name] for name in ("stage", "recipe", "launcher", "work")
} | OWN_ARGUMENTS
#: The library that fetches; it is in the environment main, and perhaps not beside this interpreter.
LIBRARY = "huggingface_hub"
#: Set for the process that was started in that environment.
IN_MAIN = "HALA_FETCH_IN_MAIN"
#: Variables that keep the libraries offline; a launcher sets them for its jobs.
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def fetch(arguments: Sequence[str]) -> int:
    """Run the command; return the exit code. Raises: UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        print_arguments(str(__doc__), ARGUMENTS)
        return OK
    overrides = parse_overrides(list(arguments))
    own = {name: is_true(overrides, name) for name in OWN_ARGUMENTS}
    launch_overrides = [
        f"{key}={value}" for key, value in overrides.items() if key not in OWN_ARGUMENTS
    ]
    line = parse_command_line(launch_overrides)
    if importlib.util.find_spec(LIBRARY) is None:
        return run_in_main(line, arguments)
    enter_environment(line.environment)
    steps = chosen_steps(line)
    if not own["check"]:
        from hala_hpc.commands.fetching.fetch_missing import fetch_missing

        fetch_missing(steps, allow_network(make_hub_site(line)), own["update"], own["dry_run"])
        if own["dry_run"]:
            return OK
        # Fetched commits decide which results exist.
        steps = chosen_steps(line)
    missing = [step for step in steps if step.state != "done"]
    return check_offline(missing, make_hub_site(line), launch_overrides, own["check"])


def run_in_main(line: CommandLine, arguments: Sequence[str]) -> int:
    """Run the same command in the environment main, which has what this interpreter lacks."""
    python = line.launcher.python_of("main")
    if mistakes := line.launcher.python_problems({"main"}):
        raise UserError(mistakes, CONFIG)
    if IN_MAIN in os.environ:
        message = f"{python} has no {LIBRARY}, which fetches: run `make env` to rebuild it"
        raise UserError(message, CONFIG)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [python, "-m", "hala_hpc.fetch", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, IN_MAIN: "1"}
    return subprocess.run(command, env=environment, check=False).returncode


def enter_environment(environment: Mapping[str, str]) -> None:
    """Set the variables of the jobs, except those that keep them offline.

    Must run before the libraries are imported: they read them then.
    """
    os.environ.update(environment)
    for name in OFFLINE_VARIABLES:
        os.environ.pop(name, None)
    if not sys.stderr.isatty():
        # A log gets a line for each model, not a thousand progress bars.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def allow_network(site: HubSite) -> HubSite:
    """The same site without the variables that keep libraries offline."""
    variables = {
        name: value for name, value in site.environment.items() if name not in OFFLINE_VARIABLES
    }
    return replace(site, environment=variables)


def chosen_steps(line: CommandLine) -> list[Step]:
    """The nodes that the command selects, with all they need."""
    steps = make_plan(line.nodes, line.work, line.environment)
    return list(choose_steps(line, steps).values())


def check_offline(
    missing: Sequence[Step], site: HubSite, arguments: Sequence[str], read: bool
) -> int:
    """Check everything and open it without a network; `read`: also compare the hub's digests.

    Raises: UserError (NO_INPUT) if anything is wrong.
    """
    from hala_hpc.commands.fetching.offline_check import (
        find_damaged_files,
        find_no_network_prefix,
        open_without_network,
    )

    dependencies = find_hub_dependencies(missing, site)
    if not dependencies:
        print(f"the {len(missing)} nodes that are not done read nothing from the hub")
        return OK
    faults = [dependency.message for dependency in dependencies if dependency.problems]
    if read:
        print("comparing every file with the hub's digests", flush=True)
        wanted = find_required_repositories(missing, site.python)
        faults += [message for _, message in find_damaged_files(wanted, site.environment)]
    cut = find_no_network_prefix()
    how = (
        f"without a network ({' '.join(cut)})"
        if cut
        else "with HF_HUB_OFFLINE=1 only, as cutting the network off (unshare -n) is not permitted"
    )
    print(f"opening them in a process {how}", flush=True)
    report = open_without_network(site, arguments, cut)
    faults += report.mistakes
    for dependency in dependencies:
        print(f"  {'ok ' if dependency.is_complete else 'BAD'} {dependency.message}")
    if faults:
        raise UserError(faults, NO_INPUT)
    print(f"all {len(dependencies)} are here, complete, and open without a network")
    return OK


def main() -> None:
    """Console script: run the command, print mistakes, exit with their code."""
    sys.exit(run_command(fetch, sys.argv[1:]))


if __name__ == "__main__":
    main()
