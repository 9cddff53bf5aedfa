//! What is printed, in both forms.

use serde_json::json;

use crate::{
    alone, ask, program,
    shop::{Shop, item},
};

#[test]
fn a_table_lines_up_whatever_the_titles() {
    let shop = Shop::open(1);
    shop.inside().items.insert(200, item(200, "日本語\u{1b}[31m", 11));
    let run = ask(&shop, &["list"]).expect(0);
    assert_eq!(
        run.out,
        "ITEM  COST  QUANTITY  TOPIC  TITLE\n   1     5       100  t      Title 1\n 200     5       100  t      日本語\u{fffd}[31m\n"
    );
    assert_eq!(ask(&shop, &["show", "1"]).expect(0).out.lines().next(), Some("item      1"));
    shop.inside().items.clear();
    assert_eq!(ask(&shop, &["search", "no", "such"]).expect(0).out, "no items\n");
    assert_eq!(ask(&shop, &["search", "no", "-o", "json"]).expect(0).out, "");
}

#[test]
fn json_has_the_names_of_the_wire() {
    let shop = Shop::open(1);
    let shown = ask(&shop, &["show", "1", "-o", "json"]).expect(0);
    assert_eq!(
        shown.out,
        "{\"item_number\":1,\"title\":\"Title 1\",\"topic\":\"t\",\"cost\":5,\"quantity\":100,\"revision\":10}\n"
    );
    let set = ask(&shop, &["set-cost", "1", "7", "-o", "json"]).expect(0).json();
    assert_eq!(set[0]["cost"], 7);
    let gone = ask(&shop, &["withdraw", "1", "-o", "json"]).expect(0).json();
    assert_eq!(gone, [json!({"item_number": 1, "withdrawn": true, "revision": 12})]);
    assert!(shop.inside().items.is_empty());
}

/// `catalogctl list | head -1`
#[test]
fn a_reader_who_has_enough_ends_it_quietly() {
    let shop = Shop::open(5000);
    let script = format!("\"$0\" -a {} list -o json 2>&1 >&3 | sed 's/^/error: /' >&2", shop.address);
    let script = format!("exec 3>&1; ( {script} ) 3>&1 | head -1");
    let binary = env!("CARGO_BIN_EXE_catalogctl");
    let output = std::process::Command::new("sh").args(["-c", &script, binary]).output().expect("a shell");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.starts_with("{\"item_number\":1,") && out.lines().count() == 1, "{out}");
    assert_eq!(err, "", "nothing is said");
    // Where writing fails for another reason, that is said.
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = program().args(["-a", &shop.address, "list"]).stdout(full).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be written"));
}

#[test]
fn an_export_is_there_whole_or_not_at_all() {
    let shop = Shop::open(2500);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("items.csv");
    let file = path.to_str().expect("UTF-8");
    ask(&shop, &["export", file]).expect(0);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(text.lines().count(), 2501);
    assert!(text.starts_with("item_number,title,topic,cost,quantity\n1,Title 1,t,5,100\n"), "{text:.100}");
    assert_eq!(ask(&shop, &["export"]).expect(0).says("2500 items").out, text);
    shop.then([crate::shop::Act::Do, crate::shop::Act::Refuse(400, "bad-request", None)]);
    ask(&shop, &["export", file]).expect(1);
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), text, "what was there before is there still");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "and nothing else");
}

#[test]
fn a_manual_and_completions_need_no_store() {
    let page = alone(&["man"]).expect(0).out;
    assert!(page.contains(".TH catalogctl 1") && page.contains("EXIT STATUS"), "{page:.300}");
    assert!(alone(&["man", "import"]).expect(0).out.contains("import\\-progress"));
    alone(&["man", "nonsense"]).expect(2).says("is no command");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("man");
    alone(&["man", "--folder", path.to_str().expect("UTF-8")]).expect(0);
    assert!(path.join("catalogctl-set-cost.1").is_file());
    for (shell, words) in
        [("bash", "_catalogctl()"), ("zsh", "#compdef catalogctl"), ("fish", "complete -c catalogctl")]
    {
        let text = alone(&["completions", shell]).expect(0).out;
        assert!(text.contains(words), "{shell}: {text:.200}");
    }
}

#[test]
fn a_load_is_bounded_and_tells_what_it_saw() {
    let shop = Shop::open(10);
    let run = ask(&shop, &["bench", "--seconds", "1", "--connections", "2", "--buys", "50", "-o", "json"]).expect(0);
    let told = &run.json()[0];
    let kinds = told["kinds"].as_array().expect("kinds");
    assert_eq!(kinds.len(), 2, "{told}");
    let buys = shop.inside().orders.len();
    assert_eq!((&kinds[1]["kind"], &kinds[1]["requests"]), (&json!("buy"), &json!(buys)), "{told}");
    assert!(kinds[0]["p50_ms"].as_f64() <= kinds[0]["max_ms"].as_f64() && kinds[0]["failed"] == 0, "{told}");
    let table = ask(&shop, &["bench", "--seconds", "1", "--connections", "1"]).expect(0).out;
    assert!(
        table.contains("P99") && table.contains("look-up") && table.contains('#') && !table.contains("buy"),
        "{table}"
    );
    alone(&["bench", "--seconds", "301"]).expect(2);
    alone(&["bench", "--connections", "5000"]).expect(2);
    shop.inside().items.clear();
    ask(&shop, &["bench", "--seconds", "1"]).expect(1).says("no items");
}
