//! Answers for people and for scripts.

use std::io::{self, Write};

use etracker_core::announce::Counts;
use serde_json::{Value, json};

use crate::answer::{Announced, Answer, Failure, Notes, Peer};
use crate::target::Target;

/// Prints the answer for people, after its bytes if they are wanted; a failure goes to standard error.
pub(crate) fn text(
    target: Option<&Target>,
    answer: &Result<Answer, Failure>,
    notes: &Notes,
    raw: bool,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if raw {
        dump(&notes.raw, &mut out)?;
    }
    if let (Some(target), Ok(_)) = (target, answer) {
        writeln!(out, "tracker      {target}")?;
    }
    match answer {
        Ok(Answer::Announce(announced)) => announce_text(announced, &mut out),
        Ok(Answer::Scrape(torrents)) => {
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
        Err(failure) => {
            out.flush()?;
            writeln!(io::stderr(), "etracker-client: {failure}")
        }
    }
}

/// Bytes in hexadecimal digits and as text, sixteen on a line.
fn dump(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    for (line, piece) in bytes.chunks(16).enumerate() {
        let digits: String = piece.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text = piece.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        writeln!(
            out,
            "{:06x}  {digits:<48} {}",
            16 * line,
            text.collect::<String>()
        )?;
    }
    writeln!(out)
}

fn announce_text(announced: &Announced, out: &mut impl Write) -> io::Result<()> {
    for (name, secs) in [
        ("interval", announced.interval_secs),
        ("min interval", announced.interval_min_secs),
    ] {
        if let Some(secs) = secs {
            writeln!(out, "{name:<12} {secs} s")?;
        }
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
pub(crate) fn json(
    target: Option<&Target>,
    answer: &Result<Answer, Failure>,
    notes: &Notes,
    raw: bool,
) -> io::Result<()> {
    let mut value = match answer {
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
    let raw = raw.then(|| digits(&notes.raw).into());
    let lines = (!notes.lines.is_empty()).then(|| json!(notes.lines));
    let target = target.map(|target| target.to_string().into());
    for (name, more) in [("tracker", target), ("notes", lines), ("raw", raw)] {
        if let (Some(more), Some(object)) = (more, value.as_object_mut()) {
            object.insert(name.to_owned(), more);
        }
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn announce_json(announced: &Announced) -> Value {
    let peers = announced.peers.iter().map(|peer| {
        let mut object = json!({ "ip": peer.address.ip(), "port": peer.address.port() });
        if let (Some(id), Some(object)) = (peer.id, object.as_object_mut()) {
            object.insert("peer id".to_owned(), digits(&id.0).into());
        }
        object
    });
    let mut object = serde_json::Map::new();
    for (name, value) in [
        ("interval", announced.interval_secs.map(Value::from)),
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
