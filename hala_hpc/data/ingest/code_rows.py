"""The setting that says which rows with code `prepare` leaves out.

It is not in `adapt`, which reads rows: every command loads this file for the settings of prepare.
"""

from typing import Literal

CodeRows = Literal["no", "fenced", "only"]
"""`no` keeps all rows; `fenced` rejects rows with a fenced code block; `only` rejects rows whose
answers are nothing else.
"""
