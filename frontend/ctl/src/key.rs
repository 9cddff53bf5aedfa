//! Idempotency keys: made once for a command, told when its outcome is not known.

use catalog_client::CommandId;
use uuid::Uuid;

/// A new key.
pub fn fresh() -> String {
    CommandId::new().to_string()
}

/// The key that a script gives.
///
/// # Errors
/// When it can be none.
pub fn parse(text: &str) -> Result<String, String> {
    CommandId::from_key(text)
        .map(|_| text.to_owned())
        .map_err(|_| "a key is 1 to 255 visible ASCII characters".to_owned())
}

/// The id of the order that is placed under this key.
pub fn order_id(key: &str) -> String {
    CommandId::from_key(key).map(|id| id.to_string()).unwrap_or_default()
}

/// The key of a part of something larger: always the same for the same part of the same whole.
pub fn of_part(whole: Uuid, part: u64) -> String {
    Uuid::new_v5(&whole, &part.to_be_bytes()).to_string()
}

/// How this very command is given again, under `key`.
pub fn again(arguments: impl IntoIterator<Item = String>, key: &str) -> String {
    let mut words: Vec<String> = arguments.into_iter().map(|word| quoted(&word)).collect();
    if !words.iter().any(|word| word == "--key" || word.starts_with("--key=")) {
        words.extend(["--key".to_owned(), quoted(key)]);
    }
    words.join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_one_key_and_no_two_have_the_same() {
        let whole = Uuid::from_u128(7);
        assert_eq!(of_part(whole, 3), of_part(whole, 3));
        // SHA-1 of the whole's bytes and the part's number, by another implementation (RFC 9562 section 5.5).
        assert_eq!(of_part(whole, 3), "5d15d71e-4880-5ce1-a398-1ceda66f927a");
        assert_eq!(order_id(&of_part(whole, 3)), of_part(whole, 3));
        let keys: std::collections::BTreeSet<String> =
            (0..1000).flat_map(|part| [of_part(whole, part), of_part(Uuid::from_u128(8), part)]).collect();
        assert_eq!(keys.len(), 2000);
    }

    #[test]
    fn what_is_told_to_be_run_again_is_one_line_that_a_shell_takes_back() {
        let words = ["catalogctl", "search", "it's", "", "a b", "--x=1"].map(str::to_owned);
        let line = again(words.clone(), "k");
        let script = format!("for word in {line}; do printf '%s\\n' \"$word\"; done");
        let said = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let said: Vec<String> = String::from_utf8(said.stdout).expect("text").lines().map(str::to_owned).collect();
        let expected: Vec<String> = words.into_iter().chain(["--key".to_owned(), "k".to_owned()]).collect();
        assert_eq!(said, expected);
        assert_eq!(again(["a".to_owned(), "--key=k".to_owned()], "k"), "a --key=k");
    }

    #[test]
    fn keys_are_what_the_store_takes() {
        assert_eq!(parse("order-7").as_deref(), Ok("order-7"));
        for bad in ["", "a b", "é", &"x".repeat(256)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_ne!(fresh(), fresh());
    }
}
