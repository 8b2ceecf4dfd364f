//! `evaluate identification`.

use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;
use rollcall_ingest::evaluate::{
    identification::{self, Scored, Split},
    report::{Axis, Curves, Plot, Report, Section, Series, Table},
};
use serde_json::to_value;

use super::{
    Input, Output, check_rates,
    input::{Labelled, is_photos},
    interval, name_of, rate,
};

/// Options of `evaluate identification`.
#[derive(Args)]
pub(crate) struct Identification {
    /// FACES are searched for; without --gallery, they are divided into a gallery and searches.
    #[command(flatten)]
    input: Input,
    /// Labelled faces of whom is known: .npy, .jsonl, .parquet, or a folder of photos, in which each
    /// person has a folder. Labels are those of FACES; below 0 nobody's.
    #[arg(long, value_name = "FACES")]
    gallery: Option<PathBuf>,
    /// Whom faces of the gallery show, as --labels.
    #[arg(long, value_name = "FILE", requires = "gallery")]
    gallery_labels: Option<PathBuf>,
    /// The name of each face of the gallery, one a line.
    #[arg(long, value_name = "FILE", requires = "gallery")]
    gallery_names: Option<PathBuf>,
    /// Divided: the share of people who are left out of the gallery.
    #[arg(long, value_name = "SHARE", default_value_t = Split::default().unknown, conflicts_with = "gallery")]
    unknown: f64,
    /// Divided: the share of everybody else's tracks that goes into the gallery.
    #[arg(long, value_name = "SHARE", default_value_t = Split::default().gallery, conflicts_with = "gallery")]
    gallery_share: f64,
    /// False positive identification rates to report.
    #[arg(
        long,
        value_name = "RATES",
        value_delimiter = ',',
        default_value = "0.01,0.001"
    )]
    fpir: Vec<f64>,
    /// What faces and people are drawn by.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

impl Identification {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        for (name, share) in [
            ("--unknown", self.unknown),
            ("--gallery-share", self.gallery_share),
        ] {
            ensure!(
                (0.0..1.0).contains(&share),
                "{name} {share}: a share from 0 to below 1 is wanted"
            );
        }
        check_rates("--fpir", &self.fpir)?;
        let input = self.input.read()?;
        let labels = input.labels()?;
        let (gallery, searches, how) = match &self.gallery {
            Some(path) => {
                let gallery = self.read_gallery(path)?;
                let how = format!("The gallery is {}.", name_of(path));
                (
                    identification::people(&gallery.faces, gallery.labels()?, false),
                    identification::people(&input.faces, labels, true),
                    how,
                )
            }
            None => {
                let rules = Split {
                    unknown: self.unknown,
                    gallery: self.gallery_share,
                    seed: self.seed,
                };
                let (gallery, searches) = identification::split(&input.faces, labels, rules);
                let how = format!(
                    "Divided by seed {}: {} of people are not in the gallery; of everybody else, {} of their tracks are.",
                    self.seed, self.unknown, self.gallery_share
                );
                (gallery, searches, how)
            }
        };
        let found = identification::identify(&gallery, &searches, &self.fpir, self.seed)?;
        let mut lead = vec![
            format!(
                "{} faces of {} people in the gallery; {} searches of people who are in it, {} of people who are not.",
                found.gallery_faces, found.gallery_people, found.mated, found.unmated
            ),
            how,
        ];
        let done = found.mated + found.unmated;
        if done < found.searches_of {
            lead.push(format!(
                "Searches were drawn: {done} of {}; the intervals are theirs.",
                found.searches_of
            ));
        }
        self.output.give(&Report {
            title: format!("Identification: {}", name_of(&self.input.faces)),
            lead,
            sections: vec![misses(&found), ranks(&found)],
            numbers: to_value(&found)?,
            files: Vec::new(),
        })
    }

    fn read_gallery(&self, path: &std::path::Path) -> anyhow::Result<Labelled> {
        let has_photos = is_photos(path)?;
        let given = [
            ("--gallery-labels", self.gallery_labels.is_some()),
            ("--gallery-names", self.gallery_names.is_some()),
        ];
        for (option, is_given) in given {
            ensure!(
                !(has_photos && is_given),
                "{option}: {} is a folder of photos, whose folders and names say whom they show; leave {option} out",
                path.display()
            );
        }
        let model = if has_photos { "" } else { &self.input.model };
        let gallery = Input {
            faces: path.to_owned(),
            model: model.to_owned(),
            labels: self.gallery_labels.clone(),
            identities: None,
            tracks: None,
            names: self.gallery_names.clone(),
            photos: self.input.photos.clone(),
        };
        gallery.read()
    }
}

fn both(found: &identification::Identification) -> [(&'static str, &Scored); 2] {
    [
        ("most similar face", &found.by_faces),
        ("mean of faces", &found.by_means),
    ]
}

fn misses(found: &identification::Identification) -> Section {
    let mut table = Table::new(
        "fnir_at_fpir",
        "False negatives (FNIR) at false positives (FPIR)",
        &[
            "score",
            "FPIR wanted",
            "threshold",
            "FPIR",
            "FPIR, 95 %",
            "FNIR",
            "FNIR, 95 %",
            "FNIR at rank 1",
            "note",
        ],
    );
    let mut det = Table::new(
        "det",
        "Rates at thresholds",
        &["score", "threshold", "fpir", "fnir"],
    );
    det.file_only = true;
    let mut series = Vec::new();
    for (name, scored) in both(found) {
        for at in &scored.at_fpir {
            let mut row = vec![name.to_owned(), at.wanted.to_string()];
            match &at.point {
                Some(point) => row.extend([
                    format!("{:.4}", point.threshold),
                    rate(point.fpir),
                    interval(point.fpir_interval),
                    rate(point.fnir),
                    interval(point.fnir_interval),
                    rate(point.fnir_rank_1),
                ]),
                None => row.extend(std::iter::repeat_n("-".to_owned(), 6)),
            }
            row.push(at.note.clone());
            table.push(row);
        }
        for (threshold, fpir, fnir) in &scored.det {
            det.push(vec![
                name.into(),
                format!("{threshold:.6}"),
                format!("{fpir:.8}"),
                format!("{fnir:.8}"),
            ]);
        }
        series.push(Series {
            name: name.into(),
            points: scored
                .det
                .iter()
                .map(|(_, fpir, fnir)| (*fpir, *fnir))
                .collect(),
            ..Series::default()
        });
    }
    Section {
        heading: "Misses at false positives".into(),
        notes: vec!["FNIR: the share of searches whose person is in the gallery and is not returned at the threshold, at whatever rank. FPIR: the share of searches whose person is not in the gallery and for whom anybody is returned. Intervals: the wider of that of independent searches (Wilson) and that of people, whose searches depend on each other.".into()],
        tables: vec![table, det],
        plots: vec![det_plot(found, series)],
    }
}

fn det_plot(found: &identification::Identification, series: Vec<Series>) -> Plot {
    let floor = |count: usize| 10_f64.powf(-(count.max(10) as f64).log10().ceil());
    Plot::Curves(Curves {
        title: "DET: FNIR over FPIR".into(),
        description:
            "The share of missed people at each rate of false positives; the lower the better."
                .into(),
        x: Axis::log("FPIR", floor(found.unmated), 1.0),
        y: Axis::log("FNIR", floor(found.mated), 1.0),
        series,
    })
}

fn ranks(found: &identification::Identification) -> Section {
    let mut table = Table::new(
        "ranks",
        "The share found by a rank, without a threshold",
        &["score", "rank", "found", "95 %"],
    );
    let mut cmc = Table::new(
        "cmc",
        "The share found by each rank",
        &["score", "rank", "found"],
    );
    cmc.file_only = true;
    let mut series = Vec::new();
    for (name, scored) in both(found) {
        for at in &scored.ranks {
            table.push(vec![
                name.into(),
                at.rank.to_string(),
                rate(at.share),
                interval(at.interval),
            ]);
        }
        let numbered = (1_u32..).zip(&scored.cmc);
        numbered.clone().for_each(|(rank, share)| {
            cmc.push(vec![name.into(), rank.to_string(), format!("{share:.6}")])
        });
        series.push(Series {
            name: name.into(),
            points: numbered
                .map(|(rank, share)| (f64::from(rank), *share))
                .collect(),
            ..Series::default()
        });
    }
    let least = series
        .iter()
        .flat_map(|series| &series.points)
        .map(|point| point.1)
        .fold(1.0, f64::min);
    Section {
        heading: "Ranks".into(),
        notes: vec!["Of searches whose person is in the gallery. Whoever is as similar as the right person comes before it.".into()],
        tables: vec![table, cmc],
        plots: vec![Plot::Curves(Curves {
            title: "CMC: found by each rank".into(),
            description: "The share of searches whose person is at this rank or before.".into(),
            x: Axis::linear("rank", 0.0, 50.0),
            y: Axis::linear("share found", ((least - 0.02) * 20.0).floor() / 20.0, 1.0),
            series,
        })],
    }
}
