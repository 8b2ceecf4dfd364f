//! How much room the disk of the data folder has, told when somebody asks.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};
use std::path::{Path, PathBuf};

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
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else {
            return Vec::new();
        };
        let bytes =
            |blocks: u64| i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX);
        self.free.set(bytes(disk.f_bavail));
        self.size.set(bytes(disk.f_blocks));
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
