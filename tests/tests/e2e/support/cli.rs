//! The command line `rollcall`.

use super::in_time;
use super::programs::{bare, program};
use super::server::Server;
use serde_json::Value;
use std::ffi::OsStr;

/// What a command gave.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Answer {
    /// Its result as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason in brackets at the end of its last line on standard error.
    #[track_caller]
    pub(crate) fn reason(&self) -> &str {
        let last = self.err.trim_end().lines().next_back().unwrap_or_default();
        let reason = last
            .strip_suffix(']')
            .and_then(|line| line.rsplit_once('['));
        reason
            .unwrap_or_else(|| panic!("no reason in brackets: {self:?}"))
            .1
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Fails the test unless the command ended with exit code 2 and this reason, in one line without a trace.
    #[track_caller]
    pub(crate) fn expect_error(self, reason: &str) -> Self {
        assert_eq!((self.code, self.reason()), (2, reason), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
        self
    }
}

/// Runs `rollcall --format json ARGUMENTS` against the server.
pub(crate) async fn rollcall<A: AsRef<OsStr>>(
    server: &Server,
    arguments: impl IntoIterator<Item = A>,
) -> Answer {
    rollcall_at(&format!("http://{}", server.grpc()), arguments).await
}

/// The same against a server at this address.
pub(crate) async fn rollcall_at<A: AsRef<OsStr>>(
    endpoint: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Answer {
    let mut command = tokio::process::Command::from(bare(program("rollcall")));
    command.arg("--endpoint").arg(endpoint);
    command
        .args(["--format", "json", "--timeout", "2m"])
        .args(arguments)
        .kill_on_drop(true);
    let output = in_time("a command of rollcall", command.output())
        .await
        .unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `arguments![path, "text", ...]`: arguments of different kinds.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        [$(std::ffi::OsString::from(&$argument)),*]
    };
}
pub(crate) use arguments;
