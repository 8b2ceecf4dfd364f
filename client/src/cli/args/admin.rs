//! Arguments of `rollcall admin`.
use clap::Subcommand;

use super::Why;

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Goes over to another embedding model while serving.
    #[command(subcommand)]
    Migrate(Migrate),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Embeds all faces again by another model, then puts it in service.
    Start {
        /// Id of the new embedder: its manifest is ID.toml in the server's models folder.
        embedder: String,
        /// Although searches will not find people of whom no picture is kept.
        #[arg(long)]
        allow_loss: bool,
        /// Only say what it would come to.
        #[arg(long, conflicts_with = "wait")]
        dry_run: bool,
        /// Stay until the new model is in service; exit code 2 if that is cancelled.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        why: Why,
    },
    /// How far it is.
    Status,
    /// Gives it up, before the new model is in service.
    Cancel {
        #[command(flatten)]
        why: Why,
    },
    /// Goes back to the old model.
    Rollback {
        /// Although searches will not find people seen since of whom no picture is kept.
        #[arg(long)]
        allow_loss: bool,
        /// Stay until the old model is in service.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Drops the old model: there is no way back after that.
    Finish {
        #[command(flatten)]
        why: Why,
    },
}
