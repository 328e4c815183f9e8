"""`python -m hala_hpc`: list the commands."""

import sys

from hala_hpc import __version__
from hala_hpc.commands.arguments import asks_for_help
from hala_hpc.core.errors import OK, USAGE

COMMANDS = {
    "launch": "run a recipe, or resume it; --help lists every setting",
    "fetch": "fetch models and data of a recipe, for jobs without a network",
    "doctor": "check what would go wrong on this cluster",
    "status": "show how far a run is",
    "logs": "show the log of what failed",
    "cancel": "cancel the jobs of a run",
    "retry": "run failed nodes again",
    "verify": "check that everything finished is still intact",
}


def main() -> None:
    """Print the commands, or the version; exit with 64 for an argument of one of them."""
    if sys.argv[1:] == ["--version"]:
        print(f"hala_hpc {__version__}")
        sys.exit(OK)
    asks = all(asks_for_help([argument]) for argument in sys.argv[1:])
    print("\n".join(f"python -m hala_hpc.{name:<7} {COMMANDS[name]}" for name in COMMANDS))
    sys.exit(OK if asks else USAGE)


def run_launch() -> None:
    """The console script `hala`: as `python -m hala_hpc.launch`."""
    from hala_hpc.core.startup import prepare_process

    prepare_process()
    from hala_hpc.launch import main as launch_main

    launch_main()


if __name__ == "__main__":
    main()
