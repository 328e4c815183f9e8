"""Draw with matplotlib, as SVG that follows the colors of the page around it.

matplotlib knows no CSS: it draws in placeholder colors. In the page these become its variables, so
that one drawing serves light and dark; in a file they become fixed colors.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

INK, GRID, SOFT, BACK = "#010203", "#040506", "#070809", "#0a0b0c"
#: Of series. Each has a contrast of at least 3:1 on white and on the dark page (WCAG 1.4.11).
SERIES = ("#3b82f6", "#d97706", "#16a34a", "#a855f7", "#ef4444", "#0d9488")
PAGE_COLORS = {
    INK: "currentColor",
    GRID: "var(--line)",
    SOFT: "var(--soft)",
    BACK: "var(--back)",
}
FILE_COLORS = {INK: "#1b2129", GRID: "#d3d8de", SOFT: "#57606b", BACK: "#ffffff"}
STYLE = {
    "svg.fonttype": "none",
    # Ids that follow from the content: the same page is the same, byte for byte.
    "svg.hashsalt": "hala_hpc",
    # Names of data are no formulas.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
    ),
    "grid.color": GRID,
}
#: Leaves out date and version, and with them all metadata.
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def draw_svg(
    plot: Callable[[Sequence[Any]], None], panels: int, inches: tuple[float, float]
) -> str:
    """Call `plot` with the axes of a row of panels; return the whole SVG document.

    `inches` are width and height of the drawing.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A character that matplotlib's own fonts lack: the browser draws it with another one.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=inches, layout="constrained")
        axes = [figure.add_subplot(1, panels, number + 1) for number in range(panels)]
        plot(axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=NO_METADATA)
    return written.getvalue()


def svg_for_page(svg: str, prefix: str) -> str:
    """The `<svg>` element of a document for a page; `prefix` makes its ids unique there."""
    element = svg[svg.index("<svg") :].strip()
    # It would set the lines of every drawing of the page.
    element = re.sub(r"<style type=\"text/css\">.*?</style>", "", element, flags=re.DOTALL)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = element.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', 'href="#')
    element = element.replace('href="#', f'href="#{prefix}-')
    # Its size follows from the page; viewBox has the ratio.
    head, _, rest = element.partition(">")
    head = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", head)
    return replace_colors(f'{head} aria-hidden="true" focusable="false">{rest}', PAGE_COLORS)


def svg_for_file(svg: str) -> str:
    """The document for a file of its own."""
    return replace_colors(svg, FILE_COLORS)


def replace_colors(svg: str, colors: dict[str, str]) -> str:
    """Replace placeholder colors."""
    for placeholder, color in colors.items():
        svg = svg.replace(placeholder, color)
    return svg


def width_of_svg(svg: str) -> int:
    """Width of a document in CSS pixels, from its viewBox in points."""
    found = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    return round(float(found[1]) * 4 / 3) if found else 600
