"""Programs to which the modes of files apply, even where root starts them."""

import os
from collections.abc import Sequence


def without_root_rights(command: Sequence[str]) -> list[str]:
    """The words of a command to which file modes apply even where root runs it."""
    drop = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"]
    return [*(prefix if os.geteuid() == 0 else []), *command]
