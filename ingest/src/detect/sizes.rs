//! How large a detector sees the picture, once or several times.

use std::str::FromStr;

/// How large the detector sees the picture: the longest side of its input, in pixels.
///
/// The picture is scaled, up or down, until its longest side is this long. Cost grows with the
/// square; a face should be at least 12 pixels wide at that scale to be found. A model that takes
/// one size alone sees every picture at that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DetectSize(u32);

impl DetectSize {
    /// The smallest size, in pixels.
    pub const MIN: u32 = 32;
    /// The largest size, in pixels.
    pub const MAX: u32 = 2048;

    /// A longest side of `pixels`, moved into [`DetectSize::MIN`]..=[`DetectSize::MAX`].
    #[must_use]
    pub const fn longest_side(pixels: u32) -> Self {
        if pixels < Self::MIN {
            Self(Self::MIN)
        } else if pixels > Self::MAX {
            Self(Self::MAX)
        } else {
            Self(pixels)
        }
    }

    /// The longest side, in pixels.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for DetectSize {
    /// 640 pixels.
    fn default() -> Self {
        Self(640)
    }
}

/// The sizes at which the detector looks at one picture, one after the other; what it finds is
/// pooled before suppression, so that a face found twice counts once. Invariant: 1 to
/// [`DetectSizes::COUNT_MAX`], each once, the smallest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectSizes(Vec<DetectSize>);

/// Why numbers are no [`DetectSizes`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given}: not sizes for the detector; needed are 1 to {} different numbers of pixels from {} to {}, separated by commas, such as 640,1280",
    DetectSizes::COUNT_MAX,
    DetectSize::MIN,
    DetectSize::MAX
)]
pub struct DetectSizesError {
    given: String,
}

impl DetectSizes {
    /// So many sizes at most: each costs a run of the model.
    pub const COUNT_MAX: usize = 4;

    /// These longest sides, in pixels, in any order.
    ///
    /// # Errors
    /// [`DetectSizesError`] for none, too many, two the same, or one out of range.
    pub fn new(pixels: &[u32]) -> Result<Self, DetectSizesError> {
        let mut sizes: Vec<DetectSize> = pixels.iter().copied().map(DetectSize).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let in_range = |p: &u32| (DetectSize::MIN..=DetectSize::MAX).contains(p);
        let good = (1..=Self::COUNT_MAX).contains(&pixels.len())
            && sizes.len() == pixels.len()
            && pixels.iter().all(in_range);
        if good {
            return Ok(Self(sizes));
        }
        let given: Vec<String> = pixels.iter().map(u32::to_string).collect();
        Err(DetectSizesError {
            given: if given.is_empty() {
                "nothing".to_owned()
            } else {
                given.join(",")
            },
        })
    }

    /// The sizes, the smallest first.
    pub fn iter(&self) -> impl Iterator<Item = DetectSize> {
        self.0.iter().copied()
    }

    /// The largest of them.
    #[must_use]
    pub fn largest(&self) -> DetectSize {
        self.0.last().copied().unwrap_or_default()
    }
}

impl From<DetectSize> for DetectSizes {
    fn from(size: DetectSize) -> Self {
        Self(vec![size])
    }
}

impl Default for DetectSizes {
    /// 640 pixels alone.
    fn default() -> Self {
        DetectSize::default().into()
    }
}

impl FromStr for DetectSizes {
    type Err = DetectSizesError;

    fn from_str(text: &str) -> Result<Self, DetectSizesError> {
        let pixels: Result<Vec<u32>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        pixels.map_or_else(
            |_| {
                Err(DetectSizesError {
                    given: text.to_owned(),
                })
            },
            |p| Self::new(&p),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_sorted_and_checked() {
        let check = |text: &str, wanted: Option<&[u32]>| {
            let found = text.parse::<DetectSizes>().ok();
            let found = found.map(|sizes| sizes.iter().map(DetectSize::get).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), wanted, "{text}");
        };
        check("640", Some(&[640]));
        check("1280, 640", Some(&[640, 1280]));
        check("", None);
        check("640,640", None);
        check("640,x", None);
        check("31", None);
        check("2049", None);
        check("32,64,96,128,160", None);
        let why = "640;1280".parse::<DetectSizes>().unwrap_err().to_string();
        assert!(
            why.contains("640;1280") && why.contains("such as 640,1280"),
            "{why}"
        );
    }
}
