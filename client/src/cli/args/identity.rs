//! Arguments of `rollcall identity`.
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
    /// Takes an edit back, whole; an undo can be undone.
    Undo {
        /// The edit, as `history` shows it.
        edit: u64,
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
