//! Sources: what may be added, and workers that are started, die and are stopped.

use crate::support::{CONTRACT, Fixture, config, hello, next_event, once_free, reason, start};
use rollcall_server::Server;
use rollcall_server::pb::{self, SourceState, watch_event::Event};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tonic::Status;

const ADD: &str = "/rollcall.v1.SourceService/AddSource";
const GET: &str = "/rollcall.v1.SourceService/GetSource";
const STOP: &str = "/rollcall.v1.SourceService/StopSource";

async fn add(fixture: &Fixture, request: pb::AddSourceRequest) -> Result<pb::Source, Status> {
    fixture.api.call(ADD, request).await
}

fn uri(uri: impl Into<String>) -> pb::AddSourceRequest {
    pb::AddSourceRequest {
        uri: uri.into(),
        ..Default::default()
    }
}

/// A program that stands in for a worker.
fn worker(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("worker.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn with_worker(script: &str) -> (Fixture, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(folder.path());
    settings.ingest.worker_command = worker(folder.path(), script);
    settings.ingest.stop_timeout_s = 0;
    let clip = folder.path().join("clip.mp4");
    std::fs::write(&clip, b"x").unwrap();
    (
        Fixture::on(folder, settings).await,
        clip.to_str().unwrap().to_owned(),
    )
}

/// Waits until the source is in that state; returns its error.
async fn until(fixture: &Fixture, id: u64, state: SourceState) -> Option<pb::SourceError> {
    let request = pb::WatchRequest {
        from_start: true,
        ..Default::default()
    };
    let mut stream = fixture.api.watch(request).await.unwrap();
    loop {
        if let Some(Event::SourceChanged(changed)) = next_event(&mut stream).await.event
            && changed.source_id == id
            && changed.state() == state
        {
            return changed.error;
        }
    }
}

#[tokio::test]
async fn what_may_not_be_added() {
    let fixture = Fixture::start().await;
    for (request, expected) in [
        (uri(""), "INVALID_URI"),
        (uri("/no/such/file.mp4"), "FILE_NOT_FOUND"),
        (uri("gopher://host/x"), "PROTOCOL_NOT_ALLOWED"),
        (uri("concat:a.mp4|b.mp4"), "PROTOCOL_NOT_ALLOWED"),
        (
            pb::AddSourceRequest {
                kind: 77,
                ..uri("/x")
            },
            "INVALID_ARGUMENT",
        ),
        (
            pb::AddSourceRequest {
                name: "a\nb".into(),
                ..uri("/x")
            },
            "INVALID_ARGUMENT",
        ),
        (
            pb::AddSourceRequest {
                request_id: "1".into(),
                ..uri("/x")
            },
            "INVALID_ARGUMENT",
        ),
    ] {
        let status = add(&fixture, request).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{status:?}");
    }
    let first = fixture.api.add_remote("feed").await;
    let again = pb::AddSourceRequest {
        kind: pb::SourceKind::Remote.into(),
        ..uri("feed")
    };
    let status = add(&fixture, again).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (tonic::Code::AlreadyExists, "SOURCE_EXISTS")
    );
    assert_eq!(first.state(), SourceState::Queued);
}

#[tokio::test]
async fn a_repeated_request_adds_one_source() {
    let fixture = Fixture::start().await;
    let request = pb::AddSourceRequest {
        kind: pb::SourceKind::Remote.into(),
        request_id: "123e4567-e89b-42d3-a456-426614174000".into(),
        ..uri("feed")
    };
    let first = add(&fixture, request.clone()).await.unwrap();
    assert_eq!(add(&fixture, request).await.unwrap().id, first.id);
}

#[tokio::test]
async fn credentials_never_come_back() {
    let (fixture, _) = with_worker("exec sleep 1000").await;
    let added = add(&fixture, uri("rtsp://user:secret@127.0.0.1:9/live"))
        .await
        .unwrap();
    assert_eq!(added.uri, "rtsp://***@127.0.0.1:9/live");
    assert!(!format!("{added:?}").contains("secret"));
    let status = add(&fixture, uri("rtsp://user:secret@127.0.0.1:9/live"))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SOURCE_EXISTS");
    assert!(!format!("{status:?}").contains("secret"), "{status:?}");
}

#[tokio::test]
async fn a_worker_that_keeps_dying_fails_its_source_with_its_last_words() {
    let (fixture, clip) = with_worker("echo 'no such codec' >&2; exit 9").await;
    let source = add(&fixture, uri(clip)).await.unwrap();
    assert_eq!(
        (source.kind(), source.name.as_str()),
        (pb::SourceKind::File, "clip.mp4")
    );
    let error = until(&fixture, source.id, SourceState::Failed)
        .await
        .unwrap();
    assert_eq!(error.reason, "WORKER_DIED");
    assert!(error.message.contains("no such codec"), "{error:?}");
    let request = pb::GetSourceRequest {
        source_id: source.id,
    };
    let failed: pb::Source = fixture.api.call(GET, request).await.unwrap();
    assert_eq!(failed.worker_restarts, 4);
}

#[tokio::test]
async fn stopping_ends_the_worker_and_others_may_not_take_its_place() {
    let (fixture, clip) = with_worker("exec sleep 1000").await;
    let source = add(&fixture, uri(clip)).await.unwrap();
    until(&fixture, source.id, SourceState::Connecting).await;
    let status = fixture
        .api
        .observe(hello(source.id))
        .await
        .reply()
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (tonic::Code::PermissionDenied, "WRONG_WORKER")
    );
    let request = pb::StopSourceRequest {
        source_id: source.id,
        author: "Ada".into(),
    };
    let stopped: pb::Source = fixture.api.call(STOP, request.clone()).await.unwrap();
    assert_eq!(stopped.state(), SourceState::Stopped);
    let again: pb::Source = fixture.api.call(STOP, request).await.unwrap();
    assert_eq!(
        again.state(),
        SourceState::Stopped,
        "stopping twice is no error"
    );
}

#[tokio::test]
async fn stopping_a_remote_source_tells_its_sender() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    let api = fixture.api.clone();
    let request = pb::StopSourceRequest {
        source_id: source.id,
        author: String::new(),
    };
    let stop = tokio::spawn(async move { api.call::<_, pb::Source>(STOP, request).await });
    let told = run.reply().await.unwrap();
    assert!(
        matches!(told, pb::observe_response::Message::Stop(_)),
        "{told:?}"
    );
    let finished = pb::Finished {
        state: SourceState::Stopped.into(),
        ..Default::default()
    };
    run.record(pb::observe_request::Message::Finished(finished))
        .await;
    assert_eq!(stop.await.unwrap().unwrap().state(), SourceState::Stopped);
}

#[tokio::test]
async fn sources_go_on_after_a_restart_and_places_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(folder.path());
    settings.ingest.worker_command = worker(folder.path(), "exec sleep 1000");
    settings.ingest.stop_timeout_s = 0;
    settings.ingest.workers_max = 1;
    settings.ingest.live_max = 1;
    for name in ["a.mp4", "b.mp4"] {
        std::fs::write(folder.path().join(name), b"x").unwrap();
    }
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (a, b) = (path("a.mp4"), path("b.mp4"));
    let fixture = Fixture::on(folder, settings.clone()).await;
    let first = add(&fixture, uri(a)).await.unwrap();
    until(&fixture, first.id, SourceState::Connecting).await;
    let second = add(&fixture, uri(b)).await.unwrap();
    assert_eq!(second.state(), SourceState::Queued);
    let live = add(&fixture, uri("rtsp://127.0.0.1:1/live")).await.unwrap();
    until(&fixture, live.id, SourceState::Connecting).await;
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;

    let fixture = Fixture::on(folder, settings).await;
    let request = pb::StopSourceRequest {
        source_id: first.id,
        author: String::new(),
    };
    let stopped: pb::Source = fixture.api.call(STOP, request).await.unwrap();
    assert_eq!(
        stopped.state(),
        SourceState::Stopped,
        "it was taken up again and could be stopped"
    );
    until(&fixture, second.id, SourceState::Connecting).await;
    let waiting = add(&fixture, uri("rtsp://127.0.0.1:1/other"))
        .await
        .unwrap();
    assert_eq!(waiting.state(), SourceState::Queued);
}

#[tokio::test]
async fn a_folder_or_a_port_in_use_is_named() {
    let fixture = Fixture::start().await;
    let refused = async |settings| match Server::start(settings, crate::support::vision()).await {
        Ok(_) => panic!("started"),
        Err(error) => error.to_string(),
    };
    let message = refused(config(fixture.folder.path())).await;
    assert!(message.contains("in use"), "{message}");
    let other = tempfile::tempdir().unwrap();
    let mut settings = config(other.path());
    settings.grpc.listen = fixture.server.grpc();
    let message = refused(settings).await;
    assert!(
        message.contains("grpc.listen") && message.contains("cannot listen"),
        "{message}"
    );
    let mut vision = crate::support::vision();
    let load = vision.load;
    vision.load = std::sync::Arc::new(move |embedder| {
        let mut models = load(embedder)?;
        models.collection.contract = "another".to_owned();
        Ok(models)
    });
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;
    let error = match start(&config(folder.path()), vision).await {
        Ok(_) => panic!("started"),
        Err(error) => error,
    };
    assert!(
        error.contains(CONTRACT) && error.contains("another"),
        "{error}"
    );
}

#[tokio::test]
async fn check_reads_everything_once_the_server_is_down() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(crate::support::track(1, 1, 0.0, 0, 1, true))
        .await;
    run.finish().await;
    let data = fixture.folder.path().join("data");
    let held = tokio::task::spawn_blocking({
        let data = data.clone();
        move || rollcall_server::check(&data, rollcall_server::CheckOptions::default())
    });
    assert!(
        held.await
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("in use")
    );
    let Fixture {
        folder: _folder,
        server,
        ..
    } = fixture;
    server.stop().await;
    let checked = once_free(async || {
        let data = data.clone();
        let check = tokio::task::spawn_blocking(move || {
            rollcall_server::check(&data, rollcall_server::CheckOptions::default())
        });
        check.await.unwrap().map_err(|error| error.to_string())
    });
    let report = checked.await.unwrap();
    assert_eq!((report.identities, report.faces, report.blobs), (1, 1, 3));
}
