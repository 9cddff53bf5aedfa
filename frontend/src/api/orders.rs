//! `/v1/orders`: placing an order or many, and reading the ledger.

use catalog_client::{
    Action, CommandId,
    client::ReadAnswer,
    protocol::{Data, View},
};
use hyper::{
    Method, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use order_client::{
    NotPlaced,
    view::{
        RETRY_AFTER as RETRY_SECONDS, bad_request,
        batch::{MAX_ORDERS_BODY, batch_json, newest, parse_orders},
        no_such_order, not_placed, order_json, order_of, orders_json, parse_order, parse_page,
    },
};

use super::request::Incoming;
use crate::{
    front::Front,
    reply::{self, CACHE_STATUS, IDEMPOTENCY_KEY, REVISION, Refused, Reply, SERVED_BY},
    upstream::Source,
};

/// `/v1/orders`
pub(super) async fn collection(front: &Front, request: Incoming) -> Result<Reply, Refused> {
    request.allow(&["GET", "HEAD", "POST"])?;
    if request.method() == Method::POST { place(front, request).await } else { page(front, &request).await }
}

/// `/v1/orders/{id}`
pub(super) async fn one(front: &Front, request: Incoming, id: &str) -> Result<Reply, Refused> {
    request.allow(&["GET", "HEAD"])?;
    let query = request.query(&["read"])?;
    let ask = request.ask(query.get("read"))?;
    // What cannot be an order's id is no order's.
    let id = CommandId::parse(id).ok_or_else(no_such_order)?;
    let (answer, source) = front.upstream.read(&View::Order(id), ask, request.deadline()).await?;
    match &answer.data {
        Data::Order(Some(order)) => Ok(reply_of(front, &answer, source, order_json(order))),
        Data::Order(None) => {
            let refused = Refused::from(no_such_order()).with(REVISION, answer.revision.to_string());
            let status = front.cache_status.of(source);
            let refused = refused.with(CACHE_STATUS, status.to_str().unwrap_or_default());
            Err(refused.with(SERVED_BY, front.catalog.name_of(answer.replica)))
        }
        _ => Err(strange()),
    }
}

async fn page(front: &Front, request: &Incoming) -> Result<Reply, Refused> {
    let query = request.query(&["limit", "after", "read"])?;
    let ask = request.ask(query.get("read"))?;
    let page = parse_page(query.get("limit"), query.get("after"))?;
    let view = View::Orders { after: page.after, limit: page.limit };
    let (answer, source) = front.upstream.read(&view, ask, request.deadline()).await?;
    let Data::Orders { orders, more } = &answer.data else { return Err(strange()) };
    Ok(reply_of(front, &answer, source, orders_json(orders, *more, answer.revision)))
}

async fn place(front: &Front, mut request: Incoming) -> Result<Reply, Refused> {
    request.query(&[])?;
    let key = request.key()?;
    let body = request.body().await?;
    let lines = parse_order(request.content_type(), &body)?;
    let decided = front.writes.decide(Action::PlaceOrder { lines }, &key, request.deadline()).await;
    let decided = decided.map_err(|why| Refused::from(not_placed(&why, &key.text)).with(IDEMPOTENCY_KEY, &key.text))?;
    let (revision, served_by) = (decided.answer.version.revision, front.catalog.name_of(decided.leader));
    let mut reply = match order_of(&decided.answer.outcome) {
        Ok(order) => {
            let mut reply = reply::json(StatusCode::CREATED, order_json(order));
            reply::put(&mut reply, LOCATION, &format!("/v1/orders/{}", order.id));
            reply
        }
        Err(problem) => {
            let refused = Refused::from(problem).with(IDEMPOTENCY_KEY, &key.text);
            return Err(refused.with(REVISION, revision.to_string()).with(SERVED_BY, served_by));
        }
    };
    reply::from_state(&mut reply, revision, served_by);
    reply::put(&mut reply, IDEMPOTENCY_KEY, &key.text);
    Ok(reply)
}

/// `/v1/orders:batch`: each order for itself. The answer is 200 whatever became of them, and says it of each.
pub(super) async fn batch(front: &Front, mut request: Incoming) -> Result<Reply, Refused> {
    request.allow(&["POST"])?;
    request.query(&[])?;
    if request.one_header(IDEMPOTENCY_KEY)?.is_some() {
        let detail = "here each order has its own idempotency_key, in the body, and the header has no meaning";
        return Err(bad_request(detail.to_owned()).into());
    }
    let body = request.body_within(MAX_ORDERS_BODY).await?;
    let orders = parse_orders(request.content_type(), &body)?;
    let decided = front.writes.decide_orders(orders, request.deadline()).await;
    let later = |(_, result): &(_, Result<_, NotPlaced>)| result.is_err();
    let mut reply = reply::json(StatusCode::OK, batch_json(&decided));
    if decided.iter().any(later) {
        reply::put(&mut reply, RETRY_AFTER, RETRY_SECONDS);
    }
    let leader = decided.iter().find_map(|(_, result)| result.as_ref().ok()).map(|placed| placed.leader);
    if let Some(leader) = leader {
        reply::from_state(&mut reply, newest(&decided), front.catalog.name_of(leader));
    }
    Ok(reply)
}

fn reply_of(front: &Front, answer: &ReadAnswer, source: Source, body: Vec<u8>) -> Reply {
    let mut reply = reply::json(StatusCode::OK, body);
    reply.headers_mut().insert(CACHE_STATUS, front.cache_status.of(source));
    reply::from_state(&mut reply, answer.revision, front.catalog.name_of(answer.replica));
    reply
}

fn strange() -> Refused {
    Refused::new(503, "unavailable", "a replica answered something else than what was asked: try again later")
}
