//! Who is on screen when in the small demo clip, and whether that was found.

use super::facts::Track;
use super::programs::{asset, assets};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// How far a found interval may be from the true one, in seconds.
const TOLERANCE_S: f64 = 0.25;
/// Identities of one person at most: one more than there should be.
const IDENTITIES_MAX: usize = 2;

/// The composed clip and what is true of it.
pub(crate) struct Truth {
    pub(crate) clip: PathBuf,
    pub(crate) duration_s: f64,
    frame_s: f64,
    people: Vec<Person>,
    /// Pictures that are not in the clip, with who is on them.
    pub(crate) held_out: Vec<(String, PathBuf)>,
    /// A picture of somebody who is not in the clip.
    pub(crate) stranger: PathBuf,
}

/// A person and when they are on screen: from, to (exclusive), in seconds.
struct Person {
    name: String,
    intervals: Vec<(f64, f64)>,
}

impl Truth {
    /// The truth about the small clip.
    pub(crate) fn small() -> Self {
        let text = std::fs::read_to_string(asset("demo/truth-small.json")).unwrap();
        let truth: Value = serde_json::from_str(&text).unwrap();
        let list = |of: &Value, key: &str| of[key].as_array().unwrap().clone();
        let text = |of: &Value| of.as_str().unwrap().to_owned();
        let picture = |name: &Value| assets().join("demo").join(text(name));
        let interval = |pair: &Value| (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap());
        let people = list(&truth, "people").into_iter().map(|person| Person {
            name: text(&person["name"]),
            intervals: list(&person, "intervals").iter().map(interval).collect(),
        });
        Self {
            clip: asset("demo/clip-small.mp4"),
            duration_s: truth["duration_s"].as_f64().unwrap(),
            frame_s: 1.0 / truth["fps"].as_f64().unwrap(),
            people: people.collect(),
            held_out: list(&truth, "held_out")
                .iter()
                .map(|held_out| (text(&held_out["person"]), picture(&held_out["image"])))
                .collect(),
            stranger: picture(&truth["stranger"]),
        }
    }

    /// The names of the people whose time on screen is over before `seconds`.
    pub(crate) fn gone_by(&self, seconds: f64) -> Vec<&str> {
        let begun = |person: &&Person| person.intervals.first().is_some_and(|i| i.1 <= seconds);
        self.people
            .iter()
            .filter(begun)
            .map(|person| person.name.as_str())
            .collect()
    }

    /// The held-out picture of a person.
    pub(crate) fn picture_of(&self, name: &str) -> &PathBuf {
        &self
            .held_out
            .iter()
            .find(|(person, _)| person == name)
            .unwrap()
            .1
    }

    /// Who is on each track, by its id. Shots with one person decide by time; where two are on screen, the tracks of the
    /// other shots are compared with, so that the answer does not lean on the identities that were assigned.
    ///
    /// # Panics
    /// If a track lies where nobody is on screen.
    pub(crate) fn label<'a>(
        &self,
        tracks: impl IntoIterator<Item = &'a Track>,
    ) -> BTreeMap<u64, &str> {
        let tracks: Vec<&Track> = tracks.into_iter().collect();
        let on_screen = |track: &Track| {
            let (start, end) = self.span(track);
            let inside = |i: &&(f64, f64)| start >= i.0 - TOLERANCE_S && end <= i.1 + TOLERANCE_S;
            let people = self
                .people
                .iter()
                .filter(|person| person.intervals.iter().any(|i| inside(&i)));
            let people: Vec<&str> = people.map(|person| person.name.as_str()).collect();
            assert!(
                !people.is_empty(),
                "nobody is on screen from {start} to {end}: {track:?}"
            );
            people
        };
        let alone: Vec<(&str, &Track)> = tracks
            .iter()
            .filter_map(|track| match on_screen(track)[..] {
                [person] => Some((person, *track)),
                _ => None,
            })
            .collect();
        let nearest = |track: &Track| {
            let people = on_screen(track);
            let likeness = |(_, other): &&(&str, &Track)| track.embedding().dot(&other.embedding());
            let known = alone.iter().filter(|(person, _)| people.contains(person));
            known
                .max_by_key(likeness)
                .expect("each person has a shot alone")
                .0
        };
        tracks
            .iter()
            .map(|track| (track.id, nearest(track)))
            .collect()
    }

    /// Fails the test unless every person was found, each interval within a quarter of a second.
    #[track_caller]
    pub(crate) fn assert_found<'a>(&self, tracks: impl IntoIterator<Item = &'a Track>) {
        let tracks: Vec<&Track> = tracks.into_iter().collect();
        let labels = self.label(tracks.iter().copied());
        for person in &self.people {
            let theirs = tracks
                .iter()
                .filter(|track| labels[&track.id] == person.name);
            let found = merged(theirs.map(|track| self.span(track)).collect());
            let near = |(found, truth): (&(f64, f64), &(f64, f64))| {
                (found.0 - truth.0).abs() <= TOLERANCE_S && (found.1 - truth.1).abs() <= TOLERANCE_S
            };
            assert!(
                found.len() == person.intervals.len()
                    && found.iter().zip(&person.intervals).all(near),
                "{}: found {found:?}, true is {:?}",
                person.name,
                person.intervals
            );
        }
    }

    /// Fails the test if an identity holds two people, or a person has more than one identity too many.
    #[track_caller]
    pub(crate) fn assert_identified<'a>(&self, tracks: impl IntoIterator<Item = &'a Track>) {
        let tracks: Vec<&Track> = tracks.into_iter().collect();
        let labels = self.label(tracks.iter().copied());
        let mut holds: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for track in &tracks {
            holds
                .entry(track.identity)
                .or_default()
                .insert(labels[&track.id]);
        }
        for (identity, people) in &holds {
            assert_eq!(people.len(), 1, "identity {identity} holds {people:?}");
        }
        for person in &self.people {
            let theirs = holds
                .values()
                .filter(|people| people.contains(person.name.as_str()));
            let count = theirs.count();
            assert!(
                (1..=IDENTITIES_MAX).contains(&count),
                "{}: {count} identities",
                person.name
            );
        }
    }

    /// From, to (exclusive), in seconds: a track's end is its last frame.
    fn span(&self, track: &Track) -> (f64, f64) {
        let seconds =
            |us: i64| std::time::Duration::from_micros(us.try_into().unwrap()).as_secs_f64();
        (
            seconds(track.start_us),
            seconds(track.end_us) + self.frame_s,
        )
    }
}

/// Intervals joined where one goes on in the next, as over a cut.
fn merged(mut intervals: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, f64)> = Vec::new();
    for next in intervals {
        match merged.last_mut() {
            Some(last) if next.0 <= last.1 + TOLERANCE_S => last.1 = last.1.max(next.1),
            Some(_) | None => merged.push(next),
        }
    }
    merged
}
