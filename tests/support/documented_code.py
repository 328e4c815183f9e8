"""The code blocks of a page of docs/, for tests that run them unchanged."""

import re

from checkout import ROOT


def documented_code(page: str) -> dict[str, str]:
    """The blocks of a page by the file name in their first line: `# stages/mine.py`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w+\n# (.*?)\n(.*?)^```", text, re.S | re.M)
    return dict(blocks)
