//! T-14 to T-21: HTTP as no client speaks it.

use super::{announce::within, transport::answer_eventually};
use crate::{
    check::{ALONE, Check, Finding, HTTP, Level::Hardening as H, Stop, check, ensure, pass, remark},
    probe::{Hash, Probe, Request},
    wire::http::{Connection, Silence},
};
use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "T-14",
        H,
        FIELD,
        "a request line of 20 kB, and of 1 MB: an error status or an end, then it serves on",
        "A line without an end must not be kept without an end.",
        HTTP,
        long_lines,
    ),
    check(
        "T-15",
        H,
        FIELD,
        "binary garbage, a TLS hello, its first byte, a peer's handshake: the connection ends, then it serves on",
        "Port scanners send the first all day, clients with a wrong URL the others.",
        HTTP,
        garbage,
    ),
    check(
        "T-16",
        H,
        FIELD,
        "a head that comes at a byte a second is cut off",
        "A few machines hold every connection of a tracker so.",
        HTTP,
        slow_head,
    ),
    check(
        "T-17",
        H,
        FIELD,
        "a connection that sends nothing is closed",
        "Half of a real tracker's connections were so.",
        HTTP,
        idle,
    ),
    check(
        "T-18",
        H,
        FIELD,
        "10,000 idle connections (or as many as the system lets open): announces are still served",
        "Accepting must not starve, and running out of descriptors must not be the end.",
        HTTP.and(ALONE),
        crowd_of_idle,
    ),
    check(
        "T-19",
        H,
        FIELD,
        "a client that never reads its answers is cut off",
        "Its unread answers fill the tracker's memory.",
        HTTP,
        never_reads,
    ),
    check(
        "T-20",
        H,
        FIELD,
        "200 requests followed by a reset: it serves on",
        "Mobile clients vanish in the middle.",
        HTTP,
        resets,
    ),
    check(
        "T-21",
        H,
        "RFC 9112, 6.3",
        "a GET with a body, by Content-Length or in chunks: the body is never taken for a request",
        "Behind a proxy it would be someone else's request.",
        HTTP,
        smuggling,
    ),
    check(
        "T-27",
        H,
        "RFC 9110, 5.5",
        "a NUL or a bare CR in a header: refused, or taken for a space (recorded: which), never a hang",
        "What ends a line for one reader and not for the next lets a header pass unseen.",
        HTTP,
        control_bytes,
    ),
];

const FIELD: &str = "de facto";

fn plain(p: &mut Probe<'_>) -> Request {
    let (client, hash) = (p.client(), p.hash());
    p.announce_of(&client, &hash).event("started")
}

fn long_lines(p: &mut Probe<'_>) -> Finding {
    let before = memory(p);
    let mut seen = Vec::new();
    for (name, length) in [("20 kB", 20_000), ("1 MB", 1_000_000)] {
        let request = plain(p).piece(format!("x={}", "y".repeat(length)));
        let mut connection = p.open(&request)?;
        let sent = connection.send(&request.bytes());
        p.say(&format!("sent a request line of {name}"));
        let outcome = match p.try_read(&mut connection, false) {
            Ok(answer) if answer.status == 200 || answer.status >= 400 => {
                format!("status {}", answer.status)
            }
            Ok(answer) => return Err(Stop::Failed(format!("{name}: status {}", answer.status))),
            Err(Silence::TimedOut(_)) if sent.is_ok() => {
                if !connection.ends_within(p.close_patience()) {
                    return Err(p.still_open(name));
                }
                "closed in the end".to_owned()
            }
            Err(_) => "closed".to_owned(),
        };
        seen.push(format!("{name}: {outcome}"));
    }
    p.alive()?;
    remark(format!("{}{}", seen.join(", "), growth(before, memory(p))))
}

fn garbage(p: &mut Probe<'_>) -> Finding {
    let hello: &[u8] = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03abcdefghijklmnopqrstuvwxyz012345\x00\x00\x06\x13\x01\x13\x02\x13\x03\x01\x00";
    let noise: Vec<u8> = (0..4).flat_map(|_| p.twenty()).chain(*b"\r\n\r\n").collect();
    let handshake = [b"\x13BitTorrent protocol".as_slice(), &p.twenty(), &p.twenty()].concat();
    for (name, bytes) in [
        ("a TLS hello", hello),
        ("its first byte", &hello[..1]),
        ("a peer's handshake", &handshake),
        ("noise", &noise),
    ] {
        let request = plain(p);
        let mut connection = p.open(&request)?;
        p.write(&mut connection, bytes)?;
        if !connection.ends_within(p.close_patience()) {
            p.alive()?;
            return Err(p.still_open(name));
        }
    }
    p.alive()?;
    pass()
}

fn control_bytes(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for (name, value) in [("NUL", "X-Odd: a\0b"), ("bare CR", "X-Odd: a\rb")] {
        let request = plain(p).header(value);
        let answer = answer_eventually(p, &request, &request.bytes()).map_err(|stop| within(stop, name))?;
        ensure!(
            answer.status == 200 || answer.status / 100 == 4,
            "{name}: status {}",
            answer.status
        );
        seen.push(format!("{name}: {}", answer.status));
    }
    p.alive()?;
    remark(seen.join(", "))
}

fn slow_head(p: &mut Probe<'_>) -> Finding {
    p.alive()?;
    let request = plain(p);
    let mut connection = p.open(&request)?;
    let begun = Instant::now();
    let bytes = [b"GET /announce?x=".as_slice(), &[b'y'; 4000]].concat();
    for byte in bytes {
        let cut =
            connection.send(&[byte]).is_err() || connection.ends_within(p.hurried(Duration::from_secs(1)));
        if cut {
            let waited = begun.elapsed().as_secs();
            p.alive()?;
            return remark(format!("cut off after {waited} s"));
        }
        if begun.elapsed() > p.close_patience() {
            break;
        }
    }
    p.alive()?;
    Err(p.still_open("at a byte a second"))
}

fn idle(p: &mut Probe<'_>) -> Finding {
    p.alive()?;
    let request = plain(p);
    let mut connection = p.open(&request)?;
    let begun = Instant::now();
    let ended = connection.ends_within(p.close_patience());
    p.alive()?;
    if !ended {
        return Err(p.still_open("idle"));
    }
    remark(format!("closed after {} s", begun.elapsed().as_secs()))
}

fn crowd_of_idle(p: &mut Probe<'_>) -> Finding {
    p.alive()?;
    let mut open: Vec<Connection> = Vec::new();
    let begun = Instant::now();
    while open.len() < IDLE_MAX && begun.elapsed() < Duration::from_secs(15) {
        let request = plain(p);
        match p.open_bare(&request, Duration::from_secs(1)) {
            Ok(connection) => open.push(connection),
            Err(_) => break,
        }
    }
    let count = open.len();
    // The suite's own descriptors may be what ran out: leave some for the announces.
    open.truncate(count.saturating_sub(64));
    ensure!(count > 0, "no connection could be opened");
    p.say(&format!(
        "{count} idle connections opened in {} ms",
        begun.elapsed().as_millis()
    ));
    for _ in 0..10 {
        served_soon(p).map_err(|stop| within(stop, &format!("with {count} idle connections")))?;
    }
    drop(open);
    p.alive()?;
    remark(format!("{count} connections"))
}

/// An announce that may wait for idle connections to be closed, but not for ever.
fn served_soon(p: &mut Probe<'_>) -> Result<(), Stop> {
    let request = plain(p);
    let limit = Duration::from_secs(10);
    let mut connection = p.open_within(&request, limit)?;
    p.write(&mut connection, &request.bytes())?;
    let answer = connection
        .answer(false, limit)
        .map_err(|silence| Stop::Failed(silence.to_string()))?;
    ensure!(answer.status == 200, "status {}", answer.status);
    Ok(())
}

fn never_reads(p: &mut Probe<'_>) -> Finding {
    p.alive()?;
    let before = memory(p);
    let hashes: Vec<Hash> = (0..40).map(|_| p.hash()).collect();
    for hash in &hashes {
        p.crowd(hash, 0, 1)?;
    }
    let scrape = p.scrape_of(&hashes)?.without_header("connection");
    let bytes = scrape.bytes();
    let mut connection = p.open(&scrape)?;
    let _ = socket2::SockRef::from(connection.stream()).set_recv_buffer_size(4096);
    let _ = connection
        .stream()
        .set_write_timeout(Some(Duration::from_millis(500)));
    let begun = Instant::now();
    let mut sent = 0_usize;
    while begun.elapsed() < p.close_patience() {
        match connection.send_some(&bytes) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => {
                let waited = begun.elapsed().as_secs();
                p.alive()?;
                return remark(format!(
                    "cut off after {waited} s and {sent} bytes{}",
                    growth(before, memory(p))
                ));
            }
        }
        if sent > SENT_MAX {
            thread::sleep(Duration::from_millis(500));
        }
    }
    p.alive()?;
    Err(p.still_open("never reading"))
}

fn resets(p: &mut Probe<'_>) -> Finding {
    for _ in 0..200 {
        let request = plain(p);
        let mut connection = p.open(&request)?;
        p.write(&mut connection, &request.bytes())?;
        let _ = connection.reset();
    }
    p.alive()?;
    pass()
}

fn smuggling(p: &mut Probe<'_>) -> Finding {
    let inner_hash = p.hash();
    for what in [
        "a request as the body",
        "chunks and a length",
        "a body that never comes",
    ] {
        let outer = plain(p).without_header("connection");
        let smuggler = p.client();
        let inner = p.announce_of(&smuggler, &inner_hash).event("started").bytes();
        let (headers, body) = match what {
            "a request as the body" => (format!("Content-Length: {}", inner.len()), inner),
            "chunks and a length" => {
                let size = format!("{:x}\r\n", inner.len());
                let body = [size.as_bytes(), &inner, b"\r\n0\r\n\r\n"].concat();
                (
                    format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()),
                    body,
                )
            }
            _ => ("Content-Length: 99999".to_owned(), Vec::new()),
        };
        let bytes = [outer.header(headers).bytes(), body].concat();
        let client = plain(p);
        let mut connection = p.open(&client)?;
        p.write(&mut connection, &bytes)?;
        let _ = p.try_read(&mut connection, false);
        let second = connection.answer(false, Duration::from_millis(400));
        let counts = p.counts(&inner_hash)?;
        ensure!(
            counts.incomplete == 0,
            "{what}: the request in the body was carried out"
        );
        if let Ok(answer) = second {
            ensure!(
                answer.status != 200,
                "{what}: two answers of status 200 to one request"
            );
        }
    }
    p.alive()?;
    pass()
}

/// Resident memory of the target's process in kB, if the caller named it.
pub(super) fn memory(p: &Probe<'_>) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", p.told().pid?)).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What to say of memory before and after.
pub(super) fn growth(before: Option<u64>, after: Option<u64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("; memory {before} kB before, {after} kB after"),
        _ => "; memory not watched (--pid)".to_owned(),
    }
}

/// Idle connections that are tried at most.
const IDLE_MAX: usize = 10_000;
/// Bytes of requests to one who never reads: more than the buffers of both sides.
const SENT_MAX: usize = 32 << 20;
