"""The levels at which a text is laid out."""

from typing import Literal

#: The largest segment: a whole text, a paragraph, or a line or a cell of a table.
SegmentLevel = Literal["text", "paragraph", "line"]
#: What is done with prose in values of JSON.
JsonPolicy = Literal["keep", "translate"]
