//! Arguments of `rollcall erase`.
use clap::{Args as ClapArgs, Subcommand};

use super::{Why, Window};

#[derive(Debug, Subcommand)]
pub(crate) enum Erase {
    /// A person: all sightings, photos and names, and whoever was merged into them.
    Person {
        /// Id of the identity; one that was merged means who it was merged into.
        id: u64,
        /// Only if the identity still has this etag.
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        #[command(flatten)]
        how: How,
    },
    /// Single sightings, or photos that were enrolled.
    Sightings {
        /// Ids of tracks.
        #[arg(value_name = "TRACK", required_unless_present = "faces")]
        tracks: Vec<u64>,
        /// A face (exemplar) instead: the sighting that it is of goes whole; may be given several times.
        #[arg(long = "face", value_name = "ID", conflicts_with = "tracks")]
        faces: Vec<u64>,
        #[command(flatten)]
        how: How,
    },
    /// What a source saw: all of it, or what overlaps a time.
    Source {
        /// Id of the source.
        id: u64,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        how: How,
    },
    /// Lists erasures, newest first.
    #[command(visible_alias = "ls")]
    List {
        /// Erasures at most, 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Shows an erasure with its receipt.
    Show {
        /// Id of the erasure.
        id: u64,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct How {
    /// Do not ask: it cannot be undone.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Come back at once, while it is being removed from the disk.
    #[arg(long)]
    pub(crate) no_wait: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}
