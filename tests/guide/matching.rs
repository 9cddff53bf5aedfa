//! Whether a command printed what its page shows. What differs from run to run is `…` there: within a line it stands for
//! any text, as a line of its own for any lines. Must not know commands.

use std::collections::BTreeMap;

/// What a page writes for what differs from run to run.
const ANY: char = '…';

/// Compares line by line. The ends of lines, and empty lines at the end, are not compared.
///
/// # Errors
/// The first line of the page that cannot be found, with all that was printed.
pub fn matches(page: &str, printed: &str) -> Result<(), String> {
    let (expected, got) = (lines(page), lines(printed));
    let mut reached = 0;
    if all(&expected, &got, 0, &mut reached) {
        return Ok(());
    }
    let missing = expected.get(reached).copied().unwrap_or("(the end)");
    Err(format!("  the page shows   {missing}\n  what was printed:\n    {}", got.join("\n    ")))
}

/// As [`matches`], for what the page shows in full of one run: a number, an id or a time stands for any other, a role for
/// either, hashes that are equal on the page must be equal, and how far columns lie apart is not compared.
///
/// # Errors
/// As [`matches`].
pub fn matches_figures(page: &str, printed: &str) -> Result<(), String> {
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    let loosened = |text: &str, hashes: &mut Vec<String>| {
        let lines = text.lines().map(|line| loosen(line, hashes));
        lines.collect::<Vec<_>>().join("\n")
    };
    matches(&loosened(page, &mut expected), &loosened(printed, &mut got))?;
    let mut seen: BTreeMap<&String, &String> = BTreeMap::new();
    for (shown, printed) in expected.iter().zip(&got) {
        let first = seen.entry(shown).or_insert(printed);
        if *first != printed {
            return Err(format!("  {shown} is once {first} and once {printed}"));
        }
    }
    Ok(())
}

/// Whether a word is a UUID.
fn is_id(word: &str) -> bool {
    word.len() == 36 && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Whether a word is a time as RFC 3339 writes it, in UTC.
fn is_time(word: &str) -> bool {
    word.strip_suffix('Z').and_then(|time| time.split_once('T')).is_some_and(|(day, time)| {
        [day, time].iter().all(|part| part.bytes().all(|b| b.is_ascii_digit() || b"-:.".contains(&b)))
    })
}

/// A line with its words one space apart; numbers, roles and hashes replaced by what they are.
fn loosen(line: &str, hashes: &mut Vec<String>) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ':', ')']);
        let what = if bare.len() == 32 && bare.bytes().all(|b| b.is_ascii_hexdigit()) {
            hashes.push(bare.to_owned());
            "<hash>"
        } else if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            "<number>"
        } else if is_id(bare) || is_time(bare) {
            "<this run's>"
        } else if matches!(bare, "leader" | "follower") {
            "<role>"
        } else {
            bare
        };
        what.to_owned() + &word[bare.len()..]
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// Whether all lines match, from line `at` of the page on. `reached` is the furthest line that did not.
fn all(expected: &[&str], got: &[&str], at: usize, reached: &mut usize) -> bool {
    *reached = at.max(*reached);
    let Some((first, rest)) = expected.split_first() else { return got.is_empty() };
    if first.trim() == ANY.to_string() {
        return (0..=got.len()).any(|skipped| all(rest, &got[skipped..], at + 1, reached));
    }
    got.split_first().is_some_and(|(line, others)| one(first, line) && all(rest, others, at + 1, reached))
}

/// Whether a line matches.
fn one(expected: &str, got: &str) -> bool {
    let mut parts = expected.split(ANY);
    let Some(mut rest) = parts.next().and_then(|first| got.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn a_difference_is_found() {
    for (page, printed) in [
        ("a", "b"),
        ("a", ""),
        ("", "a"),
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("a\nb", "b\na"),
        ("a…", "ba"),
        ("…a", "ab"),
        ("a…b…c", "a c b"),
        ("{\"cost\": 50}", "{\"cost\":50}"),
        ("a…b", "a\nb"),
        ("a\n…\nc", "a\nb"),
        ("aba…ba", "aba"),
        ("HTTP/1.1 201 Created\n…\n{\"id\":\"…\"}", "HTTP/1.1 409 Conflict\nx: y\n\n{\"id\":\"1\"}"),
    ] {
        assert!(matches(page, printed).is_err(), "{page:?} is not {printed:?}");
    }
    let why = matches("one\ntwo\nthree\n", "one\ntwo\nfour\n").unwrap_err();
    assert!(why.contains("the page shows   three") && why.contains("four"), "{why}");
}

#[test]
fn what_differs_from_run_to_run_is_passed_over() {
    for (page, printed) in [
        ("a", "a\r\n"),
        ("…", ""),
        ("…", "any\nlines"),
        ("a…", "a"),
        ("a…c…e", "abcde"),
        ("x-revision: …\n", "x-revision: 17\r\n"),
        ("a\n…\nc", "a\nc"),
        ("a\n…\nc", "a\nb\nb\nc"),
        ("a\n…\nc\n…", "a\nc\nb\nc\nd"),
        ("HTTP/1.1 204 No Content\n\n", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        matches(page, printed).unwrap_or_else(|why| panic!("{page:?}: {why}"));
    }
}

#[test]
fn figures_may_differ_and_equal_hashes_may_not() {
    let hash = |digit: &str| digit.repeat(32);
    let page = format!("NODE  UP\none   17  {} leader\ntwo   4  {}, follower", hash("a"), hash("a"));
    let run =
        |one: &str, two: &str| format!("NODE UP\none 9 {} follower\ntwo 12345   {}, leader\n", hash(one), hash(two));
    matches_figures(&page, &run("b", "b")).unwrap();
    assert!(matches_figures(&page, &run("b", "c")).is_err());
    assert!(matches_figures(&page, "NODE UP\none down\ntwo 4 x").is_err());
    matches_figures("caught up after 0.84 s: leader, pid 7)", "caught up after 12 s: follower, pid 12345)").unwrap();
    let order = |id: &str, at: &str| format!("order {id} of {at}, total");
    let page = order("01a21f4a-9bba-76ac-8640-77cc8092a738", "2026-11-27T23:15:12.955Z");
    matches_figures(&page, &order("0198c5e0-0000-7000-8000-000000000001", "2027-01-01T00:00:00.000Z")).unwrap();
    assert!(matches_figures(&page, &order("0198c5e0", "2027-01-01T00:00:00.000Z")).is_err());
    assert!(matches_figures(&page, &order("0198c5e0-0000-7000-8000-000000000001", "yesterday")).is_err());
    for (shown, printed) in [("one up 7", "one down 7"), ("a 1", "b 1"), ("a 1", "a -"), ("one 1", "one 1 1")] {
        assert!(matches_figures(shown, printed).is_err(), "{shown} is not {printed}");
    }
}
