//! How sure hits are: what a cosine is worth among the people who are here now. Searches whose answer is
//! known are made in the newest view, one after the other and with pauses, whenever the number of faces
//! has changed by a tenth; what is fitted to them is kept in memory alone.

use crate::core::{Marks, View, states};
use crate::edge::Edge;
use crate::error::ApiError;
use arc_swap::ArcSwapOption;
use rollcall_index::{Filter, IdentityId};
use rollcall_ingest::cluster::confidence::{Confidence, Trial, trials_of};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Identities asked about at most: two trials each give rates of a hundredth within a few thousandths.
const IDENTITIES_ASKED: usize = 1_000;
/// A pause of so many times the search before it: searches of callers come first.
const PAUSE: u32 = 3;
/// A new fit is worth its cost when the number of faces has changed by one part in so many.
const CHANGE: usize = 10;

/// Among whom somebody is looked for: whoever is not hidden, and all of these or those who bear a name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Named,
}

impl Scope {
    fn takes(self, marks: Marks) -> bool {
        let scoped = match self {
            Self::All => true,
            Self::Named => marks.named,
        };
        scoped && !marks.hidden
    }
}

/// What is known of cosines at the moment.
#[derive(Debug, Default)]
pub struct Calibration {
    all: ArcSwapOption<Fitted>,
    named: ArcSwapOption<Fitted>,
}

/// What cosines were worth when so many people could be found.
#[derive(Debug)]
pub(crate) struct Fitted {
    contract: String,
    pub(crate) confidence: Confidence,
    pub(crate) identities: u64,
    pub(crate) trials: u64,
}

impl Calibration {
    /// The newest, if there is one of that contract.
    pub(crate) fn of(&self, scope: Scope, contract: &str) -> Option<Arc<Fitted>> {
        let newest = self.slot(scope).load_full();
        newest.filter(|fitted| fitted.contract == contract)
    }

    fn slot(&self, scope: Scope) -> &ArcSwapOption<Fitted> {
        match scope {
            Scope::All => &self.all,
            Scope::Named => &self.named,
        }
    }
}

/// Keeps the calibration up to date until the server ends.
pub(crate) async fn keep(edge: Arc<Edge>) {
    let every = edge.config.search.calibrate_s;
    if every == 0 {
        return;
    }
    let mut fitted = [
        (Scope::All, Size::default()),
        (Scope::Named, Size::default()),
    ];
    loop {
        for (scope, size) in &mut fitted {
            tokio::select! {
                () = edge.shutdown.wait() => return,
                () = refit(&edge, *scope, size) => {}
            }
        }
        tokio::select! {
            () = edge.shutdown.wait() => return,
            () = tokio::time::sleep(Duration::from_secs(every)) => {}
        }
    }
}

/// What was there when it was last asked.
#[derive(Debug, Default)]
struct Size {
    faces: usize,
    people: usize,
    contract: String,
}

/// Finds anew what cosines are worth, if that may have changed.
async fn refit(edge: &Arc<Edge>, scope: Scope, size: &mut Size) {
    let view = edge.core.view();
    let (faces, count) = (view.index.stats().faces, people(&view, scope).count());
    let contract = view.contract().id.clone();
    let changed = |now: usize, then: usize| now.abs_diff(then) > then / CHANGE;
    if contract == size.contract && !changed(faces, size.faces) && !changed(count, size.people) {
        return;
    }
    let mut everybody: Vec<IdentityId> = people(&view, scope).collect();
    everybody.sort_unstable();
    match fit(edge, (scope, everybody), &contract).await {
        Ok(fitted) => {
            if let Some(fitted) = &fitted {
                tracing::info!(
                    identities = count,
                    trials = fitted.trials,
                    ?scope,
                    "calibrated: {}",
                    fitted.confidence
                );
            }
            edge.calibration.slot(scope).store(fitted.map(Arc::new));
            *size = Size {
                faces,
                people: count,
                contract,
            };
        }
        Err(error) => tracing::warn!(%error, "what cosines are worth cannot be found"),
    }
}

/// Everybody whom searches of that scope find, in no order.
fn people(view: &View, scope: Scope) -> impl Iterator<Item = IdentityId> {
    let all = view.index.identities();
    let shown = all.filter(move |(_, state)| scope.takes(Marks::in_index(*state)));
    shown.map(|(identity, _)| identity)
}

/// `None` if there are too few.
async fn fit(
    edge: &Arc<Edge>,
    (scope, people): (Scope, Vec<IdentityId>),
    contract: &str,
) -> Result<Option<Fitted>, ApiError> {
    let count = people.len();
    let step = count.div_ceil(IDENTITIES_ASKED).max(1);
    let mut trials: Vec<Trial> = Vec::new();
    for identity in people.into_iter().step_by(step) {
        let view = edge.core.view();
        if view.contract().id != contract {
            // Cosines of two models have nothing to do with each other: it is begun anew.
            return Ok(None);
        }
        let filter = Filter {
            states: (view.any_hidden || scope != Scope::All)
                .then(|| states(|marks| scope.takes(marks))),
            ..Filter::default()
        };
        let begun = Instant::now();
        let ask = move || Ok(trials_of(&view.index, identity, &filter)?);
        trials.extend(edge.pool.run(ask).await?);
        tokio::time::sleep(begun.elapsed() * PAUSE).await;
    }
    Ok(Confidence::fit(&trials).ok().map(|confidence| Fitted {
        contract: contract.to_owned(),
        confidence,
        identities: u64::try_from(count).unwrap_or(u64::MAX),
        trials: u64::try_from(trials.len()).unwrap_or(u64::MAX),
    }))
}
