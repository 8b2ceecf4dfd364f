//! The JSON that is promised in docs/cli.md: field names here are public and stay.
use std::collections::{BTreeMap, HashMap};

use prost_types::{Duration, Timestamp};
use rollcall_client::{pb, time};
use serde::Serialize;

use super::format::enum_name;

mod alert;
mod edits;
mod erasure;
mod review;

pub(crate) use alert::{Alert, AlertRule};
pub(crate) use edits::{Edit, Explanation, Fact};
pub(crate) use erasure::Erasure;
pub(crate) use review::ReviewItem;

/// Seconds of stream time.
pub(crate) fn seconds(at: Option<&Duration>) -> Option<f64> {
    at.map(time::seconds)
}

/// Wall clock as RFC 3339.
pub(crate) fn moment(at: Option<&Timestamp>) -> Option<String> {
    at.map(ToString::to_string)
}

/// Empty text is `null`.
pub(crate) fn text(text: &str) -> Option<String> {
    Some(text)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// 0 is no id.
pub(crate) fn id(id: u64) -> Option<u64> {
    Some(id).filter(|id| *id != 0)
}

#[derive(Debug, Serialize)]
pub(crate) struct Identity {
    id: u64,
    name: Option<String>,
    state: String,
    created: Option<String>,
    first_seen: Option<String>,
    last_seen: Option<String>,
    tracks: u64,
    photos: u64,
    exemplars: u64,
    screen_time_s: Option<f64>,
    cover_exemplar_id: Option<u64>,
    etag: Option<String>,
    external_id: Option<String>,
    confirmed: bool,
    metadata: BTreeMap<String, String>,
}

impl From<&pb::Identity> for Identity {
    fn from(from: &pb::Identity) -> Self {
        Self {
            id: from.id,
            name: text(&from.name),
            state: enum_name(from.state().as_str_name(), "IDENTITY_STATE_"),
            created: moment(from.create_time.as_ref()),
            first_seen: moment(from.first_seen.as_ref()),
            last_seen: moment(from.last_seen.as_ref()),
            tracks: from.track_count,
            photos: from.photo_count,
            exemplars: from.exemplar_count,
            screen_time_s: seconds(from.screen_time.as_ref()),
            cover_exemplar_id: id(from.cover_exemplar_id),
            etag: text(&from.etag),
            external_id: text(&from.external_id),
            confirmed: from.confirmed,
            metadata: sorted(&from.metadata),
        }
    }
}

fn sorted(map: &HashMap<String, String>) -> BTreeMap<String, String> {
    map.clone().into_iter().collect()
}

#[derive(Debug, Serialize)]
struct EmbeddingModel {
    contract: String,
    embedder: String,
    version: String,
    dimension: u32,
    same_cosine: f32,
}

impl From<&pb::EmbeddingModel> for EmbeddingModel {
    fn from(from: &pb::EmbeddingModel) -> Self {
        Self {
            contract: from.contract.clone(),
            embedder: from.embedder.clone(),
            version: from.version.clone(),
            dimension: from.dimension,
            same_cosine: from.same_cosine,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Migration {
    number: Option<u64>,
    state: Option<String>,
    from: Option<EmbeddingModel>,
    to: Option<EmbeddingModel>,
    started: Option<String>,
    author: Option<String>,
    allow_loss: bool,
    exemplars: u64,
    exemplars_done: u64,
    exemplars_lost: u64,
    identities_lost: Option<u64>,
    disk_bytes: Option<u64>,
    fault: Option<String>,
    fault_message: Option<String>,
}

impl From<&pb::Migration> for Migration {
    fn from(from: &pb::Migration) -> Self {
        let dry = from.number == 0;
        Self {
            number: id(from.number),
            state: migration_state(from.state()),
            from: from.from.as_ref().map(EmbeddingModel::from),
            to: from.to.as_ref().map(EmbeddingModel::from),
            started: moment(from.start_time.as_ref()),
            author: text(&from.author),
            allow_loss: from.allow_loss,
            exemplars: from.exemplars_total,
            exemplars_done: from.exemplars_done,
            exemplars_lost: from.exemplars_lost,
            identities_lost: dry.then_some(from.identities_lost),
            disk_bytes: dry.then_some(from.disk_bytes),
            fault: text(&from.fault),
            fault_message: text(&from.fault_message),
        }
    }
}

/// Nothing if it is not said.
pub(crate) fn migration_state(state: pb::MigrationState) -> Option<String> {
    let said = state != pb::MigrationState::Unspecified;
    said.then(|| enum_name(state.as_str_name(), "MIGRATION_STATE_"))
}

#[derive(Debug, Serialize)]
pub(crate) struct Sighting {
    identity_id: u64,
    track_id: u64,
    source_id: u64,
    source_name: Option<String>,
    start_s: Option<f64>,
    end_s: Option<f64>,
    start_frame: i64,
    end_frame: i64,
    wall_start: Option<String>,
    open: bool,
    best_exemplar_id: Option<u64>,
    exemplars: u32,
    cosine: f32,
    attributes: Vec<Attribute>,
}

/// What the faces of a track say beside who it is.
#[derive(Debug, Serialize)]
pub(crate) struct Attribute {
    name: String,
    label: Option<String>,
    value: f32,
    spread: f32,
    faces: u32,
    unit: Option<String>,
}

impl From<&pb::Attribute> for Attribute {
    fn from(from: &pb::Attribute) -> Self {
        Self {
            name: from.name.clone(),
            label: text(&from.label),
            value: from.value,
            spread: from.spread,
            faces: from.faces,
            unit: text(&from.unit),
        }
    }
}

impl From<&pb::Sighting> for Sighting {
    fn from(from: &pb::Sighting) -> Self {
        Self {
            identity_id: from.identity_id,
            track_id: from.track_id,
            source_id: from.source_id,
            source_name: text(&from.source_name),
            start_s: seconds(from.start.as_ref()),
            end_s: seconds(from.end.as_ref()),
            start_frame: from.start_frame,
            end_frame: from.end_frame,
            wall_start: moment(from.wall_start.as_ref()),
            open: from.open,
            best_exemplar_id: id(from.best_exemplar_id),
            exemplars: from.exemplar_count,
            cosine: from.cosine,
            attributes: from.attributes.iter().map(Attribute::from).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct SourceError {
    reason: String,
    message: String,
    position_s: Option<f64>,
}

impl From<&pb::SourceError> for SourceError {
    fn from(from: &pb::SourceError) -> Self {
        Self {
            reason: from.reason.clone(),
            message: from.message.clone(),
            position_s: seconds(from.position.as_ref()),
        }
    }
}

#[derive(Debug, Serialize)]
struct Media {
    container: String,
    codec: String,
    width: u32,
    height: u32,
    frames_per_second: f64,
    duration_s: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Counters {
    frames_decoded: u64,
    frames_dropped: u64,
    frames_detected: u64,
    frames_rejected: BTreeMap<String, u64>,
    shots: u64,
    faces_detected: u64,
    faces_rejected: BTreeMap<String, u64>,
    faces_embedded: u64,
    tracks: u64,
    stage_s: BTreeMap<String, f64>,
    reconnects: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Source {
    id: u64,
    uri: String,
    name: Option<String>,
    kind: String,
    state: String,
    error: Option<SourceError>,
    created: Option<String>,
    media: Option<Media>,
    position_s: Option<f64>,
    complete_up_to_s: Option<f64>,
    counters: Option<Counters>,
    worker_restarts: u32,
    realtime: bool,
    sequence: u64,
    lag_s: Option<f64>,
}

impl From<&pb::Source> for Source {
    fn from(from: &pb::Source) -> Self {
        Self {
            id: from.id,
            uri: from.uri.clone(),
            name: text(&from.name),
            kind: enum_name(from.kind().as_str_name(), "SOURCE_KIND_"),
            state: source_state(from.state()),
            error: from.last_error.as_ref().map(SourceError::from),
            created: moment(from.create_time.as_ref()),
            media: from.media.as_ref().map(|media| Media {
                container: media.container.clone(),
                codec: media.codec.clone(),
                width: media.width,
                height: media.height,
                frames_per_second: media.frames_per_second,
                duration_s: seconds(media.duration.as_ref()),
            }),
            position_s: seconds(from.position.as_ref()),
            complete_up_to_s: seconds(from.complete_up_to.as_ref()),
            counters: from.counters.as_ref().map(counters),
            worker_restarts: from.worker_restarts,
            realtime: from.realtime,
            sequence: from.sequence,
            lag_s: seconds(from.lag.as_ref()),
        }
    }
}

fn counters(from: &pb::SourceCounters) -> Counters {
    let by_reason =
        |map: &std::collections::HashMap<String, u64>| map.clone().into_iter().collect();
    Counters {
        frames_decoded: from.frames_decoded,
        frames_dropped: from.frames_dropped,
        frames_detected: from.frames_detected,
        frames_rejected: by_reason(&from.frames_rejected),
        shots: from.shots,
        faces_detected: from.faces_detected,
        faces_rejected: by_reason(&from.faces_rejected),
        faces_embedded: from.faces_embedded,
        tracks: from.tracks,
        stage_s: from.stage_seconds.clone().into_iter().collect(),
        reconnects: from.reconnects,
    }
}

/// `ended`, `running`, ...
pub(crate) fn source_state(state: pb::SourceState) -> String {
    enum_name(state.as_str_name(), "SOURCE_STATE_")
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    verdict: String,
    hits: Vec<Hit>,
    faces: Vec<QueryFace>,
    used_face_index: Option<u32>,
    sequence: u64,
    timings: Timings,
}

#[derive(Debug, Serialize)]
struct Hit {
    identity: Option<Identity>,
    cosine: f32,
    margin: f32,
    best_exemplar_id: Option<u64>,
    best_exemplar_cosine: f32,
    confidence: Option<f32>,
    false_positive_rate: Option<f32>,
    sightings: Vec<Sighting>,
}

#[derive(Debug, Serialize)]
struct QueryFace {
    index: usize,
    r#box: Option<Box>,
    confidence: f32,
    quality: f32,
    rejection: Option<String>,
}

#[derive(Debug, Serialize)]
struct Box {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

/// Seconds; `round_trip_s` as measured here, the rest by the server.
#[derive(Debug, Serialize)]
struct Timings {
    decode_s: Option<f64>,
    detect_s: Option<f64>,
    embed_s: Option<f64>,
    search_s: Option<f64>,
    total_s: Option<f64>,
    round_trip_s: Option<f64>,
}

impl Answer {
    pub(crate) fn new(from: &pb::SearchResponse, round_trip_s: Option<f64>) -> Self {
        let timings = from.timings.unwrap_or_default();
        Self {
            verdict: verdict(from.verdict()),
            hits: from.hits.iter().map(hit).collect(),
            faces: from
                .faces
                .iter()
                .enumerate()
                .map(|(i, face)| query_face(i, face))
                .collect(),
            used_face_index: Some(from.used_face_index).filter(|_| !from.faces.is_empty()),
            sequence: from.sequence,
            timings: Timings {
                decode_s: seconds(timings.decode.as_ref()),
                detect_s: seconds(timings.detect.as_ref()),
                embed_s: seconds(timings.embed.as_ref()),
                search_s: seconds(timings.search.as_ref()),
                total_s: seconds(timings.total.as_ref()),
                round_trip_s,
            },
        }
    }
}

/// `found`, `unknown`, `ambiguous`.
pub(crate) fn verdict(verdict: pb::Verdict) -> String {
    enum_name(verdict.as_str_name(), "VERDICT_")
}

fn hit(from: &pb::SearchHit) -> Hit {
    Hit {
        identity: from.identity.as_ref().map(Identity::from),
        cosine: from.cosine,
        margin: from.margin,
        best_exemplar_id: id(from.best_exemplar_id),
        best_exemplar_cosine: from.best_exemplar_cosine,
        confidence: from.confidence,
        false_positive_rate: from.false_positive_rate,
        sightings: from.sightings.iter().map(Sighting::from).collect(),
    }
}

fn query_face(index: usize, from: &pb::QueryFace) -> QueryFace {
    QueryFace {
        index,
        r#box: from.r#box.map(|b| Box {
            x: b.x,
            y: b.y,
            width: b.width,
            height: b.height,
        }),
        confidence: from.confidence,
        quality: from.quality,
        rejection: text(&from.rejection),
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Status {
    version: String,
    log_id: String,
    epoch: u64,
    visible_sequence: u64,
    durable_sequence: u64,
    write_state: String,
    identities: u64,
    exemplars: u64,
    tracks: u64,
    sources: u64,
    sources_running: u64,
    contract: String,
    detector: String,
    embedder: String,
    dimension: u32,
    same_cosine: f32,
    started: Option<String>,
    log_bytes: u64,
    blob_bytes: u64,
    watchers: u64,
    calibration: Option<Calibration>,
}

#[derive(Debug, Serialize)]
struct Calibration {
    identities: u64,
    trials: u64,
    cosine_at_1_percent: f32,
    cosine_at_1_permille: f32,
}

impl From<&pb::Status> for Status {
    fn from(from: &pb::Status) -> Self {
        Self {
            version: from.version.clone(),
            log_id: from.log_id.clone(),
            epoch: from.epoch,
            visible_sequence: from.visible_sequence,
            durable_sequence: from.durable_sequence,
            write_state: from.write_state.clone(),
            identities: from.identities,
            exemplars: from.exemplars,
            tracks: from.tracks,
            sources: from.sources,
            sources_running: from.sources_running,
            contract: from.contract.clone(),
            detector: from.detector.clone(),
            embedder: from.embedder.clone(),
            dimension: from.dimension,
            same_cosine: from.same_cosine,
            started: moment(from.start_time.as_ref()),
            log_bytes: from.log_bytes,
            blob_bytes: from.blob_bytes,
            watchers: from.watchers,
            calibration: from.calibration.as_ref().map(|found| Calibration {
                identities: found.identities,
                trials: found.trials,
                cosine_at_1_percent: found.cosine_at_1_percent,
                cosine_at_1_permille: found.cosine_at_1_permille,
            }),
        }
    }
}
