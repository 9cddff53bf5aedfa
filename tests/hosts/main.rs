//! The store on several hosts: in network namespaces, each host with an address of its own, and in containers. Started as an
//! operator would, cut off, healed, made anew; afterwards nothing acknowledged is lost.
//!
//! What needs root or a Docker Engine is skipped, with a line that says why. Names of namespaces, projects and images are of
//! this run alone, and a guard removes what they name however the run ends.

mod containers;
mod guard;
mod lab;
mod layouts;
mod project;

use tests::{shop::Shop, trial::Report};
use tokio::sync::{Mutex, MutexGuard};

/// Each test has six servers or more, and measures times: they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// Fails the test when a promise was broken.
fn must_be_kept(report: &Report) {
    let told: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "promises were broken:\n{}", told.join("\n"));
    assert!(report.operations > 0, "nobody did anything");
}

/// Puts more of the seven books on the shelves than a test will sell.
async fn stock_up(shop: &Shop<'_>) {
    for item in 1..=5 {
        shop.get(&format!("/update_q/{item}/100000")).await.expect(200);
    }
}
