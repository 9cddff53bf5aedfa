//! Orders by the million, as fast as the leader takes them: batches of commands straight to its peer port, several under
//! way, as an order server sends them. Must not know why they are wanted.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use catalog_client::{
    Action, Command, CommandId, KeyOrigin, Line, MAX_LINES, OrderId, Outcome, Revision, client::Catalog,
};
use futures::{StreamExt, stream};

/// Orders in one batch.
const BATCH: u64 = 2_048;
/// Batches under way.
const UNDER_WAY: usize = 4;
/// How long one batch may take, retries among it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of so many orders one is remembered, to be looked up.
const REMEMBERED: usize = 512;
/// Progress is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What was placed.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Orders a second.
    pub per_second: f64,
    /// Some of the orders.
    pub some: Vec<OrderId>,
}

/// Places so many orders of one unit each: those of a batch for the same of so many items, another one with each batch.
/// `tell` is told how many are done.
///
/// # Errors
/// When one is refused, or nothing is known of a batch.
pub async fn place(catalog: &Catalog, count: u64, items: u64, tell: impl Fn(u64, f64)) -> anyhow::Result<Placed> {
    let began = Instant::now();
    let newest = Cell::new(catalog.read_index(deadline()).await?);
    let batches = (0..count.div_ceil(BATCH)).map(|batch| {
        let newest = &newest;
        async move {
            let lines = vec![Line { item_number: batch % items + 1, quantity: 1 }];
            let orders = (0..BATCH.min(count - batch * BATCH)).map(|_| lines.clone());
            submit(catalog, orders, newest).await
        }
    });
    let mut done = stream::iter(batches).buffer_unordered(UNDER_WAY);
    let (mut placed, mut some, mut told) = (0, Vec::new(), Instant::now());
    while let Some(ids) = done.next().await {
        let ids = ids?;
        placed += ids.len() as u64;
        some.extend(ids.into_iter().step_by(REMEMBERED));
        if told.elapsed() >= TOLD_EVERY {
            tell(placed, placed as f64 / began.elapsed().as_secs_f64());
            told = Instant::now();
        }
    }
    Ok(Placed { per_second: placed as f64 / began.elapsed().as_secs_f64(), some })
}

/// Has so many entries committed, each of which changes each of the first `items` items, by orders of many lines.
///
/// # Errors
/// As [`place`].
pub async fn change_all(catalog: &Catalog, items: u64, entries: u64) -> anyhow::Result<()> {
    let newest = Cell::new(catalog.read_index(deadline()).await?);
    let lines: Vec<Line> = (1..=items).map(|item_number| Line { item_number, quantity: 1 }).collect();
    for _ in 0..entries {
        submit(catalog, lines.chunks(MAX_LINES).map(<[Line]>::to_vec), &newest).await?;
    }
    Ok(())
}

async fn submit(
    catalog: &Catalog,
    orders: impl Iterator<Item = Vec<Line>>,
    newest: &Cell<Revision>,
) -> anyhow::Result<Vec<OrderId>> {
    let command = |lines| Command {
        id: CommandId::new(),
        origin: KeyOrigin::Made,
        born: newest.get(),
        action: Action::PlaceOrder { lines },
    };
    let commands: Vec<Command> = orders.map(command).collect();
    let ids: Vec<OrderId> = commands.iter().map(|command| command.id).collect();
    let submitted = catalog.submit(commands, deadline()).await?;
    for answer in &submitted.answers {
        let Outcome::Placed(_) = &answer.outcome else { bail!("an order was refused: {:?}", answer.outcome) };
        newest.set(newest.get().max(answer.version.revision));
    }
    ensure!(submitted.answers.len() == ids.len(), "{} answers to {} orders", submitted.answers.len(), ids.len());
    Ok(ids)
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + PATIENCE
}
