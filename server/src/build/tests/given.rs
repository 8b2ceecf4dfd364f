//! Identities and names that come with vectors.

use super::*;
use crate::core::{Change, Edit, ProfileUpdate, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Faces of a track.
const FACES: usize = 3;

/// A `.npy` file: `kind` as NumPy writes it, with these bytes of its values.
fn npy(path: &Path, kind: &str, shape: &str, values: Vec<u8>) {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    header += &" ".repeat(64 - (10 + header.len() + 1) % 64);
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    fs::write(path, bytes).unwrap();
}

fn integers(path: &Path, values: &[i64]) {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    npy(path, "<i8", &format!("{},", values.len()), bytes.collect());
}

/// Two people as the server sees them, near axes 0 and 1, a track each in turn; with what each track is labelled as.
fn labelled(folder: &Path, name: &str, labels: &[i64], names: &str) -> BuildInput {
    let path = folder.join(format!("{name}.npy"));
    let mut values = Vec::new();
    for track in 0..labels.len() {
        for face in 0..FACES {
            let mut row = [0.0_f32; 8];
            row[track % 2] = 1.0;
            row[2 + face] = 0.2;
            values.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    npy(
        &path,
        "<f4",
        &format!("{}, 8", labels.len() * FACES),
        values,
    );
    let of_faces = |of: &dyn Fn(usize) -> i64| -> Vec<i64> {
        (0..labels.len() * FACES)
            .map(|row| of(row / FACES))
            .collect()
    };
    let side = |what: &str| folder.join(format!("{name}-{what}.npy"));
    integers(&side("tracks"), &of_faces(&|track| track as i64));
    integers(&side("sources"), &of_faces(&|track| (track / 4) as i64));
    integers(&side("labels"), &of_faces(&|track| labels[track]));
    let table = folder.join(format!("{name}.csv"));
    fs::write(&table, format!("identity,name\n{names}")).unwrap();
    BuildInput {
        path,
        sides: SideFiles {
            identities: Some(side("labels")),
            tracks: Some(side("tracks")),
            sources: Some(side("sources")),
            times: None,
        },
        model: String::new(),
        contract: CONTRACT.to_owned(),
        partial: false,
        given: GivenRule::Keep,
        names: Some(table),
    }
}

/// Label 7 is person 0 by most of its tracks, 8 the rest of them; 9 is person 1 but for a track of person 0; one track of
/// person 1 is nobody's. As labels would have it, they are three people.
const LABELS: [i64; 12] = [7, 9, 7, 9, 8, 9, 8, -1, 7, 9, 9, 9];
const NAMES: &str = "7,Ada\n9,\"Hopper, Grace\"\n77,Nobody\n";

/// Of each identity that is listed: its name, and its tracks as `source/key`.
fn view(core: &Core) -> BTreeSet<(String, BTreeSet<(u64, u64)>)> {
    let mut all: BTreeMap<u64, BTreeSet<(u64, u64)>> = BTreeMap::new();
    for source in core.catalog().sources(0, 100).unwrap() {
        for (key, _, identity) in core.catalog().keys_of_source(source.id).unwrap() {
            all.entry(identity).or_default().insert((source.id, key));
        }
    }
    let (listed, _, _) = core
        .catalog()
        .identities(None, 100, &crate::core::IdentityQuery::default())
        .unwrap();
    let shown = listed.into_iter().map(|identity| {
        let tracks = all.remove(&identity.id).unwrap_or_default();
        (identity.name, tracks)
    });
    let shown = shown.collect();
    assert!(all.is_empty(), "tracks of nobody who is listed: {all:?}");
    shown
}

/// The people whom [`LABELS`] make: the track of nobody is where the server has put it, with person 1.
fn expected() -> BTreeSet<(String, BTreeSet<(u64, u64)>)> {
    let tracks = |wanted: &[i64]| -> BTreeSet<(u64, u64)> {
        let all = LABELS.iter().enumerate();
        let of = all.filter(|(_, label)| wanted.contains(label));
        of.map(|(track, _)| (1 + track as u64 / 4, track as u64))
            .collect()
    };
    BTreeSet::from([
        ("Ada".to_owned(), tracks(&[7])),
        (String::new(), tracks(&[8])),
        ("Hopper, Grace".to_owned(), tracks(&[9, -1])),
    ])
}

async fn seen<T>(folder: &Path, look: impl FnOnce(&Core) -> T) -> T {
    let core = open(folder);
    let seen = look(&core);
    core.close().await;
    seen
}

#[tokio::test]
async fn given_identities_become_people_with_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let input = labelled(folder.path(), "faces", &LABELS, NAMES);
    let done = built(folder.path(), input.clone()).await.unwrap();
    assert_eq!((done.sources, done.tracks, done.identities), (3, 12, 3));
    let given = GivenOutcome {
        tracks: 11,
        people: 3,
        moved: 3,
        named: 2,
        ..GivenOutcome::default()
    };
    assert_eq!(done.given, given);
    let (all, sequence) = seen(folder.path(), |core| (view(core), core.view().sequence)).await;
    assert_eq!(all, expected());

    let again = built(folder.path(), input.clone()).await.unwrap();
    let given = GivenOutcome {
        moved: 0,
        named: 0,
        ..given
    };
    assert_eq!((again.known, again.given), (3, given));
    let now = seen(folder.path(), |core| core.view().sequence).await;
    assert_eq!(now, sequence, "nothing was written");
    crate::check(&folder.path().join("data"), crate::CheckOptions::default()).unwrap();

    // Labels that come later find the tracks of before.
    let other = tempfile::tempdir().unwrap();
    let input = labelled(other.path(), "faces", &LABELS, NAMES);
    let ignored = BuildInput {
        given: GivenRule::Ignore,
        ..input.clone()
    };
    let done = built(other.path(), ignored).await.unwrap();
    assert_eq!((done.identities, done.given), (2, GivenOutcome::default()));
    let done = built(other.path(), input).await.unwrap();
    assert_eq!((done.known, done.given.moved), (3, 3));
    assert_eq!(seen(other.path(), view).await, expected());
}

#[tokio::test]
async fn a_build_that_broke_off_anywhere_ends_the_same() {
    let mut last = 0;
    for stop in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let input = labelled(folder.path(), "faces", &LABELS, NAMES);
        let plan = Plan::of(std::slice::from_ref(&input)).unwrap();
        let core = open(folder.path());
        let (halt, mut steps) = (tokio::sync::Notify::new(), 0);
        let run = plan.run(&core, |_| {
            steps += 1;
            if steps == stop {
                halt.notify_one();
            }
        });
        let whole = tokio::select! {
            biased;
            () = halt.notified() => false,
            done = run => done.is_ok(),
        };
        core.close().await;
        let done = built(folder.path(), input).await.unwrap();
        assert_eq!((done.identities, done.given.refused), (3, 0), "at {stop}");
        assert_eq!(seen(folder.path(), view).await, expected(), "at {stop}");
        if whole {
            break;
        }
        last = stop;
    }
    assert!(last >= 9, "broken off {last} times only");
}

async fn say(core: &Core, change: Change) {
    let edit = Edit {
        change,
        author: "ada".to_owned(),
        reason: String::new(),
        request_id: String::new(),
    };
    core.edit(edit).await.unwrap();
}

#[tokio::test]
async fn what_people_have_said_stays() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let name = |name: &str| ProfileUpdate {
        name: Some(name.to_owned()),
        ..ProfileUpdate::default()
    };
    let create = Change::Create {
        update: name("ada"),
        allow_duplicate_name: false,
    };
    say(&core, create).await;
    core.close().await;

    let input = labelled(folder.path(), "faces", &LABELS, NAMES);
    let done = built(folder.path(), input.clone()).await.unwrap();
    let note = "label 7 is not named: identity 1 has the name".to_owned();
    assert_eq!((done.given.named, done.given.refused), (1, 1));
    assert_eq!(done.given.notes, [note]);

    // Somebody puts a label right, and gives another name.
    let core = open(folder.path());
    let (keys, catalog) = (core.catalog().keys_of_source(1).unwrap(), core.catalog());
    let bearer = catalog.bearers("hopper, grace", "").unwrap().0.unwrap();
    let update = Change::Update {
        identity_id: bearer,
        etag: None,
        update: name("Grace"),
        allow_duplicate_name: false,
    };
    say(&core, update).await;
    let into = Target::New {
        name: "Alan".to_owned(),
        allow_duplicate_name: false,
    };
    let change = Change::Move {
        track_ids: vec![keys[0].1],
        into,
    };
    say(&core, change).await;
    let before = (view(&core), core.view().sequence);
    core.close().await;
    let again = built(folder.path(), input).await.unwrap();
    assert_eq!((again.given.moved, again.given.named), (0, 0));
    let after = seen(folder.path(), |core| (view(core), core.view().sequence)).await;
    assert_eq!(after, before);

    // Other vectors say that two tracks are not the one whom somebody has named.
    let other = labelled(folder.path(), "other", &[-1, 2, -1, 2], "2,Joan\n");
    let done = built(folder.path(), other).await.unwrap();
    let all = seen(folder.path(), view).await;
    let joan: BTreeSet<(u64, u64)> = [(4, 1), (4, 3)].into();
    assert!(all.contains(&("Joan".to_owned(), joan)), "{all:?}");
    assert_eq!((done.given.named, done.given.moved), (1, 2), "{done:?}");
}

/// The labels of a file that was built before are others now.
async fn relabelled(folder: &Path, input: &BuildInput, labels: &[i64]) -> GivenOutcome {
    let faces: Vec<i64> = labels.iter().flat_map(|label| [*label; FACES]).collect();
    integers(input.sides.identities.as_ref().unwrap(), &faces);
    built(folder, input.clone()).await.unwrap().given
}

fn moved(track: u64, name: &str) -> Change {
    Change::Move {
        track_ids: vec![track],
        into: Target::New {
            name: name.to_owned(),
            allow_duplicate_name: false,
        },
    }
}

fn profile(identity_id: u64, update: ProfileUpdate) -> Change {
    Change::Update {
        identity_id,
        etag: None,
        update,
        allow_duplicate_name: false,
    }
}

#[tokio::test]
async fn what_people_put_right_stays_when_labels_change() {
    let folder = tempfile::tempdir().unwrap();
    let input = labelled(
        folder.path(),
        "faces",
        &[7, 9, 7, 9, 7, 9, -1, -1],
        "9,Hopper\n",
    );
    built(folder.path(), input.clone()).await.unwrap();
    let core = open(folder.path());
    let (keys, catalog) = (core.catalog().keys_of_source(1).unwrap(), core.catalog());
    let hopper = catalog.bearers("hopper", "").unwrap().0.unwrap();
    say(&core, moved(keys[0].1, "Alan")).await;
    let named = ProfileUpdate {
        name: Some("Grace".to_owned()),
        ..ProfileUpdate::default()
    };
    say(&core, profile(hopper, named)).await;
    core.close().await;

    // A track more for each of the two.
    let given = relabelled(folder.path(), &input, &[7, 9, 7, 9, 7, 9, 7, 9]).await;
    assert_eq!(
        (given.kept, given.people, given.named),
        (1, 2, 0),
        "{given:?}"
    );
    let all = seen(folder.path(), view).await;
    let of = |tracks: &[u64]| -> BTreeSet<(u64, u64)> {
        tracks.iter().map(|track| (1 + track / 4, *track)).collect()
    };
    let expected = BTreeSet::from([
        ("Alan".to_owned(), of(&[0])),
        (String::new(), of(&[2, 4, 6])),
        ("Grace".to_owned(), of(&[1, 3, 5, 7])),
    ]);
    assert_eq!(all, expected);
}

#[tokio::test]
async fn labels_take_nobody_over_and_show_nobody_hidden() {
    let named = ProfileUpdate {
        name: Some("Ada".to_owned()),
        ..ProfileUpdate::default()
    };
    let hidden = ProfileUpdate {
        hidden: Some(true),
        ..ProfileUpdate::default()
    };
    for (said, kept) in [(named, 0), (hidden, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let input = labelled(folder.path(), "faces", &[-1; 8], "");
        let ignored = BuildInput {
            given: GivenRule::Ignore,
            names: None,
            ..input.clone()
        };
        built(folder.path(), ignored).await.unwrap();
        let core = open(folder.path());
        let keys = core.catalog().keys_of_source(1).unwrap();
        let owners = |core: &Core| {
            [0, 1].map(|at: usize| {
                let sighting = core.catalog().track(keys[at].1).unwrap();
                sighting.unwrap().identity_id
            })
        };
        let before = owners(&core);
        assert_ne!(before[0], before[1]);
        say(&core, profile(before[0], said)).await;
        core.close().await;

        // One track of hers, and one of somebody of whom nothing is said.
        let given = relabelled(folder.path(), &input, &[7, 7, -1, -1, -1, -1, -1, -1]).await;
        assert_eq!((given.kept, given.moved), (kept, 1 - kept), "{given:?}");
        let after = seen(folder.path(), owners).await;
        let expected = if kept == 1 { before } else { [before[1]; 2] };
        assert_eq!(after, expected);
    }
}

#[tokio::test]
async fn faces_of_a_track_may_disagree() {
    let folder = tempfile::tempdir().unwrap();
    let input = labelled(folder.path(), "faces", &[3, 4], "");
    let labels = input.sides.identities.clone().unwrap();
    integers(&labels, &[3, 3, 4, -1, 4, 5]);
    let done = built(folder.path(), input).await.unwrap();
    assert_eq!((done.given.mixed, done.given.people), (2, 2));
    let core = open(folder.path());
    let metadata = |id| core.catalog().identity(id).unwrap().unwrap().metadata;
    let labels = [metadata(1), metadata(2)].map(|all| {
        let (key, label) = all.into_iter().next().unwrap();
        assert!(key.starts_with("label:faces.npy#"), "{key}");
        label
    });
    assert_eq!(labels, ["3", "4"]);
    core.close().await;
}

#[tokio::test]
async fn what_is_wrong_with_names_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |names: &str, said: &str| {
        let input = labelled(folder.path(), "faces", &[1, 2], names);
        let error = built(folder.path(), input).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    check("1,Ada\nx,Bea\n", "faces.csv: line 3: \"x\" is no identity").await;
    check("1,Ada\n1,Bea\n", "line 3: identity 1 has another name").await;
    check("1,Ada,2\n", "line 2: 3 cells").await;
    check(
        &format!("1,{}\n", "x".repeat(201)),
        "line 2: the name is longer",
    )
    .await;
    let input = labelled(folder.path(), "faces", &[-1, -1], "1,Ada\n");
    let error = built(folder.path(), input).await.unwrap_err().to_string();
    assert!(error.contains("--identities"), "{error}");
    let short = labelled(folder.path(), "faces", &[1, 2], "");
    integers(short.sides.identities.as_ref().unwrap(), &[1]);
    let error = built(folder.path(), short.clone()).await.unwrap_err();
    assert!(
        error.to_string().contains("has 1 rows, there are 6"),
        "{error}"
    );
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let error = built(
        folder.path(),
        BuildInput {
            path: inner,
            ..short
        },
    );
    let error = error.await.unwrap_err().to_string();
    assert!(error.contains("go with a file of vectors"), "{error}");
}
