//! Arguments of `rollcall export`.
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::Window;
use crate::cli::input::{Limit, parse_limit};
use crate::cli::timeline::FrameRate;

#[derive(Debug, Subcommand)]
pub(crate) enum Export {
    /// Who was on screen when, on one source, in the formats of editors and researchers.
    Timeline(ExportTimeline),
    /// A copy of a video with a box and a name on everybody; runs ffmpeg, which has to know libass.
    Video(ExportVideo),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExportTimeline {
    #[command(flatten)]
    pub(crate) of: ExportOf,
    /// The format.
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub(crate) form: Form,
    /// Sightings of one person that follow each other within so long are one, such as 200ms.
    #[arg(long, value_name = "DURATION", default_value = "none", value_parser = parse_limit)]
    pub(crate) join: Limit,
    /// File to write, `-` for standard output.
    #[arg(
        short,
        long,
        visible_alias = "out",
        value_name = "FILE",
        default_value = "-"
    )]
    pub(crate) output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExportVideo {
    #[command(flatten)]
    pub(crate) of: ExportOf,
    /// The video that the source was read from, as it lies on this machine.
    #[arg(long, value_name = "FILE")]
    pub(crate) video: PathBuf,
    /// Video to write; its ending says in which format.
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The program to run.
    #[arg(
        long,
        env = "ROLLCALL_FFMPEG",
        value_name = "PROGRAM",
        default_value = "ffmpeg"
    )]
    pub(crate) ffmpeg: PathBuf,
}

/// Of what, and how time is counted.
#[derive(Debug, ClapArgs)]
pub(crate) struct ExportOf {
    /// The source.
    #[arg(long, value_name = "ID")]
    pub(crate) source: u64,
    /// Only this identity.
    #[arg(
        long,
        value_name = "ID",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) identity: u64,
    #[command(flatten)]
    pub(crate) window: Window,
    /// Frames a second, 1 to 1000 [default: the source's own, as far as it is known, else 25].
    #[arg(long, value_name = "F", value_parser = parse_rate)]
    pub(crate) fps: Option<FrameRate>,
}

/// How a timeline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A table, a row a sighting.
    Csv,
    /// Captions for players and web pages.
    Webvtt,
    /// Boxes and names to lay over the picture.
    Ass,
    /// An edit decision list, CMX 3600.
    Edl,
    /// OpenTimelineIO.
    Otio,
    /// Annotations for ELAN.
    Eaf,
}

fn parse_rate(text: &str) -> Result<FrameRate, String> {
    let rate = match text.split_once('/') {
        Some((frames, seconds)) => quotient(frames, seconds),
        None => text.parse().ok(),
    };
    rate.and_then(FrameRate::new)
        .ok_or_else(|| "write frames a second, from 1 to 1000, such as 25 or 30000/1001".to_owned())
}

fn quotient(frames: &str, seconds: &str) -> Option<f64> {
    Some(frames.parse::<f64>().ok()? / seconds.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let rate = |text| parse_rate(text).map(FrameRate::get);
        assert_eq!(rate("25"), Ok(25.0));
        assert_eq!(rate("29.97"), Ok(29.97));
        assert_eq!(rate("30000/1001"), Ok(30_000.0 / 1001.0));
        for wrong in ["", "0", "-25", "nan", "1/0", "0/0", "25/", "/", "2000", "x"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
