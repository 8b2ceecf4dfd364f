//! Grey copies straight from the decoder's brightness plane, without FFmpeg's scaler, which takes
//! ten times as long for a mean.

use ffmpeg_next::{format::Pixel, frame};

/// The frame's brightness, each value the mean of a block, full range 0..=255, `width` x `height`
/// bytes. `full_range`: whether the plane has 0 to 255, or 16 to 235. `None` where blocks do not
/// come out even, or brightness is no plane of bytes.
///
/// Cost: one pass over the plane.
pub(super) fn shrunk_luma(
    frame: &frame::Video,
    full_range: bool,
    (width, height): (u32, u32),
) -> Option<Vec<u8>> {
    if !FORMATS.contains(&frame.format()) {
        return None;
    }
    let even = frame.width().is_multiple_of(width) && frame.height().is_multiple_of(height);
    let (across, down) = (frame.width() / width.max(1), frame.height() / height.max(1));
    if !even || across == 0 || down == 0 || down > ROWS_MAX {
        return None;
    }
    let means = block_means(
        frame.data(0),
        frame.stride(0),
        (width as usize, height as usize),
        (across as usize, down as usize),
    )?;
    Some(if full_range {
        means
    } else {
        let table = brightness_table();
        means.into_iter().map(|v| table[usize::from(v)]).collect()
    })
}

/// Formats whose first plane is brightness in bytes.
const FORMATS: [Pixel; 8] = [
    Pixel::YUV420P,
    Pixel::YUV422P,
    Pixel::YUV444P,
    Pixel::NV12,
    Pixel::YUVJ420P,
    Pixel::YUVJ422P,
    Pixel::YUVJ444P,
    Pixel::GRAY8,
];

/// So many bytes fit into a sum of 16 bits.
const ROWS_MAX: u32 = 257;

fn block_means(
    plane: &[u8],
    stride: usize,
    (width, height): (usize, usize),
    (across, down): (usize, usize),
) -> Option<Vec<u8>> {
    let row_bytes = width * across;
    let count = u32::try_from(across * down).ok()?;
    let mut sums = vec![0u16; row_bytes];
    let mut means = Vec::with_capacity(width * height);
    for top in (0..height).map(|y| y * down) {
        sums.fill(0);
        for y in top..top + down {
            let row = plane.get(y * stride..)?.get(..row_bytes)?;
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += u16::from(*value);
            }
        }
        means.extend(sums.chunks_exact(across).map(|block| {
            let sum: u32 = block.iter().map(|s| u32::from(*s)).sum();
            u8::try_from((sum + count / 2) / count).unwrap_or(u8::MAX)
        }));
    }
    Some(means)
}

/// What video levels (16 is black, 235 white) are of 0..=255.
fn brightness_table() -> [u8; 256] {
    std::array::from_fn(|level| {
        let above = i32::try_from(level).unwrap_or(0) - 16;
        u8::try_from(((above * 255 + 109) / 219).clamp(0, 255)).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame_of(format: Pixel, level: impl Fn(usize, usize) -> u8) -> frame::Video {
        let mut frame = frame::Video::new(format, 320, 180);
        let stride = frame.stride(0);
        for (y, row) in frame.data_mut(0).chunks_mut(stride).take(180).enumerate() {
            for (x, value) in row.iter_mut().take(320).enumerate() {
                *value = level(x, y);
            }
        }
        frame
    }

    #[test]
    fn blocks_become_their_means() {
        let board = |x: usize, y: usize| if (x + y).is_multiple_of(2) { 100 } else { 104 };
        let grey = shrunk_luma(&frame_of(Pixel::YUVJ420P, board), true, (160, 90)).unwrap();
        assert_eq!(grey, vec![102; 160 * 90]);
        let columns = |x: usize, _: usize| u8::try_from(x / 2).unwrap();
        let grey = shrunk_luma(&frame_of(Pixel::GRAY8, columns), true, (160, 90)).unwrap();
        assert!((0..160).all(|x| usize::from(grey[x]) == x && grey[x] == grey[160 * 89 + x]));
    }

    #[test]
    fn video_levels_are_stretched() {
        for (level, grey) in [(0, 0), (16, 0), (126, 128), (235, 255), (255, 255)] {
            let frame = frame_of(Pixel::YUV420P, |_, _| level);
            assert_eq!(
                shrunk_luma(&frame, false, (160, 90)).unwrap()[0],
                grey,
                "{level}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_left_to_the_scaler() {
        assert!(shrunk_luma(&frame_of(Pixel::YUV420P, |_, _| 0), false, (150, 90)).is_none());
        assert!(shrunk_luma(&frame_of(Pixel::YUV420P, |_, _| 0), false, (640, 360)).is_none());
        assert!(shrunk_luma(&frame_of(Pixel::RGB24, |_, _| 0), false, (160, 90)).is_none());
    }
}
