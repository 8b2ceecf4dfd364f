//! The core through its own handle: decisions, durability, repetition, rebuilding.

use super::*;
use crate::config::Assigner;
use crate::time::duration;
use rollcall_index::{Embedding, Filter};
use std::path::Path;

pub(super) const DIMENSION: usize = 16;
pub(super) const CONTRACT: &str = "test";

pub(super) fn options(folder: &Path) -> CoreOptions {
    CoreOptions {
        data: folder.to_owned(),
        contract: CONTRACT.to_owned(),
        dimension: DIMENSION,
        same_cosine: 0.4,
        assigner: Assigner::Evidence,
        writer_queue: 64,
    }
}

pub(super) fn open(folder: &Path) -> Core {
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    Core::open(options(folder), metrics).unwrap()
}

/// A face near axis `person`, a little off it by `noise`.
pub(super) fn face(person: usize, noise: f32) -> Embedding {
    let mut values = vec![0.0; DIMENSION];
    values[person] = 1.0;
    values[(person + 7) % DIMENSION] = noise;
    Embedding::normalise(values).unwrap()
}

pub(super) fn exemplar(number: u32, quality: f32, embedding: &Embedding) -> pb::ObservedExemplar {
    pb::ObservedExemplar {
        number,
        quality,
        embedding: embedding.to_f16_bytes(),
        crop: vec![1, 2, 3],
        loose_crop: vec![4, 5, 6],
        ..Default::default()
    }
}

pub(super) fn track(
    key: u64,
    revision: u32,
    span_s: (i64, i64),
    exemplars: Vec<pb::ObservedExemplar>,
) -> pb::TrackObservation {
    pb::TrackObservation {
        track_key: key,
        revision,
        start: Some(duration(span_s.0 * 1_000_000)),
        end: Some(duration(span_s.1 * 1_000_000)),
        start_frame: span_s.0 * 25,
        end_frame: span_s.1 * 25,
        wall_start: Some(crate::time::timestamp(
            1_700_000_000_000_000 + span_s.0 * 1_000_000,
        )),
        exemplars,
        ..Default::default()
    }
}

pub(super) fn closed(mut track: pb::TrackObservation) -> Observed {
    track.closed = true;
    Observed::Track(track)
}

pub(super) fn checkpoint(seconds: i64) -> Observed {
    Observed::Checkpoint(pb::Checkpoint {
        complete_up_to: Some(duration(seconds * 1_000_000)),
        complete_up_to_frame: seconds * 25,
    })
}

fn finished() -> Observed {
    Observed::Finished(pb::Finished {
        state: pb::SourceState::Ended.into(),
        ..Default::default()
    })
}

pub(super) async fn source(core: &Core, kind: pb::SourceKind) -> u64 {
    let new = NewSource {
        uri: "file.mp4".into(),
        name: "file".into(),
        kind,
        realtime: false,
        author: "tester".into(),
        request_id: String::new(),
    };
    core.add_source(new).await.unwrap()
}

fn rename(id: u64, name: &str, etag: Option<&str>, request: &str) -> Edit {
    Edit {
        change: Change::Update {
            identity_id: id,
            etag: etag.map(str::to_owned),
            update: ProfileUpdate {
                name: Some(name.to_owned()),
                ..ProfileUpdate::default()
            },
            allow_duplicate_name: false,
        },
        author: "tester".to_owned(),
        reason: String::new(),
        request_id: request.to_owned(),
    }
}

pub(super) fn identities(core: &Core) -> Vec<pb::Identity> {
    core.catalog()
        .identities(None, 100, &IdentityQuery::default())
        .unwrap()
        .0
}

pub(super) fn sightings(core: &Core) -> Vec<pb::Sighting> {
    let query = SightingQuery {
        limit: 100,
        ..SightingQuery::default()
    };
    core.catalog().sightings(&query).unwrap().0
}

fn who(core: &Core, query: &Embedding) -> Vec<(u64, f32)> {
    let hits = core
        .view()
        .index
        .search_identities(query, 5, &Filter::default())
        .unwrap();
    hits.iter()
        .map(|hit| (hit.identity.get(), hit.similarity.get()))
        .collect()
}

/// Two people in three tracks, one of them twice; the second track overlaps the first in time.
pub(super) async fn two_people(core: &Core) -> (u64, Run) {
    let id = source(core, pb::SourceKind::File).await;
    let run = core.begin_run(id, "p1".into()).await.unwrap();
    let items = vec![
        Observed::Track(track(1, 1, (0, 1), vec![exemplar(1, 0.5, &face(0, 0.1))])),
        closed(track(2, 1, (0, 2), vec![exemplar(1, 0.9, &face(1, 0.1))])),
        closed(track(1, 2, (0, 3), vec![exemplar(2, 0.8, &face(0, 0.2))])),
        checkpoint(4),
        closed(track(3, 1, (5, 6), vec![exemplar(1, 0.7, &face(0, 0.4))])),
    ];
    core.observe(id, run.id, items).await.unwrap();
    (id, run)
}

#[tokio::test]
async fn people_are_told_apart_and_seen_again() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let people = identities(&core);
    assert_eq!(people.len(), 2);
    assert_eq!((people[0].track_count, people[0].exemplar_count), (2, 3));
    assert_eq!(people[0].screen_time, Some(duration(4_000_000)));
    assert_eq!(people[1].track_count, 1);
    let cover = core
        .catalog()
        .exemplar(people[0].cover_exemplar_id)
        .unwrap()
        .unwrap();
    assert!((cover.quality - 0.8).abs() < 1e-6);
    assert_eq!(
        core.log().blob(&cover.loose_crop.unwrap()).unwrap(),
        [4, 5, 6]
    );
    let seen = sightings(&core);
    assert_eq!(
        seen.iter().map(|s| s.identity_id).collect::<Vec<_>>(),
        [1, 2, 1]
    );
    assert!(seen[2].cosine > 0.8 && seen[0].cosine == 0.0);
    let hits = who(&core, &face(1, 0.0));
    assert_eq!(hits[0].0, 2);
    assert!(hits[0].1 > 0.99);
    core.close().await;
}

#[tokio::test]
async fn what_was_recorded_is_not_recorded_again() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (id, run) = two_people(&core).await;
    let before = (identities(&core), sightings(&core), core.view().sequence);
    let again = closed(track(3, 1, (5, 6), vec![exemplar(1, 0.7, &face(0, 0.4))]));
    core.observe(id, run.id, vec![again]).await.unwrap();
    assert_eq!(
        (identities(&core), sightings(&core), core.view().sequence),
        before
    );
    core.close().await;
}

#[tokio::test]
async fn a_reopened_collection_is_the_same_with_or_without_its_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    core.edit(rename(2, "Somebody", None, "r1")).await.unwrap();
    let query = face(0, 0.15);
    let before = (
        identities(&core),
        sightings(&core),
        who(&core, &query),
        core.view().sequence,
    );
    core.close().await;
    drop(core);
    for delete in [false, true] {
        if delete {
            std::fs::remove_file(folder.path().join(replay::CATALOG_FILE)).unwrap();
        }
        let core = open(folder.path());
        let sequence = core.view().sequence;
        let after = (
            identities(&core),
            sightings(&core),
            who(&core, &query),
            sequence,
        );
        assert_eq!(after.0, before.0);
        assert_eq!(after.1, before.1);
        assert_eq!(after.3, before.3);
        for (now, then) in after.2.iter().zip(&before.2) {
            assert!(
                now.0 == then.0 && (now.1 - then.1).abs() < 1e-6,
                "{now:?} {then:?}"
            );
        }
        core.view().index.verify().unwrap();
        core.close().await;
    }
}

#[tokio::test]
async fn a_run_cut_off_is_resumed_without_doubles() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (id, run) = two_people(&core).await;
    let whole = sightings(&core);
    core.end_run(id, run.id).await;
    let again = core.begin_run(id, "p1".into()).await.unwrap();
    assert_eq!(again.resume_from_us, Some(4_000_000));
    assert_eq!(again.resume_from_frame, 100);
    let items = vec![
        closed(track(3, 1, (5, 6), vec![exemplar(1, 0.7, &face(0, 0.4))])),
        checkpoint(7),
        finished(),
    ];
    core.observe(id, again.id, items).await.unwrap();
    assert_eq!(sightings(&core), whole);
    let source = core.catalog().source(id).unwrap().unwrap();
    assert_eq!((source.state, source.tracks), (pb::SourceState::Ended, 3));
    let refused = core.begin_run(id, "p1".into()).await;
    assert_eq!(refused, Err(WriteError::SourceFinished { id }));
    core.close().await;
}

#[tokio::test]
async fn tracks_not_seen_again_are_retracted() {
    for pipeline in ["p1", "p2"] {
        let folder = tempfile::tempdir().unwrap();
        let core = open(folder.path());
        let (id, run) = two_people(&core).await;
        core.end_run(id, run.id).await;
        let again = core.begin_run(id, pipeline.into()).await.unwrap();
        assert_eq!(sightings(&core).len(), if pipeline == "p1" { 3 } else { 2 });
        core.observe(id, again.id, vec![checkpoint(8)])
            .await
            .unwrap();
        let left = sightings(&core);
        assert_eq!(left.iter().map(|s| s.track_id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(identities(&core)[0].track_count, 1);
        core.view().index.verify().unwrap();
        core.close().await;
    }
}

#[tokio::test]
async fn a_bad_first_look_is_corrected_and_the_old_id_stays_good() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (id, run) = two_people(&core).await;
    let bad = exemplar(1, 0.15, &face(5, 0.0));
    let first = Observed::Track(track(9, 1, (7, 8), vec![bad]));
    core.observe(id, run.id, vec![first]).await.unwrap();
    assert_eq!(identities(&core).len(), 3);
    let good = exemplar(2, 0.9, &face(1, 0.05));
    core.observe(id, run.id, vec![closed(track(9, 2, (7, 9), vec![good]))])
        .await
        .unwrap();
    let people = identities(&core);
    assert_eq!(
        people
            .iter()
            .map(|p| (p.id, p.track_count))
            .collect::<Vec<_>>(),
        [(1, 2), (2, 2)]
    );
    assert_eq!(core.catalog().resolve(3).unwrap(), Some(2));
    assert_eq!(core.catalog().identity(3).unwrap().unwrap().id, 2);
    core.view().index.verify().unwrap();
    core.close().await;
}

#[tokio::test]
async fn two_faces_of_one_frame_are_two_people() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let id = source(&core, pb::SourceKind::File).await;
    let run = core.begin_run(id, "p".into()).await.unwrap();
    // 0.6 alike; neither track has lasted yet when they are decided.
    let seen = |key, at, noise| {
        let one = exemplar(1, 0.9, &face(0, noise));
        Observed::Track(track(key, 1, (at, at), vec![one]))
    };
    let both = vec![seen(1, 5, 0.0), seen(2, 5, 1.3)];
    core.observe(id, run.id, both).await.unwrap();
    assert_eq!(identities(&core).len(), 2);
    // A second later it would be the first one again.
    core.observe(id, run.id, vec![seen(3, 6, 0.2)])
        .await
        .unwrap();
    assert_eq!(identities(&core).len(), 2);
    core.close().await;
}

#[tokio::test]
async fn poor_faces_join_somebody_but_open_no_identity() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    let decisions = metrics.decisions.clone();
    let core = Core::open(options(folder.path()), metrics).unwrap();
    let (id, run) = two_people(&core).await;
    let before = core.view().sequence;
    let send = async |track: Observed| core.observe(id, run.id, vec![track]).await;
    let poor = |number, who: usize| exemplar(number, 0.1, &face(who, 0.1));

    // A stranger seen badly: nobody hears of them, however often they are reported.
    send(Observed::Track(track(9, 1, (7, 8), vec![poor(1, 5)])))
        .await
        .unwrap();
    send(Observed::Track(track(9, 1, (7, 8), vec![poor(1, 5)])))
        .await
        .unwrap();
    send(closed(track(8, 1, (7, 8), vec![poor(1, 6)])))
        .await
        .unwrap();
    assert_eq!((identities(&core).len(), core.view().sequence), (2, before));
    assert_eq!(decisions.with_label_values(&["withheld"]).get(), 2);

    // Somebody known seen badly joins.
    send(closed(track(10, 1, (7, 8), vec![poor(1, 1)])))
        .await
        .unwrap();
    assert_eq!(identities(&core)[1].track_count, 2);

    // The stranger turns to the camera: recorded with all their faces, from the start.
    let good = exemplar(3, 0.8, &face(5, 0.0));
    let mut next = track(9, 2, (7, 9), vec![poor(2, 5), good]);
    next.dropped_exemplars = vec![1];
    send(Observed::Track(next)).await.unwrap();
    assert_eq!(identities(&core).len(), 3);
    let seen = sightings(&core)
        .into_iter()
        .find(|s| s.identity_id == 3)
        .unwrap();
    assert_eq!(
        (seen.exemplar_count, seen.start),
        (2, Some(duration(7_000_000)))
    );
    send(closed(track(9, 3, (7, 10), vec![poor(4, 5)])))
        .await
        .unwrap();

    let gap = send(Observed::Track(track(11, 1, (9, 10), vec![poor(1, 7)]))).await;
    gap.unwrap();
    let gap = send(Observed::Track(track(11, 3, (9, 11), vec![poor(2, 7)]))).await;
    assert!(matches!(gap, Err(WriteError::Protocol { .. })), "{gap:?}");
    core.view().index.verify().unwrap();
    core.close().await;
}

#[tokio::test]
async fn bad_observations_are_refused_and_the_run_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let (id, run) = two_people(&core).await;
    let good = || exemplar(1, 0.5, &face(2, 0.0));
    let short = pb::ObservedExemplar {
        embedding: vec![0; 6],
        ..good()
    };
    let bad = [
        track(9, 2, (7, 8), vec![good()]),
        track(9, 1, (8, 7), vec![good()]),
        track(9, 1, (7, 8), vec![]),
        track(9, 1, (7, 8), vec![good(), good()]),
        track(
            9,
            1,
            (7, 8),
            vec![pb::ObservedExemplar {
                quality: f32::NAN,
                ..good()
            }],
        ),
        track(9, 1, (7, 8), vec![short]),
        track(3, 2, (5, 7), vec![]),
        pb::TrackObservation {
            dropped_exemplars: vec![4],
            ..track(9, 1, (7, 8), vec![good()])
        },
    ];
    let sequence = core.view().sequence;
    for track in bad {
        let refused = core
            .observe(id, run.id, vec![Observed::Track(track.clone())])
            .await;
        let error = refused.expect_err(&format!("{track:?}"));
        assert!(
            matches!(
                error,
                WriteError::Protocol { .. } | WriteError::Embedding { .. }
            ),
            "{error:?}"
        );
    }
    assert_eq!(core.view().sequence, sequence);
    core.observe(
        id,
        run.id,
        vec![Observed::Track(track(9, 1, (7, 8), vec![good()]))],
    )
    .await
    .unwrap();
    core.close().await;
}

#[tokio::test]
async fn repeated_requests_have_one_effect_and_stale_etags_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    two_people(&core).await;
    let rename = |name: &str, etag: &str, request: &str| rename(1, name, Some(etag), request);
    let etag = identities(&core)[0].etag.clone();
    let first = core.edit(rename("A", &etag, "q")).await.unwrap();
    assert_eq!(core.edit(rename("B", &etag, "q")).await, Ok(first));
    let stale = core.edit(rename("B", &etag, "")).await;
    assert!(matches!(stale, Err(WriteError::EtagMismatch { id: 1, .. })));
    assert_eq!(identities(&core)[0].name, "A");
    core.close().await;
}

#[tokio::test]
async fn events_from_the_log_are_those_that_were_broadcast() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let mut commits = core.subscribe();
    let from = core.view().sequence;
    two_people(&core).await;
    let mut live = Vec::new();
    while let Ok(commit) = commits.try_recv() {
        live.extend(commit.events.clone());
    }
    let replayed: Vec<_> = core.events_after(from).map(Result::unwrap).collect();
    assert_eq!(live, replayed);
    assert!(
        live.windows(2)
            .all(|pair| pair[0].sequence <= pair[1].sequence)
    );
    let cursor = Cursor::parse(&live[3].cursor).unwrap();
    assert_eq!(cursor.sequence, live[3].sequence);
    assert_eq!(cursor.log_id, core.log().id().to_string());
    core.close().await;
}

#[tokio::test]
async fn another_contract_and_a_second_server_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let metrics = || CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    let second = Core::open(options(folder.path()), metrics());
    assert!(matches!(
        second,
        Err(OpenError::Log(rollcall_log::OpenError::InUse { .. }))
    ));
    core.close().await;
    drop(core);
    let other = CoreOptions {
        contract: "other".into(),
        ..options(folder.path())
    };
    let refused = Core::open(other, metrics());
    assert!(matches!(refused, Err(OpenError::ContractMismatch { .. })));
}

#[tokio::test]
async fn attributes_stay_until_there_are_new_ones_and_come_back_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let core = open(folder.path());
    let id = source(&core, pb::SourceKind::File).await;
    let run = core.begin_run(id, "p1".into()).await.unwrap();
    let age = |value: f32| pb::Attribute {
        name: "age".into(),
        value,
        spread: 2.0,
        faces: 3,
        unit: "years".into(),
        ..Default::default()
    };
    let gender = pb::Attribute {
        name: "gender".into(),
        label: "female".into(),
        value: 0.9,
        faces: 3,
        ..Default::default()
    };
    let with = |revision, value| pb::TrackObservation {
        attributes: vec![age(value), gender.clone()],
        ..track(
            1,
            revision,
            (0, 1),
            vec![exemplar(revision, 0.5, &face(0, 0.1))],
        )
    };
    let seen = |core: &Core| sightings(core)[0].attributes.clone();
    let first = vec![Observed::Track(with(1, 30.0))];
    core.observe(id, run.id, first).await.unwrap();
    assert_eq!(seen(&core), [age(30.0), gender.clone()]);
    let second = vec![Observed::Track(with(2, 40.0))];
    core.observe(id, run.id, second).await.unwrap();
    let last = vec![closed(track(1, 3, (0, 2), Vec::new())), finished()];
    core.observe(id, run.id, last).await.unwrap();
    assert_eq!(seen(&core), [age(40.0), gender.clone()]);
    core.close().await;

    std::fs::remove_file(folder.path().join(replay::CATALOG_FILE)).unwrap();
    let core = open(folder.path());
    assert_eq!(seen(&core), [age(40.0), gender]);
    core.close().await;
}

/// Copies a folder of a core that runs, but what has a name at the top that begins with `but`. What it clears away
/// meanwhile may be there or not, as if it were killed then.
pub(super) fn copy(from: &Path, to: &Path, but: Option<&str>) {
    let Some(entries) = unless_gone(std::fs::read_dir(from)) else {
        return;
    };
    for entry in entries {
        let Some(entry) = unless_gone(entry) else {
            continue;
        };
        let name = entry.file_name();
        if but.is_some_and(|but| name.to_string_lossy().starts_with(but)) {
            continue;
        }
        let to = to.join(name);
        let Some(kind) = unless_gone(entry.file_type()) else {
            continue;
        };
        if kind.is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to, None);
        } else {
            unless_gone(std::fs::copy(entry.path(), to));
        }
    }
}

fn unless_gone<T>(found: std::io::Result<T>) -> Option<T> {
    match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        found => Some(found.unwrap()),
    }
}
