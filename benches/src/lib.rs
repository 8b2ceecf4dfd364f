//! What the benchmarks share: a corpus' arrays, cores, memory, sorted times, and (feature `system`) a server
//! started as users start it.

pub mod arrays;
pub mod cores;
pub mod memory;
pub mod stats;
#[cfg(feature = "system")]
pub mod system;
