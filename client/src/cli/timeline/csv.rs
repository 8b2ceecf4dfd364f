//! A table, a row a sighting; quoted after RFC 4180.
use std::fmt::Write as _;
use std::time::Duration;

use super::Timeline;

const HEAD: &str =
    "identity,name,track,source,start_s,end_s,start_frame,end_frame,wall_start,cosine\n";

/// Times and frames are those of the first and of the last frame, as recorded. Joined tracks stand in one field,
/// with blanks between them; a person without a name has none here.
pub(crate) fn write(timeline: &Timeline) -> String {
    let mut text = HEAD.to_owned();
    for span in &timeline.spans {
        let tracks: Vec<String> = span.tracks.iter().map(u64::to_string).collect();
        let wall = span.wall_start.as_ref().map(ToString::to_string);
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{}",
            span.identity,
            field(&span.name),
            tracks.join(" "),
            timeline.media.id,
            seconds(span.first),
            seconds(span.last),
            span.first_frame,
            span.last_frame,
            wall.unwrap_or_default(),
            span.cosine,
        );
    }
    text
}

/// To the microsecond, as recorded.
fn seconds(at: Duration) -> String {
    format!("{}.{:06}", at.as_secs(), at.subsec_micros())
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, timeline, two_people};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_a_sighting() {
        let mut people = two_people();
        people.spans[2].wall_start = Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        });
        people.spans[1].tracks.push(6);
        assert_eq!(
            write(&people),
            "identity,name,track,source,start_s,end_s,start_frame,end_frame,wall_start,cosine\n\
             1,\"Ada <L> & \"\"Co\"\"\",4,3,0.480000,2.000000,12,50,,0\n\
             2,,5 6,3,1.000000,1.000000,25,25,,0\n\
             1,\"Ada <L> & \"\"Co\"\"\",7,3,3600.040000,3601.000000,90001,90025,2023-11-14T22:13:20Z,0.742\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_the_name_it_comes_back(name in "[a,\"\n\r ü]{0,8}") {
            let text = write(&timeline(vec![span(1, &name, 1, (0, 40))]));
            let rows = crate::cli::csv::rows(&text).unwrap();
            prop_assert_eq!(rows.len(), 2);
            prop_assert_eq!(rows[1].1.len(), 10);
            prop_assert_eq!(&rows[1].1[1], &name);
        }
    }
}
