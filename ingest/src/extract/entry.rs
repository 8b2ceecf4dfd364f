//! What is known of one track while it is open.

use std::collections::BTreeMap;

use rollcall_log::{
    AppendError, Log,
    record::{Attribute, BlobRef, Exemplar, FaceBox, TrackObserved},
};

use super::SOURCE_ID;
use crate::attribute;
use crate::observe::{ObservedExemplar, ObservedFace, TrackKey, TrackObservation};

pub(super) struct TrackEntry {
    pub(super) id: u64,
    /// Id in the log and quality of each exemplar, by its number.
    exemplars: BTreeMap<u32, (u64, f32)>,
    boxes: u64,
    span: [i64; 4],
    /// As the log has them.
    attributes: Vec<Attribute>,
}

impl TrackEntry {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            exemplars: BTreeMap::new(),
            boxes: 0,
            span: [0; 4],
            attributes: Vec::new(),
        }
    }

    /// The record of one observation; its payloads are put into the log.
    pub(super) fn record(
        &mut self,
        track: TrackObservation,
        loose: Vec<(u32, Vec<u8>)>,
        next_exemplar: &mut u64,
        log: &mut Log,
    ) -> Result<TrackObserved, AppendError> {
        self.span = [
            track.start.micros(),
            track.end.micros(),
            track.start_frame.signed(),
            track.end_frame.signed(),
        ];
        self.boxes += u64::try_from(track.faces.len()).unwrap_or(0);
        if !track.attributes.is_empty() {
            self.attributes = track.attributes.iter().map(attribute_record).collect();
        }
        let dropped = track.dropped_exemplars.iter();
        let dropped: Vec<u64> = dropped
            .filter_map(|number| self.exemplars.remove(number))
            .map(|(id, _)| id)
            .collect();
        let mut exemplars = Vec::new();
        for (exemplar, (_, loose)) in track.exemplars.iter().zip(&loose) {
            let id = *next_exemplar;
            *next_exemplar += 1;
            self.exemplars
                .insert(exemplar.number, (id, exemplar.quality));
            exemplars.push(exemplar_record(id, exemplar, loose, log)?);
        }
        let best = self.exemplars.values().max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(TrackObserved {
            track_id: self.id,
            source_id: SOURCE_ID,
            track_key: track.key.get(),
            revision: track.revision,
            closed: track.closed,
            start_us: self.span[0],
            end_us: self.span[1],
            start_frame: self.span[2],
            end_frame: self.span[3],
            wall_start_us: track.wall_start.unix_micros(),
            boxes: track.faces.iter().map(face_record).collect(),
            exemplars,
            dropped_exemplar_ids: dropped,
            decision: None,
            best_exemplar_id: best.map_or(0, |(id, _)| *id),
            exemplar_count: u32::try_from(self.exemplars.len()).unwrap_or(u32::MAX),
            joined_similarity: 0.0,
            attributes: self.attributes.clone(),
            ..TrackObserved::default()
        })
    }

    /// The track as one line of JSON.
    pub(super) fn line(&self, key: TrackKey) -> serde_json::Value {
        let seconds = |micros: i64| micros as f64 / 1e6;
        let best = self
            .exemplars
            .values()
            .map(|(_, quality)| *quality)
            .fold(0.0, f32::max);
        let mut line = serde_json::json!({
            "track": self.id,
            "key": key.get(),
            "start_s": seconds(self.span[0]),
            "end_s": seconds(self.span[1]),
            "start_frame": self.span[2],
            "end_frame": self.span[3],
            "boxes": self.boxes,
            "exemplars": self.exemplars.keys().collect::<Vec<_>>(),
            "quality": thousandths(best),
        });
        if !self.attributes.is_empty() {
            let each = self.attributes.iter();
            line["attributes"] = each.map(|a| (a.name.clone(), attribute_json(a))).collect();
        }
        line
    }

    pub(super) fn exemplar_count(&self) -> u64 {
        u64::try_from(self.exemplars.len()).unwrap_or(0)
    }

    pub(super) fn length_us(&self) -> i64 {
        self.span[1] - self.span[0]
    }
}

fn attribute_record(attribute: &attribute::Attribute) -> Attribute {
    Attribute {
        name: attribute.name.clone(),
        label: attribute.label.clone(),
        value: attribute.value,
        spread: attribute.spread,
        faces: attribute.faces,
        unit: attribute.unit.clone(),
    }
}

fn attribute_json(attribute: &Attribute) -> serde_json::Value {
    let mut json = serde_json::json!({
        "value": thousandths(attribute.value),
        "spread": thousandths(attribute.spread),
        "faces": attribute.faces,
    });
    for (key, text) in [("label", &attribute.label), ("unit", &attribute.unit)] {
        if !text.is_empty() {
            json[key] = text.as_str().into();
        }
    }
    json
}

fn thousandths(value: f32) -> f64 {
    (f64::from(value) * 1000.0).round() / 1000.0
}

fn exemplar_record(
    id: u64,
    exemplar: &ObservedExemplar,
    loose: &[u8],
    log: &mut Log,
) -> Result<Exemplar, AppendError> {
    let mut put =
        |bytes: &[u8]| -> Result<Option<BlobRef>, AppendError> { log.put_blob(bytes).map(Some) };
    Ok(Exemplar {
        exemplar_id: id,
        face: Some(face_record(&exemplar.face)),
        landmarks: exemplar.landmarks.to_vec(),
        quality: exemplar.quality,
        embedding: put(&exemplar.embedding.to_f16_bytes())?,
        crop: put(&exemplar.crop)?,
        loose_crop: put(loose)?,
        number: exemplar.number,
    })
}

fn face_record(face: &ObservedFace) -> FaceBox {
    FaceBox {
        frame: face.frame.signed(),
        time_us: face.time.micros(),
        x: face.rect.x,
        y: face.rect.y,
        width: face.rect.width,
        height: face.rect.height,
        confidence: face.confidence,
    }
}
