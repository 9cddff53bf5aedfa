//! A front end whose answers are held against its own `/openapi.json`.
//!
//! Must not know what is asked.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use reqwest::{
    Method, RequestBuilder, Response,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Map, Value};

use crate::{
    schema::Document,
    shop::{Reply, Shop, book},
};

/// Headers that say nothing of the operation.
const PLAIN: [&str; 5] = ["content-type", "content-length", "transfer-encoding", "connection", "date"];

/// The front end, its document, and what was seen.
pub struct Described {
    pub shop: Shop,
    pub document: Document,
    /// `GET /v1/items 200`
    pub seen: Mutex<BTreeSet<String>>,
}

impl Described {
    /// `knobs`: lines of the layout.
    pub async fn open(knobs: &str) -> Self {
        let shop = Shop::open_with(knobs, vec![book(1, "x", 100), book(3, "y", 5)]).await;
        let document = Document(value(&shop.get("/openapi.json").await.body));
        Self { shop, document, seen: Mutex::default() }
    }

    /// Path, method, and what is written of them.
    pub fn operations(&self) -> Vec<(&String, Method, &Value)> {
        let mut all = Vec::new();
        for (path, item) in self.document.0["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
            all.extend(methods.map(|(name, operation)| (path, name.to_uppercase().parse().unwrap(), operation)));
        }
        all
    }

    /// The path with an example in each place.
    pub fn example(&self, path: &str) -> String {
        let parameters = self.document.0["paths"][path]["parameters"].as_array().into_iter().flatten();
        parameters.fold(path.to_owned(), |path, one| {
            let example = one["example"].to_string().replace('"', "");
            path.replace(&format!("{{{}}}", one["name"].as_str().unwrap()), &example)
        })
    }

    /// The names of an operation's parameters of one kind.
    pub fn parameters(&self, operation: &Value, kind: &str) -> BTreeSet<String> {
        let all = operation["parameters"].as_array().into_iter().flatten().map(|one| self.document.resolved(one));
        all.filter(|one| one["in"] == kind).map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Holds an answer against what is written of it.
    pub fn check(&self, (method, path): (&Method, &str), status: u16, headers: &HeaderMap, body: &str) -> &Value {
        let at = format!("{method} {path} {status}");
        let operation = &self.document.0["paths"][path][method.as_str().to_lowercase()];
        let response = operation["responses"].get(status.to_string());
        let response = self.document.resolved(response.unwrap_or_else(|| panic!("{at} is not described: {body}")));
        let none = Map::new();
        let described = response["headers"].as_object().unwrap_or(&none);
        for (name, header) in described {
            let header = self.document.resolved(header);
            match headers.get(name).map(|value| value.to_str().unwrap()) {
                None => assert_ne!(header["required"], true, "{at} has no {name}"),
                Some(text) => {
                    let schema = &header["schema"];
                    let value = if schema["type"] == "integer" { value(text) } else { text.into() };
                    let mistakes = self.document.mistakes(schema, &value);
                    assert!(mistakes.is_empty(), "{at}, {name}: {mistakes:?}");
                }
            }
        }
        let described: Vec<HeaderName> = described.keys().map(|name| name.parse().unwrap()).collect();
        for name in headers.keys().filter(|name| !PLAIN.contains(&name.as_str())) {
            assert!(described.contains(name), "{at} has {name}, which is not described");
        }
        let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap());
        let media = match (kind, response.get("content")) {
            (None, None) => &Value::Null,
            (Some(kind), Some(content)) => content.get(kind).unwrap_or_else(|| panic!("{at} is not {kind}")),
            (kind, content) => panic!("{at}: {kind:?} is not as described: {content:?}"),
        };
        if media.is_object() {
            let whole = if kind.is_some_and(|kind| kind.contains("json")) { value(body) } else { body.into() };
            let mistakes = self.document.mistakes(&media["schema"], &whole);
            assert!(mistakes.is_empty(), "{at}: {mistakes:#?}");
        }
        self.seen.lock().unwrap().insert(at);
        media
    }

    /// Sends, and holds the answer against what is written of it. `path`: as the document writes it.
    pub async fn send(&self, status: u16, method: Method, path: &str, request: RequestBuilder) -> Reply {
        let reply = self.shop.send(request).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        self.check((&method, path), reply.status, &reply.headers, &reply.body);
        reply
    }

    /// A GET of `place`: [`Described::send`].
    pub async fn get(&self, status: u16, path: &str, place: &str) -> Reply {
        self.send(status, Method::GET, path, self.shop.request(Method::GET, place)).await
    }

    /// A body of JSON to `place`: [`Described::send`].
    pub async fn json(&self, status: u16, method: Method, path: &str, place: &str, body: &Value) -> Reply {
        let request = self.shop.request(method.clone(), place).header("content-type", "application/json");
        self.send(status, method, path, request.body(body.to_string())).await
    }

    /// Begins a stream.
    pub async fn stream(&self, path: &str, place: &str) -> Stream<'_> {
        let request = self.shop.request(Method::GET, place).header("accept", "text/event-stream");
        let response = request.send().await.unwrap();
        let events =
            &self.check((&Method::GET, path), response.status().as_u16(), response.headers(), "")["x-event-data"];
        assert!(events.is_object(), "{path} is no stream: {response:?}");
        Stream { document: &self.document, events, response, rest: String::new() }
    }
}

/// Server-Sent Events, each held against the schema of its kind.
pub struct Stream<'a> {
    document: &'a Document,
    events: &'a Value,
    response: Response,
    rest: String,
}

impl Stream<'_> {
    /// The data of the next event of this kind.
    pub async fn next(&mut self, wanted: &str) -> Value {
        loop {
            while !self.rest.contains("\n\n") {
                let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await;
                let chunk = chunk.expect("the stream is silent").unwrap().expect("the stream has ended");
                self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
            }
            let message = self.rest.clone();
            let (message, rest) = message.split_once("\n\n").unwrap();
            self.rest = rest.to_owned();
            let line = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let (kind, data) = (line("event: "), value(line("data: ")));
            let schema = self.events.get(kind).unwrap_or_else(|| panic!("{kind} is not described"));
            let mistakes = self.document.mistakes(schema, &data);
            assert!(mistakes.is_empty(), "{kind}: {mistakes:#?}");
            if kind == wanted {
                return data;
            }
        }
    }
}

/// Text as JSON.
pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
