//! What all services share, and the checks that several of them make.

use crate::access::{Caller, Gate, Notes};
use crate::audit::Audit;
use crate::calibration::Calibration;
use crate::clustering::Plan;
use crate::config::Config;
use crate::core::{Catalog, CatalogError, Core, SourceRow};
use crate::eraser::Eraser;
use crate::error::ApiError;
use crate::metrics::EdgeMetrics;
use crate::migration::Migrations;
use crate::page::Seal;
use crate::pool::SearchPool;
use crate::shutdown::Shutdown;
use crate::source_uri::SourceRules;
use crate::sources::Sources;
use crate::supervisor::Supervisor;
use crate::vision::{InService, LoadedModels};
use crate::webhook::{RuleNews, WebhookRules};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

/// Characters of a name, an author or a filter at most.
pub(crate) const NAME_CHARS_MAX: usize = 200;

/// What the collection holds and by which measure.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Hash of model, preprocessing and dimension.
    pub contract: String,
    /// The detector's id.
    pub detector: String,
    /// The embedder's id.
    pub embedder: String,
    /// Values of an embedding.
    pub dimension: usize,
    /// Cosine from which two faces are taken for the same person.
    pub same_cosine: f32,
}

/// What all services share.
#[derive(Debug)]
pub struct Edge {
    /// Log, index, catalog and the writer.
    pub core: Core,
    /// The settings.
    pub config: Config,
    /// Who is let in.
    pub gate: Arc<Gate>,
    /// Who did what.
    pub(crate) audit: Arc<Audit>,
    /// Counters.
    pub metrics: EdgeMetrics,
    /// Threads for searches.
    pub pool: SearchPool,
    /// How sure hits are.
    pub calibration: Calibration,
    /// What the last clustering of everybody would change; locked while one is on.
    pub(crate) clustering: Arc<Mutex<Option<Plan>>>,
    /// What is known about sources beside the log.
    pub sources: Arc<Sources>,
    /// Workers.
    pub supervisor: Supervisor,
    /// What may be read.
    pub rules: SourceRules,
    /// Where alerts may be sent to.
    pub(crate) webhook_rules: WebhookRules,
    /// Says that alert rules have changed.
    pub(crate) rule_news: RuleNews,
    /// The models that are loaded.
    pub models: Arc<InService>,
    /// What goes over to another model.
    pub migrations: Migrations,
    /// What goes on with erasures.
    pub(crate) eraser: Eraser,
    /// The end of everything that runs long.
    pub shutdown: Shutdown,
    /// Places for watchers and followers.
    pub subscribers: Arc<Semaphore>,
    /// Unix time of the start.
    pub started_us: i64,
}

/// A place among the watchers and followers; given back when dropped.
#[derive(Debug)]
pub struct Subscription {
    _permit: OwnedSemaphorePermit,
    edge: Arc<Edge>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.edge.metrics.watch_subscribers.dec();
    }
}

impl Edge {
    /// A place for one more watcher or follower.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] if all are taken, [`ApiError::ShuttingDown`] at the end.
    pub fn subscription(self: &Arc<Self>) -> Result<Subscription, ApiError> {
        if self.shutdown.is_set() {
            return Err(ApiError::ShuttingDown);
        }
        let Ok(permit) = Arc::clone(&self.subscribers).try_acquire_owned() else {
            return Err(ApiError::Overloaded {
                what: "too many watchers",
                limit: "subscribers",
            });
        };
        self.metrics.watch_subscribers.inc();
        Ok(Subscription {
            _permit: permit,
            edge: Arc::clone(self),
        })
    }

    /// Reads the catalog on a thread that may block.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.blocking(move |core| Ok(read(core.catalog())?)).await
    }

    /// Reads catalog and log on a thread that may block.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Core) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let core = self.core.clone();
        let result = tokio::task::spawn_blocking(move || read(&core)).await;
        result.map_err(|_| ApiError::Internal("a read was lost"))?
    }

    /// Lets others have the processor after so much work in the background, so that this has `share_percent` of
    /// one core; not any longer when the server goes down.
    pub(crate) async fn rest(&self, worked: Duration, share_percent: u32) {
        let share = share_percent.clamp(1, 100);
        self.pause(worked.saturating_mul(100 - share) / share).await;
    }

    /// Waits so long, or until the server goes down.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shutdown.wait() => {}
        }
    }

    /// The source with that id.
    ///
    /// # Errors
    /// [`ApiError::SourceNotFound`].
    pub async fn source(&self, id: u64) -> Result<SourceRow, ApiError> {
        self.read(move |catalog| catalog.source(id))
            .await?
            .ok_or(ApiError::SourceNotFound { id })
    }

    /// The seal of page tokens of `method`.
    pub fn seal(&self, method: &str) -> Seal {
        Seal::new(&self.core.log().id().to_string(), method)
    }

    /// The models of the contract in service, and what they make of the collection.
    pub fn in_service(&self) -> Arc<LoadedModels> {
        self.models.newest()
    }
}

/// Refuses embeddings of another model than `expected`.
///
/// # Errors
/// [`ApiError::ModelMismatch`].
pub(crate) fn check_contract(found: &str, expected: &str) -> Result<(), ApiError> {
    if found == expected {
        return Ok(());
    }
    Err(ApiError::ModelMismatch {
        found: found.chars().take(NAME_CHARS_MAX).collect(),
        expected: expected.to_owned(),
    })
}

/// What a person is recorded under: the key of the call that is being served, with who its owner says to be; where no
/// keys are asked for, what is said, and nobody in particular if that is empty.
///
/// # Errors
/// [`ApiError::InvalidField`] if it is too long or has control characters.
pub(crate) fn checked_author(author: &str) -> Result<String, ApiError> {
    let author = Caller::current().author(author.trim());
    if author.is_empty() {
        return Ok("anonymous".to_owned());
    }
    said_author(&author)
}

/// Who somebody says to be, if that can be recorded.
///
/// # Errors
/// As [`checked_author`].
pub(crate) fn said_author(author: &str) -> Result<String, ApiError> {
    let author = author.trim();
    match unfit(author) {
        None => Ok(author.to_owned()),
        Some(what) => Err(ApiError::InvalidField {
            field: "author",
            what: what.to_owned(),
        }),
    }
}

/// A request id: empty, or a UUID.
///
/// # Errors
/// [`ApiError::InvalidField`].
pub(crate) fn checked_request_id(id: &str) -> Result<String, ApiError> {
    let groups: Vec<&str> = id.split('-').collect();
    let hex = groups
        .iter()
        .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if id.is_empty() || (hex && lengths == [8, 4, 4, 4, 12]) {
        Notes::request_id(id);
        return Ok(id.to_ascii_lowercase());
    }
    let what = "is no UUID such as 123e4567-e89b-42d3-a456-426614174000".to_owned();
    Err(ApiError::InvalidField {
        field: "request_id",
        what,
    })
}

/// Why a text cannot be a name, if it cannot.
pub(crate) fn unfit(name: &str) -> Option<&'static str> {
    if name.chars().count() > NAME_CHARS_MAX {
        return Some("is longer than 200 characters");
    }
    name.chars()
        .any(char::is_control)
        .then_some("has control characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids() {
        assert_eq!(checked_request_id("").unwrap(), "");
        let id = "123E4567-e89b-42d3-a456-426614174000";
        assert_eq!(checked_request_id(id).unwrap(), id.to_lowercase());
        for id in [
            "1",
            "123e4567e89b42d3a456426614174000",
            "123e4567-e89b-42d3-a456-42661417400g",
        ] {
            assert_eq!(
                checked_request_id(id).unwrap_err().reason(),
                "INVALID_ARGUMENT"
            );
        }
    }

    #[test]
    fn authors() {
        assert_eq!(checked_author(" ").unwrap(), "anonymous");
        assert_eq!(checked_author("Ada").unwrap(), "Ada");
        assert!(checked_author("a\nb").is_err());
        assert!(checked_author(&"a".repeat(201)).is_err());
    }
}
