#!/usr/bin/env python3
"""Draws what the bench `long_context` measured: time and memory per token against length, with what theory predicts.

    cargo bench -p puna --bench long_context -- --out long.json
    python3 benches/long_context_plot.py long.json long.svg [in-file.json]

Needs nothing but Python. Theory is: a token takes what everything but keys and values takes, which is measured at the shortest
length, and the bytes of keys and values that it reads over the speed at which this machine reads memory; the cache holds
every position in layers that see all, and the positions of the last chunk in the others. A prompt takes a n + b n^2, with a and b
from its first and last measured points.
"""

import json
import math
import sys

WIDTH, LEFT, RIGHT, HEIGHT = 760, 84, 24, 300
BLUE, RED, GREY, GREEN = "#1f5fa8", "#c2410c", "#8a8a8a", "#2f7d32"


def si(value, unit):
    """A power of ten with its unit: 1 ms, 100 s, 10 GB."""
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if value >= scale * 0.999:
                return f"{value / scale:g} {name}"
    for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= scale * 0.999:
            return f"{value / scale:g} {name}"
    return f"{value:g}"


def tokens(n):
    if n >= 1 << 20:
        return f"{n / (1 << 20):g}M"
    return f"{n / 1024:g}k"


class Panel:
    """Axes with logarithmic scales, `top` pixels below the picture's beginning."""

    def __init__(self, top, title, unit, lens, values):
        self.top, self.unit, self.out = top, unit, []
        self.x0, self.x1 = math.log2(min(lens)) - 0.25, math.log2(max(lens)) + 0.25
        self.y0 = math.floor(math.log10(min(values)) - 0.05)
        self.y1 = math.ceil(math.log10(max(values)) + 0.05)
        self.legend_rows = 0
        bottom = top + HEIGHT
        self.text(LEFT, top - 12, title, weight="bold", size=14)
        for decade in range(self.y0, self.y1 + 1):
            y = self.y(10.0**decade)
            self.line(LEFT, y, WIDTH - RIGHT, y, "#dddddd")
            self.text(LEFT - 8, y + 4, si(10.0**decade, unit), anchor="end")
        for power in range(10, 24):
            if self.x0 <= power <= self.x1:
                x = self.x(2**power)
                self.line(x, top, x, bottom, "#eeeeee")
                if power % 2 == 0:
                    self.text(x, bottom + 17, tokens(2**power), anchor="middle")
        if max(lens) == 10 << 20:
            self.text(self.x(10 << 20), bottom + 17, "10M", anchor="middle")
        self.line(LEFT, bottom, WIDTH - RIGHT, bottom, "#444444")
        self.line(LEFT, top, LEFT, bottom, "#444444")
        self.text((LEFT + WIDTH - RIGHT) / 2, bottom + 37, "length of the sequence (tokens)", anchor="middle")

    def x(self, n):
        return LEFT + (math.log2(n) - self.x0) / (self.x1 - self.x0) * (WIDTH - RIGHT - LEFT)

    def y(self, value):
        return self.top + HEIGHT - (math.log10(value) - self.y0) / (self.y1 - self.y0) * HEIGHT

    def line(self, x1, y1, x2, y2, color, dash=""):
        self.out.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"'
            + (f' stroke-dasharray="{dash}"' if dash else "") + "/>"
        )

    def text(self, x, y, text, anchor="start", weight="normal", size=12):
        self.out.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
            f' font-size="{size}">{text}</text>'
        )

    def curve(self, points, color, dash=""):
        path = " ".join(f"{self.x(n):.1f},{self.y(v):.1f}" for n, v in points)
        self.out.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6"'
            + (f' stroke-dasharray="{dash}"' if dash else "") + "/>"
        )

    def points(self, points, color, hollow=False):
        for n, v in points:
            fill = "white" if hollow else color
            self.out.append(
                f'<circle cx="{self.x(n):.1f}" cy="{self.y(v):.1f}" r="4" fill="{fill}" stroke="{color}"'
                ' stroke-width="1.6"/>'
            )

    def bars(self, bars, color):
        """Spreads: (length, least, most)."""
        for n, low, high in bars:
            self.out.append(
                f'<line x1="{self.x(n):.1f}" y1="{self.y(low):.1f}" x2="{self.x(n):.1f}" y2="{self.y(high):.1f}"'
                f' stroke="{color}" stroke-width="1.2"/>'
            )

    def legend(self, text, color, kind):
        """A row at the upper left, where curves that rise leave room."""
        x, y = LEFT + 14, self.top + 18 + 18 * self.legend_rows
        self.legend_rows += 1
        if kind in ("solid", "dashed"):
            dash = ' stroke-dasharray="5 4"' if kind == "dashed" else ""
            self.out.append(
                f'<line x1="{x}" y1="{y - 4}" x2="{x + 24}" y2="{y - 4}" stroke="{color}" stroke-width="1.6"{dash}/>'
            )
        else:
            fill = "white" if kind == "hollow" else color
            self.out.append(
                f'<circle cx="{x + 12}" cy="{y - 4}" r="4" fill="{fill}" stroke="{color}" stroke-width="1.6"/>'
            )
        self.text(x + 32, y, text)


def grid(low, high, steps=400):
    return [round(low * (high / low) ** (i / steps)) for i in range(steps + 1)]


def draw(data, in_file=None):
    decode, prefill = data["decode"], data["prefill"]
    lens = [point["len"] for point in decode]
    low, high = lens[0], lens[-1]
    speed = data["read_gb_per_s"] * 1e9
    chunk, per_position = data["chunk"], data["position_bytes"]

    def read(n, in_chunk):
        return per_position * (data["global_layers"] * n + data["chunked_layers"] * in_chunk)

    rest = decode[0]["ms"] / 1e3 - read(low, min(low, chunk)) / speed
    seconds = [(point["len"], point["ms"] / 1e3) for point in decode]
    theory = [(n, rest + read(n, min(n, chunk)) / speed) for n in grid(low, high)]
    time = Panel(50, "Time of one token", "s", lens, [v for _, v in seconds + theory])
    time.curve(theory, GREY)
    time.bars([(point["len"], point["min_ms"] / 1e3, point["max_ms"] / 1e3) for point in decode], BLUE)
    time.points(seconds, BLUE)
    kv = data["kv"].lower()
    time.legend(f"measured: median and spread, {kv} in memory", BLUE, "point")
    if in_file:
        time.points([(point["len"], point["ms"] / 1e3) for point in in_file["decode"]], RED, hollow=True)
        time.legend(f"measured: {kv} in a mapped file", RED, "hollow")
    time.legend(f"theory: all else + bytes of keys and values / {data['read_gb_per_s']:.1f} GB/s", GREY, "solid")

    held = [(point["len"], point["kv_bytes"]) for point in decode]
    resident = [(point["len"], point["rss_bytes"]) for point in decode]
    theory = [(n, read(n, min(n, chunk))) for n in grid(low, high)]
    only_global = [(n, per_position * data["global_layers"] * n) for n in grid(low, high)]
    only_chunks = [(n, per_position * data["chunked_layers"] * min(n, chunk)) for n in grid(low, high)]
    memory = Panel(440, "Memory", "B", lens, [v for _, v in held + resident + only_global])
    memory.curve(only_global, GREEN, "5 4")
    memory.curve(only_chunks, RED, "5 4")
    memory.curve(theory, GREY)
    memory.points(held, BLUE)
    memory.points(resident, BLUE, hollow=True)
    memory.legend("measured: keys and values", BLUE, "point")
    memory.legend("measured: whole process", BLUE, "hollow")
    memory.legend("theory: keys and values, the sum of", GREY, "solid")
    memory.legend(f"{data['global_layers']} layers that see all positions, and", GREEN, "dashed")
    memory.legend(f"{data['chunked_layers']} that see chunks of {chunk}", RED, "dashed")
    panels = [time, memory]

    if len(prefill) > 1:
        points = [(point["len"], point["s"]) for point in prefill]
        (n0, s0), (n1, s1) = points[0], points[-1]
        square = (s1 / n1 - s0 / n0) / (n1 - n0)
        linear = s0 / n0 - square * n0
        curve = [(n, linear * n + square * n * n) for n in grid(n0, n1)]
        prompt = Panel(830, "Time to read a whole prompt", "s", [low, high], [v for _, v in points])
        prompt.curve(curve, GREY)
        prompt.points(points, BLUE)
        prompt.legend("measured", BLUE, "point")
        prompt.legend(f"{linear * 1e3:.2f} ms n + {square * 1e9:.2f} ns n²", GREY, "solid")
        panels.append(prompt)

    height = panels[-1].top + HEIGHT + 52
    body = "\n".join(line for panel in panels for line in panel.out)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="Helvetica, Arial, sans-serif" fill="#222222">\n'
        f'<title>Time and memory per token against length</title>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    files = [sys.argv[1]] + sys.argv[3:]
    results = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            results.append(json.load(file))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(draw(*results))


if __name__ == "__main__":
    main()
