//! ELAN annotations, EAF 3.0: a tier a person, with an annotation a sighting. <https://www.mpi.nl/tools/elan/EAFv3.0.xsd>
use std::fmt::Write as _;

use prost_types::Timestamp;

use super::lanes::{Lane, lanes};
use super::{Timeline, printable, url};

const TYPE: &str = "sighting";

/// `author` and `made` go into the document's head.
pub(crate) fn write(timeline: &Timeline, author: &str, made: &Timestamp) -> String {
    let rate = timeline.media.rate;
    let lanes = lanes(&timeline.spans, |span| span.milliseconds(rate));
    let mut text = head(timeline, author, made);
    // ELAN wants the slots in the order of time; each annotation has two of its own.
    let parts = lanes.iter().flat_map(|lane| &lane.parts);
    let mut slots: Vec<u64> = parts.flat_map(|part| [part.start, part.end]).collect();
    slots.sort_unstable();
    text.push_str("  <TIME_ORDER>\n");
    for (number, at) in (1..).zip(&slots) {
        let _ = writeln!(
            text,
            "    <TIME_SLOT TIME_SLOT_ID=\"ts{number}\" TIME_VALUE=\"{at}\"/>"
        );
    }
    text.push_str("  </TIME_ORDER>\n");
    let mut free = FreeSlots::new(&slots);
    let mut annotations = 0;
    for lane in &lanes {
        tier(&mut text, lane, &mut free, &mut annotations);
    }
    let _ = write!(
        text,
        "  <LINGUISTIC_TYPE GRAPHIC_REFERENCES=\"false\" LINGUISTIC_TYPE_ID=\"{TYPE}\" TIME_ALIGNABLE=\"true\"/>\n\
         </ANNOTATION_DOCUMENT>\n"
    );
    text
}

fn head(timeline: &Timeline, author: &str, made: &Timestamp) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ANNOTATION_DOCUMENT AUTHOR=\"{}\" DATE=\"{made}\" FORMAT=\"3.0\" VERSION=\"3.0\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:noNamespaceSchemaLocation=\"http://www.mpi.nl/tools/elan/EAFv3.0.xsd\">\n  \
         <HEADER MEDIA_FILE=\"\" TIME_UNITS=\"milliseconds\">\n    \
         <MEDIA_DESCRIPTOR MEDIA_URL=\"{}\" MIME_TYPE=\"{}\"/>\n    \
         <PROPERTY NAME=\"lastUsedAnnotationId\">{}</PROPERTY>\n  \
         </HEADER>\n",
        escaped(author),
        escaped(&url(&timeline.media.uri)),
        mime(&timeline.media.uri),
        timeline.spans.len(),
    )
}

fn tier(text: &mut String, lane: &Lane<'_>, free: &mut FreeSlots<'_>, annotations: &mut u64) {
    let _ = writeln!(
        text,
        "  <TIER LINGUISTIC_TYPE_REF=\"{TYPE}\" TIER_ID=\"{}\">",
        escaped(&lane.name)
    );
    for part in &lane.parts {
        *annotations += 1;
        let (from, to) = (free.take(part.start), free.take(part.end));
        let _ = writeln!(
            text,
            "    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID=\"a{annotations}\" \
             TIME_SLOT_REF1=\"ts{from}\" TIME_SLOT_REF2=\"ts{to}\">\
             <ANNOTATION_VALUE>{}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>",
            escaped(&part.span.label())
        );
    }
    text.push_str("  </TIER>\n");
}

/// Slots by their time, each to be taken once.
struct FreeSlots<'a> {
    sorted: &'a [u64],
    /// How many of those at the time of the slot at this place are taken.
    taken: Vec<usize>,
}

impl<'a> FreeSlots<'a> {
    fn new(sorted: &'a [u64]) -> Self {
        let taken = vec![0; sorted.len()];
        Self { sorted, taken }
    }

    /// The number, from 1, of a slot at this time.
    fn take(&mut self, at: u64) -> usize {
        let first = self.sorted.partition_point(|slot| *slot < at);
        self.taken[first] += 1;
        first + self.taken[first]
    }
}

/// By the file's name, in the types that ELAN knows.
fn mime(uri: &str) -> &'static str {
    let extension = uri.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "mp4" | "m4v" => "video/mp4",
        "mpg" | "mpeg" => "video/mpeg",
        "mov" | "qt" => "video/quicktime",
        _ => "video/*",
    }
}

/// For text and attributes; what XML cannot hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, timeline, two_people};
    use super::*;
    use proptest::prelude::*;

    const MADE: Timestamp = Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    };

    #[test]
    fn a_tier_a_person() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="ops" DATE="2023-11-14T22:13:20Z" FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///videos/my%20clip.mp4" MIME_TYPE="video/mp4"/>
    <PROPERTY NAME="lastUsedAnnotationId">3</PROPERTY>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="480"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1040"/>
    <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2040"/>
    <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="3600040"/>
    <TIME_SLOT TIME_SLOT_ID="ts6" TIME_VALUE="3601040"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="sighting" TIER_ID="Ada &lt;L&gt; &amp; &quot;Co&quot;">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts4"><ANNOTATION_VALUE>Ada &lt;L&gt; &amp; &quot;Co&quot;</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts6"><ANNOTATION_VALUE>Ada &lt;L&gt; &amp; &quot;Co&quot;</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="sighting" TIER_ID="person 2">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3"><ANNOTATION_VALUE>person 2</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="sighting" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"#;
        assert_eq!(write(&two_people(), "ops", &MADE), expected);
    }

    fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
        let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap()
    }

    fn slots(text: &str) -> Vec<u64> {
        let slots = text.lines().filter(|line| line.contains("<TIME_SLOT "));
        let time = |line: &str| attribute(line, "TIME_VALUE").parse().unwrap();
        slots.map(time).collect()
    }

    /// The numbers of the two slots of an annotation.
    fn references(line: &str) -> [usize; 2] {
        ["TIME_SLOT_REF1", "TIME_SLOT_REF2"].map(|name| attribute(line, name)[2..].parse().unwrap())
    }

    proptest! {
        /// Slots ascend, each is used once, and annotations of a tier come one behind the other.
        #[test]
        fn annotations_of_a_tier_never_overlap(
            mut seen in prop::collection::vec((1u64..4, 0u64..2_000, 0u64..500), 0..40),
        ) {
            seen.sort_by_key(|it| it.1);
            let one = |(identity, at, length): &(u64, u64, u64)| {
                span(*identity, "<&\u{1}\">", *at, (*at, at + length))
            };
            let text = write(&timeline(seen.iter().map(one).collect()), "", &MADE);
            let slots = slots(&text);
            prop_assert!(slots.is_sorted());
            let mut used = std::collections::HashSet::new();
            let mut last = 0;
            for line in text.lines() {
                if line.contains("<TIER ") {
                    last = 0;
                }
                if line.contains("<ALIGNABLE_ANNOTATION ") {
                    let [from, to] = references(line);
                    prop_assert!(used.insert(from) && used.insert(to));
                    prop_assert!(last <= slots[from - 1] && slots[from - 1] < slots[to - 1]);
                    last = slots[to - 1];
                }
            }
            prop_assert_eq!(used.len(), slots.len());
            prop_assert_eq!(slots.len(), seen.len() * 2);
            let held = text.contains('\u{1}');
            prop_assert!(!held);
        }
    }
}
