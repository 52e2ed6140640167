//! Parsers with arbitrary bytes.

use alloc::vec;
use alloc::vec::Vec;

use crate::InfoHash;
use crate::access::{AddressList, BadLines, Entry, Network, Reader, TorrentList};
use crate::http::forwarded;
use crate::http::query::{AnnounceQuery, ScrapeQuery};
use crate::http::request::Request;
use crate::udp::options::{Options, encode_url};

use super::{address, take};

/// A query: a parsed one stays the same when it is encoded and parsed again.
pub fn query_string(data: &[u8]) {
    let ip = address(1, false);
    if let Ok(query) = AnnounceQuery::parse(data, ip) {
        let mut again = Vec::new();
        query.encode(&mut again);
        assert!(
            AnnounceQuery::parse(&again, ip) == Ok(query),
            "an announce changes on its way"
        );
        assert!(
            query.announce.peer.ip == ip,
            "an address within the query is believed"
        );
    }
    if let Ok(query) = ScrapeQuery::parse(data) {
        let mut again = Vec::new();
        ScrapeQuery::encode(query.info_hashes(), &mut again);
        let again = ScrapeQuery::parse(&again);
        assert!(
            again.is_ok_and(|again| again.info_hashes() == query.info_hashes()),
            "a scrape changes on its way"
        );
    }
}

/// The text of a list, after a byte that says where it is cut: pieces give the same list as the whole.
pub fn access_list(mut data: &[u8]) {
    let cut = usize::from(take(&mut data)) + 1;
    let hashes = both::<InfoHash>(data, cut);
    if let Ok(hashes) = hashes {
        let list = TorrentList::new(hashes.clone());
        assert!(
            hashes.iter().all(|hash| list.contains(hash)),
            "a list lacks a torrent"
        );
    }
    if let Ok(networks) = both::<Network>(data, cut) {
        let list = AddressList::new(&networks);
        let all = networks
            .iter()
            .all(|network| list.contains(network.0.addr().to_canonical()));
        assert!(all, "a list lacks an address");
    }
}

fn both<E: Entry + PartialEq>(text: &[u8], cut: usize) -> Result<Vec<E>, BadLines> {
    let whole = read(core::iter::once(text));
    assert!(whole == read::<E>(text.chunks(cut)), "pieces are read otherwise");
    whole
}

fn read<'a, E: Entry>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<E>, BadLines> {
    let mut reader = Reader::with_capacity(0);
    for piece in pieces {
        reader.feed(piece)?;
    }
    reader.finish()
}

/// Header fields: the client of an untrusted peer is the peer itself, and that of a trusted proxy an address in its header.
pub fn forwarded_header(data: &[u8]) {
    let head = [b"GET / HTTP/1.1\r\nX-Forwarded-For: ", data, b"\r\n\r\n"].concat();
    let Ok(request) = Request::parse(&head) else {
        return;
    };
    let (proxy, stranger) = (address(1, false), address(2, false));
    let trusted = vec![proxy.into()];
    assert!(
        forwarded::client(&request, stranger, Some(&trusted)) == Ok(stranger),
        "a stranger is believed"
    );
    assert!(
        forwarded::client(&request, proxy, None) == Ok(proxy),
        "a header is believed unasked"
    );
    if let Ok(ip) = forwarded::client(&request, proxy, Some(&trusted)) {
        assert!(ip == ip.to_canonical(), "a mapped address is let through");
    }
}

/// Options: they hold no more bytes than the input, and their URL stays the same when it is encoded again.
pub fn bep41_options(data: &[u8]) {
    let held: usize = Options::new(data).map(|option| option.data.len() + 2).sum();
    assert!(held <= data.len(), "options hold more than came");
    let url: Vec<u8> = Options::new(data).url_data().flatten().copied().collect();
    let mut again = vec![0; url.len() + 2 * url.len().div_ceil(255)];
    let len = encode_url(&url, &mut again);
    assert!(len == again.len(), "there is room that is not used");
    assert!(
        Options::new(&again).url_data().flatten().eq(&url),
        "a URL changes on its way"
    );
}
