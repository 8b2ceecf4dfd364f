use std::{io::BufRead, path::PathBuf};

use serde::Deserialize;

use crate::Provider;
use crate::detect::{DetectSizes, DetectSizesError};
use crate::pipeline::{GateRule, ShotRule};

/// An order longer than this is none.
const ORDER_BYTES_MAX: u64 = 1 << 20;

/// What a worker is to do.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerOrder {
    /// The server, such as `http://127.0.0.1:7700`.
    pub endpoint: String,
    /// Shows the server that it started this worker.
    pub token: String,
    /// Lets the worker in where the server asks for keys.
    #[serde(default)]
    pub key: Option<String>,
    /// The source to report about.
    pub source_id: u64,
    /// Path or URL, credentials included.
    pub uri: String,
    /// Whether the source has an end.
    pub kind: SourceMode,
    /// Play a file at the pace of its own clock.
    #[serde(default)]
    pub realtime: bool,
    /// By which rule shots are told apart.
    #[serde(default)]
    pub shots: ShotRule,
    /// What runs the models, if it can be had; else the CPU does.
    #[serde(default)]
    pub provider: Provider,
    /// By which gates frames and faces are refused.
    #[serde(default)]
    pub gates: GateRule,
    /// Folders under which files must lie.
    pub file_roots: Vec<PathBuf>,
    /// URL schemes that may be opened.
    pub protocols: Vec<String>,
    /// The program, with its arguments, that finds the stream on a page.
    #[serde(default)]
    pub resolver_command: Vec<String>,
    /// Folder with models and ONNX Runtime.
    pub assets: PathBuf,
    /// What to read off the faces that are kept; may be empty.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// The detector's id; without it, the default one.
    #[serde(default)]
    pub detector: Option<String>,
    /// The embedder's id; without it, the default one.
    #[serde(default)]
    pub embedder: Option<String>,
    /// Longest sides at which the detector sees each picture, in pixels; none: 640.
    #[serde(default)]
    pub detect_sizes: Vec<u32>,
    /// Time to open the source, at least 1.
    pub open_timeout_s: u64,
    /// Time without data after which a read is given up, at least 1.
    pub read_timeout_s: u64,
}

/// Whether a source has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceMode {
    /// It has: every frame is seen.
    File,
    /// It has not: it stays current and heals itself.
    Live,
}

/// Why an order cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Standard input gave nothing.
    #[error("no order came on standard input: `rollcall-ingest run` is started by rollcalld")]
    Missing,
    /// Standard input could not be read.
    #[error("the order on standard input cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is longer than any order.
    #[error("the order on standard input is longer than {ORDER_BYTES_MAX} bytes")]
    TooLong,
    /// It asks for impossible sizes.
    #[error("the order's detect_sizes: {0}")]
    DetectSizes(#[from] DetectSizesError),
    /// It is not what it should be. The text of the order is not repeated: it may hold secrets.
    #[error("the order on standard input is not valid at column {column}: {what}")]
    Invalid {
        /// Where, counted from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
}

impl WorkerOrder {
    /// Reads one line.
    ///
    /// # Errors
    /// [`OrderError`] when there is none, or it is not an order.
    pub fn read(input: impl BufRead) -> Result<Self, OrderError> {
        let mut line = Vec::new();
        let read = input
            .take(ORDER_BYTES_MAX + 1)
            .read_until(b'\n', &mut line)?;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err(OrderError::Missing);
        }
        if u64::try_from(read).unwrap_or(u64::MAX) > ORDER_BYTES_MAX {
            return Err(OrderError::TooLong);
        }
        serde_json::from_slice(&line).map_err(|why| {
            let what = match why.classify() {
                serde_json::error::Category::Data => data_fault(&why.to_string()),
                serde_json::error::Category::Io
                | serde_json::error::Category::Syntax
                | serde_json::error::Category::Eof => "it is not JSON".to_owned(),
            };
            OrderError::Invalid {
                column: why.column(),
                what,
            }
        })
    }
}

impl WorkerOrder {
    /// How large the detector is to see each picture.
    ///
    /// # Errors
    /// [`OrderError::DetectSizes`].
    pub fn detect_sizes(&self) -> Result<DetectSizes, OrderError> {
        if self.detect_sizes.is_empty() {
            return Ok(DetectSizes::default());
        }
        Ok(DetectSizes::new(&self.detect_sizes)?)
    }
}

/// What serde says about data, as long as it names fields and not their values.
fn data_fault(text: &str) -> String {
    let safe = ["missing field", "unknown field", "duplicate field"];
    let fault = text.split(" at line").next().unwrap_or_default();
    if safe.iter().any(|start| fault.starts_with(start)) {
        fault.to_owned()
    } else {
        "a value has the wrong type".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"endpoint":"http://127.0.0.1:1","token":"secret","source_id":3,
        "uri":"rtsp://u:hunter2@h/x","kind":"live","realtime":false,"file_roots":["/srv"],
        "protocols":["rtsp"],"assets":"/a","open_timeout_s":5,"read_timeout_s":6}"#;

    fn check(text: &str) -> Result<WorkerOrder, String> {
        WorkerOrder::read(text.replace('\n', " ").as_bytes()).map_err(|why| why.to_string())
    }

    #[test]
    fn an_order_is_read_as_sent() {
        let order = check(ORDER).unwrap();
        assert_eq!((order.source_id, order.kind), (3, SourceMode::Live));
        assert_eq!((order.open_timeout_s, order.read_timeout_s), (5, 6));
        assert_eq!(order.gates, GateRule::Rollcall);
        let other = ORDER.replace(
            r#""realtime":false"#,
            r#""gates":"streamface","shots":"facerec""#,
        );
        let order = check(&other).unwrap();
        assert_eq!(order.gates, GateRule::Streamface);
        assert_eq!(order.shots, ShotRule::Facerec);
        assert!(order.detector.is_none() && order.detect_sizes.is_empty());
        assert!(order.embedder.is_none());
        assert_eq!(order.key, None);
        let asked = r#""key":"rk_a_b","detector":"yunet-2023mar","embedder":"other","detect_sizes":[640,1280],"kind""#;
        let order = check(&ORDER.replace(r#""kind""#, asked)).unwrap();
        assert_eq!(order.key.as_deref(), Some("rk_a_b"));
        assert_eq!(order.detector.as_deref(), Some("yunet-2023mar"));
        assert_eq!(order.embedder.as_deref(), Some("other"));
        assert_eq!(order.detect_sizes, [640, 1280]);
    }

    #[test]
    fn bad_orders_are_refused_without_repeating_secrets() {
        let refused = |text: &str| check(text).map(|_| ()).unwrap_err();
        assert!(refused("").contains("started by rollcalld"));
        assert!(refused("  \t ").contains("no order"));
        assert!(refused("{").contains("not JSON"));
        assert!(refused(&ORDER.replace("token", "tokn")).contains("unknown field `tokn`"));
        assert!(refused(&ORDER.replace(r#""uri""#, r#""x""#)).contains("unknown field"));
        let odd = refused(&ORDER.replace("\"live\"", "\"hunter2\""));
        assert!(
            odd.contains("wrong type") && !odd.contains("hunter2"),
            "{odd}"
        );
        let long = format!("{}{}", ORDER, " ".repeat(2 << 20));
        assert!(refused(&long).contains("longer"));
    }
}
