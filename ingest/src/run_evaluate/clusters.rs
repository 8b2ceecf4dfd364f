//! `evaluate clusters`.

use clap::Args;
use rollcall_ingest::evaluate::{
    clusters::{self, Silhouette},
    report::{Axis, Bars, Curves, Plot, Report, Section, Series, Style, Table},
};
use serde_json::{json, to_value};

use super::{Input, Output, input::Labelled, name_of};

/// Clusters of the table that is shown; all are in its file.
const SHOWN: usize = 20;

/// Options of `evaluate clusters`.
#[derive(Args)]
pub(crate) struct Clusters {
    #[command(flatten)]
    input: Input,
    /// What faces are drawn by, where there are too many for all Euclidean distances.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

impl Clusters {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let input = self.input.read()?;
        let found = clusters::measure(&input.faces, input.labels()?, self.seed)?;
        let lead = format!(
            "{} faces in {} clusters; {} noise and {} unlabelled faces are left out.",
            found.faces, found.clusters, found.noise, found.unlabelled
        );
        let report = Report {
            title: format!("Clusters: {}", name_of(&self.input.faces)),
            lead: vec![lead],
            sections: vec![
                scores(&found),
                silhouettes(&found, &input),
                sizes(&found, &input),
            ],
            numbers: to_value(&found)?,
            files: vec![("cluster_scores.json".into(), streamface(&found))],
        };
        self.output.give(&report)
    }
}

/// streamface's keys, of cosines as it has them by default.
fn streamface(found: &clusters::Clusters) -> serde_json::Value {
    json!({
        "Davies-Bouldin": found.davies_bouldin,
        "Calinski-Harabasz": found.calinski_harabasz,
        "Silhouette": found.silhouette_cosine.mean,
        "Silhouette PS": found.silhouette_cosine.values,
    })
}

fn scores(found: &clusters::Clusters) -> Section {
    let mut table = Table::new(
        "scores",
        "Measures that need no truth",
        &["measure", "distance", "value", "standard error", "better"],
    );
    let mut push = |name: &str, distance: &str, value: f64, error: Option<f64>, better: &str| {
        let error = match error {
            Some(error) if error > 0.0 => format!("{error:.6}"),
            _ => "exact".into(),
        };
        table.push(vec![
            name.into(),
            distance.into(),
            format!("{value:.6}"),
            error,
            better.into(),
        ]);
    };
    let (cosine, euclidean) = (&found.silhouette_cosine, &found.silhouette_euclidean);
    push(
        "silhouette",
        "cosine",
        cosine.mean,
        Some(cosine.standard_error),
        "near 1",
    );
    push(
        "silhouette",
        "Euclidean",
        euclidean.mean,
        Some(euclidean.standard_error),
        "near 1",
    );
    push(
        "Davies-Bouldin",
        "Euclidean",
        found.davies_bouldin,
        None,
        "near 0",
    );
    push(
        "Caliński-Harabasz",
        "Euclidean",
        found.calinski_harabasz,
        None,
        "high",
    );
    let mut notes = Vec::new();
    if euclidean.values.len() < found.faces {
        notes.push(format!(
            "The Euclidean silhouette is that of {} faces drawn at random, each against all others.",
            euclidean.values.len()
        ));
    }
    Section {
        heading: "Scores".into(),
        notes,
        tables: vec![table],
        plots: Vec::new(),
    }
}

fn silhouettes(found: &clusters::Clusters, input: &Labelled) -> Section {
    let silhouette = &found.silhouette_cosine;
    let mut table = Table::new(
        "silhouettes",
        "Of each face, by cosine distance",
        &["face", "label", "silhouette"],
    );
    table.file_only = true;
    for (row, value) in silhouette.rows.iter().zip(&silhouette.values) {
        let name = input
            .faces
            .name(*row)
            .map_or_else(|| row.to_string(), str::to_owned);
        let label = input.labels.as_ref().and_then(|labels| labels[*row]);
        table.push(vec![
            name,
            input.called(label.unwrap_or(-1)),
            format!("{value:.6}"),
        ]);
    }
    Section {
        heading: "Silhouettes of faces".into(),
        notes: vec!["A face below 0 is nearer to another cluster than to its own.".into()],
        tables: vec![table],
        plots: vec![shares_of(silhouette)],
    }
}

fn shares_of(silhouette: &Silhouette) -> Plot {
    let mut sorted = silhouette.values.clone();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let below = |limit: f64| sorted.partition_point(|value| *value < limit) as f64;
    let points = (0_u8..80).map(|bin| {
        let from = -1.0 + f64::from(bin) * 0.025;
        let end = if bin == 79 {
            count
        } else {
            below(from + 0.025)
        };
        (from + 0.0125, (end - below(from)) / count)
    });
    let points: Vec<(f64, f64)> = points.collect();
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    Plot::Curves(Curves {
        title: "Silhouettes of faces".into(),
        description: format!(
            "The share of faces in bins of 0.025; the mean is {:.4}.",
            silhouette.mean
        ),
        x: Axis::linear("silhouette (cosine)", -1.0, 1.0),
        y: Axis::linear("share of faces", 0.0, most * 1.05),
        series: vec![Series {
            points,
            style: Style::Area,
            ..Series::default()
        }],
    })
}

fn sizes(found: &clusters::Clusters, input: &Labelled) -> Section {
    let mut bins = Table::new(
        "size_bins",
        "Clusters by size, in streamface's bins",
        &["faces from", "clusters", "faces in them"],
    );
    let mut bars = Vec::new();
    let last = found
        .size_bins
        .iter()
        .rposition(|(_, clusters, _)| *clusters > 0)
        .unwrap_or(0);
    for (from, clusters, faces) in &found.size_bins[..=last] {
        bins.push(vec![
            from.to_string(),
            clusters.to_string(),
            faces.to_string(),
        ]);
        bars.push((from.to_string(), *clusters as f64));
    }
    let mut all = Table::new(
        "clusters",
        "Clusters, the largest first",
        &["label", "faces"],
    );
    let row = |(label, size): &(i64, usize)| vec![input.called(*label), size.to_string()];
    found
        .sizes
        .iter()
        .for_each(|cluster| all.push(row(cluster)));
    all.file_only = all.rows.len() > SHOWN;
    let by_rank = (1_u32..)
        .map(f64::from)
        .zip(found.sizes.iter().map(|(_, size)| *size as f64));
    let largest = found.sizes.first().map_or(1.0, |(_, size)| *size as f64);
    let clusters = (found.clusters as f64).max(2.0);
    Section {
        heading: "Sizes".into(),
        notes: Vec::new(),
        tables: vec![bins, all],
        plots: vec![
            Plot::Bars(Bars {
                title: "Clusters by size".into(),
                description: "How many clusters there are of each size, in streamface's bins."
                    .into(),
                x_label: "faces, from".into(),
                y_label: "clusters".into(),
                bars,
            }),
            Plot::Curves(Curves {
                title: "Size of each cluster, the largest first".into(),
                description: "Faces of each cluster over its place in order of size.".into(),
                x: Axis::log("place", 1.0, clusters),
                y: Axis::log("faces", 1.0, largest.max(2.0)),
                series: vec![Series {
                    points: by_rank.collect(),
                    ..Series::default()
                }],
            }),
        ],
    }
}
