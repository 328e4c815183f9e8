"""Programs to which file modes apply, even if root starts them."""

import os
from collections.abc import Sequence


def without_root_rights(command: Sequence[str]) -> list[str]:
    """Return the command with setpriv, so that file modes apply to it even if root runs it."""
    drop = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"]
    return [*(prefix if os.geteuid() == 0 else []), *command]
