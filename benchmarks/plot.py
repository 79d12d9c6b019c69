"""Draw lines on logarithmic axes as SVG, without other packages."""

import math
from collections.abc import Iterable, Mapping, Sequence

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 70, 40, 20, 130
COLOURS = ("#0b6", "#06b", "#b06")

Point = tuple[float, float]


def plot(lines: Mapping[str, Sequence[Point]], x_label: str, y_label: str) -> str:
    """Return a plot of lines by name, with a grey line for linear growth."""
    points = [point for line in lines.values() for point in line]
    x, y = _Axis([p[0] for p in points]), _Axis([p[1] for p in points])

    def path(line: Iterable[Point]) -> str:
        return " ".join(f"{_across(x.of(a)):.1f},{_up(y.of(b)):.1f}" for a, b in line)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_grid(x, y),
        f'<text x="{_across(0.5):.0f}" y="{HEIGHT - 6}" text-anchor="middle">{x_label}</text>',
        f'<text transform="translate(14 {_up(0.5):.0f}) rotate(-90)"',
        f' text-anchor="middle">{y_label}</text>',
    ]
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        (x0, y0), (x1, _) = line[-1], line[0]
        linear = [(x1, max(y0 * x1 / x0, y.low)), (x0, y0)]
        parts += [
            f'<polyline points="{path(linear)}" fill="none" stroke="#bbb" stroke-dasharray="4"/>',
            f'<polyline points="{path(line)}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{_across(1) + 8:.0f}" y="{_up(y.of(y0)) + 4:.0f}"',
            f' fill="{colour}">{name}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """An axis of powers of ten that covers all values."""

    def __init__(self, values: Sequence[float]) -> None:
        self.first = math.floor(math.log10(min(values)))
        self.last = math.ceil(math.log10(max(values)))
        self.low: float = 10.0**self.first

    def of(self, value: float) -> float:
        """Return the position of a value, from 0 to 1."""
        return (math.log10(value) - self.first) / (self.last - self.first)


def _grid(x: _Axis, y: _Axis) -> Iterable[str]:
    for power in range(x.first, x.last + 1):
        at = _across(x.of(10.0**power))
        yield f'<path d="M{at:.1f} {_up(0):.1f}V{_up(1):.1f}" stroke="#eee"/>'
        yield f'<text x="{at:.1f}" y="{_up(0) + 16:.0f}" text-anchor="middle">{10**power:,}</text>'
    for power in range(y.first, y.last + 1):
        at = _up(y.of(10.0**power))
        yield f'<path d="M{_across(0):.1f} {at:.1f}H{_across(1):.1f}" stroke="#eee"/>'
        yield (f'<text x="{LEFT - 6}" y="{at + 4:.0f}" text-anchor="end">{10.0**power:,.6g}</text>')


def _across(part: float) -> float:
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _up(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
