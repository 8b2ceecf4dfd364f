"""What was found against what is true: names for identities, errors of intervals.

Intervals are (start, end) in seconds, the end exclusive.
"""

import itertools
from dataclasses import dataclass, field

TOLERANCE_S = 0.25
EXTRA_PER_PERSON_MAX = 1


@dataclass
class Interval:
    """A stretch of truth and how it was found; errors are None if it was not."""

    start: float
    end: float
    start_error: float | None = None
    end_error: float | None = None
    hole: float = 0.0  # the longest stretch inside during which the person was lost

    @property
    def good(self):
        return self.start_error is not None and max(
            abs(self.start_error), abs(self.end_error), self.hole) <= TOLERANCE_S


@dataclass
class Person:
    """A person of the truth with the identities that are theirs, the main one first."""

    name: str
    intervals: list
    identities: list = field(default_factory=list)


@dataclass
class Report:
    """The comparison; `misses` says in words what is not as it should be."""

    people: list
    names: dict  # identity id -> name
    misses: list = field(default_factory=list)

    @property
    def worst_error(self):
        errors = [abs(e) for p in self.people for i in p.intervals
                  for e in (i.start_error, i.end_error) if e is not None]
        return max(errors, default=None)


def union(intervals, bridge=0.0):
    """Sorted intervals, those closer than `bridge` joined."""
    merged = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1] + bridge:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def length(intervals):
    return sum(end - start for start, end in intervals)


def overlap(one, other):
    return sum(max(0.0, min(b, d) - max(a, c)) for a, b in one for c, d in other)


def minus(one, other):
    """What of `one` lies outside `other`."""
    left = []
    other = union(other)
    for start, end in one:
        for c, d in other:
            if d <= start or c >= end:
                continue
            if c > start:
                left.append((start, c))
            start = max(start, d)
        if start < end:
            left.append((start, end))
    return left


def compare(truth, found):
    """`truth` as compose.py writes it, `found`: identity id -> intervals. Returns a Report."""
    people = [Person(p["name"], [Interval(*i) for i in p["intervals"]]) for p in truth["people"]]
    spans = {p.name: [(i.start, i.end) for i in p.intervals] for p in people}
    report = Report(people, _assign(people, spans, found))
    for person in people:
        _judge_person(person, found, report.misses)
    for identity, name in report.names.items():
        _judge_identity(identity, name, spans, found[identity], report.misses)
    for identity in sorted(found.keys() - report.names.keys()):
        at = ", ".join(clock(start) for start, _ in found[identity])
        report.misses.append(f"identity {identity} is nobody of the truth (seen at {at})")
    return report


def _assign(people, spans, found):
    """One main identity a person, best matches first, then the others to whom they fit best."""
    def score(identity, person):
        shared = overlap(found[identity], spans[person.name])
        return shared - (length(found[identity]) - shared)

    names = {}
    pairs = sorted(itertools.product(found, people), key=lambda p: -score(*p))
    for identity, person in pairs:
        if identity not in names and not person.identities \
                and overlap(found[identity], spans[person.name]) > 0:
            person.identities.append(identity)
            names[identity] = person.name
    for identity in sorted(found.keys() - names.keys()):
        # In a shot of two, the one who is not covered there already.
        def fit(person, identity=identity):
            taken = [i for other in person.identities for i in found[other]]
            return score(identity, person) - overlap(found[identity], taken)

        best = max(people, key=fit, default=None)
        if best and overlap(found[identity], spans[best.name]) > 0:
            best.identities.append(identity)
            names[identity] = best.name
    return names


def _judge_person(person, found, misses):
    if not person.identities:
        misses.append(f"{person.name} was not found")
        return
    extra = person.identities[1:]
    if len(extra) > EXTRA_PER_PERSON_MAX:
        misses.append(f"{person.name} has {len(extra)} identities too many: "
                      f"{', '.join(map(str, extra))}")
    seen = union([i for identity in person.identities for i in found[identity]])
    for interval in person.intervals:
        inside = [(s, e) for s, e in seen if s < interval.end and e > interval.start]
        where = f"{person.name}, {clock(interval.start)} to {clock(interval.end)}"
        if not inside:
            misses.append(f"{where}: not seen")
            continue
        interval.start_error = inside[0][0] - interval.start
        interval.end_error = inside[-1][1] - interval.end
        holes = [b[0] - a[1] for a, b in itertools.pairwise(inside)]
        interval.hole = max(holes, default=0.0)
        if not interval.good:
            misses.append(f"{where}: begins {interval.start_error:+.2f} s, ends "
                          f"{interval.end_error:+.2f} s off, lost for {interval.hole:.2f} s "
                          f"(limit {TOLERANCE_S} s)")


def _judge_identity(identity, name, spans, intervals, misses):
    for start, end in minus(intervals, spans[name]):
        if end - start > TOLERANCE_S:
            who = [other for other, span in spans.items()
                   if other != name and overlap([(start, end)], span) > TOLERANCE_S]
            misses.append(f"identity {identity} ({name}) is also seen from {clock(start)} to "
                          f"{clock(end)}" + (f", where {' and '.join(who)} is" if who else ""))


def clock(seconds):
    """00:12.48"""
    minutes, rest = divmod(max(0.0, seconds), 60)
    return f"{int(minutes):02}:{rest:05.2f}"
