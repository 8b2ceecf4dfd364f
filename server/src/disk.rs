//! How much room a disk has; that of the data folder is told when somebody asks.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};
use std::path::{Path, PathBuf};

/// What a disk holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// For the user that the server runs as.
    pub(crate) free: u64,
    pub(crate) size: u64,
}

impl Room {
    /// That of the disk of a folder; `None` where the system does not say.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(Self {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            size: disk.f_blocks.saturating_mul(disk.f_frsize),
        })
    }
}

/// Two gauges, read off the file system at each scrape.
struct DiskCollector {
    folder: PathBuf,
    free: IntGauge,
    size: IntGauge,
}

/// Exports the room on the disk of `folder` to `registry`. Where the system does not say, the gauges are left out.
///
/// # Errors
/// [`prometheus::Error`] if the names are taken.
pub(crate) fn register(registry: &Registry, folder: &Path) -> Result<(), prometheus::Error> {
    let free = "Room on the disk of the data folder, for whom the server runs as";
    let size = "Size of the disk of the data folder";
    registry.register(Box::new(DiskCollector {
        folder: folder.to_owned(),
        free: IntGauge::new("rollcall_disk_free_bytes", free)?,
        size: IntGauge::new("rollcall_disk_size_bytes", size)?,
    }))
}

impl Collector for DiskCollector {
    fn desc(&self) -> Vec<&Desc> {
        [&self.free, &self.size]
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(room) = Room::of(&self.folder) else {
            return Vec::new();
        };
        let shown = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.free.set(shown(room.free));
        self.size.set(shown(room.size));
        [&self.free, &self.size]
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_told_as_it_is_at_the_moment() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::new();
        register(&registry, folder.path()).unwrap();
        let told = || -> Vec<(String, f64)> {
            let families = registry.gather();
            let value = |family: &MetricFamily| family.get_metric()[0].get_gauge().get_value();
            families
                .iter()
                .map(|family| (family.name().to_owned(), value(family)))
                .collect()
        };
        let [(free_name, free), (size_name, size)] = &told()[..] else {
            panic!("{:?}", told());
        };
        assert_eq!(free_name, "rollcall_disk_free_bytes");
        assert_eq!(size_name, "rollcall_disk_size_bytes");
        assert!(*size > 0.0 && *free <= *size, "{free} of {size}");
        let gone = folder.path().join("gone");
        let registry = Registry::new();
        register(&registry, &gone).unwrap();
        assert!(registry.gather().is_empty());
    }
}
