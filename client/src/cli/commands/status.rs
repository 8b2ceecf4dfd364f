//! `rollcall status`.
use rollcall_client::pb;

use super::connect;
use crate::cli::Outcome;
use crate::cli::args::{Args, Format};
use crate::cli::failure::Failure;
use crate::cli::format::{bytes, cosine, printable, wall_time};
use crate::cli::out::Out;
use crate::cli::view;

pub(crate) async fn run(args: &Args, out: &mut Out) -> Result<Outcome, Failure> {
    let client = connect(args).await?;
    let status = client.status().await?;
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::Status::from(&status))?,
        Format::Table => {
            for (key, value) in rows(client.endpoint(), &status) {
                let key = out.style.bold(&format!("{key:<11}"));
                out.line(&format!("{key} {}", printable(&value)))?;
            }
        }
    }
    if status.write_state != "ok" && !status.write_state.is_empty() {
        out.warn(&format!(
            "the server refuses writes [{}]",
            printable(&status.write_state)
        ));
    }
    Ok(Outcome::Found)
}

fn rows(endpoint: &str, status: &pb::Status) -> Vec<(&'static str, String)> {
    vec![
        ("server", format!("{endpoint}, version {}", status.version)),
        ("started", wall_time(status.start_time.as_ref())),
        ("writes", status.write_state.clone()),
        (
            "sources",
            format!("{} ({} running)", status.sources, status.sources_running),
        ),
        ("identities", status.identities.to_string()),
        ("tracks", status.tracks.to_string()),
        ("exemplars", status.exemplars.to_string()),
        ("watchers", status.watchers.to_string()),
        ("log", format!("{} epoch {}", status.log_id, status.epoch)),
        (
            "sequence",
            format!(
                "{} visible, {} durable",
                status.visible_sequence, status.durable_sequence
            ),
        ),
        (
            "size",
            format!(
                "{} records, {} pictures",
                bytes(status.log_bytes),
                bytes(status.blob_bytes)
            ),
        ),
        ("detector", status.detector.clone()),
        (
            "embedder",
            format!("{}, {} dimensions", status.embedder, status.dimension),
        ),
        (
            "same person",
            format!("from cosine {}", cosine(status.same_cosine)),
        ),
        ("strangers", strangers(status.calibration.as_ref())),
        ("contract", status.contract.clone()),
    ]
}

/// From which cosine on how many unknown people would be taken for somebody.
fn strangers(calibration: Option<&pb::Calibration>) -> String {
    let Some(found) = calibration else {
        return "too few people to tell how many would be taken for somebody".to_owned();
    };
    format!(
        "1 % of them above cosine {}, 0.1 % above {} ({} searches among {} identities)",
        cosine(found.cosine_at_1_percent),
        cosine(found.cosine_at_1_permille),
        found.trials,
        found.identities
    )
}
