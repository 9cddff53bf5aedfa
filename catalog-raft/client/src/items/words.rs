//! What a word is, of a title and of a search, and how many a search may have. Said here once for those who look for
//! words and those who refuse too many; `frontend/page/catalogue.js` says it again, for what a page holds itself.
//!
//! Must not know where words are looked for.

use std::borrow::Cow;

/// The most bytes of a search.
pub const MAX_QUERY: usize = 256;
/// The most words of a search: a long title with its subtitle has fewer.
pub const MAX_QUERY_WORDS: usize = 32;

/// The words of a text, in its order: the runs of letters and digits (Unicode's Alphabetic and Numeric), in lower case.
///
/// Each character is put in lower case by itself, so that the beginning of a word is the beginning of the word in lower
/// case too; for the same reason the sigma that ends a Greek word is like any other. Nothing else is made equal: `é` is
/// not `e`, nor is it `e` with an accent of its own behind it, which ends a word.
pub fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(lower)
}

fn lower(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Cow::Borrowed(word);
    }
    let lower = word.chars().flat_map(char::to_lowercase);
    Cow::Owned(lower.map(|c| if c == 'ς' { 'σ' } else { c }).collect())
}

/// Whether a search is within its bounds.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn check_query(q: &str) -> Result<(), String> {
    if q.len() > MAX_QUERY {
        return Err(format!("q is longer than {MAX_QUERY} bytes: search for fewer words"));
    }
    if words(q).nth(MAX_QUERY_WORDS).is_some() {
        return Err(format!("q has more than {MAX_QUERY_WORDS} words: search for fewer"));
    }
    Ok(())
}
