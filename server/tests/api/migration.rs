//! Going over to another model while serving, with fake models: people are hues to both.

use crate::support::{
    Api, CONTRACT, EMBEDDER, Fixture, OTHER_CONTRACT, OTHER_EMBEDDER, config, hello, next_event,
    once_free, photo, reason, start, track, vision,
};
use rollcall_ingest::fake::{embedding_of, other_embedding_of, paint_face};
use rollcall_ingest::{ModelError, Picture, Rect};
use rollcall_server::pb::{self, MigrationState, observe_request, observe_response, watch_event};
use rollcall_server::{Server, Vision};
use std::sync::Arc;
use tonic::{Status, Streaming};

const START: &str = "/rollcall.v1.AdminService/StartMigration";
const GET: &str = "/rollcall.v1.AdminService/GetMigration";
const CANCEL: &str = "/rollcall.v1.AdminService/CancelMigration";
const ROLL_BACK: &str = "/rollcall.v1.AdminService/RollBackMigration";
const FINISH: &str = "/rollcall.v1.AdminService/FinishMigration";

fn to_other() -> pb::StartMigrationRequest {
    pb::StartMigrationRequest {
        embedder: OTHER_EMBEDDER.to_owned(),
        author: "ada".to_owned(),
        ..Default::default()
    }
}

async fn begin(api: &Api, request: pb::StartMigrationRequest) -> Result<pb::Migration, Status> {
    api.call(START, request).await
}

async fn end(api: &Api, method: &'static str) -> Result<pb::Migration, Status> {
    api.call(method, pb::EndMigrationRequest::default()).await
}

async fn migration(api: &Api) -> Result<pb::Migration, Status> {
    api.call(GET, pb::GetMigrationRequest {}).await
}

/// A track of the person of that hue with a picture that can be embedded again, under either contract.
fn seen(key: u64, hue: f32, contract: &str) -> pb::TrackObservation {
    let at = i64::try_from(key).unwrap() * 10;
    let mut seen = track(key, 1, hue, at, at + 1, true);
    let mut picture = Picture::filled(112, 112, [128; 3]).unwrap();
    paint_face(&mut picture, Rect::new(0.0, 0.0, 112.0, 112.0), hue);
    let embedding = match contract {
        CONTRACT => embedding_of(hue),
        _ => other_embedding_of(hue),
    };
    seen.exemplars[0].crop = rollcall_ingest::crop::to_jpeg(picture.view(), 90);
    seen.exemplars[0].embedding = embedding.unwrap().to_f16_bytes();
    seen
}

/// Two people, the first of whom has a name: hue 0 in two tracks, hue 120 in one.
async fn people(api: &Api) -> u64 {
    let source = api.add_remote("feed").await.id;
    let mut run = api.run(source).await;
    for (key, hue) in [(1, 0.0), (2, 120.0), (3, 2.0)] {
        run.track(seen(key, hue, CONTRACT)).await;
    }
    let rename = pb::RenameIdentityRequest {
        identity_id: 1,
        name: "Ada".to_owned(),
        ..Default::default()
    };
    let method = "/rollcall.v1.IdentityService/RenameIdentity";
    let _: pb::Identity = api.call(method, rename).await.unwrap();
    source
}

async fn watch(api: &Api) -> Streaming<pb::WatchEvent> {
    let kinds = vec![pb::EventKind::MigrationChanged.into()];
    let request = pb::WatchRequest {
        kinds,
        from_start: true,
        ..Default::default()
    };
    api.watch(request).await.unwrap()
}

/// Waits until watchers have been told of that state.
async fn until(events: &mut Streaming<pb::WatchEvent>, state: MigrationState) {
    loop {
        let Some(watch_event::Event::MigrationChanged(changed)) = next_event(events).await.event
        else {
            panic!("another event")
        };
        if changed.state() == state {
            return;
        }
    }
}

/// Who is on a photo of that hue.
async fn who(api: &Api, hue: f32) -> Vec<(u64, String)> {
    let request = pb::SearchImageRequest {
        image: photo(&[hue]),
        ..Default::default()
    };
    let method = "/rollcall.v1.SearchService/SearchImage";
    let found: pb::SearchResponse = api.call(method, request).await.unwrap();
    let hits = found.hits.into_iter();
    hits.map(|hit| {
        assert!(hit.cosine > 0.9, "{hit:?}");
        let identity = hit.identity.unwrap();
        (identity.id, identity.name)
    })
    .collect()
}

async fn assert_known(api: &Api) {
    assert_eq!(who(api, 1.0).await, [(1, "Ada".to_owned())]);
    assert_eq!(who(api, 121.0).await, [(2, String::new())]);
    assert_eq!(who(api, 240.0).await, []);
}

async fn status(api: &Api) -> pb::Status {
    let method = "/rollcall.v1.AdminService/GetStatus";
    api.call(method, pb::GetStatusRequest {}).await.unwrap()
}

/// The server starts anew on the same data.
async fn again(fixture: Fixture, vision: Vision) -> Result<Fixture, String> {
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;
    let server = start(&config(folder.path()), vision).await?;
    let api = Api::connect(&server).await;
    Ok(Fixture {
        folder,
        server,
        api,
    })
}

#[tokio::test]
async fn people_stay_who_they_are_under_another_model() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    let source = people(&api).await;
    assert_known(&api).await;
    let mut events = watch(&api).await;
    let begun = begin(&api, to_other()).await.unwrap();
    assert_eq!((begun.author.as_str(), begun.exemplars_total), ("ada", 3));
    assert_eq!(begun.from.unwrap().embedder, EMBEDDER);
    until(&mut events, MigrationState::Reembedding).await;
    until(&mut events, MigrationState::Switched).await;
    assert_known(&api).await;
    let now = status(&api).await;
    assert_eq!((&*now.contract, now.dimension), (OTHER_CONTRACT, 96));
    let is = migration(&api).await.unwrap();
    assert_eq!((is.exemplars_done, is.exemplars_lost), (3, 0));

    // What embeds as before is refused, what embeds anew goes on with the same people.
    let mut old = api.observe(hello(source)).await;
    assert_eq!(reason(&old.reply().await.unwrap_err()), "MODEL_MISMATCH");
    let mut run = new_run(&api, source).await;
    run.track(seen(4, 1.0, OTHER_CONTRACT)).await;
    run.track(seen(5, 240.0, OTHER_CONTRACT)).await;
    assert_eq!(who(&api, 240.0).await, [(3, String::new())]);

    // The collection says which model it needs.
    let fixture = again(fixture, vision()).await.unwrap();
    let api = fixture.api.clone();
    assert_eq!(status(&api).await.contract, OTHER_CONTRACT);
    assert_eq!(who(&api, 1.0).await, [(1, "Ada".to_owned())]);
    let done = end(&api, FINISH).await.unwrap();
    assert_eq!(done.state(), MigrationState::Done);
    assert_eq!(
        reason(&end(&api, ROLL_BACK).await.unwrap_err()),
        "MIGRATION_NOT_FOUND"
    );
    let fixture = again(fixture, vision()).await.unwrap();
    let data = fixture.folder.path().join("data");
    assert!(!data.join("index").exists(), "the old index is gone");
    assert_eq!(who(&fixture.api, 240.0).await, [(3, String::new())]);
    fixture.server.stop().await;
    check_whole(&data).await;
}

async fn new_run(api: &Api, source: u64) -> crate::support::Run {
    let mut run = api
        .observe(pb::Hello {
            contract: OTHER_CONTRACT.to_owned(),
            ..hello(source)
        })
        .await;
    let welcome = run.reply().await.unwrap();
    assert!(matches!(welcome, observe_response::Message::Welcome(_)));
    run
}

/// `rollcalld check` and `rollcalld index verify|build|stats` know which contract is in service.
async fn check_whole(data: &std::path::Path) {
    let report = once_free(async || {
        let data = data.to_owned();
        let check = tokio::task::spawn_blocking(move || {
            rollcall_server::check(&data, rollcall_server::CheckOptions::default())
        });
        check.await.unwrap().map_err(|error| error.to_string())
    });
    let report = report.await.unwrap();
    // An embedding and two pictures each; three were embedded again.
    assert_eq!((report.faces, report.blobs), (5, 5 * 3 + 3));
    let verify = async || {
        let data = data.to_owned();
        let verify = move || rollcall_server::offline_index::verify(&data);
        let verified = tokio::task::spawn_blocking(verify).await.unwrap();
        verified.map_err(|error| error.to_string())
    };
    // The check's writer may not have let go of the log yet.
    let verified = once_free(verify).await.unwrap();
    assert_eq!((verified.faces, verified.identities), (5, 3));
    let place = data.to_owned();
    let built = tokio::task::spawn_blocking(move || {
        let budget = rollcall_index::MemoryBudget::default();
        rollcall_server::offline_index::build(&place, budget, &mut |_, _| {}).unwrap();
        rollcall_server::offline_index::stats(&place).unwrap()
    });
    assert_eq!(built.await.unwrap().faces, 5);
    assert_eq!(once_free(verify).await.unwrap(), verified);
}

#[tokio::test]
async fn what_was_seen_since_is_there_after_a_roll_back() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    let source = people(&api).await;
    let mut events = watch(&api).await;
    begin(&api, to_other()).await.unwrap();
    until(&mut events, MigrationState::Switched).await;
    assert_eq!(
        reason(&end(&api, CANCEL).await.unwrap_err()),
        "MIGRATION_STATE"
    );
    let mut run = new_run(&api, source).await;
    run.track(seen(4, 240.0, OTHER_CONTRACT)).await;
    // The old model is not loaded any more; it is needed again.
    let fixture = again(fixture, vision()).await.unwrap();
    let api = fixture.api.clone();
    let mut events = watch(&api).await;
    end(&api, ROLL_BACK).await.unwrap();
    until(&mut events, MigrationState::RolledBack).await;
    assert_eq!(status(&api).await.contract, CONTRACT);
    assert_eq!(who(&api, 1.0).await, [(1, "Ada".to_owned())]);
    assert_eq!(who(&api, 240.0).await, [(3, String::new())]);
    // The run of the new contract is over; one of the old one goes on.
    let mut run = api.run(source).await;
    run.track(seen(6, 2.0, CONTRACT)).await;
    let fixture = again(fixture, vision()).await.unwrap();
    let data = fixture.folder.path().join("data");
    let folders = std::fs::read_dir(&data).unwrap().flatten();
    let folders: Vec<_> = folders.map(|entry| entry.file_name()).collect();
    let indexes = folders
        .iter()
        .filter(|name| name.to_string_lossy().starts_with("index"));
    assert_eq!(indexes.collect::<Vec<_>>(), ["index"], "{folders:?}");
    assert_eq!(who(&fixture.api, 240.0).await, [(3, String::new())]);
}

#[tokio::test]
async fn what_cannot_be_migrated_to_is_refused_before_anything_is_written() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    people(&api).await;
    let to = |embedder: &str| pb::StartMigrationRequest {
        embedder: embedder.to_owned(),
        ..to_other()
    };
    for (request, expected) in [
        (to(EMBEDDER), "MIGRATION_SAME_MODEL"),
        (to("missing"), "MODEL_NOT_FOUND"),
        (to("damaged"), "MODEL_UNUSABLE"),
        (to("../other"), "INVALID_ARGUMENT"),
        (to(""), "INVALID_ARGUMENT"),
    ] {
        let refused = begin(&api, request.clone()).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{request:?}");
    }
    for method in [CANCEL, ROLL_BACK, FINISH] {
        assert_eq!(
            reason(&end(&api, method).await.unwrap_err()),
            "MIGRATION_NOT_FOUND"
        );
    }
    assert_eq!(
        reason(&migration(&api).await.unwrap_err()),
        "MIGRATION_NOT_FOUND"
    );
    let dry = pb::StartMigrationRequest {
        dry_run: true,
        ..to_other()
    };
    let dry = begin(&api, dry).await.unwrap();
    assert_eq!(
        (dry.number, dry.exemplars_total, dry.identities_lost),
        (0, 3, 0)
    );
    assert!(dry.disk_bytes > 3 * 2 * 96);
    let view = fixture.server.edge().core.view();
    assert!(view.contracts.migration().is_none());
}

#[tokio::test]
async fn people_without_pictures_are_lost_only_if_that_is_allowed() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    let source = people(&api).await;
    let mut run = api.run(source).await;
    let mut bare = seen(9, 300.0, CONTRACT);
    bare.exemplars[0].crop.clear();
    run.track(bare).await;
    let dry = pb::StartMigrationRequest {
        dry_run: true,
        ..to_other()
    };
    let dry = begin(&api, dry).await.unwrap();
    assert_eq!((dry.exemplars_lost, dry.identities_lost), (1, 1));
    let refused = begin(&api, to_other()).await.unwrap_err();
    assert_eq!(reason(&refused), "MIGRATION_WOULD_LOSE");
    let allowed = pb::StartMigrationRequest {
        allow_loss: true,
        ..to_other()
    };
    let mut events = watch(&api).await;
    begin(&api, allowed).await.unwrap();
    until(&mut events, MigrationState::Switched).await;
    assert_eq!(who(&api, 300.0).await, []);
    assert_known(&api).await;
    // Nothing else of them is lost, and nothing for good.
    let lost: pb::Identity = api
        .call(
            "/rollcall.v1.IdentityService/GetIdentity",
            pb::GetIdentityRequest { identity_id: 3 },
        )
        .await
        .unwrap();
    assert_eq!((lost.track_count, lost.exemplar_count), (1, 1));
    end(&api, ROLL_BACK).await.unwrap();
    until(&mut events, MigrationState::RolledBack).await;
    assert_eq!(who(&api, 300.0).await, [(3, String::new())]);
}

#[tokio::test]
async fn pictures_that_cannot_be_read_stop_the_switch_and_nothing_else() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    let source = people(&api).await;
    let mut run = api.run(source).await;
    // Its picture is none, which nobody knows before it is looked at.
    run.track(track(9, 1, 300.0, 90, 91, true)).await;
    begin(&api, to_other()).await.unwrap();
    let halted = loop {
        let is = migration(&api).await.unwrap();
        if !is.fault.is_empty() {
            break is;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(halted.fault, "MIGRATION_WOULD_LOSE");
    assert_eq!(halted.state(), MigrationState::Reembedding);
    assert_eq!((halted.exemplars_done, halted.exemplars_lost), (4, 1));
    assert_eq!(
        reason(&begin(&api, to_other()).await.unwrap_err()),
        "MIGRATION_RUNNING"
    );
    for method in [FINISH, ROLL_BACK] {
        assert_eq!(
            reason(&end(&api, method).await.unwrap_err()),
            "MIGRATION_STATE"
        );
    }
    // All the while it serves and observes; what comes is embedded by both.
    assert_known(&api).await;
    run.track(seen(10, 60.0, CONTRACT)).await;
    assert_eq!(who(&api, 60.0).await, [(4, String::new())]);
    let cancelled = end(&api, CANCEL).await.unwrap();
    assert_eq!(
        (cancelled.state(), &*cancelled.fault),
        (MigrationState::Cancelled, "")
    );
    assert_eq!(status(&api).await.contract, CONTRACT);
    run.track(seen(11, 60.0, CONTRACT)).await;

    // Begun anew, and allowed while it is halted: it switches.
    let mut events = watch(&api).await;
    begin(&api, to_other()).await.unwrap();
    until(&mut events, MigrationState::Cancelled).await;
    until(&mut events, MigrationState::Reembedding).await;
    let allowed = pb::StartMigrationRequest {
        allow_loss: true,
        ..to_other()
    };
    begin(&api, allowed).await.unwrap();
    until(&mut events, MigrationState::Switched).await;
    assert_eq!(who(&api, 60.0).await, [(4, String::new())]);
    // The run was cut off, and its sender told why.
    let cut = loop {
        match run.reply().await {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&cut), "MIGRATION_SWITCHING");
    assert_eq!(cut.code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_follower_whose_query_is_of_the_old_model_is_told() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    let source = people(&api).await;
    let image = pb::SearchImageRequest {
        image: photo(&[0.0]),
        ..Default::default()
    };
    let request = pb::FollowRequest {
        query: Some(pb::follow_request::Query::Image(image)),
    };
    let method = "/rollcall.v1.SearchService/Follow";
    let mut following: Streaming<pb::FollowResponse> = api.stream(method, request).await.unwrap();
    let past = following.message().await.unwrap().unwrap();
    assert!(matches!(
        past.event,
        Some(pb::follow_response::Event::Past(_))
    ));
    let mut events = watch(&api).await;
    begin(&api, to_other()).await.unwrap();
    until(&mut events, MigrationState::Switched).await;
    let mut run = new_run(&api, source).await;
    run.send(observe_request::Message::Track(seen(
        4,
        1.0,
        OTHER_CONTRACT,
    )))
    .await;
    let told = following.message().await.unwrap_err();
    assert_eq!(reason(&told), "MODEL_MISMATCH");
    let embedding = pb::SearchEmbeddingRequest {
        embedding: embedding_of(0.0).unwrap().as_slice().to_vec(),
        contract: CONTRACT.to_owned(),
        ..Default::default()
    };
    let method = "/rollcall.v1.SearchService/SearchEmbedding";
    let old = api.call::<_, pb::SearchResponse>(method, embedding).await;
    assert_eq!(reason(&old.unwrap_err()), "MODEL_MISMATCH");
}

/// Fake models of which the other one is gone.
fn without_other() -> Vision {
    let vision = vision();
    let load = vision.load;
    Vision {
        load: Arc::new(move |embedder| match embedder {
            Some(OTHER_EMBEDDER) => Err(ModelError::Missing {
                path: "/no/assets/models/other.toml".into(),
            }),
            embedder => load(embedder),
        }),
        ..vision
    }
}

#[tokio::test]
async fn a_server_without_the_model_that_is_in_service_says_so_and_does_not_start() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    people(&api).await;
    let mut events = watch(&api).await;
    begin(&api, to_other()).await.unwrap();
    until(&mut events, MigrationState::Switched).await;
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;
    let settings = config(folder.path());
    let refused = match start(&settings, without_other()).await {
        Ok(_) => panic!("started"),
        Err(error) => error,
    };
    assert!(
        refused.contains("is served by the embedder other"),
        "{refused}"
    );
    assert!(refused.contains("other.toml"), "{refused}");
    let server = start(&settings, vision()).await.unwrap();
    assert_known(&Api::connect(&server).await).await;
}

#[tokio::test]
async fn a_server_without_the_model_that_is_to_be_serves_and_says_what_is_missing() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    let source = people(&api).await;
    let mut run = api.run(source).await;
    run.track(track(9, 1, 300.0, 90, 91, true)).await;
    begin(&api, to_other()).await.unwrap();
    let fixture = again(fixture, without_other()).await.unwrap();
    let api = fixture.api.clone();
    let fault = loop {
        let is = migration(&api).await.unwrap();
        if !is.fault.is_empty() {
            break is;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(fault.fault, "MODEL_NOT_FOUND");
    assert!(fault.fault_message.contains("other.toml"), "{fault:?}");
    assert_known(&api).await;
    end(&api, CANCEL).await.unwrap();
    assert_eq!(
        migration(&api).await.unwrap().state(),
        MigrationState::Cancelled
    );
}

/// Both metrics, once a migration is over.
#[tokio::test]
async fn metrics_tell_how_far_it_is() {
    let fixture = Fixture::start().await;
    let api = fixture.api.clone();
    people(&api).await;
    let mut events = watch(&api).await;
    begin(&api, to_other()).await.unwrap();
    until(&mut events, MigrationState::Switched).await;
    let metric = |name: &str| value(&fixture.server, name);
    loop {
        if metric("rollcall_migration_exemplars{state=\"done\"}") == Some(3.0) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(
        metric("rollcall_migration_exemplars{state=\"lost\"}"),
        Some(0.0)
    );
    assert_eq!(
        metric("rollcall_migration_exemplars{state=\"pending\"}"),
        Some(0.0)
    );
    assert_eq!(metric("rollcall_migration_progress_ratio"), Some(1.0));
}

fn value(server: &Server, name: &str) -> Option<f64> {
    let text = server.edge().metrics.text().unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}
