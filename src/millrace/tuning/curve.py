"""The loss of a run over its tokens: as CSV, as JSON, as a picture in SVG, and as some lines for a terminal. Pure."""

import csv
import io
import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

WIDTH: Final = 720
HEIGHT: Final = 320
POINTS_MAX: Final = 2000
"""A picture shows no more: neighbours are averaged."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 28, 40
_TICKS: Final = 4
_BARS: Final = "▁▂▃▄▅▆▇█"
_TRAINED: Final = "#2563eb"
_HELD_OUT: Final = "#d97706"


class Point(Struct, frozen=True, kw_only=True):
    """One step that was said. `held_out` only where it was measured."""

    step: int
    tokens: int
    loss: float
    held_out: float | None = None


def render_csv(points: Sequence[Point]) -> str:
    """A line for each point under a head; an empty field where nothing was held out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "tokens", "loss", "held_out"])
    writer.writerows([[p.step, p.tokens, p.loss, "" if p.held_out is None else p.held_out] for p in points])
    return text.getvalue()


def render_json(points: Sequence[Point]) -> bytes:
    return msgspec.json.encode(list(points))


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """One line of bars, the highest for the largest loss; values that are no numbers are left out."""
    shown = thinned([value for value in values if math.isfinite(value)], width)
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join([_BARS[round((value - low) * scale)] for value in shown])


def render_plot(points: Sequence[Point], width: int = 60, height: int = 10) -> str:
    """Lines for a terminal: `*` the loss, `o` the held-out one, the axes with their ends."""
    if not points:
        return "no step yet"
    low, high = bounds(points)
    last = max(points[-1].tokens, 1)
    grid = [[" "] * width for _ in range(height)]
    for mark, pairs in (("*", _trained(points)), ("o", _held_out(points))):
        for tokens, value in pairs:
            column = min(width - 1, tokens * width // (last + 1))
            row = round((high - value) / (high - low) * (height - 1))
            grid[row][column] = mark
    labels = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    lines = [f"{labels.get(row, ''):>8} │{''.join(cells).rstrip()}" for row, cells in enumerate(grid)]
    return "\n".join([*lines, f"{'':>8} └{'─' * width}", f"{'':>9} 0{f'{last} tokens':>{width - 1}}"])


def render_svg(points: Sequence[Point], title: str = "Loss") -> str:
    """A whole SVG document; `title` may be anybody's text."""
    low, high = bounds(points)
    last = max(points[-1].tokens, 1) if points else 1
    trained, held_out = _path(_trained(points), low, high, last), _path(_held_out(points), low, high, last)
    legend = [("loss", _TRAINED)] + ([("held out", _HELD_OUT)] if held_out else [])
    looks = 'role="img" font-family="system-ui, sans-serif" font-size="12" fill="#475569"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {looks}>',
            f"<title>{escape(title)}</title>",
            f'<text x="{_LEFT}" y="18" font-weight="600" fill="#0f172a">{escape(title)}</text>',
            *_axes(low, high, last),
            *[
                f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
                for d, colour in ((trained, _TRAINED), (held_out, _HELD_OUT))
                if d
            ],
            *[
                f'<text x="{WIDTH - _RIGHT - 80 * index}" y="18" text-anchor="end" fill="{colour}">{name}</text>'
                for index, (name, colour) in enumerate(reversed(legend))
            ],
            "</svg>",
            "",
        ]
    )


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most so many values, each the mean of its neighbours."""
    if len(values) <= most:
        return list(values)
    cuts = [index * len(values) // most for index in range(most + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]


def bounds(points: Sequence[Point]) -> tuple[float, float]:
    """The lowest and the highest loss there is, never the same."""
    values = [value for _, value in [*_trained(points), *_held_out(points)]]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _trained(points: Sequence[Point]) -> list[tuple[int, float]]:
    return [(point.tokens, point.loss) for point in points if math.isfinite(point.loss)]


def _held_out(points: Sequence[Point]) -> list[tuple[int, float]]:
    return [(point.tokens, value) for point in points if (value := point.held_out) is not None and math.isfinite(value)]


def _path(pairs: Sequence[tuple[int, float]], low: float, high: float, last: int) -> str:
    across = thinned([float(tokens) for tokens, _ in pairs], POINTS_MAX)
    up = thinned([value for _, value in pairs], POINTS_MAX)
    places = [
        f"{_LEFT + x / last * (WIDTH - _LEFT - _RIGHT):.1f},{_height(y, low, high):.1f}"
        for x, y in zip(across, up, strict=True)
    ]
    return f"M{' L'.join(places)}" if places else ""


def _axes(low: float, high: float, last: int) -> list[str]:
    lines = []
    for tick in range(_TICKS + 1):
        value = low + (high - low) * tick / _TICKS
        y = _height(value, low, high)
        lines.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e8f0"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * tick / _TICKS
        anchor = "end" if tick == _TICKS else "middle"
        lines.append(f'<text x="{x:.1f}" y="{HEIGHT - 22}" text-anchor="{anchor}">{last * tick // _TICKS:,}</text>')
    lines.append(f'<text x="{WIDTH // 2}" y="{HEIGHT - 6}" text-anchor="middle">tokens trained</text>')
    return lines


def _height(value: float, low: float, high: float) -> float:
    return _TOP + (high - value) / (high - low) * (HEIGHT - _TOP - _BOTTOM)
