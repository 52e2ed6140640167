//! The command as it is used from a shell.

use std::{
    net::TcpListener,
    process::{Command, Output},
};

fn command(arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_etracker-conformance"))
        .args(arguments)
        .output();
    command.expect("the command starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn lists_at_least_240_checks_with_unique_ids() {
    let output = command(&["--list"]);
    let listed = text(&output);
    let mut ids: Vec<&str> = listed
        .lines()
        .filter(|line| !line.ends_with(" checks"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(output.status.success() && ids.len() >= 240, "{} ids", ids.len());
    ids.sort_unstable();
    ids.dedup();
    assert!(listed.ends_with(&format!("{} checks\n", ids.len())));
}

#[test]
fn explains_a_check_and_knows_when_there_is_none() {
    let explained = text(&command(&["--explain", "a-35"]));
    for part in ["A-35 (S", "2^32", "BEP 3", "wraps to 0"] {
        assert!(explained.contains(part), "`{part}` is missing from {explained}");
    }
    assert_eq!(command(&["--explain", "Z-01"]).status.code(), Some(2));
}

#[test]
fn a_run_of_nothing_fails() {
    assert_eq!(command(&["--only", "A-01"]).status.code(), Some(1));
    assert_eq!(
        command(&["--only", "nothing", "--http", "http://127.0.0.1:1/announce"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        command(&["--http", "ftp://127.0.0.1:1/announce"]).status.code(),
        Some(2)
    );
    assert_eq!(command(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_reader_who_goes_away_does_no_harm() {
    for arguments in [
        &["--help"][..],
        &["--list"],
        &["compare", "--help"],
        &["--nonsense"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_etracker-conformance"))
            .args(arguments)
            .stdout(writer.try_clone().expect("a descriptor"))
            .stderr(writer)
            .spawn()
            .and_then(|mut child| child.wait())
            .expect("the command starts");
        assert!(matches!(status.code(), Some(0 | 2)), "{arguments:?}: {status}");
    }
}

#[test]
fn a_dash_for_a_file_is_standard_output() {
    let folder = std::env::temp_dir().join(format!("conformance-dash-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let run = |option: &str| {
        let command = Command::new(env!("CARGO_BIN_EXE_etracker-conformance"))
            .args([
                "--http",
                "http://127.0.0.1:1/announce",
                "--only",
                "A-0?",
                option,
                "-",
            ])
            .current_dir(&folder)
            .output();
        command.expect("the command starts")
    };
    let json = run("--json");
    serde_json::from_slice::<serde_json::Value>(&json.stdout).expect("nothing but JSON");
    assert!(
        String::from_utf8_lossy(&json.stderr).contains("FAILED A-01"),
        "{json:?}"
    );
    assert!(text(&run("--junit")).starts_with("<?xml"));
    assert!(!folder.join("-").exists());
    assert_eq!(command(&["--json", "-", "--junit", "-"]).status.code(), Some(2));
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn writes_what_compare_reads_and_prints_no_colours_into_a_pipe() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    let url = format!("http://{closed}/announce");
    let folder = std::env::temp_dir().join(format!("conformance-command-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (json, junit) = (folder.join("card.json"), folder.join("card.xml"));
    let (json, junit) = (json.to_string_lossy(), junit.to_string_lossy());
    let run = command(&[
        "--name", "nobody", "--http", &url, "--only", "A-0?", "--json", &json, "--junit", &junit,
    ]);
    let printed = text(&run);
    assert_eq!(run.status.code(), Some(1));
    assert!(
        printed.contains("FAILED A-01") && !printed.contains('\x1b'),
        "{printed}"
    );
    let compared = text(&command(&["compare", &json, &json]));
    assert!(
        compared.contains("nobody") && compared.contains("A-01 M"),
        "{compared}"
    );
    let markdown = text(&command(&["compare", "--markdown", &json, &json]));
    assert!(markdown.contains("| A-01 (M) |"), "{markdown}");
    let xml = std::fs::read_to_string(&*junit).expect("the JUnit file");
    assert!(xml.contains("failures=\"9\""), "{xml}");
    let _ = std::fs::remove_dir_all(folder);
}
