//! Capture of files: clips made by the `ffmpeg` program, whole, damaged, and none at all.
#![cfg(feature = "media")]

mod clips;

use std::{path::Path, time::Duration};

use clips::{CLIP, difference, ffmpeg, read, read_from, read_mode};
use rollcall_ingest::{
    Picture,
    observe::{FaultReason, FrameNo, MediaTime, ResumePoint},
    source::{DecodeMode, FrameStamp},
};

#[test]
fn every_frame_comes_once_with_its_number_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let seen = read(&ffmpeg(CLIP, &folder.path().join("clip.mp4")));
    assert_eq!((seen.frames(), &seen.end), (50, &Ok(None)));
    for (i, stamp) in (0u64..).zip(&seen.stamps) {
        assert_eq!(stamp.number, FrameNo::new(i));
        assert_eq!(stamp.time.micros(), i64::try_from(i).unwrap() * 40_000);
        assert_eq!(stamp.wall.unix_micros(), 1_000_000 + stamp.time.micros());
    }
    let media = seen.media.unwrap();
    assert_eq!(
        (media.width, media.height, media.codec.as_str()),
        (160, 120, "h264")
    );
    assert_eq!(
        (media.frames_per_second, media.duration),
        (25.0, Some(Duration::from_secs(2)))
    );
}

#[test]
fn reading_from_the_middle_gives_the_very_same_frames() {
    let folder = tempfile::tempdir().unwrap();
    let long = "-f lavfi -i testsrc=size=160x120:rate=25:duration=8 -pix_fmt yuv420p -g 25 -bf 2";
    for name in ["clip.mp4", "clip.mkv", "clip.ts"] {
        let clip = ffmpeg(&format!("{long} -c:v libx264"), &folder.path().join(name));
        let whole = read(&clip);
        assert_eq!(whole.frames(), 200, "{name}");
        for at in [0, 1, 60, 137, 199] {
            let stamp = whole.stamps[at];
            let point = ResumePoint {
                time: stamp.time,
                frame: stamp.number,
            };
            let rest = read_from(clip.to_str().unwrap(), Some(point));
            let pairs = |s: &clips::Seen| {
                s.stamps
                    .iter()
                    .map(|s| (s.number, s.time))
                    .collect::<Vec<_>>()
            };
            assert_eq!(pairs(&rest), pairs(&whole)[at..], "{name} from {at}");
            assert!(
                rest.pictures == whole.pictures[at..],
                "{name} from {at}: other pixels"
            );
        }
        let past = ResumePoint {
            time: MediaTime::from_micros(60_000_000),
            frame: FrameNo::new(200),
        };
        assert_eq!(read_from(clip.to_str().unwrap(), Some(past)).frames(), 0);
    }
}

#[test]
fn key_frames_have_the_numbers_and_pixels_that_they_have_among_all() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = CLIP.replace("duration=2", "duration=6");
    for name in ["clip.mp4", "clip.mkv", "clip.ts"] {
        let clip = ffmpeg(
            &format!("{fixed} -sc_threshold 0"),
            &folder.path().join(name),
        );
        let (all, key) = (read(&clip), read_mode(&clip, DecodeMode::KeyFrames, None));
        let numbers: Vec<u64> = key.stamps.iter().map(|s| s.number.get()).collect();
        assert_eq!(
            numbers,
            (0..15).map(|i| 10 * i).collect::<Vec<_>>(),
            "{name}"
        );
        for (at, stamp) in key.stamps.iter().enumerate() {
            assert_eq!(*stamp, all.stamps[10 * at], "{name}");
            assert!(key.pictures[at] == all.pictures[10 * at], "{name}");
        }
        let point = ResumePoint {
            time: key.stamps[9].time,
            frame: key.stamps[9].number,
        };
        let rest = read_mode(&clip, DecodeMode::KeyFrames, Some(point));
        let numbers: Vec<u64> = rest.stamps.iter().map(|s| s.number.get()).collect();
        assert_eq!(numbers, [90, 100, 110, 120, 130, 140], "{name}");
    }
}

#[test]
fn frames_that_others_refer_to_have_their_numbers_and_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let fixed = CLIP
        .replace("duration=2", "duration=6")
        .replace("-bf 2", "-bf 3 -b_strategy 0");
    // A camera in the dark: some pictures are shown for longer.
    let uneven = "-vf select=lt(mod(n\\,7)\\,4) -vsync vfr -sc_threshold 0";
    for (name, more) in [
        ("clip.mp4", ""),
        ("clip.ts", ""),
        ("flat.mp4", "-x264-params b-pyramid=none"),
        ("uneven.mp4", uneven),
        ("uneven.mkv", uneven),
    ] {
        let clip = ffmpeg(&format!("{fixed} {more}"), &folder.path().join(name));
        let all = read(&clip);
        let seen = read_mode(&clip, DecodeMode::Referenced, None);
        let count = seen.frames();
        assert!(
            count < all.frames() * 3 / 4,
            "{name}: {count} of {}",
            all.frames()
        );
        let same = |stamp: &FrameStamp, picture: &Picture| {
            let at = usize::try_from(stamp.number.get()).unwrap();
            assert_eq!(*stamp, all.stamps[at], "{name}");
            assert!(*picture == all.pictures[at], "{name}: {at}");
        };
        for (stamp, picture) in seen.stamps.iter().zip(&seen.pictures) {
            same(stamp, picture);
        }
        let from = seen.stamps[count * 2 / 3];
        let point = ResumePoint {
            time: from.time,
            frame: from.number,
        };
        let rest = read_mode(&clip, DecodeMode::Referenced, Some(point));
        let numbers = |stamps: &[FrameStamp]| stamps.iter().map(|s| s.number).collect::<Vec<_>>();
        assert_eq!(
            numbers(&rest.stamps),
            numbers(&seen.stamps[count * 2 / 3..]),
            "{name}"
        );
    }
}

#[test]
fn what_is_no_video_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let check = |path: &Path, reason: FaultReason| {
        let seen = read(path);
        assert_eq!(
            (seen.frames(), seen.end),
            (0, Err(reason)),
            "{}",
            seen.message
        );
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            seen.message.contains(name) && !seen.message.contains("moov"),
            "{}",
            seen.message
        );
    };
    check(&folder.path().join("gone.mp4"), FaultReason::FileNotFound);
    check(
        &make("text.mp4", "Call me Ishmael. ".repeat(500).as_bytes()),
        FaultReason::NotAVideo,
    );
    check(&make("zero.mp4", b""), FaultReason::NotAVideo);
    check(
        &make(
            "noise.mp4",
            &(0..9000u32)
                .map(|i| ((i * i) >> 3).to_le_bytes()[0])
                .collect::<Vec<_>>(),
        ),
        FaultReason::NotAVideo,
    );
    check(
        &make("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"),
        FaultReason::NotAVideo,
    );
    check(
        &make("list.mp4", b"ffconcat version 1.0\nfile /etc/hostname\n"),
        FaultReason::NotAVideo,
    );
    let sound = "-f lavfi -i sine=duration=1 -c:a aac";
    check(
        &ffmpeg(sound, &folder.path().join("sound.m4a")),
        FaultReason::NoPictureStream,
    );
}

#[test]
fn a_cut_off_file_gives_what_it_has_and_says_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let cut = |from: &Path, name: &str| {
        let bytes = std::fs::read(from).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, &bytes[..bytes.len() / 5 * 3]).unwrap();
        path
    };
    let long =
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=8 -pix_fmt yuv420p -c:v libx264 -g 25";
    let clips = [("a.mp4", "-movflags +faststart"), ("b.mkv", "")];
    for (name, flags) in clips {
        let clip = ffmpeg(&format!("{long} {flags}"), &folder.path().join(name));
        assert_eq!(read(&clip).end, Ok(None), "{name}");
        let seen = read(&cut(&clip, &format!("cut-{name}")));
        assert_eq!(
            seen.end,
            Ok(Some(FaultReason::Truncated)),
            "{name}: {}",
            seen.message
        );
        assert!(
            (60..180).contains(&seen.frames()),
            "{name}: {}",
            seen.frames()
        );
        assert!(seen.message.contains("of 8.0"), "{}", seen.message);
    }
    // Without its index at the end nothing can be read, and the message says so.
    let clip = ffmpeg(long, &folder.path().join("c.mp4"));
    let seen = read(&cut(&clip, "cut-c.mp4"));
    assert_eq!(seen.end, Err(FaultReason::NotAVideo));
    assert!(seen.message.contains("moov"), "{}", seen.message);
}

#[test]
fn damage_in_the_middle_costs_frames_not_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=8 -pix_fmt yuv420p -c:v libx264 -g 25",
        &folder.path().join("clip.ts"),
    );
    let mut bytes = std::fs::read(&clip).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4000]
        .iter_mut()
        .for_each(|b| *b ^= 0x5a);
    std::fs::write(&clip, bytes).unwrap();
    let seen = read(&clip);
    assert!(seen.end.is_ok(), "{}", seen.message);
    assert!(
        (100..200).contains(&seen.frames()) || seen.corrupt > 0,
        "{}",
        seen.frames()
    );
    assert!(seen.stamps.windows(2).all(|w| w[0].time < w[1].time));
}

#[test]
fn pictures_come_at_display_aspect_and_upright() {
    let folder = tempfile::tempdir().unwrap();
    let wide = ffmpeg(
        &format!("{CLIP} -vf setsar=2"),
        &folder.path().join("wide.mp4"),
    );
    let seen = read(&wide);
    let media = seen.media.as_ref().unwrap();
    assert_eq!((media.width, media.height), (320, 120));
    assert_eq!(
        (seen.pictures[0].width(), seen.pictures[0].height()),
        (320, 120)
    );

    let plain = ffmpeg(CLIP, &folder.path().join("plain.mp4"));
    let before = read(&plain).pictures.remove(0);
    let turned = folder.path().join("turned.mp4");
    ffmpeg(
        &format!("-i {} -c copy -metadata:s:v:0 rotate=90", plain.display()),
        &turned,
    );
    let seen = read(&turned);
    let after = &seen.pictures[0];
    assert_eq!((after.width(), after.height()), (120, 160));
    assert_eq!(
        seen.media.as_ref().map(|m| (m.width, m.height)),
        Some((120, 160))
    );
    // The program turns pictures by itself when it decodes: it is the judge.
    let judged = folder.path().join("judged.rgb");
    ffmpeg(
        &format!(
            "-i {} -frames:v 1 -f rawvideo -pix_fmt rgb24",
            turned.display()
        ),
        &judged,
    );
    let judged = Picture::new(120, 160, std::fs::read(judged).unwrap()).unwrap();
    assert!(
        difference(after, &judged) < 4.0,
        "{}",
        difference(after, &judged)
    );
    assert_ne!(before.rgb(), after.rgb());
}

#[test]
fn large_pictures_are_scaled_down_once() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(
        "-f lavfi -i testsrc=size=1920x1080:rate=25:duration=0.2 -pix_fmt yuv420p",
        &folder.path().join("large.mp4"),
    );
    let seen = read(&clip);
    assert_eq!(
        (seen.pictures[0].width(), seen.pictures[0].height()),
        (1280, 720)
    );
    assert_eq!(seen.media.map(|m| (m.width, m.height)), Some((1920, 1080)));
}
