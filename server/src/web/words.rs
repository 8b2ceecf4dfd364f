//! How things are said on a page: times, numbers, people, edits.

use super::facts::in_words;
use crate::pb::{self, EditKind, FactKind, SourceKind, SourceState};
use crate::time::{duration_us, timestamp_us};
use prost_types::{Duration, Timestamp};
use std::collections::BTreeSet;

const SECOND_US: i64 = 1_000_000;
/// Tracks or facts of an edit that are told one by one.
const LISTED: u64 = 5;

/// A moment for people, and as browsers read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// As in `2026-11-30T06:35:12Z`.
    pub(super) iso: String,
    /// As in `2026-11-30 06:35:12 UTC`; the script says it in the reader's own time.
    pub(super) text: String,
}

impl Moment {
    /// The moment at this Unix time, microseconds.
    pub(super) fn at(us: i64) -> Self {
        let seconds = us.div_euclid(SECOND_US);
        let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(day);
        let clock = format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
        let date = format!("{year:04}-{month:02}-{day:02}");
        Self {
            iso: format!("{date}T{clock}Z"),
            text: format!("{date} {clock} UTC"),
        }
    }

    /// The same of the API's time, if there is one.
    pub(super) fn of(time: Option<&Timestamp>) -> Option<Self> {
        time.map(|time| Self::at(timestamp_us(time)))
    }
}

/// Year, month and day of a day counted from 1970-01-01, after Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Stream time as in `0:07` or `1:02:03`.
pub(super) fn clock(us: i64) -> String {
    let seconds = us.max(0) / SECOND_US;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// The API's stream time likewise.
pub(super) fn stream_time(time: Option<&Duration>) -> String {
    clock(time.map_or(0, duration_us))
}

/// A cosine as in `0.71`.
pub(super) fn cosine(cosine: f32) -> String {
    format!("{cosine:.2}")
}

/// How many, as in `1 track`, `3 tracks`.
pub(super) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// With a capital letter at the beginning and a full stop at the end.
pub(super) fn sentence(text: &str) -> String {
    let stop = if text.ends_with(['.', '?', '!']) {
        ""
    } else {
        "."
    };
    format!("{}{stop}", capital(text))
}

/// With a capital letter at the beginning.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.as_str().chars()).collect()
}

/// What a person is called: the name, or the id of somebody without one.
pub(super) fn called(id: u64, name: &str) -> String {
    if name.is_empty() {
        format!("Person {id}")
    } else {
        name.to_owned()
    }
}

/// A source's state.
pub(super) fn state(state: SourceState) -> &'static str {
    match state {
        SourceState::Unspecified => "unknown",
        SourceState::Queued => "queued",
        SourceState::Connecting => "connecting",
        SourceState::Running => "running",
        SourceState::Stalled => "stalled",
        SourceState::Ended => "ended",
        SourceState::Stopped => "stopped",
        SourceState::Failed => "failed",
    }
}

/// A source's kind.
pub(super) fn kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Unspecified => "unknown",
        SourceKind::File => "file",
        SourceKind::Live => "live",
        SourceKind::Remote => "remote",
    }
}

/// What an edit did, in one sentence without its full stop.
pub(super) fn edit(edit: &pb::Edit) -> String {
    match edit.kind() {
        EditKind::Create | EditKind::Update => profiles(edit),
        EditKind::Merge => {
            let merged = edit.redirects.iter().map(|change| {
                let (from, into) = (change.identity_id, change.after);
                format!("Person {from} became a part of person {into}")
            });
            let merged: Vec<String> = merged.collect();
            format!("{} ({})", merged.join("; "), tracks(edit))
        }
        EditKind::Move => capital(&moved(edit, "moved to")),
        EditKind::Split => capital(&moved(edit, "split off as")),
        EditKind::MustLink | EditKind::CannotLink | EditKind::NotThisPerson => {
            let mut told = facts(edit, true);
            if !edit.moves.is_empty() {
                told = format!("{told}; {}", moved(edit, "moved to"));
            }
            capital(&told)
        }
        EditKind::Enrol => "Photos were enrolled".to_owned(),
        EditKind::ForgetFact => format!("No longer said: {}", facts(edit, false)),
        EditKind::Undo if edit.parts_left.is_empty() => {
            format!("Edit {} was taken back", edit.undoes)
        }
        EditKind::Undo => format!("Edit {} was taken back as far as it could be", edit.undoes),
        EditKind::Unspecified => "Something was changed".to_owned(),
    }
}

/// The tracks that it moved, counted.
fn tracks(edit: &pb::Edit) -> String {
    let moved = edit.moves.iter().map(|moved| moved.track_count).sum();
    count(moved, "track")
}

/// Which tracks went from whom to whom.
fn moved(edit: &pb::Edit, verb: &str) -> String {
    let told = edit.moves.iter().map(|moved| {
        let (from, into) = (moved.from_identity_id, moved.into_identity_id);
        let ids = moved.track_ids.iter().map(u64::to_string);
        let ids: Vec<String> = ids.collect();
        let (which, were) = match ids.as_slice() {
            [id] if moved.track_count == 1 => (format!("track {id}"), "was"),
            ids if moved.track_count <= LISTED => (format!("tracks {}", ids.join(", ")), "were"),
            _ => (count(moved.track_count, "track"), "were"),
        };
        let opened = edit.profiles.iter();
        let mut opened = opened.filter(|change| change.created && change.identity_id == into);
        let name = opened.next().and_then(|change| change.after.as_ref());
        let name = name.map(|profile| profile.name.as_str());
        let name = match name {
            None | Some("") => String::new(),
            Some(name) => format!(" \u{201c}{name}\u{201d}"),
        };
        format!("{which} of person {from} {were} {verb} person {into}{name}")
    });
    told.collect::<Vec<_>>().join("; ")
}

/// What it said of who is who, or no longer says.
fn facts(edit: &pb::Edit, holds: bool) -> String {
    let told = edit.facts.iter().filter(|change| change.holds == holds);
    let told = told.filter_map(|change| change.fact.as_ref());
    let told = told.filter(|fact| !holds || fact.kind() != FactKind::Placed);
    let told: Vec<String> = told.map(in_words).collect();
    let most = usize::try_from(LISTED).unwrap_or(usize::MAX);
    match told.get(..most) {
        Some(first) if told.len() > most => {
            format!("{}, and {} more", first.join(", "), told.len() - most)
        }
        Some(_) | None => told.join(", "),
    }
}

fn profiles(edit: &pb::Edit) -> String {
    let told = edit.profiles.iter().map(|change| {
        let before = change.before.clone().unwrap_or_default();
        let after = change.after.clone().unwrap_or_default();
        let mut what = Vec::new();
        if change.created {
            what.push("came into being".to_owned());
        }
        if before.name != after.name {
            what.push(named("name", &after.name));
        }
        if before.external_id != after.external_id {
            what.push(named("external id", &after.external_id));
        }
        if before.confirmed != after.confirmed {
            let confirmed = ["no longer confirmed", "confirmed"][usize::from(after.confirmed)];
            what.push(confirmed.to_owned());
        }
        let hidden = |profile: &pb::Profile| profile.state() == pb::IdentityState::Hidden;
        if hidden(&before) != hidden(&after) {
            what.push(["shown again", "hidden"][usize::from(hidden(&after))].to_owned());
        }
        let keys: BTreeSet<&String> = before
            .metadata
            .keys()
            .chain(after.metadata.keys())
            .collect();
        let changed = keys.into_iter();
        let changed = changed.filter(|key| before.metadata.get(*key) != after.metadata.get(*key));
        what.extend(changed.map(|key| match after.metadata.get(key) {
            Some(value) => format!("{key} \u{201c}{value}\u{201d}"),
            None => format!("{key} taken away"),
        }));
        format!("Person {}: {}", change.identity_id, what.join(", "))
    });
    told.collect::<Vec<_>>().join("; ")
}

fn named(what: &str, text: &str) -> String {
    if text.is_empty() {
        format!("{what} taken away")
    } else {
        format!("{what} \u{201c}{text}\u{201d}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let check = |seconds: i64, text: &str| {
            assert_eq!(Moment::at(seconds * SECOND_US).text, format!("{text} UTC"));
        };
        check(0, "1970-01-01 00:00:00");
        check(951_782_399, "2000-02-28 23:59:59");
        check(951_782_400, "2000-02-29 00:00:00");
        check(1_700_000_000, "2023-11-14 22:13:20");
        check(-1, "1969-12-31 23:59:59");
        assert_eq!(Moment::at(1).iso, "1970-01-01T00:00:00Z");
        assert_eq!(clock(3_723 * SECOND_US), "1:02:03");
        assert_eq!(clock(67 * SECOND_US), "1:07");
    }

    #[test]
    fn edits() {
        let profile = |name: &str, confirmed| pb::Profile {
            name: name.into(),
            confirmed,
            ..Default::default()
        };
        let change = |before, after| pb::Edit {
            kind: EditKind::Update.into(),
            profiles: vec![pb::ProfileChange {
                identity_id: 7,
                before: Some(before),
                after: Some(after),
                ..Default::default()
            }],
            ..Default::default()
        };
        let told = edit(&change(profile("", false), profile("Ada", true)));
        assert_eq!(told, "Person 7: name \u{201c}Ada\u{201d}, confirmed");
        let told = edit(&change(profile("Ada", true), profile("", false)));
        assert_eq!(told, "Person 7: name taken away, no longer confirmed");
        assert_eq!(sentence("no face"), "No face.");
    }

    #[test]
    fn edits_of_tracks() {
        let moved = |tracks: &[u64], from, into| pb::TrackMove {
            from_identity_id: from,
            into_identity_id: into,
            track_count: tracks.len() as u64,
            track_ids: tracks.to_vec(),
        };
        let told = |kind: EditKind, moves: &[pb::TrackMove], facts: &[pb::Fact]| {
            let facts = facts.iter().map(|fact| pb::FactChange {
                fact: Some(*fact),
                holds: kind != EditKind::ForgetFact,
            });
            edit(&pb::Edit {
                kind: kind.into(),
                moves: moves.to_vec(),
                facts: facts.collect(),
                ..Default::default()
            })
        };
        let not = |track_id, other_identity_id| pb::Fact {
            kind: FactKind::TwoPeople.into(),
            track_id,
            other_identity_id,
            ..Default::default()
        };
        let placed = pb::Fact {
            kind: FactKind::Placed.into(),
            ..not(3, 2)
        };
        let said = told(EditKind::Move, &[moved(&[3], 1, 2)], &[placed]);
        assert_eq!(said, "Track 3 of person 1 was moved to person 2");
        let many: Vec<u64> = (1..9).collect();
        let both = [moved(&[3, 4], 1, 2), moved(&many, 5, 2)];
        let said = told(EditKind::Split, &both, &[]);
        assert_eq!(
            said,
            "Tracks 3, 4 of person 1 were split off as person 2; 8 tracks of person 5 were split off as person 2"
        );
        let said = told(EditKind::NotThisPerson, &[moved(&[3], 1, 9)], &[not(3, 1)]);
        assert_eq!(
            said,
            "Track 3 is not person 1; track 3 of person 1 was moved to person 9"
        );
        let said = told(EditKind::ForgetFact, &[], &[not(3, 1)]);
        assert_eq!(said, "No longer said: track 3 is not person 1");
        let facts: Vec<pb::Fact> = many.iter().map(|track| not(*track, 1)).collect();
        let said = told(EditKind::NotThisPerson, &[], &facts);
        assert!(
            said.ends_with("track 5 is not person 1, and 3 more"),
            "{said}"
        );
    }
}
