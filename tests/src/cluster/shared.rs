//! One cluster for several tests that run side by side and leave it as they found it.

use std::{
    ops::Deref,
    sync::{Arc, Weak, atomic::Ordering},
};

use tokio::sync::Mutex;

use super::TestCluster;
use crate::options::Options;

static SHARED: Mutex<Weak<TestCluster>> = Mutex::const_new(Weak::new());

/// A hold on the shared cluster: three catalogs, two order servers, one front end, the seven books. The last hold
/// to be dropped ends it.
#[derive(Debug)]
pub struct Shared(Arc<TestCluster>);

impl Shared {
    /// The shared cluster, brought up unless it is up. Tests that use it must leave its data as it was.
    ///
    /// # Panics
    /// When it cannot be brought up.
    pub async fn get() -> Self {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return Self(cluster);
        }
        let cluster = Arc::new(TestCluster::start("shared", Options::new()).await);
        *shared = Arc::downgrade(&cluster);
        Self(cluster)
    }
}

impl Deref for Shared {
    type Target = TestCluster;
    fn deref(&self) -> &TestCluster {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
    }
}
