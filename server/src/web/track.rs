//! One track: why it belongs to whom it belongs to.

use super::card::Card;
use super::facts::FactLine;
use super::form::Query;
use super::guard::Visit;
use super::layout::{Done, Here, Layout, Person};
use super::trouble::{Trouble, shown};
use super::words::{self, Moment};
use crate::pb::{self, DecisionKind};
use crate::service::Identities;
use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use std::sync::Arc;

/// What the rule decided, in words.
struct Decided {
    text: String,
    reason: String,
    time: Moment,
}

/// Somebody whom the track resembles.
struct Near {
    person: Person,
    cosine: String,
    barred: bool,
}

#[derive(Template)]
#[template(path = "track.html")]
struct TrackPage {
    layout: Layout,
    card: Card,
    person: Person,
    /// To whose it is, its own faces left out; empty: there are no others.
    cosine: String,
    decisions: Vec<Decided>,
    edits: Vec<Done>,
    facts: Vec<FactLine>,
    nearest: Vec<Near>,
}

/// The track with this id.
pub(super) async fn page(
    visit: Visit,
    Path(id): Path<u64>,
    query: Query,
) -> Result<Response, Trouble> {
    let identities = Identities(Arc::clone(&visit.edge));
    let explained = identities.explain(id).await?;
    let sighting = explained.sighting.unwrap_or_default();
    let person = identities.get(sighting.identity_id).await?;
    let read = visit.edge.read(move |catalog| catalog.exemplars_of(&[id]));
    let crops = read.await?.into_iter().map(|(_, exemplar)| exemplar);
    let card = Card::of(&sighting, crops.collect());
    let near = |near: &pb::NearIdentity| {
        near.identity.as_ref().map(|identity| Near {
            person: Person::of(identity),
            cosine: words::cosine(near.cosine),
            barred: near.barred,
        })
    };
    Ok(shown(&TrackPage {
        layout: Layout::new(visit, Here::People, &query).await?,
        card,
        person: Person::of(&person),
        cosine: explained.cosine.map(words::cosine).unwrap_or_default(),
        decisions: explained.decisions.iter().map(decided).collect(),
        edits: explained.edits.iter().rev().map(Done::of).collect(),
        facts: explained.facts.iter().map(FactLine::of).collect(),
        nearest: explained.nearest.iter().filter_map(near).collect(),
    }))
}

fn decided(decision: &pb::TrackDecision) -> Decided {
    let id = decision.identity_id;
    let at = words::cosine(decision.cosine);
    let from = match decision.previous_identity_id {
        0 => String::new(),
        previous if previous == id => String::new(),
        previous if decision.absorbs_previous => {
            format!("; person {previous} held nothing else and became a part of them")
        }
        previous => format!("; it was person {previous}\u{2019}s before"),
    };
    let next = match decision.runner_up_identity_id {
        0 => None,
        next => Some((next, words::cosine(decision.runner_up_cosine))),
    };
    let text = match (decision.kind(), next) {
        (DecisionKind::Join, None) => format!("Joined person {id} at cosine {at}"),
        (DecisionKind::Join, Some((next, cosine))) => {
            format!("Joined person {id} at cosine {at}; the next, person {next}, was at {cosine}")
        }
        (DecisionKind::New, None) => format!("Opened person {id}: nobody else was known"),
        (DecisionKind::New, Some((next, cosine))) => {
            format!("Opened person {id}: the closest, person {next}, was at {cosine}")
        }
        (DecisionKind::Ambiguous, None) => format!("Opened person {id}: too close to tell"),
        (DecisionKind::Ambiguous, Some((next, cosine))) => {
            format!("Opened person {id}, who may be person {next}, at {cosine}: too close to tell")
        }
        (DecisionKind::Keep | DecisionKind::Unspecified, _) => {
            format!("Stayed with person {id} at cosine {at}")
        }
    };
    Decided {
        text: format!("{text}{from}"),
        reason: decision.reason.clone(),
        time: Moment::of(decision.time.as_ref()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_in_words() {
        let check = |kind: DecisionKind, previous, next, said| {
            let decision = pb::TrackDecision {
                kind: kind.into(),
                identity_id: 3,
                previous_identity_id: previous,
                cosine: 0.712,
                runner_up_identity_id: next,
                runner_up_cosine: 0.2,
                absorbs_previous: previous == 5,
                ..Default::default()
            };
            assert_eq!(decided(&decision).text, said);
        };
        let said = "Joined person 3 at cosine 0.71; the next, person 4, was at 0.20";
        check(DecisionKind::Join, 0, 4, said);
        let said = "Joined person 3 at cosine 0.71; it was person 2\u{2019}s before";
        check(DecisionKind::Join, 2, 0, said);
        let said =
            "Joined person 3 at cosine 0.71; person 5 held nothing else and became a part of them";
        check(DecisionKind::Join, 5, 0, said);
        check(
            DecisionKind::New,
            0,
            0,
            "Opened person 3: nobody else was known",
        );
        let said = "Opened person 3, who may be person 4, at 0.20: too close to tell";
        check(DecisionKind::Ambiguous, 0, 4, said);
        check(
            DecisionKind::Keep,
            3,
            0,
            "Stayed with person 3 at cosine 0.71",
        );
    }
}
