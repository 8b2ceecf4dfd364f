//! `rollcalld doctor`: is everything here that a server needs, and what is to be done where it is not?

use crate::access::check_tokens;
use crate::check::{CheckError, OpenedLog};
use crate::config::Config;
use crate::core::Contract;
use crate::disk::Room;
use crate::serve::worker_program;
use crate::time::now_us;
use crate::tls;
use crate::vision::Vision;
use rollcall_log::OpenError;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Less room than this and nothing is written for long.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Files and connections that a busy server has open.
const OPEN_FILES_MIN: u64 = 4096;
/// Days before its end at which a certificate should have been renewed.
const DAYS_LEFT_MIN: i64 = 14;
/// Records may be this much ahead of the clock: it is set now and then.
const CLOCK_AHEAD_US: i64 = 60_000_000;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// As it should be.
    Fine,
    /// The server starts; somebody should look at it.
    Doubtful,
    /// The server does not start, or writes nothing.
    Wrong,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The thing: `models`, `data`, `disk`, `worker`, `address`, `keys`, `tls`, `clock`, `limits`, `files`.
    pub about: &'static str,
    /// How grave it is.
    pub health: Health,
    /// What there is.
    pub what: String,
    /// What to do about it; empty if nothing.
    pub todo: String,
}

impl Finding {
    fn fine(about: &'static str, what: impl Into<String>) -> Self {
        Self {
            about,
            health: Health::Fine,
            what: what.into(),
            todo: String::new(),
        }
    }

    fn doubtful(about: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            health: Health::Doubtful,
            todo: todo.into(),
            ..Self::fine(about, what)
        }
    }

    fn wrong(about: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self {
            health: Health::Wrong,
            ..Self::doubtful(about, what, todo)
        }
    }
}

/// Looks at everything that these settings name. Loads the models, and opens the log, if no server has it, as a start
/// does: an unfinished write at its end is cut off. Nothing else is changed.
#[must_use]
pub fn doctor(config: &Config) -> Vec<Finding> {
    let (data, contract) = data(&config.data);
    let mut all = vec![data];
    all.push(models(config, contract.as_ref()));
    all.push(disk(&config.data));
    all.push(worker(&config.ingest.worker_command));
    all.extend(resolver(&config.ingest.resolver_command));
    all.extend(roots(config));
    let page = if config.serves_page() {
        "The page and the metrics"
    } else {
        "Metrics and health"
    };
    let (keys, mut asks) = keys(config);
    all.push(keys);
    if !config.jwt.key_file.as_os_str().is_empty() {
        asks = true;
        all.push(match check_tokens(&config.jwt) {
            Ok(()) => Finding::fine("keys", "tokens of an identity provider are taken as well"),
            Err(error) => {
                let todo = "mend the file or the settings of [jwt]";
                Finding::wrong("keys", error.to_string(), todo)
            }
        });
    }
    all.extend(certificate(config));
    let refused = config.open_to_strangers(asks);
    for (key, listen, what) in [
        ("grpc.listen", config.grpc.listen, "The API"),
        ("http.listen", config.http.listen, page),
    ] {
        all.push(if refused == Some((key, listen)) {
            let what = format!("{key} = {listen} is refused: nobody there is asked who they are");
            let todo = "make a key (rollcalld key create), listen on 127.0.0.1, or say --set access=anyone";
            Finding::wrong("address", what, todo)
        } else {
            address(key, listen, what, asks)
        });
    }
    all.push(limits());
    all
}

/// The data folder, and whose embeddings it holds.
fn data(folder: &Path) -> (Finding, Option<Contract>) {
    let shown = folder.display();
    if !folder.exists() {
        let what = format!("{shown} is not there yet: the first start makes it");
        return (Finding::fine("data", what), None);
    }
    let needed = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(error) = rustix::fs::access(folder, needed) {
        let what = format!("{shown} cannot be written: {error}");
        let todo =
            "give it to the user whom the server runs as, or name another folder with --data";
        return (Finding::wrong("data", what, todo), None);
    }
    match OpenedLog::of(folder) {
        Ok(opened) => {
            let reader = opened.log.reader();
            let sequence = reader.durable_sequence();
            let newest = reader.record(sequence).ok().flatten();
            let ahead_us = newest.map_or(0, |record| record.time_us - now_us());
            if ahead_us > CLOCK_AHEAD_US {
                let what = format!(
                    "the newest record is {} s in the future: the clock went back",
                    ahead_us / 1_000_000
                );
                let todo = "set the clock, and let it be kept (chrony, systemd-timesyncd)";
                return (
                    Finding::doubtful("clock", what, todo),
                    Some(opened.contract),
                );
            }
            let what = format!(
                "{shown}: {sequence} records of contract {}",
                opened.contract.id
            );
            (Finding::fine("data", what), Some(opened.contract))
        }
        Err(CheckError::NoCollection { .. }) => {
            let what = format!("{shown} holds no collection yet");
            (Finding::fine("data", what), None)
        }
        Err(CheckError::Log(OpenError::InUse { .. })) => {
            let what = format!("{shown} is that of a server that runs");
            (Finding::fine("data", what), None)
        }
        Err(error) => {
            let todo = "`rollcalld check` tells more; what is damaged is never guessed";
            (Finding::wrong("data", error.to_string(), todo), None)
        }
    }
}

fn models(config: &Config, contract: Option<&Contract>) -> Finding {
    let todo = "make setup, or name their folder with --assets";
    let vision = match Vision::find(config) {
        Ok(vision) => vision,
        Err(error) => return Finding::wrong("models", error.to_string(), todo),
    };
    let embedder = contract.and_then(|contract| contract.embedder.as_deref());
    let loaded = match (vision.load)(embedder) {
        Ok(loaded) => loaded.collection,
        Err(error) => return Finding::wrong("models", error.to_string(), todo),
    };
    let what = format!(
        "{} and {}, contract {}, in {}",
        loaded.detector,
        loaded.embedder,
        loaded.contract,
        vision.assets.display()
    );
    match contract {
        Some(contract) if contract.id != loaded.contract => Finding::wrong(
            "models",
            format!("{what}; the collection is of contract {}", contract.id),
            "name the models that made it with --assets; a server that has both goes over to others (docs/migration.md)",
        ),
        _ => Finding::fine("models", what),
    }
}

fn disk(folder: &Path) -> Finding {
    // The next folder upwards that is there.
    let there = folder.ancestors().find(|folder| folder.is_dir());
    let there = there.unwrap_or(Path::new("."));
    let Some(disk) = Room::of(there) else {
        let what = format!(
            "{}: the system does not say how much is free",
            there.display()
        );
        return Finding::doubtful("disk", what, "keep an eye on it");
    };
    room(disk)
}

fn room(Room { free, size }: Room) -> Finding {
    let whole = |bytes: u64| format!("{}.{} GiB", bytes >> 30, ((bytes % (1 << 30)) * 10) >> 30);
    let what = format!("{} of {} free", whole(free), whole(size));
    let todo = "make room: a server whose disk is full refuses writes and only answers";
    if free < FREE_BYTES_MIN {
        Finding::wrong("disk", what, todo)
    } else if free < size / 10 {
        Finding::doubtful("disk", what, todo)
    } else {
        Finding::fine("disk", what)
    }
}

/// The program that reads videos is there, and of this version.
fn worker(set: &Path) -> Finding {
    let program = worker_program(set);
    let shown = program.display();
    let todo = "put rollcall-ingest beside rollcalld, or name it (setting ingest.worker_command)";
    let said = match Command::new(&program).arg("--version").output() {
        Ok(done) if done.status.success() => String::from_utf8_lossy(&done.stdout).into_owned(),
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            let what = format!("{shown} does not run: {said}");
            return Finding::wrong(
                "worker",
                what,
                "install what it says is missing (make setup)",
            );
        }
        Err(error) => {
            let what = format!("{shown} cannot be started: {error}");
            return Finding::wrong("worker", what, todo);
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    if said.split_whitespace().last() == Some(version) {
        Finding::fine("worker", format!("{shown}, version {version}"))
    } else {
        let what = format!("{shown} says {:?}, this is version {version}", said.trim());
        Finding::doubtful("worker", what, "use programs of one version")
    }
}

/// The program that finds streams on pages, if one is set.
fn resolver(command: &[String]) -> Option<Finding> {
    let program = command.first()?;
    let is_file = |path: &Path| path.is_file();
    let found = if program.contains('/') {
        is_file(Path::new(program))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| is_file(&folder.join(program)))
    };
    Some(if found {
        Finding::fine("worker", format!("{program} finds the streams of pages"))
    } else {
        let what = format!("{program} is not there (setting ingest.resolver_command)");
        Finding::wrong("worker", what, "install it, or leave the setting empty")
    })
}

/// Folders that files may be read from.
fn roots(config: &Config) -> Vec<Finding> {
    let roots = &config.ingest.file_roots;
    let gone = roots.iter().filter(|root| std::fs::read_dir(root).is_err());
    let mut all: Vec<Finding> = gone
        .map(|root| {
            let what = format!(
                "{} cannot be read (setting ingest.file_roots)",
                root.display()
            );
            Finding::doubtful("files", what, "make it readable, or leave it out")
        })
        .collect();
    if roots.is_empty() && !config.is_local() {
        let what = "no files may be read, since others than this machine reach the API";
        let todo = "name folders for them (setting ingest.file_roots), if files are to be read";
        all.push(Finding::doubtful("files", what, todo));
    }
    all
}

/// The certificate can be used, and for how long.
fn certificate(config: &Config) -> Option<Finding> {
    let certificate = config.tls.certificate.display();
    Some(match tls::ends(config) {
        Ok(None) => return None,
        Err(error) => {
            let todo = "mend the files or the settings of [tls]";
            Finding::wrong("tls", error.to_string(), todo)
        }
        Ok(Some(0)) => {
            let what = format!("{certificate} does not say when it ends");
            Finding::doubtful("tls", what, "see to it that it is renewed in time")
        }
        Ok(Some(end)) => match tls::days_until(end) {
            days @ ..0 => {
                let what = format!("{certificate} has ended {} days ago", -days);
                Finding::doubtful("tls", what, "renew it: callers refuse it")
            }
            days @ 0..DAYS_LEFT_MIN => {
                let what = format!("{certificate} ends in {days} days");
                let todo = "renew it: a running server takes the new one up by itself";
                Finding::doubtful("tls", what, todo)
            }
            days => Finding::fine("tls", format!("{certificate} is good for {days} days")),
        },
    })
}

/// The file of keys can be read, and by nobody else; and whether keys are asked for.
fn keys(config: &Config) -> (Finding, bool) {
    let file = config.key_file();
    let shown = file.path().display();
    let keys = match file.read() {
        Ok(keys) => keys,
        Err(error) => {
            let todo = "a start is refused until it is mended; a server that runs goes on with the keys of before";
            return (Finding::wrong("keys", error.to_string(), todo), true);
        }
    };
    if keys.is_empty() {
        let what = "there are none: nobody is asked who they are";
        return (Finding::fine("keys", what), false);
    }
    let mode = std::fs::metadata(file.path()).map_or(0, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        let what = format!("{shown} can be read or written by other users");
        let todo = format!("chmod 600 {shown}");
        return (Finding::doubtful("keys", what, todo), true);
    }
    let active = keys.iter().filter(|key| key.state() == "active").count();
    if active == 0 {
        let what = format!(
            "{shown}: none of {} is good any more: nobody is let in",
            keys.len()
        );
        let todo = "rollcalld key create --role admin";
        return (Finding::doubtful("keys", what, todo), true);
    }
    let what = format!("{shown}: {active} of {} are good", keys.len());
    (Finding::fine("keys", what), true)
}

fn address(key: &str, listen: SocketAddr, what: &str, asks: bool) -> Finding {
    if !listen.ip().is_loopback() && asks {
        let what =
            format!("{key} = {listen}: {what} can be reached from elsewhere, by who has a key");
        return Finding::fine("address", what);
    }
    if !listen.ip().is_loopback() {
        let what = format!(
            "{key} = {listen}: {what} can be reached from elsewhere, and nobody is asked who they are"
        );
        let todo =
            "make a key (rollcalld key create), listen on 127.0.0.1, or behind a proxy that asks";
        return Finding::doubtful("address", what, todo);
    }
    match TcpListener::bind(listen) {
        Ok(_) => Finding::fine("address", format!("{key} = {listen} is free")),
        Err(error) => {
            let what = format!("{key} = {listen}: {error}");
            let todo = "fine if that is a server of yours that runs; else choose another";
            Finding::doubtful("address", what, todo)
        }
    }
}

fn limits() -> Finding {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match files.current {
        Some(most) if most < OPEN_FILES_MIN => Finding::doubtful(
            "limits",
            format!("{most} files may be open"),
            format!("raise it to {OPEN_FILES_MIN} or more (ulimit -n, LimitNOFILE=)"),
        ),
        Some(most) => Finding::fine("limits", format!("{most} files may be open")),
        None => Finding::fine("limits", "any number of files may be open"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Access, Assigner};
    use crate::core::{Core, CoreMetrics, CoreOptions};

    fn open(folder: &Path) -> Core {
        let options = CoreOptions {
            data: folder.to_owned(),
            contract: "a contract".to_owned(),
            dimension: 8,
            same_cosine: 0.4,
            assigner: Assigner::Evidence,
            writer_queue: 1,
        };
        let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
        Core::open(options, metrics).unwrap()
    }

    fn of<'a>(all: &'a [Finding], about: &str) -> &'a Finding {
        all.iter().find(|finding| finding.about == about).unwrap()
    }

    #[tokio::test]
    async fn what_is_missing_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config {
            data: folder.path().join("data"),
            assets: folder.path().join("none"),
            ..Config::default()
        };
        config.ingest.worker_command = folder.path().join("no-worker");
        config.ingest.resolver_command = vec!["no-such-resolver".to_owned()];
        config.ingest.file_roots = vec![folder.path().join("no-videos")];
        config.grpc.listen = "0.0.0.0:0".parse().unwrap();
        let all = doctor(&config);
        assert_eq!(of(&all, "data").health, Health::Fine);
        for about in ["models", "worker", "address"] {
            let finding = of(&all, about);
            assert_eq!(finding.health, Health::Wrong, "{finding:?}");
        }
        assert_eq!(of(&all, "files").health, Health::Doubtful);
        for finding in &all {
            assert_eq!(
                finding.todo.is_empty(),
                finding.health == Health::Fine,
                "{finding:?}"
            );
        }
        config.access = Access::Anyone;
        let all = doctor(&config);
        assert_eq!(of(&all, "address").health, Health::Doubtful);
        assert!(!config.data.exists(), "a look makes nothing");
    }

    #[tokio::test]
    async fn a_collection_is_looked_at_and_one_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        let (finding, contract) = data(folder.path());
        assert!(finding.what.contains("server that runs"), "{finding:?}");
        assert_eq!((finding.health, contract), (Health::Fine, None));
        core.close().await;
        let (finding, contract) = data(folder.path());
        assert_eq!(finding.health, Health::Fine, "{finding:?}");
        let id = contract.unwrap().id;
        assert!(
            finding.what.ends_with(&format!("of contract {id}")),
            "{finding:?}"
        );
    }

    #[test]
    fn little_room_is_doubtful_and_none_is_wrong() {
        let check = |free: u64, size: u64, expected: Health| {
            let (free, size) = (free << 20, size << 20);
            let finding = room(Room { free, size });
            assert_eq!(finding.health, expected, "{finding:?}");
        };
        check(500, 1_000_000, Health::Wrong);
        check(2_000, 1_000_000, Health::Doubtful);
        check(200_000, 1_000_000, Health::Fine);
        assert_eq!(
            room(Room {
                free: 3 << 29,
                size: 1 << 40
            })
            .what,
            "1.5 GiB of 1024.0 GiB free"
        );
    }

    #[test]
    fn addresses_that_are_taken_are_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        assert_eq!(
            address("grpc.listen", listen, "", false).health,
            Health::Doubtful
        );
        drop(taken);
        assert_eq!(
            address("grpc.listen", listen, "", false).health,
            Health::Fine
        );
    }
}
