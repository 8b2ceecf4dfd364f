//! An edit decision list after CMX 3600: an event a sighting, one after the other.
//!
//! Source timecodes count from 0 at the begin of the source, non-drop. An EDL has one video track, on which nothing may
//! overlap: so the record side strings the sightings together, which is what an editor who asked for somebody wants.
use std::fmt::Write as _;

use super::Timeline;

/// Seconds that timecodes count before they begin again.
const DAY_S: u64 = 86_400;

/// Frames a second at most: a timecode has two digits for them.
const BASE_MAX: u64 = 100;

/// Why there is no such list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error(
        "the timecodes of an EDL count 24 hours, and the sightings take more: ask for fewer with --identity, --since \
         or --until, or for another format"
    )]
    TooLong,
    #[error(
        "the timecodes of an EDL count {BASE_MAX} frames a second at most: choose fewer with --fps, or another format"
    )]
    TooFast,
}

/// # Errors
/// [`Unfit`] beyond 24 hours, or 100 frames a second.
pub(crate) fn write(timeline: &Timeline) -> Result<String, Unfit> {
    let media = &timeline.media;
    let base = media.rate.timecode_base();
    if base > BASE_MAX {
        return Err(Unfit::TooFast);
    }
    let (reel, source) = (reel(&media.name), line(&media.name));
    let mut text = format!("TITLE: {source}\nFCM: NON-DROP FRAME\n");
    let mut record = 0;
    for (number, span) in (1..).zip(&timeline.spans) {
        let (start, end) = span.frames(media.rate);
        let recorded = record + (end - start);
        if end.max(recorded) > DAY_S * base {
            return Err(Unfit::TooLong);
        }
        let codes = [start, end, record, recorded].map(|frame| timecode(frame, base));
        let name = line(&span.label());
        let _ = write!(
            text,
            "\n{number:03}  {reel:<8} V     C        {}\n* FROM CLIP NAME: {name}\n* COMMENT: {}\n",
            codes.join(" "),
            comment(span, &source),
        );
        record = recorded;
    }
    Ok(text)
}

fn comment(span: &super::Span, source: &str) -> String {
    let tracks: Vec<String> = span.tracks.iter().map(u64::to_string).collect();
    let plural = if tracks.len() == 1 { "" } else { "S" };
    format!(
        "IDENTITY {}, TRACK{plural} {}, {source}",
        span.identity,
        tracks.join(" ")
    )
}

/// Eight characters, of letters and digits, as old machines want it.
fn reel(name: &str) -> String {
    let stem = name.rsplit('/').next().unwrap_or_default();
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    let known = stem.chars().filter(char::is_ascii_alphanumeric).take(8);
    match known.collect::<String>().to_ascii_uppercase() {
        none if none.is_empty() => "AX".to_owned(),
        reel => reel,
    }
}

/// On one line.
fn line(text: &str) -> String {
    super::printable(text)
}

fn timecode(frame: u64, base: u64) -> String {
    let (seconds, frame) = (frame / base, frame % base);
    format!(
        "{:02}:{:02}:{:02}:{frame:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::super::FrameRate;
    use super::super::tests::{span, timeline, two_people};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_a_sighting_one_behind_the_other() {
        assert_eq!(
            write(&two_people()).unwrap(),
            "TITLE: clip.mp4\nFCM: NON-DROP FRAME\n\n\
             001  CLIP     V     C        00:00:00:12 00:00:02:01 00:00:00:00 00:00:01:14\n\
             * FROM CLIP NAME: Ada <L> & \"Co\"\n* COMMENT: IDENTITY 1, TRACK 4, clip.mp4\n\n\
             002  CLIP     V     C        00:00:01:00 00:00:01:01 00:00:01:14 00:00:01:15\n\
             * FROM CLIP NAME: person 2\n* COMMENT: IDENTITY 2, TRACK 5, clip.mp4\n\n\
             003  CLIP     V     C        01:00:00:01 01:00:01:01 00:00:01:15 00:00:02:15\n\
             * FROM CLIP NAME: Ada <L> & \"Co\"\n* COMMENT: IDENTITY 1, TRACK 7, clip.mp4\n"
        );
    }

    #[test]
    fn drop_frame_rates_are_counted_in_whole_ones() {
        let mut late = timeline(vec![span(1, "", 1, (60_060, 60_060))]);
        late.media.rate = FrameRate::new(30_000.0 / 1001.0).unwrap();
        let text = write(&late).unwrap();
        assert!(text.contains(" 00:01:00:00 00:01:00:01 "), "{text}");
    }

    #[test]
    fn beyond_a_day_there_is_no_timecode() {
        let day_ms = DAY_S * 1000;
        let at = |ms| write(&timeline(vec![span(1, "", 1, (ms, ms))]));
        assert!(at(day_ms - 40).is_ok());
        assert_eq!(at(day_ms), Err(Unfit::TooLong));
        let half = || span(1, "", 1, (0, day_ms / 2));
        assert_eq!(write(&timeline(vec![half(), half()])), Err(Unfit::TooLong));
    }

    #[test]
    fn a_timecode_has_two_digits_for_frames() {
        let mut fast = two_people();
        fast.media.rate = FrameRate::new(100.0).unwrap();
        assert!(write(&fast).unwrap().contains(" 00:00:00:48 "));
        fast.media.rate = FrameRate::new(120.0).unwrap();
        assert_eq!(write(&fast), Err(Unfit::TooFast));
    }

    #[test]
    fn reels_are_short_and_plain() {
        assert_eq!(reel("/a/b.c/Über den Wolken 2.mov"), "BERDENWO");
        assert_eq!(reel("???"), "AX");
        assert_eq!(reel("cam1"), "CAM1");
    }

    /// The four timecodes of each event.
    fn events(text: &str) -> Vec<Vec<&str>> {
        let events = text.lines().filter(|line| line.contains(" V "));
        events
            .map(|line| line.split_whitespace().skip(4).collect())
            .collect()
    }

    proptest! {
        #[test]
        fn times_never_go_backwards(
            mut seen in prop::collection::vec((0u64..100_000, 0u64..9_000), 0..40),
            fps in 10.0f64..100.0,
        ) {
            seen.sort_unstable();
            let spans = seen.iter().map(|(at, length)| span(1, "a\n* b", 1, (*at, at + length)));
            let mut timeline = timeline(spans.collect());
            timeline.media.rate = FrameRate::new(fps).unwrap();
            let text = write(&timeline).unwrap();
            let events = events(&text);
            prop_assert_eq!(events.len(), timeline.spans.len());
            for event in &events {
                prop_assert!(event[0] < event[1] && event[2] < event[3], "{:?}", event);
            }
            for pair in events.windows(2) {
                prop_assert!(pair[0][0] <= pair[1][0] && pair[0][3] == pair[1][2]);
            }
        }
    }
}
