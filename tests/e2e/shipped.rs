//! What is shipped has none of what is there for tests alone.

use std::{hint::black_box, path::Path};

use catalog_client::mutant::VARIABLE;
use cluster_config::launch::BINARIES;

fn names_the_variable(program: &Path) -> bool {
    let bytes = std::fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    // Unknown to the compiler, so that the text is kept as such and not compared piece by piece.
    let name = black_box(VARIABLE).as_bytes();
    bytes.windows(name.len()).any(|part| part == name)
}

/// The deliberately broken variants are chosen by an environment variable. Only a build with the feature `mutants` reads
/// it, so only there does its name stand in a server; without the feature the constant is used nowhere, and the linker
/// has nothing to keep. That a program which does use it is told apart is shown by this test program, which has the
/// name from the same constant.
#[test]
fn no_shipped_server_can_be_broken_on_purpose() {
    let folder = tests::cluster::binaries().expect("the servers are built");
    for name in BINARIES {
        assert!(!names_the_variable(&folder.join(name)), "{name} in {} was built with mutants", folder.display());
    }
    assert!(names_the_variable(&std::env::current_exe().expect("this program")), "the search finds nothing at all");
}
