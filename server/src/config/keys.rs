//! Every setting: its name, what kind of value it takes, and what it may be.

/// What kind of value a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text, paths included.
    Text,
    /// `address:port`.
    Address,
    /// A whole number in this range, ends included.
    Number(i64, i64),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Sizes for the detector, as in `640,1280`.
    Sizes,
    /// How long something is kept, as in `30d` or `never`.
    Age,
    /// A list of sources with how long what they saw is kept, as in `7=2d/30d`.
    Ages,
    /// A list of texts; in the environment and in flags separated by commas.
    List,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, as in `grpc.listen`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

/// All settings, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("data", Kind::Text),
    key("assets", Kind::Text),
    key("assigner", Kind::Choice(&["evidence", "hri"])),
    key("access", Kind::Choice(&["local", "anyone"])),
    key("keys", Kind::Text),
    key("grpc.listen", Kind::Address),
    key("grpc.message_bytes_max", Kind::Number(1 << 16, 1 << 30)),
    key("grpc.concurrent_requests_max", Kind::Number(1, 100_000)),
    key("http.listen", Kind::Address),
    key("http.page", Kind::Choice(&["local", "on", "off"])),
    key("http.allowed_hosts", Kind::List),
    key("tls.certificate", Kind::Text),
    key("tls.key", Kind::Text),
    key("tls.client_ca", Kind::Text),
    key("jwt.key_file", Kind::Text),
    key(
        "jwt.algorithm",
        Kind::Choice(&["RS256", "ES256", "EdDSA", "HS256"]),
    ),
    key("jwt.issuer", Kind::Text),
    key("jwt.audience", Kind::Text),
    key("audit.reads", Kind::Choice(&["off", "on"])),
    key("audit.file_bytes_max", Kind::Number(1 << 16, 1 << 40)),
    key("audit.files_max", Kind::Number(2, 100_000)),
    key("search.threads", Kind::Number(0, 1024)),
    key("search.queue_max", Kind::Number(1, 100_000)),
    key("search.calibrate_s", Kind::Number(0, 86_400)),
    key("search.timeout_ms", Kind::Number(1, 3_600_000)),
    key("ingest.workers_max", Kind::Number(0, 1024)),
    key("ingest.live_max", Kind::Number(0, 1024)),
    key("ingest.file_roots", Kind::List),
    key("ingest.protocols", Kind::List),
    key("ingest.resolver_command", Kind::List),
    key("ingest.worker_command", Kind::Text),
    key("ingest.shots", Kind::Choice(&["rollcall", "facerec"])),
    key("ingest.gates", Kind::Choice(&["rollcall", "streamface"])),
    key(
        "ingest.provider",
        Kind::Choice(&["cpu", "openvino", "cuda"]),
    ),
    key("ingest.attributes", Kind::List),
    key("ingest.detector", Kind::Text),
    key("ingest.detect_sizes", Kind::Sizes),
    key("ingest.window", Kind::Number(1, 10_000)),
    key("ingest.open_timeout_s", Kind::Number(1, 3600)),
    key("ingest.read_timeout_s", Kind::Number(1, 3600)),
    key("ingest.stop_timeout_s", Kind::Number(0, 3600)),
    key("migration.share_percent", Kind::Number(1, 100)),
    key("repair.mode", Kind::Choice(&["merge", "propose", "off"])),
    key("repair.share_percent", Kind::Number(1, 100)),
    key("retention.unknown", Kind::Age),
    key("retention.named", Kind::Age),
    key("retention.sources", Kind::Ages),
    key("retention.every_s", Kind::Number(1, 86_400)),
    key("watch.subscribers_max", Kind::Number(1, 100_000)),
    key("watch.heartbeat_ms", Kind::Number(10, 3_600_000)),
    key("watch.buffer_max", Kind::Number(1, 100_000)),
    key("alerts.webhook_hosts", Kind::List),
    key("alerts.webhook_timeout_ms", Kind::Number(10, 3_600_000)),
    key("alerts.retry_first_ms", Kind::Number(1, 3_600_000)),
    key("alerts.retry_longest_ms", Kind::Number(1, 86_400_000)),
    key("writer.queue_max", Kind::Number(1, 1_000_000)),
    key("shutdown.deadline_s", Kind::Number(0, 3600)),
    key("log.filter", Kind::Text),
];

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The setting whose name is most like `name`, if one is like it at all.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let likeness = |key: &Key| {
        let whole = strsim::jaro_winkler(name, key.name);
        // A key without its section, as in `listen`.
        let last = key.name.rsplit('.').next().unwrap_or(key.name);
        whole.max(strsim::jaro_winkler(name, last))
    };
    let best = KEYS
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.75).then_some(best.name)
}
