//! Puts tables between the markers of a page: `<!-- figures: name -->` and `<!-- end -->`, each a line of its own. Must not know
//! what they are about.

use anyhow::{Context, ensure};

/// The page with what lies between the markers of each part replaced.
///
/// # Errors
/// When the page has no place for a part, or two.
pub fn fill(page: &str, parts: &[(&str, String)]) -> anyhow::Result<String> {
    parts.iter().try_fold(page.to_owned(), |page, (name, text)| {
        let begin = format!("<!-- figures: {name} -->\n");
        let (before, rest) = page.split_once(&begin).with_context(|| format!("there is no {}", begin.trim()))?;
        let (_, after) = rest.split_once("<!-- end -->\n").with_context(|| format!("{name} has no end"))?;
        ensure!(!after.contains(&begin), "{} is there twice", begin.trim());
        Ok(format!("{before}{begin}{}\n<!-- end -->\n{after}", text.trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_the_markers_is_replaced_and_nothing_else() {
        let page = "one\n<!-- figures: a -->\nold\nold\n<!-- end -->\ntwo\n<!-- figures: b -->\n<!-- end -->\nthree\n";
        let filled = fill(page, &[("a", "new\n".to_owned()), ("b", "more".to_owned())]).unwrap();
        let expected =
            "one\n<!-- figures: a -->\nnew\n<!-- end -->\ntwo\n<!-- figures: b -->\nmore\n<!-- end -->\nthree\n";
        assert_eq!(filled, expected);
        assert_eq!(fill(&filled, &[("a", "new\n".to_owned())]).unwrap(), filled, "again, it is the same");
    }

    #[test]
    fn a_page_without_a_place_is_refused() {
        let part = |name| [(name, String::new())];
        assert!(fill("text\n", &part("a")).is_err());
        assert!(fill("<!-- figures: a -->\ntext\n", &part("a")).is_err());
        let twice = "<!-- figures: a -->\n<!-- end -->\n<!-- figures: a -->\n<!-- end -->\n";
        assert!(fill(twice, &part("a")).is_err());
    }
}
