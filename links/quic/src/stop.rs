//! The daemon's word to end. Cloned freely; once said it stays said.

use std::sync::Arc;

use tokio::sync::watch;

/// A flag that both threads and tasks can see.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Stop(Arc::new(watch::channel(false).0))
    }
}

impl Stop {
    /// Not yet said.
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Says it. The link closes its connections and its thread ends within seconds.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Was it said?
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn stopped(&self) {
        // An error would mean that the sender is gone, and we hold it.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
