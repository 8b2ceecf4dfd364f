//! `rollcall identity explain`.
use rollcall_client::pb;

use super::edit::sentence;
use super::facts::in_words;
use crate::cli::Outcome;
use crate::cli::args::Format;
use crate::cli::failure::Failure;
use crate::cli::format::{cosine, enum_name, name, printable, wall_time};
use crate::cli::out::Out;
use crate::cli::view;

pub(super) fn show(why: &pb::TrackExplanation, out: &mut Out) -> Result<Outcome, Failure> {
    match out.format {
        Format::Json | Format::Jsonl => out.json(&view::Explanation::from(why))?,
        Format::Table => {
            for (heading, lines) in told(why) {
                let heading = out.style.bold(heading);
                out.line(&heading)?;
                for line in lines {
                    out.line(&format!("  {line}"))?;
                }
            }
        }
    }
    Ok(Outcome::Found)
}

/// Headings, and what to say under each; those with nothing to say are left out.
fn told(why: &pb::TrackExplanation) -> Vec<(&'static str, Vec<String>)> {
    let sighting = why.sighting.clone().unwrap_or_default();
    let identity = sighting.identity_id;
    let now = match why.cosine {
        Some(similarity) => format!(
            "track {} is of identity {identity}, cosine {}",
            sighting.track_id,
            cosine(similarity)
        ),
        None => format!(
            "track {} is of identity {identity}, which has nothing else",
            sighting.track_id
        ),
    };
    let mut then: Vec<(u64, String)> = why
        .decisions
        .iter()
        .map(|it| (it.sequence, decision(it)))
        .chain(why.edits.iter().map(|it| (it.sequence, edit(it))))
        .collect();
    then.sort_by_key(|(sequence, _)| *sequence);
    let nearest = why.nearest.iter().map(|near| {
        let identity = near.identity.clone().unwrap_or_default();
        let barred = if near.barred { ", which it is not" } else { "" };
        format!(
            "cosine {} to identity {} {}{barred}",
            cosine(near.cosine),
            identity.id,
            name(&identity.name)
        )
    });
    let all = [
        ("now", vec![now]),
        ("since", then.into_iter().map(|(_, line)| line).collect()),
        ("facts", why.facts.iter().map(in_words).collect()),
        ("nearest others", nearest.collect()),
    ];
    all.into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .collect()
}

fn decision(decision: &pb::TrackDecision) -> String {
    let kind = enum_name(decision.kind().as_str_name(), "DECISION_KIND_");
    let mut line = format!(
        "{}  {kind}: identity {}",
        wall_time(decision.time.as_ref()),
        decision.identity_id
    );
    if decision.previous_identity_id != 0 {
        line.push_str(&format!(", before {}", decision.previous_identity_id));
    }
    line.push_str(&format!(", {}", reason(&decision.reason)));
    if decision.cosine != 0.0 {
        line.push_str(&format!(", cosine {}", cosine(decision.cosine)));
    }
    if decision.runner_up_identity_id != 0 {
        line.push_str(&format!(
            "; next: identity {}, cosine {}",
            decision.runner_up_identity_id,
            cosine(decision.runner_up_cosine)
        ));
    }
    line
}

fn edit(edit: &pb::Edit) -> String {
    let undone = match edit.undone_by {
        0 => String::new(),
        by => format!(" (undone by {by})"),
    };
    format!(
        "{}  edit {} by {}: {}{undone}",
        wall_time(edit.time.as_ref()),
        edit.sequence,
        printable(&edit.author),
        sentence(edit)
    )
}

/// A reason of the rule in words; a code that this client does not know is shown as it is.
fn reason(code: &str) -> String {
    let words = match code {
        "ABOVE_THRESHOLD" => "similar enough, and clearly more so than to anybody else",
        "NOBODY_CLOSE" => "nobody is similar enough",
        "TOO_CLOSE_TO_CALL" => "several are similar, and too close to each other",
        "SAME_FRAME" => "the most similar one is on screen at the same time",
        "BETTER_MATCH" => "clearly more similar than before",
        "NO_LONGER_ALIKE" => "unlike whom it was taken for, and like nobody else",
        "ONLY_TRACK_JOINED" => "its identity held nothing else, and was absorbed",
        "HRI_WITHIN_THRESHOLD" => "by HRI: within the threshold",
        "HRI_BEYOND_THRESHOLD" => "by HRI: nobody within the threshold",
        other => return printable(other),
    };
    words.to_owned()
}
