"""Run a rehearsal on this machine: its nodes in order, then the page, also after a failure."""

from hala_hpc.commands.command_line import CommandLine
from hala_hpc.commands.planning import run_local
from hala_hpc.commands.planning.plan import Step
from hala_hpc.commands.rehearsing.rehearsal_page import write_rehearsal_page
from hala_hpc.core.errors import OK
from hala_hpc.core.lease import WorkLease


def run_rehearsal_locally(
    command_line: CommandLine, chosen: dict[str, Step], lease: WorkLease
) -> int:
    """Run every missing node to completion and write the page; return the first failure's code.

    Without a failure, return the code of the page: BAD_DATA if something must be changed first.
    """
    code = run_local.run_plan_locally(command_line, chosen, lease)
    page_code = write_rehearsal_page(command_line)
    return code if code != OK else page_code
