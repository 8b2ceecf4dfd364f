"""One HTML page with everything in it: no script, no request to anywhere."""

import base64
from html import escape

from check import clock

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f5f6f8;
  --line: #d5d9df; --found: #1f6feb; --truth: #b7bec8; --good: #1a7f37; --bad: #c6262e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b0; --paper: #12151a;
  --panel: #1b2027; --line: #343b45; --found: #58a0ff; --truth: #59636f; --good: #4cc46a; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1rem; margin: 0; } p { margin: .3rem 0; } .soft { color: var(--soft); }
.verdict { font-weight: 600; } .good { color: var(--good); } .bad { color: var(--bad); }
dl.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.8rem, 1fr)); gap: .75rem; margin: 1.25rem 0 0; }
dl.numbers div { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .9rem; }
dl.numbers dt { color: var(--soft); font-size: .85rem; } dl.numbers dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.person { display: grid; grid-template-columns: 5rem minmax(0, 1fr); gap: .4rem 1rem; align-items: center;
  padding: .9rem 0; border-top: 1px solid var(--line); }
.person > img, .person > .nobody { width: 5rem; height: 5rem; border-radius: .5rem; object-fit: cover; background: var(--panel); }
.nobody { display: grid; place-items: center; color: var(--soft); border: 1px dashed var(--line); }
.bars { position: relative; height: 1.9rem; margin: .35rem 0 .2rem; background: var(--panel); border-radius: .3rem; overflow: hidden; }
.bars i { position: absolute; border-radius: .15rem; min-width: 2px; }
.bars .truth { top: .2rem; height: .55rem; background: var(--truth); }
.bars .found { bottom: .2rem; height: .8rem; background: var(--found); }
.bars .full { top: .4rem; bottom: .4rem; height: auto; }
.bars .cut { top: 0; bottom: 0; width: 1px; min-width: 0; background: var(--line); }
.scale { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem; font-variant-numeric: tabular-nums; padding-left: 6rem; }
.legend { display: flex; gap: 1.25rem; flex-wrap: wrap; color: var(--soft); font-size: .9rem; }
.legend b { display: inline-block; width: 1.4rem; height: .7rem; border-radius: .15rem; margin-right: .4rem; }
details { grid-column: 2; font-size: .9rem; } summary { cursor: pointer; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } td.n, th.n { text-align: right; }
.queries { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1rem; }
.query { border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; background: var(--panel); }
.query img { display: block; width: 100%; height: 10rem; object-fit: cover; object-position: 50% 20%; }
.query div { padding: .7rem .9rem .9rem; font-size: .9rem; } .query .who { font-size: 1.05rem; font-weight: 600; }
ul.misses { padding-left: 1.2rem; }
"""


def render(run):
    """The page of a run, as demo.py collects it."""
    parts = [_head(run), _summary(run), _timeline(run)]
    if run["queries"]:
        parts.append(_queries(run["queries"]))
    parts.append(_about(run))
    return ("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "img-src data:; style-src 'unsafe-inline'\">\n"
            f"<title>Rollcall: who is in {escape(run['clip'])}</title>\n"
            f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(parts) + "\n</main>\n</body>\n</html>\n")


def _head(run):
    return (f"<header>\n<h1>Who is in {escape(run['clip'])}</h1>\n"
            f"<p class=\"soft\">{escape(run['media'])}</p>\n{_verdict(run)}</header>")


def _verdict(run):
    if run["misses"] is None:
        return ""
    if not run["misses"]:
        return ("<p class=\"verdict good\">Everything is as the truth has it: everybody found, "
                "nobody mixed up.</p>\n")
    items = "".join(f"<li>{escape(miss)}</li>" for miss in run["misses"])
    count = len(run["misses"])
    what = "thing is" if count == 1 else "things are"
    return (f"<p class=\"verdict bad\">{count} {what} not as the truth has it:</p>\n"
            f"<ul class=\"misses\">{items}</ul>\n")


def _summary(run):
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
                    for name, value in run["numbers"])
    return f"<section aria-label=\"Numbers\">\n<dl class=\"numbers\">{cells}</dl>\n</section>"


def _timeline(run):
    truth = run["misses"] is not None
    legend = "<span><b style=\"background:var(--found)\"></b>found</span>"
    if truth:
        legend = "<span><b style=\"background:var(--truth)\"></b>true</span>" + legend \
            + "<span>thin lines: cuts</span>"
    people = "\n".join(_person(person, run, truth) for person in run["people"]) \
        or "<p>Nobody was found.</p>"
    more = f"<p class=\"soft\">{run['left_out']} more are not shown.</p>" if run["left_out"] else ""
    middle = clock(run["duration_s"] / 2)
    return (f"<section>\n<h2>People and when they are on screen</h2>\n<p class=\"legend\">{legend}"
            f"</p>\n<div class=\"scale\" aria-hidden=\"true\"><span>00:00</span>"
            f"<span>{middle}</span><span>{clock(run['duration_s'])}</span></div>\n"
            f"{people}\n{more}</section>")


def _person(person, run, truth):
    width = max(run["duration_s"], 0.001)

    def bar(kind, start, end):
        left, size = 100 * start / width, 100 * (end - start) / width
        return f"<i class=\"{kind}\" style=\"left:{left:.3f}%;width:{max(size, 0):.3f}%\"></i>"

    bars = "".join(f"<i class=\"cut\" style=\"left:{100 * at / width:.3f}%\"></i>"
                   for at in run["cuts"])
    bars += "".join(bar("truth", *span) for span in person["truth"])
    bars += "".join(bar("found" if truth else "found full", *span) for span in person["found"])
    spoken = ", ".join(f"{clock(s)} to {clock(e)}" for s, e in person["found"]) or "never"
    label = escape(f"{person['name']} is seen: {spoken}", quote=True)
    if person["jpeg"]:
        picture = f"<img alt=\"\" src=\"{_data(person['jpeg'])}\">"
    else:
        picture = "<span class=\"nobody\">?</span>"
    rows = "".join("<tr>" + "".join(f"<td class=\"n\">{escape(cell)}</td>" for cell in row)
                   + "</tr>" for row in person["rows"])
    header = "".join(f"<th class=\"n\" scope=\"col\">{escape(name)}</th>" for name in run["columns"])
    return (f"<article class=\"person\">\n{picture}\n<div><h3>{escape(person['name'])}</h3>"
            f"<p class=\"soft\">{escape(person['note'])}</p>"
            f"<div class=\"bars\" role=\"img\" aria-label=\"{label}\">{bars}</div></div>\n"
            f"<details><summary>Times</summary><div class=\"scroll\"><table><thead><tr>{header}"
            f"</tr></thead><tbody>{rows}</tbody></table></div></details>\n</article>")


def _queries(queries):
    cards = []
    for query in queries:
        times = "".join(f"<br>{clock(s)} to {clock(e)}" for s, e in query["intervals"])
        mark = "good" if query["right"] else "bad"
        word = "as it should be" if query["right"] else "wrong"
        alt = escape(f"Query: {query['title']}", quote=True)
        cards.append(
            f"<article class=\"query\"><img alt=\"{alt}\" src=\"{_data(query['image'])}\">"
            f"<div><p class=\"soft\">{escape(query['title'])}</p>"
            f"<p class=\"who\">{escape(query['answer'])}</p><p>{escape(query['note'])}{times}</p>"
            f"<p class=\"{mark}\">{word}</p></div></article>")
    return ("<section>\n<h2>Asked with pictures that are not in the clip</h2>\n"
            f"<div class=\"queries\">{''.join(cards)}</div>\n</section>")


def _about(run):
    rows = "".join(f"<tr><th scope=\"row\">{escape(name)}</th><td>{escape(value)}</td></tr>"
                   for name, value in run["about"])
    return (f"<section>\n<h2>How it was made</h2>\n<div class=\"scroll\"><table>{rows}</table>"
            "</div>\n</section>")


def _data(jpeg):
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
