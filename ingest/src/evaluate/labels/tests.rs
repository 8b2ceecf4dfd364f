use super::*;
use rollcall_index::{Embedding, vectors::Known};

fn read(name: &str, text: &str) -> Result<Labels, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    Labels::read(&path).map_err(|why| why.to_string())
}

fn faces(names: &[&str]) -> FaceSet {
    let mut faces = FaceSet::new(2);
    for track in 0..names.len() as u64 {
        let known = Known {
            track: Some(track),
            ..Known::default()
        };
        faces.push(&Embedding::normalise(vec![1.0, 2.0]).unwrap(), known);
    }
    faces.with_names(names.iter().map(|name| (*name).to_owned()).collect())
}

#[track_caller]
fn fails(name: &str, text: &str, why: &str) {
    let found = read(name, text).unwrap_err();
    assert!(
        found.starts_with("BAD_FORMAT") && found.contains(why),
        "{found}"
    );
}

#[test]
fn each_format() {
    let expected: BTreeMap<_, _> = [("a".to_owned(), 3), ("b".to_owned(), -1)].into();
    for (name, text) in [
        ("a.csv", "\u{feff}Name,Label\r\na.PNG,3\r\n\"b\",-1\r\n"),
        ("a.json", r#"{"a": 3, "b.jpg": -1}"#),
        (
            "a.json",
            r#"{"labels": {"a": {"label": 3, "mask": 0.5}, "b": {"label": -1}}, "ignore": ["1,2"]}"#,
        ),
    ] {
        assert_eq!(
            read(name, text),
            Ok(Labels::Names(expected.clone(), Words::new())),
            "{text}"
        );
    }
    let clusters = r#"{"clusters":[2,0,1],"movie_id":7}"#;
    assert_eq!(
        read("clusters.json", clusters),
        Ok(Labels::Tracks(vec![2, 0, 1]))
    );
    let text = "face,person\nx,Zoe\ny,\"Ann, B.\"\nz,Zoe\nw,-1\n";
    let Ok(Labels::Names(labels, words)) = read("w.csv", text) else {
        panic!("by name")
    };
    assert_eq!((labels["x"], labels["w"]), (labels["z"], -1));
    assert_eq!(words[&labels["y"]], "Ann, B.");
    let Ok(Labels::Names(other, _)) = read("v.json", r#"{"q": "Zoe"}"#) else {
        panic!("by name")
    };
    assert_eq!(
        other["q"], labels["x"],
        "one word is one label in all files"
    );
}

#[test]
fn what_is_wrong_is_said() {
    fails(
        "a.csv",
        "a,b\n1,2\n",
        "line 1: there is no column name or face or file or filename; there are a, b",
    );
    fails("a.csv", "name,label\na\n", "line 2: has 1 fields, fewer");
    fails(
        "a.csv",
        "name,label\na,1\na.png,2\n",
        "a.png is there twice",
    );
    fails(
        "a.csv",
        "name,label\n\"a,1\n",
        "line 2: a quote is not closed",
    );
    fails("a.csv", "name,label\n", "holds no labels");
    fails("a.json", "[1]", "an object is wanted");
    fails("a.json", "{\"a\": 1.5}", "a: its label is 1.5");
    fails("a.json", "{\"a\": 1", "EOF");
    fails("a.json", "{\"clusters\": [1, null]}", "clusters[1] is null");
    fails("a.txt", "", "labels are read from");
}

#[test]
fn faces_are_found_by_their_names() {
    let faces = faces(&["day/a.png", "day/b.png", "night/b.png"]);
    let labels = |entries: &[(&str, i64)]| {
        let entries = entries
            .iter()
            .map(|(name, label)| ((*name).to_owned(), *label));
        Labels::Names(entries.collect(), Words::new())
    };
    let path = Path::new("labels.csv");
    let found = labels(&[("a", 1), ("night/b", 2)]).of_faces(path, &faces);
    assert_eq!(found.unwrap(), [Some(1), None, Some(2)]);
    let why = labels(&[("a", 1), ("b", 1), ("gone", 2)])
        .of_faces(path, &faces)
        .unwrap_err();
    let expected = "UNKNOWN_FACE: labels.csv: b is not among the 3 faces of the features (2 such)";
    assert!(why.to_string().starts_with(expected), "{why}");
    let found = Labels::Tracks(vec![5, 6, 7]).of_faces(path, &faces);
    assert_eq!(found.unwrap(), [Some(5), Some(6), Some(7)]);
    let why = Labels::Tracks(vec![5]).of_faces(path, &faces).unwrap_err();
    assert!(why.to_string().contains("row 1 is of track 1"), "{why}");
    let why = Labels::Rows(vec![1; 4]).of_faces(path, &faces).unwrap_err();
    assert!(
        why.to_string().contains("row 3 is not among the 3 faces"),
        "{why}"
    );
    let why = Labels::Rows(vec![1; 2]).of_faces(path, &faces).unwrap_err();
    assert!(why.to_string().contains("2 labels for 3 faces"), "{why}");
}

#[test]
fn names_are_read_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faces.jsonl");
    let read = |text: &str| {
        fs::write(&path, text).unwrap();
        names_of_jsonl(&path).map_err(|why| why.to_string())
    };
    let names = read("{\"name\":\"a\",\"embedding\":[1]}\n\n{\"tag\":\"7:0:1_2_3_4\"}\n");
    assert_eq!(names.unwrap().unwrap(), ["a", "7:0:1_2_3_4"]);
    assert_eq!(read("{\"name\":\"a\"}\n{\"embedding\":[1]}\n"), Ok(None));
    assert_eq!(read("{\"name\":7}\n"), Ok(None));
    let why = read("{\"name\":\"a\"}\n{\"name\":\n").unwrap_err();
    assert!(why.contains("faces.jsonl: line 2: EOF"), "{why}");
    let long = format!(
        "{{\"name\":\"a\"}}\n{{\"name\":\"{}\"}}\n",
        "b".repeat(1 << 24)
    );
    let why = read(&long).unwrap_err();
    assert!(why.contains("line 2: longer than 16777216 bytes"), "{why}");
}
