"""The code of a page of docs/, to be run as it stands there."""

import re

from checkout import ROOT


def documented_code(page: str) -> dict[str, str]:
    """The blocks of a page by what their first line names, a comment: `# stages/mine.py`."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w+\n# (.*?)\n(.*?)^```", text, re.S | re.M)
    return dict(blocks)
