"""The topology as a picture: callers left of callees, each service a box in the colour of its state. Pure."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from consulguard.correlate import Topology
from consulguard.notify.text import cut

SERVICES_MAX = 80
EDGES_MAX = 400
BYTES_MAX = 4 * 1024 * 1024
NAME = 26  # characters
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 210, 50, 90, 18, 24
FONT = 14
FILLS = {
    "passing": "#d7f2e3",
    "critical": "#f6c9c5",
    "vanished": "#f6c9c5",
    "warning": "#fbe8c0",
    "flapping": "#fbe8c0",
    "recovering": "#fbe8c0",
    "maintenance": "#d6e6f7",
}
OTHER = "#eeeeee"

Place = tuple[int, int]


def draw(shown: Topology) -> bytes | None:
    """A PNG; None when there is nothing to draw, or more than anybody could read."""
    if not 0 < len(shown.services) <= SERVICES_MAX or len(shown.edges) > EDGES_MAX:
        return None
    places = _places(shown)
    width = max(x for x, _ in places.values()) + WIDTH + MARGIN
    height = max(y for _, y in places.values()) + HEIGHT + MARGIN
    image = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(FONT)
    for edge in shown.edges:
        _arrow(pen, places[edge.source], places[edge.destination])
    for service in shown.services:
        x, y = places[service.name]
        box = (x, y, x + WIDTH, y + HEIGHT)
        pen.rounded_rectangle(box, radius=6, fill=FILLS.get(service.state, OTHER), outline="#444444")
        counts = ", ".join(f"{number} {state}" for state, number in service.instances.items())
        for row, line in enumerate((service.name, counts or service.state)):
            pen.text((x + 8, y + 6 + row * 19), cut(_plain(line), NAME), fill="black", font=font)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue() if out.tell() <= BYTES_MAX else None


def _places(shown: Topology) -> dict[str, Place]:
    """One column for each step away from the callers nobody calls; a circle stays where it was first met."""
    columns: dict[int, list[str]] = {}
    for name, depth in _depths(shown).items():
        columns.setdefault(depth, []).append(name)
    return {
        name: (MARGIN + column * (WIDTH + GAP_X), MARGIN + row * (HEIGHT + GAP_Y))
        for column, depth in enumerate(sorted(columns))
        for row, name in enumerate(columns[depth])
    }


def _depths(shown: Topology) -> dict[str, int]:
    depths = dict.fromkeys((s.name for s in shown.services), 0)
    for _ in depths:  # the longest path has no more steps than there are services
        moved = False
        for edge in shown.edges:
            deeper = depths[edge.source] + 1
            if edge.source != edge.destination and depths[edge.destination] < deeper < len(depths):
                depths[edge.destination], moved = deeper, True
        if not moved:
            break
    return depths


def _arrow(pen: ImageDraw.ImageDraw, source: Place, target: Place) -> None:
    start = (source[0] + WIDTH, source[1] + HEIGHT // 2)
    end = (target[0], target[1] + HEIGHT // 2)
    pen.line((start, end), fill="#777777", width=2)
    x, y = end
    pen.polygon(((x, y), (x - 9, y - 5), (x - 9, y + 5)), fill="#777777")


def _plain(text: str) -> str:
    """The font has Latin letters; what else there is, and what moves a cursor, becomes a question mark."""
    return "".join(char if char.isprintable() and char < "ɐ" else "?" for char in text)
