//! The page: files of `frontend/page`, built into the program, and the headers that they are served with.
//!
//! Must not know what the page does.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use catalog_client::items::tags_match;
use hyper::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue},
};

use crate::reply::{self, Reply};

/// Nothing is loaded but from here, nothing inline runs, no text becomes markup, nobody frames the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);
const HEADERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Each file's name and content.
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../page/", $name)))),*];
    };
}

files![
    "index.html",
    "style.css",
    "shop.css",
    "cluster.css",
    "icon.svg",
    "errors.js",
    "app.js",
    "api.js",
    "basket.js",
    "book.js",
    "books.js",
    "catalogue.js",
    "charts.js",
    "cluster.js",
    "dom.js",
    "orders.js",
    "replica.js",
    "stream.js",
    "timeline.js",
];

/// Whether the page has a file of this name.
pub fn has(name: &str) -> bool {
    place(name).is_some()
}

/// The page itself. `known`: the client's `If-None-Match`.
pub fn index(known: Option<&str>) -> Reply {
    file("index.html", known)
}

/// A file of the page, which [`has`] it; 304 if the client knows it. `known`: the client's `If-None-Match`.
pub fn file(name: &str, known: Option<&str>) -> Reply {
    let Some(place) = place(name) else { return reply::empty(StatusCode::NOT_FOUND) };
    let mut reply = built_in(FILES[place].1, content_type(name), &etags()[place], known);
    let headers = reply.headers_mut();
    headers.insert(HeaderName::from_static("content-security-policy"), POLICY);
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    reply
}

/// Content that is built into the program; 304 if the client knows it. `etag`: that of [`etag_of`]. `known`: the
/// client's `If-None-Match`.
pub fn built_in(content: &'static str, kind: HeaderValue, etag: &HeaderValue, known: Option<&str>) -> Reply {
    let is_known = known.is_some_and(|known| etag.to_str().is_ok_and(|etag| tags_match(known, etag)));
    let mut reply = if is_known {
        reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        let mut reply = reply::json(StatusCode::OK, content);
        reply.headers_mut().insert(CONTENT_TYPE, kind);
        reply
    };
    let headers = reply.headers_mut();
    headers.insert(ETAG, etag.clone());
    // Asked for each time: a page of one build never runs with a script of another.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// The entity tag of content: made of nothing else.
pub fn etag_of(content: &str) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish())).unwrap_or(HeaderValue::from_static("\"\""))
}

fn place(name: &str) -> Option<usize> {
    FILES.iter().position(|(known, _)| *known == name)
}

fn content_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit_once('.').map_or("", |(_, kind)| kind) {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    })
}

/// Of each file.
fn etags() -> &'static [HeaderValue] {
    static ETAGS: OnceLock<Vec<HeaderValue>> = OnceLock::new();
    ETAGS.get_or_init(|| FILES.iter().map(|(_, content)| etag_of(content)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All files of the folder are built in, each with a type, and each is named by one that loads it.
    #[test]
    fn the_page_has_all_of_its_files() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(has(&name), "{name} is not built in");
        }
        for (name, _) in FILES {
            assert_ne!(content_type(name), "application/octet-stream", "{name}");
            let loaded = *name == "index.html" || FILES.iter().any(|(_, content)| content.contains(name));
            assert!(loaded, "nothing loads {name}");
        }
    }

    /// What the policy forbids would fail in silence.
    #[test]
    fn nothing_is_inline_and_nothing_becomes_markup() {
        for (name, content) in FILES {
            for forbidden in ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "style=\"", " onclick="] {
                assert!(!content.contains(forbidden), "{name} has {forbidden}");
            }
        }
        let (_, index) = FILES.iter().find(|(name, _)| *name == "index.html").unwrap();
        let scripts = index.matches("<script").count();
        assert_eq!(
            index.matches("<script src=").count() + index.matches("<script type=\"module\" src=").count(),
            scripts
        );
        assert!(!index.contains("<style"));
    }

    #[test]
    fn who_knows_a_file_is_not_sent_it_again() {
        let first = file("app.js", None);
        assert_eq!(first.status(), StatusCode::OK);
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert_eq!(file("app.js", Some(&etag)).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(file("app.js", Some("\"0\"")).status(), StatusCode::OK);
        assert!(first.headers()["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    }
}
