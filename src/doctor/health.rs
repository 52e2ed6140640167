//! `etracker health`: whether the tracker that has the port works, for health checks of containers.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use etracker_core::http::request::encode_get;
use etracker_runtime_common::Transport;

use super::addresses::{bound, reachable};
use super::probe::{AGENT, Probe, ProbeError, Trust, connect, read_response};
use crate::exit::EXIT_FAILURE;
use crate::failure::Failure;
use crate::options::Options;
use crate::sockets;
use crate::terminal::say;

/// Asks the tracker with these options for `/health/live`, or where it serves UDP alone by an announce, and prints the answer. The
/// exit status is a failure if it does not work or does not answer.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn health(options: &Options) -> Result<ExitCode, Failure> {
    let port = sockets::port(&options.listen);
    let addresses = reachable(&bound(&options.listen)).into_iter();
    let mut addresses: Vec<_> = addresses.map(|ip| SocketAddr::new(ip, port)).collect();
    // Its pages may be for loopback alone.
    addresses.sort_by_key(|at| !at.ip().is_loopback());
    let probe = Probe::new(Trust {
        proxies: options.config.proxies(),
        listed: None,
    })?;
    let over_http = options.listen.uses(Transport::Tcp);
    let mut answer = (false, "no address to ask at".to_owned());
    for at in addresses {
        answer = if over_http {
            live(at, options.config.path_prefix())
        } else {
            announced(probe, at)
        };
        if answer.0 {
            break;
        }
    }
    say(answer.1.trim_end());
    Ok(if answer.0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILURE)
    })
}

fn live(at: SocketAddr, prefix: &str) -> (bool, String) {
    let ask = || -> Result<_, ProbeError> {
        let mut stream = connect(at)?;
        let (mut request, path) = (Vec::new(), format!("{prefix}/health/live"));
        // As the value of `Host`: an address is the tracker's own name whatever `--page-host` says.
        encode_get(&at.to_string(), &path, b"", AGENT, &mut request);
        stream.write_all(&request)?;
        read_response(&mut stream, ANSWER_MAX)
    };
    match ask() {
        Ok(response) => {
            let text = String::from_utf8_lossy(&response.body).into_owned();
            (
                response.status == 200,
                format!("{at}: {}: {text}", response.status),
            )
        }
        Err(error) => (false, format!("{at}: {}", words(&error))),
    }
}

fn announced(probe: Probe<'_>, at: SocketAddr) -> (bool, String) {
    match probe.udp(at) {
        Ok(_) => (true, format!("{at}: answers over UDP")),
        Err(error) => (false, format!("{at}: {}", words(&error))),
    }
}

fn words(error: &ProbeError) -> String {
    match error {
        ProbeError::Silent => "no answer".to_owned(),
        ProbeError::From(from) => format!("the answer came from {from}"),
        ProbeError::Unreadable => "no tracker answers".to_owned(),
        ProbeError::Io(error) => etracker_runtime_common::Plain(error).to_string(),
    }
}

/// Bytes of the longest answer that is read.
const ANSWER_MAX: usize = 1 << 16;
