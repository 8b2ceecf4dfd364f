//! Settings: flag over environment over file over default, checked before anything starts.

mod keys;
mod load;
mod retention;
mod show;

pub use keys::{KEYS, Key, Kind};
pub use load::{ConfigError, Flags, Loaded, Origin, load};
pub use retention::{Kept, Retention};

use crate::access::KeyFile;
use rollcall_ingest::DetectSizes;
use rollcall_ingest::Provider;
use rollcall_ingest::pipeline::{GateRule, ShotRule};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of the server. `docs/configuration.md` describes each key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data folder: log and catalog. One server at a time.
    pub data: PathBuf,
    /// ONNX Runtime and models; empty: `./.assets`, then beside the program, then
    /// `/usr/lib/rollcall`.
    pub assets: PathBuf,
    /// By which rule tracks get their identities.
    pub assigner: Assigner,
    /// Who may reach it while there are no keys.
    pub access: Access,
    /// The file that keys are kept in; empty: `keys.toml` in the data folder.
    pub keys: PathBuf,
    /// The API's door.
    pub grpc: Grpc,
    /// Metrics, health and the web page.
    pub http: Http,
    /// Encryption of both.
    pub tls: Tls,
    /// Tokens of an identity provider.
    pub jwt: Jwt,
    /// Who did what.
    pub audit: Audit,
    /// Searching.
    pub search: Search,
    /// Reading sources.
    pub ingest: Ingest,
    /// Going over to another model.
    pub migration: Migration,
    /// Looking at identities again.
    pub repair: Repair,
    /// How long sightings are kept.
    pub retention: Retention,
    /// Live updates.
    pub watch: Watch,
    /// Telling of people who appear.
    pub alerts: Alerts,
    /// The one writer.
    pub writer: Writer,
    /// Going down.
    pub shutdown: Shutdown,
    /// What is written to standard error.
    pub log: Log,
}

/// By which rule tracks get their identities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assigner {
    /// The server's own, which weighs evidence and looks again.
    #[default]
    Evidence,
    /// That of the published Hierarchical Retrieval Index, which decides once.
    Hri,
}

/// Who may reach API and page while there are no keys, so that nobody is asked who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Whoever is on this machine.
    #[default]
    Local,
    /// Whoever reaches the addresses listened on: they may see, search and change everything.
    Anyone,
}

/// The API's door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Largest message taken.
    pub message_bytes_max: usize,
    /// Unary requests carried out at a time; more are refused.
    pub concurrent_requests_max: usize,
}

/// Metrics, health and the web page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Whether the page is served.
    pub page: PageRule,
    /// Names, beside `localhost` and addresses in numbers, under which the page answers.
    pub allowed_hosts: Vec<String>,
}

/// Who did what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Whether calls that change nothing are recorded too.
    pub reads: AuditReads,
    /// A file that is larger is followed by another.
    pub file_bytes_max: u64,
    /// Files that are kept; older ones are deleted.
    pub files_max: usize,
}

/// Whether calls that change nothing are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditReads {
    /// They are not, but refused ones are.
    #[default]
    Off,
    /// They are.
    On,
}

/// Tokens of an identity provider, beside keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The issuer's public key (PEM), or the secret shared with it; empty: no tokens are taken.
    pub key_file: PathBuf,
    /// By which tokens are signed; no other is taken.
    pub algorithm: JwtAlgorithm,
    /// Whose tokens are taken; empty: whoever has the key.
    pub issuer: String,
    /// For whom tokens have to be.
    pub audience: String,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// RSA, PKCS #1 v1.5.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA over P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// A shared secret.
    #[serde(rename = "HS256")]
    Hs256,
}

/// Encryption of API and page. PEM files, read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate and those between it and a root; empty: no TLS.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Whose certificates callers have to show; empty: none are asked for.
    pub client_ca: PathBuf,
}

/// Whether the page is served, which shows faces and takes edits from whoever reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageRule {
    /// If `http.listen` is a loopback address.
    Local,
    /// Wherever `http.listen` is.
    On,
    /// Not at all.
    Off,
}

/// Searching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Threads for photos, and as many for index searches; 0: one a core.
    pub threads: usize,
    /// Searches that may wait for a thread; more are refused.
    pub queue_max: usize,
    /// How often it is looked whether the collection has changed so much that what a cosine is worth
    /// has to be found anew, in seconds; 0: never.
    pub calibrate_s: u64,
    /// A request that takes longer is given up.
    pub timeout_ms: u64,
}

/// Reading sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Files read at a time, each by a worker process; 0: one a core.
    pub workers_max: usize,
    /// Live sources read at a time, each by a worker process.
    pub live_max: usize,
    /// Folders that files may be read from; empty: any, if `grpc.listen` is a loopback address,
    /// else none.
    pub file_roots: Vec<PathBuf>,
    /// FFmpeg protocols that sources may use, nested ones included.
    pub protocols: Vec<String>,
    /// The program, with its arguments, that finds the stream on a page; empty: pages are refused.
    pub resolver_command: Vec<String>,
    /// The worker program; empty: `rollcall-ingest` beside this one, else on the path.
    pub worker_command: PathBuf,
    /// By which rule shots are told apart.
    pub shots: ShotRule,
    /// By which gates frames and faces are refused.
    pub gates: GateRule,
    /// What runs the workers' models, if it can be had; else the CPU does.
    pub provider: Provider,
    /// What workers read off the faces that are kept, by the names of `docs/attributes.md`.
    pub attributes: Vec<String>,
    /// The detector's id: a manifest in the models folder.
    pub detector: String,
    /// Longest sides at which it sees each frame, in pixels, separated by commas.
    pub detect_sizes: String,
    /// Unacknowledged messages of a run at most.
    pub window: u32,
    /// Time to open a source.
    pub open_timeout_s: u64,
    /// Time without data after which a read is given up.
    pub read_timeout_s: u64,
    /// Time for a worker to leave after a stop before it is ended.
    pub stop_timeout_s: u64,
}

/// Going over to another model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Of one core, for embedding faces again.
    pub share_percent: u32,
}

/// Looking at identities again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// What comes of it.
    pub mode: RepairMode,
    /// Of one core, for that.
    pub share_percent: u32,
}

/// What comes of looking at identities again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairMode {
    /// What lies beyond the bound is merged, the rest is proposed.
    Merge,
    /// All is proposed.
    Propose,
    /// They are not looked at.
    Off,
}

/// Live updates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Watchers and followers at a time; more are refused.
    pub subscribers_max: usize,
    /// Time without an event after which a heartbeat is sent.
    pub heartbeat_ms: u64,
    /// Events that may wait for one slow subscriber.
    pub buffer_max: usize,
}

/// Telling of people who appear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alerts {
    /// Hosts that webhooks may be on; empty: any, if `grpc.listen` is a loopback address, else none.
    pub webhook_hosts: Vec<String>,
    /// Time for a webhook to answer.
    pub webhook_timeout_ms: u64,
    /// First pause after a webhook has failed; doubles up to the longest.
    pub retry_first_ms: u64,
    /// The longest pause.
    pub retry_longest_ms: u64,
}

/// The one writer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Writer {
    /// Commands that may wait.
    pub queue_max: usize,
}

/// Going down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// Time for requests to finish.
    pub deadline_s: u64,
}

/// What is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// As in `info,rollcall_server=debug`.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        let protocols = [
            "file", "http", "https", "tcp", "tls", "rtsp", "rtp", "udp", "rtmp",
        ];
        let protocols = protocols
            .into_iter()
            .chain(["srt", "hls", "crypto", "httpproxy"]);
        Self {
            data: PathBuf::from("rollcall-data"),
            assets: PathBuf::new(),
            assigner: Assigner::default(),
            access: Access::default(),
            keys: PathBuf::new(),
            grpc: Grpc {
                listen: SocketAddr::from(([127, 0, 0, 1], 50551)),
                message_bytes_max: 16 << 20,
                concurrent_requests_max: 256,
            },
            http: Http {
                listen: SocketAddr::from(([127, 0, 0, 1], 9464)),
                page: PageRule::Local,
                allowed_hosts: Vec::new(),
            },
            tls: Tls::default(),
            jwt: Jwt::default(),
            audit: Audit {
                reads: AuditReads::default(),
                file_bytes_max: 64 << 20,
                files_max: 32,
            },
            search: Search {
                threads: 0,
                queue_max: 64,
                calibrate_s: 60,
                timeout_ms: 10_000,
            },
            ingest: Ingest {
                workers_max: 0,
                live_max: 16,
                file_roots: Vec::new(),
                protocols: protocols.map(String::from).collect(),
                resolver_command: Vec::new(),
                worker_command: PathBuf::new(),
                shots: ShotRule::default(),
                gates: GateRule::default(),
                provider: Provider::default(),
                attributes: Vec::new(),
                detector: "centerface".to_owned(),
                detect_sizes: "640".to_owned(),
                window: 64,
                open_timeout_s: 15,
                read_timeout_s: 15,
                stop_timeout_s: 5,
            },
            migration: Migration { share_percent: 50 },
            repair: Repair {
                mode: RepairMode::Merge,
                share_percent: 25,
            },
            retention: Retention {
                unknown: "never".to_owned(),
                named: "never".to_owned(),
                sources: Vec::new(),
                every_s: 3600,
            },
            watch: Watch {
                subscribers_max: 64,
                heartbeat_ms: 5000,
                buffer_max: 256,
            },
            alerts: Alerts {
                webhook_hosts: Vec::new(),
                webhook_timeout_ms: 10_000,
                retry_first_ms: 1000,
                retry_longest_ms: 300_000,
            },
            writer: Writer { queue_max: 1024 },
            shutdown: Shutdown { deadline_s: 10 },
            log: Log {
                filter: "info".to_owned(),
            },
        }
    }
}

impl Config {
    /// Threads for searches.
    pub fn search_threads(&self) -> usize {
        or_cores(self.search.threads)
    }

    /// Files read at a time.
    pub fn workers_max(&self) -> usize {
        or_cores(self.ingest.workers_max)
    }

    /// How large the detector sees each frame.
    pub fn detect_sizes(&self) -> DetectSizes {
        // A text that is none was refused when the settings were loaded.
        self.ingest.detect_sizes.parse().unwrap_or_default()
    }

    /// Longest time a unary request may take.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.search.timeout_ms)
    }

    /// Time without an event after which a heartbeat is sent.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.watch.heartbeat_ms)
    }

    /// Whether callers come over TLS.
    pub fn uses_tls(&self) -> bool {
        !self.tls.certificate.as_os_str().is_empty()
    }

    /// Whether the page is served.
    pub fn serves_page(&self) -> bool {
        match self.http.page {
            PageRule::Local => self.http.listen.ip().is_loopback(),
            PageRule::On => true,
            PageRule::Off => false,
        }
    }

    /// The file that keys are kept in.
    pub fn key_file(&self) -> KeyFile {
        KeyFile::at(if self.keys.as_os_str().is_empty() {
            self.data.join("keys.toml")
        } else {
            self.keys.clone()
        })
    }

    /// Where it is recorded who did what.
    pub fn audit_folder(&self) -> PathBuf {
        self.data.join("audit")
    }

    /// The first address, with its setting, at which others than this machine reach API or page although nobody is
    /// asked for a key (`asks`) and [`Access`] does not say so.
    pub fn open_to_strangers(&self, asks: bool) -> Option<(&'static str, SocketAddr)> {
        let doors = [
            ("grpc.listen", self.grpc.listen, true),
            ("http.listen", self.http.listen, self.serves_page()),
        ];
        let mut open = doors
            .into_iter()
            .filter(|(_, listen, shows)| *shows && !listen.ip().is_loopback());
        let (key, listen, _) = open.next()?;
        (self.access == Access::Local && !asks).then_some((key, listen))
    }

    /// Whether only this machine can reach the API.
    pub fn is_local(&self) -> bool {
        self.grpc.listen.ip().is_loopback()
    }
}

fn or_cores(count: usize) -> usize {
    if count > 0 {
        return count;
    }
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
