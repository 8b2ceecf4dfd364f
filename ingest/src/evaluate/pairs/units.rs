//! What the sides of pairs are: faces, or sets of faces.

use std::collections::BTreeMap;

use super::Side;
use crate::{
    evaluate::labels::{Names, stem},
    faceset::FaceSet,
};

/// Faces, or sets of faces.
pub(super) struct Units<'a> {
    faces: &'a FaceSet,
    names: Option<Names>,
    templates: Option<Templates>,
}

/// Sets of faces.
struct Templates {
    by_name: BTreeMap<String, usize>,
    rows: Vec<Vec<usize>>,
}

impl<'a> Units<'a> {
    pub(super) fn of(faces: &'a FaceSet, side: Side) -> Self {
        let templates = (side == Side::Template).then(|| {
            let mut by_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
            for row in 0..faces.len() {
                let track = faces.known()[row].track.map(|track| track.to_string());
                let folder = faces.name(row).and_then(|name| name.rsplit_once('/'));
                let folder = folder.map(|(folder, _)| folder.to_owned());
                for name in [track, folder].into_iter().flatten() {
                    by_name.entry(name).or_default().push(row);
                }
            }
            let (names, rows): (Vec<String>, Vec<Vec<usize>>) = by_name.into_iter().unzip();
            Templates {
                by_name: names.into_iter().zip(0..).collect(),
                rows,
            }
        });
        Self {
            faces,
            names: Names::of(faces),
            templates,
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        if let Some(templates) = &self.templates {
            return templates.by_name.get(name).copied();
        }
        let by_name = self.names.as_ref().and_then(|names| names.row(stem(name)));
        let by_row = || name.parse().ok().filter(|row| *row < self.faces.len());
        by_name.or_else(by_row)
    }

    pub(super) fn cosine(&self, one: usize, other: usize) -> f32 {
        let (one, other) = (self.vector(one), self.vector(other));
        let dot: f64 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
        let length = |of: &[f64]| of.iter().map(|value| value * value).sum::<f64>().sqrt();
        let lengths = length(&one) * length(&other);
        crate::number::to_f32(if lengths > 0.0 { dot / lengths } else { 0.0 })
    }

    /// A face's embedding, or the sum of a template's.
    fn vector(&self, unit: usize) -> Vec<f64> {
        let one = [unit];
        let rows = self
            .templates
            .as_ref()
            .map_or(&one[..], |templates| &templates.rows[unit]);
        let mut sum = vec![0.0; self.faces.dimension()];
        for row in rows {
            let values = self.faces.embedding(*row).iter();
            sum.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sum
    }
}
