//! Notes the revision that is built, and its date, where git knows one. Never fails: without git there is just none.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    if let Some(revision) = revision() {
        println!("cargo::rustc-env=ETRACKER_REVISION={revision}");
        if let Some(date) = git(&["log", "-1", "--format=%cs"]) {
            println!("cargo::rustc-env=ETRACKER_DATE={date}");
        }
    }
}

/// The commit, if the repository around is this project's own: its top is here.
fn revision() -> Option<String> {
    git(&["rev-parse", "--show-cdup"]).filter(String::is_empty)?;
    git(&["rev-parse", "--short", "HEAD"])
}

/// What git says, on one line; `None` if it says nothing good.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
