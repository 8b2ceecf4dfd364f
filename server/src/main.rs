//! The server's command line.

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rollcall_index::MemoryBudget;
use rollcall_index::vectors::SideFiles;
use rollcall_server::access::{Lifetime, NewKey, Role, StoredKey};
use rollcall_server::audit;
use rollcall_server::build::{self, BuildInput, Built, GivenRule, Progress};
use rollcall_server::config::{Flags, Loaded, load};
use rollcall_server::{
    CheckOptions, Health, Server, Verified, Vision, check, doctor, offline_index, verify_erasures,
};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Finds and recognises faces in video: the server.
///
/// Settings come from flags, then from environment variables (ROLLCALL_ and the setting's name, a
/// double underscore for each dot: ROLLCALL_GRPC__LISTEN), then from the file given with --config,
/// then from defaults. Exit codes: 0 all well, 2 error.
#[derive(Debug, Parser)]
#[command(name = "rollcalld", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Settings {
    /// Settings file (TOML)
    #[arg(long, global = true, value_name = "FILE", env = "ROLLCALL_CONFIG")]
    config: Option<PathBuf>,
    /// Data folder (setting data) [env: ROLLCALL_DATA]
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<String>,
    /// Models and ONNX Runtime (setting assets) [env: ROLLCALL_ASSETS]
    #[arg(long, global = true, value_name = "FOLDER")]
    assets: Option<String>,
    /// By which rule tracks get their identities: evidence, or hri to compare with the published
    /// algorithm (setting assigner) [env: ROLLCALL_ASSIGNER]
    #[arg(long, global = true, value_name = "RULE")]
    assigner: Option<String>,
    /// Address of the API (setting grpc.listen) [env: ROLLCALL_GRPC__LISTEN]
    #[arg(long, global = true, value_name = "ADDRESS")]
    grpc_listen: Option<String>,
    /// Address of metrics and health (setting http.listen) [env: ROLLCALL_HTTP__LISTEN]
    #[arg(long, global = true, value_name = "ADDRESS")]
    http_listen: Option<String>,
    /// What is logged (setting log.filter) [env: ROLLCALL_LOG__FILTER]
    #[arg(long, global = true, value_name = "FILTER")]
    log_filter: Option<String>,
    /// Any setting, as in --set search.threads=2; may be given several times
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM or Ctrl-C
    Serve {
        /// Write the addresses listened on to this file as JSON, once they are
        #[arg(long, value_name = "FILE", env = "ROLLCALL_PORT_FILE")]
        port_file: Option<PathBuf>,
    },
    /// Look at the settings
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Put what was extracted elsewhere into the data folder: folders of `rollcall-ingest extract`, files
    /// of vectors; the server must not be running
    ///
    /// Broken off, the same command goes on where it was; what is in the collection is passed over.
    Build(Build),
    /// Read everything in the data folder and say whether it is whole; the server must not be
    /// running
    ///
    /// Catalog and indexes follow from the log: what cannot be read of them is made anew. Damage to the log
    /// itself is named, with what is lost by it. Exit code 2 if anything cannot be read.
    Check {
        /// Make catalog and indexes anew where they differ from the log
        #[arg(long)]
        repair: bool,
        /// With --repair: go on with a log whose end is gone; the records that were there are lost for good
        #[arg(long, requires = "repair")]
        accept_loss: bool,
    },
    /// What was erased
    Erase {
        #[command(subcommand)]
        command: EraseCommand,
    },
    /// Look whether everything is here that a server needs, and say what to do where it is not
    Doctor,
    /// Make, list or revoke the keys that callers are asked for; the server may be running
    ///
    /// Once there is a key, even a revoked one, everybody is asked for one, on this machine too. A running server
    /// takes changes up within two seconds.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Look at the audit log: who did what; the server may be running
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Make, verify or describe the search index in the data folder; the server must not be running
    Index {
        #[command(subcommand)]
        command: IndexCommand,
    },
}

#[derive(Debug, Args)]
struct Build {
    /// Extracted folders, folders of those, or files of vectors (.npy, .jsonl, .parquet)
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The contract of the vectors [default: the collection's, or that of the models in --assets]
    #[arg(long, value_name = "ID")]
    contract: Option<String>,
    /// Among the embeddings of a .jsonl file that has several: those of this model
    #[arg(long, value_name = "NAME", default_value = "")]
    model: String,
    /// The track of each vector (.npy of integers) [default: each is a track of its own]
    #[arg(long, value_name = "FILE")]
    tracks: Option<PathBuf>,
    /// The source of each vector (.npy of integers) [default: one source]
    #[arg(long, value_name = "FILE")]
    sources: Option<PathBuf>,
    /// When each vector's face was seen, in Unix microseconds (.npy of integers)
    #[arg(long, value_name = "FILE")]
    times: Option<PathBuf>,
    /// Whose each vector is (.npy of integers, below 0: nobody's) [default: as the file says, if it does]
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// Names of given identities: a table with the columns identity and name (.csv)
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Identities given with vectors: each becomes one person, or the server's rule decides alone
    #[arg(long, value_enum, value_name = "RULE", default_value_t = GivenRule::Keep)]
    given: GivenRule,
    /// The cosine from which two faces are one person's [default: as the models of the contract say]
    #[arg(long, value_name = "COSINE", value_parser = cosine)]
    same_cosine: Option<f32>,
    /// Take what there is of an extraction that did not come to its end
    #[arg(long)]
    partial: bool,
}

fn cosine(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "not a number")?;
    let inside = (-1.0..=1.0).contains(&value);
    inside
        .then_some(value)
        .ok_or_else(|| "a cosine lies between -1 and 1".to_owned())
}

#[derive(Debug, Subcommand)]
enum EraseCommand {
    /// Look for what was erased (keys, pictures, embeddings, rows, faces) and say whether it is gone; the server must
    /// not be running. Exit code 2 if anything of it is left
    Verify {
        /// One erasure alone: its id
        erasure: Option<u64>,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Make the index anew from the log; the one that was there stays until it is complete
    Build {
        /// New pages are kept in this much memory (KiB, MiB, GiB), then written to files
        #[arg(long, value_name = "BYTES", default_value = "1GiB")]
        memory: MemoryBudget,
        /// Threads; 0: as many as there are processors
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
    },
    /// Check every page, everything in them against everything else, and every face against the log
    Verify,
    /// What the index holds, level by level: cells, people, faces, bytes
    Stats {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key and print it, this once: only a digest of it is kept
    Create {
        /// What it may: reader (look), operator (and sources), editor (and edits), admin (everything)
        #[arg(long)]
        role: Role,
        /// For this source alone; may be given several times [default: all sources]
        #[arg(long = "source", value_name = "ID")]
        sources: Vec<u64>,
        /// For people; recorded as the author of what is done with it
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        label: String,
        /// How long it is good for, as in 90d or 12h [default: until it is revoked]
        #[arg(long, value_name = "TIME")]
        expires: Option<Lifetime>,
    },
    /// List the keys, without what makes them work
    List {
        /// As JSON, one object a line
        #[arg(long)]
        json: bool,
    },
    /// Refuse a key from now on
    Revoke {
        /// As `key list` shows it, and as it stands in the key
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check that no line was changed, added or taken away
    ///
    /// Lines cut off at the end leave no trace but another last digest: note the one that is printed elsewhere.
    Verify,
    /// Print the newest lines, one JSON object each, oldest first
    Show {
        /// How many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        lines: usize,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the merged settings as TOML, each with where it comes from
    Show,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Alternate form: the whole chain on one line.
            let _ = writeln!(std::io::stderr(), "rollcalld: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let loaded = settings(&cli.settings)?;
    match cli.command {
        Command::Serve { port_file } => serve(loaded, port_file),
        Command::Config {
            command: ConfigCommand::Show,
        } => print(&loaded.to_toml()),
        Command::Build(options) => build_collection(&loaded, options),
        Command::Check {
            repair,
            accept_loss,
        } => {
            let asked = CheckOptions {
                repair,
                accept_loss,
            };
            check_data(&loaded.config.data, asked)
        }
        Command::Erase {
            command: EraseCommand::Verify { erasure, json },
        } => verify(&loaded.config.data, erasure, json),
        Command::Doctor => look(&loaded),
        Command::Key { command } => key(&loaded, command),
        Command::Audit { command } => audit_log(&loaded, &command),
        Command::Index { command } => index(&loaded.config.data, &command),
    }
}

fn verify(data: &Path, erasure: Option<u64>, json: bool) -> anyhow::Result<()> {
    let mut all = verify_erasures(data)?;
    if let Some(wanted) = erasure {
        all.retain(|verified| verified.erasure == wanted);
        anyhow::ensure!(!all.is_empty(), "record {wanted} begins no erasure");
    }
    let gone = |verified: &Verified| verified.left.is_empty() && verified.receipt.is_some();
    let mut text = String::new();
    let mut shown = Vec::new();
    for verified in &all {
        let Verified {
            erasure,
            scope,
            tracks,
            keys,
            receipt,
            left,
        } = verified;
        let said = match receipt {
            _ if !left.is_empty() => "NOT GONE",
            None => "NOT THROUGH",
            Some(_) => "gone",
        };
        text += &format!("erasure {erasure} ({scope}): {said}: {tracks} sightings, {keys} keys\n");
        match receipt {
            Some(receipt) => text += &format!("  receipt {receipt}\n"),
            None => text += "  -> start the server: it goes on with it by itself\n",
        }
        for what in left {
            text += &format!("  {what}\n");
        }
        shown.push(serde_json::json!({
            "erasure": erasure, "scope": scope, "gone": gone(verified), "tracks": tracks, "keys": keys,
            "receipt": receipt, "left": left,
        }));
    }
    if json {
        print(&format!("{}\n", serde_json::json!({ "erasures": shown })))?;
    } else if all.is_empty() {
        print("nothing was ever erased\n")?;
    } else {
        print(&text)?;
    }
    let left = all.iter().filter(|verified| !gone(verified)).count();
    anyhow::ensure!(left == 0, "{left} of {} erasures are not gone", all.len());
    Ok(())
}

fn check_data(data: &Path, asked: CheckOptions) -> anyhow::Result<()> {
    let report = check(data, asked)?;
    let whole = if report.damaged == 0 {
        "whole"
    } else {
        "not whole"
    };
    let mut text = format!(
        "{}: {whole}: {} records, {} pictures and embeddings, {} identities, {} faces\n",
        data.display(),
        report.records,
        report.blobs,
        report.identities,
        report.faces,
    );
    if report.erased > 0 {
        text += &format!(
            "{} pictures and embeddings were erased on purpose\n",
            report.erased
        );
    }
    if report.torn_bytes > 0 {
        text += &format!(
            "an unfinished write of {} bytes at the end was cut off: it had not been acknowledged\n",
            report.torn_bytes
        );
    }
    for what in &report.made_anew {
        text += &format!("made anew from the log: {what}\n");
    }
    if let Some(why) = &report.unmade {
        text += &format!("catalog and indexes were not looked at: {why}\n");
    }
    if let Some((first, last)) = report.lost {
        text += &format!("records {first} to {last} are lost for good\n");
    }
    for damaged in &report.damaged_shown {
        let of = match damaged.track_id {
            0 => String::new(),
            track => format!(", of track {track}"),
        };
        let (what, sequence, why) = (&damaged.what, damaged.sequence, &damaged.why);
        text += &format!("lost: {what}{of}, record {sequence}: {why}\n");
    }
    print(&text)?;
    if report.damaged > 0 {
        let shown = report.damaged_shown.len();
        anyhow::bail!(
            "{} pictures and embeddings cannot be read ({shown} are named): restore the files named above from a \
             backup",
            report.damaged
        );
    }
    Ok(())
}

fn audit_log(loaded: &Loaded, command: &AuditCommand) -> anyhow::Result<()> {
    let folder = loaded.config.audit_folder();
    match command {
        AuditCommand::Verify => {
            let found = audit::verify(&folder)?;
            let mut text = format!(
                "{}: whole: {} lines in {} files, from line {} on; last digest {}\n",
                folder.display(),
                found.lines,
                found.files,
                found.first,
                found.last
            );
            if found.first > 1 {
                text += "older files were deleted (audit.files_max)\n";
            }
            if found.unfinished > 0 {
                text += &format!(
                    "{} lines were left unfinished by a crash\n",
                    found.unfinished
                );
            }
            print(&text)
        }
        AuditCommand::Show { lines } => {
            let lines = audit::show(&folder, *lines)?;
            print(
                &lines
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect::<String>(),
            )
        }
    }
}

fn key(loaded: &Loaded, command: KeyCommand) -> anyhow::Result<()> {
    let file = loaded.config.key_file();
    match command {
        KeyCommand::Create {
            role,
            sources,
            label,
            expires,
        } => {
            let first = file.read()?.is_empty();
            let (kept, key) = file.create(NewKey {
                role,
                label,
                sources,
                expires,
            })?;
            let until = kept
                .expires
                .map_or("until it is revoked".to_owned(), |end| {
                    format!("until {end}")
                });
            let mut told = format!("key {}: {role}, {until}; it is not shown again\n", kept.id);
            if first {
                told += "from now on everybody is asked for a key\n";
            }
            let _ = std::io::stderr().write_all(told.as_bytes());
            print(&format!("{key}\n"))
        }
        KeyCommand::List { json: true } => {
            let keys = file.read()?;
            let lines = keys.iter().map(|key| {
                let shown = serde_json::json!({
                    "id": key.id, "role": key.role, "label": key.label, "state": key.state(),
                    "sources": key.sources, "created": key.created, "expires": key.expires,
                    "revoked": key.revoked,
                });
                format!("{shown}\n")
            });
            print(&lines.collect::<String>())
        }
        KeyCommand::List { json: false } => print(&table(&file.read()?)),
        KeyCommand::Revoke { id } => {
            let key = file.revoke(&id)?;
            print(&format!(
                "{} ({}) is refused from now on\n",
                key.id, key.role
            ))
        }
    }
}

fn table(keys: &[StoredKey]) -> String {
    let mut text = String::new();
    for key in keys {
        let sources = key
            .sources
            .as_ref()
            .map_or("all sources".to_owned(), |sources| {
                let ids = sources.iter().map(u64::to_string);
                format!("sources {}", ids.collect::<Vec<_>>().join(", "))
            });
        let until = key.expires.as_deref().unwrap_or("-");
        text += &format!(
            "{:10}{:10}{:9}from {}  until {until:22}{sources:14}  {}\n",
            key.id,
            key.role,
            key.state(),
            key.created,
            key.label
        );
    }
    text
}

fn look(loaded: &Loaded) -> anyhow::Result<()> {
    let all = doctor(&loaded.config);
    let mut text = String::new();
    for finding in &all {
        let health = match finding.health {
            Health::Fine => "fine",
            Health::Doubtful => "doubtful",
            Health::Wrong => "WRONG",
        };
        text += &format!("{health:9}{:9}{}\n", finding.about, finding.what);
        if !finding.todo.is_empty() {
            text += &format!("{:18}-> {}\n", "", finding.todo);
        }
    }
    print(&text)?;
    let wrong = all.iter().filter(|finding| finding.health == Health::Wrong);
    match wrong.count() {
        0 => Ok(()),
        count => anyhow::bail!("{count} of {} things are wrong", all.len()),
    }
}

fn build_collection(loaded: &Loaded, options: Build) -> anyhow::Result<()> {
    let beside = [
        ("--tracks", &options.tracks),
        ("--sources", &options.sources),
        ("--times", &options.times),
        ("--identities", &options.identities),
        ("--names", &options.names),
    ];
    let beside = beside.iter().find(|(_, file)| file.is_some());
    if let (Some((option, _)), [_, _, ..]) = (beside, options.paths.as_slice()) {
        anyhow::bail!("{option} goes with one file of vectors: build each file by itself");
    }
    let sides = SideFiles {
        tracks: options.tracks,
        sources: options.sources,
        times: options.times,
        identities: options.identities,
    };
    let input = |path| BuildInput {
        path,
        sides: sides.clone(),
        model: options.model.clone(),
        contract: options.contract.clone().unwrap_or_default(),
        partial: options.partial,
        given: options.given,
        names: options.names.clone(),
    };
    let inputs = options.paths.into_iter().map(input).collect();
    let style =
        ProgressStyle::with_template("{bar:30} {human_pos} tracks, {per_sec}, {eta} left{msg}");
    // Shown on a terminal only.
    let bar = ProgressBar::new(0).with_style(style?);
    let begun = std::time::Instant::now();
    let progress = |far: Progress| {
        bar.set_length(far.tracks.max(far.done));
        bar.set_position(far.done);
        if far.people > 0 {
            let (done, people) = (far.people_done, far.people);
            bar.set_message(format!("; {done} of {people} given identities"));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let built = build::build(&loaded.config, inputs, options.same_cosine, progress);
    let built = runtime.block_on(built);
    bar.finish_and_clear();
    print(&told(&loaded.config.data, &built?, begun.elapsed()))
}

fn told(data: &Path, built: &Built, took: std::time::Duration) -> String {
    let known = match built.known {
        0 => String::new(),
        known => format!(" ({known} more were there already)"),
    };
    let mut text = format!(
        "{}: {} sources{known}, {} tracks, {} faces in {:.1} s; {} identities in all\n",
        data.display(),
        built.sources,
        built.tracks,
        built.faces,
        took.as_secs_f64(),
        built.identities,
    );
    let given = &built.given;
    if given.people > 0 {
        text += &format!(
            "given: {} tracks of {} people; {} tracks moved, {} people named\n",
            given.tracks, given.people, given.moved, given.named
        );
    }
    if given.kept > 0 {
        let kept = given.kept;
        text +=
            &format!("{kept} tracks stay where people have put them, or with somebody hidden\n");
    }
    if given.mixed > 0 {
        let mixed = given.mixed;
        text +=
            &format!("{mixed} tracks were given as several people's: most of their faces decide\n");
    }
    if given.refused > 0 {
        text += &format!("{} things given were not done:\n", given.refused);
    }
    for note in &given.notes {
        text += &format!("  {note}\n");
    }
    text
}

fn index(data: &Path, command: &IndexCommand) -> anyhow::Result<()> {
    match command {
        IndexCommand::Build { memory, threads } => {
            let threads = rayon::ThreadPoolBuilder::new()
                .num_threads(*threads)
                .build()?;
            let style =
                ProgressStyle::with_template("{bar:30} {human_pos} faces, {per_sec}, {eta} left");
            // Shown on a terminal only.
            let bar = ProgressBar::new(0).with_style(style?);
            let mut progress = |done: usize, faces: usize| {
                bar.set_length(u64::try_from(faces).unwrap_or(u64::MAX));
                bar.set_position(u64::try_from(done).unwrap_or(u64::MAX));
            };
            let built = threads.install(|| offline_index::build(data, *memory, &mut progress));
            bar.finish_and_clear();
            print(&built?.to_string())
        }
        IndexCommand::Verify => {
            let found = offline_index::verify(data)?;
            let mut text = format!(
                "sound, and as the log has it: {} faces in {} tracks of {} identities; sequence {}\n",
                found.faces, found.tracks, found.identities, found.sequence
            );
            if found.behind > 0 {
                text += &format!(
                    "the log goes on for {} records: the server applies them when it starts\n",
                    found.behind
                );
            }
            print(&text)
        }
        IndexCommand::Stats { json } => {
            let facts = offline_index::stats(data)?;
            print(&if *json {
                format!("{}\n", serde_json::to_value(facts)?)
            } else {
                facts.to_string()
            })
        }
    }
}

fn settings(settings: &Settings) -> anyhow::Result<Loaded> {
    let mut flags = Flags::default()
        .with("--data", "data", settings.data.as_deref())
        .with("--assets", "assets", settings.assets.as_deref())
        .with("--assigner", "assigner", settings.assigner.as_deref())
        .with(
            "--grpc-listen",
            "grpc.listen",
            settings.grpc_listen.as_deref(),
        )
        .with(
            "--http-listen",
            "http.listen",
            settings.http_listen.as_deref(),
        )
        .with("--log-filter", "log.filter", settings.log_filter.as_deref());
    for set in &settings.set {
        let Some((key, value)) = set.split_once('=') else {
            anyhow::bail!("--set {set}: write it as KEY=VALUE, as in --set search.threads=2");
        };
        flags = flags.with("--set", key.trim(), Some(value));
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(load(settings.config.as_deref(), environment, &flags)?)
}

/// Writes results; a pipe that was closed is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn serve(loaded: Loaded, port_file: Option<PathBuf>) -> anyhow::Result<()> {
    let config = loaded.config;
    let filter = EnvFilter::try_new(&config.log.filter)
        .map_err(|error| anyhow::anyhow!("log.filter: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        // Before anything else: a signal during the start is not lost.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let page = config.serves_page();
        let scheme = if config.uses_tls() { "https" } else { "http" };
        let vision = Vision::find(&config)?;
        let server = Server::start(config, vision).await?;
        if let Some(path) = &port_file {
            write_port_file(path, &server)?;
        }
        let _ = writeln!(
            std::io::stderr(),
            "rollcalld: listening on {} (gRPC) and {scheme}://{} ({}metrics, health)",
            server.grpc(),
            server.http(),
            if page { "the page, " } else { "" }
        );
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        // Not within the macro: what it logs is not even evaluated when the filter leaves it out.
        let signal = signalled().await;
        tracing::info!(signal, "shutting down");
        tokio::select! {
            () = server.stop() => Ok(()),
            signal = signalled() => Err(anyhow::anyhow!("left at once on a second signal ({signal})")),
        }
    });
    // Blocked threads do not hold up the end: what had to be synced is.
    runtime.shutdown_background();
    result
}

/// Writes the addresses under a temporary name first: a reader sees all of it or nothing.
fn write_port_file(path: &Path, server: &Server) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let json = serde_json::json!({
        "grpc": server.grpc().to_string(),
        "http": server.http().to_string(),
    });
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let context = || format!("cannot write port file {}", path.display());
    std::fs::write(&temporary, format!("{json}\n")).with_context(context)?;
    std::fs::rename(&temporary, path).with_context(context)
}
