//! What is answered to a request.

use core::fmt;
use core::net::IpAddr;

use super::HEAD_MAX;
use super::forwarded::{self, ForwardedFault};
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
use crate::scope::Scope;
use crate::stats::Count;
use crate::{Instant, Peers, Worker};

/// An answer, or the beginning of one.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is written; the connection stays open or not.
    Whole { len: usize, keep_alive: bool },
    /// It is to be streamed.
    Stream(Stream),
    /// None: the connection is closed. The reply buffer is too small for any, or the client asked for far too much.
    Impossible,
}

/// Answers a request, or what was to be one, that came over a connection from `peer`.
pub(super) fn answer(
    now: Instant,
    request: Result<Request<'_>, RequestFault>,
    peer: IpAddr,
    front: &Front,
    worker: &mut Worker,
    reply: &mut [u8],
) -> Answer {
    worker.count(match peer {
        IpAddr::V4(_) => Count::HttpRequest4,
        IpAddr::V6(_) => Count::HttpRequest6,
    });
    let request = match request {
        Ok(request) if request.method == Method::Other => return refuse_last(Trouble::Method, worker, reply),
        Ok(request) => request,
        Err(fault) => {
            let verdict = worker.judge(now, peer, Class::BadRequest);
            if verdict == governor::Verdict::Silence {
                return Answer::Impossible;
            }
            return refuse_last(Trouble::Request(fault), worker, reply);
        }
    };
    let framing = Framing::of(&request, worker.tracker().config().keep_alive());
    let asked = Asked {
        now,
        request: &request,
        peer,
        framing,
        front,
    };
    match asked.answer(worker, reply) {
        Ok(answer) => answer,
        Err(Trouble::Silenced) => Answer::Impossible,
        Err(trouble) => refuse(trouble, framing, worker, reply),
    }
}

/// Refuses what could not be read as a request, and with it the rest of the connection.
pub(super) fn refuse_last(trouble: Trouble, worker: &Worker, reply: &mut [u8]) -> Answer {
    refuse(trouble, Framing::LAST, worker, reply)
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Request(RequestFault),
    Query(QueryFault),
    Forwarded(ForwardedFault),
    Refused(Refusal),
    /// A client's request at a path that is not the tracker's.
    Astray,
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
}

impl Trouble {
    /// What a tracker refuses has status 200, or clients would not read the reason.
    const fn status(self) -> Status {
        match self {
            Self::Query(_)
            | Self::Forwarded(_)
            | Self::Refused(_)
            | Self::Astray
            | Self::FullScrapeBusy
            | Self::Limited
            | Self::Silenced => Status::Ok,
            Self::Request(_) | Self::Truncated => Status::BadRequest,
            Self::FullScrapeOff => Status::Forbidden,
            Self::NotFound => Status::NotFound,
            Self::Method => Status::MethodNotAllowed,
            Self::Timeout => Status::RequestTimeout,
            Self::HeadTooLarge => Status::ContentTooLarge,
            Self::PagesBusy => Status::TooManyRequests,
        }
    }

    /// When it makes sense to try again.
    const fn again(self) -> Again {
        match self {
            Self::Forwarded(_) | Self::Timeout | Self::Truncated => Again::AsServed,
            Self::FullScrapeBusy => Again::Soon,
            Self::Limited | Self::Silenced => Again::AfterLongest,
            Self::Refused(Refusal::TorrentsFull | Refusal::SwarmFull | Refusal::AddressFull) => {
                Again::WhenPeersAreGone
            }
            Self::Request(_)
            | Self::Query(_)
            | Self::Astray
            | Self::NotFound
            | Self::Method
            | Self::HeadTooLarge => Again::AsRarely,
            Self::Refused(
                Refusal::ImpossibleAddress
                | Refusal::PrivateAddress
                | Refusal::TorrentDenied
                | Refusal::AddressDenied,
            )
            | Self::FullScrapeOff => Again::Never,
            Self::PagesBusy => Again::NoClient,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(fault) => fault.fmt(f),
            Self::Query(fault) => fault.fmt(f),
            Self::Forwarded(fault) => fault.fmt(f),
            Self::Refused(refusal) => f.write_str(refusal.reason()),
            Self::Astray => f.write_str("this path is not the tracker's: it is at /announce and /scrape"),
            Self::NotFound => f.write_str("this is a tracker: ask for /announce or /scrape"),
            Self::Method => f.write_str("only GET and HEAD are answered"),
            Self::Timeout => f.write_str("the request did not arrive in time"),
            Self::Truncated => f.write_str("the connection ended before the request did"),
            Self::HeadTooLarge => write!(f, "a request head may have at most {HEAD_MAX} bytes"),
            Self::FullScrapeOff => f.write_str("scrapes without info_hash are not answered here"),
            Self::FullScrapeBusy => f.write_str("too many scrapes of all torrents are running"),
            Self::Limited | Self::Silenced => f.write_str(governor::TOO_MANY),
            Self::PagesBusy => f.write_str("pages were asked for too often: try again in a second"),
        }
    }
}

/// When a refused client is to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// As if it had been served: what is wrong may be mended any time.
    AsServed,
    /// In a minute.
    Soon,
    /// When those that hold the place now have left or expired.
    WhenPeersAreGone,
    /// After the longest interval.
    AfterLongest,
    /// As rarely as may be: the same request will not be understood later.
    AsRarely,
    /// Not at all; but few clients heed that (BEP 31), and a list may change.
    Never,
    /// It was no client of the protocol.
    NoClient,
}

impl Again {
    /// Where `served_secs` is the interval served now: the one beside the failure, and the same by BEP 31.
    const fn told(self, intervals: Intervals, served_secs: u32) -> (Option<u32>, Option<Retry>) {
        match self {
            Self::AsServed => (Some(served_secs), None),
            Self::Soon => (Some(intervals.min), Some(Retry::Minutes(1))),
            Self::WhenPeersAreGone | Self::AfterLongest => {
                let minutes = intervals.max.div_ceil(60);
                (Some(intervals.max), Some(Retry::Minutes(minutes)))
            }
            Self::AsRarely => (Some(intervals.max), None),
            Self::Never => (Some(intervals.max), Some(Retry::Never)),
            Self::NoClient => (None, None),
        }
    }
}

/// A request, and where it came from.
struct Asked<'a> {
    now: Instant,
    request: &'a Request<'a>,
    /// The other end of the connection: the client's, or a proxy's.
    peer: IpAddr,
    framing: Framing,
    front: &'a Front,
}

impl Asked<'_> {
    fn answer(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Trouble> {
        let prefix = worker.tracker().config().path_prefix().as_bytes();
        match Route::of(self.request.path, prefix) {
            Route::Announce => self.announce(worker, reply),
            Route::Scrape => self.scrape(worker, reply),
            Route::Astray => Err(Trouble::Astray),
            // No browser sends this: a client that is shown a page takes the tracker for broken.
            Route::Page(_) if query::names_torrent(self.request.query) => Err(Trouble::Astray),
            Route::Page(path) => self.page(path, worker, reply),
        }
    }

    fn announce(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Trouble> {
        let Self { request, peer, .. } = *self;
        let config = worker.tracker().config();
        let ids_kept = config.swarms().peer_ids();
        let client = forwarded::client(request, peer, config.trusted_proxies()).map_err(|fault| {
            worker.count(Count::HttpForwardedMissing);
            Trouble::Forwarded(fault)
        })?;
        let is_ignored = forwarded::is_ignored(request, peer, config.trusted_proxies());
        let AnnounceQuery { mut announce, form } =
            AnnounceQuery::parse(request.query, client).map_err(Trouble::Query)?;
        see(&mut announce, is_ignored, worker);
        let verdict = self.judge(client, Class::Announce, worker)?;
        announce.numwant = verdict.numwant(&announce);
        let ids = form == PeerForm::Dictionaries { ids: true } && ids_kept;
        let intervals = worker.tracker().config().intervals();
        let (mut announced, peers) = worker
            .announce_into_scratch(self.now, &announce, ids)
            .map_err(Trouble::Refused)?;
        if verdict.postpones(announce.event) {
            announced = announced.postponed(intervals);
        }
        let len = head::encode(Status::Ok, self.framing, reply, |out| {
            encode_announce(client, form, &announced, peers, out)
        });
        worker.count(Count::HttpAnnounce);
        Ok(whole(len, Status::Ok, self.framing, worker))
    }

    fn scrape(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Trouble> {
        let mut query = ScrapeQuery::parse(self.request.query).map_err(Trouble::Query)?;
        if query.info_hashes().is_empty() {
            return self.full_scrape(worker, reply);
        }
        let charge = Charge::scrape(query.info_hashes().len());
        let _ = self.judge(self.reader(worker), charge, worker)?;
        let len = head::encode(Status::Ok, self.framing, reply, |out| {
            encode_scrape(query.sorted(), |info_hash| worker.scrape(info_hash), out)
        });
        worker.count(Count::HttpScrape);
        Ok(whole(len, Status::Ok, self.framing, worker))
    }

    fn full_scrape(&self, worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Trouble> {
        if !worker.tracker().config().full_scrape() {
            return Err(Trouble::FullScrapeOff);
        }
        let reader = self.reader(worker);
        let _ = self.judge(reader, Class::FullScrape, worker)?;
        let framing = Framing {
            // Without chunks, the end of the connection is the end of the body.
            keep_alive: self.framing.keep_alive && self.framing.chunks,
            ..self.framing
        };
        let answer = if framing.body {
            let stream = FullScrape::begin(self.now, framing, reader, self.front.full_scrapes(), worker)
                .ok_or(Trouble::FullScrapeBusy)?;
            count_answer(Status::Ok, framing, worker);
            Answer::Stream(Stream::FullScrape(stream))
        } else {
            let len = head::encode_stream(framing, reply);
            whole(len, Status::Ok, framing, worker)
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
    ) -> Result<governor::Verdict, Trouble> {
        match worker.judge(self.now, client, charge) {
            governor::Verdict::Failure => Err(Trouble::Limited),
            governor::Verdict::Silence => Err(Trouble::Silenced),
            verdict @ (governor::Verdict::Serve | governor::Verdict::Short) => Ok(verdict),
        }
    }

    /// Who asks for what tells nothing about its client, so that no proxy has to name it.
    fn reader(&self, worker: &Worker) -> IpAddr {
        let proxies = worker.tracker().config().trusted_proxies();
        forwarded::client(self.request, self.peer, proxies).unwrap_or(self.peer)
    }

    /// A page outside the protocol, at `path` within the prefix.
    fn page(&self, path: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Result<Answer, Trouble> {
        let (request, framing) = (self.request, self.framing);
        let proxies = worker.tracker().config().trusted_proxies();
        // The proxy host itself may read pages without the header; a malformed header is refused.
        let reader = match forwarded::client(request, self.peer, proxies) {
            Err(ForwardedFault::Missing) => self.peer,
            reader => reader.map_err(Trouble::Forwarded)?,
        };
        match worker.judge(self.now, reader, Class::Page) {
            governor::Verdict::Failure => return Err(Trouble::PagesBusy),
            governor::Verdict::Silence => return Err(Trouble::Silenced),
            governor::Verdict::Serve | governor::Verdict::Short => {}
        }
        let tracker = worker.tracker();
        let find = |pages: &dyn Pages| pages.find(self.now, &request.at(path), reader, tracker);
        match self.front.pages().map(find) {
            Some(Found::Page(page)) => {
                worker.count(Count::HttpPage);
                Ok(shown(page, Status::Ok, framing, worker))
            }
            Some(Found::Forbidden(page)) => Ok(shown(page, Status::Forbidden, framing, worker)),
            Some(Found::Busy) => Err(Trouble::PagesBusy),
            Some(Found::Nothing) | None if is_root(path) => Ok(landing_page(framing, worker, reply)),
            Some(Found::Nothing) | None => Err(Trouble::NotFound),
        }
    }
}

/// Whether the path has no segments: `/`, or several slashes.
fn is_root(path: &[u8]) -> bool {
    path.iter().all(|byte| *byte == b'/')
}

/// Notes where an announce comes from. A proxy's address is that of no peer: the client is handed peers as one whom nobody
/// can reach.
fn see(announce: &mut Announce, is_ignored: bool, worker: &Worker) {
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

/// Writes as many of the peers as fit.
fn encode_announce(
    client: IpAddr,
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
            external_ip: Some(client),
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

fn shown(page: Page, status: Status, framing: Framing, worker: &Worker) -> Answer {
    count_answer(status, framing, worker);
    Answer::Stream(Stream::Page(PageStream::new(page, status, framing)))
}

/// The plain-text landing page.
fn landing_page(framing: Framing, worker: &Worker, reply: &mut [u8]) -> Answer {
    let head_len = head::encode_page(Status::Ok, framing, "text/plain", FRONT.len(), reply);
    let len = head_len.and_then(|head_len| {
        let body = if framing.body { FRONT } else { &[] };
        reply
            .get_mut(head_len..)?
            .get_mut(..body.len())?
            .copy_from_slice(body);
        Some(head_len + body.len())
    });
    whole(len, Status::Ok, framing, worker)
}

pub(crate) const FRONT: &[u8] = b"etracker, a BitTorrent tracker: announce to /announce, scrape /scrape\n";

fn refuse(trouble: Trouble, framing: Framing, worker: &Worker, reply: &mut [u8]) -> Answer {
    let tracker = worker.tracker();
    let intervals = tracker.config().intervals();
    let (interval_secs, retry) = trouble.again().told(intervals, tracker.interval_served_secs());
    let failure = Failure {
        reason: trouble,
        interval_secs,
        interval_min_secs: interval_secs.map(|secs| intervals.min_beside(secs)),
        retry,
    };
    let len = head::encode(trouble.status(), framing, reply, |out| failure.encode(out));
    worker.count(Count::HttpFailure);
    whole(len, trouble.status(), framing, worker)
}

fn whole(len: Option<usize>, status: Status, framing: Framing, worker: &Worker) -> Answer {
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
