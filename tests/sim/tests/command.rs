//! The command as it is used from a shell.

use std::process::Command;

const SIM: &str = env!("CARGO_BIN_EXE_etracker-sim");

#[test]
fn a_reader_who_goes_away_does_no_harm() {
    for arguments in [
        &["--help"][..],
        &["--seeds", "1", "--clients", "2", "--days", "1"],
        &["--nonsense"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = Command::new(SIM)
            .args(arguments)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .and_then(|mut child| child.wait())
            .unwrap();
        assert!(matches!(status.code(), Some(0 | 1)), "{arguments:?}: {status}");
    }
}

#[test]
fn a_dash_for_a_file_is_standard_output() {
    let folder = std::env::temp_dir().join(format!("etracker-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new(SIM)
        .args([
            "--intervals",
            "1800",
            "--clients",
            "3",
            "--days",
            "1",
            "--loss",
            "0",
            "--svg",
            "-",
        ])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!folder.join("-").exists());
    std::fs::remove_dir(&folder).unwrap();
    let svg = String::from_utf8(output.stdout).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("1800"));
}
