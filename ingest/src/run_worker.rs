//! The command `run`: a server's worker.

use std::io;

use anyhow::Context;

use rollcall_ingest::worker;

pub(crate) fn run() -> anyhow::Result<()> {
    leave_with_parent().context("this worker cannot be tied to its server")?;
    let order = worker::WorkerOrder::read(io::stdin().lock())?;
    step_back(&order);
    worker::run(&order)?;
    Ok(())
}

/// Searches go before reading, and what cannot wait before what can: a live stream has several
/// times the share of a file where both want the same core. Threads made later inherit it.
fn step_back(order: &worker::WorkerOrder) {
    let niceness = if order.kind == worker::SourceMode::Live || order.realtime {
        5
    } else {
        15
    };
    if let Err(why) = rustix::process::nice(niceness) {
        tracing::warn!(%why, "this worker runs at its server's priority");
    }
}

/// Asks the kernel to end this process with the one that started it, so that a killed server
/// leaves no worker behind.
#[cfg(target_os = "linux")]
fn leave_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let before = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the kernel was asked.
    anyhow::ensure!(getppid() == before, "the server is gone already");
    Ok(())
}

/// Elsewhere the broken stream ends the worker.
#[cfg(not(target_os = "linux"))]
fn leave_with_parent() -> anyhow::Result<()> {
    Ok(())
}
