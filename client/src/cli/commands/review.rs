//! What waits for people to decide, in words, with the commands that answer it.
use rollcall_client::{Review, pb};
use serde_json::json;

use super::found;
use crate::cli::Outcome;
use crate::cli::args::Format;
use crate::cli::failure::Failure;
use crate::cli::format::{cosine, printable};
use crate::cli::out::Out;
use crate::cli::table::{Side, Table};
use crate::cli::view;

/// Tracks that a command in the table names at most: more would be no line to read.
const TRACKS_NAMED: usize = 20;

pub(super) fn list(review: &Review, out: &mut Out) -> Result<Outcome, Failure> {
    let views = || review.items.iter().map(view::ReviewItem::from);
    match out.format {
        Format::Json => out.json(&json!({
            "items": views().collect::<Vec<_>>(),
            "total": review.total,
            "sequence": review.sequence,
        }))?,
        Format::Jsonl => {
            for view in views() {
                out.json(&view)?;
            }
        }
        Format::Table if review.items.is_empty() => out.note("nothing waits to be decided"),
        Format::Table => {
            let mut table = Table::new(&[
                ("TO DECIDE", Side::Left),
                ("ANSWER: rollcall identity ..", Side::Left),
            ]);
            for item in &review.items {
                table.row([asked(item), answers(item).join(" | ")]);
            }
            out.line(&table.render(out.style))?;
        }
    }
    let shown = review.items.len() as u64;
    if shown < review.total {
        out.note(&format!("{shown} of {}; --limit 0 shows all", review.total));
    }
    Ok(found(!review.items.is_empty()))
}

/// The question, in words.
fn asked(item: &pb::ReviewItem) -> String {
    let whom = called(item.identity.as_ref());
    let candidates = item.candidates.iter().enumerate();
    let candidates = candidates.map(|(i, candidate)| {
        let unit = if i == 0 { "cosine " } else { "" };
        let called = called(candidate.identity.as_ref());
        format!("{called} ({unit}{})", cosine(candidate.cosine))
    });
    let candidates: Vec<String> = candidates.collect();
    match item.kind() {
        pb::ReviewKind::WhichOne if candidates.len() == 1 => {
            format!("{whom} may be {} or somebody else", candidates.concat())
        }
        pb::ReviewKind::WhichOne => format!("{whom} may be {}", candidates.join(" or ")),
        pb::ReviewKind::OnePerson => {
            format!("{whom} and {} may be one person", candidates.join(" and "))
        }
        pb::ReviewKind::TwoPeople => {
            let tracks = item.identity.as_ref().map_or(0, |it| it.track_count);
            let unlike = item.track_ids.len();
            let cosine = cosine(item.cosine.unwrap_or_default());
            format!(
                "{whom} may be two people: {unlike} of {tracks} tracks are unlike the rest (cosine {cosine})"
            )
        }
        pb::ReviewKind::Unspecified => format!("a question about {whom} this client does not know"),
    }
}

/// What may be said to it, as commands of `rollcall identity`.
fn answers(item: &pb::ReviewItem) -> Vec<String> {
    let id = item.identity.as_ref().map_or(0, |it| it.id);
    match item.kind() {
        pb::ReviewKind::WhichOne | pb::ReviewKind::OnePerson => {
            let others = item.candidates.iter();
            let others = others.filter_map(|it| Some(it.identity.as_ref()?.id));
            others
                .flat_map(|other| {
                    [
                        format!("merge {id} {other}"),
                        format!("separate {id} {other}"),
                    ]
                })
                .collect()
        }
        pb::ReviewKind::TwoPeople => vec![
            format!("split {id} {}", tracks(&item.track_ids)),
            format!("set {id} --confirm"),
        ],
        pb::ReviewKind::Unspecified => Vec::new(),
    }
}

fn tracks(ids: &[u64]) -> String {
    if ids.len() > TRACKS_NAMED {
        return format!("TRACK.. ({}: see --format json)", ids.len());
    }
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(" ")
}

/// The id, and the name if there is one.
fn called(identity: Option<&pb::Identity>) -> String {
    match identity {
        Some(it) if it.name.is_empty() => it.id.to_string(),
        Some(it) => format!("{} {}", it.id, printable(&it.name)),
        None => "somebody".to_owned(),
    }
}
