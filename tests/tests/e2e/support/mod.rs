//! What the tests stand on: the programs, a server, its data seen from outside, the truth about the clip.

pub(crate) mod cli;
pub(crate) mod damage;
pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod http;
pub(crate) mod media;
pub(crate) mod prepared;
pub(crate) mod programs;
pub(crate) mod random;
pub(crate) mod server;
pub(crate) mod truth;

use std::time::{Duration, Instant};

/// The longest that anything waited for may take: machines that build at the same time are slow.
pub(crate) const LONGEST: Duration = Duration::from_secs(120);
/// How often a state is asked after.
const POLL: Duration = Duration::from_millis(20);
/// Tests that start servers at a time, in one process (`.config/nextest.toml` says the same to nextest).
const AT_A_TIME: usize = 2;

static TURNS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(AT_A_TIME);

/// Waits until it is the test's turn: inference takes a core each.
pub(crate) async fn turn() -> tokio::sync::SemaphorePermit<'static> {
    TURNS.acquire().await.unwrap()
}

/// Asks until there is an answer.
///
/// # Panics
/// If there is none within [`LONGEST`].
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < LONGEST, "waited {LONGEST:?} for: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits for a future.
///
/// # Panics
/// If it takes longer than [`LONGEST`].
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONGEST, future).await {
        Ok(done) => done,
        Err(_) => panic!("waited {LONGEST:?} for: {what}"),
    }
}

/// A folder that goes with the test.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("rollcall-e2e-")
        .tempdir()
        .unwrap()
}
