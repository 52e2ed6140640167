//! The command line.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bpaf::doc::Section;
use bpaf::{Args, OptionParser, ParseFailure, Parser, construct, long, positional};
use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::{InfoHash, PeerId};

use crate::magnet::Magnet;
use crate::target::{BadUrl, Target};
#[cfg(feature = "tls")]
use crate::tls::Trust;

/// What to ask whom, and how to show the answer.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Trackers to ask until one answers. Invariant: at least one.
    pub(crate) targets: Vec<Target>,
    pub(crate) question: Question,
    pub(crate) timeout: Duration,
    /// Whose certificates are believed at https:// URLs.
    #[cfg(feature = "tls")]
    pub(crate) trust: Trust,
    pub(crate) json: bool,
    pub(crate) raw: bool,
    /// What of the command line is not heeded, and why.
    pub(crate) notes: Vec<String>,
}

/// What a tracker is asked.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Announce(Announce),
    Scrape(Vec<InfoHash>),
}

/// Reads the command line; if there is nothing to ask, says why and gives the exit status.
pub(crate) fn parse() -> Result<Options, ExitCode> {
    if env::args_os().skip(1).eq(["man"]) {
        return Err(shown(&manual()));
    }
    let arguments = arguments();
    grammar()
        .run_inner(Args::from(arguments.as_slice()))
        .map_err(|failure| match failure {
            ParseFailure::Stderr(text) => {
                // The exit status tells as much, should standard error be closed.
                let _ = writeln!(io::stderr(), "etracker-client: {}", text.monochrome(true));
                ExitCode::from(2)
            }
            ParseFailure::Stdout(text, full) => shown(text.monochrome(full).trim_end()),
            ParseFailure::Completion(text) => shown(&text),
        })
}

/// The arguments, without the `-` after `--json` that says what is so anyway.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<_> = env::args_os().skip(1).collect();
    let dash = arguments.windows(2).position(|pair| pair == ["--json", "-"]);
    if let Some(json) = dash {
        arguments.remove(json + 1);
    }
    arguments
}

fn shown(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn grammar() -> OptionParser<Options> {
    let announce = announce()
        .to_options()
        .descr("Announces a peer and prints the peers and counts given")
        .command("announce");
    let scrape = scrape()
        .to_options()
        .descr("Prints the counts of torrents")
        .command("scrape");
    construct!([announce, scrape])
        .to_options()
        .version(env!("CARGO_PKG_VERSION"))
        .descr("Asks a BitTorrent tracker over HTTP, HTTPS or UDP and prints its answer")
}

/// The manual page, in the language of `man`.
fn manual() -> String {
    grammar().render_manpage("etracker-client", Section::General, None, None, Some("etracker"))
}

fn announce() -> impl Parser<Options> {
    let event = long("event")
        .help("started, stopped, completed, paused or none")
        .argument::<String>("EVENT")
        .parse(|name| event(&name))
        .fallback(Event::None);
    let left = long("left")
        .help("Bytes still to download; 0 announces a seeder (default: 1)")
        .argument::<u64>("BYTES")
        .fallback(1);
    let port = long("port")
        .help("The port that the peer takes connections at (default: 6881)")
        .argument::<u16>("PORT")
        .fallback(6881);
    let numwant = long("numwant")
        .help("Peers wanted (default: as many as the tracker likes)")
        .argument::<u32>("NUMBER")
        .guard(|&wanted| wanted <= NUMWANT_MAX, "must be from 0 to 2147483647")
        .optional();
    let asked = asked().guard(
        |asked| asked.info_hashes.len() == 1,
        "an announce is about one info-hash",
    );
    let manner = manner();
    let announce = construct!(event, left, port, numwant, manner, asked);
    announce.parse(
        |(event, left, port, numwant, manner, asked)| -> Result<_, getrandom::Error> {
            // The tracker takes the address that it sees.
            let ip = Ipv4Addr::UNSPECIFIED.into();
            let announce = Announce {
                info_hash: asked.info_hashes.first().copied().unwrap_or_default(),
                peer_id: peer_id()?,
                peer: Endpoint { ip, port },
                left,
                event,
                numwant,
            };
            Ok(manner.options(asked.targets, Question::Announce(announce), asked.notes))
        },
    )
}

fn scrape() -> impl Parser<Options> {
    let asked = asked().guard(
        |asked| asked.info_hashes.len() <= SCRAPE_MAX,
        "at most 74 info-hashes fit one scrape",
    );
    let manner = manner();
    construct!(manner, asked).map(|(manner, asked)| {
        manner.options(asked.targets, Question::Scrape(asked.info_hashes), asked.notes)
    })
}

/// How to ask, whatever the question.
#[derive(Clone, Debug)]
struct Manner {
    timeout: Duration,
    #[cfg(feature = "tls")]
    trust: Trust,
    json: bool,
    raw: bool,
}

impl Manner {
    fn options(self, targets: Vec<Target>, question: Question, notes: Vec<String>) -> Options {
        Options {
            targets,
            question,
            timeout: self.timeout,
            #[cfg(feature = "tls")]
            trust: self.trust,
            json: self.json,
            raw: self.raw,
            notes,
        }
    }
}

#[cfg(feature = "tls")]
fn manner() -> impl Parser<Manner> {
    let (timeout, trust, json, raw) = (timeout(), trust(), json(), raw());
    construct!(Manner {
        timeout,
        trust,
        json,
        raw
    })
}

#[cfg(not(feature = "tls"))]
fn manner() -> impl Parser<Manner> {
    let (timeout, json, raw) = (timeout(), json(), raw());
    construct!(Manner { timeout, json, raw })
}

/// Whose certificates are believed: by default those of the system's roots.
#[cfg(feature = "tls")]
fn trust() -> impl Parser<Trust> {
    let ca = long("ca")
        .help("Believe certificates of this CA alone at https:// URLs (PEM; default: the system's CAs)")
        .argument::<PathBuf>("FILE")
        .parse(|file| Trust::in_file(&file));
    let insecure = long("insecure")
        .help("Believe any certificate at https:// URLs")
        .req_flag(Trust::Anyone);
    construct!([ca, insecure]).fallback(Trust::System)
}

/// Whom to ask about what.
#[derive(Clone, Debug)]
struct Asked {
    targets: Vec<Target>,
    info_hashes: Vec<InfoHash>,
    notes: Vec<String>,
}

/// A URL and info-hashes, or a magnet link, which holds both.
fn asked() -> impl Parser<Asked> {
    let url = positional::<String>("URL")
        .help("The announce URL: http://HOST[:PORT]/announce, the same with https, or udp://HOST:PORT; or a magnet link in quotes");
    let info_hashes = info_hash().many();
    construct!(url, info_hashes).parse(|(url, info_hashes)| {
        if Magnet::is_meant(&url) {
            return of_magnet(&url, &info_hashes);
        }
        let target = url.parse().map_err(|fault: BadUrl| format!("{url}: {fault}"))?;
        if info_hashes.is_empty() {
            return Err("an info-hash is needed".to_owned());
        }
        Ok(Asked {
            targets: vec![target],
            info_hashes,
            notes: Vec::new(),
        })
    })
}

fn of_magnet(link: &str, info_hashes: &[InfoHash]) -> Result<Asked, String> {
    if !info_hashes.is_empty() {
        return Err("a magnet link names its torrent: leave the info-hash out".to_owned());
    }
    let magnet = Magnet::read(link).map_err(|fault| fault.to_string())?;
    let left_out = magnet.left_out.iter();
    Ok(Asked {
        targets: magnet.trackers,
        info_hashes: vec![magnet.info_hash],
        notes: left_out
            .map(|(url, fault)| format!("{url} is left out: {fault}"))
            .collect(),
    })
}

fn timeout() -> impl Parser<Duration> {
    long("timeout")
        .help("Seconds to wait for the answer, 1 to 3600 (default: 60)")
        .argument::<u64>("SECONDS")
        .guard(|secs| (1..=3600).contains(secs), "must be from 1 to 3600")
        .map(Duration::from_secs)
        .fallback(Duration::from_secs(60))
}

fn raw() -> impl Parser<bool> {
    long("raw")
        .help("Show the bytes of the answer too, in hexadecimal digits and as text")
        .switch()
}

fn json() -> impl Parser<bool> {
    long("json")
        .help("Print one JSON object, also about a failure")
        .switch()
}

fn info_hash() -> impl Parser<InfoHash> {
    positional::<String>("INFO-HASH")
        .help("40 hexadecimal digits, or the 64 of a v2 torrent")
        .parse(|digits| {
            InfoHash::from_hex(digits.as_bytes()).ok_or("it is not of 40 or 64 hexadecimal digits")
        })
}

fn event(name: &str) -> Result<Event, &'static str> {
    match name {
        "none" => Ok(Event::None),
        "started" => Ok(Event::Started),
        "stopped" => Ok(Event::Stopped),
        "completed" => Ok(Event::Completed),
        "paused" => Ok(Event::Paused),
        _ => Err("it is none of started, stopped, completed, paused and none"),
    }
}

/// A new name, in the manner of BEP 20: letters after the client and its version.
fn peer_id() -> Result<PeerId, getrandom::Error> {
    let mut id = *b"-ET0100-............";
    if let Some(free) = id.get_mut(8..) {
        getrandom::fill(free)?;
        free.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    }
    Ok(PeerId(id))
}

/// What the signed field of UDP can express.
const NUMWANT_MAX: u32 = i32::MAX as u32;
const SCRAPE_MAX: usize = etracker_core::udp::packet::SCRAPE_MAX;
