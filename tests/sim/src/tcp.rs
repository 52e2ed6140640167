//! Connections: what a runtime does for HTTP, over streams that are late, cut, or badly used.

use etracker_core::announce::{Counts, Endpoint};
use etracker_core::http::response::{AnnounceResponse, Failure, ScrapeResponse};
use etracker_core::http::{self, Connection, Step};
use etracker_core::{InfoHash, Instant, PeerId, Worker};

use crate::history::Happened;
use crate::http::{Ask, Form, HttpAsk, HttpRequest};
use crate::model::{Answer, Note};
use crate::queue::Millis;
use crate::streams::{Happening, Peers, Stream};
use crate::violation::{Violation, ensure};
use crate::wire::ActorId;
use crate::world::{Event, World};

impl World {
    /// Opens a connection and sends what is to be sent.
    pub(crate) fn open(&mut self, owner: ActorId, request: HttpRequest) {
        let Some(delay) = self.stream_delay(owner) else {
            return;
        };
        let number = self.streams.0.len();
        self.streams.0.push(Some(Stream {
            owner,
            source: request.source,
            worker: number % self.server.workers.len(),
            connection: None,
            asks: request.asks.into(),
            inbox: Vec::new(),
            ended: false,
            reads: request.reads,
            step: Step::Read,
            turn: 0,
            written: Vec::new(),
        }));
        let mut at = self.now + delay;
        self.plan(number, at, Happening::Open);
        let size = request.bytes.len().div_ceil(request.pieces.max(1)).max(1);
        for (piece, sent) in request.bytes.chunks(size).zip(0..) {
            let Some(delay) = self.stream_delay(owner) else {
                return;
            };
            at = at.max(self.now + sent * request.pause + delay);
            self.plan(number, at, Happening::Data(piece.to_vec()));
        }
        if request.ends {
            self.plan(number, at, Happening::End);
        }
    }

    pub(crate) fn happen(&mut self, number: usize, happening: Happening) -> Result<(), Violation> {
        // One that is closed is sent no more.
        let Some(mut stream) = self.streams.0.get_mut(number).and_then(Option::take) else {
            return Ok(());
        };
        let open = self.converse(number, &mut stream, happening)?;
        if open {
            self.streams.0[number] = Some(stream);
        } else {
            self.close(stream)?;
        }
        Ok(())
    }

    fn plan(&mut self, number: usize, at: Millis, happening: Happening) {
        self.queue.plan(at, Event::Stream(number, happening));
    }

    /// Lets the connection do what there is to do. False if it is closed.
    fn converse(
        &mut self,
        number: usize,
        stream: &mut Stream,
        happening: Happening,
    ) -> Result<bool, Violation> {
        let now = self.server.time(self.now, &self.scenario.machine);
        let at = Instant::from_millis(now);
        if matches!(happening, Happening::Open) {
            stream.connection = Some(self.server.accept(now, stream.source));
        }
        let Some(mut connection) = stream.connection.take() else {
            return Ok(true);
        };
        let step = match happening {
            Happening::Open => Some(Step::Read),
            Happening::Data(bytes) => {
                stream.inbox.extend(bytes);
                Some(Step::Read).filter(|reading| *reading == stream.step)
            }
            Happening::End => {
                stream.ended = true;
                Some(Step::Read).filter(|reading| *reading == stream.step)
            }
            Happening::Continue => {
                let respond = |worker: &mut Worker, reply: &mut [u8]| connection.respond(at, worker, reply);
                Some(self.server.converse(stream.worker, respond)?)
            }
            Happening::Deadline(turn) if turn != stream.turn => None,
            Happening::Deadline(_) => self.deadline(number, stream, &mut connection, at)?,
        };
        let open = match step {
            Some(step) => self.follow(number, now, stream, &mut connection, step)?,
            None => true,
        };
        if open {
            stream.connection = Some(connection);
        } else {
            self.server.release(connection)?;
        }
        Ok(open)
    }

    /// A deadline is there, or the tracker's clock is behind: then nothing must change.
    fn deadline(
        &mut self,
        number: usize,
        stream: &Stream,
        connection: &mut Connection,
        at: Instant,
    ) -> Result<Option<Step>, Violation> {
        let early = at < connection.poll_timeout();
        let time_out = |worker: &mut Worker, reply: &mut [u8]| connection.handle_timeout(at, worker, reply);
        let step = self.server.converse(stream.worker, time_out)?;
        if !early {
            return Ok(Some(step));
        }
        ensure(step == stream.step, "T-17", || {
            format!("an early deadline turned {:?} into {step:?}", stream.step)
        })?;
        self.plan(number, self.now + EARLY_WAIT, Happening::Deadline(stream.turn));
        Ok(None)
    }

    /// Does what the core says is to be done next, until something has to be waited for. False if that is nothing.
    fn follow(
        &mut self,
        number: usize,
        now: Millis,
        stream: &mut Stream,
        connection: &mut Connection,
        mut step: Step,
    ) -> Result<bool, Violation> {
        let at = Instant::from_millis(now);
        loop {
            stream.step = step;
            stream.turn += 1;
            match step {
                Step::Close => return Ok(false),
                Step::Write(len) => {
                    self.check_written(now, stream, len)?;
                    if stream.reads {
                        self.plan(number, self.now + WRITE_TIME, Happening::Continue);
                    }
                    break;
                }
                Step::Again => {
                    self.plan(number, self.now, Happening::Continue);
                    break;
                }
                Step::Read if !stream.inbox.is_empty() => {
                    let bytes = std::mem::take(&mut stream.inbox);
                    step = self.server.converse(stream.worker, |worker, reply| {
                        connection.receive(at, &bytes, worker, reply)
                    })?;
                    self.note_bytes(&bytes);
                }
                Step::Read if stream.ended => {
                    step = self.server.converse(stream.worker, |worker, reply| {
                        connection.end_of_input(at, worker, reply)
                    })?;
                    ensure(step != Step::Read, "T-08", || {
                        "a connection wants to read what will not come".to_owned()
                    })?;
                }
                Step::Read => break,
            }
        }
        let wait = connection.poll_timeout().as_millis().saturating_sub(now);
        self.plan(number, self.now + wait, Happening::Deadline(stream.turn));
        Ok(true)
    }

    /// A piece of an answer was written; checks the answer when it is whole.
    fn check_written(&mut self, now: Millis, stream: &mut Stream, len: usize) -> Result<(), Violation> {
        let written = self.server.http_reply[..len].to_vec();
        self.note_bytes(&written);
        stream.written.extend(written);
        let response = http::Response::decode(&stream.written, false)
            .map_err(|fault| Violation::new("T-02", format!("an answer is not HTTP: {fault}")))?;
        let Some(response) = response else {
            return Ok(());
        };
        stream.written.clear();
        self.load.served(1);
        self.tally.http_requests += 1;
        let ask = stream.asks.pop_front().unwrap_or(Ask::Nonsense);
        if response.status != 200 || matches!(ask, Ask::Nonsense) {
            self.note(Happened::Answered(stream.source, response.status));
            return self.check_failure(stream, &ask, &response);
        }
        match ask {
            Ask::Announce(ask) => {
                self.note(Happened::Announced(stream.source, ask.wish, response.status));
                let (answer, note) = self.check_http_announce(now, &ask, &response.body)?;
                self.answer_client(stream, &ask, answer, note);
                Ok(())
            }
            Ask::Scrape(info_hashes) => {
                self.note(Happened::Answered(stream.source, response.status));
                self.check_http_scrape(now, info_hashes, &response.body)
            }
            Ask::FullScrape => check_full_scrape(&response.body),
            Ask::Nonsense => Ok(()),
        }
    }

    /// What is not carried out is answered with a failure, under whatever status.
    fn check_failure(
        &mut self,
        stream: &Stream,
        ask: &Ask,
        response: &http::Response,
    ) -> Result<(), Violation> {
        let failure = Failure::decode(&response.body);
        ensure(failure.is_ok(), "E-01", || {
            format!(
                "{ask:?} was answered {} with {}",
                response.status,
                response.body.escape_ascii()
            )
        })?;
        let in_order = match ask {
            // A head that came too slowly, or a connection that a client closed too soon.
            Ask::Announce(_) | Ask::Scrape(_) => matches!(response.status, 408 | 400),
            Ask::FullScrape => matches!(response.status, 408 | 400 | 403),
            Ask::Nonsense => response.status == 200 || (400..500).contains(&response.status),
        };
        ensure(in_order, "T-01", || {
            format!("{ask:?} was answered {}", response.status)
        })?;
        if let Ask::Announce(ask) = ask {
            self.answer_client(stream, ask, None, Note::default());
        }
        Ok(())
    }

    fn check_http_announce(
        &mut self,
        now: Millis,
        ask: &HttpAsk,
        body: &[u8],
    ) -> Result<(Option<Peers>, Note), Violation> {
        let announce = ask.wish.from(ask.ip);
        let bounds = self.scenario.config.intervals();
        let half = |secs: u32| bounds.min.max(secs / 2);
        if let Ok(failure) = Failure::decode(body) {
            let told = failure
                .interval_secs
                .filter(|secs| (bounds.min..=bounds.max).contains(secs));
            let right = told.is_some() && failure.interval_min_secs == told.map(half);
            ensure(right, "E-08", || format!("{failure:?}, bounds {bounds:?}"))?;
            let note = self.announced(now, &announce, Answer::Refused(failure.reason))?;
            return Ok((None, note));
        }
        let response = AnnounceResponse::decode(body)
            .map_err(|fault| Violation::new("B-01", format!("{fault}: {}", body.escape_ascii())))?;
        self.check_interval(response.interval_secs)?;
        let min = Some(half(response.interval_secs));
        ensure(response.interval_min_secs == min, "A-53", || {
            format!("{response:?}")
        })?;
        ensure(response.external_ip == Some(ask.ip), "F-01", || {
            format!("{:?} got {response:?}", ask.ip)
        })?;
        let mut peers: Vec<(Endpoint, Option<PeerId>)> = response
            .peers()
            .map(|(peer, id)| {
                let (ip, port) = (peer.ip(), peer.port());
                (Endpoint { ip, port }, id)
            })
            .collect();
        let ids = ask.form == Form::Dictionaries && self.scenario.config.swarms().peer_ids();
        ensure(peers.iter().all(|(_, id)| id.is_some() == ids), "C-06", || {
            format!("peer ids are wrongly there or missing: {response:?}")
        })?;
        let endpoints: Vec<_> = peers.iter().map(|(peer, _)| *peer).collect();
        self.check_truth(announce.info_hash, endpoints.iter().copied())?;
        let counts = Counts {
            complete: response.complete.unwrap_or(u32::MAX),
            incomplete: response.incomplete.unwrap_or(u32::MAX),
            downloaded: response.downloaded.unwrap_or(u32::MAX),
        };
        let cap = self.scenario.config.peers_per_response_max() as usize;
        let wanted = announce.numwant.map_or(50, |wanted| wanted as usize);
        let answer = Answer::Given {
            complete: counts.complete,
            incomplete: counts.incomplete,
            peers: &mut peers,
            peers_max: wanted.min(cap),
        };
        let note = self.announced(now, &announce, answer)?;
        self.model.scraped(now, announce.info_hash, counts)?;
        self.tally.announced(&note);
        Ok((Some((response.interval_secs, endpoints)), note))
    }

    fn check_http_scrape(
        &mut self,
        now: Millis,
        mut info_hashes: Vec<InfoHash>,
        body: &[u8],
    ) -> Result<(), Violation> {
        let response = ScrapeResponse::decode(body)
            .map_err(|fault| Violation::new("B-01", format!("{fault}: {}", body.escape_ascii())))?;
        info_hashes.sort_unstable();
        info_hashes.dedup();
        let right = response.iter().map(|(info_hash, _)| info_hash).eq(info_hashes);
        ensure(right, "B-06", || {
            format!("a scrape has other keys than asked: {}", body.escape_ascii())
        })?;
        for (info_hash, counts) in response.iter() {
            self.model.scraped(now, info_hash, counts)?;
        }
        Ok(())
    }

    fn answer_client(&mut self, stream: &Stream, ask: &HttpAsk, answer: Option<Peers>, note: Note) {
        if let Some(delay) = self.stream_delay(stream.owner).filter(|_| stream.reads) {
            let event = Event::DeliverHttp(stream.owner, *ask, answer, note);
            self.queue.plan(self.now + delay, event);
        }
    }

    fn close(&mut self, stream: Stream) -> Result<(), Violation> {
        self.note(Happened::Closed(stream.source));
        if stream.reads && !stream.written.is_empty() {
            http::Response::decode(&stream.written, true)
                .map_err(|fault| Violation::new("T-02", format!("an answer ends too early: {fault}")))?;
        }
        for ask in &stream.asks {
            if let Ask::Announce(ask) = ask {
                self.answer_client(&stream, ask, None, Note::default());
            }
        }
        Ok(())
    }

    /// The tracker's process ends, and all connections with it.
    pub(crate) fn close_all(&mut self) {
        for stream in std::mem::take(&mut self.streams.0).into_iter().flatten() {
            for ask in &stream.asks {
                if let Ask::Announce(ask) = ask {
                    self.answer_client(&stream, ask, None, Note::default());
                }
            }
        }
    }
}

/// A full scrape is collected while others announce, so that only its form can be checked.
fn check_full_scrape(body: &[u8]) -> Result<(), Violation> {
    let right = ScrapeResponse::decode(body).is_ok() || Failure::decode(body).is_ok();
    ensure(right, "S-08", || {
        format!("a full scrape was answered with {}", body.escape_ascii())
    })
}

/// Time that a client takes to take an answer.
const WRITE_TIME: Millis = 3;
/// How long a driver whose clock is behind waits before it tries a deadline again.
const EARLY_WAIT: Millis = 100;
