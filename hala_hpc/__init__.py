"""The Hala pipeline, from corpus to report, on one machine or a SLURM cluster."""

import gc
import os
import sys
from types import ModuleType

__version__ = "0.1.0"

# Python looks for garbage after every 700 new objects. A command makes a hundred thousand that
# stay, and the looks took a tenth of its time. Jobs have it, too: they make more.
gc.set_threshold(50_000)

# pydantic would read the metadata of every installed package to look for plugins: a tenth of the
# time that a command line needs to answer. Importing what reads them takes another tenth, even
# where it is told to find none: so this stands in the place of its loader.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
_no_plugins = ModuleType("pydantic.plugin._loader")
vars(_no_plugins)["get_plugins"] = tuple
sys.modules.setdefault(_no_plugins.__name__, _no_plugins)
