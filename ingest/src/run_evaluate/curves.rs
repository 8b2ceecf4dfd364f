//! What is shown of cosines of one person and of two.

use rollcall_ingest::evaluate::{
    curve::{AtFar, Cosines, Curve},
    report::{Axis, Curves, Plot, Section, Series, Style, Table},
};
use serde_json::{Value, json};

use super::{count, interval, maybe, rate};

/// Bins of the picture of cosines.
const PICTURE_BINS: usize = 200;
/// Every so-manyth threshold is in the table.
const TABLE_STEP: usize = 5;

/// Sections about distributions, accepts and best thresholds, and their numbers. `rates` are the false
/// accept rates that are asked for.
pub(crate) fn accept_sections(cosines: &Cosines, rates: &[f64]) -> Option<(Vec<Section>, Value)> {
    let curve = Curve::of(cosines)?;
    let at: Vec<AtFar> = rates.iter().map(|far| curve.at_far(*far)).collect();
    let best = best_table(&curve);
    let sections = vec![
        distributions(cosines),
        accepts(&curve, &at, cosines.groups.len()),
        Section {
            heading: "Best thresholds".into(),
            notes: vec!["Accuracy and F1 depend on how many pairs there are of each kind; the balanced accuracy does not.".into()],
            tables: vec![best],
            plots: Vec::new(),
        },
    ];
    let (same, different) = (cosines.same.mean_and_sd(), cosines.different.mean_and_sd());
    let numbers = json!({
        "same": {"pairs": cosines.same_pairs, "mean": same.0, "sd": same.1},
        "different": {"pairs": cosines.different_pairs, "mean": different.0, "sd": different.1},
        "area_under_roc": curve.area(),
        "equal_error": curve.equal_error(),
        "best_accuracy": curve.best_accuracy(),
        "best_balanced_accuracy": curve.best_balanced(),
        "best_f1": curve.best_f1(),
        "at_far": at,
    });
    Some((sections, numbers))
}

fn distributions(cosines: &Cosines) -> Section {
    let mut table = Table::new(
        "pairs",
        "Pairs that were compared",
        &["pairs of", "compared", "mean", "standard deviation"],
    );
    let kinds = [
        ("one person", cosines.same_pairs, &cosines.same),
        ("two people", cosines.different_pairs, &cosines.different),
    ];
    let mut series = Vec::new();
    let mut shares = Table::new(
        "cosines",
        "Shares of cosines in bins",
        &["from", "one person", "two people"],
    );
    shares.file_only = true;
    let width = 2.0 / PICTURE_BINS as f64;
    for (name, pairs, histogram) in kinds {
        let (mean, sd) = histogram.mean_and_sd();
        table.push(vec![
            name.into(),
            count(pairs),
            format!("{mean:.4}"),
            format!("{sd:.4}"),
        ]);
        let bins = histogram.coarse(PICTURE_BINS).into_iter().enumerate();
        series.push(Series {
            name: name.into(),
            points: bins
                .map(|(bin, share)| (-1.0 + (bin as f64 + 0.5) * width, share / width))
                .collect(),
            style: Style::Area,
        });
    }
    let (one, two) = (
        cosines.same.coarse(PICTURE_BINS),
        cosines.different.coarse(PICTURE_BINS),
    );
    for (bin, (one, two)) in one.iter().zip(&two).enumerate() {
        shares.push(vec![
            format!("{:.2}", -1.0 + bin as f64 * width),
            format!("{one:.6e}"),
            format!("{two:.6e}"),
        ]);
    }
    let points = || series.iter().flat_map(|series| &series.points);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    let lowest = points()
        .filter(|point| point.1 > 0.0)
        .map(|point| point.0)
        .fold(1.0, f64::min);
    Section {
        heading: "Cosines".into(),
        plots: vec![Plot::Curves(Curves {
            title: "Cosines of one person's and of two people's faces".into(),
            description: "Densities; the less they overlap, the better people are told apart."
                .into(),
            x: Axis::linear("cosine", (lowest - 0.05).max(-1.0), 1.0),
            y: Axis::linear("density", 0.0, highest * 1.05),
            series,
        })],
        tables: vec![table, shares],
        notes: Vec::new(),
    }
}

fn accepts(curve: &Curve<'_>, at: &[AtFar], groups: usize) -> Section {
    let mut table = Table::new(
        "tar_at_far",
        "True accept rate (TAR) at false accept rates (FAR)",
        &[
            "FAR wanted",
            "threshold",
            "FAR",
            "FAR, 95 %, pairs",
            "FAR, 95 %, people",
            "TAR",
            "TAR, 95 %, pairs",
            "TAR, 95 %, people",
            "note",
        ],
    );
    for found in at {
        let mut row = vec![format!("{:e}", found.wanted)];
        match &found.point {
            Some(point) => row.extend([
                format!("{:.4}", point.threshold),
                rate(point.far),
                interval(point.far_interval),
                maybe(point.far_grouped),
                rate(point.tar),
                interval(point.tar_interval),
                maybe(point.tar_grouped),
            ]),
            None => row.extend(std::iter::repeat_n("-".to_owned(), 7)),
        }
        row.push(found.note.clone());
        table.push(row);
    }
    let mut rates = Table::new(
        "roc",
        "Rates at thresholds",
        &["threshold", "far", "tar", "frr"],
    );
    rates.file_only = true;
    let changing = curve
        .rates()
        .step_by(TABLE_STEP)
        .filter(|(_, far, tar)| *far > 0.0 && *far < 1.0 || *tar > 0.0 && *tar < 1.0);
    for (threshold, far, tar) in changing {
        rates.push(vec![
            format!("{threshold:.4}"),
            format!("{far:.8e}"),
            format!("{tar:.8}"),
            format!("{:.8}", 1.0 - tar),
        ]);
    }
    let mut notes = vec!["TAR is the share of one person's pairs at or above the threshold, FAR that of two people's. \"Pairs\": intervals if pairs were independent (Clopper-Pearson, Wilson).".into()];
    if groups > 0 {
        notes.push(format!("\"People\": pairs share faces and people; intervals from how rates differ between {groups} groups of people."));
    }
    Section {
        heading: "Accepts at every threshold".into(),
        notes,
        plots: vec![roc(curve, at), det(curve, at)],
        tables: vec![table, rates],
    }
}

/// A power of ten, not above the least rate that was seen.
fn floor_of(rates: impl Iterator<Item = f64>) -> f64 {
    let least = rates.filter(|rate| *rate > 0.0).fold(1.0, f64::min);
    10_f64.powf(least.log10().floor()).clamp(1e-9, 0.1)
}

/// The rates that were asked for, as dots: `y` of each.
fn dots(at: &[AtFar], y: fn(f64) -> f64) -> Series {
    let points = at.iter().filter_map(|found| found.point.as_ref());
    let points = points.filter(|point| point.far > 0.0);
    Series {
        name: "at the rates wanted".into(),
        points: points.map(|point| (point.far, y(point.tar))).collect(),
        style: Style::Dots,
    }
}

fn roc(curve: &Curve<'_>, at: &[AtFar]) -> Plot {
    let from = floor_of(curve.rates().map(|(_, far, _)| far));
    let seen = curve.rates().rev().filter(|(_, far, _)| *far > 0.0);
    Plot::Curves(Curves {
        title: "ROC: true over false accepts".into(),
        description: "The true accept rate at each false accept rate; the higher the better."
            .into(),
        x: Axis::log("false accept rate", from, 1.0),
        y: Axis::linear("true accept rate", 0.0, 1.0),
        series: vec![
            Series {
                name: "all thresholds".into(),
                points: seen.map(|(_, far, tar)| (far, tar)).collect(),
                ..Series::default()
            },
            dots(at, |tar| tar),
        ],
    })
}

fn det(curve: &Curve<'_>, at: &[AtFar]) -> Plot {
    let (x, y) = (
        floor_of(curve.rates().map(|(_, far, _)| far)),
        floor_of(curve.rates().map(|(.., tar)| 1.0 - tar)),
    );
    let seen = curve
        .rates()
        .rev()
        .filter(|(_, far, tar)| *far > 0.0 && *tar < 1.0);
    Plot::Curves(Curves {
        title: "DET: false refusals over false accepts".into(),
        description: "The share of one person's pairs that is refused at each false accept rate; the lower the better.".into(),
        x: Axis::log("false accept rate", x, 1.0),
        y: Axis::log("false refusal rate", y.max(1e-6), 1.0),
        series: vec![
            Series {
                name: "all thresholds".into(),
                points: seen.map(|(_, far, tar)| (far, 1.0 - tar)).collect(),
                ..Series::default()
            },
            dots(at, |tar| 1.0 - tar),
        ],
    })
}

fn best_table(curve: &Curve<'_>) -> Table {
    let mut table = Table::new(
        "thresholds",
        "Where each measure is best",
        &["measure", "threshold", "value"],
    );
    for (name, best) in [
        ("accuracy", curve.best_accuracy()),
        ("balanced accuracy", curve.best_balanced()),
        ("F1 of pairs", curve.best_f1()),
        ("equal error rate", curve.equal_error()),
    ] {
        table.push(vec![
            name.into(),
            format!("{:.4}", best.threshold),
            rate(best.value),
        ]);
    }
    table.push(vec![
        "area under the ROC".into(),
        "-".into(),
        format!("{:.6}", curve.area()),
    ]);
    table
}
