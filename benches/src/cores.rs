//! The cores a thread may run on.

use anyhow::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores this program was given.
pub struct Cores(Vec<usize>);

impl Cores {
    /// Those of the calling thread.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn given() -> Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self(
            (0..CpuSet::MAX_CPU)
                .filter(|core| set.is_set(*core))
                .collect(),
        ))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Pins the calling thread to one core, counted from the last, around if there are fewer.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn pin(&self, number: usize) -> Result<()> {
        keep_to(&[self.0[self.count() - 1 - number % self.count()]])
    }

    /// A pool of `threads` that may run on every core. The calling thread is pinned to the first.
    ///
    /// # Errors
    /// If the kernel refuses, or a thread cannot be started.
    pub fn pool(&self, threads: usize) -> Result<ThreadPool> {
        // Threads run where the one may that starts them.
        keep_to(&self.0)?;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        self.pin(0)?;
        Ok(pool?)
    }
}

fn keep_to(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}
