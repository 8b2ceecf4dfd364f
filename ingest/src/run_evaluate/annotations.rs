//! `evaluate annotations`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rollcall_ingest::evaluate::{
    annotations::{self, Agreements},
    labels::Labels,
    report::{Bars, Plot, Report, Section, Table},
};
use serde_json::to_value;

use super::{Output, name_of};

/// Options of `evaluate annotations`.
#[derive(Args)]
pub(crate) struct Annotations {
    /// Whom faces show: .npy, .csv (name,label), or .json (streamface's annotations, facerec's clusters,
    /// names and labels).
    #[arg(value_name = "TRUTH")]
    truth: PathBuf,
    /// What they were taken for, likewise.
    #[arg(value_name = "FOUND")]
    found: PathBuf,
    /// What labels below 0 are.
    #[arg(long, value_enum, default_value_t = Noise::Singletons)]
    noise: Noise,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Noise {
    /// Each such face is a cluster of its own.
    Singletons,
    /// All are one cluster, as in streamface.
    Cluster,
    /// They do not count, on whichever side they are.
    Drop,
}

impl Annotations {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let (truth, found) = (Labels::read(&self.truth)?, Labels::read(&self.found)?);
        let aligned = annotations::align((&self.truth, &truth), (&self.found, &found))?;
        let noise = match self.noise {
            Noise::Singletons => annotations::Noise::Singletons,
            Noise::Cluster => annotations::Noise::Cluster,
            Noise::Drop => annotations::Noise::Drop,
        };
        let found = annotations::compare(&aligned, noise)?;
        self.output.give(&Report {
            title: format!(
                "Annotations: {} against {}",
                name_of(&self.found),
                name_of(&self.truth)
            ),
            lead: lead(&found),
            sections: vec![section(&found)],
            numbers: to_value(&found)?,
            files: Vec::new(),
        })
    }
}

fn lead(found: &Agreements) -> Vec<String> {
    let noise = match found.noise {
        annotations::Noise::Singletons => "each counts as a cluster of its own",
        annotations::Noise::Cluster => "they count as one cluster",
        annotations::Noise::Drop => "they are left out",
    };
    vec![
        format!(
            "{} faces: {} people in truth, {} clusters as found.",
            found.samples, found.true_clusters, found.found_clusters
        ),
        format!(
            "Noise: {} faces in truth, {} as found; {noise}. Faces of one file alone do not count: {} of the truth, {} of the other.",
            found.true_noise, found.found_noise, found.truth_alone, found.found_alone
        ),
    ]
}

fn section(found: &Agreements) -> Section {
    let mut table = Table::new(
        "scores",
        "Agreement, whatever labels are called",
        &["measure", "value"],
    );
    let values = [
        ("pairwise precision", found.pairwise.precision),
        ("pairwise recall", found.pairwise.recall),
        ("pairwise F", found.pairwise.f),
        ("BCubed precision", found.bcubed.precision),
        ("BCubed recall", found.bcubed.recall),
        ("BCubed F", found.bcubed.f),
        ("NMI", found.nmi),
        ("ARI", found.ari),
        ("purity", found.purity),
        ("inverse purity", found.inverse_purity),
    ];
    for (name, value) in values {
        table.push(vec![name.into(), format!("{value:.6}")]);
    }
    let mut dependent = Table::new(
        "label_dependent",
        "Depends on how clusters are numbered (streamface's)",
        &["measure", "value"],
    );
    dependent.push(vec![
        "accuracy of raw labels".into(),
        format!("{:.6}", found.label_dependent_accuracy),
    ]);
    Section {
        heading: "Agreement".into(),
        notes: Vec::new(),
        tables: vec![table, dependent],
        plots: vec![Plot::Bars(Bars {
            title: "Agreement".into(),
            description: "Each measure, 0 to 1.".into(),
            x_label: "P, R, F: pairwise; B: BCubed; Pu, iPu: purity and its inverse".into(),
            y_label: "value".into(),
            bars: [
                "P", "R", "F", "B P", "B R", "B F", "NMI", "ARI", "Pu", "iPu",
            ]
            .into_iter()
            .zip(values)
            .map(|(name, (_, value))| (name.to_owned(), value.max(0.0)))
            .collect(),
        })],
    }
}
