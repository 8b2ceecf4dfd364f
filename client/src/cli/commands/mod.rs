//! One file a noun.

mod admin;
mod alert;
mod cluster;
mod edit;
mod enrol;
mod erase;
mod explain;
mod export;
mod facts;
mod identity;
mod review;
mod search;
mod sightings;
mod source;
mod status;
mod thumbnail;
mod top;
mod wait;
mod watch;

use rollcall_client::Client;

use super::Outcome;
use super::args::{Args, Command};
use super::failure::Failure;
use super::out::Out;

pub(crate) async fn run(args: &Args, out: &mut Out) -> Result<Outcome, Failure> {
    match &args.command {
        Command::Completions { shell } => completions(*shell, out),
        Command::Search(search) => search::run(args, search, out).await,
        Command::Source(source) => source::run(args, source, out).await,
        Command::Identity(identity) => identity::run(args, identity, out).await,
        Command::Alert(alert) => alert::run(args, alert, out).await,
        Command::Sightings(sightings) => sightings::run(args, sightings, out).await,
        Command::Export(export) => export::run(args, export, out).await,
        Command::Thumbnail(thumbnail) => thumbnail::run(args, thumbnail, out).await,
        Command::Erase(erase) => erase::run(args, erase, out).await,
        Command::Watch(watch) => watch::run(args, watch, out).await,
        Command::Status => status::run(args, out).await,
        Command::Top(top) => top::run(args, top, out).await,
        Command::Admin(admin) => admin::run(args, admin, out).await,
    }
}

async fn connect(args: &Args) -> Result<Client, Failure> {
    Ok(Client::connect(&args.global.endpoint, args.global.client_options()).await?)
}

fn completions(shell: clap_complete::Shell, out: &mut Out) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    let mut command = <Args as clap::CommandFactory>::command();
    clap_complete::generate(shell, &mut command, "rollcall", &mut script);
    out.bytes(&script)?;
    Ok(Outcome::Found)
}

/// 0 on the command line is "all".
fn limit(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

fn found(any: bool) -> Outcome {
    if any {
        Outcome::Found
    } else {
        Outcome::Nothing
    }
}
