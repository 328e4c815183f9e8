"""Which rows with code a corpus leaves out, as a recipe may say it.

Not in `adapt`, which reads rows: every command loads this file for the settings of prepare.
"""

from typing import Literal

CodeRows = Literal["no", "fenced", "only"]
"""Keep all, reject rows with a fenced block of code, or only those with answers of nothing else."""
