//! Who is let in, and what for.

use crate::support::{Api, Fixture, config, embedding, hello, reason, start, track, vision};
use prost::Message as _;
use rollcall_server::access::{KeyFile, NewKey, Role};
use rollcall_server::pb::{self, get_thumbnail_request::Of, watch_event::Event};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// A key for everything that the role may.
pub fn new(role: Role, label: &str) -> NewKey {
    NewKey {
        role,
        label: label.to_owned(),
        sources: Vec::new(),
        expires: None,
    }
}

/// A server that asks for keys, and an admin's client.
pub async fn guarded() -> (Fixture, KeyFile, Api) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.watch.heartbeat_ms = 50;
    let file = config.key_file();
    let (_, key) = file.create(new(Role::Admin, "admin")).unwrap();
    let fixture = Fixture::on(folder, config).await;
    let admin = fixture.api.with_key(&key);
    (fixture, file, admin)
}

/// Asks until the answer is this one.
async fn until(expected: &str, ask: impl AsyncFn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found = ask().await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found}, not {expected}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn outcome<T>(answer: &Result<T, Status>) -> String {
    answer.as_ref().map_or_else(reason, |_| "OK".to_owned())
}

async fn status(api: &Api) -> String {
    let request = pb::GetStatusRequest {};
    let path = "/rollcall.v1.AdminService/GetStatus";
    outcome(&api.call::<_, pb::Status>(path, request).await)
}

/// What a method takes, told by its name.
fn least(service: &str, method: &str) -> Role {
    let reads = ["Get", "List", "Search", "Follow", "Watch", "Explain"];
    match (service, method) {
        // Who was erased, and why, is not everybody's.
        ("PrivacyService", _) => Role::Admin,
        (_, method) if reads.iter().any(|start| method.starts_with(start)) => Role::Reader,
        ("SourceService" | "IngestService", _) => Role::Operator,
        ("AdminService", _) => Role::Admin,
        _ => Role::Editor,
    }
}

fn methods() -> Vec<(String, String)> {
    let set = rollcall_server::FILE_DESCRIPTORS;
    let set = prost_types::FileDescriptorSet::decode(set).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    let of = |service: &prost_types::ServiceDescriptorProto| {
        let name = service.name().to_owned();
        let methods = service.method.iter();
        methods
            .map(|method| (name.clone(), method.name().to_owned()))
            .collect::<Vec<_>>()
    };
    services.flat_map(of).collect()
}

#[tokio::test]
async fn every_method_asks_for_a_key_and_for_its_role() {
    let (fixture, file, _) = guarded().await;
    let mut callers = Vec::new();
    for role in Role::ALL {
        let (_, key) = file.create(new(role, role.name())).unwrap();
        let api = fixture.api.with_key(&key);
        until("OK", async || status(&api).await).await;
        callers.push((role, api));
    }
    let stranger = fixture.api.with_key("rk_00000000_x");
    for (service, method) in methods() {
        let path = format!("/rollcall.v1.{service}/{method}");
        let refused = fixture.api.knock(&path).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{path}");
        assert_eq!(reason(&refused), "KEY_MISSING", "{path}");
        let refused = stranger.knock(&path).await.unwrap_err();
        assert_eq!(reason(&refused), "KEY_INVALID", "{path}");
        let least = least(&service, &method);
        for (role, api) in &callers {
            let may = *role == least || *role == Role::Admin || least == Role::Reader;
            let answer = api.knock(&path).await;
            let refused = answer.as_ref().err().filter(|status| {
                [Code::PermissionDenied, Code::Unauthenticated].contains(&status.code())
            });
            let refused = refused.map(reason);
            let expected = (!may).then_some("ROLE_INSUFFICIENT");
            assert_eq!(refused.as_deref(), expected, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn health_is_open_reflection_is_for_readers_and_what_is_not_there_asks_too() {
    let (fixture, _, admin) = guarded().await;
    fixture
        .api
        .knock("/grpc.health.v1.Health/Check")
        .await
        .unwrap();
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/rollcall.v1.NoService/NoMethod",
    ] {
        let refused = fixture.api.knock(path).await.unwrap_err();
        assert_eq!(reason(&refused), "KEY_MISSING", "{path}");
    }
    let unknown = admin.knock("/rollcall.v1.NoService/NoMethod").await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn keys_are_made_and_revoked_while_the_server_runs() {
    let fixture = Fixture::with(|config| config.watch.heartbeat_ms = 20).await;
    assert_eq!(status(&fixture.api).await, "OK");
    let file = fixture.server.edge().config.key_file();
    let (kept, key) = file.create(new(Role::Reader, "")).unwrap();
    until("KEY_MISSING", async || status(&fixture.api).await).await;
    let reader = fixture.api.with_key(&key);
    assert_eq!(status(&reader).await, "OK");
    let mut open = reader.watch(pb::WatchRequest::default()).await.unwrap();
    file.revoke(&kept.id).unwrap();
    until("KEY_INVALID", async || status(&reader).await).await;
    // What was open before ends with its key.
    let end = loop {
        match open.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&end), "KEY_INVALID");
    // All keys are revoked: that does not open the door.
    assert_eq!(status(&fixture.api).await, "KEY_MISSING");
    // A file that is no file of keys changes nothing.
    let (_, key) = file.create(new(Role::Reader, "")).unwrap();
    let reader = fixture.api.with_key(&key);
    until("OK", async || status(&reader).await).await;
    std::fs::write(file.path(), "[[key").unwrap();
    // Until it has been looked at, which the log tells; asked as often as it takes to be past that.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(status(&reader).await, "OK");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn edits_are_recorded_under_the_key() {
    let (fixture, file, admin) = guarded().await;
    let (_, key) = file.create(new(Role::Editor, "kiosk")).unwrap();
    let editor = fixture.api.with_key(&key);
    until("OK", async || status(&editor).await).await;
    let create = async |api: &Api, name: &str, author: &str| {
        let request = pb::CreateIdentityRequest {
            name: name.to_owned(),
            author: author.to_owned(),
            ..Default::default()
        };
        let path = "/rollcall.v1.IdentityService/CreateIdentity";
        let made: pb::EditResponse = api.call(path, request).await.unwrap();
        made.edit.unwrap().author
    };
    assert_eq!(create(&editor, "Ada", "").await, "kiosk");
    assert_eq!(create(&editor, "Bea", "Zoë").await, "kiosk (Zoë)");
    assert_eq!(create(&admin, "Cleo", "kiosk").await, "admin (kiosk)");
}

#[tokio::test]
async fn other_addresses_take_a_key_or_so_many_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.grpc.listen = "0.0.0.0:0".parse().unwrap();
    let refused = start(&config, vision()).await.map(|_| ()).unwrap_err();
    assert!(refused.contains("key create"), "{refused}");
    config.key_file().create(new(Role::Admin, "")).unwrap();
    let server = start(&config, vision()).await.unwrap();
    server.stop().await;
    std::fs::write(config.key_file().path(), "nonsense").unwrap();
    let refused = start(&config, vision()).await.map(|_| ()).unwrap_err();
    assert!(refused.contains("keys.toml"), "{refused}");
}

/// Two sources with a person each, and the key for the first source.
struct Scoped {
    fixture: Fixture,
    admin: Api,
    own: pb::Source,
    other: pb::Source,
    scoped: Api,
}

async fn scoped(role: Role) -> Scoped {
    let (fixture, file, admin) = guarded().await;
    let own = admin.add_remote("own").await;
    let other = admin.add_remote("other").await;
    for (source, hue) in [(&own, 0.0), (&other, 120.0)] {
        let mut run = admin.run(source.id).await;
        run.track(track(1, 1, hue, 0, 1, true)).await;
        run.finish().await;
    }
    let asked = NewKey {
        sources: vec![own.id],
        ..new(role, "")
    };
    let (_, key) = file.create(asked).unwrap();
    let scoped = fixture.api.with_key(&key);
    until("SOURCE_OUT_OF_SCOPE", async || status(&scoped).await).await;
    Scoped {
        fixture,
        admin,
        own,
        other,
        scoped,
    }
}

#[tokio::test]
async fn a_key_for_a_source_sees_nothing_of_others() {
    let Scoped {
        fixture: _fixture,
        admin,
        own,
        other,
        scoped,
    } = scoped(Role::Reader).await;
    let search = async |api: &Api, hue: f32, source_ids: Vec<u64>| {
        let options = pb::SearchOptions {
            source_ids,
            ..Default::default()
        };
        let request = pb::SearchEmbeddingRequest {
            embedding: embedding(hue).as_slice().to_vec(),
            options: Some(options),
            ..Default::default()
        };
        let path = "/rollcall.v1.SearchService/SearchEmbedding";
        api.call::<_, pb::SearchResponse>(path, request).await
    };
    let theirs = search(&admin, 120.0, Vec::new()).await.unwrap().hits;
    let them = theirs[0].identity.clone().unwrap();
    let their_track = theirs[0].sightings[0].track_id;
    assert!(them.track_count == 1 && theirs[0].best_exemplar_id != 0);
    let ours = search(&scoped, 0.0, Vec::new()).await.unwrap().hits;
    let us = ours[0].identity.clone().unwrap();
    assert_eq!(ours[0].sightings[0].source_id, own.id);
    // Nothing of where and how often somebody was seen in all.
    assert_eq!(
        (us.track_count, us.last_seen, us.screen_time),
        (0, None, None)
    );
    assert!(
        search(&scoped, 120.0, Vec::new())
            .await
            .unwrap()
            .hits
            .is_empty()
    );
    let refused = search(&scoped, 120.0, vec![other.id]).await;
    assert_eq!(outcome(&refused), "SOURCE_OUT_OF_SCOPE");

    let get = async |id: u64| {
        let request = pb::GetIdentityRequest { identity_id: id };
        let path = "/rollcall.v1.IdentityService/GetIdentity";
        outcome(&scoped.call::<_, pb::Identity>(path, request).await)
    };
    assert_eq!(get(us.id).await, "OK");
    assert_eq!(get(them.id).await, "IDENTITY_NOT_FOUND");

    let thumbnail = async |of: Of| {
        let request = pb::GetThumbnailRequest {
            of: Some(of),
            aligned: false,
        };
        let path = "/rollcall.v1.SightingService/GetThumbnail";
        outcome(&scoped.call::<_, pb::Thumbnail>(path, request).await)
    };
    let missing = "THUMBNAIL_NOT_FOUND";
    for (of, expected) in [
        (Of::ExemplarId(ours[0].best_exemplar_id), "OK"),
        (Of::ExemplarId(theirs[0].best_exemplar_id), missing),
        (Of::TrackId(ours[0].sightings[0].track_id), "OK"),
        (Of::TrackId(their_track), missing),
        (Of::IdentityId(us.id), "OK"),
        (Of::IdentityId(them.id), missing),
    ] {
        assert_eq!(thumbnail(of).await, expected, "{of:?}");
    }

    let list = async |source_id: u64, identity_id: u64| {
        let request = pb::ListSightingsRequest {
            source_id,
            identity_id,
            ..Default::default()
        };
        let path = "/rollcall.v1.SightingService/ListSightings";
        let answer = scoped.call::<_, pb::ListSightingsResponse>(path, request);
        let answer = answer.await;
        answer.map(|all| {
            all.sightings
                .iter()
                .map(|s| s.source_id)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(list(0, 0).await.unwrap(), [own.id]);
    assert_eq!(list(own.id, 0).await.unwrap(), [own.id]);
    assert!(list(0, them.id).await.unwrap().is_empty());
    assert_eq!(outcome(&list(other.id, 0).await), "SOURCE_OUT_OF_SCOPE");

    let sources: pb::ListSourcesResponse = scoped
        .call(
            "/rollcall.v1.SourceService/ListSources",
            pb::ListSourcesRequest::default(),
        )
        .await
        .unwrap();
    assert_eq!(sources.total_count, 1);
    assert_eq!(sources.sources[0].id, own.id);
    for (source_id, expected) in [(own.id, "OK"), (other.id, "SOURCE_OUT_OF_SCOPE")] {
        let path = "/rollcall.v1.SourceService/GetSource";
        let request = pb::GetSourceRequest { source_id };
        let found = scoped.call::<_, pb::Source>(path, request).await;
        assert_eq!(outcome(&found), expected);
        let path = "/rollcall.v1.SightingService/ListTrackFaces";
        let request = pb::ListTrackFacesRequest {
            source_id,
            ..Default::default()
        };
        let faces = scoped.stream::<_, pb::TrackFaces>(path, request).await;
        assert_eq!(outcome(&faces), expected);
    }
}

#[tokio::test]
async fn a_key_for_a_source_watches_and_follows_that_source() {
    let Scoped {
        fixture: _fixture,
        admin,
        own,
        other,
        scoped,
    } = scoped(Role::Reader).await;
    let from_start = pb::WatchRequest {
        from_start: true,
        ..Default::default()
    };
    let mut events = scoped.watch(from_start).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let event = events.message().await.unwrap().unwrap();
        match event.event.unwrap() {
            Event::Started(_) => {}
            // All that there was has come.
            Event::Heartbeat(_) => break,
            Event::SourceChanged(changed) => seen.push(changed.source_id),
            Event::SightingStarted(started) => seen.push(started.sighting.unwrap().source_id),
            Event::SightingEnded(ended) => seen.push(ended.sighting.unwrap().source_id),
            Event::IdentityCreated(_) => {}
            event => panic!("{event:?}"),
        }
    }
    assert!(
        seen.len() >= 3 && seen.iter().all(|id| *id == own.id),
        "{seen:?}"
    );
    let refused = scoped
        .watch(pb::WatchRequest {
            source_ids: vec![own.id, other.id],
            ..Default::default()
        })
        .await;
    assert_eq!(outcome(&refused), "SOURCE_OUT_OF_SCOPE");

    let query = pb::SearchEmbeddingRequest {
        embedding: embedding(120.0).as_slice().to_vec(),
        ..Default::default()
    };
    let request = pb::FollowRequest {
        query: Some(pb::follow_request::Query::Embedding(query)),
    };
    let path = "/rollcall.v1.SearchService/Follow";
    let mut follow = scoped
        .stream::<_, pb::FollowResponse>(path, request)
        .await
        .unwrap();
    let first = follow.message().await.unwrap().unwrap().event.unwrap();
    let pb::follow_response::Event::Past(past) = first else {
        panic!("{first:?}");
    };
    assert!(past.hits.is_empty());
    // The same person on both sources: only the own one is told.
    let label = admin.add_remote("third").await;
    let mut run = admin.run(label.id).await;
    let seen = run.track(track(1, 1, 120.0, 0, 1, true)).await;
    // Until a heartbeat says that the follower is past it.
    loop {
        let event = follow.message().await.unwrap().unwrap().event.unwrap();
        let pb::follow_response::Event::Heartbeat(beat) = event else {
            panic!("{event:?}");
        };
        if beat.sequence >= seen.sequence {
            break;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_bounded_to_a_source_is_refused() {
    let Scoped {
        fixture: _fixture,
        own,
        other,
        scoped,
        ..
    } = scoped(Role::Admin).await;
    let bounded = [
        "SearchImage",
        "SearchEmbedding",
        "Follow",
        "GetIdentity",
        "GetSource",
        "ListSources",
        "StopSource",
        "ListSightings",
        "GetThumbnail",
        "ListTrackFaces",
        "Watch",
        "Observe",
    ];
    for (service, method) in methods() {
        if bounded.contains(&method.as_str()) {
            continue;
        }
        let path = format!("/rollcall.v1.{service}/{method}");
        let refused = scoped.knock(&path).await.unwrap_err();
        assert_eq!(reason(&refused), "SOURCE_OUT_OF_SCOPE", "{path}");
    }
    let mut run = scoped.observe(hello(other.id)).await;
    let refused = run.reply().await.unwrap_err();
    assert_eq!(reason(&refused), "SOURCE_OUT_OF_SCOPE");
    for (source_id, expected) in [(other.id, "SOURCE_OUT_OF_SCOPE"), (own.id, "OK")] {
        let path = "/rollcall.v1.SourceService/StopSource";
        let request = pb::StopSourceRequest {
            source_id,
            author: String::new(),
        };
        let stopped = scoped.call::<_, pb::Source>(path, request).await;
        assert_eq!(outcome(&stopped), expected);
    }
}

#[tokio::test]
async fn who_did_what_is_on_record() {
    let (fixture, file, admin) = guarded().await;
    let (kept, key) = file.create(new(Role::Reader, "kiosk")).unwrap();
    let reader = fixture.api.with_key(&key);
    until("OK", async || status(&reader).await).await;
    let request_id = "123e4567-e89b-42d3-a456-426614174000";
    let create = pb::CreateIdentityRequest {
        name: "Ada of the secret name".to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let path = "/rollcall.v1.IdentityService/CreateIdentity";
    let refused = reader
        .call::<_, pb::EditResponse>(path, create.clone())
        .await;
    assert_eq!(outcome(&refused), "ROLE_INSUFFICIENT");
    let made: pb::EditResponse = admin.call(path, create).await.unwrap();
    let id = made.identities[0].id;
    let hide = pb::UpdateIdentityRequest {
        identity_id: id,
        hidden: Some(true),
        ..Default::default()
    };
    let update = "/rollcall.v1.IdentityService/UpdateIdentity";
    admin
        .call::<_, pb::EditResponse>(update, hide)
        .await
        .unwrap();
    assert_eq!(status(&fixture.api).await, "KEY_MISSING");
    let audit = fixture.server.edge().config.audit_folder();
    let Fixture { folder, server, .. } = fixture;
    server.stop().await;
    let whole = rollcall_server::audit::verify(&audit).unwrap();
    let lines = rollcall_server::audit::show(&audit, 1000).unwrap();
    assert_eq!(usize::try_from(whole.lines).unwrap(), lines.len());
    let all = lines.join("\n");
    assert!(!all.contains("secret name") && !all.contains(&key), "{all}");
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    let of = |method: &str, who: &str| {
        let mut found = lines.iter().filter(|line| {
            line["method"]
                == path
                    .trim_start_matches('/')
                    .replace("CreateIdentity", method)
                && line["who"] == who
        });
        found
            .next()
            .unwrap_or_else(|| panic!("{method} of {who}: {all}"))
    };
    let refused = of("CreateIdentity", "kiosk");
    assert_eq!(refused["reason"], "ROLE_INSUFFICIENT");
    assert_eq!(refused["key"], kept.id.as_str());
    assert!(refused["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let made = of("CreateIdentity", "admin");
    assert_eq!(
        (made["result"].as_str(), made["request_id"].as_str()),
        (Some("OK"), Some(request_id))
    );
    assert_eq!(
        of("UpdateIdentity", "admin")["identities"],
        serde_json::json!([id])
    );
    // Strangers, as many as are worth a line.
    assert!(
        lines
            .iter()
            .any(|line| line["result"] == "UNAUTHENTICATED" && line["who"] == "anonymous")
    );
    // Reads are not recorded unless the settings say so.
    assert!(
        !lines
            .iter()
            .any(|line| line["result"] == "OK" && line["who"] == "kiosk")
    );
    drop(folder);
}
