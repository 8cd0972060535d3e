"""
A graph as SVG: layers from top to bottom, each node below all that come before it.

Long edges pass between the nodes of the layers on their way; within a layer nodes stand near what they are joined to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

from executor_worker.graph.definition import Graph
from executor_worker.graph.drawing.words import edge_note, node_notes
from executor_worker.graph.parts import Edge
from executor_worker.graph.past import Past
from executor_worker.graph.problems import cut

MOST_BENDS = 20_000
"""Places where long edges pass a layer; a graph with more has them straight."""

_WIDTH, _HEIGHT, _GAP, _LAYER_GAP, _BEND_WIDTH, _MARGIN = 180, 44, 28, 64, 24, 24
_SWEEPS = 6
_ID_CHARS, _NOTE_CHARS = 22, 34
_COLOURS = {
    "start": "#64748b",
    "end": "#64748b",
    "router": "#b45309",
    "agent": "#6d28d9",
    "llm": "#1d4ed8",
    "tool": "#047857",
}
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #0f172a }
  .kind { font-size: 10px; fill: #475569 }
  .note { font-size: 10px; fill: #475569; paint-order: stroke; stroke: #fff; stroke-width: 3px }
  .box { fill: #fff; stroke-width: 1.5 }
  .edge { fill: none; stroke: #94a3b8; stroke-width: 1.5 }
  .failure { stroke: #dc2626; stroke-dasharray: 5 3 }
  .always { stroke-dasharray: 2 3 }
"""

_XMLNS = "http://www.w3.org/2000/svg"
_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#94a3b8"/></marker></defs>'
)


@dataclass(slots=True)
class _Spot:
    """A node, or a bend of an edge, in a layer."""

    node: str | None
    x: float = 0.0
    above: list[_Spot] = field(default_factory=list)
    below: list[_Spot] = field(default_factory=list)

    @property
    def width(self) -> float:
        """Answer how much room it takes."""
        return _WIDTH if self.node is not None else _BEND_WIDTH


def draw(graph: Graph) -> str:
    """Draw *graph*; nodes in circles come last."""
    layers, paths = _layers(graph)
    for sweep in range(_SWEEPS):
        _order(layers, downwards=sweep % 2 == 0)
    width = _place(layers)
    height = max(len(layers) * (_HEIGHT + _LAYER_GAP) - _LAYER_GAP, 0) + 2 * _MARGIN
    tops = {id(spot): _MARGIN + at * (_HEIGHT + _LAYER_GAP) for at, layer in enumerate(layers) for spot in layer}
    parts = [
        f'<svg xmlns="{_XMLNS}" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}" role="img">',
        f"<title>{_text(graph.name or graph.id or 'graph')}</title>",
        f"<style>{_STYLE}</style>",
        _TIP,
        *(_edge(edge, spots, tops) for edge, spots in paths),
        *(_box(graph, spot, tops[id(spot)]) for layer in layers for spot in layer if spot.node is not None),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _layers(graph: Graph) -> tuple[list[list[_Spot]], list[tuple[Edge, list[_Spot]]]]:
    """Put each node into a layer and each edge into all layers it passes."""
    past = Past.of(graph.nodes, [(edge.source, edge.target) for edge in graph.edges])
    levels = [*past.levels]
    left = tuple(node for node in graph.nodes if not past.knows(node))
    levels += [left] if left else []
    layers = [[_Spot(node) for node in level] for level in levels]
    spots = {spot.node: spot for layer in layers for spot in layer}
    layer_of = {spot.node: number for number, layer in enumerate(layers) for spot in layer}
    edges = [edge for edge in graph.edges if edge.source in spots and edge.target in spots]
    bends = sum(max(layer_of[edge.target] - layer_of[edge.source] - 1, 0) for edge in edges)
    paths = []
    for edge in edges:
        path = [spots[edge.source]]
        for number in range(layer_of[edge.source] + 1, layer_of[edge.target] if bends <= MOST_BENDS else 0):
            bend = _Spot(None)
            layers[number].append(bend)
            path.append(bend)
        path.append(spots[edge.target])
        for upper, lower in pairwise(path):
            upper.below.append(lower)
            lower.above.append(upper)
        paths.append((edge, path))
    return layers, paths


def _order(layers: list[list[_Spot]], *, downwards: bool) -> None:
    """Sort each layer by the middle of what its members are joined to in the layer before."""
    for layer in layers if downwards else reversed(layers):
        for at, spot in enumerate(layer):
            spot.x = at if not (beside := spot.above if downwards else spot.below) else _middle(beside)
        layer.sort(key=lambda spot: spot.x)
        for at, spot in enumerate(layer):
            spot.x = at


def _middle(spots: Sequence[_Spot]) -> float:
    return sum(spot.x for spot in spots) / len(spots)


def _place(layers: list[list[_Spot]]) -> float:
    """Give each spot its middle in pixels, layers centred; answer the picture's width."""
    widths = [sum(spot.width + _GAP for spot in layer) - _GAP for layer in layers]
    widest = max(widths, default=0)
    for layer, width in zip(layers, widths, strict=True):
        at = _MARGIN + (widest - width) / 2
        for spot in layer:
            spot.x = at + spot.width / 2
            at += spot.width + _GAP
    return widest + 2 * _MARGIN


def _edge(edge: Edge, spots: list[_Spot], tops: dict[int, int]) -> str:
    points = list(_points(spots, tops))
    path = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        path += f"C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}"
    kind = "" if edge.on == "success" else f" {edge.on}"
    drawn = f'<path class="edge{kind}" d="{path}" marker-end="url(#tip)"/>'
    note = edge_note(edge)
    if not note:
        return drawn
    (x, y), (to_x, to_y) = points[0], points[1]
    spot = f'x="{(x + to_x) / 2:.0f}" y="{(y + to_y) / 2:.0f}" text-anchor="middle"'
    return f'{drawn}\n<text class="note" {spot}>{_text(cut(note, _NOTE_CHARS))}<title>{_text(note)}</title></text>'


def _points(spots: list[_Spot], tops: dict[int, int]) -> Iterator[tuple[float, float]]:
    """Yield where an edge leaves, passes and arrives."""
    yield spots[0].x, tops[id(spots[0])] + _HEIGHT
    for bend in spots[1:-1]:
        yield bend.x, tops[id(bend)]
        yield bend.x, tops[id(bend)] + _HEIGHT
    yield spots[-1].x, tops[id(spots[-1])]


def _box(graph: Graph, spot: _Spot, top: int) -> str:
    assert spot.node is not None
    node, left = graph.nodes[spot.node], spot.x - _WIDTH / 2
    colour = _COLOURS.get(node.type, "#475569")
    said = " · ".join([node.type, *node_notes(node)])
    return (
        f"<g><title>{_text(node.description or node.name or node.id)}</title>"
        f'<rect class="box" x="{left:.0f}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="7" stroke="{colour}"/>'
        f'<text x="{spot.x:.0f}" y="{top + 19}" text-anchor="middle">{_text(cut(node.id, _ID_CHARS))}</text>'
        f'<text class="kind" x="{spot.x:.0f}" y="{top + 34}" text-anchor="middle">'
        f"{_text(cut(said, _NOTE_CHARS))}</text></g>"
    )


def _text(text: str) -> str:
    """Write *text* as XML takes it: control characters and halves of characters are no XML."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return escape(plain.encode("utf-8", "replace").decode(), quote=True)
