use super::*;
use crate::align::ARCFACE_TEMPLATE;
use proptest::prelude::*;

const CANVAS: Canvas = Canvas {
    width: 64,
    height: 32,
};

fn output(decoder: Decoder) -> DetectorOutput {
    let (names, strides, anchors): (usize, &[u32], &[&[f32]]) = match decoder {
        Decoder::Centerface => (4, &[4], &[]),
        Decoder::Retinaface => (3, &[8, 16], &[&[16.0, 32.0], &[64.0]]),
        Decoder::Scrfd => (6, &[8, 16], &[]),
        Decoder::Ultralight => (2, &[], &[]),
        Decoder::Yunet => (8, &[8, 16], &[]),
    };
    DetectorOutput {
        decoder,
        names: (0..names).map(|at| format!("out{at}")).collect(),
        strides: strides.to_vec(),
        anchors: anchors.iter().map(|sides| sides.to_vec()).collect(),
        anchors_per_cell: if decoder == Decoder::Scrfd { 2 } else { 1 },
        landmarks: None,
    }
}

/// Outputs of the right shapes, filled with `fill`.
fn maps(output: &DetectorOutput, fill: f32) -> Vec<(Vec<usize>, Vec<f32>)> {
    let map = |expected: Expected| {
        let shape = match expected {
            Expected::Planes(values, cells) => {
                let (columns, rows) = cells.unwrap();
                vec![1, values, rows, columns]
            }
            Expected::Rows(values, cells) => vec![1, cells.unwrap(), values],
            Expected::AnyRows(values) => vec![1, 10, values],
        };
        let size = shape.iter().product();
        (shape, vec![fill; size])
    };
    expected(output, Some(CANVAS))
        .into_iter()
        .map(map)
        .collect()
}

fn run(
    output: &DetectorOutput,
    maps: &[(Vec<usize>, Vec<f32>)],
) -> Result<Vec<DetectedFace>, String> {
    let tensors: Vec<Tensor<'_>> = maps
        .iter()
        .map(|(shape, values)| Tensor { shape, values })
        .collect();
    decode(output, CANVAS, &tensors, 0.5)
}

/// The one face in `maps` has this box, these landmarks (first and last) and this score.
fn check(
    output: &DetectorOutput,
    maps: &[(Vec<usize>, Vec<f32>)],
    rect: [f32; 4],
    ends: [[f32; 2]; 2],
    score: f32,
) {
    let faces = run(output, maps).unwrap();
    assert_eq!(faces.len(), 1, "{faces:?}");
    let found = faces[0];
    let near = |a: f32, b: f32| (a - b).abs() < 1e-3;
    let wanted = Rect::new(rect[0], rect[1], rect[2], rect[3]);
    let r = found.rect;
    assert!(
        near(r.x, rect[0])
            && near(r.y, rect[1])
            && near(r.width, rect[2])
            && near(r.height, rect[3]),
        "{r:?} {wanted:?}"
    );
    for (point, [x, y]) in [found.landmarks[0], found.landmarks[4]].iter().zip(ends) {
        assert!(near(point.x, x) && near(point.y, y), "{point:?} {x} {y}");
    }
    assert!(near(found.score, score), "{}", found.score);
}

/// The numbers 0.1, 0.2, ..., 1.0 as five pairs.
fn tenths() -> [f32; 10] {
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
}

#[test]
fn a_centerface_cell_by_hand() {
    let output = output(Decoder::Centerface);
    let mut maps = maps(&output, 0.0);
    // Stride 4, 16 columns, 8 rows: cell (2, 3) is number 35 of 128.
    let (cell, size) = (35, 128);
    maps[0].1[cell] = 0.8;
    maps[1].1[cell] = 4f32.ln(); // 16 pixels high
    maps[1].1[size + cell] = 2f32.ln(); // 8 wide
    maps[2].1[cell] = 0.25; // y: (2 + 0.25 + 0.5) 4 = 11
    maps[2].1[size + cell] = -0.25; // x: (3 - 0.25 + 0.5) 4 = 13
    for (plane, value) in tenths().into_iter().enumerate() {
        maps[3].1[plane * size + cell] = value;
    }
    // y before x: the first point lies 0.1 heights down, 0.2 widths to the right.
    let ends = [
        [9.0 + 0.2 * 8.0, 3.0 + 0.1 * 16.0],
        [9.0 + 8.0, 3.0 + 0.9 * 16.0],
    ];
    check(&output, &maps, [9.0, 3.0, 8.0, 16.0], ends, 0.8);
}

#[test]
fn a_yunet_cell_by_hand() {
    let output = output(Decoder::Yunet);
    let mut maps = maps(&output, 0.0);
    // Stride 16, 4 columns: cell (1, 2) is number 6. Kinds of two strides each.
    maps[1].1[6] = 0.9;
    maps[3].1[6] = 1.6; // cut to 1
    maps[5].1[24..28].copy_from_slice(&[0.5, 0.25, 2f32.ln(), 0.0]);
    maps[7].1[60..70].copy_from_slice(&tenths());
    let ends = [[2.1 * 16.0, 1.2 * 16.0], [2.9 * 16.0, 2.0 * 16.0]];
    check(
        &output,
        &maps,
        [40.0 - 16.0, 20.0 - 8.0, 32.0, 16.0],
        ends,
        0.9f32.sqrt(),
    );
}

#[test]
fn a_scrfd_cell_by_hand() {
    let output = output(Decoder::Scrfd);
    let mut maps = maps(&output, 0.0);
    // Stride 8, 8 columns, 2 faces a cell: the second of cell (1, 3) is number 23.
    maps[0].1[23] = 0.7;
    maps[2].1[92..96].copy_from_slice(&[0.5, 1.0, 1.5, 2.0]);
    maps[4].1[230..240].copy_from_slice(&tenths());
    let ends = [[24.8, 9.6], [31.2, 16.0]];
    check(&output, &maps, [20.0, 0.0, 16.0, 24.0], ends, 0.7);
    // A model without landmarks has two kinds of outputs only.
    let mut bare = output.clone();
    bare.names.truncate(4);
    maps.truncate(4);
    assert!(!bare.has_landmarks());
    check(
        &bare,
        &maps,
        [20.0, 0.0, 16.0, 24.0],
        [[28.0, 12.0]; 2],
        0.7,
    );
}

#[test]
fn a_retinaface_anchor_by_hand() {
    let output = output(Decoder::Retinaface);
    let mut maps = maps(&output, 0.0);
    // 8x4 cells of stride 8 with 2 anchors each, then 4x2 of stride 16 with one: the anchor of
    // 64 pixels in cell (1, 2) is number 64 + 6, its middle (40, 24).
    let at = 70;
    assert_eq!(maps[0].0, [1, 72, 4]);
    maps[1].1[2 * at] = 0.3;
    maps[1].1[2 * at + 1] = 0.7;
    let size = [2f32.ln() / 0.2, 0.5f32.ln() / 0.2];
    maps[0].1[4 * at..4 * at + 4].copy_from_slice(&[1.0, -1.0, size[0], size[1]]);
    maps[2].1[10 * at..10 * at + 10].copy_from_slice(&tenths());
    // Middle (40 + 6.4, 24 - 6.4), 128 wide, 32 high.
    let ends = [[40.64, 25.28], [45.76, 30.4]];
    check(
        &output,
        &maps,
        [46.4 - 64.0, 17.6 - 16.0, 128.0, 32.0],
        ends,
        0.7,
    );
}

#[test]
fn an_ultralight_box_by_hand() {
    let output = output(Decoder::Ultralight);
    let mut maps = maps(&output, 0.0);
    maps[0].1[6..8].copy_from_slice(&[0.1, 0.9]);
    maps[1].1[12..16].copy_from_slice(&[0.25, 0.5, 0.5, 1.0]);
    check(
        &output,
        &maps,
        [16.0, 16.0, 16.0, 16.0],
        [[24.0, 24.0]; 2],
        0.9,
    );
}

#[test]
fn wrong_shapes_are_named() {
    for decoder in ALL {
        let output = output(decoder);
        let mut wrong = maps(&output, 0.0);
        wrong[1].0.push(1);
        let why = run(&output, &wrong).unwrap_err();
        assert!(
            why.contains("out1") && why.contains("not f32 [1, "),
            "{why}"
        );
        let mut short = maps(&output, 0.0);
        short[0].1.pop();
        assert!(run(&output, &short).is_err(), "{decoder:?}");
        short.pop();
        assert!(run(&output, &short).unwrap_err().contains("are needed"));
    }
}

#[test]
fn what_depends_on_an_open_input_must_be_open() {
    let fits = |decoder, shape: &[Option<usize>]| expected(&output(decoder), None)[0].fits(shape);
    assert!(fits(Decoder::Centerface, &[Some(1), Some(1), None, None]));
    assert!(!fits(Decoder::Centerface, &[Some(10), Some(1), None, None]));
    assert!(!fits(
        Decoder::Centerface,
        &[None, Some(1), Some(8), Some(8)]
    ));
    assert!(fits(Decoder::Yunet, &[None, None, Some(1)]));
    assert!(!fits(Decoder::Yunet, &[None, Some(6400), Some(1)]));
    assert!(fits(Decoder::Scrfd, &[None, Some(1)]));
    assert!(!fits(Decoder::Scrfd, &[None, Some(4)]));
}

const ALL: [Decoder; 5] = [
    Decoder::Centerface,
    Decoder::Retinaface,
    Decoder::Scrfd,
    Decoder::Ultralight,
    Decoder::Yunet,
];

fn wild() -> impl Strategy<Value = f32> {
    prop_oneof![
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::NEG_INFINITY),
        Just(f32::MAX),
        Just(f32::MIN_POSITIVE / 2.0),
        -2f32..2.0,
        0.5f32..1.0,
        -1e9f32..1e9,
    ]
}

proptest! {
    #[test]
    fn wild_tensors_give_finite_faces_or_none(
        decoder in prop::sample::select(ALL.to_vec()),
        numbers in prop::collection::vec(wild(), 1..200),
    ) {
        let output = output(decoder);
        let mut maps = maps(&output, 0.0);
        let mut numbers = numbers.into_iter().cycle();
        for (_, values) in &mut maps {
            values.fill_with(|| numbers.next().unwrap());
        }
        for face in run(&output, &maps).unwrap() {
            prop_assert!((0.5..=1.0).contains(&face.score));
            let r = face.rect;
            prop_assert!([r.x, r.y, r.width, r.height].iter().all(|v| v.is_finite()));
            prop_assert!(r.width > 0.0 && r.height > 0.0);
            prop_assert!(face.landmarks.iter().all(|p| p.x.is_finite() && p.y.is_finite()));
        }
    }

    #[test]
    fn nothing_but_nan_gives_nothing(decoder in prop::sample::select(ALL.to_vec())) {
        let output = output(decoder);
        prop_assert!(run(&output, &maps(&output, f32::NAN)).unwrap().is_empty());
    }

    /// What the decoder reads from a heat map made of one face is that face.
    #[test]
    fn a_face_written_into_centerfaces_maps_is_read_back(
        x in 5f32..20.0, y in 5f32..15.0, width in 8f32..30.0, height in 8f32..16.0,
    ) {
        let output = output(Decoder::Centerface);
        let mut maps = maps(&output, 0.0);
        let rect = Rect::new(x, y, width, height);
        let middle = rect.center();
        let (column, row) = ((middle.x / 4.0).floor(), (middle.y / 4.0).floor());
        let cell = crate::number::round_u32(row * 16.0 + column) as usize;
        maps[0].1[cell] = 0.97;
        maps[1].1[cell] = (height / 4.0).ln();
        maps[1].1[128 + cell] = (width / 4.0).ln();
        maps[2].1[cell] = middle.y / 4.0 - row - 0.5;
        maps[2].1[128 + cell] = middle.x / 4.0 - column - 0.5;
        for (j, p) in ARCFACE_TEMPLATE.iter().enumerate() {
            maps[3].1[2 * j * 128 + cell] = p.y / 112.0;
            maps[3].1[(2 * j + 1) * 128 + cell] = p.x / 112.0;
        }
        let faces = run(&output, &maps).unwrap();
        prop_assert_eq!(faces.len(), 1);
        prop_assert!(faces[0].rect.iou(&rect) > 0.999);
        for (p, t) in faces[0].landmarks.iter().zip(ARCFACE_TEMPLATE) {
            let wanted = Point::new(x + t.x / 112.0 * width, y + t.y / 112.0 * height);
            prop_assert!(p.distance(wanted) < 0.01);
        }
    }
}
