"""Set up a process of hala_hpc before anything else: a fast start, and private files."""

import gc
import os
import sys
from types import ModuleType

from hala_hpc.core.sharing import UMASKS, current_share

#: Number of new objects before Python collects garbage, 700 by default. A command makes a hundred
#: thousand that stay, and collecting took a tenth of its time; jobs make more.
GC_THRESHOLD = 200_000
PLUGIN_LOADER = "pydantic.plugin._loader"


def prepare_process() -> None:
    """Set up this process; call it before pydantic is imported.

    pydantic would read the metadata of every installed package to look for plugins: a tenth of the
    time that a command line needs to answer. Importing the loader of plugins takes another tenth,
    even if they are disabled. So an empty loader takes its place.
    """
    set_private_umask()
    gc.set_threshold(GC_THRESHOLD)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    loader = ModuleType(PLUGIN_LOADER)
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(PLUGIN_LOADER, loader)


def set_private_umask() -> None:
    """Make all files of this process private to its user, or to the group that its launcher shares
    them with, whatever the user's umask is."""
    os.umask(UMASKS[current_share()])
