//! Files that lie, change under the reader, are huge, endless, or garbage: a clear end, within
//! bounded memory, and never a panic or a hang.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod clips;

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clips::{CLIP, ffmpeg, read, read_from};
use rollcall_ingest::{
    capture::{AccessRules, FileSource, Location, Patience},
    observe::{FaultReason, FrameNo, MediaTime, ResumePoint, WallTime},
    source::{CaptureStatus, FrameSource, FrameStamp, Next, StopToken},
};

fn source(path: &Path, resume: Option<ResumePoint>) -> FileSource {
    let location = Location::check(path.to_str().unwrap(), &AccessRules::default()).unwrap();
    let patience = Patience {
        open: Duration::from_secs(60),
        read: Duration::from_secs(60),
    };
    let stop = StopToken::default();
    FileSource::new(location, patience, false, resume, WallTime::default(), stop)
}

/// The stamp of the next frame, `None` at the end.
fn next(source: &mut FileSource, status: &CaptureStatus) -> Option<FrameStamp> {
    match source.next(status).unwrap() {
        Next::Frame(frame) => Some(frame.stamp),
        Next::Ended(_) => None,
    }
}

/// A number of `/proc/self/status`, in MiB.
fn memory_mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

#[test]
fn ten_hours_are_read_in_flat_memory_and_gone_into_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // A frame every two seconds, a keyframe a minute: 18,000 frames.
    let minute = ffmpeg(
        "-f lavfi -i testsrc=size=64x48:rate=1/2:duration=60 -pix_fmt yuv420p -c:v libx264 -g 30",
        &folder.path().join("minute.mp4"),
    );
    for name in ["ten-hours.mp4", "ten-hours.ts"] {
        let loops = format!("-stream_loop 599 -i {} -c copy", minute.display());
        let film = ffmpeg(&loops, &folder.path().join(name));
        let status = CaptureStatus::default();
        let mut whole = source(&film, None);
        let (mut count, mut last, mut early_mib) = (0u64, None, 0);
        while let Some(stamp) = next(&mut whole, &status) {
            assert_eq!(stamp.number, FrameNo::new(count));
            let expected = i64::try_from(count).unwrap() * 2_000_000;
            let off = (stamp.time.micros() - expected).abs();
            assert!(off <= 1000, "{name}: {count} at {}", stamp.time.micros());
            count += 1;
            if count == 2000 {
                early_mib = memory_mib("VmRSS");
            }
            last = Some(stamp);
        }
        assert_eq!(count, 18_000, "{name}");
        let grown = memory_mib("VmRSS").saturating_sub(early_mib);
        assert!(grown < 16, "{name}: grew by {grown} MiB");
        let end = last.unwrap().time.micros();
        assert!(end > 35_990_000_000, "{name}: {end}");

        // Into the tenth hour, without reading what is before.
        let (frame, time) = (FrameNo::new(16_215), MediaTime::from_micros(32_430_000_000));
        let status = CaptureStatus::default();
        let stamp = next(
            &mut source(&film, Some(ResumePoint { time, frame })),
            &status,
        )
        .unwrap();
        assert_eq!(stamp.number, frame, "{name}");
        assert!(
            (stamp.time.micros() - time.micros()).abs() <= 1000,
            "{name}"
        );
        let decoded = status.facts().decoded;
        assert!(
            decoded < 100,
            "{name}: {decoded} frames were decoded to get there"
        );
    }
}

#[test]
fn times_that_jump_back_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let clip = ffmpeg(CLIP, &folder.path().join("clip.ts"));
    let twice = folder.path().join("twice.ts");
    let bytes = std::fs::read(clip).unwrap();
    std::fs::write(&twice, [bytes.clone(), bytes].concat()).unwrap();
    let seen = read(&twice);
    assert!(seen.frames() >= 97, "{}", seen.frames());
    let steps = seen.stamps.windows(2);
    let steps: Vec<i64> = steps
        .map(|w| w[1].time.micros() - w[0].time.micros())
        .collect();
    assert!(
        steps.iter().all(|step| (1..=2 * 40_000).contains(step)),
        "{steps:?}"
    );
}

#[test]
fn variable_frame_rates_keep_their_times() {
    let folder = tempfile::tempdir().unwrap();
    // Frames 0, 1, 2, 10, 11, 12, 20, ... of a clip of 25 a second.
    let seen = read(&ffmpeg(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=4 -vf select=lt(mod(n\\,10)\\,3) \
         -vsync vfr -pix_fmt yuv420p -c:v libx264 -g 10 -bf 2",
        &folder.path().join("clip.mp4"),
    ));
    let times: Vec<i64> = seen.stamps.iter().map(|s| s.time.micros() / 1000).collect();
    let expected: Vec<i64> = (0..100).filter(|n| n % 10 < 3).map(|n| n * 40).collect();
    assert_eq!(times, expected);
}

/// Cuts or extends the file once ten frames are read; how many came, and how it ended.
fn changed_while_read(path: &Path, change: impl FnOnce(File)) -> (u64, Option<FaultReason>) {
    let status = CaptureStatus::default();
    let mut source = source(path, None);
    for _ in 0..10 {
        next(&mut source, &status).unwrap();
    }
    change(OpenOptions::new().append(true).open(path).unwrap());
    let mut count = 10;
    loop {
        match source.next(&status) {
            Ok(Next::Frame(_)) => count += 1,
            Ok(Next::Ended(fault)) => return (count, fault.map(|f| f.reason)),
            Err(fault) => return (count, Some(fault.reason)),
        }
    }
}

#[test]
fn a_file_may_change_while_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // Large enough not to fit into FFmpeg's buffers.
    let long = "-f lavfi -i testsrc2=size=640x480:rate=25:duration=8 -pix_fmt yuv420p \
                -c:v libx264 -preset ultrafast -g 25";
    for name in ["cut.ts", "cut.mp4", "cut.mkv"] {
        let clip = ffmpeg(
            &format!("{long} -movflags +faststart"),
            &folder.path().join(name),
        );
        let half = clip.metadata().unwrap().len() / 2;
        let (count, end) = changed_while_read(&clip, |file| file.set_len(half).unwrap());
        assert!((50..190).contains(&count), "{name}: {count}");
        assert_eq!(end, Some(FaultReason::Truncated), "{name}");
    }
    let clip = ffmpeg(long, &folder.path().join("grows.ts"));
    let more = ffmpeg(
        &format!("{long} -output_ts_offset 8"),
        &folder.path().join("more.ts"),
    );
    let more = std::fs::read(more).unwrap();
    let (count, end) = changed_while_read(&clip, |mut file| file.write_all(&more).unwrap());
    assert!(
        (398..=400).contains(&count),
        "what came later is read too: {count}"
    );
    assert_eq!(end, None);
    // Overwritten in the middle: what comes is damaged, not the run.
    let clip = ffmpeg(long, &folder.path().join("overwritten.ts"));
    let length = clip.metadata().unwrap().len();
    let path = clip.clone();
    let (count, _) = changed_while_read(&clip, move |_| {
        let noise = vec![0xA5; usize::try_from(length / 2).unwrap()];
        let file = OpenOptions::new().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &noise, length / 2).unwrap();
    });
    assert!((50..190).contains(&count), "{count}");
}

#[test]
fn pictures_of_impossible_size_are_refused_before_they_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |size: &str| {
        // YUV4MPEG states its size in words.
        let path = folder.path().join("header.y4m");
        let head = format!("YUV4MPEG2 {size} F25:1 Ip A1:1 C420jpeg\nFRAME\n");
        std::fs::write(&path, head + &"x".repeat(10_000)).unwrap();
        let seen = read(&path);
        let end = Err(FaultReason::NotAVideo);
        assert_eq!((seen.frames(), &seen.end), (0, &end), "{}", seen.message);
        seen.message
    };
    // Too large, or too small, for FFmpeg itself.
    for size in ["W16384 H16384", "W0 H0", "W99999 H1"] {
        refused(size);
    }
    let message = refused("W16384 H4096");
    assert!(message.contains("16384x4096"), "{message}");
    let peak = memory_mib("VmHWM");
    assert!(peak < 2048, "{peak} MiB");
    // The largest that are read: 8192x4320.
    let arguments = "-f lavfi -i color=red:size=8192x4320:rate=1:duration=1 -frames:v 1 -c:v mjpeg";
    let seen = read(&ffmpeg(arguments, &folder.path().join("8k.mkv")));
    assert_eq!(
        (seen.frames(), &seen.end),
        (1, &Ok(None)),
        "{}",
        seen.message
    );
    assert_eq!(seen.pictures[0].width(), 1280);
}

/// Numbers that look random (splitmix64), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((z ^ (z >> 31)) % limit).unwrap()
    }
}

#[test]
fn garbage_never_panics_nor_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let short = CLIP.replace("duration=2", "duration=0.4");
    let originals: Vec<(PathBuf, Vec<u8>)> = ["a.mp4", "b.ts", "c.mkv", "d.avi", "e.flv"]
        .into_iter()
        .map(|name| {
            let path = ffmpeg(&short, &folder.path().join(name));
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        })
        .collect();
    let mut random = Random(7);
    let mut read_something = 0;
    for case in 0..75 {
        let (path, bytes) = &originals[case % originals.len()];
        let mut bytes = bytes.clone();
        match case % 3 {
            // A few bytes anywhere; many in the head; cut off with noise after it.
            0 => (0..20).for_each(|_| {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }),
            1 => (0..12).for_each(|_| {
                let at = random.below(bytes.len().min(600));
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }),
            _ => {
                bytes.truncate(random.below(bytes.len()) + 1);
                bytes.extend((0..500).map(|_| u8::try_from(random.below(256)).unwrap()));
            }
        }
        std::fs::write(path, bytes).unwrap();
        let seen = read_from(path.to_str().unwrap(), None);
        read_something += usize::from(seen.frames() > 0);
        let ordered = seen.stamps.windows(2).all(|w| w[0].time < w[1].time);
        assert!(ordered, "case {case}: {:?}", seen.stamps);
        if let Err(reason) = seen.end {
            assert_ne!(
                reason,
                FaultReason::ReadTimeout,
                "case {case}: {}",
                seen.message
            );
            assert!(!seen.message.is_empty());
        }
    }
    assert!(
        read_something > 20,
        "most of it was readable: {read_something}"
    );
}
