//! The `etracker` command.

fn main() {}
