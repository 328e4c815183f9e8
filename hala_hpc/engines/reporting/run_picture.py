"""Draw the pipeline: a box for each node with its size, inputs above what is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hala_hpc.engines.reporting.node_facts import NodeFacts
from hala_hpc.engines.reporting.page_content import Drawing
from hala_hpc.engines.reporting.safe_text import clean_label
from hala_hpc.engines.reporting.svg_theme import BACK, GRID, INK, SERIES, SOFT

#: Points of a box, and between boxes.
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 172, 44, 14, 26
#: Sweeps over the layers that bring neighbors beside each other.
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
    """Where a box is: its layer, and its position in the layer in boxes from the left."""

    layer: int
    position: float

    @property
    def x(self) -> float:
        """Left edge in points."""
        return 4 + self.position * (BOX_WIDTH + GAP_X)

    @property
    def y(self) -> int:
        """Upper edge in points."""
        return 4 + self.layer * (BOX_HEIGHT + GAP_Y)


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
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" '
        f'font-family="sans-serif" font-size="11">{"".join(lines)}{"".join(boxes)}</svg>'
    )
    data = [
        [node.name, node.stage, node.state, *size_numbers(node), " ".join(node.input_names)]
        for node in nodes
    ]
    return Drawing(
        "pipeline",
        "Steps and what they read",
        svg,
        f"{len(nodes)} steps, inputs above what is made of them. {describe_edges(nodes)}",
        "Each box is a step with the size of its result; lines lead from a result to the steps "
        "that read it. Dashed: not complete.",
        ("node", "stage", "state", "rows_out", "tokens_out", "bytes", "inputs"),
        data,
    )


def describe_edges(nodes: Sequence[NodeFacts]) -> str:
    """What each node reads, for readers who do not see the drawing."""
    return "; ".join(
        f"{clean_label(node.name)} reads "
        f"{', '.join(map(clean_label, node.input_names)) or 'no other step'}"
        for node in nodes
    )


def arrange_nodes(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, Place]:
    """Place each node below its inputs, and near the positions of its neighbors."""
    depths = dict.fromkeys(names, 0)
    # As often as there are nodes: a circle, which no recipe has, ends as well.
    for _ in names:
        deeper = {b: depths[a] + 1 for a, b in edges if depths[b] <= depths[a] < len(names)}
        if not deeper:
            break
        depths |= deeper
    layers: dict[int, list[str]] = {}
    for name in names:
        layers.setdefault(depths[name], []).append(name)
    for sweep in range(ORDER_SWEEPS):
        for depth in sorted(layers, reverse=bool(sweep % 2)):
            order_layer(layers, depth, edges)
    widest = max(map(len, layers.values()))
    return {
        name: Place(layer, index + (widest - len(layers[depth])) / 2)
        for layer, depth in enumerate(sorted(layers))
        for index, name in enumerate(layers[depth])
    }


def order_layer(
    layers: Mapping[int, list[str]], depth: int, edges: Sequence[tuple[str, str]]
) -> None:
    """Sort the nodes of a layer by the mean position of their neighbors in all layers."""
    positions = {
        name: index - len(layer) / 2
        for layer in layers.values()
        for index, name in enumerate(layer)
    }

    def mean_position(name: str) -> float:
        near = [positions[a] for a, b in edges if b == name]
        near += [positions[b] for a, b in edges if a == name]
        return sum(near) / len(near) if near else positions[name]

    layers[depth].sort(key=mean_position)


def edge_path(source: Place, target: Place) -> str:
    """A curve from the lower edge of a box to the upper edge of another."""
    x, y = source.x + BOX_WIDTH / 2, source.y + BOX_HEIGHT
    to_x, to_y = target.x + BOX_WIDTH / 2, target.y
    bend = max(14.0, (to_y - y) / 2)
    return (
        f'<path d="M{x:g} {y}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y}" '
        f'fill="none" stroke="{SOFT}" stroke-width="1.1"/>'
    )


def node_box(node: NodeFacts, place: Place) -> str:
    """A box with name, stage and size."""
    dashes = "" if node.is_done else ' stroke-dasharray="4 3"'
    color = STAGE_COLORS.get(node.stage, SERIES[5])
    lines = [node.name, f"{node.stage}, {describe_size(node)}" if node.is_done else node.state]
    # Text that is isolated, so that a name from right to left stays in its line.
    texts = "".join(
        f'<text x="12" y="{18 + 16 * number}" fill="{INK}" '
        f'style="unicode-bidi:isolate"{WEIGHT if number == 0 else SMALL}>'
        f"{escape(clean_label(line))}</text>"
        for number, line in enumerate(lines)
    )
    # An inner <svg> cuts what is wider than its box.
    return (
        f'<svg x="{place.x:g}" y="{place.y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}">'
        f'<rect x="1" y="1" width="{BOX_WIDTH - 2}" height="{BOX_HEIGHT - 2}" rx="4" '
        f'fill="{BACK}" stroke="{GRID}"{dashes}/>'
        f'<rect width="4" height="{BOX_HEIGHT}" rx="2" fill="{color}"/>{texts}</svg>'
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
