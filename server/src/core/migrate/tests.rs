//! Migrations beside new tracks and edits, and reopened after each record.

mod killed;
mod random;

use super::{Asked, NewMigration, Reembedding, Step};
use crate::core::catalog::Pending;
use crate::core::tests::{DIMENSION, face};
use crate::pb;
use rollcall_index::Embedding;
use rollcall_log::LogReader;
use rollcall_log::record::Model;

/// Values of an embedding of the other contract.
const OTHER_DIMENSION: usize = 8;

fn model(contract: &str, dimension: usize) -> Model {
    Model {
        contract: contract.to_owned(),
        embedder: format!("embedder of {contract}"),
        dimension: u32::try_from(dimension).unwrap(),
        same_cosine: 0.4,
        ..Model::default()
    }
}

pub(in crate::core) fn start(allow_loss: bool) -> Step {
    let new = NewMigration {
        from: model("test", DIMENSION),
        to: model("other", OTHER_DIMENSION),
        allow_loss,
    };
    Step::Start(Box::new(new), Asked::default())
}

/// The person's face, under the contract of that many values.
pub(in crate::core) fn under(dimension: usize, person: u8) -> Embedding {
    if dimension == DIMENSION {
        return face(usize::from(person) % DIMENSION, 0.1);
    }
    let mut values = vec![0.05; dimension];
    values[usize::from(person) % dimension] = 1.0;
    Embedding::normalise(values).unwrap()
}

/// A face of which the picture says who it is; no picture says nothing.
pub(in crate::core) fn exemplar(
    number: u32,
    dimension: usize,
    (person, pictured): (u8, bool),
) -> pb::ObservedExemplar {
    pb::ObservedExemplar {
        number,
        quality: 0.8,
        embedding: under(dimension, person).to_f16_bytes(),
        crop: if pictured { vec![person] } else { Vec::new() },
        ..pb::ObservedExemplar::default()
    }
}

/// What an embedder of that many values makes of exemplars.
pub(in crate::core) fn embedded(
    log: &LogReader,
    dimension: usize,
    pending: Vec<Pending>,
) -> Vec<Reembedding> {
    let one = |pending: Pending| Reembedding {
        exemplar: pending.exemplar,
        embedding: pending.crop.map(|crop| {
            let person = log.blob(&crop).unwrap()[0];
            under(dimension, person).to_f16_bytes()
        }),
    };
    pending.into_iter().map(one).collect()
}
