//! Arguments of `rollcall identity`.
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use crate::cli::input::parse_pair;

#[derive(Debug, Subcommand)]
pub(crate) enum Identity {
    /// Lists people, oldest first.
    #[command(visible_alias = "ls")]
    List {
        /// Only names that contain this, whatever the case.
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        name: String,
        /// Only people who have a name.
        #[arg(long)]
        named: bool,
        /// Only people who have none.
        #[arg(long, conflicts_with = "named")]
        unnamed: bool,
        /// Hidden people too.
        #[arg(long)]
        hidden: bool,
        /// People at most, 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Shows a person.
    Show {
        /// Id of the identity; an absorbed one shows what absorbed it.
        id: u64,
    },
    /// Makes an identity for somebody who has not been recognised yet.
    Create(IdentityCreate),
    /// Gives, changes or (empty name) takes away a name.
    Rename {
        /// Id of the identity.
        id: u64,
        /// At most 200 characters.
        name: String,
        /// Only if the identity still has this etag.
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
        /// Although somebody else bears that name.
        #[arg(long)]
        allow_duplicate_name: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Changes what is said about a person; what is not given stays.
    Set(IdentitySet),
    /// Two are one person: makes the first a part of the second.
    Merge(IdentityMerge),
    /// Tracks are another person's: moves them, for good.
    Move(TracksMove),
    /// Some of a person's tracks are another one's: makes a new identity of them.
    Split(IdentitySplit),
    /// Tracks are one person's, whoever that is: they stay together, where the first one is.
    Link(TracksLink),
    /// Two are two people, for good.
    Separate(Separate),
    /// Tracks are not this person: takes them away, for good.
    Reject(TracksReject),
    /// Photos are of people: makes them known, so that they are recognised.
    Enrol(IdentityEnrol),
    /// Lists what people said about who is who.
    Facts(FactsList),
    /// Takes back one thing that was said; tracks stay where they are.
    Forget {
        /// The fact, as `facts` shows it.
        fact: u64,
        #[command(flatten)]
        why: Why,
    },
    /// Lists what waits for you to decide, and the commands that answer it.
    Review {
        /// Items at most, 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
    /// Clusters everybody anew and shows what that would change; nothing is changed without --apply.
    Cluster {
        /// Make the changes of an answer: its sequence, as it was shown. Each is an edit that can be undone.
        #[arg(
            long,
            value_name = "SEQUENCE",
            default_value_t = 0,
            hide_default_value = true
        )]
        apply: u64,
        #[command(flatten)]
        why: Why,
    },
    /// Why does a track belong to its person?
    Explain {
        /// Id of the track, as `sightings` shows it.
        track: u64,
    },
    /// Takes an edit back, whole; an undo can be undone.
    Undo {
        /// The edit, as `history` shows it.
        edit: u64,
        /// Take back what can be, and leave what was changed since.
        #[arg(long)]
        partial: bool,
        /// Although somebody else bears a name that comes back.
        #[arg(long)]
        allow_duplicate_name: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Lists edits, newest first: who did what, when and why.
    History {
        /// Id of the identity, absorbed or not [default: everybody].
        #[arg(default_value_t = 0, hide_default_value = true)]
        id: u64,
        /// Edits at most, 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Why {
    /// Why; recorded with the edit, at most 500 characters.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) reason: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct IdentityCreate {
    /// At most 200 characters.
    pub(crate) name: String,
    /// The person's id in another system; nobody else may have it.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub(crate) external_id: String,
    /// Anything else to be kept; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Although somebody else bears that name.
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
#[group(id = "changes", required = true, multiple = true, args = [
    "external_id", "metadata", "remove_metadata", "confirm", "unconfirm", "hide", "show",
])]
pub(crate) struct IdentitySet {
    /// Id of the identity.
    pub(crate) id: u64,
    /// The person's id in another system; empty takes it away.
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
    /// Anything else to be kept; may be given several times.
    #[arg(long = "meta", value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// A key to forget; may be given several times.
    #[arg(long = "unset", value_name = "KEY")]
    pub(crate) remove_metadata: Vec<String>,
    /// Somebody has looked, and it is right.
    #[arg(long, conflicts_with = "unconfirm")]
    pub(crate) confirm: bool,
    /// It is not sure any more.
    #[arg(long)]
    pub(crate) unconfirm: bool,
    /// Leave the person out of lists and searches.
    #[arg(long, conflicts_with = "show")]
    pub(crate) hide: bool,
    /// Do not leave the person out any more.
    #[arg(long)]
    pub(crate) show: bool,
    /// Only if the identity still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct IdentityMerge {
    /// Id of the identity that is absorbed.
    pub(crate) from: u64,
    /// Id of the identity that stays.
    pub(crate) into: u64,
    /// Only if the first still has this etag.
    #[arg(
        long,
        value_name = "ETAG",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) from_etag: String,
    /// Only if the second still has this etag.
    #[arg(
        long,
        value_name = "ETAG",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) into_etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
#[group(id = "target", required = true, multiple = false, args = ["into", "new"])]
pub(crate) struct TracksMove {
    /// Ids of tracks, as `sightings` shows them.
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) tracks: Vec<u64>,
    /// Id of the identity whose they are.
    #[arg(long, value_name = "ID")]
    pub(crate) into: Option<u64>,
    /// They are somebody's who has no identity yet.
    #[arg(long)]
    pub(crate) new: bool,
    /// The new identity's name.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        conflicts_with = "into"
    )]
    pub(crate) name: String,
    /// Although somebody else bears that name.
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    /// Only if the identity still has this etag.
    #[arg(
        long,
        value_name = "ETAG",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "new"
    )]
    pub(crate) into_etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct IdentitySplit {
    /// Id of the identity.
    pub(crate) id: u64,
    /// Ids of those of its tracks that are another person's.
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) tracks: Vec<u64>,
    /// The new identity's name.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) name: String,
    /// Although somebody else bears that name.
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    /// Only if the identity still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TracksLink {
    /// Ids of tracks; the others go where the first one is.
    #[arg(required = true, num_args = 2.., value_name = "TRACK")]
    pub(crate) tracks: Vec<u64>,
    /// Only if the first track's identity still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Separate {
    /// Id of an identity, or of a track.
    pub(crate) one: u64,
    /// Id of another.
    pub(crate) other: u64,
    /// The ids are those of tracks; of one person's, the first leaves.
    #[arg(long)]
    pub(crate) tracks: bool,
    /// Only if the first identity still has this etag.
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        conflicts_with = "tracks"
    )]
    pub(crate) etag: String,
    /// Only if the second identity still has this etag.
    #[arg(
        long,
        value_name = "ETAG",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "tracks"
    )]
    pub(crate) other_etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct TracksReject {
    /// Id of the identity that they are not.
    pub(crate) id: u64,
    /// Ids of tracks.
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) tracks: Vec<u64>,
    /// Only if the identity still has this etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) etag: String,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
#[group(id = "photos", required = true, multiple = false, args = ["folder", "csv"])]
pub(crate) struct IdentityEnrol {
    /// Each folder in it is a person, named like the folder: JPEG, PNG or WebP pictures.
    pub(crate) folder: Option<PathBuf>,
    /// A table with the columns name and photo, and if need be external_id and face; paths are relative to it.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// The pictures in FOLDER are those of this identity.
    #[arg(long, value_name = "ID", conflicts_with_all = ["csv", "add", "allow_duplicate_name"])]
    pub(crate) into: Option<u64>,
    /// Who bears a name already gets the photos.
    #[arg(long, conflicts_with = "allow_duplicate_name")]
    pub(crate) add: bool,
    /// Although somebody else bears a name.
    #[arg(long)]
    pub(crate) allow_duplicate_name: bool,
    /// Take a person's other photos, if some cannot be used.
    #[arg(long)]
    pub(crate) skip_unusable: bool,
    /// Look at all of them, and record nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) why: Why,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FactsList {
    /// Id of the identity [default: everybody].
    #[arg(default_value_t = 0, hide_default_value = true)]
    pub(crate) id: u64,
    /// Only what was said about this track.
    #[arg(long, value_name = "TRACK", conflicts_with = "id")]
    pub(crate) track: Option<u64>,
    /// Also that tracks were put where they are.
    #[arg(long)]
    pub(crate) placed: bool,
    /// Facts at most, 0 for all.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) limit: usize,
}
