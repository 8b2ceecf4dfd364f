//! Collections built from small files of vectors.

use super::*;
use std::fmt::Write as _;

mod given;

const CONTRACT: &str = "test-model";

/// Two people near axes 0 and 1, a track each in turn, three faces a track, in two sources.
fn people(tracks: usize) -> String {
    let mut lines = String::new();
    for track in 0..tracks {
        for face in 0..3 {
            let mut values = [0.0; 8];
            values[track % 2] = 1.0;
            values[2 + face] = 0.2;
            let source = 1 + track % 4 / 2;
            let time_us = 1_700_000_000_000_000 + (track * 60 + face) as i64 * 1_000_000;
            let values = values.map(|value: f32| value.to_string()).join(",");
            let _ = writeln!(
                lines,
                "{{\"embedding\":[{values}],\"track\":{track},\"source\":{source},\"time_us\":{time_us}}}"
            );
        }
    }
    lines
}

fn file(folder: &Path, name: &str, text: &str) -> BuildInput {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    BuildInput {
        path,
        sides: SideFiles::default(),
        model: String::new(),
        contract: CONTRACT.to_owned(),
        partial: false,
        given: GivenRule::Keep,
        names: None,
    }
}

fn config(folder: &Path) -> Config {
    Config {
        data: folder.join("data"),
        assets: folder.join("no-assets"),
        ..Config::default()
    }
}

async fn built(folder: &Path, input: BuildInput) -> Result<Built, BuildError> {
    build(&config(folder), vec![input], Some(0.4), |_| {}).await
}

#[tokio::test]
async fn tracks_of_a_file_become_sightings_of_people() {
    let folder = tempfile::tempdir().unwrap();
    let input = file(folder.path(), "faces.jsonl", &people(12));
    let mut seen = (0, 0);
    let config = config(folder.path());
    let watch = |far: Progress| seen = (far.done, far.tracks);
    let done = build(&config, vec![input.clone()], Some(0.4), watch);
    let done = done.await.unwrap();
    let expected = Built {
        sources: 2,
        known: 0,
        tracks: 12,
        faces: 36,
        identities: 2,
        given: GivenOutcome::default(),
    };
    assert_eq!(done, expected);
    assert_eq!(seen, (12, 12));

    let again = built(folder.path(), input).await.unwrap();
    let expected = Built {
        known: 2,
        identities: 2,
        ..Built::default()
    };
    assert_eq!(again, expected, "nothing doubles");
    let report = crate::check(&folder.path().join("data"), crate::CheckOptions::default()).unwrap();
    assert_eq!((report.identities, report.faces), (2, 36));
}

#[tokio::test]
async fn a_build_that_broke_off_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let input = file(folder.path(), "faces.jsonl", &people(600));
    let mut broken = Plan::of(std::slice::from_ref(&input)).unwrap();
    let core = open(folder.path());
    broken.materials = broken.materials.into_iter().map(Broken::after).collect();
    let error = broken.run(&core, |_| {}).await.unwrap_err();
    assert!(matches!(error, BuildError::Refused { .. }), "{error}");
    let before = core.view().index.stats().faces;
    assert!((1..1800).contains(&before), "{before}");
    core.close().await;

    let done = built(folder.path(), input).await.unwrap();
    assert_eq!((done.sources, done.known, done.identities), (2, 0, 2));
    let report = crate::check(&folder.path().join("data"), crate::CheckOptions::default()).unwrap();
    assert_eq!((report.identities, report.faces), (2, 1800));
}

fn open(folder: &Path) -> Core {
    let options = CoreOptions {
        data: folder.join("data"),
        contract: CONTRACT.to_owned(),
        dimension: 8,
        same_cosine: 0.4,
        assigner: crate::config::Assigner::Evidence,
        writer_queue: 8,
    };
    Core::open(
        options,
        CoreMetrics::register(&prometheus::Registry::new()).unwrap(),
    )
    .unwrap()
}

/// Material whose 280th observation is none.
struct Broken(Box<dyn Material>);

impl Broken {
    fn after(material: Box<dyn Material>) -> Box<dyn Material> {
        Box::new(Self(material))
    }
}

impl Material for Broken {
    fn place(&self) -> &Path {
        self.0.place()
    }

    fn source(&self) -> NewSource {
        self.0.source()
    }

    fn contract(&self) -> (&str, usize) {
        self.0.contract()
    }

    fn pipeline(&self) -> String {
        self.0.pipeline()
    }

    fn id(&self) -> String {
        self.0.id()
    }

    fn tracks(&self) -> u64 {
        self.0.tracks()
    }

    fn read(self: Box<Self>, take: &mut dyn FnMut(Observed) -> bool) -> Result<(), BuildError> {
        let mut count = 0;
        self.0.read(&mut |mut observed| {
            count += 1;
            if let (280, Observed::Track(track)) = (count, &mut observed) {
                track.exemplars[0].quality = 7.0;
            }
            take(observed)
        })
    }
}

#[tokio::test]
async fn what_cannot_be_built_from_is_told_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |input: BuildInput, said: &str| {
        let error = built(folder.path(), input).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    let gone = BuildInput {
        path: folder.path().join("gone"),
        ..file(folder.path(), "x.jsonl", "")
    };
    check(gone, "gone").await;
    assert!(!folder.path().join("data").exists());

    check(file(folder.path(), "empty.jsonl", ""), "holds no vectors").await;
    let cut = "{\"embedding\":[1,0,0,0,0,0,0,0]}\n{\"embedding\":[1,0,0";
    check(file(folder.path(), "cut.jsonl", cut), "line 2").await;
    let nan = "{\"embedding\":[1,0,null,0,0,0,0,0]}\n";
    check(file(folder.path(), "nan.jsonl", nan), "line 1").await;
    check(file(folder.path(), "text.txt", "x"), "neither .npy").await;

    built(folder.path(), file(folder.path(), "a.jsonl", &people(4)))
        .await
        .unwrap();
    let other = BuildInput {
        contract: "other-model".to_owned(),
        ..file(folder.path(), "b.jsonl", &people(4))
    };
    check(
        other,
        "contract other-model (8 values), the collection's is test-model (8 values)",
    )
    .await;
    // Edited, it would be there twice.
    let edited = file(folder.path(), "a.jsonl", &people(6));
    check(edited, "is source 1 of the collection already").await;
    let short = "{\"embedding\":[1,0]}\n";
    check(file(folder.path(), "c.jsonl", short), "(2 values)").await;
}

#[tokio::test]
async fn without_models_it_must_be_said_what_they_would_say() {
    let folder = tempfile::tempdir().unwrap();
    let input = file(folder.path(), "a.jsonl", &people(4));
    let unsaid = BuildInput {
        contract: String::new(),
        ..input.clone()
    };
    let error = built(folder.path(), unsaid).await.unwrap_err().to_string();
    assert!(error.contains("--contract"), "{error}");
    let config = config(folder.path());
    let error = build(&config, vec![input], None, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("--same-cosine"), "{error}");
}
