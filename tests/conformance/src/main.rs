//! The command `etracker-conformance`.

mod options;

fn main() -> std::process::ExitCode {
    options::command()
}
