//! What is shipped has none of what is there for tests alone.

use std::{hint::black_box, path::Path};

use catalog_client::mutant::VARIABLE;
use cluster_config::launch::BINARIES;

/// The crate of the simulated network. Its name stands in whatever has it: as the target of what it logs, and in the paths
/// of its sources.
const SIMULATED_NETWORK: &str = "turmoil";

/// The servers, and the command line that goes with them.
fn shipped() -> impl Iterator<Item = &'static str> {
    BINARIES.into_iter().chain(["catalogctl"])
}

fn names(program: &Path, what: &'static str) -> bool {
    let bytes = std::fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    // Unknown to the compiler, so that the text is kept as such and not compared piece by piece.
    let name = black_box(what).as_bytes();
    bytes.windows(name.len()).any(|part| part == name)
}

/// The deliberately broken variants are chosen by an environment variable. Only a build with the feature `mutants` reads
/// it, so only there does its name stand in a server; without the feature the constant is used nowhere, and the linker
/// has nothing to keep. That a program which does use it is told apart is shown by this test program, which has the
/// name from the same constant.
#[test]
fn no_shipped_server_can_be_broken_on_purpose() {
    let folder = tests::cluster::binaries().expect("the servers are built");
    for name in shipped() {
        assert!(!names(&folder.join(name), VARIABLE), "{name} in {} was built with mutants", folder.display());
    }
    assert!(names(&std::env::current_exe().expect("this program"), VARIABLE), "the search finds nothing at all");
}

/// Cargo adds features up within one build: a server that was built together with the simulation would have its network.
#[test]
fn no_shipped_server_has_a_simulated_network() {
    let folder = tests::cluster::binaries().expect("the servers are built");
    for name in shipped() {
        assert!(!names(&folder.join(name), SIMULATED_NETWORK), "{name} in {} is a simulation", folder.display());
    }
}
