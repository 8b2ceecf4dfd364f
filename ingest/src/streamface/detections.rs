use std::path::Path;

use super::{ChannelError, crop::PixelFace};
use crate::{
    geometry::{DetectedFace, Point, Rect},
    table::Table,
};

/// A row of `metadata/detections.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The face's file.
    pub name: String,
    /// The detector's score.
    pub score: f32,
    /// Where it is in its frame, in whole pixels.
    pub face: PixelFace,
    /// Height and width of the frame, if the row says so.
    pub frame_size: Option<[i64; 2]>,
}

impl Detection {
    /// Reads a channel's table.
    ///
    /// # Errors
    /// [`ChannelError::Table`]; [`ChannelError::BadRow`]: which line, what it should be.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, ChannelError> {
        let rows = Table::open(path)?.map(|row| {
            let row = row?;
            Self::parse(&row.fields).ok_or_else(|| ChannelError::BadRow {
                path: path.to_path_buf(),
                line: row.line,
            })
        });
        rows.collect()
    }

    fn parse(fields: &[String]) -> Option<Self> {
        let [
            name,
            score,
            rect,
            eye,
            other_eye,
            nose,
            corner,
            other_corner,
            ..,
        ] = fields
        else {
            return None;
        };
        let point = |text: &str| {
            let [x, y] = whole_numbers(text)?;
            Some((x, y))
        };
        let [x, y, width, height] = whole_numbers(rect)?;
        let name = name.trim();
        if name.is_empty() || name.contains(['/', '\\']) || width <= 0 || height <= 0 {
            return None;
        }
        let frame_size = fields.get(8).and_then(|shape| whole_numbers::<3>(shape));
        Some(Self {
            frame_size: frame_size.map(|[height, width, _]| [height, width]),
            name: name.to_owned(),
            score: score.trim().parse().ok()?,
            face: PixelFace {
                x,
                y,
                width,
                height,
                landmarks: [
                    point(eye)?,
                    point(other_eye)?,
                    point(nose)?,
                    point(corner)?,
                    point(other_corner)?,
                ],
            },
        })
    }

    /// The face in its loose crop, which is `side` pixels wide and high: see [`PixelFace::loose`].
    #[must_use]
    pub fn in_loose(&self, side: u32) -> DetectedFace {
        let PixelFace {
            x,
            y,
            width,
            height,
            ..
        } = self.face;
        let half = width.max(height);
        let (left, top) = (x + width / 2 - half, y + height / 2 - half);
        let scale = f64::from(side) / (2 * half) as f64;
        let place = |value: i64, from: i64, within: f64| {
            crate::number::to_f32(((value - from) as f64 + within) * scale)
        };
        // Landmarks are whole pixels, fractions dropped: their middles are meant.
        let point =
            |(at, down): (i64, i64)| Point::new(place(at, left, 0.5), place(down, top, 0.5));
        DetectedFace {
            rect: Rect::new(
                place(x, left, 0.0),
                place(y, top, 0.0),
                place(width, 0, 0.0),
                place(height, 0, 0.0),
            ),
            score: self.score,
            landmarks: self.face.landmarks.map(point),
        }
    }
}

/// The numbers in `[1, 2, 3]` or `(1, 2)`; of a size that no picture exceeds.
fn whole_numbers<const N: usize>(text: &str) -> Option<[i64; N]> {
    let inner = text
        .trim()
        .strip_prefix(['[', '('])?
        .strip_suffix([']', ')'])?;
    let number = |text: &str| text.trim().parse::<i32>().ok().map(i64::from);
    let numbers: Option<Vec<i64>> = inner.split(',').map(number).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ROW: &str = "skynews_frame_20230525100138412614_face_0.png,0.9998043,\"[936, 388, 92, 126]\",\"(962, 437)\",\"(1003, 445)\",\"(978, 465)\",\"(958, 481)\",\"(992, 487)\",\"(1080, 1920, 3)\",\"(252, 252, 3)\",\"(128, 128, 3)\"";

    #[test]
    fn a_published_row_is_read() {
        let text = format!("name,...\n{ROW}");
        let row = Table::new(text.as_bytes())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let row = Detection::parse(&row.fields).unwrap();
        assert_eq!((row.face.x, row.face.height), (936, 126));
        assert_eq!(row.frame_size, Some([1080, 1920]));
        assert_eq!(row.face.landmarks[4], (992, 487));
        // The square is 252 pixels wide, from 982 - 126 and 451 - 126.
        let face = row.in_loose(252);
        assert_eq!((face.rect.x, face.rect.y), (80.0, 63.0));
        assert_eq!(face.landmarks[0], Point::new(106.5, 112.5));
        let half = row.in_loose(126);
        assert_eq!((half.rect.width, half.landmarks[0].x), (46.0, 53.25));
    }

    #[test]
    fn bad_rows_are_told_by_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detections.csv");
        let check = |row: &str| {
            fs::write(&path, format!("name,...\n{ROW}\n{row}\n")).unwrap();
            let error = Detection::read_all(&path).unwrap_err().to_string();
            assert!(error.contains("line 3"), "{error}");
        };
        check("a.png,0.9");
        check(&ROW.replace("[936, 388, 92, 126]", "[936, 388, 0, 126]"));
        check(&ROW.replace("[936, 388, 92, 126]", "[936, 388, 92]"));
        check(&ROW.replace("skynews", "../skynews"));
        check(&ROW.replace("(962, 437)", "(99999999999, 437)"));
    }
}
