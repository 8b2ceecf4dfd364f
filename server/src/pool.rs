//! Where searches run: a bounded number wait, the rest are refused; threads of their own do the
//! work.

use crate::error::ApiError;
use crate::metrics::EdgeMetrics;
use crate::photo_pool::{PhotoAnswer, PhotoPool, Wanted};
use prometheus::IntGauge;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Threads for index searches, and those that look at photos.
#[derive(Debug)]
pub struct SearchPool {
    threads: rayon::ThreadPool,
    photos: PhotoPool,
    places: Arc<Semaphore>,
    metrics: EdgeMetrics,
}

/// A place among the searches that wait or run; given back when dropped.
#[derive(Debug)]
pub struct Admission {
    _permit: OwnedSemaphorePermit,
    inflight: IntGauge,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.inflight.dec();
    }
}

/// Why the threads cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("search threads cannot be started: {0}")]
pub struct PoolError(#[from] rayon::ThreadPoolBuildError);

impl SearchPool {
    /// A pool of `threads` threads beside those of `photos`; at most `queue_max` searches wait.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(
        threads: usize,
        queue_max: usize,
        photos: PhotoPool,
        metrics: EdgeMetrics,
    ) -> Result<Self, PoolError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("search-{number}"))
            // Without it one panic would end the process; the caller sees its reply dropped.
            .panic_handler(|_| tracing::error!("a search panicked"))
            .build()?;
        let places = Arc::new(Semaphore::new(threads.saturating_add(queue_max)));
        Ok(Self {
            threads: pool,
            photos,
            places,
            metrics,
        })
    }

    /// A place for one search.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] if all are taken.
    pub fn admit(&self) -> Result<Admission, ApiError> {
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            self.metrics
                .search_rejected
                .with_label_values(&["overloaded"])
                .inc();
            return Err(ApiError::Overloaded {
                what: "too many searches wait",
                limit: "searches",
            });
        };
        self.metrics.search_inflight.inc();
        Ok(Admission {
            _permit: permit,
            inflight: self.metrics.search_inflight.clone(),
        })
    }

    /// Runs `job` on the pool, and not at all if the caller has gone before its turn comes.
    ///
    /// # Errors
    /// Those of the job; [`ApiError::Internal`] if it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.threads.spawn(move || {
            if !reply.is_closed() {
                let _ = reply.send(job());
            }
        });
        answer
            .await
            .map_err(|_| ApiError::Internal("the search was lost"))?
    }

    /// Finds the faces of a photo and embeds those that are wanted.
    ///
    /// # Errors
    /// Those of a photo that cannot be used.
    pub async fn photo(&self, image: Vec<u8>, wanted: Wanted) -> Result<PhotoAnswer, ApiError> {
        self.photos.look(image, wanted).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;

    fn pool(threads: usize, queue_max: usize) -> SearchPool {
        let metrics = EdgeMetrics::register(&Registry::new()).unwrap();
        SearchPool::new(threads, queue_max, PhotoPool::none(), metrics).unwrap()
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_places_come_back() {
        let pool = pool(1, 2);
        let places: Vec<_> = (0..3).map(|_| pool.admit().unwrap()).collect();
        assert!(matches!(pool.admit(), Err(ApiError::Overloaded { .. })));
        assert_eq!(pool.metrics.search_inflight.get(), 3);
        drop(places);
        pool.admit().unwrap();
        assert_eq!(pool.metrics.search_inflight.get(), 0);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_lives_on() {
        let pool = pool(1, 1);
        let lost = pool
            .run(|| -> Result<(), ApiError> { panic!("on purpose") })
            .await;
        assert!(matches!(lost, Err(ApiError::Internal(_))));
        assert_eq!(pool.run(|| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn work_of_callers_who_have_gone_is_skipped() {
        let pool = pool(1, 4);
        let (release, held) = std::sync::mpsc::channel::<()>();
        pool.threads.spawn(move || held.recv().unwrap());
        let ran = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        let mut gone = Box::pin(pool.run(move || {
            flag.store(true, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        }));
        tokio::select! {
            biased;
            _ = &mut gone => panic!("the pool is held"),
            () = std::future::ready(()) => {}
        }
        drop(gone);
        release.send(()).unwrap();
        pool.run(|| Ok(())).await.unwrap();
        assert!(!ran.load(std::sync::atomic::Ordering::SeqCst));
    }
}
