"""The Hala pipeline, from corpus to report, on one machine or a SLURM cluster."""

import os

__version__ = "0.1.0"

# pydantic would read the metadata of every installed package to look for plugins: a tenth of the
# time that a command line needs to answer.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
