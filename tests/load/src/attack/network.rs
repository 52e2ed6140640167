//! A network in which every address is this host's.

use std::io;
use std::process::{Command, Stdio};

use crate::sys::leave_network;

/// Moves this thread, and what it starts from now on, into a network of its own: of loopback alone, which takes all addresses
/// for its own. So anybody can be spoken for, and nothing leaves the host.
///
/// # Errors
/// This process may not, or there is no command `ip`.
pub(super) fn enter() -> io::Result<()> {
    leave_network()?;
    run(&["link", "set", "lo", "up"])?;
    run(&["route", "add", "local", "default", "dev", "lo"])?;
    // Without IPv6 there is nothing to be had over it.
    drop(run(&["-6", "route", "add", "local", "default", "dev", "lo"]));
    Ok(())
}

fn run(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("ip {}: {status}", arguments.join(" "))))
}
