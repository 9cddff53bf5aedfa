//! `export`: all items as CSV, as import reads them.
//!
//! Pages are read one after the other, each from a state at least as new as that of the first: every item that was there
//! when it began, and is there when it ends, is in the file once. What changes meanwhile is in it as of before or after.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::{Tools, items::PAGE};
use crate::{
    failure::Failure,
    http::{Ask, path_with},
    import::rows::COLUMNS,
    output::{note, spinner},
    wire::{Item, Items},
};

#[derive(Debug, Serialize)]
struct Summary {
    rows: u64,
    revision: u64,
}

/// `export`.
///
/// # Errors
/// When a page cannot be had, or the file cannot be written.
pub async fn export(tools: &mut Tools, file: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = file.filter(|path| path.as_os_str() != "-") else {
        let summary = pages(tools, |tools, csv| tools.out.bytes(csv)).await?;
        tools.out.flush()?;
        note(format_args!("{} items, from revision {} on", summary.rows, summary.revision));
        return Ok(());
    };
    let failed = |error: &dyn std::fmt::Display| {
        Failure::refused(format_args!(
            "{} cannot be written: {error}; write elsewhere, or make room there",
            path.display()
        ))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The rights of a file that is there, or else those that any new file has.
    let rights = fs::metadata(path).map_or(fs::Permissions::from_mode(0o666), |data| data.permissions());
    let mut staged =
        tempfile::Builder::new().permissions(rights).tempfile_in(folder).map_err(|error| failed(&error))?;
    let summary = pages(tools, |_, csv| staged.write_all(csv).map_err(|error| failed(&error))).await?;
    keep(staged, path).map_err(|error| failed(&error))?;
    if tools.out.is_json() {
        return tools.out.json(&summary);
    }
    let Summary { rows, revision } = summary;
    tools.out.line(format_args!("{}: {rows} items, from revision {revision} on", path.display()))
}

fn keep(staged: NamedTempFile, path: &Path) -> std::io::Result<()> {
    staged.as_file().sync_all()?;
    staged.persist(path).map_err(|error| error.error)?;
    Ok(())
}

async fn pages(
    tools: &mut Tools,
    mut write: impl FnMut(&mut Tools, &[u8]) -> Result<(), Failure>,
) -> Result<Summary, Failure> {
    let progress = spinner("items");
    let mut summary: Option<Summary> = None;
    let mut after: Option<String> = None;
    loop {
        let query = [("limit", Some(PAGE.to_string())), ("after", after)];
        let query = query.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let mut ask = Ask::get(path_with("/v1/items", query));
        if let Some(summary) = &summary {
            ask = ask.not_before(summary.revision);
        }
        let page: Items = tools.store.read(ask).await?;
        write(tools, &csv(&page.items, summary.is_none()))?;
        let summary = summary.get_or_insert(Summary { rows: 0, revision: page.revision });
        summary.rows += page.items.len() as u64;
        progress.set_position(summary.rows);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    progress.finish_and_clear();
    Ok(summary.unwrap_or(Summary { rows: 0, revision: 0 }))
}

fn csv(items: &[Item], with_header: bool) -> Vec<u8> {
    let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    let mut all = || {
        if with_header {
            csv.write_record(COLUMNS)?;
        }
        for Item { item_number, title, topic, cost, quantity, .. } in items {
            csv.serialize((item_number, title, topic, cost, quantity))?;
        }
        csv.flush()?;
        Ok::<_, csv::Error>(())
    };
    all().expect("memory takes all");
    csv.into_inner().expect("memory takes all")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::rows::{Row, Rows};

    #[test]
    fn whatever_an_item_is_called_comes_back_as_it_was() {
        let titles = ["plain", "a, \"b\"", "two\nlines\r\n", "日本語", "\u{1}\t", " spaces ", "\"", "#no comment"];
        let items: Vec<Item> = (1..)
            .zip(titles)
            .map(|(n, title)| Item {
                item_number: n,
                title: title.into(),
                topic: title.into(),
                cost: 0,
                quantity: 1 << 53,
                revision: 9,
            })
            .collect();
        let text = csv(&items, true);
        let mut rows = Rows::new(&text[..]).expect("a header");
        let back: Vec<Row> =
            std::iter::from_fn(|| rows.read()).map(|found| found.expect("readable").row.expect("a row")).collect();
        let expected: Vec<Row> = items
            .into_iter()
            .map(|Item { item_number, title, topic, cost, quantity, .. }| Row {
                item_number,
                title,
                topic,
                cost,
                quantity,
            })
            .collect();
        assert_eq!(back, expected);
    }
}
