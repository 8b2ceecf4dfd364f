//! Arguments of `rollcall alert`.
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::Why;
use crate::cli::input::{Limit, Moment, parse_cosine, parse_limit, parse_moment_now};

#[derive(Debug, Subcommand)]
pub(crate) enum Alert {
    /// Makes a rule: whom to watch for, and who is told.
    Add(AlertAdd),
    /// Lists the rules.
    #[command(visible_alias = "ls")]
    List {
        /// Rules at most, 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Shows a rule.
    Show {
        /// Id of the rule.
        id: u64,
    },
    /// Changes a rule; what is not given stays.
    Set(AlertSet),
    /// Deletes a rule; its alerts stay.
    Remove {
        /// Id of the rule.
        id: u64,
        /// Only if the rule still has this etag.
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        why: Why,
    },
    /// Lists alerts, newest first.
    History(AlertHistory),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AlertAdd {
    /// What the rule is called, at most 200 characters.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// Only strangers whose identity was opened no longer ago.
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    #[arg(conflicts_with_all = ["identities", "photos"])]
    pub(crate) opened_within: Option<Limit>,
    #[command(flatten)]
    pub(crate) settings: AlertSettings,
    #[command(flatten)]
    pub(crate) webhook: Webhook,
    /// Make it, but raise nothing yet.
    #[arg(long)]
    pub(crate) disabled: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// This person; may be given several times.
    #[arg(long = "identity", value_name = "ID")]
    pub(crate) identities: Vec<u64>,
    /// People of whom nobody has said anything.
    #[arg(long)]
    pub(crate) strangers: bool,
    /// Whoever looks like the face on this picture; up to eight of one person.
    #[arg(long = "photo", value_name = "FILE")]
    pub(crate) photos: Vec<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AlertSettings {
    /// Only sightings on this source; may be given several times.
    #[arg(long = "source", value_name = "ID")]
    pub(crate) sources: Vec<u64>,
    /// Only live sources; `--live-only=false` takes it back.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) live_only: Option<bool>,
    /// Faces that a sighting must have to count [default: 3].
    #[arg(long, value_name = "N")]
    pub(crate) confirm_faces: Option<u32>,
    /// How long a sighting must have lasted to count [default: 0s].
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub(crate) confirm_time: Option<Limit>,
    /// Who was not seen for so long has left, and appears anew [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub(crate) absence: Option<Limit>,
    /// No second alert for the same person within this [default: 60s].
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub(crate) cool_down: Option<Limit>,
    /// Least cosine, -1 to 1: to the photo [default: the model's threshold], or by which a sighting
    /// joined its identity [default: any].
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true, value_parser = parse_cosine)]
    pub(crate) min_cosine: Option<f32>,
    /// An alert when they leave, too; `--left=false` takes it back.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "true")]
    pub(crate) left: Option<bool>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Webhook {
    /// Where alerts are posted to; in `set`, empty takes it away.
    #[arg(long = "webhook", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file whose first line is the key of the signature, `-` for standard input.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Send the picture along.
    #[arg(long, requires = "url")]
    pub(crate) crop: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AlertSet {
    /// Id of the rule.
    pub(crate) id: u64,
    /// What it is called.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Raise alerts.
    #[arg(long, conflicts_with = "disable")]
    pub(crate) enable: bool,
    /// Raise none.
    #[arg(long)]
    pub(crate) disable: bool,
    /// All whom it watches for from here on; may be given several times.
    #[arg(long = "identity", value_name = "ID")]
    pub(crate) identities: Vec<u64>,
    /// How new strangers must be, or `none`.
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub(crate) opened_within: Option<Limit>,
    /// Sightings on all sources count.
    #[arg(long, conflicts_with = "sources")]
    pub(crate) all_sources: bool,
    #[command(flatten)]
    pub(crate) settings: AlertSettings,
    #[command(flatten)]
    pub(crate) webhook: Webhook,
    /// Only if the rule still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AlertHistory {
    /// Id of the rule, deleted or not [default: all].
    #[arg(default_value_t = 0, hide_default_value = true)]
    pub(crate) rule: u64,
    /// Only about this person.
    #[arg(
        long,
        value_name = "ID",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) identity: u64,
    /// Only on this source.
    #[arg(
        long,
        value_name = "ID",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) source: u64,
    /// Only this kind.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<AlertKind>,
    /// Only what was raised after this moment.
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment_now)]
    pub(crate) since: Option<Moment>,
    /// Only what was raised before this moment.
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment_now)]
    pub(crate) until: Option<Moment>,
    /// Alerts at most, 0 for all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlertKind {
    /// Somebody came.
    Appeared,
    /// Somebody whose coming was told is gone.
    Left,
}
