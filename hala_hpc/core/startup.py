"""What a process of hala_hpc does before anything else, so that a command answers at once."""

import gc
import os
import sys
from types import ModuleType

#: Python looks for garbage after so many new objects, 700 by default. A command makes a hundred
#: thousand that stay, and the looks took a tenth of its time; jobs make more.
GC_THRESHOLD = 50_000
PLUGIN_LOADER = "pydantic.plugin._loader"


def start_quickly() -> None:
    """Set up this process; to be called by a program before pydantic is imported.

    pydantic would read the metadata of every installed package to look for plugins: a tenth of the
    time that a command line needs to answer. Importing what reads them takes another tenth, even
    where it is told to find none: so an empty loader stands in its place.
    """
    gc.set_threshold(GC_THRESHOLD)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    loader = ModuleType(PLUGIN_LOADER)
    vars(loader)["get_plugins"] = tuple
    sys.modules.setdefault(PLUGIN_LOADER, loader)
