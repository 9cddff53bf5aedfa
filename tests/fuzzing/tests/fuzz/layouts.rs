//! Layouts: refused with a sentence, or such that they can be written and read again.

use std::path::Path;

use cluster_config::Layout;
use fuzzing::{frugal, fuzz, spoil, spoilings};
use proptest::{collection::vec, prelude::*, sample::Index};

const LAYOUTS: [&str; 4] = [
    include_str!("../../../../cluster-config/config_1.toml"),
    include_str!("../../../../cluster-config/config_2.toml"),
    include_str!("../../../../cluster-config/config_3.toml"),
    include_str!("../../../../cluster-config/config_4.toml"),
];
/// Every knob at another value than its default.
const KNOBS: &str = r#"
cluster = "shop"
insecure = true
deadline_ms = 4000
freshness_ms = 900
cache = false
cache_entries = 10
queue = 7
log_requests = true
threads = 3
[raft]
heartbeat_ms = 40
election_min_ms = 300
election_max_ms = 400
snapshot_entries = 1000
snapshot_bytes = 1000000
log_kept_entries = 500
log_cache_bytes = 1000
[[catalog]]
id = 7
client = "[::1]:1"
peer = "10.0.0.1:2"
listen_client = "localhost:3"
listen_peer = "localhost:4"
[[order]]
id = 1
address = "a.example:5"
listen = "b.example:5"
[[frontend]]
id = 9
address = "localhost:7"
"#;
/// What may stand behind a key instead.
const VALUES: [&str; 14] = [
    "0",
    "-1",
    "1",
    "9223372036854775807",
    "1e9",
    "nan",
    "true",
    "\"\"",
    "\"x\"",
    "\"0.0.0.0:1\"",
    "\"[::]:65536\"",
    "\"localhost:50001\"",
    "[1, 2]",
    "{ a = 1 }",
];
/// What the reader of TOML and our own text may hold, in bytes for each of the input's: a tree of every key and value.
const BYTES_A_BYTE: u64 = 512;

/// Gives some keys another value.
fn with_values(text: &str, others: &[(Index, Index)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (line, value) in others {
        let at = line.index(lines.len());
        if let Some((key, _)) = lines[at].split_once('=') {
            lines[at] = format!("{key}= {}", value.get(&VALUES));
        }
    }
    lines.join("\n")
}

#[test]
fn layouts() {
    let text = prop_oneof![any::<Index>().prop_map(|at| *at.get(&LAYOUTS)), Just(KNOBS)];
    let others = vec((any::<Index>(), any::<Index>()), 0..3);
    fuzz("layouts", (text, others, spoilings()), |(text, others, spoilings)| {
        let path = Path::new("some/layout.toml");
        Layout::parse(text, path).expect("a layout as it is delivered");
        let text = with_values(text, &others);
        let text = String::from_utf8_lossy(&spoil(text.into_bytes(), &spoilings)).into_owned();
        let allowed = (256 << 10) + BYTES_A_BYTE * text.len() as u64;
        let layout = match frugal(allowed, || Layout::parse(&text, path)) {
            Ok(layout) => layout,
            Err(error) => return assert!(error.to_string().starts_with("some/layout.toml: ")),
        };
        let addresses: Vec<String> = (1..=layout.address_count()).map(|at| format!("localhost:{at}")).collect();
        let moved = layout.moved_to(&addresses).expect("as many addresses as it has");
        let moved = Layout::parse(&moved, path).expect("what was written can be read");
        let rest = |layout: &Layout| {
            let ids = |nodes: &[cluster_config::EdgeNode]| nodes.iter().map(|node| node.id).collect::<Vec<_>>();
            let catalogs: Vec<_> = layout.catalogs.iter().map(|node| node.id).collect();
            let times = (layout.raft, layout.deadline, layout.freshness);
            let sizes = (layout.cache, layout.cache_entries, layout.queue, layout.log_requests, layout.threads);
            (layout.cluster.clone(), times, sizes, catalogs, ids(&layout.orders), ids(&layout.frontends))
        };
        assert_eq!(rest(&moved), rest(&layout));
    });
}
