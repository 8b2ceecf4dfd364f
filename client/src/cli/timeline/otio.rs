//! OpenTimelineIO: a track a person, with a clip a sighting and gaps between. <https://opentimelineio.readthedocs.io>
use serde_json::{Value, json};

use super::lanes::{Lane, lanes};
use super::{Span, Timeline, url};

/// A JSON document of the schemas `Timeline.1`, `Stack.1`, `Track.1`, `Clip.1`, `Gap.1` and `ExternalReference.1`,
/// which every version of the library reads.
pub(crate) fn write(timeline: &Timeline) -> String {
    let rate = timeline.media.rate;
    let lanes = lanes(&timeline.spans, |span| span.frames(rate));
    let tracks: Vec<Value> = lanes.iter().map(|lane| track(timeline, lane)).collect();
    let document = json!({
        "OTIO_SCHEMA": "Timeline.1",
        "name": timeline.media.name,
        "global_start_time": null,
        "metadata": {"rollcall": {"source": timeline.media.id}},
        "tracks": {
            "OTIO_SCHEMA": "Stack.1",
            "name": "tracks",
            "source_range": null,
            "metadata": {},
            "effects": [],
            "markers": [],
            "children": tracks,
        },
    });
    // `{:#}` of a value is its JSON, indented.
    format!("{document:#}\n")
}

fn track(timeline: &Timeline, lane: &Lane<'_>) -> Value {
    let mut children = Vec::new();
    let mut at = 0;
    for part in &lane.parts {
        if part.start > at {
            children.push(gap(timeline, part.start - at));
        }
        children.push(clip(timeline, part.span, (part.start, part.end)));
        at = part.end;
    }
    json!({
        "OTIO_SCHEMA": "Track.1",
        "name": lane.name,
        "kind": "Video",
        "source_range": null,
        "metadata": {},
        "effects": [],
        "markers": [],
        "children": children,
    })
}

fn clip(timeline: &Timeline, span: &Span, frames: (u64, u64)) -> Value {
    let rate = timeline.media.rate;
    let available = timeline.media.duration.map(|duration| {
        // A clip never lies outside its media, whatever was rounded.
        let end = rate.frame_at(duration).max(frames.1);
        range(timeline, (0, end))
    });
    json!({
        "OTIO_SCHEMA": "Clip.1",
        "name": span.label(),
        "source_range": range(timeline, frames),
        "metadata": {"rollcall": {
            "identity": span.identity,
            "tracks": span.tracks,
            "cosine": short(span.cosine),
        }},
        "effects": [],
        "markers": [],
        "media_reference": {
            "OTIO_SCHEMA": "ExternalReference.1",
            "name": timeline.media.name,
            "target_url": url(&timeline.media.uri),
            "available_range": available,
            "metadata": {},
        },
    })
}

fn gap(timeline: &Timeline, frames: u64) -> Value {
    json!({
        "OTIO_SCHEMA": "Gap.1",
        "name": "",
        "source_range": range(timeline, (0, frames)),
        "metadata": {},
        "effects": [],
        "markers": [],
    })
}

fn range(timeline: &Timeline, (start, end): (u64, u64)) -> Value {
    let time = |frames: u64| {
        json!({
            "OTIO_SCHEMA": "RationalTime.1",
            "rate": timeline.media.rate.get(),
            "value": frames as f64,
        })
    };
    json!({
        "OTIO_SCHEMA": "TimeRange.1",
        "start_time": time(start),
        "duration": time(end - start),
    })
}

/// As few digits as tell it from other values of its kind.
fn short(cosine: f32) -> f64 {
    cosine.to_string().parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, timeline, two_people};
    use super::*;

    fn parsed(timeline: &Timeline) -> Value {
        serde_json::from_str(&write(timeline)).unwrap()
    }

    /// Schema, start and length of each child of a track.
    fn children(track: &Value) -> Vec<(String, f64, f64)> {
        let children = track["children"].as_array().unwrap().iter();
        let short = |child: &Value| {
            let schema = child["OTIO_SCHEMA"].as_str().unwrap().to_owned();
            let value = |name: &str| child["source_range"][name]["value"].as_f64().unwrap();
            (schema, value("start_time"), value("duration"))
        };
        children.map(short).collect()
    }

    #[test]
    fn a_track_a_person() {
        let all = parsed(&two_people());
        let tracks = all["tracks"]["children"].as_array().unwrap();
        let names: Vec<&str> = tracks.iter().map(|t| t["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["Ada <L> & \"Co\"", "person 2"]);
        let (clip, gap) = ("Clip.1".to_owned(), "Gap.1".to_owned());
        assert_eq!(
            children(&tracks[0]),
            [
                (gap.clone(), 0.0, 12.0),
                (clip.clone(), 12.0, 39.0),
                (gap.clone(), 0.0, 89_950.0),
                (clip.clone(), 90_001.0, 25.0)
            ]
        );
        assert_eq!(children(&tracks[1]), [(gap, 0.0, 25.0), (clip, 25.0, 1.0)]);
    }

    #[test]
    fn a_clip_says_where_it_is_from_and_who_it_is() {
        let all = parsed(&timeline(vec![{
            let mut ada = span(1, "Ada", 4, (0, 960));
            ada.cosine = 0.742;
            ada
        }]));
        let clip = &all["tracks"]["children"][0]["children"][0];
        let time =
            |value: f64| json!({"OTIO_SCHEMA": "RationalTime.1", "rate": 25.0, "value": value});
        let range = |length: f64| json!({"OTIO_SCHEMA": "TimeRange.1", "start_time": time(0.0), "duration": time(length)});
        assert_eq!(
            *clip,
            json!({
                "OTIO_SCHEMA": "Clip.1",
                "name": "Ada",
                "source_range": range(25.0),
                "metadata": {"rollcall": {"identity": 1, "tracks": [4], "cosine": 0.742}},
                "effects": [],
                "markers": [],
                "media_reference": {
                    "OTIO_SCHEMA": "ExternalReference.1",
                    "name": "clip.mp4",
                    "target_url": "file:///videos/my%20clip.mp4",
                    "available_range": range(1500.0),
                    "metadata": {},
                },
            })
        );
    }

    #[test]
    fn a_person_seen_twice_at_once_has_two_tracks_that_begin_together() {
        let spans = vec![span(1, "Ada", 1, (0, 960)), span(1, "Ada", 2, (480, 520))];
        let all = parsed(&timeline(spans));
        let tracks = all["tracks"]["children"].as_array().unwrap();
        assert_eq!(tracks[1]["name"], "Ada (2)");
        assert_eq!(children(&tracks[1])[0], ("Gap.1".to_owned(), 0.0, 12.0));
    }
}
