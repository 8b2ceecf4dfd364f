//! A server that plays a part: what it answers follows from what it is asked.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use prost_types::{Duration, Timestamp};
use rollcall_client::pb;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

mod alert;

/// The server half of the API over the client's own messages; see build.rs.
mod rpc {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/server/rollcall.v1.rs"));
}
use rpc::{
    admin_service_server::*, alert_service_server::AlertServiceServer, identity_service_server::*,
    privacy_service_server::*, search_service_server::*, sighting_service_server::*,
    source_service_server::*, watch_service_server::*,
};

type Answer<T> = Result<Response<T>, Status>;
type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the fake saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) status_calls: AtomicU32,
    pub(crate) renames: Mutex<Vec<pb::RenameIdentityRequest>>,
    pub(crate) creates: Mutex<Vec<pb::CreateIdentityRequest>>,
    pub(crate) updates: Mutex<Vec<pb::UpdateIdentityRequest>>,
    pub(crate) merges: Mutex<Vec<pb::MergeIdentitiesRequest>>,
    pub(crate) rules: Mutex<Vec<pb::CreateAlertRuleRequest>>,
    pub(crate) rule_updates: Mutex<Vec<pb::UpdateAlertRuleRequest>>,
    pub(crate) migrations: Mutex<Vec<pb::StartMigrationRequest>>,
    pub(crate) moves: Mutex<Vec<pb::MoveTracksRequest>>,
    pub(crate) splits: Mutex<Vec<pb::SplitIdentityRequest>>,
    pub(crate) links: Mutex<Vec<pb::LinkTracksRequest>>,
    pub(crate) separations: Mutex<Vec<pb::SeparateRequest>>,
    pub(crate) rejections: Mutex<Vec<pb::RejectTracksRequest>>,
    pub(crate) enrolments: Mutex<Vec<pb::EnrolPersonRequest>>,
    pub(crate) forgotten: Mutex<Vec<pb::ForgetFactRequest>>,
    pub(crate) nothing_waits: AtomicBool,
    pub(crate) undoings: Mutex<Vec<pb::UndoEditRequest>>,
    pub(crate) adds: Mutex<Vec<pb::AddSourceRequest>>,
    pub(crate) watches: Mutex<Vec<pb::WatchRequest>>,
    pub(crate) erasures: Mutex<Vec<pb::EraseRequest>>,
    pub(crate) faces: Mutex<Vec<pb::ListTrackFacesRequest>>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(pub(crate) Arc<Seen>);

/// Starts a fake on a free port for as long as the runtime lives; returns its endpoint.
pub(crate) async fn start() -> (Fake, String) {
    let fake = Fake::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(AdminServiceServer::new(fake.clone()))
        .add_service(AlertServiceServer::new(fake.clone()))
        .add_service(PrivacyServiceServer::new(fake.clone()))
        .add_service(IdentityServiceServer::new(fake.clone()).max_decoding_message_size(16 << 20))
        .add_service(SearchServiceServer::new(fake.clone()))
        .add_service(SightingServiceServer::new(fake.clone()))
        .add_service(SourceServiceServer::new(fake.clone()))
        .add_service(WatchServiceServer::new(fake.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (fake, format!("http://{address}"))
}

pub(crate) fn error(code: Code, reason: &str, message: &str) -> Status {
    let metadata = HashMap::from([("seen_by".to_owned(), "the fake".to_owned())]);
    let details = ErrorDetails::with_error_info(reason, "rollcall", metadata);
    Status::with_error_details(code, message, details)
}

fn stream_time(seconds: i64) -> Option<Duration> {
    Some(Duration {
        seconds,
        nanos: 480_000_000,
    })
}

fn identity(id: u64) -> pb::Identity {
    let name = if id == 1 { "Ada Lovelace" } else { "" };
    pb::Identity {
        id,
        name: name.to_owned(),
        state: pb::IdentityState::Active.into(),
        create_time: Some(Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        track_count: 2,
        screen_time: stream_time(5),
        cover_exemplar_id: 9,
        etag: "e1".to_owned(),
        ..Default::default()
    }
}

fn sighting(track_id: u64) -> pb::Sighting {
    pb::Sighting {
        identity_id: 1,
        track_id,
        source_id: 1,
        source_name: "clip.mp4".to_owned(),
        start: stream_time(12),
        end: stream_time(75),
        wall_start: Some(Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl AdminService for Fake {
    /// Unavailable the first two times.
    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Answer<pb::Status> {
        if self.0.status_calls.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(error(
                Code::Unavailable,
                "INDEX_LOADING",
                "the index is loading",
            ));
        }
        let status = pb::Status {
            version: "0.0.0".into(),
            identities: 3,
            ..Default::default()
        };
        Ok(Response::new(pb::Status {
            write_state: "ok".into(),
            ..status
        }))
    }

    async fn start_migration(
        &self,
        r: Request<pb::StartMigrationRequest>,
    ) -> Answer<pb::Migration> {
        let r = r.into_inner();
        self.0.migrations.lock().unwrap().push(r.clone());
        if r.embedder == "gone" {
            let what = "gone.toml: no such file";
            return Err(error(Code::FailedPrecondition, "MODEL_NOT_FOUND", what));
        }
        if r.dry_run {
            return Ok(Response::new(pb::Migration {
                number: 0,
                identities_lost: 2,
                disk_bytes: 2048,
                ..migration(pb::MigrationState::Unspecified)
            }));
        }
        Ok(Response::new(migration(pb::MigrationState::Reembedding)))
    }

    /// Switched as soon as it is asked after.
    async fn get_migration(&self, _: Request<pb::GetMigrationRequest>) -> Answer<pb::Migration> {
        Ok(Response::new(migration(pb::MigrationState::Switched)))
    }

    async fn cancel_migration(&self, _: Request<pb::EndMigrationRequest>) -> Answer<pb::Migration> {
        let what = "it has switched already: roll it back, or finish it";
        Err(error(Code::FailedPrecondition, "MIGRATION_STATE", what))
    }

    async fn roll_back_migration(
        &self,
        _: Request<pb::EndMigrationRequest>,
    ) -> Answer<pb::Migration> {
        let faulty = pb::Migration {
            fault: "MODEL_UNUSABLE".into(),
            fault_message: "wrong file".into(),
            ..migration(pb::MigrationState::RollingBack)
        };
        Ok(Response::new(faulty))
    }

    async fn finish_migration(&self, _: Request<pb::EndMigrationRequest>) -> Answer<pb::Migration> {
        Ok(Response::new(migration(pb::MigrationState::Done)))
    }
}

fn migration(state: pb::MigrationState) -> pb::Migration {
    let model = |embedder: &str| pb::EmbeddingModel {
        embedder: embedder.to_owned(),
        version: "1".to_owned(),
        dimension: 512,
        same_cosine: 0.4,
        ..Default::default()
    };
    pb::Migration {
        number: 23,
        state: state.into(),
        from: Some(model("old")),
        to: Some(model("new")),
        author: "ada".to_owned(),
        exemplars_total: 10,
        exemplars_done: 4,
        exemplars_lost: 1,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl IdentityService for Fake {
    async fn get_identity(&self, r: Request<pb::GetIdentityRequest>) -> Answer<pb::Identity> {
        match r.into_inner().identity_id {
            id @ 1..=5 => Ok(Response::new(identity(id))),
            id => Err(error(
                Code::NotFound,
                "IDENTITY_NOT_FOUND",
                &format!("no identity {id}"),
            )),
        }
    }

    /// Five identities, two a page at most.
    async fn list_identities(
        &self,
        r: Request<pb::ListIdentitiesRequest>,
    ) -> Answer<pb::ListIdentitiesResponse> {
        let r = r.into_inner();
        if !r.name_contains.is_empty() {
            return Ok(Response::new(Default::default()));
        }
        let first: u64 = r.page_token.parse().unwrap_or(1);
        let next = (first + u64::try_from(r.page_size.clamp(1, 2)).unwrap()).min(6);
        Ok(Response::new(pb::ListIdentitiesResponse {
            identities: (first..next).map(identity).collect(),
            next_page_token: if next == 6 {
                String::new()
            } else {
                next.to_string()
            },
            total_count: 5,
            sequence: 7,
        }))
    }

    async fn rename_identity(&self, r: Request<pb::RenameIdentityRequest>) -> Answer<pb::Identity> {
        let r = r.into_inner();
        self.0.renames.lock().unwrap().push(r.clone());
        if r.etag == "stale" {
            return Err(error(
                Code::Aborted,
                "ETAG_MISMATCH",
                "identity 1 has changed",
            ));
        }
        Ok(Response::new(pb::Identity {
            name: r.name,
            ..identity(r.identity_id)
        }))
    }

    async fn create_identity(
        &self,
        r: Request<pb::CreateIdentityRequest>,
    ) -> Answer<pb::EditResponse> {
        self.0.creates.lock().unwrap().push(r.into_inner());
        Ok(Response::new(edit(pb::EditKind::Create)))
    }

    async fn update_identity(
        &self,
        r: Request<pb::UpdateIdentityRequest>,
    ) -> Answer<pb::EditResponse> {
        self.0.updates.lock().unwrap().push(r.into_inner());
        Ok(Response::new(edit(pb::EditKind::Update)))
    }

    async fn merge_identities(
        &self,
        r: Request<pb::MergeIdentitiesRequest>,
    ) -> Answer<pb::EditResponse> {
        self.0.merges.lock().unwrap().push(r.into_inner());
        Ok(Response::new(edit(pb::EditKind::Merge)))
    }

    /// Of sequence 7, 3 would become part of 1, and 4 and 5 are named.
    async fn cluster_identities(
        &self,
        r: Request<pb::ClusterIdentitiesRequest>,
    ) -> Answer<pb::ClusterIdentitiesResponse> {
        let apply = r.into_inner().apply;
        if !matches!(apply, 0 | 7) {
            let message = "there is no clustering of sequence 6 to apply";
            return Err(error(
                Code::FailedPrecondition,
                "CLUSTERING_OUTDATED",
                message,
            ));
        }
        let change = |kind: pb::ClusterChangeKind, one, other| pb::ClusterChange {
            kind: kind.into(),
            identity_id: one,
            other_identity_id: other,
            track_count: 2,
            track_ids: vec![5, 6],
            ..Default::default()
        };
        let merge = pb::ClusterChange {
            edit_sequence: if apply == 7 { 58 } else { 0 },
            ..change(pb::ClusterChangeKind::Merge, 3, 1)
        };
        Ok(Response::new(pb::ClusterIdentitiesResponse {
            sequence: 7,
            tracks: 12,
            identities_before: 5,
            identities_after: 4,
            changes: vec![merge, change(pb::ClusterChangeKind::Conflict, 4, 5)],
            left_out: 0,
        }))
    }

    async fn undo_edit(&self, r: Request<pb::UndoEditRequest>) -> Answer<pb::EditResponse> {
        let r = r.into_inner();
        self.0.undoings.lock().unwrap().push(r.clone());
        match r.sequence {
            57 => Ok(Response::new(edit(pb::EditKind::Undo))),
            _ => Err(error(
                Code::NotFound,
                "EDIT_NOT_FOUND",
                "record 1 is no edit",
            )),
        }
    }

    async fn move_tracks(&self, r: Request<pb::MoveTracksRequest>) -> Answer<pb::EditResponse> {
        self.0.moves.lock().unwrap().push(r.into_inner());
        Ok(Response::new(moved(pb::EditKind::Move)))
    }

    async fn split_identity(
        &self,
        r: Request<pb::SplitIdentityRequest>,
    ) -> Answer<pb::EditResponse> {
        self.0.splits.lock().unwrap().push(r.into_inner());
        Ok(Response::new(moved(pb::EditKind::Split)))
    }

    async fn link_tracks(&self, r: Request<pb::LinkTracksRequest>) -> Answer<pb::EditResponse> {
        self.0.links.lock().unwrap().push(r.into_inner());
        Ok(Response::new(moved(pb::EditKind::MustLink)))
    }

    async fn separate(&self, r: Request<pb::SeparateRequest>) -> Answer<pb::EditResponse> {
        self.0.separations.lock().unwrap().push(r.into_inner());
        Ok(Response::new(moved(pb::EditKind::CannotLink)))
    }

    async fn reject_tracks(&self, r: Request<pb::RejectTracksRequest>) -> Answer<pb::EditResponse> {
        self.0.rejections.lock().unwrap().push(r.into_inner());
        Ok(Response::new(moved(pb::EditKind::NotThisPerson)))
    }

    /// A photo is a number: how many faces it has. Whoever is named Taken is somebody already.
    async fn enrol_person(
        &self,
        r: Request<pb::EnrolPersonRequest>,
    ) -> Answer<pb::EnrolPersonResponse> {
        let r = r.into_inner();
        self.0.enrolments.lock().unwrap().push(r.clone());
        if r.name == "Taken" {
            let what = "identity 1 is named Taken already";
            return Err(error(Code::AlreadyExists, "NAME_TAKEN", what));
        }
        let photos: Vec<pb::PhotoResult> = r.photos.iter().map(photo_result).collect();
        let good = |it: &pb::PhotoResult| it.outcome() == pb::PhotoOutcome::Enrolled;
        let done = !r.validate_only && photos.iter().any(good);
        let done = done && (r.skip_unusable || photos.iter().all(good));
        let person = pb::Identity {
            name: r.name,
            ..identity(4)
        };
        Ok(Response::new(pb::EnrolPersonResponse {
            edit: done.then(|| pb::Edit {
                sequence: 57,
                kind: pb::EditKind::Enrol.into(),
                ..Default::default()
            }),
            identity: done.then_some(person),
            photos,
            resembles: vec![pb::NearIdentity {
                identity: Some(identity(1)),
                cosine: 0.75,
                barred: false,
            }],
        }))
    }

    async fn forget_fact(&self, r: Request<pb::ForgetFactRequest>) -> Answer<pb::EditResponse> {
        let r = r.into_inner();
        self.0.forgotten.lock().unwrap().push(r.clone());
        match r.fact_id {
            1 | 2 => Ok(Response::new(moved(pb::EditKind::ForgetFact))),
            _ => Err(error(Code::NotFound, "FACT_NOT_FOUND", "there is no fact")),
        }
    }

    /// Two facts, one a page.
    async fn list_facts(&self, r: Request<pb::ListFactsRequest>) -> Answer<pb::ListFactsResponse> {
        let r = r.into_inner();
        let last = r.page_token == "1" || r.track_id != 0;
        Ok(Response::new(pb::ListFactsResponse {
            facts: vec![fact(1 + u64::from(last))],
            next_page_token: if last { "" } else { "1" }.to_owned(),
        }))
    }

    /// Three items, one of each kind, one a page; or none.
    async fn list_review(
        &self,
        r: Request<pb::ListReviewRequest>,
    ) -> Answer<pb::ListReviewResponse> {
        if self.0.nothing_waits.load(Ordering::SeqCst) {
            return Ok(Response::new(Default::default()));
        }
        let number: u32 = r.into_inner().page_token.parse().unwrap_or(3);
        let candidate = |id, cosine| pb::ReviewCandidate {
            identity: Some(identity(id)),
            cosine,
        };
        let kind = pb::ReviewKind::try_from(i32::try_from(number).unwrap()).unwrap();
        let item = pb::ReviewItem {
            sequence: u64::from(number) * 10,
            kind: kind.into(),
            identity: Some(identity(7)),
            ..Default::default()
        };
        let item = match kind {
            pb::ReviewKind::TwoPeople => pb::ReviewItem {
                track_ids: vec![41, 42],
                cosine: Some(0.12),
                ..item
            },
            pb::ReviewKind::OnePerson => pb::ReviewItem {
                candidates: vec![candidate(1, 0.5)],
                ..item
            },
            pb::ReviewKind::Unspecified | pb::ReviewKind::WhichOne => pb::ReviewItem {
                candidates: vec![candidate(1, 0.43), candidate(12, 0.41)],
                ..item
            },
        };
        Ok(Response::new(pb::ListReviewResponse {
            items: vec![item],
            next_page_token: match number {
                1 => String::new(),
                _ => (number - 1).to_string(),
            },
            total_count: 3,
            sequence: 60,
        }))
    }

    async fn explain_track(
        &self,
        r: Request<pb::ExplainTrackRequest>,
    ) -> Answer<pb::TrackExplanation> {
        let track = r.into_inner().track_id;
        let decision = pb::TrackDecision {
            sequence: 50,
            kind: pb::DecisionKind::Join.into(),
            identity_id: 2,
            cosine: 0.61,
            runner_up_identity_id: 1,
            runner_up_cosine: 0.41,
            reason: "ABOVE_THRESHOLD".to_owned(),
            ..Default::default()
        };
        Ok(Response::new(pb::TrackExplanation {
            sighting: Some(sighting(track)),
            decisions: vec![decision],
            edits: vec![moved(pb::EditKind::Move).edit.unwrap()],
            facts: vec![fact(1)],
            cosine: Some(0.7),
            nearest: vec![pb::NearIdentity {
                identity: Some(identity(2)),
                cosine: 0.45,
                barred: true,
            }],
            sequence: 60,
        }))
    }

    /// Three edits, one a page.
    async fn list_edits(&self, r: Request<pb::ListEditsRequest>) -> Answer<pb::ListEditsResponse> {
        let sequence = r.into_inner().page_token.parse().unwrap_or(57);
        let one = pb::Edit {
            sequence,
            ..edit(pb::EditKind::Merge).edit.unwrap()
        };
        Ok(Response::new(pb::ListEditsResponse {
            edits: vec![one],
            next_page_token: if sequence == 55 {
                String::new()
            } else {
                (sequence - 1).to_string()
            },
        }))
    }
}

fn fact(id: u64) -> pb::Fact {
    pb::Fact {
        id,
        kind: pb::FactKind::TwoPeople.into(),
        track_id: 4,
        other_identity_id: 2,
        sequence: 57,
        current_identity_id: 1,
        other_current_identity_id: 2,
        ..Default::default()
    }
}

/// An edit that moves a track and says that it is not the one whose it was.
fn moved(kind: pb::EditKind) -> pb::EditResponse {
    let edit = pb::Edit {
        sequence: 57,
        author: "ada".to_owned(),
        kind: kind.into(),
        moves: vec![pb::TrackMove {
            from_identity_id: 2,
            into_identity_id: 1,
            track_count: 1,
            track_ids: vec![4],
        }],
        facts: vec![pb::FactChange {
            fact: Some(fact(1)),
            holds: true,
        }],
        fact_count: 1,
        left_track_ids: vec![9],
        left_track_count: 1,
        parts_left: vec![pb::PartLeft {
            identity_id: 1,
            part: "EXTERNAL_ID".to_owned(),
        }],
        ..Default::default()
    };
    pb::EditResponse {
        edit: Some(edit),
        identities: vec![identity(1)],
    }
}

/// The edit that whatever was asked for comes to.
fn photo_result(photo: &pb::EnrolPhoto) -> pb::PhotoResult {
    let outcome = match photo.image.as_slice() {
        b"0" => pb::PhotoOutcome::NoFaceFound,
        b"2" if photo.face_index.is_none() => pb::PhotoOutcome::SeveralFaces,
        _ => pb::PhotoOutcome::Enrolled,
    };
    pb::PhotoResult {
        label: photo.label.clone(),
        outcome: outcome.into(),
        face_count: 2,
        ..Default::default()
    }
}

fn edit(kind: pb::EditKind) -> pb::EditResponse {
    let profile = |name: &str| {
        Some(pb::Profile {
            name: name.to_owned(),
            state: pb::IdentityState::Active.into(),
            ..Default::default()
        })
    };
    let edit = pb::Edit {
        sequence: 57,
        author: "ada".to_owned(),
        reason: "the same glasses".to_owned(),
        kind: kind.into(),
        profiles: vec![pb::ProfileChange {
            identity_id: 1,
            before: profile(""),
            after: profile("Ada Lovelace"),
            ..Default::default()
        }],
        moves: vec![pb::TrackMove {
            from_identity_id: 2,
            into_identity_id: 1,
            track_count: 3,
            ..Default::default()
        }],
        redirects: vec![pb::RedirectChange {
            identity_id: 2,
            before: 0,
            after: 1,
        }],
        ..Default::default()
    };
    pb::EditResponse {
        edit: Some(edit),
        identities: vec![identity(1)],
    }
}

#[tonic::async_trait]
impl SearchService for Fake {
    async fn search_image(&self, r: Request<pb::SearchImageRequest>) -> Answer<pb::SearchResponse> {
        match r.into_inner().image.as_slice() {
            b"ada" => Ok(Response::new(pb::SearchResponse {
                verdict: pb::Verdict::Found.into(),
                hits: vec![pb::SearchHit {
                    identity: Some(identity(1)),
                    cosine: 0.742,
                    margin: 2.0,
                    sightings: vec![sighting(4)],
                    ..Default::default()
                }],
                faces: vec![pb::QueryFace::default()],
                ..Default::default()
            })),
            b"stranger" => Ok(Response::new(pb::SearchResponse {
                verdict: pb::Verdict::Unknown.into(),
                ..Default::default()
            })),
            b"wall" => Err(error(
                Code::FailedPrecondition,
                "NO_FACE_FOUND",
                "no face in the picture",
            )),
            _ => Err(error(
                Code::InvalidArgument,
                "IMAGE_UNREADABLE",
                "this is no picture",
            )),
        }
    }

    async fn search_embedding(
        &self,
        r: Request<pb::SearchEmbeddingRequest>,
    ) -> Answer<pb::SearchResponse> {
        let n = r.into_inner().embedding.len();
        Err(error(
            Code::FailedPrecondition,
            "MODEL_MISMATCH",
            &format!("{n} values, not 512"),
        ))
    }

    type FollowStream = Events<pb::FollowResponse>;
    async fn follow(&self, _: Request<pb::FollowRequest>) -> Answer<Self::FollowStream> {
        let past = pb::FollowResponse {
            event: Some(pb::follow_response::Event::Past(
                pb::SearchResponse::default(),
            )),
        };
        let hit = pb::FollowHit {
            sighting: Some(sighting(8)),
            identity: Some(identity(1)),
            cosine: 0.5,
            sequence: 3,
        };
        let live = pb::FollowResponse {
            event: Some(pb::follow_response::Event::Live(hit)),
        };
        Ok(Response::new(Box::pin(tokio_stream::iter([
            Ok(past),
            Ok(live),
        ]))))
    }
}

fn erasure(id: u64, state: pb::ErasureState) -> pb::Erasure {
    pb::Erasure {
        id,
        scope: pb::ErasureScope::Identity.into(),
        state: state.into(),
        author: "somebody".to_owned(),
        identity_ids: vec![7],
        identity_count: 1,
        track_count: 12,
        receipt: "ab".repeat(32),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl PrivacyService for Fake {
    /// Under way at first.
    async fn erase(&self, r: Request<pb::EraseRequest>) -> Answer<pb::Erasure> {
        self.0.erasures.lock().unwrap().push(r.into_inner());
        Ok(Response::new(erasure(40, pb::ErasureState::Running)))
    }

    async fn get_erasure(&self, r: Request<pb::GetErasureRequest>) -> Answer<pb::Erasure> {
        let id = r.into_inner().id;
        if id != 40 {
            return Err(error(
                Code::NotFound,
                "ERASURE_NOT_FOUND",
                "no such erasure",
            ));
        }
        Ok(Response::new(erasure(id, pb::ErasureState::Done)))
    }

    async fn list_erasures(
        &self,
        _: Request<pb::ListErasuresRequest>,
    ) -> Answer<pb::ListErasuresResponse> {
        Ok(Response::new(pb::ListErasuresResponse {
            erasures: vec![erasure(40, pb::ErasureState::Done)],
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl SightingService for Fake {
    async fn list_sightings(
        &self,
        r: Request<pb::ListSightingsRequest>,
    ) -> Answer<pb::ListSightingsResponse> {
        let sightings = match r.into_inner().identity_id {
            2 => Vec::new(),
            _ => vec![sighting(4), sighting(5)],
        };
        Ok(Response::new(pb::ListSightingsResponse {
            sightings,
            ..Default::default()
        }))
    }

    type ListTrackFacesStream = Events<pb::TrackFaces>;

    /// Two boxes of track 4, and one of a track that is on no list. Source 9 is on a server of old.
    async fn list_track_faces(
        &self,
        r: Request<pb::ListTrackFacesRequest>,
    ) -> Answer<Self::ListTrackFacesStream> {
        let r = r.into_inner();
        self.0.faces.lock().unwrap().push(r);
        if r.source_id == 9 {
            return Err(Status::unimplemented(""));
        }
        let face = |seconds, x| pb::SeenFace {
            time: stream_time(seconds),
            r#box: Some(pb::Box {
                x,
                y: 0.5,
                width: 0.1,
                height: 0.2,
            }),
            ..Default::default()
        };
        let message = |track_id, face| {
            Ok(pb::TrackFaces {
                track_id,
                identity_id: 1,
                faces: vec![face],
            })
        };
        Ok(Response::new(Box::pin(tokio_stream::iter([
            message(4, face(12, 0.25)),
            message(6, face(12, 0.0)),
            message(4, face(13, 0.5)),
        ]))))
    }

    async fn get_thumbnail(&self, _: Request<pb::GetThumbnailRequest>) -> Answer<pb::Thumbnail> {
        Ok(Response::new(pb::Thumbnail {
            jpeg: b"\xff\xd8jpeg".to_vec(),
            exemplar_id: 9,
        }))
    }
}

fn source(uri: &str, state: pb::SourceState) -> pb::Source {
    let last_error = ["FILE_NOT_FOUND", "TRUNCATED"]
        .into_iter()
        .find(|r| uri.contains(r));
    pb::Source {
        id: uri.len() as u64,
        uri: uri.to_owned(),
        name: "clip".to_owned(),
        kind: pb::SourceKind::File.into(),
        state: state.into(),
        last_error: last_error.map(|reason| pb::SourceError {
            reason: reason.to_owned(),
            message: "the file is not as it should be".to_owned(),
            position: stream_time(3),
        }),
        position: stream_time(3),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl SourceService for Fake {
    async fn add_source(&self, r: Request<pb::AddSourceRequest>) -> Answer<pb::Source> {
        let r = r.into_inner();
        self.0.adds.lock().unwrap().push(r.clone());
        if r.uri.contains("SOURCE_EXISTS") {
            let what = "it is a source already";
            return Err(error(Code::AlreadyExists, "SOURCE_EXISTS", what));
        }
        Ok(Response::new(source(&r.uri, pb::SourceState::Running)))
    }

    /// A folder holds two videos, one of them a source already, and a text.
    async fn find_files(&self, r: Request<pb::FindFilesRequest>) -> Answer<pb::FindFilesResponse> {
        let pattern = r.into_inner().pattern;
        let (names, skipped): (&[&str], &[&str]) = if pattern.ends_with("/folder") {
            (&["/a.mp4", "/SOURCE_EXISTS.mp4"], &["/notes.txt"])
        } else {
            (&[""], &[])
        };
        let skipped = skipped.iter().map(|name| pb::SkippedFile {
            path: format!("{pattern}{name}"),
            why: "not named like a video".to_owned(),
        });
        Ok(Response::new(pb::FindFilesResponse {
            uris: names
                .iter()
                .map(|name| format!("{pattern}{name}"))
                .collect(),
            skipped: skipped.collect(),
        }))
    }

    /// Over, in the way that the URI of the last one added asks for.
    async fn get_source(&self, r: Request<pb::GetSourceRequest>) -> Answer<pb::Source> {
        let Some(uri) = self.0.adds.lock().unwrap().last().map(|it| it.uri.clone()) else {
            let id = r.into_inner().source_id;
            let clip = source("/videos/clip.mp4", pb::SourceState::Ended);
            return Ok(Response::new(pb::Source { id, ..clip }));
        };
        let state = if uri.contains("FILE_NOT_FOUND") {
            pb::SourceState::Failed
        } else {
            pb::SourceState::Ended
        };
        Ok(Response::new(source(&uri, state)))
    }

    async fn list_sources(
        &self,
        _: Request<pb::ListSourcesRequest>,
    ) -> Answer<pb::ListSourcesResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn stop_source(&self, _: Request<pb::StopSourceRequest>) -> Answer<pb::Source> {
        Ok(Response::new(source("x", pb::SourceState::Stopped)))
    }
}

#[tonic::async_trait]
impl WatchService for Fake {
    type WatchStream = Events<pb::WatchEvent>;

    /// Two events a connection, then the server goes away; after event 4 the cursor is refused.
    async fn watch(&self, r: Request<pb::WatchRequest>) -> Answer<Self::WatchStream> {
        let r = r.into_inner();
        self.0.watches.lock().unwrap().push(r.clone());
        let after: u64 = r.cursor.parse().unwrap_or(0);
        if after >= 4 {
            return Err(error(Code::OutOfRange, "CURSOR_EXPIRED", "of another log"));
        }
        let started = pb::WatchEvent {
            event: Some(pb::watch_event::Event::Started(pb::Started::default())),
            ..Default::default()
        };
        let events = (after + 1..=after + 2).map(|sequence| pb::WatchEvent {
            cursor: sequence.to_string(),
            sequence,
            time: Some(Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            }),
            event: Some(pb::watch_event::Event::SightingStarted(
                pb::SightingStarted {
                    sighting: Some(sighting(sequence)),
                },
            )),
        });
        let items: Vec<_> = std::iter::once(started).chain(events).map(Ok).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(items))))
    }
}
