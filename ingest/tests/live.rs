//! Live streams that break, freeze, change and lie about the time: the source goes on by itself.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests too")]

mod clips;
mod senders;

use std::time::Duration;

use clips::ffmpeg;
use rollcall_ingest::{capture::Patience, observe::FaultReason};
use senders::{
    Followed, HASTY, Sender, follow, free_port, send, send_and_freeze, send_and_repeat, serve,
    serve_folder,
};

/// Two seconds at 25 frames a second, 160x120, as a transport stream.
const TWO_SECONDS: &str = "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -pix_fmt yuv420p \
                           -c:v libx264 -g 10 -bf 0 -f mpegts";

/// The bytes of what `ffmpeg` makes of `arguments`.
fn bytes(arguments: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::read(ffmpeg(arguments, &folder.path().join("stream"))).unwrap()
}

fn in_order(seen: &Followed) {
    assert!(seen.is_in_order(), "{:?}", seen.stamps);
}

#[test]
fn a_connection_that_ends_or_freezes_is_made_again() {
    let clip = bytes(TWO_SECONDS);
    let url = serve(vec![
        send(clip.clone()),
        // A connection that is hung up on at once.
        send(Vec::new()),
        send_and_freeze(clip.clone()),
        send_and_freeze(clip),
    ]);
    let seen = follow(&url, HASTY, |seen| {
        seen.gaps.len() == 2 && seen.frames() >= 130
    });
    in_order(&seen);
    assert_eq!(seen.facts.reconnects, 3);
    assert!(seen.gaps[0] >= 49, "{:?}", seen.gaps);
}

#[test]
fn senders_that_are_killed_and_started_again_are_followed() {
    let stream = "-re -f lavfi -i testsrc=size=160x120:rate=25 -pix_fmt yuv420p -c:v libx264 \
                  -tune zerolatency -g 10 -f mpegts";
    for scheme in ["tcp", "udp"] {
        let port = free_port();
        let listen = if scheme == "tcp" {
            "?listen=1"
        } else {
            "?pkt_size=1316"
        };
        let start = || Sender::start(&format!("{stream} {scheme}://127.0.0.1:{port}{listen}"));
        let mut sender = Some(start());
        let patience = Patience {
            read: Duration::from_secs(2),
            ..HASTY
        };
        let seen = follow(&format!("{scheme}://127.0.0.1:{port}"), patience, |seen| {
            if seen.frames() == 40 {
                // The old one must be gone before the new one takes its port.
                drop(sender.take());
                sender = Some(start());
            }
            seen.gaps
                .first()
                .is_some_and(|gap| seen.frames() > gap + 10)
        });
        in_order(&seen);
        assert_eq!(seen.gaps.len(), 1, "{scheme}");
        let reconnects = seen.facts.reconnects;
        // Datagrams know no connection: the new sender's clock is what tells it from the old.
        assert!(reconnects > 0 || scheme == "udp", "{scheme}");
        assert!(seen.fault.is_none(), "{scheme}: {:?}", seen.fault);
    }
}

#[test]
fn a_playlist_that_stands_still_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let playlist = folder.path().join("live.m3u8");
    let start = || {
        Sender::start(&format!(
            "-re -f lavfi -i testsrc=size=160x120:rate=25 -pix_fmt yuv420p -c:v libx264 \
             -tune zerolatency -g 12 -f hls -hls_time 0.5 -hls_list_size 4 \
             -hls_flags delete_segments {}",
            playlist.display()
        ))
    };
    let mut sender = Some(start());
    while !playlist.exists() {
        std::thread::yield_now();
    }
    let url = serve_folder(folder.path().to_owned());
    let patience = Patience {
        read: Duration::from_secs(2),
        ..HASTY
    };
    let seen = follow(&format!("{url}/live.m3u8"), patience, |seen| {
        if seen.frames() == 30 {
            drop(sender.take());
        }
        if seen.frames() > 30 && sender.is_none() && seen.facts.reconnects > 0 {
            sender = Some(start());
        }
        seen.gaps.first().is_some_and(|gap| seen.frames() > gap + 5)
    });
    in_order(&seen);
    assert!(seen.facts.reconnects > 0);
}

#[test]
fn sound_without_pictures_is_no_running_stream() {
    let sound = bytes("-f lavfi -i sine=duration=20 -c:a aac -f mpegts");
    let url = serve(vec![send_and_repeat(Vec::new(), sound.clone())]);
    let seen = follow(&url, HASTY, |_| false);
    assert_eq!(seen.frames(), 0);
    let fault = seen.fault.unwrap();
    assert_eq!(fault.reason, FaultReason::NoPictureStream, "{fault}");

    // Both at first, then sound alone: the watchdog sees that data without pictures are nothing.
    let both = bytes(
        "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -f lavfi -i sine=duration=2 \
         -pix_fmt yuv420p -c:v libx264 -g 10 -bf 0 -c:a aac -f mpegts",
    );
    let sound = bytes(
        "-f lavfi -i sine=duration=20 -c:a aac -output_ts_offset 2 -mpegts_start_pid 257 -f mpegts",
    );
    let url = serve(vec![
        send_and_repeat(both.clone(), sound),
        send_and_freeze(both),
    ]);
    let seen = follow(&url, HASTY, |seen| {
        seen.gaps.first().is_some_and(|gap| seen.frames() > *gap)
    });
    in_order(&seen);
    assert_eq!(seen.facts.reconnects, 1);
    let fault = seen.facts.fault.unwrap();
    assert_eq!(fault.reason, FaultReason::ReadTimeout);
    assert!(fault.message.contains("no picture"), "{fault}");
}

#[test]
fn damage_on_the_way_costs_frames_not_the_connection() {
    let mut clip = bytes(&TWO_SECONDS.replace("duration=2", "duration=8"));
    let (third, packet) = (clip.len() / 3, 188);
    for at in (third..2 * third).step_by(packet * 7) {
        clip[at + 40] ^= 0xff;
    }
    // And a part that is no transport stream at all.
    clip[third..third + 5000].fill(0x55);
    let url = serve(vec![send_and_freeze(clip)]);
    let end = |seen: &Followed| {
        seen.stamps
            .last()
            .is_some_and(|s| s.time.micros() > 7_500_000)
    };
    let seen = follow(&url, HASTY, |seen| end(seen) || seen.facts.reconnects > 0);
    in_order(&seen);
    assert_eq!(seen.facts.reconnects, 0);
    assert!(seen.frames() > 60, "{}", seen.frames());
}

#[test]
fn size_and_aspect_may_change_in_the_middle() {
    let clip = |size: &str, aspect: &str, offset: u32| {
        bytes(&format!(
            "-f lavfi -i testsrc=size={size}:rate=25:duration=1 -vf setsar={aspect} \
             -pix_fmt yuv420p -c:v libx264 -g 10 -bf 0 -output_ts_offset {offset} -f mpegts"
        ))
    };
    let parts = [
        clip("160x120", "1", 0),
        clip("320x240", "1", 1),
        clip("320x240", "2", 2),
        clip("160x120", "4/3", 3),
    ];
    let url = serve(vec![send_and_freeze(parts.concat())]);
    let seen = follow(&url, HASTY, |seen| {
        seen.frames() == 97 || seen.facts.reconnects > 0
    });
    in_order(&seen);
    assert_eq!(
        (seen.facts.reconnects, seen.gaps.len()),
        (0, 0),
        "{:?}",
        seen.gaps
    );
    let mut sizes = seen.sizes.clone();
    sizes.dedup();
    assert_eq!(sizes, [(160, 120), (320, 240), (640, 240), (213, 120)]);
    for (size, media) in seen.sizes.iter().zip(&seen.media) {
        assert_eq!(*size, (media.width, media.height));
        assert_eq!(media.duration, None);
    }
}

/// Frames of `clip`, sent in one connection, until `count` are there.
fn times_of(clip: Vec<u8>, count: usize) -> (Vec<i64>, Vec<usize>) {
    let url = serve(vec![send_and_freeze(clip)]);
    let seen = follow(&url, HASTY, |seen| {
        seen.frames() == count || seen.facts.reconnects > 0
    });
    in_order(&seen);
    assert_eq!(seen.facts.reconnects, 0, "after {} frames", seen.frames());
    let times = seen
        .stamps
        .iter()
        .map(|s| (s.time.micros() + 500) / 1000)
        .collect();
    (times, seen.gaps)
}

#[test]
fn a_clock_that_wraps_changes_nothing() {
    // Half a second before the 33 bits are full.
    let clip = bytes(&TWO_SECONDS.replace("-f mpegts", "-output_ts_offset 95441.8 -f mpegts"));
    let (times, gaps) = times_of(clip, 48);
    let expected: Vec<i64> = (0..48).map(|i| i * 40).collect();
    assert_eq!((times, gaps), (expected, Vec::new()));
}

#[test]
fn a_clock_that_begins_anew_is_a_gap_of_no_length_to_speak_of() {
    let clip = bytes(TWO_SECONDS);
    let (times, gaps) = times_of([clip.clone(), clip.clone()].concat(), 98);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!((46..=50).contains(&gaps[0]), "{gaps:?}");
    let steps = times.windows(2).map(|w| w[1] - w[0]);
    let odd: Vec<i64> = steps.filter(|step| *step != 40).collect();
    assert!(odd.len() <= 1, "{odd:?}");
    // An hour ahead: the stream says so, nobody waited for it.
    let later = bytes(&TWO_SECONDS.replace("-f mpegts", "-output_ts_offset 3600 -f mpegts"));
    let (times, gaps) = times_of([clip, later].concat(), 98);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(*times.last().unwrap() < 60_000, "{times:?}");
}

#[test]
fn a_clock_that_stands_still_or_is_not_there_does_not_stop_the_run() {
    let stuck = "-f lavfi -i testsrc=size=160x120:rate=25:duration=2 -pix_fmt yuv420p -c:v libx264 \
                 -g 10 -bf 0 -bsf:v setts=ts=min(N\\,20) -f mpegts";
    let (times, gaps) = times_of(bytes(stuck), 45);
    assert_eq!(gaps, Vec::<usize>::new());
    assert!(times.windows(2).all(|w| w[1] - w[0] == 40), "{times:?}");
    // An elementary stream has no times at all.
    let bare = TWO_SECONDS.replace("-f mpegts", "-f h264");
    let (times, gaps) = times_of(bytes(&bare), 45);
    assert_eq!((times.len(), gaps), (45, Vec::new()));
}

#[test]
fn a_stream_joined_long_before_its_next_keyframe_is_waited_for() {
    // One keyframe, then eight seconds without; what is sent begins after the keyframe.
    let clip = bytes(
        &TWO_SECONDS
            .replace("duration=2", "duration=10")
            .replace("-g 10", "-g 200"),
    );
    let late = clip.len() / 8 / 188 * 188;
    let url = serve(vec![send_and_freeze(clip[late..].to_vec())]);
    let seen = follow(&url, HASTY, |seen| seen.frames() > 10);
    assert!(seen.fault.is_none(), "{:?}", seen.fault);
    assert_eq!(
        seen.facts.media.map(|m| (m.width, m.height)),
        Some((160, 120))
    );
}
