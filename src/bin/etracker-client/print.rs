//! Answers for people and for scripts.

use std::io::{self, Write};

use etracker_core::announce::Counts;
use serde_json::{Value, json};

use crate::answer::{Announced, Answer, Failure, Peer};

/// Prints the answer for people; a failure goes to standard error.
pub(crate) fn text(answer: &Result<Answer, Failure>) -> io::Result<()> {
    match answer {
        Ok(Answer::Announce(announced)) => announce_text(announced, &mut io::stdout().lock()),
        Ok(Answer::Scrape(torrents)) => {
            let mut out = io::stdout().lock();
            for (info_hash, counts) in torrents {
                match counts {
                    Some(Counts {
                        complete,
                        incomplete,
                        downloaded,
                    }) => writeln!(
                        out,
                        "{info_hash}  complete {complete}  incomplete {incomplete}  downloaded {downloaded}"
                    )?,
                    None => writeln!(out, "{info_hash}  not listed")?,
                }
            }
            out.flush()
        }
        Err(failure) => writeln!(io::stderr(), "etracker-client: {failure}"),
    }
}

fn announce_text(announced: &Announced, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "interval     {} s", announced.interval_secs)?;
    if let Some(secs) = announced.interval_min_secs {
        writeln!(out, "min interval {secs} s")?;
    }
    for (name, count) in [
        ("complete", announced.complete),
        ("incomplete", announced.incomplete),
        ("downloaded", announced.downloaded),
    ] {
        if let Some(count) = count {
            writeln!(out, "{name:<12} {count}")?;
        }
    }
    if let Some(ip) = announced.external_ip {
        writeln!(out, "external ip  {ip}")?;
    }
    writeln!(out, "peers        {}", announced.peers.len())?;
    for Peer { address, id } in &announced.peers {
        match id {
            Some(id) => writeln!(out, "  {address}  {}", id.0.escape_ascii())?,
            None => writeln!(out, "  {address}")?,
        }
    }
    out.flush()
}

/// Prints one JSON object, whatever the answer is.
pub(crate) fn json(answer: &Result<Answer, Failure>) -> io::Result<()> {
    let value = match answer {
        Ok(Answer::Announce(announced)) => announce_json(announced),
        Ok(Answer::Scrape(torrents)) => {
            let files = torrents
                .iter()
                .map(|(info_hash, counts)| (info_hash.to_string(), counts.map_or(Value::Null, counts_json)));
            json!({ "files": Value::Object(files.collect()) })
        }
        Err(Failure::Refused(reason)) => json!({ "failure reason": reason }),
        Err(failure) => json!({ "error": failure.to_string() }),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn announce_json(announced: &Announced) -> Value {
    let peers = announced.peers.iter().map(|peer| {
        let mut object = json!({ "ip": peer.address.ip(), "port": peer.address.port() });
        if let (Some(id), Some(object)) = (peer.id, object.as_object_mut()) {
            let digits: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert("peer id".to_owned(), digits.into());
        }
        object
    });
    let mut object = serde_json::Map::new();
    for (name, value) in [
        ("interval", Some(Value::from(announced.interval_secs))),
        ("min interval", announced.interval_min_secs.map(Value::from)),
        ("complete", announced.complete.map(Value::from)),
        ("incomplete", announced.incomplete.map(Value::from)),
        ("downloaded", announced.downloaded.map(Value::from)),
        (
            "external ip",
            announced.external_ip.map(|ip| ip.to_string().into()),
        ),
        ("peers", Some(peers.collect())),
    ] {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    }
    Value::Object(object)
}

fn counts_json(counts: Counts) -> Value {
    json!({ "complete": counts.complete, "incomplete": counts.incomplete, "downloaded": counts.downloaded })
}
