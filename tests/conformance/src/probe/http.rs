//! Announces and scrapes over HTTP: the request built piece by piece, the answer read to its meaning.

use super::{Client, Hash, Probe};
use crate::plain;
use crate::{
    finding::Stop,
    target::{Endpoint, Family},
    transcript::Way,
    wire::{
        bencode::{self, Value},
        http::{Answer, Connection, Silence, percent},
        udp,
    },
};
use rustls::{ALL_VERSIONS, ClientConfig, SupportedProtocolVersion};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// A request that can be bent in every way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) family: Family,
    pub(crate) source: Option<IpAddr>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) version: &'static str,
    pub(crate) headers: Vec<String>,
}

impl Request {
    /// Gives a parameter a (raw, already encoded) value, in its place if it is there.
    pub(crate) fn set(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let mut piece = format!("{key}=").into_bytes();
        piece.extend(value.as_ref());
        match self.pieces.iter_mut().find(|old| is_of(old, key)) {
            Some(old) => *old = piece,
            None => self.pieces.push(piece),
        }
        self
    }

    /// Takes a parameter out.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.pieces.retain(|piece| !is_of(piece, key));
        self
    }

    /// Appends a piece of query as it is.
    pub(crate) fn piece(mut self, raw: impl AsRef<[u8]>) -> Self {
        self.pieces.push(raw.as_ref().to_vec());
        self
    }

    /// Puts a piece of query in front.
    pub(crate) fn first(mut self, raw: &str) -> Self {
        self.pieces.insert(0, raw.as_bytes().to_vec());
        self
    }

    /// The raw value of a parameter.
    fn value(&self, key: &str) -> Option<&str> {
        let piece = self.pieces.iter().find(|piece| is_of(piece, key))?;
        std::str::from_utf8(piece.get(key.len() + 1..)?).ok()
    }

    pub(crate) fn event(self, event: &str) -> Self {
        self.set("event", event)
    }

    pub(crate) fn left(self, left: &str) -> Self {
        self.set("left", left)
    }

    /// Says that nothing is left to download.
    pub(crate) fn seeding(self) -> Self {
        self.left("0")
    }

    pub(crate) fn numwant(self, count: &str) -> Self {
        self.set("numwant", count)
    }

    pub(crate) fn header(mut self, line: impl Into<String>) -> Self {
        self.headers.push(line.into());
        self
    }

    /// Takes a header out, its name in any case.
    pub(crate) fn without_header(mut self, name: &str) -> Self {
        self.headers
            .retain(|line| !line.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase()));
        self
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Path and query.
    pub(crate) fn target(&self) -> Vec<u8> {
        let mut target = self.path.clone().into_bytes();
        if !self.pieces.is_empty() {
            target.push(b'?');
            target.extend(self.pieces.join(&b'&'));
        }
        target
    }

    /// The whole request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes_of(&self.target())
    }

    /// The whole request with another target.
    pub(crate) fn bytes_of(&self, target: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend(target);
        bytes.extend(format!(" {}\r\n", self.version).bytes());
        for line in &self.headers {
            bytes.extend(format!("{line}\r\n").bytes());
        }
        bytes.extend(b"\r\n");
        bytes
    }
}

fn is_of(piece: &[u8], key: &str) -> bool {
    piece
        .strip_prefix(key.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&b'='))
}

/// What a tracker said to an announce or a scrape.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A dictionary without `failure reason`.
    Success(Box<Success>),
    /// A dictionary with one.
    Failure {
        status: u16,
        reason: Vec<u8>,
        body: Value,
    },
    /// Anything else that is HTTP.
    Other(Answer),
}

impl Reply {
    /// One line on what it is.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Success(success) => format!("status {} and a success", success.status),
            Self::Failure { status, reason, .. } => {
                format!("status {status} and the failure `{}`", reason.escape_ascii())
            }
            Self::Other(answer) => {
                let body = answer.body.get(..40).unwrap_or(&answer.body);
                format!("status {} and the body `{}`", answer.status, body.escape_ascii())
            }
        }
    }

    pub(crate) fn is_failure(&self) -> bool {
        matches!(self, Self::Failure { .. })
    }

    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }
}

/// A success, not yet read further.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A peer of an announce's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PeerEntry {
    pub(crate) at: SocketAddr,
    /// The text under `ip`, in dictionary form.
    pub(crate) text: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) keys: Vec<Vec<u8>>,
}

/// A successful answer to an announce.
#[derive(Debug)]
pub(crate) struct Announced {
    pub(crate) status: u16,
    pub(crate) interval: i128,
    pub(crate) complete: Option<i128>,
    pub(crate) incomplete: Option<i128>,
    /// Whether the asker's own endpoint was among the peers. It is taken out of the lists, so that this one
    /// habit fails the checks that are about it and no others.
    pub(crate) own: bool,
    /// The peers of `peers`, whatever its form.
    pub(crate) peers: Vec<PeerEntry>,
    /// The peers of `peers6`.
    pub(crate) peers6: Vec<PeerEntry>,
    pub(crate) body: Value,
}

impl Announced {
    /// All peers of both lists.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PeerEntry> {
        self.peers.iter().chain(&self.peers6)
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len() + self.peers6.len()
    }

    /// Whether a client is handed out; by its port alone where its address is not known.
    pub(crate) fn has(&self, client: &Client) -> bool {
        self.all().any(|peer| {
            peer.at.port() == client.port && client.source.is_none_or(|source| source == peer.at.ip())
        })
    }

    /// The endpoints as text.
    pub(crate) fn list(&self) -> String {
        let all: Vec<String> = self.all().map(|peer| peer.at.to_string()).collect();
        format!("[{}]", all.join(", "))
    }

    fn without_asker(mut self, request: &Request) -> Self {
        let before = self.len();
        let port = request.value("port").and_then(|port| port.parse().ok());
        let is_own = |at: &SocketAddr| {
            port == Some(at.port()) && request.source.is_none_or(|source| source == at.ip())
        };
        self.peers.retain(|peer| !is_own(&peer.at));
        self.peers6.retain(|peer| !is_own(&peer.at));
        self.own = self.len() < before;
        self
    }

    fn read(success: Success) -> Result<Self, Stop> {
        let body = success.body;
        let interval = body.get("interval").and_then(Value::int);
        let interval = interval.ok_or_else(|| Stop::failed("the answer has no integer `interval`"))?;
        let peers =
            read_peers(body.get("peers"), false).map_err(|why| Stop::Failed(format!("`peers`: {why}")))?;
        let peers6 =
            read_peers(body.get("peers6"), true).map_err(|why| Stop::Failed(format!("`peers6`: {why}")))?;
        let count = |key| body.get(key).and_then(Value::int);
        Ok(Self {
            status: success.status,
            interval,
            complete: count("complete"),
            incomplete: count("incomplete"),
            own: false,
            peers,
            peers6,
            body,
        })
    }
}

fn read_peers(value: Option<&Value>, v6: bool) -> Result<Vec<PeerEntry>, String> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Bytes(bytes)) => {
            let peers = udp::read_peers(bytes, v6)?;
            Ok(peers
                .into_iter()
                .map(|at| PeerEntry {
                    at,
                    text: None,
                    id: None,
                    keys: Vec::new(),
                })
                .collect())
        }
        Some(Value::List(items)) => items.iter().map(read_peer).collect(),
        Some(Value::Int(_) | Value::Dict(_)) => Err("neither a string nor a list".to_owned()),
    }
}

fn read_peer(item: &Value) -> Result<PeerEntry, String> {
    let text = item
        .get("ip")
        .and_then(Value::bytes)
        .ok_or("a peer without `ip`")?;
    let text = String::from_utf8_lossy(text).into_owned();
    let ip: IpAddr = text
        .parse()
        .map_err(|_| format!("`ip` is `{text}`, no address"))?;
    let port = item
        .get("port")
        .and_then(Value::int)
        .ok_or("a peer without an integer `port`")?;
    let port = u16::try_from(port).map_err(|_| format!("port {port}"))?;
    let id = item.get("peer id").and_then(Value::bytes).map(<[u8]>::to_vec);
    let keys = item.keys().into_iter().map(<[u8]>::to_vec).collect();
    Ok(PeerEntry {
        at: SocketAddr::new(ip, port),
        text: Some(text),
        id,
        keys,
    })
}

/// What a scrape says of one hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) complete: i128,
    pub(crate) incomplete: i128,
    pub(crate) downloaded: Option<i128>,
    pub(crate) downloaders: Option<i128>,
}

impl Probe<'_> {
    /// A valid announce: compact, a leecher, no event.
    pub(crate) fn announce_of(&self, client: &Client, hash: &[u8]) -> Request {
        let endpoint = self.endpoint(client.family);
        let mut pieces: Vec<Vec<u8>> = endpoint
            .query
            .iter()
            .map(|query| query.clone().into_bytes())
            .collect();
        for (key, value) in [
            ("info_hash", percent(hash)),
            ("peer_id", percent(&client.peer_id)),
            ("port", client.port.to_string()),
            ("uploaded", "0".to_owned()),
            ("downloaded", "0".to_owned()),
            ("left", "1000".to_owned()),
            ("compact", "1".to_owned()),
        ] {
            pieces.push(format!("{key}={value}").into_bytes());
        }
        Request {
            family: client.family,
            source: client.source,
            method: "GET",
            path: endpoint.path.clone(),
            pieces,
            version: "HTTP/1.1",
            headers: default_headers(endpoint),
        }
    }

    /// A scrape of some hashes, from an address of its own.
    pub(crate) fn scrape_of(&mut self, hashes: &[Hash]) -> Result<Request, Stop> {
        let client = self.client();
        let endpoint = self.endpoint(client.family);
        let path = endpoint.scrape_path().ok_or_else(|| {
            Stop::NotOffered(
                "the last part of the URL's path does not begin with `announce`: no scrape (BEP 48)"
                    .to_owned(),
            )
        })?;
        let mut request = self.announce_of(&client, &[]).path(&path);
        request.pieces.truncate(usize::from(endpoint.query.is_some()));
        request.pieces.extend(
            hashes
                .iter()
                .map(|hash| format!("info_hash={}", percent(hash)).into_bytes()),
        );
        Ok(request)
    }

    /// The HTTP endpoint of a family; the other one where only that is given.
    pub(crate) fn endpoint(&self, family: Family) -> &Endpoint {
        let settings = self.settings();
        let endpoint = settings
            .http_of(family)
            .or(settings.http.as_ref())
            .or(settings.http6.as_ref());
        endpoint.unwrap_or_else(|| unreachable!("a check that uses HTTP needs an HTTP URL"))
    }

    /// Opens a connection as a request's client, over TLS where the URL asks for it.
    pub(crate) fn open(&mut self, request: &Request) -> Result<Connection, Stop> {
        self.open_within(request, self.patience())
    }

    /// The same with another patience.
    pub(crate) fn open_within(&mut self, request: &Request, limit: Duration) -> Result<Connection, Stop> {
        let mut connection = self.open_bare(request, limit)?;
        if self.endpoint(request.family).secure {
            let config = self.tls_config(ALL_VERSIONS)?;
            self.secure(&mut connection, request, Arc::new(config), limit)?;
        }
        Ok(connection)
    }

    /// Opens a connection without TLS, whatever the URL says.
    pub(crate) fn open_bare(&mut self, request: &Request, limit: Duration) -> Result<Connection, Stop> {
        let address = self.endpoint(request.family).address;
        Connection::open(address, request.source, limit).map_err(|error| {
            self.say(&format!("connect to {address}: {}", plain(&error)));
            Stop::Failed(format!("cannot connect to {address}: {}", plain(&error)))
        })
    }

    /// How a client of these versions begins TLS.
    pub(crate) fn tls_config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<ClientConfig, Stop> {
        let config = self.settings().trust.config(versions);
        config.map_err(|error| Stop::Failed(error.to_string()))
    }

    /// Agrees on TLS, or fails.
    pub(crate) fn secure(
        &mut self,
        connection: &mut Connection,
        request: &Request,
        config: Arc<ClientConfig>,
        limit: Duration,
    ) -> Result<(), Stop> {
        let name = self.endpoint(request.family).name();
        connection.secure(config, name, limit).map_err(|why| {
            self.say(&format!("TLS: {why}"));
            Stop::Failed(format!("no TLS: {why}"))
        })
    }

    /// Sends bytes on a connection.
    pub(crate) fn write(&mut self, connection: &mut Connection, bytes: &[u8]) -> Result<(), Stop> {
        self.log(Way::HttpOut, bytes);
        connection
            .send(bytes)
            .map_err(|error| Stop::Failed(format!("cannot send: {}", plain(&error))))
    }

    /// Reads one answer; none is a failure.
    pub(crate) fn read(&mut self, connection: &mut Connection) -> Result<Answer, Stop> {
        self.try_read(connection, false)
            .map_err(|silence| Stop::Failed(silence.to_string()))
    }

    /// Reads one answer, or tells why there is none.
    pub(crate) fn try_read(
        &mut self,
        connection: &mut Connection,
        head_only: bool,
    ) -> Result<Answer, Silence> {
        let answer = connection.answer(head_only, self.patience());
        match &answer {
            Ok(answer) => self.log(Way::HttpIn, &[answer.head.as_slice(), &answer.body].concat()),
            Err(silence) => {
                self.log(Way::HttpIn, silence.received());
                self.say(&silence.to_string());
            }
        }
        answer
    }

    /// Sends any bytes as a client and reads one answer; the connection is dropped.
    pub(crate) fn exchange(&mut self, client: &Request, bytes: &[u8]) -> Result<Answer, Stop> {
        let mut connection = self.open(client)?;
        self.write(&mut connection, bytes)?;
        self.read(&mut connection)
    }

    /// Sends a request as it stands and reads the answer.
    pub(crate) fn fetch(&mut self, request: &Request) -> Result<Answer, Stop> {
        self.exchange(request, &request.bytes())
    }

    /// Sends an announce or scrape and reads the reply, under the audit of the B group.
    pub(crate) fn reply(&mut self, request: &Request) -> Result<Reply, Stop> {
        let bytes = request.bytes();
        let answer = self.exchange(request, &bytes)?;
        Ok(self.understand(&bytes, answer))
    }

    /// Reads an answer's body, under the audit of the B group.
    pub(crate) fn understand(&self, request: &[u8], answer: Answer) -> Reply {
        let looks_bencoded = answer.body.first() == Some(&b'd');
        if answer.status != 200 && !looks_bencoded {
            return Reply::Other(answer);
        }
        let reading = bencode::read(&answer.body);
        let whole = [answer.head.as_slice(), &answer.body].concat();
        self.audit().take(self.check_id(), request, &whole, &reading);
        match reading.value {
            Some(body) if body.dict().is_some() => match body.get("failure reason").and_then(Value::bytes) {
                Some(reason) => Reply::Failure {
                    status: answer.status,
                    reason: reason.to_vec(),
                    body,
                },
                None => Reply::Success(Box::new(Success {
                    status: answer.status,
                    body,
                })),
            },
            _ => Reply::Other(answer),
        }
    }

    /// An announce that must succeed.
    pub(crate) fn announce(&mut self, request: &Request) -> Result<Announced, Stop> {
        match self.reply(request)? {
            Reply::Success(success) => Ok(Announced::read(*success)?.without_asker(request)),
            other => Err(Stop::Failed(format!(
                "a valid announce was answered with {}",
                other.describe()
            ))),
        }
    }

    /// A request that must be refused with a `failure reason`; returns the status and the reason.
    pub(crate) fn refused(&mut self, request: &Request) -> Result<(u16, String), Stop> {
        match self.reply(request)? {
            Reply::Failure { status, reason, .. } => {
                Ok((status, String::from_utf8_lossy(&reason).into_owned()))
            }
            other => Err(Stop::Failed(format!(
                "wanted a `failure reason`, got {}",
                other.describe()
            ))),
        }
    }

    /// A client begins as a leecher.
    pub(crate) fn leech(&mut self, client: &Client, hash: &Hash) -> Result<Announced, Stop> {
        let request = self.announce_of(client, hash).event("started");
        self.announce(&request)
    }

    /// A client begins as a seeder.
    pub(crate) fn seed(&mut self, client: &Client, hash: &Hash) -> Result<Announced, Stop> {
        let request = self.announce_of(client, hash).event("started").seeding();
        self.announce(&request)
    }

    /// Leechers and seeders of addresses of their own begin.
    pub(crate) fn crowd(&mut self, hash: &Hash, seeders: u16, leechers: u16) -> Result<Vec<Client>, Stop> {
        let crowd = self.clients(seeders + leechers);
        for (number, client) in crowd.iter().enumerate() {
            if number < usize::from(seeders) {
                self.seed(client, hash)?;
            } else {
                self.leech(client, hash)?;
            }
        }
        Ok(crowd)
    }

    /// A new leecher looks who is there.
    pub(crate) fn look(&mut self, hash: &Hash) -> Result<Announced, Stop> {
        let client = self.client();
        let request = self.announce_of(&client, hash).event("started").numwant("50");
        self.announce(&request)
    }

    /// The target still serves: a plain announce is answered.
    pub(crate) fn alive(&mut self) -> Result<(), Stop> {
        let hash = self.hash();
        match self.look(&hash) {
            Ok(_) => Ok(()),
            Err(Stop::Failed(why)) => Err(Stop::Failed(format!(
                "the tracker no longer serves afterwards: {why}"
            ))),
            Err(other) => Err(other),
        }
    }

    /// What a scrape over HTTP says of hashes; `None` for those left out.
    pub(crate) fn scrape(&mut self, hashes: &[Hash]) -> Result<Vec<Option<Counts>>, Stop> {
        let request = self.scrape_of(hashes)?;
        self.scrape_with(&request, hashes)
    }

    /// The same with a request made before.
    pub(crate) fn scrape_with(
        &mut self,
        request: &Request,
        hashes: &[Hash],
    ) -> Result<Vec<Option<Counts>>, Stop> {
        let body = match self.reply(request)? {
            Reply::Success(success) => success.body,
            Reply::Other(answer) if matches!(answer.status, 404 | 405 | 501) => {
                let status = answer.status;
                self.alive()?;
                return Err(Stop::NotOffered(format!("no scrape over HTTP (status {status})")));
            }
            other => {
                return Err(Stop::Failed(format!(
                    "a scrape was answered with {}",
                    other.describe()
                )));
            }
        };
        let files = body
            .get("files")
            .ok_or_else(|| Stop::failed("the scrape has no `files`"))?;
        let pairs = files
            .dict()
            .ok_or_else(|| Stop::failed("`files` is no dictionary"))?;
        hashes
            .iter()
            .map(|hash| {
                pairs
                    .iter()
                    .find(|(key, _)| names(key, hash))
                    .map(|(_, entry)| read_counts(entry))
                    .transpose()
            })
            .collect()
    }

    /// The counts of one hash; zeros if it is left out.
    pub(crate) fn counts(&mut self, hash: &Hash) -> Result<Counts, Stop> {
        Ok(self.scrape(&[*hash])?.pop().flatten().unwrap_or_default())
    }

    /// Requires the seeders and leechers of a hash to be so many.
    pub(crate) fn expect_counts(
        &mut self,
        hash: &Hash,
        complete: i128,
        incomplete: i128,
    ) -> Result<Counts, Stop> {
        let counts = self.counts(hash)?;
        if (counts.complete, counts.incomplete) == (complete, incomplete) {
            return Ok(counts);
        }
        let (got, wrong) = (counts.complete, counts.incomplete);
        Err(Stop::Failed(format!(
            "the scrape counts {got} seeders and {wrong} leechers, there are {complete} and {incomplete}"
        )))
    }
}

/// Whether a key of a scrape stands for a hash. A key that went through a text encoding is B-08's business: here
/// it is recognised, so that this one habit fails the checks that are about it and no others.
fn names(key: &[u8], hash: &Hash) -> bool {
    let as_text: String = hash.iter().map(|byte| char::from(*byte)).collect();
    key == hash || key == as_text.as_bytes()
}

fn read_counts(entry: &Value) -> Result<Counts, Stop> {
    let count = |key: &str| entry.get(key).and_then(Value::int);
    let missing = |key: &str| Stop::Failed(format!("a scrape entry without an integer `{key}`"));
    Ok(Counts {
        complete: count("complete").ok_or_else(|| missing("complete"))?,
        incomplete: count("incomplete").ok_or_else(|| missing("incomplete"))?,
        downloaded: count("downloaded"),
        downloaders: count("downloaders"),
    })
}

fn default_headers(endpoint: &Endpoint) -> Vec<String> {
    vec![
        format!("Host: {}", endpoint.host),
        "User-Agent: etracker-conformance".to_owned(),
        "Accept: */*".to_owned(),
        "Connection: close".to_owned(),
    ]
}
