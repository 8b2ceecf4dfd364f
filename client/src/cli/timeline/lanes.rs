//! Lanes: what a format shows of one person side by side, where a lane holds no two things at a time.
use std::collections::{HashMap, HashSet};

use super::Span;

/// Spans of one identity that do not overlap.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    /// Unlike that of any other lane.
    pub(super) name: String,
    /// In the order of time.
    pub(super) parts: Vec<Part<'a>>,
}

/// A span in the units of a format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) span: &'a Span,
    /// Inclusive.
    pub(super) start: u64,
    /// Exclusive.
    pub(super) end: u64,
}

/// The lanes of each identity in the order of their first spans, which come in the order of time: one, and another for
/// as many times as the identity is on screen at once. `units`: start and end of a span.
pub(super) fn lanes(spans: &[Span], units: impl Fn(&Span) -> (u64, u64)) -> Vec<Lane<'_>> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut people: Vec<Vec<Vec<Part<'_>>>> = Vec::new();
    for span in spans {
        let (start, end) = units(span);
        let part = Part { span, start, end };
        let place = *places.entry(span.identity).or_insert(people.len());
        if place == people.len() {
            people.push(Vec::new());
        }
        let person = &mut people[place];
        let free = |lane: &&mut Vec<Part<'_>>| lane.last().is_none_or(|last| last.end <= start);
        match person.iter_mut().find(free) {
            Some(lane) => lane.push(part),
            None => person.push(vec![part]),
        }
    }
    named(people)
}

fn named(people: Vec<Vec<Vec<Part<'_>>>>) -> Vec<Lane<'_>> {
    let label = |person: &Vec<Vec<Part<'_>>>| person[0][0].span.label();
    let mut bearers: HashMap<String, u32> = HashMap::new();
    for person in &people {
        *bearers.entry(label(person)).or_default() += 1;
    }
    let mut taken = HashSet::new();
    let mut lanes = Vec::new();
    for person in people {
        let mut name = label(&person);
        if bearers.get(&name).is_some_and(|bearers| *bearers > 1) {
            name = format!("{name} (identity {})", person[0][0].span.identity);
        }
        let mut number = 1;
        for parts in person {
            let mut numbered = name.clone();
            loop {
                if number > 1 {
                    numbered = format!("{name} ({number})");
                }
                number += 1;
                if taken.insert(numbered.clone()) {
                    break;
                }
            }
            lanes.push(Lane {
                name: numbered,
                parts,
            });
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::super::tests::span;
    use super::*;

    fn drawn(spans: &[Span]) -> Vec<(String, Vec<u64>)> {
        let lanes = lanes(spans, |span| {
            (
                span.first_frame.cast_unsigned(),
                span.last_frame.cast_unsigned() + 1,
            )
        });
        let short = |lane: Lane<'_>| {
            let tracks = lane.parts.iter().map(|part| part.span.tracks[0]);
            (lane.name, tracks.collect())
        };
        lanes.into_iter().map(short).collect()
    }

    #[test]
    fn somebody_who_is_seen_twice_at_once_has_two_lanes() {
        let spans = [
            span(1, "Ada", 1, (0, 1000)),
            span(2, "", 2, (0, 2000)),
            span(1, "Ada", 3, (1000, 2000)),
            span(1, "Ada", 4, (1040, 1080)),
            span(1, "Ada", 5, (1080, 3000)),
        ];
        assert_eq!(
            drawn(&spans),
            [
                ("Ada".to_owned(), vec![1, 4]),
                ("Ada (2)".to_owned(), vec![3]),
                ("Ada (3)".to_owned(), vec![5]),
                ("person 2".to_owned(), vec![2]),
            ]
        );
    }

    #[test]
    fn no_two_lanes_have_one_name() {
        let spans = [
            span(1, "Ada", 1, (0, 0)),
            span(2, "Ada", 2, (0, 0)),
            span(2, "Ada", 3, (0, 0)),
            span(3, "Bob (2)", 4, (0, 0)),
            span(4, "Bob", 5, (0, 0)),
            span(4, "Bob", 6, (0, 0)),
        ];
        let names: Vec<String> = drawn(&spans).into_iter().map(|lane| lane.0).collect();
        assert_eq!(
            names,
            [
                "Ada (identity 1)",
                "Ada (identity 2)",
                "Ada (identity 2) (2)",
                "Bob (2)",
                "Bob",
                "Bob (3)"
            ]
        );
    }
}
