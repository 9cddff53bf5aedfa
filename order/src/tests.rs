//! The server as its users see it, over a catalog of one replica that is made up.

mod fake;

use std::{path::Path, time::Duration};

use catalog_client::{Action, Command, CommandId, KeyOrigin, Line, Outcome, frame};
use cluster_config::Layout;
use order_client::{BATCH_CONTENT_TYPE, BATCH_PATH, BatchAnswer, NotPlaced, Orders, PlaceBatch, Server};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::Instant};

use self::fake::{Fake, Mode, START};

/// A server, and the catalog that it knows.
struct Running {
    catalog: Fake,
    address: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    http: Client,
}

impl Running {
    /// Started and ready, with a deadline of `deadline_ms` and room for `queue` orders.
    async fn start(deadline_ms: u64, queue: usize) -> Self {
        let running = Self::start_beside(Fake::start().await, deadline_ms, queue).await;
        running.until_ready(StatusCode::OK).await;
        running
    }

    async fn start_beside(catalog: Fake, deadline_ms: u64, queue: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let text = format!(
            "deadline_ms = {deadline_ms}\nqueue = {queue}\nlog_requests = true\n[[catalog]]\nid = 1\n\
             client = \"127.0.0.1:1\"\npeer = \"{}\"\n[[order]]\nid = 1\naddress = \"{address}\"\n",
            catalog.address
        );
        let layout = Layout::parse(&text, Path::new("test.toml")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(async move {
            crate::server::run(&layout, "order-1", listener, async { drop(stopped.await) }).await;
        });
        let http = Client::builder().no_proxy().build().unwrap();
        Self { catalog, address, stop, server, http }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &str) -> Response {
        self.request(Method::POST, path)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }

    async fn until_ready(&self, status: StatusCode) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.get("/readyz").await.status() != status {
            assert!(Instant::now() < deadline, "never {status} at /readyz");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

/// Status and body of a refusal of the compatible surface.
async fn compatible(response: Response) -> (u16, String) {
    assert_eq!(header(&response, "content-type"), "application/json");
    let status = response.status().as_u16();
    assert_eq!(header(&response, "retry-after"), if matches!(status, 429 | 503) { "1" } else { "" });
    let body: Value = response.json().await.unwrap();
    let error = body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert_eq!(body, json!({ "error": error }));
    (status, error)
}

/// Status and type of a problem.
async fn problem(response: Response) -> (u16, String) {
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    let status = response.status().as_u16();
    assert_eq!(header(&response, "retry-after"), if matches!(status, 429 | 503) { "1" } else { "" });
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
    (status, body["type"].as_str().unwrap().trim_start_matches("/problems/").to_owned())
}

fn order(item_number: u64) -> Command {
    let action = Action::PlaceOrder { lines: vec![Line { item_number, quantity: 1 }] };
    Command { id: CommandId::new(), origin: KeyOrigin::Made, born: 3, action }
}

#[tokio::test]
async fn a_buy_is_answered_to_the_byte_with_its_headers() {
    let shop = Running::start(20_000, 100).await;
    let response = shop.get("/buy/1").await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "cache-control"), "no-store");
    assert_eq!(header(&response, "x-served-by"), "catalog-1");
    assert_eq!(header(&response, "x-revision"), (START + 1).to_string());
    let id = CommandId::parse(header(&response, "idempotency-key")).unwrap();
    assert_eq!(response.text().await.unwrap(), "\"Record successfully bought\"");
    let command = shop.catalog.commands().pop().unwrap();
    assert_eq!((command.id, command.origin), (id, KeyOrigin::Made));
    assert!(command.born >= START);

    for (path, body) in [("/buy/", "{\"item_number\": 1}"), ("/buy", "{\"item_number\": \"1\"}")] {
        assert_eq!(shop.post(path, body).await.text().await.unwrap(), "\"Record successfully bought\"");
    }
    // Three were in stock.
    assert_eq!(shop.get("/buy/1").await.text().await.unwrap(), "\"Item is unavailable.\"");
    let unknown = shop.get("/buy/99").await;
    assert_eq!(unknown.status(), 200);
    assert_eq!(unknown.text().await.unwrap(), "\"Item is unavailable.\"");
    let metrics = shop.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("order_results_total{result=\"placed\"} 3\n"), "{metrics}");
    assert!(metrics.contains("order_results_total{result=\"out-of-stock\"} 1\n"), "{metrics}");
    assert!(metrics.contains("order_results_total{result=\"no-such-item\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_key_of_the_client_buys_once() {
    let shop = Running::start(20_000, 100).await;
    let buy = |path: &'static str| shop.request(Method::GET, path).header("Idempotency-Key", "order-7").send();
    for _ in 0..3 {
        let response = buy("/buy/1").await.unwrap();
        assert_eq!(header(&response, "idempotency-key"), "order-7");
        assert_eq!(header(&response, "x-revision"), (START + 1).to_string());
        assert_eq!(response.text().await.unwrap(), "\"Record successfully bought\"");
    }
    assert!(shop.catalog.commands().iter().all(|command| command.origin == KeyOrigin::Client));
    let reused = buy("/buy/2").await.unwrap();
    assert_eq!(header(&reused, "idempotency-key"), "order-7");
    assert_eq!(compatible(reused).await.0, 422);
    let bad = shop.request(Method::GET, "/buy/1").header("Idempotency-Key", "a b").send().await.unwrap();
    assert_eq!(compatible(bad).await.0, 400);
}

#[tokio::test]
async fn what_is_wrong_in_form_never_reaches_the_catalog() {
    let shop = Running::start(20_000, 100).await;
    for path in ["/buy", "/buy/", "/buy/0", "/buy/x", "/buy/1/2", "/buy/9007199254740993", "/buy/%zz"] {
        assert_eq!(compatible(shop.get(path).await).await.0, 400, "{path}");
    }
    for path in ["/", "/lookup/1", "/buyer", "/buyer/1", "/update_q/1/1"] {
        assert_eq!(compatible(shop.get(path).await).await.0, 404, "{path}");
        assert_eq!(compatible(shop.post(path, "{}").await).await.0, 404, "{path}");
    }
    for body in ["", "[]", "{}", "{\"item_number\": 1.5}", "{\"item_number\": 1, \"x\": 1}"] {
        assert_eq!(compatible(shop.post("/buy/", body).await).await.0, 400, "{body}");
    }
    let long = " ".repeat((64 << 10) + 1);
    assert_eq!(compatible(shop.post("/buy/", &long).await).await.0, 413);
    let plain = shop.request(Method::POST, "/buy/").body("{\"item_number\": 1}").send().await.unwrap();
    assert_eq!(compatible(plain).await.0, 415);
    for (method, path, allow) in
        [(Method::POST, "/buy/1", "GET"), (Method::DELETE, "/buy/1", "GET"), (Method::PUT, "/buy/", "GET, POST")]
    {
        let response = shop.request(method, path).send().await.unwrap();
        assert_eq!(header(&response, "allow"), allow);
        assert_eq!(compatible(response).await.0, 405);
    }
    // HEAD must not buy either.
    assert_eq!(shop.request(Method::HEAD, "/buy/1").send().await.unwrap().status(), 405);
    assert_eq!(shop.catalog.commands(), []);
}

#[tokio::test]
async fn orders_are_placed_and_read_back() {
    let shop = Running::start(20_000, 100).await;
    let body = json!({"lines": [{"item_number": 2, "quantity": 2}, {"item_number": 1, "quantity": 1}]}).to_string();
    let response = shop.post("/v1/orders", &body).await;
    assert_eq!(response.status(), 201);
    assert_eq!(header(&response, "x-served-by"), "catalog-1");
    assert_eq!(header(&response, "x-revision"), (START + 1).to_string());
    let id = header(&response, "idempotency-key").to_owned();
    assert_eq!(header(&response, "location"), format!("/v1/orders/{id}"));
    let placed: Value = response.json().await.unwrap();
    assert_eq!((&placed["id"], &placed["total"], &placed["revision"]), (&json!(id), &json!(30), &json!(START + 1)));

    let response = shop.get(&format!("/v1/orders/{id}")).await;
    assert_eq!((response.status().as_u16(), header(&response, "x-served-by")), (200, "catalog-1"));
    assert_eq!(response.json::<Value>().await.unwrap(), placed);
    let page: Value = shop.get("/v1/orders?limit=1").await.json().await.unwrap();
    assert_eq!(page, json!({"orders": [placed], "next": null, "revision": START + 1}));
    let after: Value = shop.get(&format!("/v1/orders?after={}.0", START + 1)).await.json().await.unwrap();
    assert_eq!(after["orders"], json!([]));
}

#[tokio::test]
async fn refusals_of_orders_are_problems() {
    let shop = Running::start(20_000, 100).await;
    let place =
        async |lines: Value| problem(shop.post("/v1/orders", &json!({ "lines": lines }).to_string()).await).await;
    let expected = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(place(json!([{"item_number": 1, "quantity": 4}])).await, expected(409, "out-of-stock"));
    assert_eq!(place(json!([{"item_number": 9, "quantity": 1}])).await, expected(404, "no-such-item"));
    assert_eq!(place(json!([])).await, expected(422, "invalid-order"));
    assert_eq!(place(json!([{"item_number": 1}])).await, expected(400, "bad-request"));
    assert_eq!(problem(shop.post("/v1/orders", &" ".repeat(70_000)).await).await.0, 413);
    let plain = shop.request(Method::POST, "/v1/orders").body("{}").send().await.unwrap();
    assert_eq!(problem(plain).await.0, 415);
    for path in ["/v1/orders/x", "/v1/orders/01890000-0000-7000-8000-000000000000", "/v1/nothing", "/v1/orders/a/b"] {
        assert_eq!(problem(shop.get(path).await).await.0, 404, "{path}");
    }
    for path in ["/v1/orders?limit=0", "/v1/orders?after=1", "/v1/orders?x=1", "/v1/orders?limit=1&limit=1"] {
        assert_eq!(problem(shop.get(path).await).await.0, 400, "{path}");
    }
    let response = shop.request(Method::PUT, "/v1/orders").send().await.unwrap();
    let allow = header(&response, "allow").to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_eq!(problem(response).await.0, 405);
    let response = shop.get(BATCH_PATH).await;
    assert_eq!(header(&response, "allow"), "POST");
    assert_eq!(problem(response).await.0, 405);
}

#[tokio::test]
async fn a_batch_of_a_front_end_keeps_its_ids_and_births() {
    let shop = Running::start(20_000, 5000).await;
    let commands: Vec<Command> = (0..1000).map(|n| order(1 + n % 2)).collect();
    let body = frame::encode(&PlaceBatch { commands: commands.clone(), wait_ms: 20_000 });
    let response = shop.request(Method::POST, BATCH_PATH).body(body).send().await.unwrap();
    assert_eq!(header(&response, "content-type"), BATCH_CONTENT_TYPE);
    let answer: BatchAnswer = frame::decode(&response.bytes().await.unwrap()).unwrap();
    let placed = |item: u64| {
        let answers = answer.answers.iter().skip(item as usize - 1).step_by(2);
        answers.filter(|answer| matches!(&answer.as_ref().unwrap().answer.outcome, Outcome::Placed(_))).count()
    };
    // Of item 1 there were three, of item 2 ten.
    assert_eq!((answer.answers.len(), placed(1), placed(2)), (1000, 3, 10));
    assert_eq!(shop.catalog.commands(), commands);
    assert!(shop.catalog.submits() < 20, "{} requests", shop.catalog.submits());

    let change = Command { action: Action::WithdrawItem { item_number: 1, if_match: None }, ..order(1) };
    let empty = Command { action: Action::PlaceOrder { lines: vec![] }, ..order(1) };
    for bad in [vec![change], vec![empty], vec![order(1); 1025]] {
        let body = frame::encode(&PlaceBatch { commands: bad, wait_ms: 1000 });
        let response = shop.request(Method::POST, BATCH_PATH).body(body).send().await.unwrap();
        assert_eq!(problem(response).await.0, 400);
    }
    assert_eq!(problem(shop.post(BATCH_PATH, "x").await).await.0, 400);
    let huge = shop.request(Method::POST, BATCH_PATH).body(vec![0; (8 << 20) + 1]).send().await.unwrap();
    assert_eq!(problem(huge).await.0, 413);
}

#[tokio::test]
async fn the_client_and_the_server_understand_each_other() {
    let shop = Running::start(20_000, 5000).await;
    let server = Server { name: "order-1".to_owned(), address: shop.address.clone() };
    let orders = Orders::new("frontend-1".to_owned(), vec![server], 5000);
    let placing: Vec<_> = (0..200)
        .map(|_| {
            let orders = orders.clone();
            tokio::spawn(async move { orders.place(order(2), Instant::now() + Duration::from_secs(20)).await })
        })
        .collect();
    let mut placed = 0;
    for place in placing {
        placed += usize::from(place.await.unwrap().unwrap().answer.outcome.took_effect());
    }
    assert_eq!(placed, 10);
}

#[tokio::test]
async fn without_an_answer_the_outcome_is_unknown_and_the_key_told() {
    let shop = Running::start(700, 100).await;
    shop.catalog.set(Mode::SilentSubmits);
    let response = shop.get("/buy/1").await;
    let key = header(&response, "idempotency-key").to_owned();
    let (status, error) = compatible(response).await;
    assert_eq!(status, 503);
    assert!(error.starts_with("outcome-unknown: ") && error.contains(&key), "{error}");
    let body = json!({"lines": [{"item_number": 1, "quantity": 1}]}).to_string();
    assert_eq!(problem(shop.post("/v1/orders", &body).await).await, (503, "outcome-unknown".to_owned()));
    // Asked again with the key, the first outcome comes back, and one was sold.
    shop.catalog.set(Mode::Answer);
    let again = shop.request(Method::GET, "/buy/1").header("Idempotency-Key", &key).send().await.unwrap();
    assert_eq!(again.text().await.unwrap(), "\"Record successfully bought\"");
    assert_eq!(shop.catalog.stock(1), 1);
}

#[tokio::test]
async fn without_a_leader_nothing_is_in_doubt_and_readiness_goes() {
    let shop = Running::start(500, 100).await;
    shop.catalog.set(Mode::NoLeader);
    let (status, error) = compatible(shop.get("/buy/1").await).await;
    assert_eq!(status, 503);
    assert!(error.contains("nothing was done"), "{error}");
    shop.until_ready(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(shop.get("/livez").await.status(), 200);
    shop.catalog.set(Mode::Answer);
    shop.until_ready(StatusCode::OK).await;
    assert_eq!(shop.get("/buy/1").await.text().await.unwrap(), "\"Record successfully bought\"");
}

#[tokio::test]
async fn before_any_leader_was_found_orders_are_refused() {
    let catalog = Fake::start().await;
    catalog.set(Mode::NoLeader);
    let shop = Running::start_beside(catalog, 500, 100).await;
    shop.until_ready(StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(compatible(shop.get("/buy/1").await).await.0, 503);
    assert_eq!(shop.catalog.commands(), []);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let shop = Running::start(2000, 2).await;
    shop.catalog.set(Mode::SilentSubmits);
    // Two wait and at most two each are in the two batches under way: the others have no place.
    let buys: Vec<_> = (0..20).map(|_| tokio::spawn(shop.request(Method::GET, "/buy/1").send())).collect();
    let (mut refused, mut others) = (0, 0);
    for buy in buys {
        let (status, error) = compatible(buy.await.unwrap().unwrap()).await;
        refused += usize::from(status == 429 && error.starts_with("overloaded: "));
        others += usize::from(status == 503);
    }
    assert_eq!((refused + others, refused >= 14), (20, true), "{refused} refused");
    // At most two are under way and one waits, however many orders it has: the others are refused whole.
    let body = frame::encode(&PlaceBatch { commands: vec![order(1); 100], wait_ms: 2000 });
    let batches: Vec<_> =
        (0..10).map(|_| tokio::spawn(shop.request(Method::POST, BATCH_PATH).body(body.clone()).send())).collect();
    let mut refused = 0;
    for batch in batches {
        let bytes = batch.await.unwrap().unwrap().bytes().await.unwrap();
        let answers = frame::decode::<BatchAnswer>(&bytes).unwrap().answers;
        let overloaded = answers.iter().filter(|answer| **answer == Err(NotPlaced::Overloaded)).count();
        assert!(answers.len() == 100 && matches!(overloaded, 0 | 100), "{overloaded} of {}", answers.len());
        refused += overloaded / 100;
    }
    assert!((7..10).contains(&refused), "{refused} refused");
}

#[tokio::test]
async fn told_to_stop_it_finishes_what_it_has_and_takes_no_more() {
    let shop = Running::start(20_000, 100).await;
    shop.catalog.set(Mode::HoldSubmits);
    let buy = tokio::spawn(shop.request(Method::GET, "/buy/1").send());
    let deadline = Instant::now() + Duration::from_secs(20);
    while shop.catalog.submits() == 0 {
        assert!(Instant::now() < deadline, "never submitted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shop.stop.send(()).unwrap();
    let ask = |path: &str| shop.http.get(format!("http://{}{path}", shop.address)).send();
    while ask("/readyz").await.unwrap().status() == 200 {
        assert!(Instant::now() < deadline, "never drained");
    }
    let refused = ask("/buy/1").await.unwrap();
    assert_eq!(header(&refused, "connection"), "close");
    assert_eq!(compatible(refused).await.0, 503);
    assert_eq!(ask("/livez").await.unwrap().status(), 200);
    shop.catalog.set(Mode::Answer);
    assert_eq!(buy.await.unwrap().unwrap().text().await.unwrap(), "\"Record successfully bought\"");
    shop.server.await.unwrap();
    assert!(ask("/livez").await.is_err());
}
