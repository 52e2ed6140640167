//! Commands beside serving: check, doctor for programs, completions in real shells, the manual page.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Output};

use crate::harness::{Folder, command, free_port, run};

#[test]
fn a_configuration_is_checked_without_its_port() {
    let port = free_port();
    let _taken = (
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap(),
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap(),
    );
    let folder = Folder::new("check");
    let list = folder.path("list");
    fs::write(&list, "0123456789abcdef0123456789abcdef01234567\n").unwrap();
    let port = port.to_string();
    let place = ["check", "--bind", "127.0.0.1", "-p", &port, "--deny-list", &list];
    let ended = run(&place);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let last = ended.stdout.last().map(String::as_str);
    assert_eq!(last, Some("The configuration is accepted"), "{ended:?}");
}

#[test]
fn a_check_tells_all_that_a_start_would_refuse() {
    let folder = Folder::new("check-refused");
    let (list, state) = (folder.path("list"), folder.path("state"));
    fs::write(&list, "no info-hash\n").unwrap();
    fs::create_dir(&state).unwrap();
    let output = command()
        .args(["check", "--deny-list", &list, "--state", &state])
        .output();
    let output = output.unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&list) && errors.contains(&state), "{errors}");
    let output = command().args(["check", "--port", "0"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("--port=0: must be a whole number from 1 to 65535"),
        "{errors}"
    );
}

#[test]
fn doctor_tells_programs_what_it_tells_people() {
    let port = free_port().to_string();
    let arguments = ["--port", &port, "--bind", "127.0.0.1"];
    let text = run(&[&["doctor"][..], &arguments].concat());
    let json = run(&[&["doctor", "--json"][..], &arguments].concat());
    assert_eq!(json.status.code(), Some(0), "{json:?}");
    let report: serde_json::Value = serde_json::from_str(&json.stdout.join("\n")).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let counts = &report["counts"];
    let sum = format!(
        "{} ok, {} warnings, {} faults",
        counts["ok"], counts["warning"], counts["fault"]
    );
    assert_eq!(text.stdout.last(), Some(&sum), "{report}");
    for finding in findings {
        let (grade, about) = (
            finding["grade"].as_str().unwrap(),
            finding["about"].as_str().unwrap(),
        );
        let is_line = |line: &String| line.starts_with(grade) && line.contains(about);
        assert!(text.stdout.iter().any(is_line), "{finding}");
        let Some(remedy) = finding["remedy"].as_str() else {
            assert!(finding["remedy"].is_null(), "{finding}");
            continue;
        };
        let end = format!("-> {remedy}");
        assert!(text.stdout.iter().any(|line| line.ends_with(&end)), "{finding}");
    }
}

#[test]
fn doctor_ends_by_the_worst_grade_for_programs_too() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let ended = run(&["doctor", "--port", &port, "--bind", "127.0.0.1", "--json"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout.join("\n")).unwrap();
    assert_eq!(report["worst"], "fault");
}

/// Runs a script of a shell that gets the completions as the file `completions` of its folder.
fn in_shell(shell: &str, flags: &[&str], script: &str) -> Output {
    let folder = Folder::new(&format!("completions-{shell}"));
    let completions = command().args(["completions", shell]).output().unwrap();
    assert!(completions.status.success(), "{completions:?}");
    let path = folder.path("completions");
    fs::write(&path, completions.stdout).unwrap();
    let output = Command::new(shell)
        .args(flags)
        .args(["-c", &script.replace("COMPLETIONS", &path)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    let completed = |words: &str| {
        let script = format!(
            "source COMPLETIONS; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _etracker; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        lines(&in_shell("bash", &["--norc"], &script))
    };
    assert_eq!(completed("etracker doc"), ["doctor"]);
    assert_eq!(completed("etracker --por"), ["--port"]);
    assert_eq!(completed("etracker doctor --js"), ["--json"]);
    assert_eq!(completed("etracker --limits ''"), ["on", "dry-run", "off"]);
    assert_eq!(completed("etracker --limits = dr"), ["dry-run"]);
    assert_eq!(completed("etracker completions z"), ["zsh"]);
    let files = completed("etracker --state COMPLETIONS");
    assert!(
        matches!(&files[..], [file] if file.ends_with("/completions")),
        "{files:?}"
    );
    // What is typed is not run.
    assert_eq!(completed("etracker '$(exit 7)'"), [""]);
}

#[test]
#[ignore = "needs fish"]
fn fish_completes_commands_options_and_values() {
    let completed = |line: &str| {
        let script = format!("source COMPLETIONS; complete -C '{line}'");
        let lines = lines(&in_shell("fish", &["--no-config"], &script));
        let words = lines
            .iter()
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned());
        words.collect::<Vec<_>>()
    };
    assert_eq!(completed("etracker doc"), ["doctor"]);
    assert!(completed("etracker --por").contains(&"--port".to_owned()));
    assert_eq!(completed("etracker doctor --js"), ["--json"]);
    assert_eq!(completed("etracker --limits dr"), ["dry-run"]);
    assert_eq!(completed("etracker completions z"), ["zsh"]);
    assert_eq!(
        completed("etracker --state /etc/passw").first().unwrap(),
        "/etc/passwd"
    );
}

/// What the script gives the functions of zsh's own completion.
#[test]
#[ignore = "needs zsh"]
fn zsh_completes_commands_options_and_values() {
    let given = |words: &str| {
        let script = format!(
            "compdef() {{ }}; _arguments() {{ print -rl -- \"$@\" }}; _values() {{ print -r -- \"$@\" }}; \
             _describe() {{ print -rl -- $commands }}; source COMPLETIONS; words=({words}); CURRENT=$#words; _etracker"
        );
        lines(&in_shell("zsh", &["-f"], &script))
    };
    let has = |words: &str, line: &str| {
        let given = given(words);
        assert!(
            given.iter().any(|given| given == line),
            "{line} is missing in {given:?}"
        );
    };
    has("etracker doc", "doctor:check this host and these options");
    has("etracker completions z", "shell bash zsh fish");
    has("etracker cluster s", "word secret");
    has("etracker doctor --js", "--json[Findings for programs]");
    has(
        "etracker --por",
        "--port=[Port for TCP and UDP, 1-65535 (3000)]:value:",
    );
    has(
        "etracker --stat",
        "--state=[File that keeps swarms over restarts (none)]:file:_files",
    );
    let limits = given("etracker --limits d");
    let is_limits =
        |line: &String| line.starts_with("--limits=") && line.ends_with(":value:(on dry-run off)");
    assert!(limits.iter().any(is_limits), "{limits:?}");
}

#[test]
#[ignore = "needs mandoc"]
fn the_manual_page_is_shown_without_a_warning() {
    let folder = Folder::new("manual");
    let path = folder.path("etracker.1");
    fs::write(&path, command().arg("man").output().unwrap().stdout).unwrap();
    let output = Command::new("mandoc")
        .args(["-T", "lint", "-W", "all", &path])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
}
