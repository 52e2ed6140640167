//! Checks by what the caller told of the target: its lists, its limits, its commands.

use std::process::Command;

use crate::plain;
use crate::{
    check::{Stop, not_run},
    probe::{Client, Probe, Reply},
};

pub(super) const NEEDS_DENIED: &str =
    "needs a target that refuses a hash: give its 40 digits with --denied-hash";

/// Announces from one address beyond the limit that the caller told; the first reply that is no success.
pub(super) fn over_the_limit(p: &mut Probe<'_>) -> Result<Option<Reply>, Stop> {
    let Some(limit) = p.told().rate_limit else {
        return not_run("needs a target with a rate limit: give it with --rate-limit");
    };
    let client: Client = p.client();
    for _ in 0..=limit {
        let hash = p.hash();
        let request = p.announce_of(&client, &hash);
        let reply = p.reply(&request)?;
        if !reply.is_success() {
            return Ok(Some(reply));
        }
    }
    Ok(None)
}

/// Runs a command that the caller gave.
pub(super) fn shell(command: &str) -> Result<(), Stop> {
    let status = Command::new("sh").args(["-c", command]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Stop::NotRun(format!("`{command}` ended with {status}"))),
        Err(error) => Err(Stop::NotRun(format!("`{command}`: {}", plain(&error)))),
    }
}
