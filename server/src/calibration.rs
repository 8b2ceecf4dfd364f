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
    pub(crate) confidence: Confidence,
    pub(crate) identities: u64,
    pub(crate) trials: u64,
}

impl Calibration {
    /// The newest, if there is one.
    pub(crate) fn now(&self) -> Option<Arc<Fitted>> {
        self.0.load_full()
    }
}

/// Keeps the calibration up to date until the server ends.
pub(crate) async fn keep(edge: Arc<Edge>) {
    let every = edge.config.search.calibrate_s;
    if every == 0 {
        return;
    }
    let mut asked_of = 0;
    loop {
        let faces = edge.core.view().index.stats().faces;
        if faces.abs_diff(asked_of) > asked_of / CHANGE {
            let people = people(&edge.core.view());
            let count = people.len();
            let ended = tokio::select! {
                () = edge.shutdown.wait() => return,
                ended = fit(&edge, people) => ended,
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
                }
                Ok(None) => edge.calibration.0.store(None),
                Err(error) => tracing::warn!(%error, "what cosines are worth cannot be found"),
            }
            asked_of = faces;
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
async fn fit(edge: &Arc<Edge>, people: Vec<IdentityId>) -> Result<Option<Fitted>, ApiError> {
    let count = people.len();
    let step = count.div_ceil(IDENTITIES_ASKED).max(1);
    let mut trials: Vec<Trial> = Vec::new();
    for identity in people.into_iter().step_by(step) {
        let view = edge.core.view();
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
        confidence,
        identities: u64::try_from(count).unwrap_or(u64::MAX),
        trials: u64::try_from(trials.len()).unwrap_or(u64::MAX),
    }))
}
