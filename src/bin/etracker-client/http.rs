//! Asking over HTTP (BEP 3, 7, 23, 48).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use etracker_core::InfoHash;
use etracker_core::http::Response;
use etracker_core::http::query::{AnnounceQuery, PeerForm, ScrapeQuery};
use etracker_core::http::request::encode_get;
use etracker_core::http::response::{self, AnnounceResponse, ScrapeResponse};

use crate::answer::{Announced, Answer, Failure, Peer, printable};
use crate::options::Question;
use crate::target::Target;

/// Asks the tracker at `address`.
pub(crate) fn ask(
    address: SocketAddr,
    target: &Target,
    question: &Question,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let request = request(target, question)?;
    let response = exchange(address, &request, deadline)?;
    if let Ok(failure) = response::Failure::decode(&response.body) {
        return Err(Failure::Refused(printable(failure.reason)));
    }
    if response.status != 200 {
        return Err(Failure::Unreadable(format!(
            "it has HTTP status {}",
            response.status
        )));
    }
    match question {
        Question::Announce(_) => announced(&response.body),
        Question::Scrape(info_hashes) => scraped(&response.body, info_hashes),
    }
    .map_err(|fault| Failure::Unreadable(fault.to_string()))
}

fn request(target: &Target, question: &Question) -> Result<Vec<u8>, Failure> {
    let (mut query, mut request) = (Vec::new(), Vec::new());
    match question {
        Question::Announce(announce) => {
            let (announce, form) = (*announce, PeerForm::Compact);
            AnnounceQuery { announce, form }.encode(&mut query);
            encode_get(&target.authority, &target.path, &query, &mut request);
        }
        Question::Scrape(info_hashes) => {
            ScrapeQuery::encode(info_hashes, &mut query);
            let path = scrape_path(&target.path).ok_or(Failure::NoScrape)?;
            encode_get(&target.authority, &path, &query, &mut request);
        }
    }
    Ok(request)
}

/// The path to scrape at: that of announces, with `announce` at the beginning of its last part replaced (BEP 48).
fn scrape_path(path: &str) -> Option<String> {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let (folder, page) = path.rsplit_once('/')?;
    if page.starts_with("scrape") {
        return Some(format!("{path}{query}"));
    }
    let rest = page.strip_prefix("announce")?;
    Some(format!("{folder}/scrape{rest}{query}"))
}

fn exchange(address: SocketAddr, request: &[u8], deadline: Instant) -> Result<Response, Failure> {
    let mut stream = TcpStream::connect_timeout(&address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request)?;
    let mut received = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let len = match stream.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        received.extend_from_slice(piece.get(..len).unwrap_or_default());
        match Response::decode(&received, len == 0) {
            Ok(Some(response)) => return Ok(response),
            Ok(None) if received.len() <= RESPONSE_MAX => {}
            Ok(None) => return Err(Failure::Unreadable("it is too long".to_owned())),
            Err(fault) => return Err(Failure::Unreadable(fault.to_string())),
        }
    }
}

fn left(deadline: Instant) -> Result<Duration, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(Failure::Silent)
    } else {
        Ok(left)
    }
}

fn announced(body: &[u8]) -> Result<Answer, response::Fault> {
    let response = AnnounceResponse::decode(body)?;
    let peers = response.peers().map(|(address, id)| Peer { address, id });
    Ok(Answer::Announce(Announced {
        interval_secs: response.interval_secs,
        interval_min_secs: response.interval_min_secs,
        complete: response.complete,
        incomplete: response.incomplete,
        downloaded: response.downloaded,
        external_ip: response.external_ip,
        peers: peers.collect(),
    }))
}

fn scraped(body: &[u8], info_hashes: &[InfoHash]) -> Result<Answer, response::Fault> {
    let response = ScrapeResponse::decode(body)?;
    let counts_of = |asked: InfoHash| {
        let mut listed = response.iter();
        listed
            .find(|&(info_hash, _)| info_hash == asked)
            .map(|(_, counts)| counts)
    };
    let torrents = info_hashes
        .iter()
        .map(|&info_hash| (info_hash, counts_of(info_hash)));
    Ok(Answer::Scrape(torrents.collect()))
}

/// Bytes of the longest answer that is read.
const RESPONSE_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scrape_url_is_derived_from_the_announce_url() {
        for (announce, scrape) in [
            ("/announce", Some("/scrape")),
            ("/x/announce.php", Some("/x/scrape.php")),
            ("/key/announce?a=/b", Some("/key/scrape?a=/b")),
            ("/scrape", Some("/scrape")),
            ("/announce/x", None),
            ("/", None),
        ] {
            assert_eq!(scrape_path(announce).as_deref(), scrape, "{announce}");
        }
    }
}
