"""Curves of growth: what a question costs our own index over the number of faces."""

import math
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 320, 70, 90, 15, 45
CURVES = (  # what a line says, how it is read from a line
    ("p50 in microseconds", lambda line: line["p50_us"]),
    ("KiB read a query", lambda line: (line.get("details") or {}).get("kb_touched")),
)


def sections(results, colours):
    """A section with a figure for each of CURVES, or none where there is but one size."""
    lines = [line for line in results if line["system"] == "rollcall" and not line.get("error")
             and line["question"] in ("who", "faces") and "default" in (line["setting"] or "")]
    if len({line["n"] for line in lines}) < 2:
        return []
    figures = "".join(figure(lines, name, value, colours) for name, value in CURVES)
    return ["<section>\n<h2>Growth with the number of faces</h2>\n"
            f"<div class=\"beside\">\n{figures}</div>\n</section>"]


def figure(lines, name, value, colours):
    """Both axes logarithmic; a curve for each corpus and question."""
    points = {}
    for line in lines:
        # NaN and 0 have no place on a logarithmic axis.
        if (height := value(line)) is not None and height > 0:
            points.setdefault((line["corpus"], line["question"]), {})[line["n"]] = height
    flat = [point for curve in points.values() for point in curve.items()]
    if not flat:
        return ""
    (left, right), (bottom, top) = (powers([point[axis] for point in flat]) for axis in (0, 1))

    def x(n):
        return LEFT + (math.log10(n) - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def y(height):
        return HEIGHT - BOTTOM - (math.log10(height) - bottom) / (top - bottom) * (
            HEIGHT - BOTTOM - TOP)

    parts = [f"<line class=\"grid\" x1=\"{x(10 ** p):.1f}\" x2=\"{x(10 ** p):.1f}\" y1=\"{TOP}\" "
             f"y2=\"{HEIGHT - BOTTOM}\"/><text x=\"{x(10 ** p):.1f}\" y=\"{HEIGHT - BOTTOM + 18}\" "
             f"text-anchor=\"middle\">{10 ** p:,}</text>" for p in range(left, right + 1)]
    parts += [f"<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH - RIGHT}\" y1=\"{y(10.0 ** p):.1f}\" "
              f"y2=\"{y(10.0 ** p):.1f}\"/><text x=\"{LEFT - 8}\" y=\"{y(10.0 ** p) + 4:.1f}\" "
              f"text-anchor=\"end\">{10.0 ** p:,.10g}</text>" for p in range(bottom, top + 1)]
    for (key, curve), colour in zip(sorted(points.items()), colours):
        label = ": ".join(key)
        path = " ".join(f"{x(n):.1f},{y(height):.1f}" for n, height in sorted(curve.items()))
        parts.append(f"<polyline class=\"curve\" stroke=\"{colour}\" points=\"{path}\"/>")
        parts += [f"<circle cx=\"{x(n):.1f}\" cy=\"{y(height):.1f}\" r=\"3.5\" fill=\"{colour}\">"
                  f"<title>{escape(label)}, {n:,} faces: {height:,.1f}</title></circle>"
                  for n, height in curve.items()]
        n, height = max(curve.items())
        parts.append(f"<text x=\"{x(n) + 8:.1f}\" y=\"{y(height) + 4:.1f}\">{escape(label)}</text>")
    parts.append(f"<text x=\"{(LEFT + WIDTH - RIGHT) / 2}\" y=\"{HEIGHT - 8}\" "
                 "text-anchor=\"middle\">faces</text>")
    return (f"<figure>\n<figcaption>{escape(name)}</figcaption>\n"
            f"<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" "
            f"aria-label=\"{escape(name, quote=True)} over the number of faces\">\n"
            + "\n".join(parts) + "\n</svg>\n</figure>\n")


def powers(values):
    """The powers of ten around values."""
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))
