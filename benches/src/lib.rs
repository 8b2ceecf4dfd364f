//! What the benchmarks share: sorted times, and (feature `system`) a server started as users start it.

pub mod stats;
#[cfg(feature = "system")]
pub mod system;
