"""Complete `hala` in a shell: `hala completion bash` or `hala completion zsh` prints the script.

The head of the script says where to put it. `hala completion nodes launch recipe=demo` prints the
nodes that such a line may name, with their stages: the script asks for them.
"""

if __name__ == "__main__":
    from hala_hpc.core.startup import prepare_process

    prepare_process()

import sys
from collections.abc import Sequence

from hala_hpc.commands.command_names import HELP
from hala_hpc.core.errors import OK, UserError, suggest_name

#: The argument that asks for nodes; a command and its arguments follow.
NODES = "nodes"


def completion(arguments: Sequence[str]) -> int:
    """Print the script of a shell. Raises UserError for one that is not known."""
    from hala_hpc.commands.completing.script import SHELLS, format_script

    if not arguments or any(argument in HELP for argument in arguments):
        print(str(__doc__).strip())
        return OK
    if len(arguments) > 1 or arguments[0] not in SHELLS:
        name = " ".join(arguments)
        raise UserError(f"completion {name}: {suggest_name(name, list(SHELLS), 'shells')}")
    print(format_script(arguments[0]), end="")
    return OK


def print_nodes(arguments: Sequence[str]) -> None:
    """Print the nodes that a line may name: `launch recipe=demo`."""
    from hala_hpc.commands.completing.node_names import list_node_names

    command, *overrides = arguments or ["launch"]
    for name, stage in list_node_names(command, overrides).items():
        print(name, stage)


def main() -> None:
    """Command line of completion; its answer to a keystroke imports as little as it can."""
    if sys.argv[1:2] == [NODES]:
        print_nodes(sys.argv[2:])
        sys.exit(OK)
    from hala_hpc.commands.command_line import run_command

    sys.exit(run_command(completion, sys.argv[1:]))


if __name__ == "__main__":
    main()
