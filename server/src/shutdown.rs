//! One signal that everything which runs long listens to.

use tokio::sync::watch;

/// Gives the signal.
#[derive(Debug)]
pub(crate) struct ShutdownSwitch(watch::Sender<bool>);

/// Hears the signal; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A switch and its signal.
pub(crate) fn shutdown() -> (ShutdownSwitch, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownSwitch(sender), Shutdown(receiver))
}

impl ShutdownSwitch {
    /// Gives the signal, for good.
    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the signal was given.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the signal; a switch that is gone counts as given.
    pub async fn wait(&self) {
        let _ = self.0.clone().wait_for(|set| *set).await;
    }
}
