use super::*;

/// `pickle.dumps(..., protocol=N)` of `NumPy` 2.4, in hexadecimal, of two faces as streamface keeps them.
const FACES: [&str; 4] = [
    "80027d7100285829000000736b795f6672616d655f32303233303532353130303133383431323631345f666163655f30\
         2e706e67710128636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e7374727563740a7102636e\
         756d70790a6e6461727261790a71034b00857104635f636f646563730a656e636f64650a710558010000006271065806\
         0000006c6174696e31710786710852710987710a52710b284b014b0385710c636e756d70790a64747970650a710d5802\
         0000006634710e898887710f527110284b0358010000003c71114e4e4e4affffffff4affffffff4b0074711262896805\
         580e0000000000c2803f00000040000000c2bf71136807867114527115747116627d7117580300000061676571187d71\
         195803000000302d32711a473fd000000000000073737d711b5803000000736164711c4b0173473fe00000000000007d\
         711d5803000000796177711e636e756d70792e5f636f72652e6d756c746961727261790a7363616c61720a711f680d58\
         02000000663871208988877121527122284b0368114e4e4e4affffffff4affffffff4b00747123626805580800000000\
         00000000000c4071246807867125527126867127527128737471295829000000736b795f6672616d655f323032333035\
         32353130303133383431323631345f666163655f312e706e67712a28680268034b0085712b680987712c52712d284b01\
         4b0385712e6822896805581a0000000000000000000000000000000000c3a03f000000000000c3b03f712f6807867130\
         527131747132627d71337d71344e7d7135681e4a206cfbff73747136752e",
    "80037d7100285829000000736b795f6672616d655f32303233303532353130303133383431323631345f666163655f30\
         2e706e67710128636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e7374727563740a7102636e\
         756d70790a6e6461727261790a71034b008571044301627105877106527107284b014b03857108636e756d70790a6474\
         7970650a710958020000006634710a898887710b52710c284b0358010000003c710d4e4e4e4affffffff4affffffff4b\
         0074710e6289430c0000803f00000040000000bf710f747110627d7111580300000061676571127d7113580300000030\
         2d327114473fd000000000000073737d7115580300000073616471164b0173473fe00000000000007d71175803000000\
         7961777118636e756d70792e5f636f72652e6d756c746961727261790a7363616c61720a711968095802000000663871\
         1a898887711b52711c284b03680d4e4e4e4affffffff4affffffff4b0074711d6243080000000000000c40711e86711f\
         527120737471215829000000736b795f6672616d655f32303233303532353130303133383431323631345f666163655f\
         312e706e67712228680268034b008571236805877124527125284b014b03857126681c89431800000000000000000000\
         00000000e03f000000000000f03f7127747128627d71297d712a4e7d712b68184a206cfbff7374712c752e",
    "800495b4010000000000007d94288c29736b795f6672616d655f32303233303532353130303133383431323631345f66\
         6163655f302e706e6794288c166e756d70792e5f636f72652e6d756c74696172726179948c0c5f7265636f6e73747275\
         63749493948c056e756d7079948c076e6461727261799493944b0085944301629487945294284b014b03859468058c05\
         64747970659493948c02663494898887945294284b038c013c944e4e4e4affffffff4affffffff4b0074946289430c00\
         00803f00000040000000bf947494627d948c03616765947d948c03302d3294473fd000000000000073737d948c037361\
         64944b0173473fe00000000000007d948c037961779468028c067363616c6172949394680e8c02663894898887945294\
         284b0368124e4e4e4affffffff4affffffff4b0074946243080000000000000c4094869452947374948c29736b795f66\
         72616d655f32303233303532353130303133383431323631345f666163655f312e706e679428680468074b0085946809\
         87945294284b014b03859468228943180000000000000000000000000000e03f000000000000f03f947494627d947d94\
         4e7d94681d4a206cfbff737494752e",
    "800595b1010000000000007d94288c29736b795f6672616d655f32303233303532353130303133383431323631345f66\
         6163655f302e706e6794288c136e756d70792e5f636f72652e6e756d65726963948c0b5f66726f6d6275666665729493\
         9428960c000000000000000000803f00000040000000bf948c056e756d7079948c0564747970659493948c0266349489\
         8887945294284b038c013c944e4e4e4affffffff4affffffff4b007494624b0385948c014394749452947d948c036167\
         65947d948c03302d3294473fd000000000000073737d948c03736164944b0173473fe00000000000007d948c03796177\
         948c166e756d70792e5f636f72652e6d756c74696172726179948c067363616c617294939468088c0266389489888794\
         5294284b03680c4e4e4e4affffffff4affffffff4b0074946243080000000000000c4094869452947374948c29736b79\
         5f6672616d655f32303233303532353130303133383431323631345f666163655f312e706e6794286804289618000000\
         000000000000000000000000000000000000e03f000000000000f03f94681f4b038594680f749452947d947d944e7d94\
         68194a206cfbff737494752e",
];
/// A pickle that would call `os.system`.
const EVIL: &str =
    "8004951f000000000000008c05706f736978948c0673797374656d9493948c047472756594859452942e";

/// Those of protocol 4.
pub(crate) fn two_faces() -> Vec<u8> {
    bytes(FACES[2])
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    let pairs = hex.as_bytes().as_chunks::<2>().0.iter();
    pairs.map(|[a, b]| digit(*a) * 16 + digit(*b)).collect()
}

#[test]
fn each_protocol_says_the_same() {
    for hex in FACES {
        let pickle = Pickle::parse(&bytes(hex)).unwrap();
        let faces = pickle.root().entries().unwrap();
        assert_eq!(faces.len(), 2);
        let (name, face) = faces[0];
        assert_eq!(
            name.text(),
            Some("sky_frame_20230525100138412614_face_0.png")
        );
        let face = face.items().unwrap();
        let embedding = face[0].array().unwrap();
        assert_eq!(embedding.shape, [3]);
        assert_eq!(embedding.values, [1.0, 2.0, -0.5]);
        let groups = face[1].entries().unwrap();
        let ages = groups[0].1.entries().unwrap();
        assert_eq!(
            (ages[0].0.text(), ages[0].1.number()),
            (Some("0-2"), Some(0.25))
        );
        assert_eq!(face[2].entries().unwrap()[0].1.number(), Some(1.0));
        assert_eq!(face[3].number(), Some(0.5));
        assert_eq!(face[4].entries().unwrap()[0].1.number(), Some(3.5));
        let other = faces[1].1.items().unwrap();
        assert_eq!(other[0].array().unwrap().values, [0.0, 0.5, 1.0]);
        assert_eq!(other[3].kind(), "None");
        assert_eq!(other[4].entries().unwrap()[0].1.number(), Some(-300_000.0));
    }
}

#[test]
fn code_is_refused_by_name() {
    let error = Pickle::parse(&bytes(EVIL)).unwrap_err();
    assert!(matches!(error, PickleError::Code { .. }), "{error}");
    assert!(error.to_string().contains("system"), "{error}");
    let old = Pickle::parse(b"\x80\x02cos\nsystem\n(X\x04\0\0\0truetR.").unwrap_err();
    assert!(old.to_string().contains("would run os.system"), "{old}");
}

#[test]
fn nothing_from_outside_panics() {
    for hex in FACES {
        let whole = bytes(hex);
        for length in 0..whole.len() {
            assert!(Pickle::parse(&whole[..length]).is_err());
        }
        for place in 0..whole.len() {
            for value in [0, 1, 0x28, 0x2e, 0x52, 0x62, 0x7f, 0x80, 0x94, 0xff] {
                let mut wild = whole.clone();
                wild[place] = value;
                let _ = Pickle::parse(&wild);
            }
        }
    }
}

#[test]
fn the_same_bytes_make_no_flood_of_arrays() {
    let mut program = b"\x80\x04cnumpy.core.numeric\n_frombuffer\n\x94B\0\0\x01\0".to_vec();
    program.extend([0; 65_536]);
    program.extend(b"\x94cnumpy\ndtype\n\x8c\x02u1\x85R\x94J\0\0\x01\0\x85\x94\x8c\x01C\x94");
    let call = b"h\0(h\x01h\x02h\x03h\x04tR0";
    for _ in 0..100 {
        program.extend(call);
    }
    program.push(b'.');
    let error = Pickle::parse(&program).unwrap_err();
    assert!(error.to_string().contains("the same bytes"), "{error}");
}

#[test]
fn what_is_written_is_read() {
    let mut writer = PickleWriter::dictionary();
    writer.text("a.png");
    writer.tuple(|tuple| {
        tuple.array(&[0.6, -0.8]);
        tuple.groups([("age", vec![("0-2", 0.25)])]);
        tuple.numbers([]);
        tuple.number(0.5);
    });
    let pickle = Pickle::parse(&writer.finish()).unwrap();
    let (name, face) = pickle.root().entries().unwrap()[0];
    assert_eq!(name.text(), Some("a.png"));
    let items = face.items().unwrap();
    assert_eq!(items[0].array().unwrap().values, [0.6, -0.8]);
    let ages = items[1].entries().unwrap()[0].1.entries().unwrap();
    assert_eq!(ages[0].1.number(), Some(0.25));
    assert!(items[2].entries().unwrap().is_empty());
    assert_eq!(items[3].number(), Some(0.5));
}
