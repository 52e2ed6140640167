//! T-23 and T-28 to T-39: HTTP over TLS, as clients speak it and as none does.

use super::{announce::within, hello};
use crate::{
    check::{
        Check, Finding,
        Level::{DeFacto as S, Hardening as H},
        Stop, TLS, check, ensure, pass, remark,
    },
    probe::{Hash, Probe, Request},
    wire::{
        http::{Connection, Silence},
        tls,
    },
};
use rustls::{
    ALL_VERSIONS, ClientConfig, HandshakeKind, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "T-23",
        S,
        "RFC 8446, RFC 5246",
        "HTTPS: served over TLS 1.2 and over TLS 1.3",
        "Clients of either kind are in use, and private trackers hide their passkeys so.",
        TLS,
        versions,
    ),
    check(
        "T-28",
        S,
        "RFC 8446, 6.1",
        "after `Connection: close` TLS ends with close_notify",
        "Without it OpenSSL 3 reports an error, and a body that was cut off looks whole.",
        TLS,
        ends_with_notice,
    ),
    check(
        "T-29",
        S,
        FIELD,
        "a client that ends its sending side without close_notify after the request is still answered",
        "Clients that cut are the rule; the answer is what they came for.",
        TLS,
        cut_sending,
    ),
    check(
        "T-30",
        S,
        "RFC 8446, 5.1",
        "handshake and request byte by byte, and in records of 27 bytes: the same answer",
        "Neither TCP nor TLS keeps message borders.",
        TLS,
        split,
    ),
    check(
        "T-31",
        S,
        "RFC 5077, 3.3; RFC 8446, 4.6.1",
        "a client that comes again with its ticket is served, over TLS 1.2 and 1.3 (recorded: resumed or in full)",
        "A ticket that is not taken must lead to a full handshake, not to an error.",
        TLS,
        tickets,
    ),
    check(
        "T-32",
        H,
        FIELD,
        "over TLS 1.2 the second handshake of a client is resumed",
        "A full one costs the tracker five times as much, and clients make one for each announce.",
        TLS,
        resumption,
    ),
    check(
        "T-33",
        S,
        "RFC 6066, 3",
        "a client that sends no server name is served",
        "Who announces to an address sends none, and old clients never do.",
        TLS,
        nameless,
    ),
    check(
        "T-34",
        S,
        FIELD,
        "a plain HTTP request on the TLS port: an answer or an end, never a hang (recorded: which)",
        "A wrong scheme in a URL is the commonest mistake, and a line about it saves a question.",
        TLS,
        plain_http,
    ),
    check(
        "T-35",
        H,
        "RFC 8996, RFC 7465",
        "TLS 1.0, TLS 1.1, and TLS 1.2 with weak suites alone (RC4, 3DES, NULL, anonymous): refused",
        "They can be broken, and who offers them is pushed there.",
        TLS,
        weak,
    ),
    check(
        "T-36",
        S,
        "RFC 7301, 3.2",
        "ALPN: of h2 and http/1.1 it chooses the latter or none; h2 alone is refused or left out",
        "A client that was promised h2 speaks it.",
        TLS,
        protocols,
    ),
    check(
        "T-37",
        H,
        FIELD,
        "a handshake that stops half way, or comes at a byte a second, is cut off",
        "A few machines hold every connection of a tracker so.",
        TLS,
        slow_handshake,
    ),
    check(
        "T-38",
        H,
        "RFC 8446, 5.2",
        "noise, an overlong record, a forged record after the handshake: the connection ends, then it serves on",
        "Anyone can send bytes to the port.",
        TLS,
        noise,
    ),
    check(
        "T-39",
        H,
        "RFC 8446, 8",
        "tickets of TLS 1.3 offer no early data",
        "It can be replayed by whoever recorded it: an announce would be counted again.",
        TLS,
        early_data,
    ),
];

const FIELD: &str = "de facto";
const EACH: [(&str, &SupportedProtocolVersion); 2] = [("TLS 1.2", &TLS12), ("TLS 1.3", &TLS13)];

/// A started leecher's request.
fn request(p: &mut Probe<'_>) -> Request {
    let (client, hash): (_, Hash) = (p.client(), p.hash());
    p.announce_of(&client, &hash).event("started")
}

/// Opens a connection with a configuration of TLS.
fn open(p: &mut Probe<'_>, request: &Request, config: &Arc<ClientConfig>) -> Result<Connection, Stop> {
    let limit = p.patience();
    let mut connection = p.open_bare(request, limit)?;
    p.secure(&mut connection, request, Arc::clone(config), limit)?;
    Ok(connection)
}

/// Announces on an open connection, which must succeed.
fn announce(p: &mut Probe<'_>, connection: &mut Connection, request: &Request) -> Result<(), Stop> {
    p.write(connection, &request.bytes())?;
    let answer = p.read(connection)?;
    let reply = p.understand(&request.bytes(), answer);
    ensure!(reply.is_success(), "answered with {}", reply.describe());
    Ok(())
}

/// Announces on a new connection, and gives it back.
fn announced(p: &mut Probe<'_>, config: &Arc<ClientConfig>) -> Result<Connection, Stop> {
    let request = request(p);
    let mut connection = open(p, &request, config)?;
    announce(p, &mut connection, &request)?;
    Ok(connection)
}

fn config(p: &Probe<'_>, version: &'static SupportedProtocolVersion) -> Result<Arc<ClientConfig>, Stop> {
    Ok(Arc::new(p.tls_config(&[version])?))
}

fn versions(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for (name, version) in EACH {
        let config = config(p, version)?;
        let connection = announced(p, &config).map_err(|stop| within(stop, name))?;
        let suite = connection.tls().and_then(|tls| tls.negotiated_cipher_suite());
        seen.push(format!("{name}: {:?}", suite.map(|suite| suite.suite())));
    }
    remark(seen.join(", "))
}

fn ends_with_notice(p: &mut Probe<'_>) -> Finding {
    for (name, version) in EACH {
        let config = config(p, version)?;
        let mut connection = announced(p, &config).map_err(|stop| within(stop, name))?;
        ensure!(
            connection.ends_within(p.patience()),
            "{name}: the connection stays open"
        );
        ensure!(
            !connection.is_cut(),
            "{name}: the connection ends without close_notify"
        );
    }
    pass()
}

fn cut_sending(p: &mut Probe<'_>) -> Finding {
    for (name, version) in EACH {
        let config = config(p, version)?;
        let request = request(p);
        let mut connection = open(p, &request, &config)?;
        p.write(&mut connection, &request.bytes())?;
        let _ = connection.cut_sending();
        let answer = p.read(&mut connection).map_err(|stop| within(stop, name))?;
        ensure!(answer.status == 200, "{name}: status {}", answer.status);
    }
    p.alive()?;
    pass()
}

fn split(p: &mut Probe<'_>) -> Finding {
    for (name, version) in EACH {
        for record_max in [None, Some(RECORD_MAX)] {
            let mut config = p.tls_config(&[version])?;
            config.max_fragment_size = record_max;
            let request = request(p);
            let limit = p.patience();
            let mut connection = p.open_bare(&request, limit)?;
            connection.by_bytes();
            p.say(&format!(
                "{name}, byte by byte, records of at most {record_max:?}"
            ));
            p.secure(&mut connection, &request, Arc::new(config), limit)
                .and_then(|()| announce(p, &mut connection, &request))
                .map_err(|stop| within(stop, name))?;
        }
    }
    pass()
}

/// How two handshakes of one client went, the second with what the first was given.
fn two_handshakes(
    p: &mut Probe<'_>,
    version: &'static SupportedProtocolVersion,
) -> Result<Option<HandshakeKind>, Stop> {
    let config = config(p, version)?;
    // Tickets of TLS 1.3 come with the answer or before the end.
    announced(p, &config)?.ends_within(p.patience());
    let second = announced(p, &config).map_err(|stop| within(stop, "with a ticket"))?;
    Ok(second.tls().and_then(|tls| tls.handshake_kind()))
}

fn tickets(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for (name, version) in EACH {
        let kind = two_handshakes(p, version).map_err(|stop| within(stop, name))?;
        let how = if kind == Some(HandshakeKind::Resumed) {
            "resumed"
        } else {
            "in full"
        };
        seen.push(format!("{name}: {how}"));
    }
    remark(seen.join(", "))
}

fn resumption(p: &mut Probe<'_>) -> Finding {
    let kind = two_handshakes(p, &TLS12)?;
    ensure!(
        kind == Some(HandshakeKind::Resumed),
        "the second handshake is a full one"
    );
    pass()
}

fn nameless(p: &mut Probe<'_>) -> Finding {
    for (name, version) in EACH {
        let mut config = p.tls_config(&[version])?;
        config.enable_sni = false;
        announced(p, &Arc::new(config)).map_err(|stop| within(stop, name))?;
    }
    pass()
}

fn plain_http(p: &mut Probe<'_>) -> Finding {
    let request = request(p);
    let mut connection = p.open_bare(&request, p.patience())?;
    p.write(&mut connection, &request.bytes())?;
    let seen = match p.try_read(&mut connection, false) {
        Ok(answer) => {
            ensure!(
                answer.status / 100 == 3 || answer.status / 100 == 4,
                "it is served with status {}",
                answer.status
            );
            format!("status {}", answer.status)
        }
        Err(Silence::TimedOut(_)) => {
            if !connection.ends_within(p.close_patience()) {
                return Err(p.still_open("plain HTTP"));
            }
            "closed in the end".to_owned()
        }
        Err(Silence::Broken(_, bytes)) if bytes.first() == Some(&hello::ALERT) => "a TLS alert".to_owned(),
        Err(silence) => silence.to_string(),
    };
    p.alive()?;
    remark(seen)
}

fn weak(p: &mut Probe<'_>) -> Finding {
    for (name, bytes) in hello::weak() {
        let request = request(p);
        let mut connection = p.open_bare(&request, p.patience())?;
        p.write(&mut connection, &bytes)?;
        p.say(name);
        let received = connection.leftover(p.patience());
        ensure!(!hello::is_accepted(&received), "{name} is accepted");
        let is_refused =
            received.first() == Some(&hello::ALERT) || connection.ends_within(p.close_patience());
        if !is_refused {
            return Err(p.still_open(name));
        }
    }
    // A target that refuses everything is none.
    p.alive()?;
    pass()
}

fn protocols(p: &mut Probe<'_>) -> Finding {
    let h2 = b"h2".to_vec();
    let mut config = p.tls_config(ALL_VERSIONS)?;
    config.alpn_protocols = vec![h2.clone(), b"http/1.1".to_vec()];
    let connection = announced(p, &Arc::new(config))?;
    let chosen = connection
        .tls()
        .and_then(|tls| tls.alpn_protocol().map(<[u8]>::to_vec));
    ensure!(chosen.as_ref() != Some(&h2), "h2 is chosen, and HTTP/1.1 spoken");
    let mut config = p.tls_config(ALL_VERSIONS)?;
    config.alpn_protocols = vec![h2.clone()];
    let request = request(p);
    let alone = match open(p, &request, &Arc::new(config)) {
        Ok(connection) => {
            let chosen = connection
                .tls()
                .and_then(|tls| tls.alpn_protocol().map(<[u8]>::to_vec));
            ensure!(chosen.as_ref() != Some(&h2), "h2 is promised");
            "left out"
        }
        Err(_) => "refused",
    };
    p.alive()?;
    let chosen = chosen.map_or_else(|| "none".to_owned(), |name| name.escape_ascii().to_string());
    remark(format!("chosen: {chosen}; h2 alone is {alone}"))
}

fn slow_handshake(p: &mut Probe<'_>) -> Finding {
    p.alive()?;
    let request = request(p);
    let name = p.endpoint(request.family).name();
    let hello = tls::hello(p.tls_config(ALL_VERSIONS)?, name).map_err(Stop::Failed)?;
    let half = &hello[..hello.len() / 2];
    let mut seen = Vec::new();
    for (what, from) in [("half a hello", half.len()), ("a byte a second", 1)] {
        let mut connection = p.open_bare(&request, p.patience())?;
        let begun = Instant::now();
        p.write(&mut connection, &half[..from])?;
        let mut rest = half[from..].iter();
        let second = p.hurried(Duration::from_secs(1));
        loop {
            if connection.ends_within(second)
                || rest.next().is_some_and(|byte| connection.send(&[*byte]).is_err())
            {
                break;
            }
            if begun.elapsed() > p.close_patience() {
                p.alive()?;
                return Err(p.still_open(what));
            }
        }
        seen.push(format!("{what}: {} s", begun.elapsed().as_secs()));
    }
    p.alive()?;
    remark(format!("cut off after {}", seen.join(", ")))
}

fn noise(p: &mut Probe<'_>) -> Finding {
    let noise: Vec<u8> = (0..8).flat_map(|_| p.twenty()).collect();
    let overlong = [b"\x16\x03\x01\xff\xff".as_slice(), &noise].concat();
    let forged = [b"\x17\x03\x03\x00\xa0".as_slice(), &noise].concat();
    for (what, bytes, shaken) in [
        ("noise", &noise, false),
        ("an overlong record", &overlong, false),
        ("a forged record", &forged, true),
    ] {
        let request = request(p);
        let mut connection = if shaken {
            p.open(&request)?.without_tls()
        } else {
            p.open_bare(&request, p.patience())?
        };
        p.say(what);
        p.write(&mut connection, bytes)?;
        if !connection.ends_within(p.close_patience()) {
            p.alive()?;
            return Err(p.still_open(what));
        }
    }
    p.alive()?;
    pass()
}

fn early_data(p: &mut Probe<'_>) -> Finding {
    let mut config = p.tls_config(&[&TLS13])?;
    config.enable_early_data = true;
    let config = Arc::new(config);
    announced(p, &config)?.ends_within(p.patience());
    let name = p.endpoint(p.family()).name();
    let mut second =
        rustls::ClientConnection::new(config, name).map_err(|error| Stop::Failed(error.to_string()))?;
    ensure!(second.early_data().is_none(), "the ticket allows early data");
    pass()
}

/// The smallest records that the suite's TLS makes: 32 bytes with their head.
const RECORD_MAX: usize = 32;
