//! A store of one process without a log: it knows items, orders and keys, and fails as it is told to.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, Response, StatusCode},
};
use serde_json::{Value, json};

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// It is done and answered.
    Do,
    /// It is done, and the answer is lost.
    Lose,
    /// It is not done: status, problem, `Retry-After`.
    Refuse(u16, &'static str, Option<&'static str>),
    /// It is not done, and this is answered.
    Say(u16, &'static str),
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub key: Option<String>,
    pub min_revision: Option<String>,
    pub body: Value,
}

#[derive(Debug, Default)]
pub struct Inside {
    pub items: BTreeMap<u64, Value>,
    pub withdrawn: Vec<u64>,
    pub orders: Vec<Value>,
    pub asked: Vec<Asked>,
    /// What becomes of the next requests; behind them all are done.
    pub acts: VecDeque<Act>,
    pub revision: u64,
    keys: HashMap<String, (u16, Value)>,
}

/// The shop, and where it is. Ends with the test.
pub struct Shop {
    pub address: String,
    inside: Arc<Mutex<Inside>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Shop {
    /// A shop with items 1 to `count`.
    pub fn open(count: u64) -> Self {
        let inside = Arc::new(Mutex::new(Inside { revision: 10, ..Inside::default() }));
        let items = (1..=count).map(|n| (n, item(n, &format!("Title {n}"), 10)));
        inside.lock().expect("new").items.extend(items);
        let (told, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let state = inside.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                told.send(listener.local_addr().expect("an address").to_string()).expect("heard");
                let router = Router::new().fallback(answer).with_state(state);
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().expect("an address"), inside, stop: Some(stop), thread: Some(thread) }
    }

    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of the next requests.
    pub fn then(&self, acts: impl IntoIterator<Item = Act>) {
        self.inside().acts.extend(acts);
    }

    /// Forgets all keys, as the store does of old ones.
    pub fn forget(&self) {
        self.inside().keys.clear();
    }

    /// The keys that came with writes, in order.
    pub fn keys(&self) -> Vec<String> {
        self.inside().asked.iter().filter_map(|asked| asked.key.clone()).collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn item(n: u64, title: &str, revision: u64) -> Value {
    json!({"item_number": n, "title": title, "topic": "t", "cost": 5, "quantity": 100, "revision": revision})
}

pub fn problem(status: u16, code: &str, more: Value) -> Value {
    let mut body = json!({"type": format!("/problems/{code}"), "title": code, "status": status, "detail": format!("detail of {code}")});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let header = |name: &str| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        key: header("idempotency-key"),
        min_revision: header("x-min-revision"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let mut inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
    inside.asked.push(asked.clone());
    match inside.acts.pop_front().unwrap_or(Act::Do) {
        Act::Do => {
            let (status, body) = inside.done(&asked);
            reply(status, body.to_string().into(), inside.revision)
        }
        Act::Lose => {
            inside.done(&asked);
            let cut = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
            Response::new(Body::from_stream(cut))
        }
        Act::Refuse(status, code, retry) => {
            let mut answer = reply(status, problem(status, code, json!({})).to_string().into(), inside.revision);
            if let Some(retry) = retry {
                answer.headers_mut().insert("retry-after", retry.parse().expect("a header"));
            }
            answer
        }
        Act::Say(status, body) => reply(status, body.into(), inside.revision),
    }
}

fn reply(status: u16, body: Bytes, revision: u64) -> Response<Body> {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer.headers_mut().insert("x-revision", revision.into());
    answer
}

impl Inside {
    fn done(&mut self, asked: &Asked) -> (u16, Value) {
        let Some(key) = asked.key.clone() else { return self.read(asked) };
        if let Some(answer) = self.keys.get(&key) {
            return answer.clone();
        }
        let answer = self.write(asked, &key);
        self.keys.insert(key, answer.clone());
        answer
    }

    fn read(&self, asked: &Asked) -> (u16, Value) {
        if let Some(n) = asked.path.strip_prefix("/v1/items/") {
            return match n.parse().ok().and_then(|n: u64| self.items.get(&n)) {
                Some(item) => (200, item.clone()),
                None => (404, problem(404, "no-such-item", json!({}))),
            };
        }
        let query: HashMap<String, String> = form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
        let after = query.get("after").and_then(|n| n.parse().ok()).unwrap_or(0);
        let limit = query.get("limit").and_then(|n| n.parse().ok()).unwrap_or(100);
        let mut behind = self.items.range(after + 1..);
        let items: Vec<&Value> = behind.by_ref().take(limit).map(|(_, item)| item).collect();
        let next = behind.next().and(items.last()).map(|item| item["item_number"].to_string());
        (200, json!({"items": items, "next": next, "revision": self.revision}))
    }

    fn write(&mut self, asked: &Asked, key: &str) -> (u16, Value) {
        self.revision += 1;
        let revision = self.revision;
        if asked.path == "/v1/orders" {
            let order =
                json!({"id": key, "lines": [], "total": 5, "revision": revision, "time": "2026-01-01T00:00:00.000Z"});
            self.orders.push(order.clone());
            return (201, order);
        }
        if asked.path == "/v1/items:batch" {
            return self.batch(&asked.body, revision);
        }
        let Some(n) = asked.path.strip_prefix("/v1/items/").and_then(|n| n.parse::<u64>().ok()) else {
            return (404, problem(404, "not-found", json!({})));
        };
        let Some(item) = self.items.get_mut(&n) else { return (404, problem(404, "no-such-item", json!({}))) };
        if asked.method == Method::DELETE {
            self.items.remove(&n);
            return (204, Value::Null);
        }
        if let Some(delta) = asked.body["add_quantity"].as_i64() {
            item["quantity"] = json!(item["quantity"].as_i64().unwrap_or(0) + delta);
        }
        if let Some(cost) = asked.body["cost"].as_u64() {
            item["cost"] = json!(cost);
        }
        (200, item.clone())
    }

    fn batch(&mut self, body: &Value, revision: u64) -> (u16, Value) {
        let rows = body["items"].as_array().cloned().unwrap_or_default();
        let existing = body["existing"].as_str().unwrap_or("refuse");
        let number = |row: &Value| row["item_number"].as_u64().unwrap_or(0);
        let fault = |(index, row): (usize, &Value)| {
            let n = number(row);
            let why = match (self.items.contains_key(&n), self.withdrawn.contains(&n)) {
                (_, true) => "withdrawn",
                (true, _) if existing == "refuse" => "taken",
                _ => return None,
            };
            Some(json!({"index": index, "item_number": n, "why": why}))
        };
        let faults: Vec<Value> = rows.iter().enumerate().filter_map(fault).collect();
        if !faults.is_empty() {
            let count = faults.len();
            let first: Vec<Value> = faults.into_iter().take(100).collect();
            return (409, problem(409, "number-taken", json!({"items": first, "count": count})));
        }
        let (mut added, mut updated, mut kept) = (0, 0, 0);
        for row in rows {
            match (self.items.get_mut(&number(&row)), existing) {
                (Some(_), "keep") => kept += 1,
                (Some(item), _) => {
                    updated += 1;
                    for member in ["title", "topic", "cost"] {
                        item[member] = row[member].clone();
                    }
                }
                (None, _) => {
                    added += 1;
                    let mut item = row.clone();
                    item["revision"] = json!(revision);
                    self.items.insert(number(&row), item);
                }
            }
        }
        (200, json!({"added": added, "updated": updated, "kept": kept, "revision": revision}))
    }
}
