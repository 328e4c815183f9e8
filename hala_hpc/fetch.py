"""Fetch what a line reads from the hub: `python -m hala_hpc.fetch recipe=hala stage=all`.

For a login node with a network, as compute nodes work offline. Takes the words of a launch. Fetches
the models, data sets and whatever else the missing nodes of the line read into the hub cache of the
launcher (HF_HOME): only the files that are read, first telling how much that is, going on where an
earlier fetch ended. What was fetched is compared with the hub's digests, and then opened in a
process that has no network.
"""

if __name__ == "__main__":
    import os

    from hala_hpc.core.startup import start_quickly

    # A lab shares its hub cache: what is fetched gets the rights that its user gives.
    mask = os.umask(0o077)
    # Before the imports that follow: they import pydantic.
    start_quickly()
    os.umask(mask)

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hala_hpc.commands.arguments import asks_for_help, is_true, print_arguments
from hala_hpc.commands.command_line import WORDS as LAUNCH_WORDS
from hala_hpc.commands.command_line import Line, read_line, report_mistakes
from hala_hpc.commands.planning.hub_pieces import pieces_of, site_of, wanted_by
from hala_hpc.commands.planning.plan import Step, make_plan
from hala_hpc.core.errors import CONFIG, NO_INPUT, OK, UserError
from hala_hpc.core.hub_piece import HubSite
from hala_hpc.core.overrides import split_words
from hala_hpc.core.paths import ROOT
from hala_hpc.core.recipe import with_inputs

OWN_WORDS = {
    "dry_run": "true: tell what would be fetched and how much that is, and fetch nothing",
    "check": "true: fetch nothing; read again and open what is here, without a network",
    "update": "true: take the newest commits of the hub, also of what is here and whole",
}
WORDS = {name: LAUNCH_WORDS[name] for name in ("stage", "recipe", "launcher", "work")} | OWN_WORDS
#: The library that fetches; in the environment main, and perhaps not beside this interpreter.
LIBRARY = "huggingface_hub"
#: Set for the process that was started in that environment.
IN_MAIN = "HALA_FETCH_IN_MAIN"
#: Variables that keep the libraries off the network; a launcher sets them for its jobs.
OFF_WORDS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def fetch(arguments: Sequence[str]) -> int:
    """Do what a line asks for; return the exit code. Raises UserError for mistakes."""
    if not arguments or asks_for_help(arguments):
        print_arguments(str(__doc__), WORDS)
        return OK
    words = split_words(list(arguments))
    own = {word: is_true(words, word) for word in OWN_WORDS}
    kept = [f"{key}={value}" for key, value in words.items() if key not in OWN_WORDS]
    line = read_line(kept)
    if importlib.util.find_spec(LIBRARY) is None:
        return run_in_main(line, arguments)
    enter_environment(line.environment)
    steps = chosen_steps(line)
    if not own["check"]:
        from hala_hpc.commands.fetching.fetch_missing import fetch_missing

        fetch_missing(steps, online(site_of(line)), own["update"], own["dry_run"])
        if own["dry_run"]:
            return OK
        # What is fetched decides which results there are.
        steps = chosen_steps(line)
    missing = [step for step in steps if step.state != "done"]
    return prove(missing, site_of(line), kept, own["check"])


def run_in_main(line: Line, arguments: Sequence[str]) -> int:
    """Do the same in the environment main, which has what this interpreter lacks."""
    python = line.launcher.python_of("main")
    if mistakes := line.launcher.python_problems({"main"}):
        raise UserError(mistakes, CONFIG)
    if IN_MAIN in os.environ:
        told = f"{python} has no {LIBRARY}, which fetches: `make env` makes the environment anew"
        raise UserError(told, CONFIG)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [python, "-m", "hala_hpc.fetch", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, IN_MAIN: "1"}
    return subprocess.run(command, env=environment, check=False).returncode


def enter_environment(environment: Mapping[str, str]) -> None:
    """Take the variables of the jobs, but for those that keep them off the network.

    Before the libraries are imported: they read them then.
    """
    os.environ.update(environment)
    for name in OFF_WORDS:
        os.environ.pop(name, None)
    if not sys.stderr.isatty():
        # A log gets a line for each model, not a thousand bars.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def online(site: HubSite) -> HubSite:
    """The same with variables that keep nothing off the network."""
    kept = {name: value for name, value in site.environment.items() if name not in OFF_WORDS}
    return replace(site, environment=kept)


def chosen_steps(line: Line) -> list[Step]:
    """The nodes that the line means, with all they need."""
    steps = make_plan(line.nodes, line.work, line.environment)
    return [steps[name] for name in with_inputs(line.nodes, line.chosen)]


def prove(missing: Sequence[Step], site: HubSite, words: Sequence[str], read: bool) -> int:
    """Look at everything and open it without a network; 66 where something is amiss.

    `read`: every file is compared with the hub's digests, too.
    """
    from hala_hpc.commands.fetching.proof import cut_off, damaged_files, open_without_network

    pieces = pieces_of(missing, site)
    if not pieces:
        print(f"the {len(missing)} nodes that are not done read nothing from the hub")
        return OK
    faults = [piece.told for piece in pieces if piece.problems]
    if read:
        print("comparing every file with the hub's digests", flush=True)
        wanted = wanted_by(missing, site.python)
        faults += [told for _, told in damaged_files(wanted, site.environment)]
    cut = cut_off()
    how = (
        f"with its network cut ({' '.join(cut)})"
        if cut
        else "with HF_HUB_OFFLINE=1 alone, as nobody may cut a network off here (unshare -n)"
    )
    print(f"opening them in a process {how}", flush=True)
    report = open_without_network(site, words, cut)
    faults += report.mistakes
    for piece in pieces:
        print(f"  {'ok ' if piece.is_whole else 'BAD'} {piece.told}")
    if faults:
        raise UserError(faults, NO_INPUT)
    print(f"all {len(pieces)} are here, whole, and open without a network")
    return OK


def main() -> None:
    """Console script: run the line, print mistakes, exit with their code."""
    sys.exit(report_mistakes(fetch, sys.argv[1:]))


if __name__ == "__main__":
    main()
