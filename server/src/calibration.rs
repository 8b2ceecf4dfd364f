//! How sure hits are: what a cosine is worth among the people who are here now. Searches whose answer is
//! known are made in the newest view, one after the other and with pauses, whenever the number of faces
//! has changed by a tenth; what is fitted to them is kept in memory alone.

use crate::core::{View, is_hidden, shown};
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

/// What is known of cosines at the moment.
#[derive(Debug, Default)]
pub struct Calibration(ArcSwapOption<Fitted>);

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
    pub(crate) fn of(&self, contract: &str) -> Option<Arc<Fitted>> {
        let newest = self.0.load_full();
        newest.filter(|fitted| fitted.contract == contract)
    }
}

/// Keeps the calibration up to date until the server ends.
pub(crate) async fn keep(edge: Arc<Edge>) {
    let every = edge.config.search.calibrate_s;
    if every == 0 {
        return;
    }
    let mut asked_of = (0, String::new());
    loop {
        let view = edge.core.view();
        let (faces, contract) = (view.index.stats().faces, view.contract().id.clone());
        if contract != asked_of.1 || faces.abs_diff(asked_of.0) > asked_of.0 / CHANGE {
            let people = people(&view);
            let count = people.len();
            let ended = tokio::select! {
                () = edge.shutdown.wait() => return,
                ended = fit(&edge, people, &contract) => ended,
            };
            match ended {
                Ok(Some(fitted)) => {
                    tracing::info!(
                        identities = count,
                        trials = fitted.trials,
                        "calibrated: {}",
                        fitted.confidence
                    );
                    edge.calibration.0.store(Some(Arc::new(fitted)));
                    asked_of = (faces, contract);
                }
                Ok(None) => {
                    edge.calibration.0.store(None);
                    asked_of = (faces, contract);
                }
                Err(error) => tracing::warn!(%error, "what cosines are worth cannot be found"),
            }
        }
        tokio::select! {
            () = edge.shutdown.wait() => return,
            () = tokio::time::sleep(Duration::from_secs(every)) => {}
        }
    }
}

/// Everybody whom searches find unless told otherwise, in the order of their ids.
fn people(view: &View) -> Vec<IdentityId> {
    let all = view.index.identities();
    let shown = all.filter(|(_, state)| !is_hidden(*state));
    let mut people: Vec<IdentityId> = shown.map(|(identity, _)| identity).collect();
    people.sort_unstable();
    people
}

/// `None` if there are too few.
async fn fit(
    edge: &Arc<Edge>,
    people: Vec<IdentityId>,
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
            states: view.any_hidden.then(shown),
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
