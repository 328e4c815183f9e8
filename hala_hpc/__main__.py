"""`hala <command> key=value ...`, the same as `python -m hala_hpc.<command> key=value ...`.

Alone it lists the commands. Every command is a module of its own and is found by its name.
"""

import sys

from hala_hpc.commands.command_names import (
    COMMANDS,
    HELP,
    describe_unknown_command,
    format_command_list,
    run_command_module,
)


def main() -> None:
    """Run the command that the first argument names, or list all; leave with its exit code."""
    is_script = not sys.argv[0].endswith("__main__.py")
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        from hala_hpc import __version__

        print(f"hala_hpc {__version__}")
    elif not arguments or arguments[0] in HELP:
        print(format_command_list("hala " if is_script else "python -m hala_hpc."))
    elif arguments[0] in COMMANDS:
        run_command_module(arguments[0], arguments[1:])
    else:
        from hala_hpc.core.errors import USAGE
        from hala_hpc.core.printable import escape_controls

        print(f"error: {escape_controls(describe_unknown_command(arguments[0]))}", file=sys.stderr)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
