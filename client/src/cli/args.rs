//! Arguments and their environment twins.
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use rollcall_client::ClientOptions;

mod admin;
mod alert;
mod erase;
mod export;
mod identity;

pub(crate) use admin::{Admin, Migrate};
pub(crate) use alert::{
    Alert, AlertAdd, AlertHistory, AlertKind, AlertSet, AlertSettings, Webhook,
};
pub(crate) use erase::{Erase, How};
pub(crate) use export::{Export, ExportOf, ExportTimeline, ExportVideo, Form};
pub(crate) use identity::{
    FactsList, Identity, IdentityCreate, IdentityEnrol, IdentityMerge, IdentitySet, IdentitySplit,
    Separate, TracksLink, TracksMove, TracksReject, Why,
};

use super::input::{Limit, Moment, parse_limit, parse_moment_now};

const AFTER_HELP: &str = "\
Exit codes:
  0    found, or done
  1    nothing found: nobody above the threshold, an empty list
  2    an error; one line on standard error says what, where and what to do
  130  interrupted with Ctrl-C

Results go to standard output, everything else to standard error. A pipe closed by its reader is
no error. Durations are written 500ms, 10s, 1m, 2h or none; moments 2026-01-31T12:00:00Z,
2026-01-31, or 2h for two hours ago.";

/// Asks a Rollcall server who is on a picture and where they were seen.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, about, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of the server.
    #[arg(long, global = true, env = "ROLLCALL_ENDPOINT", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:50551")]
    pub(crate) endpoint: String,
    /// Longest an answer may take, or `none`; streams are not limited.
    #[arg(long, global = true, env = "ROLLCALL_TIMEOUT", value_name = "DURATION")]
    #[arg(default_value = "30s", value_parser = parse_limit)]
    pub(crate) timeout: Limit,
    /// Longest a connection may take.
    #[arg(
        long,
        global = true,
        env = "ROLLCALL_CONNECT_TIMEOUT",
        value_name = "DURATION"
    )]
    #[arg(default_value = "5s", value_parser = parse_limit)]
    pub(crate) connect_timeout: Limit,
    /// File with the key that the server asks for [else: the key itself in ROLLCALL_KEY].
    #[arg(long, global = true, env = "ROLLCALL_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// PEM file with the authorities to trust, for https:// [default: those of the system].
    #[arg(long, global = true, env = "ROLLCALL_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to a server that asks for one.
    #[arg(
        long,
        global = true,
        env = "ROLLCALL_CLIENT_CERTIFICATE",
        value_name = "FILE"
    )]
    #[arg(requires = "client_key")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, global = true, env = "ROLLCALL_CLIENT_KEY", value_name = "FILE")]
    #[arg(requires = "client_certificate")]
    pub(crate) client_key: Option<PathBuf>,
    /// How results are written [default: table on a terminal, else jsonl].
    #[arg(long, global = true, env = "ROLLCALL_FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
    /// Colours; `auto` honours NO_COLOR.
    #[arg(
        long,
        global = true,
        env = "ROLLCALL_COLOR",
        value_enum,
        default_value = "auto"
    )]
    pub(crate) color: Color,
    /// Who makes a change; recorded with it.
    #[arg(
        long,
        global = true,
        env = "ROLLCALL_AUTHOR",
        value_name = "NAME",
        default_value = ""
    )]
    #[arg(hide_default_value = true)]
    pub(crate) author: String,
    /// No progress bar.
    #[arg(long, global = true, env = "ROLLCALL_NO_PROGRESS")]
    pub(crate) no_progress: bool,
    /// Only results and errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More about what happens.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    pub(crate) fn client_options(&self) -> ClientOptions {
        ClientOptions {
            timeout: self.timeout.0,
            connect_timeout: self
                .connect_timeout
                .0
                .unwrap_or(Duration::from_secs(86_400)),
            ..ClientOptions::default()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document (streams: as jsonl).
    Json,
    /// JSON, one object a line.
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Who is on this picture, and where were they seen?
    Search(Search),
    /// Files and streams the server reads.
    #[command(subcommand)]
    Source(Source),
    /// People, named or not.
    #[command(subcommand)]
    Identity(Identity),
    /// Rules by which people who appear, or leave, are told of; and what they brought.
    #[command(subcommand)]
    Alert(Alert),
    /// Where and when people were seen, oldest first.
    Sightings(Sightings),
    /// What was seen, in formats of other programs.
    #[command(subcommand)]
    Export(Export),
    /// Writes the picture of a face as JPEG.
    Thumbnail(Thumbnail),
    /// Forgets people or sightings, for ever.
    #[command(subcommand)]
    Erase(Erase),
    /// What happens, as it happens.
    Watch(Watch),
    /// How the server is doing.
    Status,
    /// How the server is doing, again and again: sources with their rates, and the newest people.
    Top(Top),
    /// What is done to the collection as a whole.
    #[command(subcommand)]
    Admin(Admin),
    /// Prints the completion script of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Search {
    /// A JPEG, PNG, WebP or BMP file, `-` for standard input.
    #[arg(required_unless_present = "embedding", conflicts_with = "embedding")]
    pub(crate) photo: Option<PathBuf>,
    /// Which face of the picture to use, from 0 [default: the largest usable one].
    #[arg(long, value_name = "N", conflicts_with = "embedding")]
    pub(crate) face: Option<u32>,
    /// A JSON file instead of a picture, `-` for standard input: an array of numbers, or an
    /// object with `embedding` and `contract`.
    #[arg(long, value_name = "FILE")]
    pub(crate) embedding: Option<PathBuf>,
    /// Identities at most, 1 to 100.
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// Only identities at or above this cosine, -1 to 1 [default: the model's threshold].
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    #[arg(value_parser = super::input::parse_cosine)]
    pub(crate) min_cosine: Option<f32>,
    /// Only faces seen on this source; may be given several times.
    #[arg(long = "source", value_name = "ID")]
    pub(crate) sources: Vec<u64>,
    #[command(flatten)]
    pub(crate) window: Window,
    /// Sightings of each identity at most, newest first, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) sightings: u32,
    /// Hidden people too.
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Only people who bear a name: whoever is none of them is a stranger.
    #[arg(long)]
    pub(crate) named: bool,
    /// Stay, and print new sightings as they happen.
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct Top {
    /// How long to wait between two looks.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    #[arg(value_parser = super::input::parse_duration)]
    pub(crate) every: Duration,
    /// Looks, 0 for as many as there is time.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 0)]
    pub(crate) times: u64,
}

#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct Window {
    /// Only what was seen after this moment (wall clock).
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment_now)]
    pub(crate) since: Option<Moment>,
    /// Only what was seen before this moment (wall clock).
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment_now)]
    pub(crate) until: Option<Moment>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// Adds a file or URL; the server begins to read it at once, or when a place is free.
    Add(SourceAdd),
    /// Lists the sources.
    #[command(visible_alias = "ls")]
    List {
        /// Sources at most, 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Shows a source with its counters.
    Show {
        /// Id of the source.
        id: u64,
    },
    /// Stops reading a source; what was seen stays.
    Stop {
        /// Id of the source.
        id: u64,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SourceAdd {
    /// A file, a folder (with what lies below it) or a pattern such as 'videos/**/*.mp4', on the
    /// server (a relative path is made absolute here); or a URL. Each file becomes a source.
    #[arg(required = true, value_name = "URI")]
    pub(crate) uris: Vec<String>,
    /// Whether it has an end [default: by the URI]: `file` for an HLS list or a page with one.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// What people see, for a single source [default: made from the URI].
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// Read a file at the pace of its own clock.
    #[arg(long)]
    pub(crate) realtime: bool,
    /// Stay until it has been read to the end; exit code 2 if that fails.
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// With an end: every frame is seen, once.
    File,
    /// Without one: it stays current, and is opened again when it breaks off.
    Live,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Sightings {
    /// Only of this identity.
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
    #[command(flatten)]
    pub(crate) window: Window,
    /// Sightings at most, 0 for all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Thumbnail {
    #[command(flatten)]
    pub(crate) of: ThumbnailOf,
    /// File to write, `-` for standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// The aligned 112x112 picture instead of the looser one.
    #[arg(long)]
    pub(crate) aligned: bool,
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct ThumbnailOf {
    /// The best face of this identity.
    #[arg(long, value_name = "ID")]
    pub(crate) identity: Option<u64>,
    /// The best face of this track.
    #[arg(long, value_name = "ID")]
    pub(crate) track: Option<u64>,
    /// This face.
    #[arg(long, value_name = "ID")]
    pub(crate) exemplar: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Watch {
    /// Begin with everything that ever happened.
    #[arg(long, conflicts_with = "cursor")]
    pub(crate) from_start: bool,
    /// Begin after the event that bore this cursor.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// Only events of this source; may be given several times.
    #[arg(long = "source", value_name = "ID")]
    pub(crate) sources: Vec<u64>,
    /// Only events of this identity; may be given several times.
    #[arg(long = "identity", value_name = "ID")]
    pub(crate) identities: Vec<u64>,
    /// Only this kind, such as sighting_started; may be given several times.
    #[arg(long = "kind", value_name = "KIND", value_parser = super::input::parse_kind)]
    pub(crate) kinds: Vec<rollcall_client::pb::EventKind>,
    /// Heartbeats too.
    #[arg(long)]
    pub(crate) heartbeats: bool,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// End when nothing but heartbeats came for so long.
    #[arg(long, value_name = "DURATION", value_parser = parse_limit)]
    pub(crate) until_idle: Option<Limit>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_search_needs_exactly_one_query() {
        assert!(parse("rollcall search").is_err());
        assert!(parse("rollcall search a.jpg --embedding b.json").is_err());
        assert!(parse("rollcall search --embedding -").is_ok());
        let args = parse("rollcall search a.jpg --min-cosine -0.5 --source 1 --source 2").unwrap();
        let Command::Search(search) = args.command else {
            panic!("{args:?}")
        };
        assert_eq!(
            (search.min_cosine, search.sources),
            (Some(-0.5), vec![1, 2])
        );
        assert!(parse("rollcall search a.jpg --min-cosine 1.5").is_err());
        assert!(parse("rollcall search a.jpg --limit 0").is_err());
    }

    #[test]
    fn globals_may_stand_anywhere() {
        let args = parse("rollcall status --format json --timeout none -vv").unwrap();
        assert_eq!(args.global.format, Some(Format::Json));
        assert_eq!(args.global.client_options().timeout, None);
        assert_eq!(args.global.verbose, 2);
        assert!(parse("rollcall -q -v status").is_err());
    }

    #[test]
    fn a_thumbnail_is_of_one_thing() {
        assert!(parse("rollcall thumbnail -o a.jpg").is_err());
        assert!(parse("rollcall thumbnail --identity 1 --track 2 -o a.jpg").is_err());
        assert!(parse("rollcall thumbnail --identity 1").is_err());
        assert!(parse("rollcall thumbnail --exemplar 1 -o -").is_ok());
    }

    #[test]
    fn an_export_is_of_a_source_and_in_a_format() {
        assert!(parse("rollcall export timeline --source 1").is_err());
        assert!(parse("rollcall export timeline --as csv").is_err());
        assert!(parse("rollcall export timeline --source 1 --as txt").is_err());
        assert!(parse("rollcall export timeline --source 1 --as edl --fps 0").is_err());
        assert!(
            parse("rollcall export timeline --source 1 --as otio --join 200ms --out a").is_ok()
        );
        assert!(parse("rollcall export video --source 1 --video a.mp4").is_err());
        assert!(parse("rollcall export video --source 1 --video a.mp4 -o b.mp4").is_ok());
    }

    #[test]
    fn an_alert_rule_watches_for_one_kind_of_people() {
        assert!(parse("rollcall alert add who").is_err());
        assert!(parse("rollcall alert add who --identity 1 --strangers").is_err());
        assert!(parse("rollcall alert add who --identity 1 --opened-within 1h").is_err());
        assert!(parse("rollcall alert add who --strangers --opened-within 1h --left").is_ok());
        assert!(parse("rollcall alert add who --photo a.jpg --photo b.jpg --live-only").is_ok());
        assert!(parse("rollcall alert add who --strangers --crop").is_err());
        assert!(parse("rollcall alert set 1 --enable --disable").is_err());
        assert!(parse("rollcall alert set 1 --left=false --webhook http://a/").is_ok());
        assert!(parse("rollcall watch --kind alert").is_ok());
    }

    #[test]
    fn a_watch_begins_at_one_place() {
        assert!(parse("rollcall watch --from-start --cursor x").is_err());
        assert!(parse("rollcall watch --kind sighting_started --until-idle 2s").is_ok());
        assert!(parse("rollcall watch --kind party").is_err());
    }
}
