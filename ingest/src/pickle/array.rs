use half::f16;

/// A `NumPy` array of numbers, as 32-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// The numbers, the last index running fastest.
    pub values: Vec<f32>,
}

impl Array {
    /// Of the bytes that `NumPy` keeps numbers in: `kind` is such as `<f4`. Or what is wrong with them.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what comes of it is looked at as a float of 32 bits"
    )]
    pub(super) fn decode(
        kind: &str,
        shape: Vec<usize>,
        fortran: bool,
        bytes: &[u8],
    ) -> Result<Self, String> {
        let values: Vec<f32> = match kind.trim_start_matches(['<', '|', '=']) {
            "f2" => chunks(bytes)
                .map(|b| f16::from_le_bytes(b).to_f32())
                .collect(),
            "f4" => chunks(bytes).map(f32::from_le_bytes).collect(),
            "f8" => chunks(bytes)
                .map(|b| f64::from_le_bytes(b) as f32)
                .collect(),
            "i4" => chunks(bytes)
                .map(|b| i32::from_le_bytes(b) as f32)
                .collect(),
            "i8" => chunks(bytes)
                .map(|b| i64::from_le_bytes(b) as f32)
                .collect(),
            "u1" => bytes.iter().map(|b| f32::from(*b)).collect(),
            _ => {
                return Err(format!(
                    "an array of {kind}; floats and integers are read (little-endian)"
                ));
            }
        };
        let expected = shape.iter().try_fold(1_usize, |a, b| a.checked_mul(*b));
        if expected != Some(values.len()) {
            return Err(format!(
                "an array of shape {shape:?} with {} values",
                values.len()
            ));
        }
        if fortran && shape.iter().filter(|length| **length > 1).count() > 1 {
            return Err(
                "an array in Fortran order; numpy.ascontiguousarray makes one that is read"
                    .to_owned(),
            );
        }
        Ok(Self { shape, values })
    }
}

/// Whole groups of bytes; what is left over shows in the number of values.
fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}
