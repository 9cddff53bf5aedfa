//! What each command does.

pub mod bench;
pub mod export;
pub mod import;
pub mod items;
pub mod operate;
pub mod orders;
pub mod shell;
pub mod status;
pub mod watch;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
    http::{Store, Trouble},
    key,
    output::Output,
};

/// What a command has at hand.
#[derive(Debug)]
pub struct Tools {
    /// The way to the store.
    pub store: Store,
    /// Where its answer goes.
    pub out: Output,
}

/// What a command does about a list's age: nothing, or the query that asks for the present.
fn read_query(linearizable: bool) -> Option<(&'static str, String)> {
    linearizable.then(|| ("read", "linearizable".to_owned()))
}

impl Tools {
    /// What a write that met this trouble ends with. Under `key` it can be asked for again.
    fn not_written(&self, trouble: Trouble, key: &str) -> Failure {
        let again = key::again(std::env::args(), key);
        let hint = format!(
            "ask again soon under the same key, and it is done once: {again} - a key is remembered for the next 50,000 changes"
        );
        self.store.failed(trouble, Some(&hint))
    }
}

/// Does what the command line says.
///
/// # Errors
/// Why it was not done.
pub async fn run(cli: Cli) -> Result<(), Failure> {
    cli.check().map_err(Failure::usage)?;
    let out = Output::new(cli.output);
    let command = match cli.command {
        Command::Completions { shell } => return shell::completions(out, shell),
        Command::Man { command, folder } => return shell::manual(out, command.as_deref(), folder.as_deref()),
        Command::Import(args) if args.dry_run => return import::check_only(&args, out),
        command => command,
    };
    let place = cli.named.find(|name| std::env::var(name).ok())?;
    let store = Store::new(place, std::time::Duration::from_secs(cli.timeout))?;
    let mut tools = Tools { store, out };
    let done = match command {
        Command::List { topic, part } => items::list(&mut tools, topic, None, &part).await,
        Command::Search { words, topic, part } => items::list(&mut tools, topic, Some(words.join(" ")), &part).await,
        Command::Show { item_number, linearizable } => items::show(&mut tools, item_number, linearizable).await,
        Command::SetCost { item_number, cost, key } => items::set_cost(&mut tools, item_number, cost, &key.get()).await,
        Command::AddStock { item_number, delta, key } => {
            items::add_stock(&mut tools, item_number, delta, &key.get()).await
        }
        Command::Add(add) => items::add(&mut tools, &add).await,
        Command::Withdraw { item_number, key } => items::withdraw(&mut tools, item_number, &key.get()).await,
        Command::Buy { lines, key } => orders::buy(&mut tools, &lines, &key.get()).await,
        Command::Orders { id: Some(id), .. } => orders::show(&mut tools, &id).await,
        Command::Orders { id: None, limit, after } => orders::list(&mut tools, limit, after).await,
        Command::Watch { after, count } => watch::watch(&mut tools, after, count).await,
        Command::Status { watch } => status::status(&mut tools, watch).await,
        Command::Import(args) => import::import(&mut tools, &args).await,
        Command::Export { file } => export::export(&mut tools, file.as_deref()).await,
        Command::Bench(args) => bench::bench(&mut tools, &args).await,
        Command::Snapshot { node } => operate::snapshot(&mut tools, &node).await,
        Command::TransferLeader { node } => operate::transfer_leader(&mut tools, node.as_deref()).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    };
    // What was printed before a failure is read too.
    let flushed = tools.out.flush();
    done.and(flushed)
}
