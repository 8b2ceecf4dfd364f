//! Pictures as model inputs.

use crate::model::Channels;
use crate::picture::PictureRef;

/// What happens to each value on the way in: `(value - mean) / std`, channels in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Normalisation {
    /// The order of channels the model wants.
    pub(crate) channels: Channels,
    /// Subtracted, in the model's channel order.
    pub(crate) mean: [f32; 3],
    /// Divides, in the model's channel order.
    pub(crate) std: [f32; 3],
}

/// Appends `picture` to `planes`: all values of the model's first channel, then of the second, then
/// of the third, rows from top to bottom.
pub(crate) fn push_planes(picture: PictureRef<'_>, how: &Normalisation, planes: &mut Vec<f32>) {
    let order = match how.channels {
        Channels::Rgb => [0, 1, 2],
        Channels::Bgr => [2, 1, 0],
    };
    for ((channel, mean), std) in order.into_iter().zip(how.mean).zip(how.std) {
        let factor = 1.0 / std;
        let pixels = picture.rgb().chunks_exact(3);
        planes.extend(pixels.map(|pixel| (f32::from(pixel[channel]) - mean) * factor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Picture;

    #[test]
    fn planes_follow_the_models_order() {
        let picture = Picture::new(2, 1, vec![1, 2, 3, 11, 12, 13]).unwrap();
        let how = Normalisation {
            channels: Channels::Bgr,
            mean: [1.0, 0.0, 0.0],
            std: [2.0, 1.0, 1.0],
        };
        let mut planes = Vec::new();
        push_planes(picture.view(), &how, &mut planes);
        assert_eq!(planes, [1.0, 6.0, 2.0, 12.0, 1.0, 11.0]);
    }
}
