//! What `extract` says on standard error.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use rollcall_ingest::{
    extract::Written,
    observe::{Finished, Report},
};

/// What was found, in some lines.
pub(super) fn summary(
    finished: &Finished,
    written: Written,
    last: &Report,
    took: Duration,
) -> String {
    let counters = &last.counters;
    let length = finished.position.seconds();
    let mut text = format!(
        "{} tracks ({} exemplars) in {} shots; {length:.1} s of video in {:.1} s ({:.1} times real time)",
        written.tracks,
        written.exemplars,
        counters.shots,
        took.as_secs_f64(),
        length / took.as_secs_f64().max(1e-6),
    );
    let list = |counts: &std::collections::BTreeMap<&str, u64>| {
        counts
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let _ = write!(
        text,
        "\n{} frames, {} looked at; {} faces, {} embedded",
        counters.frames_decoded,
        counters.frames_detected,
        counters.faces_detected,
        counters.faces_embedded
    );
    if !counters.frames_rejected.is_empty() {
        let _ = write!(
            text,
            "\nframes passed over: {}",
            list(&counters.frames_rejected)
        );
    }
    if !counters.faces_rejected.is_empty() {
        let _ = write!(
            text,
            "\nfaces passed over: {}",
            list(&counters.faces_rejected)
        );
    }
    if counters.tracks_without_exemplar > 0 {
        let _ = write!(
            text,
            "\n{} tracks had no face worth keeping",
            counters.tracks_without_exemplar
        );
    }
    text
}

/// Stages in the order of a face's way, and the threads on which they run.
const STAGES: [(&str, &str); 10] = [
    ("decode", "capture"),
    ("scale", "both"),
    ("shot", "analysis"),
    ("gate", "analysis"),
    ("detect", "analysis"),
    ("align", "analysis"),
    ("track", "analysis"),
    ("embed", "analysis"),
    ("attributes", "analysis"),
    ("write", "analysis"),
];

/// What each stage cost, in all and per frame.
pub(super) fn timings(last: &Report, took: Duration) -> String {
    let frames = last.counters.frames_decoded.max(1);
    let wall = took.as_secs_f64().max(1e-6);
    let mut text =
        String::from("stage       thread      seconds   ms a frame   share of wall time\n");
    for (stage, thread) in STAGES {
        let spent = last.counters.stages.get(stage).copied();
        let spent = spent.unwrap_or_default().as_secs_f64();
        let _ = writeln!(
            text,
            "{stage:<10}  {thread:<8} {spent:>10.2} {:>12.3} {:>18.1} %",
            spent * 1000.0 / frames as f64,
            100.0 * spent / wall
        );
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    let _ = writeln!(
        text,
        "processor, all threads {used:>6.2} {:>12.3} {:>18.1} %",
        used * 1000.0 / frames as f64,
        100.0 * used / wall
    );
    text.push_str("while a stage waits for a core, its time goes on\n");
    text
}

/// A bar on a terminal, nothing elsewhere.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn new() -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "{wide_bar} {percent} %  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn show(&self, report: &Report) {
        let duration = report.media.as_ref().and_then(|media| media.duration);
        if let Some(duration) = duration {
            self.0
                .set_length(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        }
        self.0
            .set_position(u64::try_from(report.position.micros() / 1000).unwrap_or(0));
        self.0.set_message(format!(
            "{}, {} tracks",
            report.position, report.counters.tracks
        ));
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}
