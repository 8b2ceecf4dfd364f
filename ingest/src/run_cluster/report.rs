//! What came of a clustering.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, Write},
    time::Duration,
};

use rollcall_ingest::{
    cluster::{
        offline::diff::{Diff, diff},
        score::{Scores, score},
    },
    faceset::FaceSet,
};
use serde_json::{Value, json};

/// Changes of one kind that are shown.
const SHOWN: usize = 3;
/// Sizes are counted from each of these to the next.
const SIZES: [u64; 6] = [1, 2, 5, 10, 100, 1000];

/// What there is to say.
pub(super) struct Report {
    faces: usize,
    /// Faces of each cluster, most first.
    sizes: Vec<u64>,
    read: Duration,
    spent: Duration,
    scores: Option<Scores>,
    pub(super) diff: Option<Diff>,
}

impl Report {
    pub(super) fn new(
        faces: &FaceSet,
        labels: &[u32],
        named: &HashSet<u64>,
        [read, spent]: [Duration; 2],
    ) -> Self {
        let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
        for label in labels {
            *sizes.entry(*label).or_default() += 1;
        }
        let known = faces.known().iter().map(|known| known.identity);
        let known: Vec<Option<u64>> = known.collect();
        let any = known.iter().any(Option::is_some);
        Self {
            faces: faces.len(),
            sizes: sizes.into_values().collect(),
            read,
            spent,
            scores: faces.identities().map(|people| score(&people, labels)),
            diff: any.then(|| diff(labels, &known, named)),
        }
    }

    pub(super) fn print(&self, in_json: bool) -> anyhow::Result<()> {
        let text = if in_json {
            serde_json::to_string(&self.json())? + "\n"
        } else {
            self.text()
        };
        Ok(io::stdout().write_all(text.as_bytes())?)
    }

    fn json(&self) -> Value {
        json!({
            "faces": self.faces,
            "clusters": self.sizes.len(),
            "singletons": self.singletons(),
            "largest": self.sizes.first(),
            "read_s": round(self.read.as_secs_f64(), 1e3),
            "wall_s": round(self.spent.as_secs_f64(), 1e3),
            "peak_mb": peak_mb(),
            "threads": rayon::current_num_threads(),
            "scores": self.scores.map(|scores| json!({
                "bcubed_p": round(scores.bcubed.precision, 1e5),
                "bcubed_r": round(scores.bcubed.recall, 1e5),
                "bcubed_f": round(scores.bcubed.f(), 1e5),
                "pairwise_p": round(scores.pairwise.precision, 1e5),
                "pairwise_r": round(scores.pairwise.recall, 1e5),
                "pairwise_f": round(scores.pairwise.f(), 1e5),
                "nmi": round(scores.nmi, 1e5),
            })),
            "diff": self.diff.as_ref().map(|diff| json!(diff.counts)),
        })
    }

    fn singletons(&self) -> usize {
        self.sizes.iter().filter(|size| **size == 1).count()
    }

    fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "{} faces in {} clusters, {} of one face",
                self.faces,
                self.sizes.len(),
                self.singletons()
            ),
            format!("sizes: {}", self.by_size()),
            format!(
                "{:.2} s, and {:.2} s to read",
                self.spent.as_secs_f64(),
                self.read.as_secs_f64()
            ),
        ];
        if let Some(peak) = peak_mb() {
            lines.push(format!("{peak} MiB of memory at most"));
        }
        if let Some(scores) = &self.scores {
            for (name, one) in [("BCubed", scores.bcubed), ("pairwise", scores.pairwise)] {
                lines.push(format!(
                    "{name}: F {:.4}, precision {:.4}, recall {:.4}",
                    one.f(),
                    one.precision,
                    one.recall
                ));
            }
        }
        if let Some(diff) = &self.diff {
            lines.extend(changes(diff));
        }
        lines.join("\n") + "\n"
    }

    fn by_size(&self) -> String {
        let ranges = SIZES.iter().enumerate().filter_map(|(at, from)| {
            let below = SIZES.get(at + 1).copied();
            let inside = |size: &&u64| **size >= *from && below.is_none_or(|below| **size < below);
            let count = self.sizes.iter().filter(inside).count();
            let name = match below {
                Some(below) if below == from + 1 => from.to_string(),
                Some(below) => format!("{from} to {}", below - 1),
                None => format!("{from} and more"),
            };
            (count > 0).then(|| format!("{count} of {name}"))
        });
        ranges.collect::<Vec<String>>().join(", ")
    }
}

/// What would change, with examples.
fn changes(diff: &Diff) -> Vec<String> {
    let counts = &diff.counts;
    let mut lines = vec![format!(
        "against the {} identities given, {} after, {} faces change (nothing is changed): {} created, {} grown, {} merged, \
         {} split, {} moves, {} conflicts",
        counts.identities_before,
        counts.identities_after,
        counts.faces_changed,
        counts.created,
        counts.grown,
        counts.merged,
        counts.split,
        counts.moved,
        counts.conflicts
    )];
    lines.extend(diff.created.iter().take(SHOWN).map(|one| {
        let from = one
            .split_from
            .map_or(String::new(), |from| format!(", most of identity {from}"));
        format!(
            "  created: cluster {} of {} faces{from}, rows {:?}",
            one.cluster, one.faces, one.examples
        )
    }));
    lines.extend(diff.grown.iter().take(SHOWN).map(|one| {
        format!(
            "  grown: identity {} by {} faces, rows {:?}",
            one.identity, one.faces, one.examples
        )
    }));
    lines.extend(diff.merged.iter().take(SHOWN).map(|one| {
        format!(
            "  merged: identity {} into {}, {} faces, rows {:?}",
            one.identity, one.into, one.faces, one.examples
        )
    }));
    lines.extend(diff.split.iter().take(SHOWN).map(|one| {
        let parts: Vec<String> = one
            .parts
            .iter()
            .map(|part| part.faces.to_string())
            .collect();
        format!(
            "  split: identity {} into parts of {} faces",
            one.identity,
            parts.join(", ")
        )
    }));
    lines.extend(diff.moved.iter().take(SHOWN).map(|one| {
        format!(
            "  moved: {} faces from identity {} to {}, rows {:?}",
            one.faces, one.from, one.to, one.examples
        )
    }));
    lines.extend(diff.conflicts.iter().take(SHOWN).map(|one| {
        let who: Vec<String> = one
            .named
            .iter()
            .map(|(who, faces)| format!("{who} ({faces} faces)"))
            .collect();
        format!(
            "  conflict: cluster {} has several with names: {}",
            one.cluster,
            who.join(", ")
        )
    }));
    lines
}

fn round(number: f64, places: f64) -> f64 {
    (number * places).round() / places
}

/// The most memory that this process has had, in MiB, where the system says so.
fn peak_mb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}
