"""What a process of hala_hpc does before anything else: it answers at once, and writes for its
user alone.
"""

import gc
import os
import sys
from types import ModuleType

#: Python looks for garbage after so many new objects, 700 by default. A command makes a hundred
#: thousand that stay, and the looks took a tenth of its time; jobs make more.
GC_THRESHOLD = 50_000
#: Rights that no file gets that a command or a job makes: who can write what jobs are run by runs
#: programs as its owner.
PRIVATE_UMASK = 0o077
PLUGIN_LOADER = "pydantic.plugin._loader"


def prepare_process() -> None:
    """Set up this process; to be called by a program before pydantic is imported.

    pydantic would read the metadata of every installed package to look for plugins: a tenth of the
    time that a command line needs to answer. Importing what reads them takes another tenth, even
    where it is told to find none: so an empty loader stands in its place.
    """
    set_private_umask()
    gc.set_threshold(GC_THRESHOLD)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    loader = ModuleType(PLUGIN_LOADER)
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(PLUGIN_LOADER, loader)


def set_private_umask() -> None:
    """Let all files that this process makes be its user's alone, whatever the user's umask is."""
    os.umask(PRIVATE_UMASK)
