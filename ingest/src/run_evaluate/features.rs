//! `evaluate features`.

use std::path::PathBuf;

use clap::Args;
use rollcall_ingest::evaluate::{
    EvaluateError, features,
    neighbours::{NeighbourReport, NeighbourRules, Sides, Spread},
    pairs::{self, Protocol, Side},
    report::{Axis, Curves, Plot, Report, Section, Series, Style, Table},
    sample::Sample,
};
use serde_json::json;

use super::{Input, Output, accept_sections, check_rates, count, name_of, rate};

/// Options of `evaluate features`.
#[derive(Args)]
pub(crate) struct Features {
    #[command(flatten)]
    input: Input,
    /// False accept rates to report.
    #[arg(
        long,
        value_name = "RATES",
        value_delimiter = ',',
        default_value = "1e-2,1e-3,1e-4,1e-5"
    )]
    far: Vec<f64>,
    /// Compare these pairs alone: LFW's pairs.txt, or .csv with a,b,same and perhaps fold.
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Sides of pairs are tracks (or folders of names), each the mean of its faces, as in YTF.
    #[arg(long, requires = "pairs")]
    templates: bool,
    /// Folds that pairs are put into, in their order, unless their file says.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "pairs")]
    folds: usize,
    /// Pairs of one track are left out: they are frames of a moment, and easy.
    #[arg(long, conflicts_with = "pairs")]
    across_tracks: bool,
    /// All pairs of so many faces are compared; of more, so many are drawn.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30_000,
        conflicts_with = "pairs"
    )]
    max_rows: usize,
    /// streamface's table: the nearest faces that count, the face itself among them.
    #[arg(long, value_name = "N", default_value_t = NeighbourRules::default().nearest, conflicts_with = "pairs")]
    nearest: usize,
    /// streamface's table: cosine distances (default: 0.1 to 0.375, 0.025 apart).
    #[arg(
        long,
        value_name = "DISTANCES",
        value_delimiter = ',',
        conflicts_with = "pairs"
    )]
    thresholds: Vec<f32>,
    /// What faces are drawn by.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "pairs")]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

impl Features {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        check_rates("--far", &self.far)?;
        let report = match &self.pairs {
            Some(path) => self.of_pairs(path)?,
            None => self.of_all()?,
        };
        self.output.give(&report)
    }

    fn of_all(&self) -> anyhow::Result<Report> {
        let input = self.input.read()?;
        let sample = match &input.labels {
            Some(labels) => Sample::of(&input.faces, labels, self.max_rows, self.seed)?,
            None => Sample::unlabelled(&input.faces, self.max_rows, self.seed)?,
        };
        drop(input);
        let rules = self.rules();
        let found = features::compare_all(&sample, &rules, self.across_tracks);
        let mut lead = vec![what_was_compared(&sample)];
        if self.across_tracks {
            lead.push(format!(
                "{} pairs of one track are left out.",
                count(found.one_track_pairs)
            ));
        }
        let mut numbers = json!({
            "faces": sample.len(),
            "faces_of": sample.of,
            "sampled": sample.is_sampled(),
            "people": sample.labels.len(),
            "people_of": sample.people_of,
            "noise": sample.noise,
            "unlabelled": sample.unlabelled,
            "dimension": sample.dimension,
            "seed": self.seed,
            "neighbours": found.neighbours,
        });
        let mut sections = Vec::new();
        match accept_sections(&found.cosines, &self.far) {
            Some((of_pairs, values)) => {
                sections = of_pairs;
                numbers["pairs"] = values;
            }
            None if sample.is_labelled() => lead.push(
                "There are not pairs of both kinds, of one person and of two: no rates.".into(),
            ),
            None => lead.push(
                "It is not known whom the faces show (--labels, --identities): no rates.".into(),
            ),
        }
        sections.push(neighbours(&found.neighbours, &rules));
        Ok(Report {
            title: format!("Features: {}", name_of(&self.input.faces)),
            lead,
            sections,
            numbers,
            files: Vec::new(),
        })
    }

    fn rules(&self) -> NeighbourRules {
        let mut rules = NeighbourRules {
            nearest: self.nearest.max(2),
            ..NeighbourRules::default()
        };
        if !self.thresholds.is_empty() {
            rules.thresholds.clone_from(&self.thresholds);
            rules.thresholds.sort_by(f32::total_cmp);
        }
        rules
    }

    fn of_pairs(&self, path: &std::path::Path) -> anyhow::Result<Report> {
        let input = self.input.read()?;
        let side = if self.templates {
            Side::Template
        } else {
            Side::Face
        };
        let pairs = pairs::read(path, &input.faces, side, self.folds)?;
        let protocol = pairs::protocol(&pairs, 1e-3)?;
        let cosines = pairs::cosines(&pairs);
        let (of_pairs, values) = accept_sections(&cosines, &self.far)
            .ok_or_else(|| EvaluateError::TooFew("pairs of one kind alone".into()))?;
        let mut sections = vec![folds(&protocol)];
        sections.extend(of_pairs);
        Ok(Report {
            title: format!("Pairs {} of {}", name_of(path), name_of(&self.input.faces)),
            lead: vec![format!(
                "{} pairs of one person and {} of two, compared exactly; {}.",
                protocol.same,
                protocol.different,
                if self.templates {
                    "each side is the mean of a set of faces"
                } else {
                    "each side is a face"
                }
            )],
            sections,
            numbers: json!({"protocol": protocol, "pairs": values, "templates": self.templates}),
            files: Vec::new(),
        })
    }
}

fn what_was_compared(sample: &Sample) -> String {
    let left_out = format!(
        "{} noise and {} unlabelled faces are left out",
        sample.noise, sample.unlabelled
    );
    let people = sample.labels.len();
    match (sample.is_labelled(), sample.is_sampled()) {
        (true, false) => format!(
            "{} faces of {people} people, all pairs, exactly; {left_out}.",
            sample.len()
        ),
        (true, true) if sample.has_drawn_people() => format!(
            "{people} of {} people and {} of {} faces were drawn: two faces of each person would be too many. Of each drawn person the same share was taken (two at least); people and faces are weighted by what they stand for; the intervals of people include the error of that; {left_out}.",
            sample.people_of,
            sample.len(),
            sample.of
        ),
        (true, true) => format!(
            "{} of {} faces of {people} people were drawn, of each person the same share (two at least) and weighted by what they stand for; the intervals of people include the error of that; {left_out}.",
            sample.len(),
            sample.of
        ),
        (false, false) => format!("{} faces, all pairs, exactly.", sample.len()),
        (false, true) => format!(
            "{} of {} faces were drawn, evenly.",
            sample.len(),
            sample.of
        ),
    }
}

fn folds(protocol: &Protocol) -> Section {
    let mut table = Table::new(
        "folds",
        "Each fold, decided by the others' thresholds",
        &[
            "fold",
            "pairs",
            "threshold",
            "accuracy",
            "threshold at the FAR wanted",
            "TAR",
            "FAR",
        ],
    );
    for (number, fold) in protocol.folds.iter().enumerate() {
        table.push(vec![
            (number + 1).to_string(),
            fold.pairs.to_string(),
            format!("{:.4}", fold.threshold),
            format!("{:.4}", fold.accuracy),
            format!("{:.4}", fold.far_threshold),
            format!("{:.4}", fold.tar),
            rate(fold.far),
        ]);
    }
    let mut summary = Table::new(
        "protocol",
        "Over folds",
        &["measure", "mean", "standard deviation"],
    );
    let wanted = format!("TAR at FAR {:e}", protocol.far_wanted);
    for (name, over) in [
        ("accuracy", protocol.accuracy),
        (&wanted, protocol.tar),
        ("FAR there", protocol.far),
    ] {
        summary.push(vec![
            name.into(),
            format!("{:.4}", over.mean),
            format!("{:.4}", over.sd),
        ]);
    }
    Section {
        heading: format!("{} folds", protocol.folds.len()),
        notes: Some(protocol.note.clone())
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect(),
        tables: vec![summary, table],
        plots: Vec::new(),
    }
}

fn neighbours(found: &NeighbourReport, rules: &NeighbourRules) -> Section {
    let columns = ["distances", "mean", "sd", "5 %", "median", "95 %"];
    let mut table = Table::new(
        "nearest",
        "Cosine distances of the nearest faces of each face",
        &columns,
    );
    let cells = |spread: &Spread| {
        let [low, middle, high] = spread.percentiles;
        [spread.mean, spread.sd, low, middle, high].map(|value| format!("{value:.4}"))
    };
    let all = [
        ("least", &found.least),
        ("mean", &found.mean),
        ("greatest", &found.greatest),
    ];
    for (name, spread) in all {
        table.push(
            std::iter::once(name.to_owned())
                .chain(cells(spread))
                .collect(),
        );
    }
    let mut by_threshold = Table::new(
        "neighbours",
        "On either side of a distance: means over faces",
        &[
            "distance",
            "least within",
            "mean within",
            "mean beyond",
            "greatest beyond",
        ],
    );
    let mut bins = Table::new(
        "neighbour_distributions",
        "Shares of faces",
        &["distance", "of", "from", "to", "share"],
    );
    bins.file_only = true;
    for (name, spread) in all {
        push_bins(&mut bins, "-", name, spread);
    }
    for sides in &found.thresholds {
        let at = format!("{:.3}", sides.threshold);
        let mut row = vec![at.clone()];
        for (name, spread) in four(sides) {
            row.push(format!("{:.4}", spread.mean));
            push_bins(&mut bins, &at, name, spread);
        }
        by_threshold.push(row);
    }
    let mut plots = vec![histograms("Distances to the nearest faces", &all)];
    plots.extend(found.thresholds.iter().map(|sides| {
        histograms(
            &format!("Distances within {:.3} and beyond", sides.threshold),
            &four(sides),
        )
    }));
    Section {
        heading: "Neighbours (streamface's feature evaluation)".into(),
        notes: vec![format!(
            "Of each of {} faces, the {} nearest others. Where there is nothing on a side, the distance itself stands for it.",
            found.faces,
            (rules.nearest - 1).min(found.faces.saturating_sub(1))
        )],
        tables: vec![table, by_threshold, bins],
        plots,
    }
}

fn four(sides: &Sides) -> [(&'static str, &Spread); 4] {
    [
        ("least within", &sides.least_within),
        ("mean within", &sides.mean_within),
        ("mean beyond", &sides.mean_beyond),
        ("greatest beyond", &sides.greatest_beyond),
    ]
}

fn push_bins(table: &mut Table, at: &str, name: &str, spread: &Spread) {
    let width = spread.to / spread.shares.len() as f64;
    for (bin, share) in spread.shares.iter().enumerate() {
        let from = bin as f64 * width;
        table.push(vec![
            at.into(),
            name.into(),
            format!("{from:.5}"),
            format!("{:.5}", from + width),
            format!("{share:.8}"),
        ]);
    }
}

fn histograms(title: &str, spreads: &[(&str, &Spread)]) -> Plot {
    let series: Vec<Series> = spreads
        .iter()
        .map(|(name, spread)| {
            let width = spread.to / spread.shares.len() as f64;
            let points = spread
                .shares
                .iter()
                .enumerate()
                .map(|(bin, share)| ((bin as f64 + 0.5) * width, *share));
            Series {
                name: (*name).to_owned(),
                points: points.collect(),
                style: Style::Area,
            }
        })
        .collect();
    let most = series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.1)
        .fold(0.0, f64::max);
    Plot::Curves(Curves {
        title: title.to_owned(),
        description: "The share of faces in each of 49 bins.".into(),
        x: Axis::linear(
            "cosine distance",
            0.0,
            spreads.first().map_or(1.5, |(_, spread)| spread.to),
        ),
        y: Axis::linear("share of faces", 0.0, most * 1.05),
        series,
    })
}
