//! `/openapi.json`: the document that describes `/v1`, health and figures, built into the program from
//! `frontend/openapi.json`.
//!
//! Must not know how anything in it is answered: tests hold it against the routes (here) and against real answers
//! (`tests/http/openapi.rs`).

use std::sync::OnceLock;

use hyper::header::HeaderValue;

use crate::{reply::Reply, site};

const DOCUMENT: &str = include_str!("../../openapi.json");

/// The document; 304 if the client knows it. `known`: the client's `If-None-Match`.
pub(super) fn document(known: Option<&str>) -> Reply {
    static ETAG: OnceLock<HeaderValue> = OnceLock::new();
    let etag = ETAG.get_or_init(|| site::etag_of(DOCUMENT));
    site::built_in(DOCUMENT, HeaderValue::from_static("application/json"), etag, known)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::DOCUMENT;

    fn parsed() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Each object in a value, by its pointer.
    fn objects(at: &str, value: &Value, found: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
        match value {
            Value::Object(object) => {
                found(at, object);
                for (name, member) in object {
                    objects(&format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), member, found);
                }
            }
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(n, value)| objects(&format!("{at}/{n}"), value, found));
            }
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
        let document = parsed();
        assert_eq!(document["openapi"], "3.1.0");
        let mut referred = BTreeSet::new();
        objects("", &document, &mut |at, object| {
            if let Some(reference) = object.get("$ref") {
                let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
                let target = pointer.and_then(|pointer| document.pointer(pointer));
                assert!(target.is_some_and(|target| target.get("$ref").is_none()), "{at}: {reference}");
                referred.insert(pointer.unwrap_or_default().to_owned());
            }
        });
        for (kind, components) in document["components"].as_object().unwrap() {
            for name in components.as_object().unwrap().keys() {
                assert!(referred.contains(&format!("/components/{kind}/{name}")), "nothing refers to {kind}/{name}");
            }
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_a_summary_and_a_success() {
        let document = parsed();
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let mut names = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
                let at = format!("{method} {path}");
                assert!(["get", "post", "patch", "delete"].contains(&&**method), "{at}");
                let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at} has no operationId"));
                let other = names.insert(name, at.clone());
                assert!(other.is_none(), "{at} has the operationId of {other:?}");
                assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{at}");
                assert!(
                    operation["tags"].as_array().is_some_and(|of| of.iter().all(|tag| tags.contains(&tag))),
                    "{at}"
                );
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.keys().any(|status| status.starts_with('2')), "{at} never succeeds");
            }
            let declared = item["parameters"].as_array().into_iter().flatten();
            let declared: Vec<_> = declared.filter(|one| one["in"] == "path").map(|one| &one["name"]).collect();
            let named: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).collect();
            assert!(declared.iter().copied().eq(&named), "{path}: {declared:?}");
        }
    }

    /// The arms of `route` are the one list of routes, so they are read as they stand. Were they written otherwise,
    /// nothing would be found, and this would fail.
    #[test]
    fn its_paths_are_the_routes() {
        let source = include_str!("../api.rs").split_once("async fn route(").expect("the routes").1;
        let arms = source.lines().filter_map(|line| line.trim().strip_prefix('[')?.split_once(']'));
        let segment = |text: &str| text.strip_prefix('"').map_or("{}".to_owned(), |text| text.replace('"', ""));
        let path = |arm: &str| arm.split(", ").map(|text| format!("/{}", segment(text))).collect::<String>();
        let mut routes: BTreeSet<String> = arms.map(|(arm, _)| path(arm)).collect();
        for of_the_page in ["/", "/page/{}"] {
            assert!(routes.remove(of_the_page), "{of_the_page} is not among {routes:?}");
        }
        let general = |path: &String| {
            let plain = |(n, part): (usize, &str)| if n % 2 == 0 { part.to_owned() } else { "{}".to_owned() };
            path.split(['{', '}']).enumerate().map(plain).collect::<String>()
        };
        let described: BTreeSet<String> = parsed()["paths"].as_object().unwrap().keys().map(general).collect();
        assert_eq!(described, routes);
    }
}
