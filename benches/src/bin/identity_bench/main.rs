//! Faces put to identities one after the other, as they come in, on a corpus of `benches/index`.
//!
//! `identity_bench --corpus FOLDER --system rollcall --thresholds 0.4`: prints a JSON line for each
//! threshold; `benches/README.md` says what is in it. Everything runs on one core.

mod assign;
mod stream;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use rollcall_benches::cores::Cores;
use rollcall_benches::memory::{forget_peak, memory_mb};
use rollcall_ingest::cluster::hri::{Hri, Metric};
use rollcall_ingest::cluster::score::score;
use serde_json::json;

use crate::assign::{Assigner, Decided, Repaired};
use crate::stream::Stream;

/// Measures how right faces are put to identities, and how fast.
#[derive(Parser)]
struct Arguments {
    /// The folder with the corpus.
    #[arg(long)]
    corpus: PathBuf,
    /// Who puts them.
    #[arg(long)]
    system: System,
    /// From which cosine on somebody is joined; a run each. For hri it is 1 - distance.
    #[arg(long, value_delimiter = ',', required = true)]
    thresholds: Vec<f32>,
    /// The rows in the order in which they come, .npy; as they are in the corpus unless given.
    #[arg(long)]
    shuffled: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    /// The server's way: a track is decided at its first face and again at its last; identities are looked
    /// at again beside.
    Rollcall,
    /// A track is decided once, at its last face, and nothing is looked at again.
    RollcallOnce,
    /// As `rollcall`, and all identities are looked at again when the stream is over.
    RollcallRepaired,
    /// The Hierarchical Retrieval Index over single faces.
    Hri,
}

fn main() -> Result<()> {
    Cores::given()?.pin(0)?;
    run(&Arguments::parse(), &mut std::io::stdout())
}

fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    let stream = Stream::read(&arguments.corpus, arguments.shuffled.as_deref())?;
    for threshold in &arguments.thresholds {
        ensure!((-1.0..=1.0).contains(threshold), "{threshold} is no cosine");
        let assigned =
            |decided, repaired| Assigner::new(&stream, *threshold, decided, repaired).run();
        forget_peak();
        let begun = Instant::now();
        let found = match arguments.system {
            System::Rollcall => assigned(Decided::Twice, Repaired::Beside)?,
            System::RollcallOnce => assigned(Decided::Once, Repaired::Never)?,
            System::RollcallRepaired => assigned(Decided::Twice, Repaired::ToTheEnd)?,
            System::Hri => hri(&stream, *threshold)?,
        };
        let wall_s = begun.elapsed().as_secs_f64();
        let peak_mb = memory_mb("VmHWM");
        let scores = score(&stream.people, &found);
        let faces = found.len();
        let line = json!({
            "system": arguments.system.to_possible_value().map(|value| value.get_name().to_owned()),
            "corpus": stream.name, "n": faces,
            "order": if arguments.shuffled.is_some() { "shuffled" } else { "stream" },
            "pairwise_p": round(scores.pairwise.precision), "pairwise_r": round(scores.pairwise.recall),
            "pairwise_f": round(scores.pairwise.f()), "bcubed_f": round(scores.bcubed.f()), "nmi": round(scores.nmi),
            "identities": scores.identities, "identities_5plus": scores.identities_of_note,
            "true_identities_5plus": scores.people_of_note,
            "fragments_per_person": round(scores.fragments_per_person),
            "faces_per_s": (faces as f64 / wall_s).round(), "wall_s": round(wall_s), "peak_mb": peak_mb,
        });
        writeln!(out, "{line}")?;
        out.flush()?;
    }
    Ok(())
}

/// The identity of each face.
fn hri(stream: &Stream, threshold: f32) -> Result<Vec<u64>> {
    let mut tree = Hri::new(Metric::Cosine, 1.0 - f64::from(threshold));
    let mut found = vec![0; stream.people.len()];
    for row in stream.order() {
        let label = tree.insert(stream.vectors.embedding(row)?.as_slice());
        found[row] = label.0 as u64;
    }
    Ok(found)
}

fn round(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}
