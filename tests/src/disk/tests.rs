//! A layer that loses nothing would make every test of power loss pass: so what a plain program writes through it must be
//! able to vanish unless it was synced, and must stay if it was.

use std::{fs, path::Path, process::Command};

use super::{Layer, Loss, compile, lose};

/// Runs a shell script whose files below `root` go through the layer.
fn through_the_layer(layer: &Layer, object: &Path, script: &str) -> bool {
    let status = Command::new("python3").args(["-c", script]).envs(layer.environment(object)).status();
    status.expect("python3 runs").success()
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        println!("skipped: python3 is missing");
    }
    found
}

/// Writes, syncs, and writes again; loses power under many seeds. Returns what the file held each time.
fn fates(script: &str, seeds: std::ops::Range<u64>) -> Vec<(Option<Vec<u8>>, Loss)> {
    let folder = tempfile::tempdir().unwrap();
    let object = compile(folder.path()).unwrap();
    seeds
        .map(|seed| {
            let root = folder.path().join(format!("root-{seed}"));
            fs::create_dir_all(&root).unwrap();
            let layer = Layer::new(root.clone(), folder.path().join(format!("journal-{seed}"))).unwrap();
            let script = script.replace("ROOT", root.to_str().unwrap());
            assert!(through_the_layer(&layer, &object, &script));
            let loss = lose(&root, &layer.journal, seed).unwrap();
            (fs::read(root.join("file")).ok(), loss)
        })
        .collect()
}

const SYNCED: &str = "
import os
root = 'ROOT'
f = os.open(root + '/file', os.O_RDWR | os.O_CREAT)
os.write(f, b'a' * 5000)
os.fsync(f)
d = os.open(root, os.O_RDONLY)
os.fsync(d)
";

#[test]
fn what_was_synced_stays() {
    if !has_python() {
        return;
    }
    for (file, loss) in fates(SYNCED, 0..12) {
        assert_eq!(file.as_deref(), Some(&[b'a'; 5000][..]), "{loss:?}");
        assert!(loss.durable > 0, "{loss:?}");
    }
}

#[test]
fn what_was_not_synced_vanishes_or_tears() {
    if !has_python() {
        return;
    }
    let script = format!("{SYNCED}os.write(f, b'b' * 5000)\n");
    let fates = fates(&script, 0..40);
    let mut lengths = std::collections::BTreeSet::new();
    for (file, loss) in &fates {
        let file = file.as_ref().expect("its name was synced");
        assert_eq!(&file[..5000], &[b'a'; 5000][..], "{loss:?}");
        lengths.insert(file.len());
    }
    let gone = fates.iter().filter(|(file, _)| file.as_ref().is_some_and(|file| file.len() == 5000)).count();
    assert!(gone >= 10, "nothing of it was left {gone} times of {}", fates.len());
    assert!(lengths.len() > 3, "it was torn at {lengths:?}");
}

#[test]
fn what_was_overwritten_and_not_synced_comes_back() {
    if !has_python() {
        return;
    }
    let script = format!("{SYNCED}os.pwrite(f, b'c' * 100, 700)\n");
    let fates = fates(&script, 0..20);
    let back = fates.iter().filter(|(file, _)| file.as_deref() == Some(&[b'a'; 5000][..])).count();
    assert!(back > 5, "the old bytes came back {back} times of {}", fates.len());
}

#[test]
fn a_name_that_was_not_synced_vanishes_or_returns() {
    if !has_python() {
        return;
    }
    let unnamed = "
import os
f = os.open('ROOT/file', os.O_RDWR | os.O_CREAT)
os.write(f, b'x')
os.fsync(f)
";
    assert!(
        fates(unnamed, 0..12).iter().any(|(file, _)| file.is_none()),
        "a file outlives a folder that was not synced"
    );
    let removed = format!("{SYNCED}os.unlink(root + '/file')\n");
    assert!(fates(&removed, 0..12).iter().any(|(file, _)| file.is_some()), "a removal outlives it too");
    let moved = format!(
        "{SYNCED}g = os.open(root + '/new', os.O_RDWR | os.O_CREAT)\nos.write(g, b'n')\nos.fsync(g)\nos.rename(root + '/new', root + '/file')\n"
    );
    let fates = fates(&moved, 0..20);
    assert!(fates.iter().any(|(file, _)| file.as_deref() == Some(&[b'a'; 5000][..])), "so does a renaming");
}

#[test]
fn syncs_fail_when_they_are_to() {
    if !has_python() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let object = compile(folder.path()).unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(&root).unwrap();
    let layer = Layer::new(root.clone(), folder.path().join("journal")).unwrap();
    layer.control.fail_syncs(true);
    let script = SYNCED.replace("ROOT", root.to_str().unwrap());
    assert!(!through_the_layer(&layer, &object, &script), "an fsync that fails is an error to the program");
    assert!(layer.control.failed_syncs() > 0);
    assert!(layer.control.steps() > 0);
}
