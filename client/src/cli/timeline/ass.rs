//! Advanced SubStation Alpha (`.ass`): a box around each face, with the person's name above it, for players and for
//! FFmpeg's filter of that name.
//!
//! Places are pixels of the script's resolution, which players scale to the picture's.
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{Media, Span, Timeline};

/// A box is held until its track's next one, but no longer than this.
const HELD_MAX: Duration = Duration::from_secs(1);
/// Blue, green, red: colours that most eyes tell apart, after Okabe and Ito, "Color Universal Design", 2008.
const COLOURS: [&str; 7] = [
    "009FE6", "E9B456", "739E00", "42E4F0", "B27200", "005ED5", "A779CC",
];

/// A face of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Stream time.
    pub(crate) at: Duration,
    /// Left, top, width and height as fractions of the picture.
    pub(crate) rect: [f32; 4],
}

/// `faces`: of each track, in any order. A span without any is a line at the bottom of the picture.
pub(crate) fn write(timeline: &Timeline, faces: &HashMap<u64, Vec<Seen>>) -> String {
    let media = &timeline.media;
    let mut text = head(timeline);
    let mut lines = Vec::new();
    for span in &timeline.spans {
        let tracks = span.tracks.iter().filter_map(|track| faces.get(track));
        let boxes: Vec<Shown> = tracks
            .flat_map(|seen| shown(seen, span.until(media.rate), media))
            .collect();
        for shown in &boxes {
            lines.push((shown.from, boxed(span, shown)));
            lines.push((shown.from, named(span, shown, media.size.1)));
        }
        if boxes.is_empty() {
            let (from, to) = (
                centiseconds(span.first),
                centiseconds(span.until(media.rate)),
            );
            let shown = (from, to.max(from.saturating_add(1)));
            lines.push((from, event(2, shown, "Caption", span, "")));
        }
    }
    // Players take any order; people who read the file like time.
    lines.sort_by_key(|(from, _)| *from);
    for (_, line) in &lines {
        text.push_str(line);
    }
    text
}

fn head(timeline: &Timeline) -> String {
    let (width, height) = timeline.media.size;
    let (size, margin) = (font_size(height), height / 40);
    let style = |name: &str, fill: &str, alignment: u32, outline: u32| {
        format!(
            "Style: {name},Sans,{size},{fill},{fill},&H00000000,&H00000000,-1,0,0,0,100,100,0,0,1,{outline},0,\
             {alignment},{margin},{margin},{margin},1\n"
        )
    };
    let thin = (height / 240).max(1);
    format!(
        "[Script Info]\n\
         Title: {}\n\
         ScriptType: v4.00+\n\
         PlayResX: {width}\n\
         PlayResY: {height}\n\
         WrapStyle: 2\n\
         ScaledBorderAndShadow: yes\n\n\
         [V4+ Styles]\n\
         Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
         Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
         MarginR, MarginV, Encoding\n\
         {}{}{}\n\
         [Events]\n\
         Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n",
        super::printable(&timeline.media.name),
        style("Box", "&HFF000000", 7, thin),
        style("Name", "&H00FFFFFF", 1, thin),
        style("Caption", "&H00FFFFFF", 2, thin),
    )
}

fn font_size(height: u32) -> u32 {
    (height / 30).max(10)
}

/// A box, and for how long it is shown: centiseconds, the end exclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    from: u64,
    to: u64,
    /// Left, top, width and height in whole pixels, at the begin and at the end.
    rect: [f32; 4],
    next: [f32; 4],
}

/// What is shown of one track, one box after the other; what does not move to the pixel is one.
///
/// Detectors look at some frames, so that between two boxes nothing is known: there one becomes the other steadily. The
/// last one stays until `over`, when the track is.
fn shown(seen: &[Seen], over: Duration, media: &Media) -> Vec<Shown> {
    let mut seen: Vec<Seen> = seen.iter().copied().filter(is_sound).collect();
    seen.sort_by_key(|face| face.at);
    let mut all: Vec<Shown> = Vec::new();
    for (number, face) in seen.iter().enumerate() {
        let most = face.at.saturating_add(HELD_MAX);
        let next = seen.get(number + 1).filter(|next| next.at <= most);
        let until = match (next, seen.get(number + 1)) {
            (Some(next), _) => next.at,
            (None, Some(_)) => most,
            (None, None) => over.min(most).max(face.at + media.rate.frame()),
        };
        let one = Shown {
            from: centiseconds(face.at),
            to: centiseconds(until),
            rect: pixels(&face.rect, media.size),
            next: pixels(&next.unwrap_or(face).rect, media.size),
        };
        let still = |one: &Shown| one.rect == one.next;
        match all.last_mut() {
            // Two within a centisecond: the last of them is shown.
            _ if one.from >= one.to => {}
            Some(last)
                if last.to == one.from && still(last) && still(&one) && last.rect == one.rect =>
            {
                last.to = one.to;
            }
            Some(_) | None => all.push(one),
        }
    }
    all
}

fn is_sound(face: &Seen) -> bool {
    let [_, _, width, height] = face.rect;
    // Far outside of the picture is no place; what lies partly outside is.
    let near = face.rect.iter().all(|value| (-10.0..=10.0).contains(value));
    near && width > 0.0 && height > 0.0
}

fn pixels(rect: &[f32; 4], (width, height): (u32, u32)) -> [f32; 4] {
    let scale = [width, height, width, height].map(|side| side as f32);
    // Adding 0 makes -0, which is written with its sign, 0.
    std::array::from_fn(|side| (rect[side] * scale[side]).round() + 0.0)
}

/// Rounded down: whoever shows a frame at its own time, to the millisecond, shows the frame's box with it.
fn centiseconds(at: Duration) -> u64 {
    u64::try_from(at.as_millis() / 10).unwrap_or(u64::MAX)
}

fn boxed(span: &Span, shown: &Shown) -> String {
    let ([left, top, width, height], next) = (shown.rect, shown.next);
    let place = place((left, top), (next[0], next[1]));
    let grown = if (width, height) == (next[2], next[3]) {
        String::new()
    } else {
        let percent = |before: f32, after: f32| after / before.max(1.0) * 100.0;
        let (x, y) = (percent(width, next[2]), percent(height, next[3]));
        format!("\\t(\\fscx{x:.1}\\fscy{y:.1})")
    };
    let drawing = format!(
        "{{{place}{grown}\\3c&H{}&\\p1}}m 0 0 l {width} 0 {width} {height} 0 {height}{{\\p0}}",
        colour(span.identity)
    );
    line(0, (shown.from, shown.to), "Box", span, &drawing)
}

/// Above the box; below it where there is no room.
fn named(span: &Span, shown: &Shown, picture_height: u32) -> String {
    let gap = (picture_height as f32 / 180.0).round();
    let room = font_size(picture_height) as f32 + gap;
    let below = shown.rect[1].min(shown.next[1]) < room;
    let corner = |[left, top, _, height]: [f32; 4]| match below {
        true => (left, top + height + gap),
        false => (left, top - gap),
    };
    let alignment = if below { "\\an7" } else { "" };
    let place = place(corner(shown.rect), corner(shown.next));
    let shown = (shown.from, shown.to);
    event(1, shown, "Name", span, &format!("{alignment}{place}"))
}

/// There, or on the way from there to there as long as the line is shown.
fn place(from: (f32, f32), to: (f32, f32)) -> String {
    if from == to {
        format!("\\pos({},{})", from.0, from.1)
    } else {
        format!("\\move({},{},{},{})", from.0, from.1, to.0, to.1)
    }
}

fn event(layer: u32, shown: (u64, u64), style: &str, span: &Span, place: &str) -> String {
    let text = format!(
        "{{{place}\\1c&H{}&}}{}",
        colour(span.identity),
        escaped(&span.label())
    );
    line(layer, shown, style, span, &text)
}

fn line(layer: u32, (from, to): (u64, u64), style: &str, span: &Span, text: &str) -> String {
    let mut line = String::new();
    let _ = writeln!(
        line,
        "Dialogue: {layer},{},{},{style},identity {},0,0,0,,{text}",
        clock(from),
        clock(to),
        span.identity
    );
    line
}

fn colour(identity: u64) -> &'static str {
    let number = usize::try_from(identity % COLOURS.len() as u64).unwrap_or_default();
    COLOURS[number]
}

/// `0:00:12.48`.
fn clock(cs: u64) -> String {
    format!(
        "{}:{:02}:{:02}.{:02}",
        cs / 360_000,
        cs / 6000 % 60,
        cs / 100 % 60,
        cs % 100
    )
}

/// Braces are escaped. A backslash cannot be: a word joiner, which is not seen, keeps it from what follows.
fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\u{2060}")
        .replace('{', "\\{")
        .replace('}', "\\}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{span, timeline, two_people};
    use super::*;
    use proptest::prelude::*;

    fn face(ms: u64, left: f32) -> Seen {
        Seen {
            at: Duration::from_millis(ms),
            rect: [left, 0.5, 0.25, 0.25],
        }
    }

    fn events(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|line| line.starts_with("Dialogue: "))
            .collect()
    }

    #[test]
    fn a_box_and_a_name_for_each_face() {
        let timeline = timeline(vec![span(1, "Ada", 4, (480, 600))]);
        let mut last = face(560, 0.5);
        last.rect[2] = 0.375;
        let faces = HashMap::from([(
            4,
            vec![last, face(440, 0.25), face(480, 0.25), face(400, 0.25)],
        )]);
        let text = write(&timeline, &faces);
        assert!(text.starts_with(
            "[Script Info]\nTitle: clip.mp4\nScriptType: v4.00+\nPlayResX: 640\nPlayResY: 480\n"
        ));
        assert_eq!(
            events(&text),
            [
                "Dialogue: 0,0:00:00.40,0:00:00.48,Box,identity 1,0,0,0,,\
                 {\\pos(160,240)\\3c&HE9B456&\\p1}m 0 0 l 160 0 160 120 0 120{\\p0}",
                "Dialogue: 1,0:00:00.40,0:00:00.48,Name,identity 1,0,0,0,,{\\pos(160,237)\\1c&HE9B456&}Ada",
                "Dialogue: 0,0:00:00.48,0:00:00.56,Box,identity 1,0,0,0,,\
                 {\\move(160,240,320,240)\\t(\\fscx150.0\\fscy100.0)\\3c&HE9B456&\\p1}\
                 m 0 0 l 160 0 160 120 0 120{\\p0}",
                "Dialogue: 1,0:00:00.48,0:00:00.56,Name,identity 1,0,0,0,,\
                 {\\move(160,237,320,237)\\1c&HE9B456&}Ada",
                "Dialogue: 0,0:00:00.56,0:00:00.64,Box,identity 1,0,0,0,,\
                 {\\pos(320,240)\\3c&HE9B456&\\p1}m 0 0 l 240 0 240 120 0 120{\\p0}",
                "Dialogue: 1,0:00:00.56,0:00:00.64,Name,identity 1,0,0,0,,{\\pos(320,237)\\1c&HE9B456&}Ada",
            ]
        );
    }

    #[test]
    fn without_boxes_there_are_names() {
        let text = write(&two_people(), &HashMap::new());
        assert_eq!(
            events(&text)[1..],
            [
                "Dialogue: 2,0:00:01.00,0:00:01.04,Caption,identity 2,0,0,0,,{\\1c&H739E00&}person 2",
                "Dialogue: 2,1:00:00.04,1:00:01.04,Caption,identity 1,0,0,0,,{\\1c&HE9B456&}Ada <L> & \"Co\"",
            ]
        );
    }

    #[test]
    fn a_name_has_room_and_its_braces_are_no_commands() {
        let timeline = timeline(vec![span(1, "A{\\b1}\\N", 4, (0, 0))]);
        let mut high = face(0, 0.0);
        high.rect[1] = -0.01;
        let text = write(&timeline, &HashMap::from([(4, vec![high])]));
        let name = events(&text)[1];
        assert!(
            name.ends_with(",,{\\an7\\pos(0,118)\\1c&HE9B456&}A\\{\\\u{2060}b1\\}\\\u{2060}N"),
            "{name}"
        );
    }

    #[test]
    fn a_box_is_held_for_a_while() {
        let mut media = timeline(Vec::new()).media;
        media.size = (100, 100);
        let seen = [
            face(0, 0.0),
            face(5000, 0.1),
            face(5200, 0.2),
            face(5204, 0.3),
        ];
        let times = shown(&seen, Duration::ZERO, &media).into_iter();
        let times = times.map(|it| (it.from, it.to, it.rect[0], it.next[0]));
        assert_eq!(
            times.collect::<Vec<_>>(),
            [
                (0, 100, 0.0, 0.0),
                (500, 520, 10.0, 20.0),
                (520, 524, 30.0, 30.0)
            ]
        );
        let until = |over| shown(&seen, Duration::from_millis(over), &media)[2].to;
        assert_eq!((until(5600), until(9000)), (560, 620));
    }

    #[test]
    fn boxes_that_are_none_are_left_out() {
        let timeline = timeline(vec![span(1, "Ada", 4, (0, 40))]);
        for wrong in [f32::NAN, f32::INFINITY, 1e30] {
            let mut bad = face(0, 0.0);
            bad.rect[1] = wrong;
            let text = write(&timeline, &HashMap::from([(4, vec![bad])]));
            assert!(events(&text)[0].contains(",Caption,"), "{text}");
        }
    }

    proptest! {
        /// Of one track, one box at a time, each for some time.
        #[test]
        fn times_never_go_backwards(
            seen in prop::collection::vec((0u64..20_000, 0u8..3), 0..60),
        ) {
            let seen: Vec<Seen> = seen.iter().map(|(ms, left)| face(*ms, f32::from(*left))).collect();
            let all = shown(&seen, Duration::ZERO, &timeline(Vec::new()).media);
            prop_assert!(all.iter().all(|one| one.from < one.to));
            prop_assert!(all.windows(2).all(|pair| pair[0].to <= pair[1].from));
            prop_assert_eq!(all.is_empty(), seen.is_empty());
        }

        #[test]
        fn no_name_breaks_a_line(name in "[{}\\\\n,a\n\r]{0,8}") {
            let text = write(&timeline(vec![span(1, &name, 1, (0, 40))]), &HashMap::new());
            prop_assert_eq!(events(&text).len(), 1);
            let shown = events(&text)[0].splitn(10, ',').nth(9).unwrap();
            let plain = shown.strip_prefix("{\\1c&HE9B456&}").unwrap();
            let bare = plain.replace("\\{", "").replace("\\}", "");
            let opened = bare.contains(['{', '}']);
            prop_assert!(!opened);
        }
    }
}
