//! Imports that are refused, interrupted, whose answers are lost, and which are run again.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    ask, ask_with, program,
    shop::{Act, Shop, item},
    until,
};

/// A file of items `from` to `to`.
fn csv(from: u64, to: u64) -> String {
    let rows: String = (from..=to).map(|n| format!("{n},Row {n},t,3,{n}\n")).collect();
    format!("item_number,title,topic,cost,quantity\n{rows}")
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("items.csv");
    std::fs::write(&path, text).expect("a file");
    (folder, path)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn note(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.import-progress", path(file)))
}

fn batches(shop: &Shop) -> usize {
    shop.inside().asked.iter().filter(|asked| asked.path == "/v1/items:batch").count()
}

#[test]
fn every_row_goes_in_once_and_the_note_goes() {
    let shop = Shop::open(0);
    let (_folder, file) = file(&csv(1, 4500));
    let run = ask(&shop, &["import", path(&file), "-o", "json"]).expect(0);
    assert_eq!(run.json(), [json!({"rows": 4500, "added": 4500, "updated": 0, "kept": 0, "revision": 15})]);
    let inside = shop.inside();
    assert_eq!(inside.items.keys().copied().collect::<Vec<_>>(), (1..=4500).collect::<Vec<_>>());
    assert_eq!(inside.items[&4321]["quantity"], 4321);
    assert!(!note(&file).exists());
}

#[test]
fn a_file_with_a_fault_is_not_begun() {
    let shop = Shop::open(0);
    let text = csv(1, 30).replace("7,Row 7,t", "7,,t").replace("9,Row 9,t,3", "9,Row 9,t,x") + "1,again,t,1,1\n";
    let (_folder, file) = file(&text);
    let name = path(&file);
    let run = ask(&shop, &["import", name]).expect(1);
    for words in [
        format!("{name}:8: title has 0 bytes"),
        format!("{name}:10: cost is \"x\""),
        format!("{name}:32: item 1 stands in line 2 already"),
        "3 of the rows are wrong".to_owned(),
    ] {
        assert!(run.err.contains(&words), "{words} is not said: {run:#?}");
    }
    ask(&shop, &["import", name, "--dry-run"]).expect(1);
    ask(&shop, &["import", "/nowhere/x.csv"]).expect(1).says("cannot be read");
    assert!(shop.inside().asked.is_empty() && !note(&file).exists());
    std::fs::write(&file, csv(1, 30)).expect("a file");
    let run = ask(&shop, &["import", name, "--dry-run"]).expect(0);
    assert!(run.out.contains("30 rows") && shop.inside().asked.is_empty());
}

#[test]
fn the_lines_of_rows_that_are_refused_are_told() {
    let shop = Shop::open(0);
    shop.inside().items.insert(1500, item(1500, "Another", 1));
    shop.inside().withdrawn.push(1501);
    let (_folder, file) = file(&csv(1, 3000));
    let name = path(&file);
    let run = ask(&shop, &["import", name, "--in-flight", "1"]).expect(1);
    assert!(run.err.contains(&format!("{name}:1501: item 1500 is there already")), "{run:#?}");
    assert!(run.err.contains(&format!("{name}:1502: item 1501 was withdrawn")), "{run:#?}");
    assert!(run.err.contains("1000 of 3000 rows are in") && run.err.contains("--restart --existing keep"), "{run:#?}");
    assert_eq!(shop.inside().items.len(), 1001, "nothing of the part, and nothing behind it");
    // What was said to be done helps.
    std::fs::write(&file, csv(1, 3000).replace("1501,Row 1501,t,3,1501\n", "")).expect("a file");
    ask(&shop, &["import", name]).expect(1).says("the file has changed since");
    let run = ask(&shop, &["import", name, "--restart", "--existing", "keep", "-o", "json"]).expect(0);
    let told = &run.json()[0];
    assert_eq!((&told["rows"], &told["added"], &told["kept"]), (&json!(2999), &json!(1998), &json!(1001)));
    assert_eq!(shop.inside().items[&1500]["title"], "Another");
}

#[test]
fn rows_of_items_that_are_there_change_them_and_leave_their_stock() {
    let shop = Shop::open(5);
    let (_folder, file) = file(&csv(4, 8));
    let run = ask(&shop, &["import", path(&file), "--existing", "update", "-o", "json"]).expect(0);
    assert_eq!((&run.json()[0]["added"], &run.json()[0]["updated"]), (&json!(3), &json!(2)));
    assert_eq!(shop.inside().items[&4]["title"], "Row 4");
    assert_eq!(shop.inside().items[&4]["quantity"], 100);
}

/// Killed between the store's doing and the note of it, as often as there is such a moment.
#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let shop = Shop::open(0);
    let (_folder, file) = file(&csv(1, 8000));
    for round in 0..3 {
        // The third request of each run hangs in a wait; until then others are done.
        shop.then([Act::Do, Act::Do, Act::Refuse(503, "unavailable", Some("20"))]);
        let before = batches(&shop);
        let mut child = program()
            .args(["-a", &shop.address, "--timeout", "60", "import", path(&file), "--in-flight", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        until("three batches were sent", || batches(&shop) >= before + 3);
        child.kill().and_then(|()| child.wait()).expect("it is killed");
        assert_eq!(shop.inside().items.len(), 2000 * (round + 1));
        shop.inside().acts.clear();
    }
    let run = ask(&shop, &["import", path(&file)]).expect(0);
    assert!(run.err.contains("goes on behind line 6001: 6000 of 8000 rows are in already"), "{run:#?}");
    assert_eq!(shop.inside().items.len(), 8000);
    let keys: std::collections::BTreeSet<String> = shop.keys().into_iter().collect();
    assert_eq!(keys.len(), 8, "one key a batch, in all runs");
    assert!(!note(&file).exists());
}

/// The store has done a batch, and neither the answer arrived nor is the key remembered when it is sent again.
#[test]
fn a_batch_that_was_done_and_forgotten_is_known_by_its_items() {
    for existing in ["refuse", "keep", "update"] {
        let shop = Shop::open(0);
        let (_folder, file) = file(&csv(1, 2500));
        let arguments = ["import", path(&file), "--existing", existing, "--in-flight", "1", "--timeout", "30"];
        shop.then([Act::Do, Act::Lose]);
        shop.then([Act::Refuse(503, "unavailable", Some("3000"))]);
        ask(&shop, &arguments).expect(4).says("run the same command again");
        assert_eq!(shop.inside().items.len(), 2000);
        shop.inside().acts.clear();
        shop.forget();
        // Sold meanwhile, and dearer.
        shop.inside().items.get_mut(&1700).expect("an item")["quantity"] = json!(3);
        let run = ask(&shop, &arguments).expect(0).says("goes on behind line 1001");
        assert!(run.out.contains("2500 rows are in"), "{run:#?}");
        assert_eq!(shop.inside().items.len(), 2500);
        assert_eq!(shop.inside().items[&1700]["quantity"], 3);
    }
}

#[test]
fn a_batch_whose_numbers_are_other_items_now_is_left_to_the_operator() {
    let shop = Shop::open(0);
    let (_folder, file) = file(&csv(1, 1500));
    let arguments = ["import", path(&file), "--in-flight", "1", "--timeout", "30"];
    shop.then([Act::Lose]);
    shop.then([Act::Refuse(503, "unavailable", Some("3000"))]);
    ask(&shop, &arguments).expect(4);
    shop.inside().acts.clear();
    shop.forget();
    shop.inside().items.get_mut(&77).expect("an item")["title"] = json!("Another");
    ask(&shop, &arguments).expect(1).says(":78: item 77 has another title or topic");
}

/// A number that is another's is no sign of an answer that was lost.
#[test]
fn a_batch_that_was_never_in_doubt_is_refused_although_its_items_look_the_same() {
    let shop = Shop::open(0);
    let (_folder, file) = file(&csv(1, 1000));
    ask(&shop, &["import", path(&file)]).expect(0);
    for _ in 0..2 {
        ask(&shop, &["import", path(&file)]).expect(1).says(":2: item 1 is there already");
        assert!(!note(&file).exists(), "nothing is begun, and nothing need be forgotten");
    }
}

#[test]
fn a_file_that_has_changed_is_noticed() {
    let shop = Shop::open(0);
    let (_folder, file) = file(&csv(1, 3000));
    let name = path(&file);
    shop.then([Act::Do]);
    shop.then([Act::Refuse(503, "unavailable", Some("3000"))]);
    ask(&shop, &["import", name, "--in-flight", "1", "--timeout", "30"]).expect(3).says("1000 of 3000 rows are in");
    shop.inside().acts.clear();
    std::fs::write(&file, csv(1, 3001)).expect("a file");
    ask(&shop, &["import", name]).expect(1).says("1000 rows done, and the file has changed since");
    std::fs::write(&file, csv(1, 3000)).expect("a file");
    ask(&shop, &["import", name, "--existing", "keep"]).expect(1).says("another --existing");
    ask(&shop, &["import", name]).expect(0);
    std::fs::write(note(&file), "{").expect("a file");
    ask(&shop, &["import", name]).expect(1).says("begin anew with --restart");
    ask(&shop, &["import", name, "--restart", "--existing", "keep"]).expect(0);
    assert_eq!(shop.inside().items.len(), 3000);
}

#[test]
fn standard_input_is_checked_whole_before_it_is_sent_too() {
    let shop = Shop::open(0);
    ask_with(&shop, &["import", "-"], &(csv(1, 1500) + "x\n")).expect(1).says("-:1502: 1 fields, not 5");
    assert!(shop.inside().asked.is_empty());
    let run = ask_with(&shop, &["import", "-"], &csv(1, 1500)).expect(0).says("it cannot be gone on with");
    assert!(run.out.contains("1500 rows are in"), "{run:#?}");
    assert_eq!(shop.inside().items.len(), 1500);
}

#[test]
fn what_is_exported_is_what_is_imported() {
    let (shop, other) = (Shop::open(0), Shop::open(0));
    shop.inside().items.insert(3, item(3, "a, \"b\"\nc 日本", 1));
    shop.inside().items.insert(1 << 53, item(1 << 53, " x ", 1));
    let text = ask(&shop, &["export"]).expect(0).out;
    ask_with(&other, &["import", "-"], &text).expect(0);
    assert_eq!(ask(&other, &["export"]).expect(0).out, text);
    assert_eq!(other.inside().items[&3]["title"], "a, \"b\"\nc 日本");
}
