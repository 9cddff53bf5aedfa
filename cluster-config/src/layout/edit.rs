//! Changes the replicas of a layout's file; everything else in it stays as it is, comments too. Must not know what the
//! group says of its members.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::{CatalogNode, Error};

/// The text with `node` behind the other replicas.
///
/// # Errors
/// When the text is no layout.
pub fn add(text: &str, node: &CatalogNode) -> Result<String, Error> {
    let mut layout = parse(text)?;
    let mut table = Table::new();
    write(&mut table, node);
    catalogs(&mut layout)?.push(table);
    Ok(layout.to_string())
}

/// The text with `node` in the place of the replica `old`, which is retired.
///
/// # Errors
/// When the text is no layout, or has no such replica.
pub fn replace(text: &str, old: u64, node: &CatalogNode) -> Result<String, Error> {
    let mut layout = parse(text)?;
    write(find(catalogs(&mut layout)?, old)?, node);
    retire(&mut layout, old)?;
    Ok(layout.to_string())
}

/// The text without the replica `old`, which is retired.
///
/// # Errors
/// When the text is no layout, or has no such replica.
pub fn remove(text: &str, old: u64) -> Result<String, Error> {
    let mut layout = parse(text)?;
    retire(&mut layout, old)?;
    let catalogs = catalogs(&mut layout)?;
    find(catalogs, old)?;
    catalogs.retain(|table| id(table) != Some(old));
    Ok(layout.to_string())
}

/// The text with `items` at `path`: for a copy that lies elsewhere.
///
/// # Errors
/// When the text is no layout, or the path no text.
pub fn with_items(text: &str, path: &Path) -> Result<String, Error> {
    let mut layout = parse(text)?;
    let path = path.to_str().ok_or_else(|| invalid("the path of `items` must be UTF-8"))?;
    layout["items"] = value(path);
    Ok(layout.to_string())
}

/// Writes a layout's file: whoever reads it meanwhile, or after a loss of power, finds the old one or the new one.
///
/// # Errors
/// What the file system says.
pub fn save(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staged = folder.join(format!(".{name}.{}", std::process::id()));
    let mut file = File::create(&staged)?;
    if let Ok(old) = fs::metadata(path) {
        fs::set_permissions(&staged, old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    File::open(folder)?.sync_all()
}

fn parse(text: &str) -> Result<DocumentMut, Error> {
    text.parse().map_err(|error| invalid(&format!("not a layout: {error}")))
}

fn invalid(what: &str) -> Error {
    Error::Invalid(what.to_owned())
}

fn catalogs(layout: &mut DocumentMut) -> Result<&mut ArrayOfTables, Error> {
    let tables = layout.get_mut("catalog").and_then(Item::as_array_of_tables_mut);
    tables.ok_or_else(|| invalid("its replicas are not written as [[catalog]] tables: write them so"))
}

fn id(table: &Table) -> Option<u64> {
    table.get("id").and_then(Item::as_integer).and_then(|id| u64::try_from(id).ok())
}

fn find(catalogs: &mut ArrayOfTables, wanted: u64) -> Result<&mut Table, Error> {
    let found = catalogs.iter_mut().find(|table| id(table) == Some(wanted));
    found.ok_or_else(|| invalid(&format!("it has no catalog {wanted}")))
}

fn write(table: &mut Table, node: &CatalogNode) {
    let number = |number: u64| value(i64::try_from(number).unwrap_or(i64::MAX));
    set(table, "id", number(node.id));
    match node.replaces {
        Some(old) => set(table, "replaces", number(old)),
        None => drop(table.remove("replaces")),
    }
    for (key, shown, listen_key, listen) in [
        ("client", &node.client, "listen_client", &node.listen_client),
        ("peer", &node.peer, "listen_peer", &node.listen_peer),
    ] {
        set(table, key, value(shown));
        if listen == shown {
            table.remove(listen_key);
        } else {
            set(table, listen_key, value(listen));
        }
    }
}

/// Changes a value and leaves what stands around it.
fn set(table: &mut Table, key: &str, mut new: Item) {
    if let (Some(old), Some(new)) = (table.get(key).and_then(Item::as_value), new.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(key, new);
}

/// Adds to `retired`, which is made at the top if need be: below the comment that heads the file.
fn retire(layout: &mut DocumentMut, old: u64) -> Result<(), Error> {
    let old = i64::try_from(old).map_err(|_| invalid("an id is too great"))?;
    if let Some(retired) = layout.get_mut("retired") {
        let retired = retired.as_array_mut().ok_or_else(|| invalid("`retired` is a list of ids"))?;
        if !retired.iter().any(|id| id.as_integer() == Some(old)) {
            retired.push(old);
        }
        return Ok(());
    }
    let is_first = layout.iter().all(|(_, item)| !item.is_value());
    layout["retired"] = value(toml_edit::Array::from_iter([old]));
    let mut prefix = "# Ids of replicas that are gone for good: never used again.\n".to_owned();
    let mut tables: Vec<&mut Table> = layout
        .iter_mut()
        .flat_map(|(_, item)| match item {
            Item::Table(table) => vec![table],
            Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
            _ => Vec::new(),
        })
        .collect();
    tables.sort_by_key(|table| table.position());
    if let (true, Some(first)) = (is_first, tables.into_iter().find(|table| table.position().is_some())) {
        // What heads the file was taken for a comment of the first table.
        let comment = first.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
        let (head, own) = comment.rsplit_once("\n\n").unwrap_or(("", comment.as_str()));
        if !head.is_empty() {
            prefix = format!("{head}\n\n{prefix}");
        }
        first.decor_mut().set_prefix(format!("\n{own}"));
    }
    if let Some(mut key) = layout.key_mut("retired") {
        key.leaf_decor_mut().set_prefix(prefix);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layout;

    fn node(id: u64, port: u16, replaces: Option<u64>) -> CatalogNode {
        let (client, peer) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 1000));
        let (listen_client, listen_peer) = (client.clone(), peer.clone());
        CatalogNode { id, name: format!("catalog-{id}"), client, peer, listen_client, listen_peer, replaces }
    }

    fn layout(text: &str) -> Layout {
        Layout::parse(text, Path::new("layout.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn shipped(selector: &str) -> String {
        Layout::text(selector).expect("a layout that is shipped").0
    }

    #[test]
    fn only_what_is_changed_changes() {
        let before = shipped("4");
        let mut successor = layout(&before).catalogs[1].clone();
        successor = CatalogNode { id: 4, name: "catalog-4".into(), replaces: Some(2), ..successor };
        let after = replace(&before, 2, &successor).expect("catalog 2 is there");
        let mut expected: Vec<String> = before.lines().map(str::to_owned).collect();
        let at = expected.iter().position(|line| line == "id = 2").expect("its line");
        expected.splice(at..=at, ["id = 4".into()]);
        let peer = expected[at..].iter().position(|line| line.starts_with("peer")).expect("its line") + at;
        expected.insert(peer + 1, "replaces = 2".into());
        let retired = ["# Ids of replicas that are gone for good: never used again.", "retired = [2]", ""];
        expected.splice(2..2, retired.map(str::to_owned));
        assert_eq!(after.lines().collect::<Vec<_>>(), expected);
        assert_eq!(layout(&after).catalogs.iter().map(|node| node.id).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(layout(&after).catalogs[2], successor);
    }

    #[test]
    fn replicas_come_and_go_and_their_ids_stay_retired() {
        let mut text = shipped("3");
        let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
        let before = comments(&text);
        for id in [4, 5] {
            text = add(&text, &node(id, 900 + id as u16, None)).expect("a layout");
        }
        assert_eq!(layout(&text).catalogs[4], node(5, 905, None));
        assert_eq!(comments(&text), before);
        for id in [5, 1] {
            text = remove(&text, id).expect("it is there");
        }
        let after = layout(&text);
        assert_eq!(after.catalogs.iter().map(|node| node.id).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((after.retired, after.insecure, after.orders.len()), (vec![5, 1], true, 2));
        assert!(text.starts_with("# Layout 3"), "{text}");
        let error = remove(&text, 5).expect_err("it is gone").to_string();
        assert!(error.contains("no catalog 5"), "{error}");
        let again = add(&text, &node(5, 905, None)).expect("a layout");
        let error = Layout::parse(&again, Path::new("layout.toml")).expect_err("5 is retired").to_string();
        assert!(error.contains("id 5 is `retired`"), "{error}");
    }

    #[test]
    fn a_file_is_there_in_full_or_as_it_was_and_keeps_its_rights() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("layout.toml");
        save(&path, "one").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("rights");
        save(&path, "two").expect("a file");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "two");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left there");
    }
}
