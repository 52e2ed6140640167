//! Answers to requests.

use core::fmt;
use core::net::IpAddr;

use super::HEAD_MAX;
use super::forwarded::{self, ForwardedFault, Origin};
use super::front::Front;
use super::full_scrape::FullScrape;
use super::head::{self, Framing, Status};
use super::page::{Found, Page, PageStream, Pages};
use super::query::{self, AnnounceQuery, PeerForm, QueryFault, ScrapeQuery};
use super::request::{Method, Request, RequestFault};
use super::response::{AnnounceResponse, Failure, PeerList, Retry, encode_scrape};
use super::route::Route;
use super::stream::Stream;
use crate::announce::{Announce, AnnounceOutcome, Family, Refusal};
use crate::config::Intervals;
use crate::governor::{self, Charge, Class};
use crate::overload::Level;
use crate::scope::Scope;
use crate::stats::Count;
use crate::{Instant, Peers, Worker};

/// A whole answer, or the beginning of one.
#[derive(Debug)]
pub(super) enum Answer {
    /// The answer is in the reply buffer.
    Whole { len: usize, keep_alive: bool },
    /// The answer is streamed in pieces.
    Stream(Stream),
    /// None: the connection is closed. The reply buffer is too small for any, or the client asked for far too much.
    Impossible,
}

/// Answers a request, or refuses malformed bytes, of a connection from `origin`.
pub(super) fn answer(
    now: Instant,
    request: Result<Request<'_>, RequestFault>,
    origin: Origin,
    front: &Front,
    worker: &mut Worker,
    reply: &mut [u8],
) -> Answer {
    worker.count(match origin.ip {
        IpAddr::V4(_) => Count::HttpRequest4,
        IpAddr::V6(_) => Count::HttpRequest6,
    });
    let request = match request {
        Ok(request) if request.method == Method::Other => {
            return refuse_and_close(Rejection::Method, worker, reply);
        }
        Ok(request) => request,
        Err(fault) => {
            let verdict = worker.judge(now, origin.ip, Class::BadRequest);
            if verdict == governor::Verdict::Silence {
                return Answer::Impossible;
            }
            return refuse_and_close(Rejection::Request(fault), worker, reply);
        }
    };
    let framing = Framing::of(&request, worker.tracker().config().keep_alive());
    let exchange = Exchange {
        now,
        request: &request,
        origin,
        framing,
        front,
    };
    match exchange.answer(worker, reply) {
        Ok(answer) => answer,
        Err(Rejection::Silenced) => Answer::Impossible,
        Err(rejection) => refuse(rejection, framing, worker, reply),
    }
}

/// Refuses a malformed or incomplete request and closes the connection: where the next request begins is not known.
pub(super) fn refuse_and_close(rejection: Rejection, worker: &Worker, reply: &mut [u8]) -> Answer {
    refuse(rejection, Framing::CLOSE, worker, reply)
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    Request(RequestFault),
    Query(QueryFault),
    Forwarded(ForwardedFault),
    Refused(Refusal),
    /// An announce or scrape at a path that is not the tracker's.
    WrongPath,
    NotFound,
    Method,
    /// The head did not come in time.
    Timeout,
    /// The connection ended within a head.
    Truncated,
    HeadTooLarge,
    FullScrapeOff,
    FullScrapeBusy,
    PagesBusy,
    /// The client's network is over its limit.
    Limited,
    /// It is so far over its limit that nothing is answered.
    Silenced,
    /// The worker is overloaded, and gives up requests of this kind.
    Overloaded,
    /// The same for pages.
    PagesShed,
}

impl Rejection {
    /// Refusals by the tracker have status 200: clients read the failure reason of no other.
    const fn status(self) -> Status {
        match self {
            Self::Query(_)
            | Self::Forwarded(_)
            | Self::Refused(_)
            | Self::WrongPath
            | Self::FullScrapeBusy
            | Self::Limited
            | Self::Silenced
            | Self::Overloaded => Status::Ok,
            Self::Request(_) | Self::Truncated => Status::BadRequest,
            Self::FullScrapeOff => Status::Forbidden,
            Self::NotFound => Status::NotFound,
            Self::Method => Status::MethodNotAllowed,
            Self::Timeout => Status::RequestTimeout,
            Self::HeadTooLarge => Status::ContentTooLarge,
            Self::PagesBusy => Status::TooManyRequests,
            Self::PagesShed => Status::ServiceUnavailable,
        }
    }

    /// When the client should try again.
    const fn retry_policy(self) -> RetryPolicy {
        match self {
            Self::Forwarded(_) | Self::Timeout | Self::Truncated => RetryPolicy::AfterServedInterval,
            Self::FullScrapeBusy | Self::Overloaded => RetryPolicy::AfterOneMinute,
            Self::Limited | Self::Silenced => RetryPolicy::AfterLongest,
            Self::Refused(Refusal::TorrentsFull | Refusal::SwarmFull | Refusal::AddressFull) => {
                RetryPolicy::AfterPeersExpire
            }
            Self::Request(_)
            | Self::Query(_)
            | Self::WrongPath
            | Self::NotFound
            | Self::Method
            | Self::HeadTooLarge => RetryPolicy::AfterLongestInterval,
            Self::Refused(
                Refusal::ImpossibleAddress
                | Refusal::PrivateAddress
                | Refusal::TorrentDenied
                | Refusal::AddressDenied,
            )
            | Self::FullScrapeOff => RetryPolicy::Never,
            Self::PagesBusy | Self::PagesShed => RetryPolicy::Unsaid,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(fault) => fault.fmt(f),
            Self::Query(fault) => fault.fmt(f),
            Self::Forwarded(fault) => fault.fmt(f),
            Self::Refused(refusal) => f.write_str(refusal.reason()),
            Self::WrongPath => f.write_str("this path is not the tracker's: it is at /announce and /scrape"),
            Self::NotFound => f.write_str("this is a tracker: ask for /announce or /scrape"),
            Self::Method => f.write_str("only GET and HEAD are answered"),
            Self::Timeout => f.write_str("the request did not arrive in time"),
            Self::Truncated => f.write_str("the connection ended before the request did"),
            Self::HeadTooLarge => write!(f, "a request head may have at most {HEAD_MAX} bytes"),
            Self::FullScrapeOff => f.write_str("scrapes without info_hash are not answered here"),
            Self::FullScrapeBusy => f.write_str("too many scrapes of all torrents are running"),
            Self::Limited | Self::Silenced => f.write_str(governor::TOO_MANY),
            Self::Overloaded | Self::PagesShed => {
                f.write_str("the tracker is overloaded: try again in a minute")
            }
            Self::PagesBusy => f.write_str("pages were asked for too often: try again in a second"),
        }
    }
}

/// When a refused client should try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryPolicy {
    /// After the interval served: the operator may mend the cause any time.
    AfterServedInterval,
    /// After a minute.
    AfterOneMinute,
    /// When present peers have left or expired.
    AfterPeersExpire,
    /// After the longest interval.
    AfterLongest,
    /// After the longest interval: the same request will fail again.
    AfterLongestInterval,
    /// Never (BEP 31). The longest interval is sent too: few clients know BEP 31, and a list may change.
    Never,
    /// No advice: the request is not of a BitTorrent client.
    Unsaid,
}

impl RetryPolicy {
    /// The `interval` beside the failure and the `retry in` of BEP 31, when the interval `served_secs` is served.
    const fn resolve(self, intervals: Intervals, served_secs: u32) -> (Option<u32>, Option<Retry>) {
        match self {
            Self::AfterServedInterval => (Some(served_secs), None),
            Self::AfterOneMinute => (Some(intervals.min), Some(Retry::Minutes(1))),
            Self::AfterPeersExpire | Self::AfterLongest => {
                let minutes = intervals.max.div_ceil(60);
                (Some(intervals.max), Some(Retry::Minutes(minutes)))
            }
            Self::AfterLongestInterval => (Some(intervals.max), None),
            Self::Never => (Some(intervals.max), Some(Retry::Never)),
            Self::Unsaid => (None, None),
        }
    }
}

/// A request and its source.
struct Exchange<'a> {
    now: Instant,
    request: &'a Request<'a>,
    /// The client, or a proxy.
    origin: Origin,
    framing: Framing,
    front: &'a Front,
}

impl Exchange<'_> {
    fn answer(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Rejection> {
        let prefix = worker.tracker().config().path_prefix().as_bytes();
        match Route::of(self.request.path, prefix) {
            Route::Announce => self.announce(worker, reply),
            Route::Scrape => self.scrape(worker, reply),
            Route::WrongPath => Err(Rejection::WrongPath),
            // Only a client names a torrent, and it takes a page for a broken tracker.
            Route::Page(_) if query::names_torrent(self.request.query) => Err(Rejection::WrongPath),
            Route::Page(path) => self.page(path, worker, reply),
        }
    }

    fn announce(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Rejection> {
        let ids_kept = worker.tracker().config().swarms().peer_ids();
        let client = self.client(worker).map_err(|fault| unnamed(fault, worker))?;
        let is_ignored = forwarded::is_ignored(self.request, self.origin, |ip| worker.trusts(ip));
        let AnnounceQuery { mut announce, form } =
            AnnounceQuery::parse(self.request.query, client).map_err(Rejection::Query)?;
        note_source(&mut announce, is_ignored, worker);
        let shed = worker.shed_announce(announce.event);
        if shed == governor::Verdict::Silence {
            return Err(Rejection::Overloaded);
        }
        let verdict = self.judge(client, Class::Announce, worker)?.max(shed);
        announce.numwant = verdict.numwant(&announce);
        let ids = form == PeerForm::Dictionaries { ids: true } && ids_kept;
        let config = worker.tracker().config();
        let intervals = config.intervals();
        let external_ip = config
            .external_addresses()
            .map_or(client, |external| external.of(client));
        let (mut announced, peers) = worker
            .announce_into_scratch(self.now, &announce, ids)
            .map_err(Rejection::Refused)?;
        if verdict.postpones(announce.event) {
            announced = announced.postponed(intervals);
        }
        let len = head::encode(Status::Ok, self.framing, reply, |out| {
            encode_announce(external_ip, form, &announced, peers, out)
        });
        worker.count(Count::HttpAnnounce);
        Ok(complete(len, Status::Ok, self.framing, worker))
    }

    fn scrape(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Rejection> {
        let mut query = ScrapeQuery::parse(self.request.query).map_err(Rejection::Query)?;
        if query.info_hashes().is_empty() {
            return self.full_scrape(worker, reply);
        }
        let charge = Charge::scrape(query.info_hashes().len());
        let reader = self.reader(worker)?;
        let _ = self.judge(reader, charge, worker)?;
        if worker.sheds(Level::Scrapes, Count::ShedScrape) {
            return Err(Rejection::Overloaded);
        }
        let len = head::encode(Status::Ok, self.framing, reply, |out| {
            encode_scrape(query.sorted(), |info_hash| worker.scrape(info_hash), out)
        });
        worker.count(Count::HttpScrape);
        Ok(complete(len, Status::Ok, self.framing, worker))
    }

    fn full_scrape(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Rejection> {
        if !worker.tracker().config().full_scrape() {
            return Err(Rejection::FullScrapeOff);
        }
        let reader = self.reader(worker)?;
        let _ = self.judge(reader, Class::FullScrape, worker)?;
        if worker.sheds(Level::Extras, Count::ShedFullScrape) {
            return Err(Rejection::Overloaded);
        }
        let framing = Framing {
            // HTTP/1.0 has no chunks: the end of the connection marks the end of the body.
            keep_alive: self.framing.keep_alive && self.framing.chunks,
            ..self.framing
        };
        let answer = if framing.body {
            let stream = FullScrape::begin(self.now, framing, reader, self.front.full_scrapes(), worker)
                .ok_or(Rejection::FullScrapeBusy)?;
            count_answer(Status::Ok, framing, worker);
            Answer::Stream(Stream::FullScrape(stream))
        } else {
            let len = head::encode_stream(framing, reply);
            complete(len, Status::Ok, framing, worker)
        };
        worker.count(Count::HttpScrape);
        worker.count(Count::HttpFullScrape);
        Ok(answer)
    }

    /// Charges `client` for its request. Only an announce is ever answered short.
    fn judge(
        &self,
        client: IpAddr,
        charge: impl Into<Charge>,
        worker: &mut Worker,
    ) -> Result<governor::Verdict, Rejection> {
        match worker.judge(self.now, client, charge) {
            governor::Verdict::Failure => Err(Rejection::Limited),
            governor::Verdict::Silence => Err(Rejection::Silenced),
            verdict @ (governor::Verdict::Serve | governor::Verdict::Short) => Ok(verdict),
        }
    }

    fn client(&self, worker: &Worker) -> Result<IpAddr, ForwardedFault> {
        let proxies = worker.tracker().config().proxies();
        forwarded::client(self.request, self.origin, proxies, |ip| worker.trusts(ip))
    }

    /// The source of a scrape. No header has to name it, as nothing is stored of it; the PROXY protocol is spoken for every request.
    fn reader(&self, worker: &Worker) -> Result<IpAddr, Rejection> {
        match self.client(worker) {
            Err(fault @ ForwardedFault::NoProxyHeader) => Err(unnamed(fault, worker)),
            client => Ok(client.unwrap_or(self.origin.ip)),
        }
    }

    /// Answers with the page at `path`, which is relative to the prefix.
    fn page(&self, path: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Rejection> {
        let (request, framing) = (self.request, self.framing);
        // The proxy host itself may read pages without the header; a malformed header is refused.
        let reader = match self.client(worker) {
            Err(ForwardedFault::Missing | ForwardedFault::NoProxyHeader) => self.origin.ip,
            reader => reader.map_err(Rejection::Forwarded)?,
        };
        match worker.judge(self.now, reader, Class::Page) {
            governor::Verdict::Failure => return Err(Rejection::PagesBusy),
            governor::Verdict::Silence => return Err(Rejection::Silenced),
            governor::Verdict::Serve | governor::Verdict::Short => {}
        }
        // Pages are written once a second, however many read them. Those who run the tracker need them now.
        let is_operator = Scope::of(reader) == Scope::Local;
        if !is_operator && worker.sheds(Level::Extras, Count::ShedPage) {
            return Err(Rejection::PagesShed);
        }
        let tracker = worker.tracker();
        let find = |pages: &dyn Pages| pages.find(self.now, &request.at(path), reader, tracker);
        match self.front.pages().map(find) {
            Some(Found::Page(page)) => {
                worker.count(Count::HttpPage);
                Ok(page_answer(page, Status::Ok, framing, worker))
            }
            Some(Found::Forbidden(page)) => Ok(page_answer(page, Status::Forbidden, framing, worker)),
            Some(Found::Unavailable(page)) => {
                worker.count(Count::HttpPage);
                Ok(page_answer(page, Status::ServiceUnavailable, framing, worker))
            }
            Some(Found::Busy) => Err(Rejection::PagesBusy),
            Some(Found::Nothing) | None if is_root(path) => Ok(landing_page(framing, worker, reply)),
            Some(Found::Nothing) | None => Err(Rejection::NotFound),
        }
    }
}

fn unnamed(fault: ForwardedFault, worker: &Worker) -> Rejection {
    worker.count(Count::HttpForwardedMissing);
    Rejection::Forwarded(fault)
}

/// Whether the path has no segments: `/`, or several slashes.
fn is_root(path: &[u8]) -> bool {
    path.iter().all(|byte| *byte == b'/')
}

/// Counts the source of an announce for the detection of hidden clients. Behind a proxy that is not trusted the source is not
/// the client's address: the client gets peers and is not stored, as one with port 0.
fn note_source(announce: &mut Announce, is_ignored: bool, worker: &Worker) {
    let peer = announce.peer;
    let is_local = is_ignored && Scope::of(peer.ip) == Scope::Local;
    worker.counters().votes.http(peer, is_ignored && !is_local);
    if !is_ignored {
        return;
    }
    worker.count(Count::HttpForwardedIgnored);
    if is_local {
        worker.count(Count::HttpForwardedIgnoredLocal);
    }
    if forwarded::is_proxy(peer.ip) {
        announce.peer.port = 0;
    }
}

/// Writes an announce answer with as many peers as fit.
fn encode_announce(
    external_ip: IpAddr,
    form: PeerForm,
    announced: &AnnounceOutcome,
    mut peers: Peers<'_>,
    out: &mut [u8],
) -> Option<usize> {
    loop {
        let (list, peers6) = match (form, peers.family) {
            (PeerForm::Dictionaries { .. }, _) => (PeerList::Dictionaries(peers.into()), None),
            (PeerForm::Compact, Family::V4) => (PeerList::Compact(peers.compact), None),
            (PeerForm::Compact, Family::V6) => (PeerList::Compact(&[]), Some(peers.compact)),
        };
        let response = AnnounceResponse {
            complete: Some(announced.counts.complete),
            downloaded: Some(announced.counts.downloaded),
            external_ip: Some(external_ip),
            incomplete: Some(announced.counts.incomplete),
            interval_secs: announced.interval_secs,
            interval_min_secs: Some(announced.interval_min_secs),
            peers: list,
            peers6,
        };
        let len = response.encode(out);
        if len.is_some() || peers.compact.is_empty() {
            return len;
        }
        let stride = peers.family.compact_len();
        let fewer = peers.compact.len() / stride / 2 * stride;
        peers.compact = peers.compact.get(..fewer).unwrap_or_default();
    }
}

fn page_answer(page: Page, status: Status, framing: Framing, worker: &Worker) -> Answer {
    count_answer(status, framing, worker);
    Answer::Stream(Stream::Page(PageStream::new(page, status, framing)))
}

/// The plain-text landing page.
fn landing_page(framing: Framing, worker: &Worker, reply: &mut [u8]) -> Answer {
    let head_len = head::encode_page(Status::Ok, framing, "text/plain", LANDING_PAGE.len(), reply);
    let len = head_len.and_then(|head_len| {
        let body = if framing.body { LANDING_PAGE } else { &[] };
        reply
            .get_mut(head_len..)?
            .get_mut(..body.len())?
            .copy_from_slice(body);
        Some(head_len + body.len())
    });
    complete(len, Status::Ok, framing, worker)
}

pub(crate) const LANDING_PAGE: &[u8] =
    b"etracker, a BitTorrent tracker: announce to /announce, scrape /scrape\n";

fn refuse(rejection: Rejection, framing: Framing, worker: &Worker, reply: &mut [u8]) -> Answer {
    let tracker = worker.tracker();
    let intervals = tracker.config().intervals();
    let (interval_secs, retry) = rejection
        .retry_policy()
        .resolve(intervals, tracker.interval_served_secs());
    let failure = Failure {
        reason: rejection,
        interval_secs,
        interval_min_secs: interval_secs.map(|secs| intervals.min_beside(secs)),
        retry,
    };
    let len = head::encode(rejection.status(), framing, reply, |out| failure.encode(out));
    worker.count(Count::HttpFailure);
    complete(len, rejection.status(), framing, worker)
}

fn complete(len: Option<usize>, status: Status, framing: Framing, worker: &Worker) -> Answer {
    count_answer(status, framing, worker);
    let keep_alive = framing.keep_alive;
    len.map_or(Answer::Impossible, |len| Answer::Whole { len, keep_alive })
}

fn count_answer(status: Status, framing: Framing, worker: &Worker) {
    worker.count(status.count());
    worker.count(if framing.keep_alive {
        Count::HttpKeptAlive
    } else {
        Count::HttpNotKeptAlive
    });
}
