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

use rollcall_client::{Client, ClientOptions, Key, Tls};

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
    let options = ClientOptions {
        key: key(args)?,
        tls: tls(args)?,
        ..args.global.client_options()
    };
    Ok(Client::connect(&args.global.endpoint, options).await?)
}

/// The key to send: a flag's file, else that of the environment, else the environment's own. None stands on a command
/// line, where everybody on the machine sees it.
fn key(args: &Args) -> Result<Option<Key>, Failure> {
    let (text, place) = match &args.global.key_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| Failure::file(path, "read the key in", &error))?;
            (text, path.display().to_string())
        }
        None => match std::env::var("ROLLCALL_KEY") {
            Ok(text) if !text.is_empty() => (text, "ROLLCALL_KEY".to_owned()),
            Ok(_) | Err(_) => return Ok(None),
        },
    };
    let key = Key::new(&text).ok_or_else(|| Failure::Local {
        reason: "INVALID_KEY",
        message: format!(
            "{place} holds no key such as rk_1a2b3c4d_...: make one with rollcalld key create"
        ),
    })?;
    Ok(Some(key))
}

fn tls(args: &Args) -> Result<Tls, Failure> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|error| Failure::file(path, "read", &error))
    };
    let global = &args.global;
    let both = global
        .client_certificate
        .as_ref()
        .zip(global.client_key.as_ref());
    let both = both.map(|(certificate, key)| Ok::<_, Failure>((read(certificate)?, read(key)?)));
    Ok(Tls {
        ca: global.ca_file.as_ref().map(read).transpose()?,
        identity: both.transpose()?,
    })
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
