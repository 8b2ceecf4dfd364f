//! `rollcall admin`.
use std::time::Duration;

use rollcall_client::{Client, pb};

use super::connect;
use crate::cli::Outcome;
use crate::cli::args::{Admin, Args, Format, Migrate, Why};
use crate::cli::failure::Failure;
use crate::cli::format::{bytes, cosine, enum_name, printable, wall_time};
use crate::cli::out::Out;
use crate::cli::view;

/// How often a migration that is waited for is asked after.
const POLL: Duration = Duration::from_millis(500);

pub(crate) async fn run(args: &Args, command: &Admin, out: &mut Out) -> Result<Outcome, Failure> {
    let Admin::Migrate(command) = command;
    let client = connect(args).await?;
    let author = &args.global.author;
    let (migration, waits) = match command {
        Migrate::Start {
            embedder,
            allow_loss,
            dry_run,
            wait,
            why,
        } => {
            let request = pb::StartMigrationRequest {
                embedder: embedder.clone(),
                allow_loss: *allow_loss,
                dry_run: *dry_run,
                author: author.clone(),
                reason: why.reason.clone(),
                request_id: String::new(),
            };
            (client.start_migration(request).await?, *wait)
        }
        Migrate::Status => (client.migration().await?, false),
        Migrate::Cancel { why } => {
            let request = end(author, why, false);
            (client.cancel_migration(request).await?, false)
        }
        Migrate::Rollback {
            allow_loss,
            wait,
            why,
        } => {
            let request = end(author, why, *allow_loss);
            (client.roll_back_migration(request).await?, *wait)
        }
        Migrate::Finish { why } => {
            let request = end(author, why, false);
            (client.finish_migration(request).await?, false)
        }
    };
    let migration = if waits {
        until_over(&client, migration, out).await?
    } else {
        migration
    };
    show(&migration, out)
}

fn end(author: &str, why: &Why, allow_loss: bool) -> pb::EndMigrationRequest {
    pb::EndMigrationRequest {
        author: author.to_owned(),
        reason: why.reason.clone(),
        request_id: String::new(),
        allow_loss,
    }
}

/// Asks after a migration until it embeds nothing any more.
async fn until_over(
    client: &Client,
    mut migration: pb::Migration,
    out: &Out,
) -> Result<pb::Migration, Failure> {
    let number = migration.number;
    let (mut told, mut fault) = (0, String::new());
    while embeds(migration.state()) {
        let percent = percent(&migration);
        if percent / 10 > told / 10 {
            told = percent;
            out.note(&format!("migration {number}: {percent} %"));
        }
        if migration.fault != fault {
            fault.clone_from(&migration.fault);
            if !fault.is_empty() {
                out.warn(&faulty(&migration));
            }
        }
        tokio::time::sleep(POLL).await;
        migration = client.migration().await?;
    }
    if migration.number != number || migration.state() == pb::MigrationState::Cancelled {
        return Err(Failure::Awaited {
            reason: "MIGRATION_CANCELLED".to_owned(),
            message: format!("migration {number} was cancelled"),
        });
    }
    Ok(migration)
}

fn embeds(state: pb::MigrationState) -> bool {
    match state {
        pb::MigrationState::Reembedding | pb::MigrationState::RollingBack => true,
        pb::MigrationState::Unspecified
        | pb::MigrationState::Switched
        | pb::MigrationState::Done
        | pb::MigrationState::Cancelled
        | pb::MigrationState::RolledBack => false,
    }
}

fn percent(migration: &pb::Migration) -> u64 {
    let total = migration.exemplars_total.max(1);
    migration.exemplars_done.saturating_mul(100) / total
}

fn faulty(migration: &pb::Migration) -> String {
    let (reason, message) = (&migration.fault, &migration.fault_message);
    format!(
        "it gets no farther: {} [{}]",
        printable(message),
        printable(reason)
    )
}

fn show(migration: &pb::Migration, out: &mut Out) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::Migration::from(migration))?,
        Format::Table => {
            for (key, value) in rows(migration) {
                let key = out.style.bold(&format!("{key:<9}"));
                out.line(&format!("{key} {}", printable(&value)))?;
            }
        }
    }
    if !migration.fault.is_empty() {
        out.warn(&faulty(migration));
    }
    Ok(Outcome::Found)
}

fn rows(migration: &pb::Migration) -> Vec<(&'static str, String)> {
    let model = |model: &Option<pb::EmbeddingModel>| {
        let model = model.clone().unwrap_or_default();
        format!(
            "{} {}, {} dimensions, same person from cosine {}",
            model.embedder,
            model.version,
            model.dimension,
            cosine(model.same_cosine)
        )
    };
    let dry = migration.number == 0;
    let mut rows = vec![
        ("from", model(&migration.from)),
        ("to", model(&migration.to)),
    ];
    if dry {
        rows.push(("faces", migration.exemplars_total.to_string()));
        rows.push((
            "lost",
            format!(
                "{} faces, all there are of {} people",
                migration.exemplars_lost, migration.identities_lost
            ),
        ));
        rows.push(("disk", bytes(migration.disk_bytes)));
        return rows;
    }
    let state = enum_name(migration.state().as_str_name(), "MIGRATION_STATE_");
    rows.push(("number", migration.number.to_string()));
    rows.push(("state", state.replace('_', " ")));
    rows.push((
        "begun",
        format!(
            "{} by {}",
            wall_time(migration.start_time.as_ref()),
            migration.author
        ),
    ));
    rows.push((
        "faces",
        format!(
            "{} of {}, {} lost",
            migration.exemplars_done, migration.exemplars_total, migration.exemplars_lost
        ),
    ));
    rows
}
