//! Command lines that are none, and what of the environment is heard.

use crate::{
    alone, ask, program,
    shop::{Act, Shop},
};

#[test]
fn what_cannot_be_meant_is_refused_before_anybody_is_asked() {
    let shop = Shop::open(3);
    for line in [
        "",
        "nonsense",
        "show",
        "show 0",
        "show -1",
        "show 9007199254740993",
        "buy",
        "buy 1x0",
        "buy 1x",
        "buy x2",
        "buy 1 --key",
        "set-cost 1",
        "set-cost 1 -1",
        "add-stock 1 1.5",
        "add --title a --topic b --cost 1",
        "list --limit 0",
        "list --timeout 0",
        "list -c 4",
        "orders some-id --limit 3",
        "import - --restart",
        "import x --existing maybe",
        "completions tcsh",
        "snapshot catalog-2",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let run = ask(&shop, &words).expect(2);
        assert!(!run.err.is_empty() && run.out.is_empty(), "{line}: {run:#?}");
    }
    let long = "x".repeat(1025);
    ask(&shop, &["add", "--title", &long, "--topic", "b", "--cost", "1", "--quantity", "1"]).expect(2);
    ask(&shop, &["buy", "1", "--key", "two words"]).expect(2).says("visible ASCII");
    let many: Vec<String> = (1..=101).map(|n: u32| n.to_string()).collect();
    let many: Vec<&str> = ["buy"].into_iter().chain(many.iter().map(String::as_str)).collect();
    ask(&shop, &many).expect(2).says("at most 100 lines");
    assert!(shop.inside().asked.is_empty(), "{:?}", shop.inside().asked);
}

#[test]
fn help_tells_every_exit_status() {
    let help = alone(&["--help"]).expect(0).out;
    for words in
        ["0  done", "1  refused", "2  the command", "3  the store cannot be reached", "4  the outcome is unknown"]
    {
        assert!(help.contains(words), "{words} is not in\n{help}");
    }
    assert!(alone(&["--version"]).expect(0).out.starts_with("catalogctl "));
}

#[test]
fn the_environment_names_the_store_where_nothing_else_does() {
    let (shop, other) = (Shop::open(3), Shop::open(3));
    let run = |address: &str, arguments: &[&str]| {
        let output = program().env("CATALOG_STORE_ADDRESS", address).args(arguments).output();
        output.expect("it runs").status.code()
    };
    assert_eq!(run(&shop.address, &["show", "1"]), Some(0));
    assert_eq!(run(&shop.address, &["-a", &other.address, "show", "1"]), Some(0));
    assert_eq!(run("nonsense", &["show", "1"]), Some(2));
    assert_eq!((shop.inside().asked.len(), other.inside().asked.len()), (1, 1));
}

/// The line that asks again is one that can be run.
#[test]
fn the_line_that_asks_again_names_the_same_store() {
    let shop = Shop::open(3);
    shop.then(vec![Act::Refuse(503, "outcome-unknown", None); 100]);
    let run = ask(&shop, &["add-stock", "1", "5", "--timeout", "1"]).expect(4);
    shop.inside().acts.clear();
    let line =
        run.err.split(": ").find(|part| part.contains("--key")).expect("a line").split(" - ").next().expect("a line");
    let output = std::process::Command::new("sh").args(["-c", line]).output().expect("a shell");
    assert!(output.status.success(), "{line}: {output:?}");
    assert_eq!(shop.inside().items[&1]["quantity"], 105);
}
