//! Going over to another contract: the tree is that of its embeddings.

use super::*;
use crate::core::{Asked, NewMigration, Pending, Reembedding, Step};
use rollcall_log::record::Model;

const OTHER_DIMENSION: usize = 8;
/// From how similar on two faces are one person's under the other contract.
pub(super) const OTHER_COSINE: f32 = 0.9;

/// The person's face, under the contract of that many values. Under the other one, people 0 and 1 are one, and 2 is
/// similar to them, but not enough.
fn under(dimension: usize, person: u8) -> Embedding {
    if dimension == DIMENSION {
        return face(usize::from(person), 0.1);
    }
    let mut values = vec![0.0; dimension];
    match person {
        0 | 1 => values[0] = 1.0,
        2 => (values[0], values[1]) = (0.8, 0.6),
        person => values[usize::from(person)] = 1.0,
    }
    Embedding::normalise(values).unwrap()
}

fn model(contract: &str, dimension: usize, same_cosine: f32) -> Model {
    Model {
        contract: contract.to_owned(),
        embedder: format!("embedder of {contract}"),
        dimension: u32::try_from(dimension).unwrap(),
        same_cosine,
        ..Model::default()
    }
}

impl Stage {
    /// Somebody whom the picture shows.
    async fn see_pictured(&mut self, person: u8) {
        self.key += 1;
        let at = i64::try_from(self.key).unwrap() * 10;
        let dimension = self.core.view().index.dimension();
        let mut seen = exemplar(1, 0.8, &under(dimension, person));
        seen.crop = vec![person];
        let seen = track(self.key, 1, (at, at + 5), vec![seen]);
        self.observe(closed(seen)).await;
    }

    async fn step(&self, step: Step) {
        self.core.migrate(step).await.unwrap();
    }

    async fn embed_and_switch(&mut self) {
        let contracts = self.core.view().contracts.clone();
        let number = contracts.migrating().unwrap().number;
        let dimension = contracts.other().unwrap().dimension;
        let log = self.core.log();
        let one = |pending: Pending| {
            let person = log.blob(&pending.crop.unwrap()).unwrap()[0];
            Reembedding {
                exemplar: pending.exemplar,
                embedding: Some(under(dimension, person).to_f16_bytes()),
            }
        };
        let pending = self.core.catalog().pending(number, 1000).unwrap();
        let exemplars = pending.into_iter().map(one).collect();
        self.step(Step::Reembedded { number, exemplars }).await;
        self.step(Step::Hold(true)).await;
        self.step(Step::Switch { number }).await;
        self.begin("p").await;
    }

    async fn reopened_if(self, down: Option<Down>) -> Self {
        match down {
            Some(down) => self.reopened(down, Assigner::Hri).await,
            None => self,
        }
    }
}

#[tokio::test]
async fn hri_goes_over_to_another_contract_and_back() {
    for down in [None, Some(Down::Closed), Some(Down::WithoutCatalog)] {
        let mut stage = Stage::new(Assigner::Hri).await;
        for person in [0, 1, 2, 0] {
            stage.see_pictured(person).await;
        }
        stage.last_is(1, WITHIN);
        let new = NewMigration {
            from: model(CONTRACT, DIMENSION, 0.4),
            to: model("other", OTHER_DIMENSION, OTHER_COSINE),
            allow_loss: false,
        };
        let start = Step::Start(Box::new(new), Asked::default());
        stage.step(start).await;
        // Still by the old one.
        stage.see_pictured(3).await;
        stage.last_is(4, BEYOND);
        stage.embed_and_switch().await;
        let mut stage = stage.reopened_if(down).await;
        // 1 comes to the endnode that 0 has founded. 2 has its own still: the threshold is the new one.
        for (person, identity) in [(1, 1), (2, 3), (3, 4)] {
            stage.see_pictured(person).await;
            stage.last_is(identity, WITHIN);
        }
        stage.see_pictured(4).await;
        stage.last_is(5, BEYOND);
        let (allow_loss, asked) = (false, Asked::default());
        stage.step(Step::RollBack { allow_loss, asked }).await;
        stage.embed_and_switch().await;
        let mut stage = stage.reopened_if(down).await;
        for (person, identity) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)] {
            stage.see_pictured(person).await;
            stage.last_is(identity, WITHIN);
        }
        stage.see_pictured(5).await;
        stage.last_is(6, BEYOND);
        stage.core.close().await;
    }
}
