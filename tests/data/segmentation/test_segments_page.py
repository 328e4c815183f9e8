"""docs/segments.md shows what the model reads at each level."""

import re

from checkout import ROOT

from hala_hpc.data.segmentation.layout import LayoutRules, lay_out
from hala_hpc.data.segmentation.levels import SegmentLevel

PAGE = (ROOT / "docs" / "segments.md").read_text(encoding="utf-8")


def read_at(level: SegmentLevel, message: str) -> list[str]:
    layout = lay_out(message, LayoutRules(512, lambda part: len(part) // 4, level))
    return [segment.masked() for segment in layout.segments]


def test_the_page_shows_what_the_model_reads() -> None:
    message, whole = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)[:2]
    assert read_at("text", message) == [whole]
    paragraphs = read_at("paragraph", message)
    assert len(paragraphs) == 4
    assert [f"`{paragraph}`" in PAGE for paragraph in paragraphs] == [True, True, False, False]
    lines = read_at("line", message)
    assert len(lines) == 7
    assert all(f"`{line}`" in PAGE.replace("\n", " ") for line in lines)
