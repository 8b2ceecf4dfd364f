//! What a webhook gets: `docs/alerts.md` describes it.

use crate::core::{AlertRow, AlertRuleRow, Core, Cursor, as_shown_alert};
use crate::error::ApiError;
use crate::hex::to_hex;
use crate::pb;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// The alert's name for ever: that of its log, and its record.
pub(super) fn id_of(core: &Core, alert: &AlertRow) -> String {
    format!("{}-{}", core.log().id(), alert.sequence)
}

/// The body of the request. Names are those of now.
pub(super) fn body(
    core: &Core,
    rule: &AlertRuleRow,
    alert: &AlertRow,
    include_crop: bool,
) -> Result<Vec<u8>, ApiError> {
    let catalog = core.catalog();
    let shown = as_shown_alert(alert);
    let identity = catalog.identity(shown.identity_id)?.unwrap_or_default();
    let source = catalog.source(shown.source_id)?;
    let mut value = json!({
        "id": id_of(core, alert),
        "sequence": alert.sequence,
        "cursor": cursor(core, alert.sequence),
        "kind": match shown.kind() {
            pb::AlertKind::Left => "left",
            pb::AlertKind::Appeared | pb::AlertKind::Unspecified => "appeared",
        },
        "time": moment(shown.time),
        "rule": { "id": rule.id, "name": shown.rule_name },
        "identity": {
            "id": shown.identity_id,
            "resolved_id": identity.id,
            "name": text(&identity.name),
            "external_id": text(&identity.external_id),
        },
        "source": {
            "id": shown.source_id,
            "name": source.as_ref().map(|source| source.name.clone()),
        },
        "track_id": shown.track_id,
        "seen": moment(shown.seen),
        "position_s": shown.position.map(seconds),
        "cosine": shown.cosine,
        "appearance": shown.appearance,
        "exemplar_id": shown.best_exemplar_id,
        "appeared_sequence": shown.appeared_sequence,
    });
    if include_crop {
        value["crop_jpeg_base64"] = match crop(core, shown.best_exemplar_id) {
            Some(jpeg) => Value::String(STANDARD.encode(jpeg)),
            None => Value::Null,
        };
    }
    serde_json::to_vec(&value).map_err(|_| ApiError::Internal("an alert cannot be written as JSON"))
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256, with the secret as its key, of the seconds, a dot and the body.
pub(super) fn signature(secret: &[u8], unix_seconds: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return String::new();
    };
    mac.update(unix_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex = to_hex(&mac.finalize().into_bytes());
    format!("t={unix_seconds},v1={hex}")
}

fn cursor(core: &Core, sequence: u64) -> String {
    let log = core.log();
    Cursor {
        log_id: log.id().to_string(),
        epoch: log.epoch(),
        sequence,
        number: 0,
    }
    .encode()
}

/// The picture, unless it is gone: an alert without is better than none.
fn crop(core: &Core, exemplar: u64) -> Option<Vec<u8>> {
    let row = core.catalog().exemplar(exemplar).ok()??;
    let reference = row.loose_crop.or(row.crop)?;
    core.log().blob(&reference).ok()
}

fn moment(at: Option<prost_types::Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// Stream time is far below 2^53 microseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "stream times are far below 2^53 microseconds"
)]
fn seconds(at: prost_types::Duration) -> f64 {
    crate::time::duration_us(&at) as f64 / 1e6
}

fn text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of `docs/alerts.md`, made with another implementation.
    #[test]
    fn a_signature_is_the_manual_s() {
        let made = signature(b"s3cret", 1_700_000_000, b"{\"id\":\"x\"}");
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let manual = std::fs::read_to_string(root.join("../docs/alerts.md")).unwrap();
        assert!(manual.contains(&made), "{made}");
    }
}
