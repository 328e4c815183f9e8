"""Draw the pipeline: a box for each node with its size, inputs to the left of what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Drawing
from hala_hpc.engines.reporting.safe_text import clean_label
from hala_hpc.engines.reporting.svg_theme import GRID, INK, SERIES

#: Points of a box, and between boxes.
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 150, 44, 46, 14
#: Sweeps over the columns that bring neighbors beside each other.
ORDER_SWEEPS = 4
#: Attributes of the name in a box, and of the line below it.
WEIGHT, SMALL = ' font-weight="600"', ' font-size="10"'
#: Color of the bar of a box, by kind of stage.
STAGE_COLORS = {
    "prepare": SERIES[0],
    "filter": SERIES[1],
    "translate": SERIES[1],
    "tokenize": SERIES[0],
    "quantize": SERIES[3],
    "sft": SERIES[3],
    "merge": SERIES[3],
    "evaluate": SERIES[2],
    "report": SERIES[2],
}


@dataclass(frozen=True)
class Place:
    """Column and row of a box."""

    column: int
    row: int

    @property
    def x(self) -> int:
        """Left edge in points."""
        return 4 + self.column * (BOX_WIDTH + GAP_X)

    @property
    def y(self) -> int:
        """Upper edge in points."""
        return 4 + self.row * (BOX_HEIGHT + GAP_Y)


def draw_pipeline(nodes: Sequence[NodeFacts]) -> Drawing:
    """Draw the nodes of a run and what reads what."""
    known = {node.name: node for node in nodes}
    edges = [
        (source, node.name) for node in nodes for source in node.input_names if source in known
    ]
    places = arrange_nodes(list(known), edges)
    width = max(place.x for place in places.values()) + BOX_WIDTH + 4
    height = max(place.y for place in places.values()) + BOX_HEIGHT + 4
    lines = [edge_path(places[source], places[target]) for source, target in edges]
    boxes = [node_box(known[name], place) for name, place in places.items()]
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11">{"".join(lines)}{"".join(boxes)}</svg>'
    )
    data = [
        [node.name, node.stage, node.state, *size_numbers(node), " ".join(node.input_names)]
        for node in nodes
    ]
    return Drawing(
        "pipeline",
        "The pipeline",
        svg,
        f"{len(nodes)} steps, inputs to the left of what is made of them. "
        + "; ".join(f"{node.name} reads {', '.join(node.input_names) or 'nothing'}" for node in nodes),
        "Each box is a step with the size of its result; lines lead from a result to the steps "
        "that read it. Dashed: not complete.",
        ("node", "stage", "state", "rows_out", "tokens_out", "bytes", "inputs"),
        data,
    )


def arrange_nodes(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, Place]:
    """Place each node right of its inputs, and near the rows of its neighbors."""
    columns: dict[str, int] = dict.fromkeys(names, 0)
    # As often as there are nodes: a circle, which no recipe has, ends as well.
    for _ in names:
        deeper = {
            target: columns[source] + 1
            for source, target in edges
            if columns[target] <= columns[source] < len(names)
        }
        if not deeper:
            break
        columns |= deeper
    layers: dict[int, list[str]] = {}
    for name in names:
        layers.setdefault(columns[name], []).append(name)
    for sweep in range(ORDER_SWEEPS):
        for column in sorted(layers, reverse=bool(sweep % 2)):
            order_layer(layers, column, edges)
    return {
        name: Place(column, row) for column, layer in layers.items() for row, name in enumerate(layer)
    }


def order_layer(
    layers: Mapping[int, list[str]], column: int, edges: Sequence[tuple[str, str]]
) -> None:
    """Sort the nodes of a column by the mean row of their neighbors in all columns."""
    rows = {name: row for layer in layers.values() for row, name in enumerate(layer)}

    def mean_row(name: str) -> float:
        near = [rows[a] for a, b in edges if b == name] + [rows[b] for a, b in edges if a == name]
        return sum(near) / len(near) if near else rows[name]

    layers[column].sort(key=mean_row)


def edge_path(source: Place, target: Place) -> str:
    """A curve from the right edge of a box to the left edge of another."""
    x, y = source.x + BOX_WIDTH, source.y + BOX_HEIGHT / 2
    to_x, to_y = target.x, target.y + BOX_HEIGHT / 2
    bend = max(18.0, (to_x - x) / 2)
    return (
        f'<path d="M{x} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x} {to_y:g}" '
        f'fill="none" stroke="{GRID}" stroke-width="1.2"/>'
    )


def node_box(node: NodeFacts, place: Place) -> str:
    """A box with name, stage and size."""
    dashes = "" if node.is_done else ' stroke-dasharray="4 3"'
    color = STAGE_COLORS.get(node.stage, SERIES[5])
    lines = [node.name, f"{node.stage}, {describe_size(node)}" if node.is_done else node.state]
    # Text that is isolated, so that a name from right to left stays in its line.
    texts = "".join(
        f'<text x="{place.x + 12}" y="{place.y + 18 + 16 * number}" fill="{INK}" '
        f'style="unicode-bidi:isolate"{WEIGHT if number == 0 else SMALL}>'
        f"{escape(clean_label(line))}</text>"
        for number, line in enumerate(lines)
    )
    return (
        f'<g><rect x="{place.x}" y="{place.y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="4" '
        f'fill="none" stroke="{GRID}"{dashes}/>'
        f'<rect x="{place.x}" y="{place.y}" width="4" height="{BOX_HEIGHT}" rx="2" fill="{color}"/>'
        f"{texts}</g>"
    )


def size_numbers(node: NodeFacts) -> tuple[int, int, int | None]:
    """Rows, tokens and bytes of a result."""
    summary = node.summary
    size = node.details.get("bytes", node.details.get("bytes_after"))
    return (
        summary.rows_out if summary else 0,
        summary.tokens_out if summary else 0,
        size if isinstance(size, int) else None,
    )


def describe_size(node: NodeFacts) -> str:
    """The size of a result in a few letters: `785 rows`, `3.6 MB`, `24K tokens`."""
    rows, tokens, size = size_numbers(node)
    if size is not None:
        return f"{format_short(size)}B"
    if node.stage == "tokenize" and tokens:
        return f"{format_short(tokens)} tokens"
    return f"{format_short(rows)} rows" if rows else "complete"


def format_short(number: float) -> str:
    """`785`, `24K`, `3.6M`, `1.2G`."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if number >= factor:
            value = number / factor
            return f"{value:.0f}{letter}" if value >= 10 else f"{value:.1f}{letter}"
    return f"{number:.0f}"
