//! Pictures in memory: packed RGB, eight bits a channel, rows from top to bottom.

/// The longest side a picture may have, in pixels.
pub const PICTURE_SIDE_MAX: u32 = 65_535;

/// Why bytes are not a picture of the size named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// A side is zero or too long.
    #[error("a picture of {width}x{height} pixels: sides must be 1 to {PICTURE_SIDE_MAX}")]
    Size {
        /// The width asked for, in pixels.
        width: u32,
        /// The height asked for, in pixels.
        height: u32,
    },
    /// There are more or fewer bytes than three a pixel.
    #[error("a picture of {width}x{height} pixels needs {needed} bytes of RGB, not {found}")]
    Length {
        /// The width, in pixels.
        width: u32,
        /// The height, in pixels.
        height: u32,
        /// Three times the number of pixels.
        needed: usize,
        /// How many bytes were given.
        found: usize,
    },
}

/// A picture that owns its pixels. Invariant: both sides 1..=[`PICTURE_SIDE_MAX`], three bytes a
/// pixel, no padding between rows.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture from packed RGB24 bytes.
    ///
    /// # Errors
    /// [`PictureError`] when a side is out of range or the length is not three bytes a pixel.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, PictureError> {
        PictureRef::new(width, height, &rgb)?;
        Ok(Self { width, height, rgb })
    }

    /// A picture of one colour.
    ///
    /// # Errors
    /// [`PictureError::Size`] when a side is out of range.
    pub fn filled(width: u32, height: u32, color: [u8; 3]) -> Result<Self, PictureError> {
        if !side_ok(width) || !side_ok(height) {
            return Err(PictureError::Size { width, height });
        }
        let rgb = color.repeat(width as usize * height as usize);
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes: `(y * width + x) * 3` is where pixel (x, y) begins.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The bytes, to be changed in place.
    pub fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// Borrows the picture.
    #[must_use]
    pub fn view(&self) -> PictureRef<'_> {
        PictureRef {
            width: self.width,
            height: self.height,
            rgb: &self.rgb,
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

/// A borrowed picture, with the same invariant as [`Picture`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PictureRef<'a> {
    width: u32,
    height: u32,
    rgb: &'a [u8],
}

impl<'a> PictureRef<'a> {
    /// A picture over packed RGB24 bytes that belong to someone else.
    ///
    /// # Errors
    /// [`PictureError`] when a side is out of range or the length is not three bytes a pixel.
    pub fn new(width: u32, height: u32, rgb: &'a [u8]) -> Result<Self, PictureError> {
        if !side_ok(width) || !side_ok(height) {
            return Err(PictureError::Size { width, height });
        }
        let needed = width as usize * height as usize * 3;
        if rgb.len() != needed {
            return Err(PictureError::Length {
                width,
                height,
                needed,
                found: rgb.len(),
            });
        }
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(self) -> u32 {
        self.height
    }

    /// The bytes: `(y * width + x) * 3` is where pixel (x, y) begins.
    #[must_use]
    pub fn rgb(self) -> &'a [u8] {
        self.rgb
    }

    /// The colour of pixel (`x`, `y`), or `None` outside the picture.
    #[must_use]
    pub fn pixel(self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = (y as usize * self.width as usize + x as usize) * 3;
        self.rgb.get(at..at + 3)?.try_into().ok()
    }

    /// The part of `width` x `height` pixels from (`x`, `y`) on, black where that lies outside. `None` if no picture may
    /// have this size.
    #[must_use]
    pub fn part(self, (x, y): (i64, i64), (width, height): (u32, u32)) -> Option<Picture> {
        let mut part = Picture::filled(width, height, [0; 3]).ok()?;
        let (from, to) = (i64::from(self.width), i64::from(width));
        // Columns of the part that lie inside the picture.
        let first = (-x).clamp(0, to);
        let last = (from - x).clamp(first, to);
        let place = |value: i64| usize::try_from(value).expect("clamped to what is inside");
        for row in 0..i64::from(height) {
            let y = y + row;
            if first < last && (0..i64::from(self.height)).contains(&y) {
                let source = place(y * from + x + first) * 3;
                let target = place(row * to + first) * 3;
                let bytes = place(last - first) * 3;
                part.rgb[target..target + bytes].copy_from_slice(&self.rgb[source..source + bytes]);
            }
        }
        Some(part)
    }

    /// A copy that owns its pixels.
    #[must_use]
    pub fn to_picture(self) -> Picture {
        Picture {
            width: self.width,
            height: self.height,
            rgb: self.rgb.to_vec(),
        }
    }
}

impl std::fmt::Debug for PictureRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PictureRef({}x{})", self.width, self.height)
    }
}

fn side_ok(side: u32) -> bool {
    (1..=PICTURE_SIDE_MAX).contains(&side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lengths_are_checked() {
        assert!(Picture::new(2, 1, vec![0; 6]).is_ok());
        assert_eq!(
            Picture::new(2, 1, vec![0; 5]),
            Err(PictureError::Length {
                width: 2,
                height: 1,
                needed: 6,
                found: 5
            })
        );
        for (width, height) in [(0, 1), (1, 0), (70_000, 1)] {
            assert_eq!(
                PictureRef::new(width, height, &[]),
                Err(PictureError::Size { width, height })
            );
            assert!(Picture::filled(width, height, [0; 3]).is_err());
        }
    }

    #[test]
    fn pixels_are_where_the_layout_says() {
        let picture = Picture::new(2, 2, (0..12).collect()).unwrap();
        assert_eq!(picture.view().pixel(1, 0), Some([3, 4, 5]));
        assert_eq!(picture.view().pixel(0, 1), Some([6, 7, 8]));
        assert_eq!(picture.view().pixel(2, 0), None);
        assert_eq!(picture.view().pixel(0, 2), None);
    }
}
