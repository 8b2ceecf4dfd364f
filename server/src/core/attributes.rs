//! Attributes of tracks on their way: from a worker into the log, the catalog, and the API.

use crate::pb;
use prost::Message as _;
use rollcall_log::record::{Attribute, TrackObserved};

/// As the log has what a worker has sent.
pub(super) fn recorded(sent: &[pb::Attribute]) -> Vec<Attribute> {
    let one = |from: &pb::Attribute| Attribute {
        name: from.name.clone(),
        label: from.label.clone(),
        value: from.value,
        spread: from.spread,
        faces: from.faces,
        unit: from.unit.clone(),
    };
    sent.iter().map(one).collect()
}

/// As the API shows what the log has.
pub(crate) fn shown(recorded: &[Attribute]) -> Vec<pb::Attribute> {
    let one = |from: &Attribute| pb::Attribute {
        name: from.name.clone(),
        label: from.label.clone(),
        value: from.value,
        spread: from.spread,
        faces: from.faces,
        unit: from.unit.clone(),
    };
    recorded.iter().map(one).collect()
}

/// A column of the catalog: a record that holds nothing else. Nothing for none.
pub(super) fn to_column(recorded: &[Attribute]) -> Option<Vec<u8>> {
    let record = TrackObserved {
        attributes: recorded.to_vec(),
        ..TrackObserved::default()
    };
    (!recorded.is_empty()).then(|| record.encode_to_vec())
}

/// What [`to_column`] has made. The catalog is only a view: what cannot be read is nothing.
pub(super) fn from_column(column: Option<Vec<u8>>) -> Vec<Attribute> {
    let record = column.and_then(|bytes| TrackObserved::decode(bytes.as_slice()).ok());
    record.map(|record| record.attributes).unwrap_or_default()
}
