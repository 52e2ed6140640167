//! The HTTP side: a thread for each connection.

use super::{
    State,
    fault::Fault,
    swarm::{Announce, Answer, Event, Hash, Peer, unmapped},
    tls::Line,
};
use std::{
    fmt::Write as _,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) fn serve(state: &Arc<State>, listener: &TcpListener) {
    let _ = listener.set_nonblocking(true);
    while !state.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, from)) => {
                let state = Arc::clone(state);
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_nodelay(true);
                let talk = move || {
                    let Some(line) = Line::new(&state, stream) else {
                        return;
                    };
                    Talk {
                        state,
                        line,
                        from,
                        input: Vec::new(),
                    }
                    .run();
                };
                let _ = thread::Builder::new().stack_size(256 << 10).spawn(talk);
            }
            Err(_) => thread::sleep(Duration::from_micros(300)),
        }
    }
}

/// One connection.
struct Talk {
    state: Arc<State>,
    line: Line,
    from: SocketAddr,
    input: Vec<u8>,
}

/// What to send.
struct Reply {
    status: u16,
    body: Vec<u8>,
    kind: &'static str,
}

impl Talk {
    fn run(mut self) {
        let _ = self.line.stream.set_write_timeout(Some(self.state.patience(3)));
        while let Some(head) = self.head() {
            let Some(request) = Request::read(&head) else {
                self.send(&failed(400, "this is not HTTP"), false, false);
                break;
            };
            let has_body = request
                .header("content-length")
                .is_some_and(|length| length != "0");
            let has_body = has_body || request.header("transfer-encoding").is_some();
            let keeps = request.keeps_open() && (!has_body || self.has(Fault::BodiesAreRequests));
            let keeps = keeps || self.has(Fault::NeverCloses);
            if self.has(Fault::CutIsAnError) && self.line.is_cut() {
                break;
            }
            let Some(reply) = self.state.answer(&request, self.from) else {
                break;
            };
            let sends_body = request.method != "HEAD" || self.has(Fault::BodyAfterHead);
            if !self.send(&reply, keeps, sends_body) || !keeps {
                break;
            }
            if self.has(Fault::PipelinedDropped) {
                self.input.clear();
            }
        }
        self.end();
    }

    fn has(&self, fault: Fault) -> bool {
        self.state.has(fault)
    }

    /// The next head, without what follows it; nothing if there is none in time.
    fn head(&mut self) -> Option<Vec<u8>> {
        let mut deadline = Instant::now() + self.state.patience(3);
        // A forged record has to find the connection, however late it comes.
        let is_kept = self.has(Fault::IdleKept) || self.has(Fault::ForgedRecordsKept);
        loop {
            let bare = !self.has(Fault::BareLfHangs);
            let crlf = find(&self.input, b"\r\n\r\n").map(|at| at + 4);
            let end = crlf.or_else(|| find(&self.input, b"\n\n").filter(|_| bare).map(|at| at + 2));
            let hidden = self.has(Fault::NulHidesTheEnd) && self.input.contains(&0);
            if let Some(end) = end.filter(|_| !hidden) {
                return Some(self.input.drain(..end).collect());
            }
            if self.input.len() > HEAD_MAX {
                self.send(&failed(431, "the head is too long"), false, true);
                return None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && !is_kept {
                return None;
            }
            let _ = self
                .line
                .stream
                .set_read_timeout(Some(left.max(Duration::from_millis(10))));
            let mut piece = [0; 4096];
            match self.line.read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => {
                    self.input.extend_from_slice(&piece[..length]);
                    if self.has(Fault::SlowHeadsKept) {
                        deadline = Instant::now() + self.state.patience(600);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.state.stop.load(Ordering::Relaxed) {
                        return None;
                    }
                }
                Err(error) => {
                    if error.kind() == ErrorKind::InvalidData && self.has(Fault::ForgedRecordsKept) {
                        thread::sleep(self.state.patience(600));
                    }
                    return None;
                }
            }
        }
    }

    fn send(&mut self, reply: &Reply, keeps: bool, with_body: bool) -> bool {
        let length = reply.body.len() + usize::from(self.has(Fault::LengthTooLong));
        let connection = if keeps { "keep-alive" } else { "close" };
        let kind = reply.kind;
        let mut out = format!("HTTP/1.1 {} Reason\r\nContent-Type: {kind}\r\n", reply.status).into_bytes();
        out.extend(format!("Content-Length: {length}\r\nConnection: {connection}\r\n\r\n").bytes());
        if with_body {
            out.extend(&reply.body);
        }
        self.line.write_all(&out).is_ok()
    }

    /// Says the end, takes what is still coming for a moment, and closes.
    fn end(mut self) {
        let in_order = !self.has(Fault::EndsWithoutNotice);
        self.line.shut_down(in_order);
        let _ = self
            .line
            .stream
            .set_read_timeout(Some(Duration::from_millis(100)));
        let mut piece = [0; 4096];
        for _ in 0..512 {
            if !matches!(self.line.read(&mut piece), Ok(length) if length > 0) {
                break;
            }
        }
    }
}

struct Request {
    method: String,
    path: String,
    query: Vec<u8>,
    version: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn read(head: &[u8]) -> Option<Self> {
        let mut lines = head
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = lines.next()?;
        let first = line.iter().position(|byte| *byte == b' ')?;
        let last = line.iter().rposition(|byte| *byte == b' ')?;
        let target = line.get(first + 1..last)?;
        let version = String::from_utf8_lossy(&line[last + 1..]).into_owned();
        if !version.starts_with("HTTP/1.") {
            return None;
        }
        let target = match target.strip_prefix(b"http://") {
            Some(rest) => &rest[rest.iter().position(|byte| *byte == b'/')?..],
            None => target,
        };
        let cut = target.iter().position(|byte| *byte == b'?');
        let (path, query) = cut.map_or((target, &[][..]), |cut| (&target[..cut], &target[cut + 1..]));
        let headers = lines.filter_map(|line| {
            let line = String::from_utf8_lossy(line).into_owned();
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Self {
            method: String::from_utf8_lossy(&line[..first]).into_owned(),
            path: String::from_utf8_lossy(path).into_owned(),
            query: query.to_vec(),
            version,
            headers: headers.collect(),
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .rev()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn keeps_open(&self) -> bool {
        let wish = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        wish.contains("keep-alive") || (self.version == "HTTP/1.1" && !wish.contains("close"))
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

impl State {
    /// The answer; nothing closes the connection without one.
    fn answer(&self, request: &Request, from: SocketAddr) -> Option<Reply> {
        if self.has(Fault::NothingIsSaid) {
            return None;
        }
        let posts = self.has(Fault::PostIsServed) && request.method == "POST";
        if !matches!(request.method.as_str(), "GET" | "HEAD") && !posts {
            return Some(failed(405, "only GET is served here"));
        }
        if self.has(Fault::ManyHeadersRefused) && request.headers.len() > 16 {
            return Some(failed(400, "too many headers"));
        }
        let mut reply = match request.path.as_str() {
            "/announce" => self.announce_http(request, from)?,
            "/scrape" => self.scrape_http(request),
            _ if self.has(Fault::AnyPathAnnounces) => self.announce_http(request, from)?,
            _ if find(&request.query, b"info_hash").is_some() && !self.has(Fault::WrongPathsAre404) => {
                self.refuse(request, "announces go to another path")
            }
            "/" => Reply {
                status: 200,
                body: b"a tracker".to_vec(),
                kind: "text/html",
            },
            _ => failed(404, "there is no such page here"),
        };
        self.bend(&mut reply.body);
        Some(reply)
    }

    /// Faults that spoil any body.
    fn bend(&self, body: &mut Vec<u8>) {
        let mut replace = |from: &[u8], to: &[u8]| {
            if let Some(at) = find(body, from) {
                body.splice(at..at + from.len(), to.iter().copied());
            }
        };
        if self.has(Fault::UnsortedKeys) {
            replace(b"8:completei", b"10:zzzzzzzzzzi1e8:completei");
        }
        if self.has(Fault::LeadingZeroInInteger) {
            replace(b"8:completei", b"8:completei0");
        }
        if self.has(Fault::LeadingZeroInLength) {
            replace(b"8:complete", b"08:complete");
        }
        if self.has(Fault::BytesAfterTheEnd) {
            body.extend(b"\r\n");
        }
        if self.has(Fault::FailureIsHtml) && find(body, b"failure reason").is_some() {
            *body = b"<html>no</html>".to_vec();
        }
    }

    fn refuse(&self, request: &Request, reason: &str) -> Reply {
        let echo = String::from_utf8_lossy(&request.query).into_owned();
        let reason = if self.has(Fault::FailureEchoes) {
            format!("bad request: {echo}")
        } else {
            reason.to_owned()
        };
        let retry = if self.has(Fault::RetryInZero) {
            "8:retry ini0e"
        } else {
            "8:retry in5:never"
        };
        let interval = if self.has(Fault::RefusedIntervalZero) {
            0
        } else {
            1800
        };
        let interval = format!("8:intervali{interval}e");
        let body = format!("d14:failure reason{}:{reason}{interval}{retry}e", reason.len());
        let status = if self.has(Fault::FailureIs400) { 400 } else { 200 };
        Reply {
            status,
            body: body.into_bytes(),
            kind: "text/plain",
        }
    }

    fn announce_http(&self, request: &Request, from: SocketAddr) -> Option<Reply> {
        let Some(pairs) = self.pairs(&request.query) else {
            return Some(self.refuse(request, "a broken escape in the query"));
        };
        if self.has(Fault::UnknownEventCloses) && get(&pairs, "event") == Some(b"foo") {
            return None;
        }
        if self.has(Fault::ValuelessRefused)
            && pairs
                .iter()
                .any(|(key, value)| key == b"supportcrypto" && value.is_empty())
        {
            return Some(self.refuse(request, "a parameter without a value"));
        }
        if self.has(Fault::DictionariesRefused) && get(&pairs, "compact") == Some(b"0") {
            return Some(self.refuse(request, "only compact answers here"));
        }
        let announce = match self.read_announce(&pairs, request, from) {
            Ok(announce) => announce,
            Err(reason) => return Some(self.refuse(request, reason)),
        };
        if let Some(reason) = self.refusal(&announce.hash) {
            return Some(self.refuse(request, reason));
        }
        let answer = self.announce(&announce);
        Some(Reply {
            status: 200,
            body: self.write_announced(&pairs, &announce, &answer),
            kind: "text/plain",
        })
    }

    fn read_announce(
        &self,
        pairs: &Pairs,
        request: &Request,
        from: SocketAddr,
    ) -> Result<Announce, &'static str> {
        let hashes: Vec<&Vec<u8>> = pairs
            .iter()
            .filter(|(key, _)| key == b"info_hash")
            .map(|(_, value)| value)
            .collect();
        let hash = match hashes.as_slice() {
            [] => return Err("info_hash is missing"),
            [one] => self.twenty(one).ok_or("info_hash must have 20 bytes")?,
            [one, ..] if self.has(Fault::FirstHashWins) => {
                self.twenty(one).ok_or("info_hash must have 20 bytes")?
            }
            _ => return Err("more than one info_hash"),
        };
        let id = get(pairs, "peer_id").ok_or("peer_id is missing")?;
        let id = if self.has(Fault::PeerIdIsText) {
            text_only(id)
        } else {
            self.twenty(id).ok_or("peer_id must have 20 bytes")?
        };
        let event = match get(pairs, "event") {
            Some(b"started") => Event::Started,
            Some(b"completed") => Event::Completed,
            Some(b"stopped") => Event::Stopped,
            Some(b"paused") => Event::Paused,
            _ => Event::None,
        };
        let left = match get(pairs, "left") {
            None if self.has(Fault::MissingLeftSeeds) => 0,
            None => 1,
            Some(text) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or(1),
        };
        let numwant = get(pairs, "numwant").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let ip = self.address(pairs, request, from.ip())?;
        let port = self.port(get(pairs, "port").ok_or("port is missing")?, event)?;
        Ok(Announce {
            hash,
            id,
            at: SocketAddr::new(ip, port),
            left,
            event,
            numwant,
        })
    }

    fn port(&self, text: &[u8], event: Event) -> Result<u16, &'static str> {
        let text = std::str::from_utf8(text).map_err(|_| "port is no number")?;
        let canonical =
            text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
        if !canonical {
            return Err("port is no number");
        }
        let port: u32 = text.parse().map_err(|_| "port is no number")?;
        match u16::try_from(port) {
            Ok(0) if event != Event::Stopped && self.has(Fault::PortZeroRefused) => {
                Err("port 0 cannot be reached")
            }
            Ok(port) => Ok(port),
            Err(_) if self.has(Fault::PortWraps) => Ok((port & 0xFFFF) as u16),
            Err(_) => Err("port is out of range"),
        }
    }

    fn address(&self, pairs: &Pairs, request: &Request, from: IpAddr) -> Result<IpAddr, &'static str> {
        let from = unmapped(from);
        let claimed = |name| get(pairs, name).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if self.has(Fault::ClaimsBelieved) || self.setup.trusts_ip {
            return Ok(claimed("ip").unwrap_or(from));
        }
        if self.has(Fault::HeadersBelieved) {
            return Ok(request
                .header("x-forwarded-for")
                .and_then(|text| text.parse().ok())
                .unwrap_or(from));
        }
        let Some(name) = &self.setup.proxy_header else {
            return Ok(from);
        };
        let list = request.header(name).ok_or("the proxy names no client")?;
        let untrusted = list
            .rsplit(',')
            .map(str::trim)
            .filter_map(forwarded)
            .find(|ip| !ip.is_loopback());
        untrusted.ok_or("the proxy names no client")
    }

    fn twenty(&self, bytes: &[u8]) -> Option<[u8; 20]> {
        if bytes.len() == 32 && self.has(Fault::LongHashApart) {
            return bytes.get(12..)?.try_into().ok();
        }
        if bytes.len() == 20 || self.has(Fault::AnyLengthTaken) {
            let mut padded = [0; 20];
            padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            return Some(padded);
        }
        None
    }

    fn write_announced(&self, pairs: &Pairs, announce: &Announce, answer: &Answer) -> Vec<u8> {
        let v6 = announce.at.is_ipv6();
        let interval = if self.has(Fault::IntervalZero) { 0 } else { 1800 };
        let mut out = format!(
            "d8:completei{}e10:downloadedi{}e",
            answer.complete, answer.downloaded
        )
        .into_bytes();
        let address = match announce.at.ip() {
            IpAddr::V4(_) if self.has(Fault::ExternalIpWrong) => vec![9, 9, 9, 9],
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        out.extend(format!("11:external ip{}:", address.len()).bytes());
        out.extend(address);
        out.extend(
            format!(
                "10:incompletei{}e8:intervali{interval}e12:min intervali300e",
                answer.incomplete
            )
            .bytes(),
        );
        if get(pairs, "compact") == Some(b"0") {
            out.extend(b"5:peersl");
            answer
                .peers
                .iter()
                .for_each(|peer| self.write_peer(&mut out, pairs, peer));
            out.extend(b"ee");
            return out;
        }
        if self.has(Fault::EmptyListLeftOut) && answer.peers.is_empty() {
            out.push(b'e');
            return out;
        }
        let (four, six): (Vec<&Peer>, Vec<&Peer>) = answer.peers.iter().partition(|peer| peer.at.is_ipv4());
        out.extend(self.compact("peers", &four));
        if v6 || !six.is_empty() {
            out.extend(self.compact("peers6", &six));
        }
        out.push(b'e');
        out
    }

    fn compact(&self, key: &str, peers: &[&Peer]) -> Vec<u8> {
        let bytes: Vec<u8> = peers.iter().flat_map(|peer| self.endpoint(peer)).collect();
        [format!("{}:{key}{}:", key.len(), bytes.len()).as_bytes(), &bytes].concat()
    }

    /// Address and port as they stand in compact lists.
    pub(crate) fn endpoint(&self, peer: &Peer) -> Vec<u8> {
        let mut bytes = match peer.at.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        if self.has(Fault::ShortV6Peers) && bytes.len() == 16 {
            bytes.truncate(13);
        }
        let port = peer.at.port();
        bytes.extend(if self.has(Fault::PortBytesSwapped) {
            port.to_le_bytes()
        } else {
            port.to_be_bytes()
        });
        bytes
    }

    fn write_peer(&self, out: &mut Vec<u8>, pairs: &Pairs, peer: &Peer) {
        let ip = match peer.at.ip() {
            IpAddr::V6(ip) if self.has(Fault::LongV6Text) => ip
                .segments()
                .iter()
                .map(|segment| format!("{segment:04x}"))
                .collect::<Vec<_>>()
                .join(":"),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip.to_string(),
        };
        let ip = format!("2:ip{}:{ip}", ip.len());
        let port = format!("4:porti{}e", peer.at.port());
        let without = get(pairs, "no_peer_id") == Some(b"1") && !self.has(Fault::NoPeerIdIgnored);
        let id = if without {
            Vec::new()
        } else {
            [b"7:peer id20:".as_slice(), &peer.id].concat()
        };
        let order = if self.has(Fault::PeerKeysUnsorted) {
            [port.as_bytes(), &id, ip.as_bytes()]
        } else {
            [ip.as_bytes(), &id, port.as_bytes()]
        };
        out.push(b'd');
        out.extend(order.concat());
        out.push(b'e');
    }

    fn scrape_http(&self, request: &Request) -> Reply {
        let Some(pairs) = self.pairs(&request.query) else {
            return self.refuse(request, "a broken escape in the query");
        };
        let asked: Option<Vec<Hash>> = pairs
            .iter()
            .filter(|(key, _)| key == b"info_hash")
            .map(|(_, value)| self.twenty(value))
            .collect();
        let Some(mut hashes) = asked else {
            return self.refuse(request, "info_hash must have 20 bytes");
        };
        hashes.truncate(100);
        if hashes.is_empty() {
            hashes = self.hashes();
        }
        if !self.has(Fault::ScrapeInOrderOfRequest) {
            hashes.sort_unstable();
        }
        if !self.has(Fault::ScrapeRepeats) {
            hashes.dedup();
        }
        let mut out = b"d5:filesd".to_vec();
        for hash in hashes {
            let counts = self.scrape(&hash);
            let key: Vec<u8> = if self.has(Fault::KeysAreText) {
                hash.iter()
                    .map(|byte| char::from(*byte))
                    .collect::<String>()
                    .into_bytes()
            } else {
                hash.to_vec()
            };
            out.extend(format!("{}:", key.len()).bytes());
            out.extend(key);
            let mut entry = format!(
                "d8:completei{}e10:downloadedi{}e",
                counts.complete, counts.downloaded
            );
            let _ = write!(
                entry,
                "11:downloadersi{}e10:incompletei{}ee",
                counts.downloaders, counts.incomplete
            );
            out.extend(entry.bytes());
        }
        out.extend(b"ee");
        Reply {
            status: 200,
            body: out,
            kind: "text/plain",
        }
    }

    /// The parameters, decoded; nothing if an escape is broken.
    fn pairs(&self, query: &[u8]) -> Option<Pairs> {
        let pieces = query
            .split(|byte| *byte == b'&')
            .filter(|piece| !piece.is_empty());
        pieces
            .map(|piece| {
                let cut = piece.iter().position(|byte| *byte == b'=');
                let (key, value) = cut.map_or((piece, &[][..]), |cut| (&piece[..cut], &piece[cut + 1..]));
                Some((key.to_vec(), self.decode(value)?))
            })
            .collect()
    }

    fn decode(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, tail)) = rest.split_first() {
            let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
            match (*first, digits.and_then(|two| u8::from_str_radix(two, 16).ok())) {
                (b'%', Some(_))
                    if self.has(Fault::LowerHexKept) && tail[..2].iter().any(u8::is_ascii_lowercase) =>
                {
                    out.push(b'%');
                }
                (b'%', Some(byte)) => {
                    out.push(byte);
                    rest = &tail[2..];
                    continue;
                }
                (b'%', None) if !self.has(Fault::BrokenEscapesKept) => return None,
                (b'+', _) if !self.has(Fault::PlusIsPlus) => out.push(b' '),
                (other, _) => out.push(other),
            }
            rest = tail;
        }
        Some(out)
    }
}

fn get<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a [u8]> {
    pairs
        .iter()
        .find(|(name, _)| name == key.as_bytes())
        .map(|(_, value)| value.as_slice())
}

fn forwarded(text: &str) -> Option<IpAddr> {
    let plain = text
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next())
        .unwrap_or(text);
    plain
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()))
}

fn text_only(bytes: &[u8]) -> [u8; 20] {
    let mut id = [0; 20];
    id.iter_mut()
        .zip(String::from_utf8_lossy(bytes).bytes())
        .for_each(|(to, from)| *to = from);
    id
}

fn failed(status: u16, reason: &str) -> Reply {
    let body = format!("d14:failure reason{}:{reason}e", reason.len());
    Reply {
        status,
        body: body.into_bytes(),
        kind: "text/plain",
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The longest head that is read.
const HEAD_MAX: usize = 32 << 10;
