//! Layouts: the four that come with the project, and the sentence that each kind of mistake gets.

use std::{path::Path, time::Duration};

use cluster_config::{Layout, containers::Compose, layout::reachable, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const GOOD: &str = r#"
[[catalog]]
id = 1
client = "127.0.0.1:50001"
peer = "127.0.0.1:51001"
[[order]]
id = 1
address = "localhost:35301"
[[frontend]]
id = 1
address = "[::1]:35303"
"#;

fn parse(text: &str) -> Result<Layout, String> {
    Layout::parse(text, Path::new("some/layout.toml")).map_err(|error| error.to_string())
}

/// `GOOD` with one thing replaced must be refused with a sentence that has all of `words`.
#[track_caller]
fn refused(from: &str, to: &str, words: &[&str]) {
    assert!(GOOD.contains(from), "{from} is not in the good layout");
    let error = parse(&GOOD.replacen(from, to, 1)).expect_err("this layout is wrong");
    for word in [&["some/layout.toml"], words].concat() {
        assert!(error.contains(word), "`{error}` does not say `{word}`");
    }
}

#[test]
fn the_four_layouts_are_as_documented() {
    let sizes = |layout: &Layout| (layout.catalogs.len(), layout.orders.len(), layout.frontends.len());
    let layouts = ["1", "2", "3", "4"].map(|number| Layout::load(number).expect(number));
    assert_eq!(layouts.each_ref().map(sizes), [(1, 1, 1), (1, 1, 1), (3, 2, 1), (3, 2, 1)]);
    assert_eq!(layouts.each_ref().map(|layout| layout.insecure), [true, false, true, false]);
    let default = &layouts[3];
    let clients: Vec<_> = default.catalogs.iter().map(|node| (node.name.as_str(), node.client.as_str())).collect();
    assert_eq!(
        clients,
        [("catalog-1", "127.0.0.1:50001"), ("catalog-2", "127.0.0.1:50002"), ("catalog-3", "127.0.0.1:50004")]
    );
    let peers: Vec<_> = default.catalogs.iter().map(|node| node.peer.as_str()).collect();
    assert_eq!(peers, ["127.0.0.1:51001", "127.0.0.1:51002", "127.0.0.1:51004"]);
    let edges: Vec<_> = default.orders.iter().chain(&default.frontends).map(|node| node.address.as_str()).collect();
    assert_eq!(edges, ["127.0.0.1:35301", "127.0.0.1:50003", "127.0.0.1:35303"]);
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let layout = parse(GOOD).expect("a good layout");
    assert_eq!((layout.cluster.as_str(), layout.insecure, layout.items), ("bookshop", false, None));
    assert_eq!((layout.deadline, layout.freshness), (Duration::from_secs(5), Duration::from_secs(1)));
    assert_eq!((layout.cache, layout.cache_entries, layout.queue, layout.threads), (true, 100_000, 8192, 0));
    assert_eq!(layout.raft.heartbeat, Duration::from_millis(50));
    assert_eq!(
        layout.raft.election_min..layout.raft.election_max,
        Duration::from_millis(200)..Duration::from_millis(350)
    );
    assert_eq!((layout.raft.snapshot_entries, layout.raft.snapshot_bytes), (200_000, 268_435_456));
    assert_eq!((layout.raft.log_kept_entries, layout.raft.log_cache_bytes), (50_000, 67_108_864));
}

#[test]
fn the_knobs_that_the_default_layout_lists_are_the_defaults() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config_4.toml")).expect("config_4.toml");
    let listed: String = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| (line.contains(" = ") || line.starts_with('[')) && !line.starts_with("items"))
        .map(|line| format!("{line}\n"))
        .collect();
    // The `[raft]` table ends the top level, so the nodes come after it.
    let spelt_out = parse(&format!("{listed}{GOOD}")).expect("a good layout");
    assert_eq!(spelt_out, parse(GOOD).expect("a good layout"));
    assert_eq!(listed.lines().count(), 17, "{listed}");
}

#[test]
fn nodes_are_sorted_by_id() {
    let more = "[[catalog]]\nid = 3\nclient = \"127.0.0.1:3\"\npeer = \"127.0.0.1:4\"\n";
    let first = "[[catalog]]\nid = 2\nclient = \"127.0.0.1:1\"\npeer = \"127.0.0.1:2\"\n";
    let layout = parse(&format!("{more}{first}{GOOD}")).expect("a good layout");
    let names: Vec<_> = layout.catalogs.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["catalog-1", "catalog-2", "catalog-3"]);
}

#[test]
fn unknown_and_missing_fields_are_named() {
    refused("[[order]]", "chache = false\n[[order]]", &["chache", "line"]);
    refused("id = 1\nclient", "client", &["id"]);
    refused("[[catalog]]", "[raft]\nheartbeat = 3\n[[catalog]]", &["heartbeat", "heartbeat_ms"]);
    refused("id = 1", "id = \"one\"", &["line"]);
}

#[test]
fn ids_must_differ_and_begin_at_one() {
    refused("id = 1", "id = 0", &["[[catalog]]", "at least 1"]);
    refused(
        "[[frontend]]",
        "[[order]]\nid = 1\naddress = \"127.0.0.1:9\"\n[[frontend]]",
        &["[[order]]", "id 1", "twice"],
    );
}

#[test]
fn there_must_be_a_catalog() {
    let error = parse("[[order]]\nid = 1\naddress = \"127.0.0.1:1\"").expect_err("no catalog");
    assert!(error.contains("add at least one [[catalog]]"), "{error}");
}

#[test]
fn addresses_are_host_and_port() {
    for (wrong, word) in [
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:", "no port"),
        ("127.0.0.1:0", "1 to 65535"),
        ("127.0.0.1:70000", "1 to 65535"),
        ("127.0.0.1:+7", "1 to 65535"),
        ("::1:50001", "brackets"),
        ("[::g]:50001", "IPv6"),
        ("127.0.0.400:50001", "IPv4"),
        (":50001", "host"),
        ("a b:50001", "host"),
        ("0.0.0.0:50001", "every interface"),
        ("[::]:50001", "every interface"),
    ] {
        refused("127.0.0.1:50001", wrong, &["catalog-1", wrong, word]);
    }
}

#[test]
fn no_address_is_used_twice() {
    refused("127.0.0.1:51001", "127.0.0.1:50001", &["catalog-1 uses twice", "127.0.0.1:50001"]);
    refused("localhost:35301", "127.0.0.1:50001", &["catalog-1 and order-1 both use", "127.0.0.1:50001"]);
}

#[test]
fn beyond_loopback_a_layout_must_say_insecure() {
    for open in ["192.0.2.7:50001", "catalog.example:50001", "[2001:db8::1]:50001"] {
        refused("127.0.0.1:50001", open, &["catalog-1", open, "insecure = true"]);
        let said = format!("insecure = true\n{}", GOOD.replace("127.0.0.1:50001", open));
        assert_eq!(parse(&said).expect("a layout that says so").catalogs[0].client, open);
    }
}

#[test]
fn times_must_make_sense() {
    let with = |line: &str| format!("{line}\n[[catalog]]");
    refused("[[catalog]]", &with("deadline_ms = 0"), &["deadline_ms", "from 1 to"]);
    refused("[[catalog]]", &with("freshness_ms = 700000"), &["freshness_ms", "600000"]);
    refused("[[catalog]]", &with("[raft]\nheartbeat_ms = 101"), &["election_min_ms", "at least 202"]);
    refused("[[catalog]]", &with("[raft]\nelection_max_ms = 200"), &["election_max_ms", "greater than"]);
    refused("[[catalog]]", &with("queue = 0"), &["queue", "at least 1"]);
    refused("[[catalog]]", &with("[raft]\nsnapshot_bytes = 0"), &["raft.snapshot_bytes"]);
    refused("[[catalog]]", &with("cluster = \"a b\""), &["cluster"]);
}

#[test]
fn items_are_found_beside_the_layout() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("layout.toml");
    std::fs::write(&path, format!("items = \"books.csv\"\n{GOOD}")).expect("a file");
    let selector = path.to_str().expect("UTF-8");
    let error = Layout::load(selector).expect_err("there are no items yet").to_string();
    assert!(error.contains("books.csv"), "{error}");
    std::fs::write(folder.path().join("books.csv"), "").expect("a file");
    assert_eq!(Layout::load(selector).expect("a layout").items, Some(folder.path().join("books.csv")));
}

#[test]
fn a_layout_that_is_not_there_is_named() {
    for (selector, words) in [("9", "there is no layout 9"), ("no/such.toml", "no/such.toml: cannot read")] {
        let error = Layout::load(selector).expect_err("there is none").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_layout_can_be_moved_to_other_addresses() {
    let layout = Layout::load("4").expect("layout 4");
    let addresses: Vec<String> = (1..=layout.address_count()).map(|port| format!("127.0.0.1:{port}")).collect();
    let moved = parse(&layout.moved_to(&addresses).expect("enough addresses")).expect("a good layout");
    assert_eq!((moved.catalogs[1].client.as_str(), moved.catalogs[1].peer.as_str()), ("127.0.0.1:3", "127.0.0.1:4"));
    assert_eq!(moved.frontends[0].address, "127.0.0.1:9");
    assert_eq!((moved.raft, moved.deadline, moved.queue), (layout.raft, layout.deadline, layout.queue));
    assert!(layout.moved_to(&addresses[1..]).is_err());
}

#[tokio::test]
async fn a_server_listens_beyond_loopback_only_if_its_layout_says_insecure() {
    let layout = parse(GOOD).expect("a good layout");
    assert!(server::bind(&layout, "127.0.0.1:0").await.is_ok());
    let error = server::bind(&layout, "0.0.0.0:0").await.expect_err("beyond loopback").to_string();
    assert!(error.contains("insecure = true"), "{error}");
    let open = Layout { insecure: true, ..layout };
    assert!(server::bind(&open, "0.0.0.0:0").await.is_ok());
}

#[tokio::test]
async fn a_bind_says_which_address_another_program_has() {
    let layout = parse(GOOD).expect("a good layout");
    let first = server::bind(&layout, "127.0.0.1:0").await.expect("a free port");
    let address = first.local_addr().expect("its address").to_string();
    let error = server::bind(&layout, &address).await.expect_err("the port is taken").to_string();
    assert!(error.contains(&address) && error.contains("another program uses it"), "{error}");
}

#[test]
fn a_server_may_listen_on_every_interface_though_others_look_for_it_at_one() {
    let catalog = |id: u64| {
        format!(
            "[[catalog]]\nid = {id}\nclient = \"store-{id}:50001\"\npeer = \"store-{id}:51001\"\n\
             listen_client = \"0.0.0.0:50001\"\nlisten_peer = \"[::]:51001\"\n"
        )
    };
    let (first, second) = (catalog(1), catalog(2));
    let open = format!("insecure = true\n{first}{second}");
    let layout = parse(&open).expect("two machines, each with all of its own interfaces");
    let own = &layout.catalogs[1];
    assert_eq!((own.client.as_str(), own.listen_client.as_str()), ("store-2:50001", "0.0.0.0:50001"));
    assert_eq!(reachable(&own.listen_client, &own.client), "store-2:50001");
    assert_eq!(reachable("127.0.0.1:7", "store-2:50001"), "127.0.0.1:7");
    let error = parse(&open.replace("insecure = true\n", "")).expect_err("open, and not said so");
    assert!(error.contains("insecure = true"), "{error}");
    let error = parse(&open.replace("[::]:51001", "0.0.0.0:50001")).expect_err("one machine, one port");
    assert!(error.contains("catalog-1 uses twice"), "{error}");
}

#[test]
fn what_is_kept_for_tls_and_roles_is_refused_until_it_means_something() {
    for table in ["[tls]\ncertificate = \"a.pem\"", "[roles]\nadmin = [\"ops\"]"] {
        refused("[[catalog]]", &format!("{table}\n[[catalog]]"), &["kept for a later version", "neither encrypts"]);
    }
}

#[tokio::test]
async fn check_asks_the_server_on_this_machine_whether_it_is_ready() {
    for (status, body) in [("200 OK", "ready"), ("503 Service Unavailable", "no leader")] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut asked = Vec::new();
            // The whole of it: what is closed with something unread is reset, and its answer lost.
            while !asked.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut asked).await.expect("a request");
            }
            stream.write_all(format!("HTTP/1.1 {status}\r\n\r\n{body}\n").as_bytes()).await.expect("it listens");
            String::from_utf8_lossy(&asked).into_owned()
        });
        // As one that listens on every interface.
        let checked = tokio::task::spawn_blocking(move || server::check(&format!("0.0.0.0:{port}"))).await;
        let checked = checked.expect("no panic").map_err(|error| error.to_string());
        let expected = if status.starts_with("200") { Ok(()) } else { Err("not ready (503): no leader".to_owned()) };
        assert_eq!(checked, expected);
        assert!(server.await.expect("no panic").starts_with("GET /readyz HTTP/1.1\r\n"));
    }
    let error = server::check("127.0.0.1:1").expect_err("nobody listens there").to_string();
    assert_eq!(error, "no answer from 127.0.0.1:1");
}

#[test]
fn the_compose_file_has_a_service_for_each_server_of_its_layout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let compose = std::fs::read_to_string(root.join("compose.yaml")).expect("compose.yaml");
    let layout = Compose::new(&root.join("compose.yaml"), "any", "any", "127.0.0.1:1").layout().expect("a good layout");
    let names = layout.names();
    assert_eq!((names.len(), layout.insecure), (6, true));
    for name in names {
        assert!(compose.contains(&format!("\n  {name}:\n")), "{name} is no service");
        assert!(compose.contains(&format!("container_name: ${{PREFIX:-}}{name}\n")), "{name} is no container");
    }
}
