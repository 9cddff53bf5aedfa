//! `/openapi.json` holds what is true: its methods, arguments and bodies are those that are taken, and answers have the
//! statuses, headers and members that it names.

use std::collections::BTreeSet;

use catalog_client::{
    Action, Outcome, TakenRow,
    items::{import_json, refusal_of},
};
use frontend::front::MAX_LOOKERS;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{
    described::{Described, value},
    fake::eventually,
    schema::Document,
    shop::Shop,
};

#[tokio::test]
async fn it_is_served_and_sent_once() {
    let shop = Shop::open().await;
    let document = shop.get("/openapi.json").await;
    assert_eq!((document.status, document.header("content-type")), (200, "application/json"));
    assert_eq!(document.body, include_str!("../../openapi.json"));
    for known in [document.header("etag"), &format!("\"0\", {}", document.header("etag"))] {
        let again = shop.send(shop.request(Method::GET, "/openapi.json").header("if-none-match", known)).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
    }
    let other = shop.send(shop.request(Method::GET, "/openapi.json").header("if-none-match", "\"0\"")).await;
    assert_eq!(other, document);
    let head = shop.send(shop.request(Method::HEAD, "/openapi.json")).await;
    assert_eq!((head.status, head.header("etag")), (200, document.header("etag")));
}

#[tokio::test]
async fn its_methods_and_arguments_are_those_that_are_taken() {
    let described = Described::open("").await;
    let operations = described.operations();
    assert!(operations.len() > 10);
    for (path, method, operation) in &operations {
        let place = described.example(path);
        let refused = described.shop.send(described.shop.request(Method::PUT, &place)).await;
        assert_eq!(refused.status, 405, "PUT {place}");
        let allowed: BTreeSet<&str> = refused.header("allow").split(", ").collect();
        let of_path = operations.iter().filter(|(other, ..)| other == path);
        let mut methods: BTreeSet<&str> = of_path.map(|(_, method, _)| method.as_str()).collect();
        if methods.contains("GET") && *path != "/v1/watch" {
            methods.insert("HEAD");
        }
        assert_eq!(allowed, methods, "{path}");
        // Elsewhere arguments mean nothing, and pass.
        if path.starts_with("/v1/") && *path != "/v1/cluster" {
            let foreign = described.shop.request(method.clone(), &format!("{place}?foreign=1"));
            let reply = described.shop.send(foreign).await;
            let known = reply.body.split_once("known are: ").map(|(_, rest)| rest.split('"').next().unwrap());
            let known: BTreeSet<String> =
                known.unwrap_or_else(|| panic!("{reply:?}")).split(", ").map(Into::into).collect();
            let mut arguments = described.parameters(operation, "query");
            if arguments.is_empty() {
                arguments.insert("none".to_owned());
            }
            assert_eq!(known, arguments, "{method} {path}");
        } else {
            assert_eq!(described.parameters(operation, "query"), BTreeSet::new(), "{method} {path}");
        }
    }
}

/// What a header says is refused if it cannot be read, and passes if nobody reads it.
#[tokio::test]
async fn its_headers_are_those_that_are_read() {
    let described = Described::open("").await;
    for (path, method, operation) in described.operations() {
        let names = described.parameters(operation, "header");
        for (name, wrong) in
            [("If-Match", "x"), ("Idempotency-Key", "a b"), ("X-Min-Revision", "x"), ("Last-Event-ID", "x")]
        {
            let mut request = described.shop.request(method.clone(), &described.example(path)).header(name, wrong);
            if let Some(body) = operation.get("requestBody") {
                let example = &body["content"]["application/json"]["example"];
                request = request.header("content-type", "application/json").body(example.to_string());
            }
            let status = request.send().await.unwrap().status();
            // Where keys are in the body, one that is in the header is refused however it is written.
            let is_refused = names.contains(name) || (*path == "/v1/orders:batch" && name == "Idempotency-Key");
            assert_eq!(status == 400, is_refused, "{method} {path} with {name}: {status}");
        }
        let other =
            |name: &String| !["If-Match", "Idempotency-Key", "X-Min-Revision", "Last-Event-ID"].contains(&&**name);
        let others: Vec<_> = names.iter().filter(|name| other(name)).collect();
        assert!(others.is_empty() || others == ["If-None-Match"], "{method} {path}: {others:?}");
    }
}

/// The objects in a value by their pointers, with their schemas.
fn objects<'a>(document: &'a Document, at: &str, schema: &'a Value, value: &Value) -> Vec<(String, &'a Value)> {
    let schema = document.resolved(schema);
    match value {
        Value::Object(members) => {
            let inner =
                |(name, member)| objects(document, &format!("{at}/{name}"), &schema["properties"][name], member);
            [(at.to_owned(), schema)].into_iter().chain(members.iter().flat_map(inner)).collect()
        }
        Value::Array(values) => objects(document, &format!("{at}/0"), &schema["items"], &values[0]),
        _ => vec![],
    }
}

#[tokio::test]
async fn its_request_bodies_are_those_that_are_read() {
    let described = Described::open("").await;
    let document = &described.document;
    let mut bodies = 0;
    for (path, method, operation) in described.operations() {
        let Some(body) = operation.get("requestBody") else { continue };
        let (media, place) = (&body["content"]["application/json"], described.example(path));
        let (schema, example) = (&media["schema"], &media["example"]);
        assert_eq!(document.mistakes(schema, example), [""; 0], "{path}");
        let send = async |body: &Value| {
            let reply = described.shop.json(method.clone(), &place, &body.to_string()).await;
            described.check((&method, path), reply.status, &reply.headers, &reply.body);
            reply
        };
        assert!(send(example).await.status < 300, "{path}");
        for (at, schema) in objects(document, "", schema, example) {
            let changed = |change: &dyn Fn(&mut Map<String, Value>)| {
                let mut body = example.clone();
                change(body.pointer_mut(&at).and_then(Value::as_object_mut).unwrap());
                body
            };
            let properties = schema["properties"].as_object().unwrap();
            let refused = send(&changed(&|object| drop(object.insert("foreign".to_owned(), 1.into())))).await;
            assert_eq!((refused.status, &schema["additionalProperties"]), (400, &false.into()), "{path} {at}");
            let mut named: BTreeSet<&str> = refused.body.split('`').skip(1).step_by(2).collect();
            assert!(named.remove("foreign"), "{refused:?}");
            assert_eq!(named, properties.keys().map(String::as_str).collect(), "{path} {at}: {refused:?}");
            for name in properties.keys() {
                let without = changed(&|object| drop(object.remove(name).expect("the example has all members")));
                let is_required =
                    schema["required"].as_array().is_some_and(|names| names.contains(&name.as_str().into()));
                let reply = send(&without).await;
                assert_eq!(reply.status == 400, is_required, "{path} {at} without {name}: {reply:?}");
                assert_eq!(document.mistakes(&media["schema"], &without).is_empty(), !is_required);
            }
        }
        bodies += 1;
    }
    assert_eq!(bodies, 5);
}

#[tokio::test]
async fn answers_have_the_form_that_it_says() {
    let described = Described::open("").await;
    let shop = &described.shop;
    for (path, place) in [
        ("/v1/items", "/v1/items?limit=1"),
        ("/v1/items", "/v1/items?read=linearizable"),
        ("/v1/items/{n}", "/v1/items/1"),
        ("/v1/cluster", "/v1/cluster"),
        ("/livez", "/livez"),
        ("/readyz", "/readyz"),
        ("/metrics", "/metrics"),
        ("/openapi.json", "/openapi.json"),
    ] {
        let reply = described.get(200, path, place).await;
        if !reply.header("etag").is_empty() {
            let known = shop.request(Method::GET, place).header("if-none-match", reply.header("etag"));
            described.send(304, Method::GET, path, known).await;
        }
    }
    let mut changes = described.stream("/v1/watch", "/v1/watch").await;
    changes.next("bookmark").await;

    let (items, item) = ("/v1/items", "/v1/items/{n}");
    let new = json!({"title": "New", "topic": "x", "cost": 3, "quantity": 4});
    described.json(201, Method::POST, items, items, &new).await;
    described.json(200, Method::PATCH, item, "/v1/items/4", &json!({"cost": 5})).await;
    described.json(409, Method::PATCH, item, "/v1/items/4", &json!({"add_quantity": -9})).await;
    described.json(404, Method::PATCH, item, "/v1/items/99", &json!({"cost": 5})).await;
    let late = shop.request(Method::PATCH, "/v1/items/4").header("content-type", "application/json");
    described.send(412, Method::PATCH, item, late.header("if-match", "\"1.0\"").body(r#"{"cost": 6}"#)).await;
    let taken = json!({"item_number": 1, "title": "New", "topic": "x", "cost": 3, "quantity": 4});
    described.json(409, Method::POST, items, items, &taken).await;
    described
        .json(422, Method::POST, items, items, &json!({"title": "", "topic": "x", "cost": 3, "quantity": 4}))
        .await;
    described.json(413, Method::POST, items, items, &Value::from(" ".repeat(70_000))).await;
    described.send(415, Method::POST, items, shop.request(Method::POST, items).body("{}")).await;
    described.send(204, Method::DELETE, item, shop.request(Method::DELETE, "/v1/items/4")).await;
    described.send(404, Method::DELETE, item, shop.request(Method::DELETE, "/v1/items/4")).await;
    for none in ["/v1/items/4", "/v1/items/x"] {
        described.get(404, item, none).await;
    }
    described.get(400, items, "/v1/items?limit=0").await;
    assert_eq!(changes.next("change").await["changes"][0]["type"], "put");
    while changes.next("change").await["changes"][0]["type"] != "withdrawn" {}

    let batch = "/v1/items:batch";
    described
        .json(
            200,
            Method::POST,
            batch,
            batch,
            &json!({"items": [{"item_number": 7, "title": "a", "topic": "x", "cost": 1, "quantity": 1}]}),
        )
        .await;
    let bad = json!({"items": [{"item_number": 1.5, "title": "a", "topic": "x", "cost": 1, "quantity": 1}]});
    described.json(422, Method::POST, batch, batch, &bad).await;

    let (orders, order) = ("/v1/orders", "/v1/orders/{id}");
    let line = |item_number: u64, quantity: u64| json!([{"item_number": item_number, "quantity": quantity}]);
    let placed = described.json(201, Method::POST, orders, orders, &json!({"lines": line(3, 2)})).await;
    let short = described.json(409, Method::POST, orders, orders, &json!({"lines": line(3, 9)})).await;
    assert_eq!((&value(&short.body)["wanted"], &value(&short.body)["left"]), (&json!(9), &json!(3)));
    described.json(404, Method::POST, orders, orders, &json!({"lines": line(99, 1)})).await;
    described.json(422, Method::POST, orders, orders, &json!({"lines": []})).await;
    described.get(200, orders, orders).await;
    described.get(200, order, placed.header("location")).await;
    described.get(404, order, "/v1/orders/00000000-0000-0000-0000-000000000000").await;
    let batch = "/v1/orders:batch";
    let both = json!({"orders": [{"lines": line(3, 1)}, {"lines": line(3, 9), "idempotency_key": "ada-1"}]});
    let both = described.json(200, Method::POST, batch, batch, &both).await;
    assert!(
        value(&both.body)["orders"][0]["order"].is_object() && value(&both.body)["orders"][1]["problem"].is_object()
    );
    described.json(422, Method::POST, batch, batch, &json!({"orders": [{"lines": line(3, 0)}]})).await;

    let mut cluster = described.stream("/v1/cluster", "/v1/cluster").await;
    while cluster.next("cluster").await["samples"].as_array().unwrap().is_empty() {}
    let mut lookers = Vec::new();
    for _ in 1..MAX_LOOKERS {
        lookers.push(described.stream("/v1/cluster", "/v1/cluster").await);
    }
    let too_many = shop.request(Method::GET, "/v1/cluster").header("accept", "text/event-stream");
    described.send(429, Method::GET, "/v1/cluster", too_many).await;

    shop.fake.write(Action::WithdrawItem { item_number: 7, if_match: None });
    shop.fake.with(|world| world.oldest = world.revision);
    described.get(410, "/v1/watch", "/v1/watch?after=1").await;
    described.get(400, "/v1/watch", "/v1/watch?after=x").await;

    let seen = described.seen.lock().unwrap();
    for (path, method, _) in described.operations() {
        let success = format!("{method} {path} 2");
        assert!(seen.iter().any(|seen| seen.starts_with(&success)), "{method} {path} was not tried");
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_in_the_form_that_it_says() {
    let described = Described::open("freshness_ms = 300\ndeadline_ms = 1000").await;
    let shop = &described.shop;
    let mut cluster = described.stream("/v1/cluster", "/v1/cluster").await;
    // Only what has been seen to be there is missed: one message is made at once, and each other by a look.
    for _ in 0..3 {
        cluster.next("cluster").await;
    }
    shop.fake.with(|world| (world.stream, world.quorum) = (false, false));
    while cluster.next("cluster").await["events"].as_array().unwrap().is_empty() {}
    eventually("it is not fresh", async || shop.get("/readyz").await.status == 503).await;
    described.get(503, "/readyz", "/readyz").await;
    described.get(503, "/v1/items", "/v1/items?read=linearizable").await;
    let (orders, batch) = ("/v1/orders", "/v1/orders:batch");
    let line = json!([{"item_number": 3, "quantity": 1}]);
    let unknown = described.json(503, Method::POST, orders, orders, &json!({"lines": line})).await;
    assert!(value(&unknown.body)["idempotency_key"].is_string(), "{unknown:?}");
    let unknown = json!({"orders": [{"lines": line}]});
    assert!(!described.json(200, Method::POST, batch, batch, &unknown).await.header("retry-after").is_empty());
}

/// What the catalog of these tests does not do: an import over existing items.
#[tokio::test]
async fn an_import_that_is_refused_has_the_form_that_it_says() {
    let described = Described::open("").await;
    let document = &described.document;
    let rows = vec![TakenRow { index: 1, withdrawn: true, item_number: 8 }];
    let refused = refusal_of(&Outcome::RowsTaken { count: 3, rows }).unwrap().value();
    assert_eq!(document.mistakes(document.schema("Problem"), &refused), [""; 0]);
    let done = import_json(&Outcome::Imported { added: 1, updated: 2, kept: 3 }, 9).unwrap();
    let done = value(std::str::from_utf8(&done).unwrap());
    assert_eq!(document.mistakes(document.schema("Imported"), &done), [""; 0]);
}
