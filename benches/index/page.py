"""One HTML page of a run: the corpus, the curves, the table. No script, no request to anywhere."""

import math
from html import escape

import corpus
import growth
import truth

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f5f6f8;
  --line: #d5d9df; --bad: #c6262e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b0; --paper: #12151a;
  --panel: #1b2027; --line: #343b45; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); } .bad { color: var(--bad); }
figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: .5rem; }
.beside { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figcaption { font-size: .9rem; margin: .2rem .4rem; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .grid { stroke: var(--line); stroke-width: 1; }
svg .curve { fill: none; stroke-width: 1.6; } svg .own { stroke-width: 3.2; }
.legend { display: flex; gap: .2rem 1.25rem; flex-wrap: wrap; font-size: .9rem; margin: .6rem .4rem 0; padding: 0; list-style: none; }
.legend b { display: inline-block; width: 1.4rem; height: .3rem; border-radius: .15rem; margin-right: .4rem; vertical-align: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } td.n, th.n { text-align: right; }
"""
OWN = "rollcall"
COLOURS = ("#1f6feb", "#d1590f", "#2f9e44", "#c2255c", "#7048e8", "#0c8599", "#a87900", "#e03131",
           "#5f7a1f", "#b03ec4", "#3b5bdb", "#12a07a", "#8d6e63", "#607d8b", "#f06595", "#94621a",
           "#4c8bf5", "#56a800", "#9c36b5", "#868e96")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 480, 70, 20, 15, 45
CURVES = (  # question, key of x, what x is, the least x shown at most
    ("who", "rank1", "rank-1 identity accuracy over known queries", 0.9),
    ("faces", "recall_at_10", "recall@10", 0.7),
    ("faces", "rank1", "rank-1 identity accuracy over known queries (identity of the best face)", 0.9),
)
COLUMNS = (("system", ""), ("question", ""), ("setting", ""), ("recall_at_1", ".4f"),
           ("recall_at_10", ".4f"), ("recall_at_100", ".4f"), ("rank1", ".4f"),
           ("fnir_at_fpir_1pct", ".4f"), ("qps", ",.0f"), ("p50_us", ",.1f"), ("p99_us", ",.1f"),
           ("build_s", ",.1f"), ("peak_mb", ",.0f"), ("bytes_per_face", ",.1f"),
           ("hot_bytes_per_face", ",.1f"), ("details", ""))


def render(about, results, beside=()):
    """The page of a run: `about` as run.py collects it, `results` as results.jsonl has them.

    `beside` are results of other sizes: with them, there are curves of growth.
    """
    name, n = about["corpus"]["name"], about["corpus"]["n"]
    title = f"Who is this, and which faces? Corpus {name}, {n:,} faces"
    good = [result for result in results if not result.get("error")]
    colours = _colours(results)
    parts = [_head(title, about)]
    for question, key, label, low in CURVES:
        points = [r for r in good if r["question"] == question and r.get("qps")
                  and r.get(key) is not None]
        if points:
            parts.append(f"<section>\n<h2>{escape(question)}: queries a second over "
                         f"{escape(label)}</h2>\n{_figure(points, key, label, low, colours)}\n"
                         "</section>")
    parts.extend(growth.sections([*good, *beside], COLOURS))
    parts.append(_table(good))
    errors = [result for result in results if result.get("error")]
    if errors:
        items = "".join(f"<li>{escape(str(r['system']))}, {escape(str(r['question'] or ''))} "
                        f"{escape(str(r['setting'] or ''))}: {escape(str(r['error']))}</li>"
                        for r in errors)
        parts.append(f"<section>\n<h2>Not measured</h2>\n<ul class=\"bad\">{items}</ul>\n</section>")
    return ("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "style-src 'unsafe-inline'\">\n"
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(parts) + "\n</main>\n</body>\n</html>\n")


def _colours(results):
    systems = list(dict.fromkeys(str(result["system"]) for result in results))
    systems.sort(key=lambda system: not system.startswith(OWN))
    return {system: COLOURS[i % len(COLOURS)] for i, system in enumerate(systems)}


def _head(title, about):
    facts = corpus.lines(about["corpus"]) + truth.lines(about["truth"]) + [
        f"machine: {about['machine']['before']}; at the end {about['machine']['after']}",
        f"{about['date']}, took {about['took']}"]
    return (f"<header>\n<h1>{escape(title)}</h1>\n"
            + "".join(f"<p class=\"soft\">{escape(fact)}</p>\n" for fact in facts)
            + "<p>One core, one query a call. Points of one colour differ in one setting of the "
            "search; hold the pointer over one to read it.</p>\n</header>")


def _figure(points, key, label, low, colours):
    """Curves: x linear from where something is to 1, y queries a second, logarithmic."""
    least = min(point[key] for point in points)
    left = max(low, math.floor(least * 100) / 100)
    left = min(left, 0.99)
    shown = [point for point in points if point[key] >= left] or points
    bottom = math.floor(math.log10(min(point["qps"] for point in shown)))
    top = max(bottom + 1, math.ceil(math.log10(max(point["qps"] for point in shown))))

    def x(value):
        return LEFT + (value - left) / (1 - left) * (WIDTH - LEFT - RIGHT)

    def y(value):
        return HEIGHT - BOTTOM - (math.log10(value) - bottom) / (top - bottom) * (
            HEIGHT - BOTTOM - TOP)

    parts = [_axes(x, y, left, bottom, top, label)]
    for system, colour in colours.items():
        mine = sorted((p for p in shown if p["system"] == system and p[key] >= left),
                      key=lambda p: (p[key], -p["qps"]))
        if not mine:
            continue
        width = " own" if system.startswith(OWN) else ""
        path = " ".join(f"{x(p[key]):.1f},{y(p['qps']):.1f}" for p in mine)
        parts.append(f"<polyline class=\"curve{width}\" stroke=\"{colour}\" points=\"{path}\"/>")
        for p in mine:
            told = f"{system}, {p['setting']}: {p[key]:.4f}, {p['qps']:,.0f} queries a second"
            parts.append(f"<circle cx=\"{x(p[key]):.1f}\" cy=\"{y(p['qps']):.1f}\" r=\"3.5\" "
                         f"fill=\"{colour}\"><title>{escape(told)}</title></circle>")
    legend = "".join(f"<li><b style=\"background:{colour}\"></b>{escape(system)}</li>"
                     for system, colour in colours.items()
                     if any(p["system"] == system for p in shown))
    return (f"<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" "
            f"aria-label=\"Queries a second over {escape(label, quote=True)}\">\n"
            + "\n".join(parts) + f"\n</svg>\n<ul class=\"legend\">{legend}</ul>\n</figure>")


def _axes(x, y, left, bottom, top, label):
    parts = []
    step = next(s for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (1 - left) / s <= 10)
    tick = math.ceil(left / step - 1e-9) * step
    while tick <= 1 + 1e-9:
        parts.append(f"<line class=\"grid\" x1=\"{x(tick):.1f}\" x2=\"{x(tick):.1f}\" "
                     f"y1=\"{TOP}\" y2=\"{HEIGHT - BOTTOM}\"/><text x=\"{x(tick):.1f}\" "
                     f"y=\"{HEIGHT - BOTTOM + 18}\" text-anchor=\"middle\">{tick:.3g}</text>")
        tick += step
    for power in range(bottom, top + 1):
        at = y(10 ** power)
        parts.append(f"<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH - RIGHT}\" y1=\"{at:.1f}\" "
                     f"y2=\"{at:.1f}\"/><text x=\"{LEFT - 8}\" y=\"{at + 4:.1f}\" "
                     f"text-anchor=\"end\">{10.0 ** power:,.10g}</text>")
    parts.append(f"<text x=\"{(LEFT + WIDTH - RIGHT) / 2}\" y=\"{HEIGHT - 8}\" "
                 f"text-anchor=\"middle\">{escape(label)}</text>")
    parts.append(f"<text transform=\"translate(14 {HEIGHT / 2}) rotate(-90)\" "
                 "text-anchor=\"middle\">queries a second, one core</text>")
    return "\n".join(parts)


def _table(results):
    head = "".join(_cell("th", key, form) for key, form in COLUMNS)
    rows = "".join("<tr>" + "".join(_cell("td", _shown(result.get(key), form), form)
                                    for key, form in COLUMNS) + "</tr>\n" for result in results)
    return ("<section>\n<h2>Everything measured</h2>\n<div class=\"scroll\"><table>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n</section>")


def _cell(tag, text, form):
    kind = " class=\"n\"" if form else ""
    scope = " scope=\"col\"" if tag == "th" else ""
    return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"


def _shown(value, form):
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return format(value, form) if form and isinstance(value, (int, float)) else str(value)
