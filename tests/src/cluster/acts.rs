//! What is done to the servers of a cluster: killed, stopped, paused, started. Each is told as a step of the test's story.

use super::{STOP_PATIENCE, TestCluster};

impl TestCluster {
    async fn named(&self, node: &str) -> String {
        if node == "leader" { self.leader().await } else { node.to_owned() }
    }

    /// SIGKILL of a node, or of `leader`; returns its name once it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill(&self, node: &str) -> String {
        let node = self.named(node).await;
        self.cluster.kill(&node).unwrap_or_else(|error| panic!("{error:#}"));
        self.say(&format!("killed {node}"));
        node
    }

    /// SIGKILL of several nodes at once: all are signalled before the first is waited for.
    ///
    /// # Panics
    /// When one does not run.
    pub fn kill_at_once(&self, nodes: &[String]) {
        std::thread::scope(|scope| {
            for node in nodes {
                scope.spawn(|| self.cluster.kill(node).unwrap_or_else(|error| panic!("{error:#}")));
            }
        });
        self.say(&format!("killed {} at once", nodes.join(", ")));
    }

    /// SIGTERM of a node, or of `leader`; returns its name once it has gone.
    ///
    /// # Panics
    /// When it does not run or does not go.
    pub async fn stop(&self, node: &str) -> String {
        let node = self.named(node).await;
        let (cluster, stopped) = (self.cluster.clone(), node.clone());
        let gone = tokio::task::spawn_blocking(move || cluster.stop(&stopped, STOP_PATIENCE)).await;
        gone.expect("stopping does not panic").unwrap_or_else(|error| panic!("{error:#}"));
        self.say(&format!("stopped {node}"));
        node
    }

    /// SIGSTOP of a node, or of `leader`; returns its name.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn pause(&self, node: &str) -> String {
        let node = self.named(node).await;
        self.cluster.pause(&node).unwrap_or_else(|error| panic!("{error:#}"));
        self.say(&format!("paused {node}"));
        node
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self, node: &str) {
        self.cluster.resume(node).unwrap_or_else(|error| panic!("{error:#}"));
        self.say(&format!("resumed {node}"));
    }

    /// Starts a node on its own data, without waiting for it.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    pub fn launch(&self, node: &str) {
        let started = self.start_node(node).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(started, "{node} runs already");
    }

    /// Starts a node on its own data and waits until it serves and, a catalog, until it has caught up.
    ///
    /// # Panics
    /// When it does not within its deadline.
    pub async fn restart(&self, node: &str) {
        self.launch(node);
        self.wait_serving(&[node]).await.unwrap_or_else(|error| panic!("{error:#}"));
        if self.is_catalog(node) {
            self.wait_caught_up().await;
        }
        self.say(&format!("restarted {node}"));
    }
}
