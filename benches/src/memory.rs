//! The memory that this process has.

/// What the kernel says of this process' memory (`VmHWM`: the most it had, `VmRSS`: what it has),
/// in MiB; `None` where it says nothing.
pub fn memory_mb(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find(|line| line.split(':').next() == Some(what))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

/// Lets `VmHWM` begin anew; where the kernel does not allow that, it stays that of all questions.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
