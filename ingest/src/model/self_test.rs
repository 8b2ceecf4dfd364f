//! Does the model compute here what it computed where its manifest was made?

use super::ModelError;
use super::manifest::{Pattern, SelfTest};
use crate::picture::Picture;

/// The picture a self-test feeds to the model.
pub(super) fn input(test: &SelfTest) -> Picture {
    let Pattern::Lcg1 = test.pattern;
    let bytes = test.width * test.height * 3;
    let rgb = (0..bytes)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    Picture::new(test.width, test.height, rgb).expect("a checked manifest's sides are 1 to 512")
}

/// Compares output number `at`, called `name`, of `model` with what the manifest expects.
pub(super) fn check(
    model: &str,
    name: &str,
    test: &SelfTest,
    at: usize,
    values: &[f32],
) -> Result<(), ModelError> {
    let found: Vec<f32> = values.iter().copied().step_by(test.strides[at]).collect();
    let expected = &test.expected[at];
    if found.len() != expected.len() {
        return Err(ModelError::WrongShape {
            model: model.to_owned(),
            tensor: format!("self-test output {name}"),
            expected: format!("{} values (every {}th)", expected.len(), test.strides[at]),
            found: format!("{} values", found.len()),
        });
    }
    let cosine = cosine(&found, expected);
    // Written so that a NaN fails.
    if cosine >= test.min_cosine {
        return Ok(());
    }
    Err(ModelError::SelfTest {
        model: model.to_owned(),
        output: name.to_owned(),
        cosine,
        needed: test.min_cosine,
    })
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(x, y)| f64::from(*x) * f64::from(*y))
            .sum()
    };
    crate::number::to_f32(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt())
}
