//! What the numbers of a frame mean as colours, and how HDR pictures become ordinary ones.

use std::sync::LazyLock;

use ffmpeg_next::{
    color::{Range, Space, TransferCharacteristic},
    ffi,
    format::Pixel,
    frame,
};

use crate::number::{floor_u32, round_u8, to_f32};

/// Pictures from this height on, or from that width, are taken for BT.709 where nobody says: so do
/// encoders and players.
const HD_HEIGHT: u32 = 720;
const HD_WIDTH: u32 = 1280;
/// Luminance of white in an ordinary picture, cd/m² (BT.2408), and the brightest that an HDR
/// picture is expected to have.
const WHITE: f64 = 203.0;
const PEAK: f64 = 1000.0;

/// FFmpeg's numbers of the matrices that frames state. The last two are near enough.
const MATRICES: [(Space, i32); 8] = [
    (Space::BT709, ffi::SWS_CS_ITU709),
    (Space::BT470BG, ffi::SWS_CS_ITU601),
    (Space::SMPTE170M, ffi::SWS_CS_ITU601),
    (Space::SMPTE240M, ffi::SWS_CS_SMPTE240M),
    (Space::FCC, ffi::SWS_CS_FCC),
    (Space::BT2020NCL, ffi::SWS_CS_BT2020),
    (Space::BT2020CL, ffi::SWS_CS_BT2020),
    (Space::ICTCP, ffi::SWS_CS_BT2020),
];

/// How the numbers of a frame become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    /// FFmpeg's number of the matrix between luma and chroma, and RGB.
    pub(super) matrix: i32,
    /// 0 to 255 instead of 16 to 235 (and the like with more bits).
    pub(super) full_range: bool,
    pub(super) transfer: Transfer,
}

/// How numbers become light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// As on any screen.
    Sdr,
    /// SMPTE ST 2084.
    Pq,
    /// BT.2100.
    Hlg,
}

impl Colour {
    pub(super) fn of(frame: &frame::Video) -> Self {
        let hd = frame.height() >= HD_HEIGHT || frame.width() >= HD_WIDTH;
        let space = frame.color_space();
        let stated = MATRICES.iter().find(|(of, _)| *of == space);
        let guessed = if hd {
            ffi::SWS_CS_ITU709
        } else {
            ffi::SWS_CS_ITU601
        };
        let matrix = stated.map_or(guessed, |(_, matrix)| *matrix);
        let curve = frame.color_transfer_characteristic();
        let transfer = if curve == TransferCharacteristic::SMPTE2084 {
            Transfer::Pq
        } else if curve == TransferCharacteristic::ARIB_STD_B67 {
            Transfer::Hlg
        } else {
            Transfer::Sdr
        };
        let full_range = match frame.color_range() {
            Range::JPEG => true,
            Range::MPEG => is_full_by_format(frame.format()),
            Range::Unspecified => is_full_by_format(frame.format()) || is_grey(frame),
        };
        Self {
            matrix,
            full_range,
            transfer,
        }
    }
}

/// Formats whose name says that they fill their range.
fn is_full_by_format(format: Pixel) -> bool {
    matches!(
        format,
        Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P
    )
}

/// Grey pictures fill their range unless they say otherwise.
fn is_grey(frame: &frame::Video) -> bool {
    let name = frame.format().descriptor().map_or("", |d| d.name());
    name.starts_with("gray") || name.starts_with("ya")
}

/// Makes an ordinary picture of RGB bytes of an HDR one, in place; others stay as they are.
///
/// Each channel by itself is read as light ([`light`]), its highlights are compressed
/// ([`compressed`]), BT.2020's primaries are turned into BT.709's, and sRGB's curve is put on.
/// About 10 ns a pixel.
pub(super) fn to_sdr(rgb: &mut [u8], transfer: Transfer) {
    /// BT.2087, linear light.
    const PRIMARIES: [[f32; 3]; 3] = [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ];
    let Some(light) = light_table(transfer) else {
        return;
    };
    for pixel in rgb.chunks_exact_mut(3) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(|code| light[usize::from(code)]);
        for (value, [from_r, from_g, from_b]) in pixel.iter_mut().zip(PRIMARIES) {
            *value = srgb(from_r * r + from_g * g + from_b * b);
        }
    }
}

/// The same for grey bytes, colours left aside.
pub(super) fn to_sdr_grey(grey: &mut [u8], transfer: Transfer) {
    let Some(light) = light_table(transfer) else {
        return;
    };
    for value in grey {
        *value = srgb(light[usize::from(*value)]);
    }
}

/// Compressed light of each code, 1 being white.
fn light_table(transfer: Transfer) -> Option<&'static [f32; 256]> {
    static PQ: LazyLock<[f32; 256]> = LazyLock::new(|| table(Transfer::Pq));
    static HLG: LazyLock<[f32; 256]> = LazyLock::new(|| table(Transfer::Hlg));
    match transfer {
        Transfer::Sdr => None,
        Transfer::Pq => Some(&PQ),
        Transfer::Hlg => Some(&HLG),
    }
}

fn table(transfer: Transfer) -> [f32; 256] {
    let mut code = 0.0;
    [(); 256].map(|()| {
        let light = compressed(light(code / 255.0, transfer)) / WHITE;
        code += 1.0;
        to_f32(light)
    })
}

/// Luminance in cd/m² that a code (0 to 1) stands for. For HLG the scene's light, to the power of
/// 1.2, on a screen of 1000 cd/m²: BT.2100 takes that power of the luma, we of each channel.
fn light(code: f64, transfer: Transfer) -> f64 {
    match transfer {
        Transfer::Sdr => code * WHITE,
        Transfer::Pq => pq_light(code),
        Transfer::Hlg => {
            const A: f64 = 0.178_832_77;
            const B: f64 = 0.284_668_92;
            const C: f64 = 0.559_910_73;
            let scene = if code <= 0.5 {
                code * code / 3.0
            } else {
                (((code - C) / A).exp() + B) / 12.0
            };
            PEAK * scene.powf(1.2)
        }
    }
}

/// Highlights made to fit below white by the curve of BT.2390-8 (section 5.4.1): straight up to a
/// knee, a Hermite spline from there to the peak, both over PQ codes. Black is left where it is.
fn compressed(luminance: f64) -> f64 {
    let (peak, white) = (pq_code(PEAK), pq_code(WHITE) / pq_code(PEAK));
    let code = (pq_code(luminance) / peak).min(1.0);
    let knee = 1.5 * white - 0.5;
    if code < knee {
        return luminance;
    }
    let t = (code - knee) / (1.0 - knee);
    let (t2, t3) = (t * t, t * t * t);
    let spline = (2.0 * t3 - 3.0 * t2 + 1.0) * knee
        + (t3 - 2.0 * t2 + t) * (1.0 - knee)
        + (-2.0 * t3 + 3.0 * t2) * white;
    pq_light(spline * peak)
}

const M1: f64 = 2610.0 / 16384.0;
const M2: f64 = 2523.0 / 32.0;
const C1: f64 = 3424.0 / 4096.0;
const C2: f64 = 2413.0 / 128.0;
const C3: f64 = 2392.0 / 128.0;

/// From a PQ code (0 to 1) to cd/m² (SMPTE ST 2084).
fn pq_light(code: f64) -> f64 {
    let power = code.max(0.0).powf(1.0 / M2);
    10_000.0 * ((power - C1).max(0.0) / (C2 - C3 * power)).powf(1.0 / M1)
}

/// From cd/m² to a PQ code.
fn pq_code(luminance: f64) -> f64 {
    let power = (luminance.max(0.0) / 10_000.0).powf(M1);
    ((C1 + C2 * power) / (1.0 + C3 * power)).powf(M2)
}

/// The byte for linear light from 0 to 1 (IEC 61966-2-1); what lies outside is clipped.
fn srgb(light: f32) -> u8 {
    const STEPS: f32 = 4095.0;
    static CODES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..4096u16)
            .map(|i| {
                let light = f32::from(i) / STEPS;
                let code = if light <= 0.003_130_8 {
                    12.92 * light
                } else {
                    1.055 * light.powf(1.0 / 2.4) - 0.055
                };
                round_u8(code * 255.0)
            })
            .collect()
    });
    let step = floor_u32(light.clamp(0.0, 1.0) * STEPS + 0.5) as usize;
    CODES[step.min(CODES.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pq_is_that_of_the_standard() {
        // BT.2408, table 1: codes of 203 and 1000 cd/m² are 58 % and 75 %.
        assert!((pq_code(203.0) - 0.58).abs() < 0.005);
        assert!((pq_code(1000.0) - 0.75).abs() < 0.005);
        for luminance in [0.01, 1.0, 100.0, 10_000.0] {
            assert!((pq_light(pq_code(luminance)) / luminance - 1.0).abs() < 1e-6);
        }
        // HLG: white lies at 75 %.
        assert!((light(0.75, Transfer::Hlg) - 203.0).abs() < 2.0);
        assert!((light(1.0, Transfer::Hlg) - 1000.0).abs() < 0.1);
    }

    #[test]
    fn dark_stays_and_bright_fits() {
        assert_eq!(compressed(50.0), 50.0);
        assert!((compressed(PEAK) - WHITE).abs() < 0.1);
        assert!((compressed(4.0 * PEAK) - WHITE).abs() < 0.1);
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            let light = light_table(transfer).unwrap();
            assert!(light.windows(2).all(|w| w[0] <= w[1]), "{transfer:?}");
            assert!(light[0] < 0.001 && (light[255] - 1.0).abs() < 0.01);
        }
        assert!(light_table(Transfer::Sdr).is_none());
    }

    #[test]
    fn greys_stay_grey() {
        let mut pixels: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
        to_sdr(&mut pixels, Transfer::Pq);
        let mut grey: Vec<u8> = (0..=255).collect();
        to_sdr_grey(&mut grey, Transfer::Pq);
        for (pixel, grey) in pixels.chunks_exact(3).zip(grey) {
            assert!(
                pixel.iter().all(|v| v.abs_diff(grey) <= 1),
                "{pixel:?} {grey}"
            );
        }
    }
}
