//! WebVTT captions: a cue a sighting, with the person's name. <https://www.w3.org/TR/webvtt1/>
use std::fmt::Write as _;

use super::Timeline;

/// A cue's identifier is its (first) track.
pub(crate) fn write(timeline: &Timeline) -> String {
    let mut text = "WEBVTT\n".to_owned();
    for span in &timeline.spans {
        let (start, end) = span.milliseconds(timeline.media.rate);
        let name = escaped(&span.label());
        // Behind a dash the tag's end would be read as an arrow; blanks there mean nothing.
        let guard = if name.ends_with('-') { " " } else { "" };
        let _ = write!(
            text,
            "\n{}\n{} --> {}\n<v {name}{guard}>{name}</v>\n",
            span.tracks[0],
            clock(start),
            clock(end),
        );
    }
    text
}

/// `00:00:12.480`; more than two digits of hours from 100 hours on.
fn clock(ms: u64) -> String {
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    format!(
        "{hours:02}:{minutes:02}:{:02}.{:03}",
        ms / 1000 % 60,
        ms % 1000
    )
}

/// A label holds no line breaks; without `>` it holds no `-->` either.
fn escaped(label: &str) -> String {
    label
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, timeline, two_people};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cue_a_sighting() {
        assert_eq!(
            write(&two_people()),
            "WEBVTT\n\n\
             4\n00:00:00.480 --> 00:00:02.040\n\
             <v Ada &lt;L&gt; &amp; \"Co\">Ada &lt;L&gt; &amp; \"Co\"</v>\n\n\
             5\n00:00:01.000 --> 00:00:01.040\n<v person 2>person 2</v>\n\n\
             7\n01:00:00.040 --> 01:00:01.040\n\
             <v Ada &lt;L&gt; &amp; \"Co\">Ada &lt;L&gt; &amp; \"Co\"</v>\n"
        );
        assert_eq!(write(&timeline(Vec::new())), "WEBVTT\n");
        assert_eq!(clock(360_000_001), "100:00:00.001");
    }

    #[test]
    fn a_name_that_ends_with_dashes_is_no_arrow() {
        let text = write(&timeline(vec![span(1, "--", 1, (0, 40))]));
        assert!(text.ends_with("\n<v -- >--</v>\n"), "{text}");
    }

    proptest! {
        #[test]
        fn a_name_is_never_a_cue(name in "[->\n\r<&a ]{0,6}") {
            let text = write(&timeline(vec![span(1, &name, 1, (0, 40))]));
            prop_assert_eq!(text.matches("-->").count(), 1);
            prop_assert_eq!(text.lines().count(), 5);
            prop_assert!(!text.contains('\r'));
        }
    }
}
