//! Replays every input of the corpora and every past crash.

use std::fs;
use std::path::{Path, PathBuf};

use etracker_fuzz::{TARGETS, Target};

#[test]
fn every_committed_input_keeps_the_properties_of_its_target() {
    for (name, target) in TARGETS {
        let played = replay("corpus", (name, target));
        assert!(played > 0, "the corpus of {name} is empty");
        replay("finds", (name, target));
    }
}

/// Plays all inputs of a target in one folder; the name of one that fails is shown by the failing thread.
fn replay(folder: &str, (name, target): Target) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
    let inputs = inputs(&folder);
    for path in &inputs {
        let input = fs::read(path).expect("an input can be read");
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "{name} fails for {}", path.display());
    }
    inputs.len()
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    paths.sort();
    paths
}
