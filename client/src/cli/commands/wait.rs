//! Waiting for a source to be read: a bar with the time left on a terminal, lines elsewhere.
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rollcall_client::{Client, pb, time};

use crate::cli::Outcome;
use crate::cli::failure::Failure;
use crate::cli::format::{printable, stream_time};
use crate::cli::out::Out;
use crate::cli::view::source_state;

/// Often enough for a smooth bar, seldom enough to cost the server nothing.
const POLL: Duration = Duration::from_millis(200);
/// A line each time another tenth is read.
const LINES: f64 = 10.0;

/// Asks after a source until it has ended, stopped or failed.
pub(crate) async fn until_ended(
    client: &Client,
    mut source: pb::Source,
    out: &Out,
) -> Result<pb::Source, Failure> {
    let mut progress = Progress::new(&source, out);
    out.detail(&format!(
        "source {} added; Ctrl-C ends the wait, `rollcall source stop {}` the source",
        source.id, source.id
    ));
    loop {
        progress.show(&source, out);
        if is_over(source.state()) {
            progress.finish();
            return Ok(source);
        }
        tokio::time::sleep(POLL).await;
        source = client.source(source.id).await?;
    }
}

/// What the end of a source means for the one who waited.
pub(crate) fn judge(source: &pb::Source, out: &Out) -> Result<Outcome, Failure> {
    let (reason, message) = match &source.last_error {
        Some(error) => (error.reason.clone(), error.message.clone()),
        None => (String::new(), String::new()),
    };
    let what = format!("source {} ({})", source.id, printable(&source.name));
    match source.state() {
        pb::SourceState::Failed => {
            let why = if message.is_empty() {
                "it failed".to_owned()
            } else {
                message
            };
            let reason = if reason.is_empty() {
                "INTERNAL".to_owned()
            } else {
                reason
            };
            Err(Failure::Awaited {
                reason,
                message: format!("{what}: {why}"),
            })
        }
        pb::SourceState::Stopped => Err(Failure::Awaited {
            reason: "SOURCE_STOPPED".to_owned(),
            message: format!(
                "{what} was stopped at {}; what was seen stays",
                stream_time(source.position.as_ref())
            ),
        }),
        pb::SourceState::Ended
        | pb::SourceState::Unspecified
        | pb::SourceState::Queued
        | pb::SourceState::Connecting
        | pb::SourceState::Running
        | pb::SourceState::Stalled => {
            if !reason.is_empty() {
                out.warn(&format!(
                    "{what}: {} [{}]",
                    printable(&message),
                    printable(&reason)
                ));
            }
            Ok(Outcome::Found)
        }
    }
}

fn is_over(state: pb::SourceState) -> bool {
    match state {
        pb::SourceState::Ended | pb::SourceState::Stopped | pb::SourceState::Failed => true,
        pb::SourceState::Unspecified
        | pb::SourceState::Queued
        | pb::SourceState::Connecting
        | pb::SourceState::Running
        | pb::SourceState::Stalled => false,
    }
}

struct Progress {
    bar: Option<ProgressBar>,
    state: Option<pb::SourceState>,
    /// Tenths already told.
    told: f64,
}

impl Progress {
    fn new(source: &pb::Source, out: &Out) -> Self {
        let bar = out.bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(waiting_style());
            bar.set_prefix(printable(&source.name));
            bar.enable_steady_tick(POLL);
            bar
        });
        Self {
            bar,
            state: None,
            told: 0.0,
        }
    }

    fn show(&mut self, source: &pb::Source, out: &Out) {
        let position = source
            .position
            .as_ref()
            .map(time::duration)
            .unwrap_or_default();
        let length = source
            .media
            .as_ref()
            .and_then(|media| media.duration.as_ref());
        let length = length
            .map(time::duration)
            .filter(|length| !length.is_zero());
        let faces = source
            .counters
            .as_ref()
            .map_or(0, |counters| counters.tracks);
        let state = source_state(source.state());
        let Some(bar) = &self.bar else {
            return self.lines(source, position, length, out);
        };
        if let (Some(length), None) = (length, bar.length()) {
            bar.set_style(reading_style());
            bar.set_length(millis(length));
            // What went before the first picture says nothing about the pace.
            bar.reset_eta();
        }
        bar.set_position(
            bar.length()
                .map_or(millis(position), |end| millis(position).min(end)),
        );
        bar.set_message(format!(
            "{state} {}, {faces} tracks",
            stream_time(source.position.as_ref())
        ));
    }

    fn lines(
        &mut self,
        source: &pb::Source,
        position: Duration,
        length: Option<Duration>,
        out: &Out,
    ) {
        let at = stream_time(source.position.as_ref());
        if self.state != Some(source.state()) {
            self.state = Some(source.state());
            out.note(&format!(
                "source {} ({}): {} at {at}",
                source.id,
                printable(&source.name),
                source_state(source.state())
            ));
        }
        let Some(length) = length else { return };
        let tenths = (position.as_secs_f64() / length.as_secs_f64() * LINES)
            .floor()
            .min(LINES);
        if tenths > self.told && !is_over(source.state()) {
            self.told = tenths;
            let percent = tenths * 100.0 / LINES;
            out.note(&format!("source {}: {percent:.0} %, {at}", source.id));
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Live, or before the length is known.
fn waiting_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn reading_style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} % {msg}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
