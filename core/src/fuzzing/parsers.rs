//! Parsers with arbitrary bytes.

use alloc::vec;
use alloc::vec::Vec;

use crate::InfoHash;
use crate::access::{AddressList, BadLines, Entry, Network, Reader, TorrentList};
use crate::http::forwarded::{self, Origin};
use crate::http::query::{AnnounceQuery, ScrapeQuery};
use crate::http::request::Request;
use crate::proxy::{ClientHeader, PROXY_HEADER_MAX, Proxies, ProxyHeader, Transport};
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

/// A field of each form: the client of an untrusted peer is the peer itself, and that of a trusted proxy an address in the field.
pub fn forwarded_header(data: &[u8]) {
    for name in ["X-Forwarded-For", "Forwarded"] {
        forwarded_field(name, data);
    }
}

fn forwarded_field(name: &str, data: &[u8]) {
    let head = [b"GET / HTTP/1.1\r\n", name.as_bytes(), b": ", data, b"\r\n\r\n"].concat();
    let Ok(request) = Request::parse(&head) else {
        return;
    };
    let (proxy, stranger) = (address(1, false), address(2, false));
    let proxies = Proxies::new(vec![proxy.into()]).with_header(ClientHeader::named(name).ok());
    let client = |ip, proxies: Option<&Proxies>| {
        let is_trusted = |ip| proxies.is_some_and(|proxies| proxies.contain(ip));
        let is_named = false;
        forwarded::client(&request, Origin { ip, is_named }, proxies, is_trusted)
    };
    assert!(
        client(stranger, Some(&proxies)) == Ok(stranger),
        "a stranger is believed"
    );
    assert!(client(proxy, None) == Ok(proxy), "a header is believed unasked");
    if let Ok(ip) = client(proxy, Some(&proxies)) {
        assert!(ip == ip.to_canonical(), "a mapped address is let through");
    }
}

/// What a proxy puts in front, behind a byte that says where it is cut: it is waited for until it is whole, whatever comes then
/// changes nothing, and what is understood of it stays the same when it is written and read again.
pub fn proxy_header(mut data: &[u8]) {
    let cut = usize::from(take(&mut data));
    let whole = ProxyHeader::decode(data);
    if let Ok(Some((header, len))) = whole {
        assert!(
            (1..=data.len()).contains(&len),
            "a header is longer than what came"
        );
        let shorter = data.get(..cut.min(len - 1)).unwrap_or_default();
        assert!(ProxyHeader::decode(shorter) == Ok(None), "half a header is one");
        assert!(
            ProxyHeader::decode(data.get(..len).unwrap_or_default()) == whole,
            "what follows a header changes it"
        );
        let (mut line, mut binary) = (Vec::new(), Vec::new());
        header.encode_v1(&mut line);
        assert!(
            header.encode_v2(Transport::Datagram, &[], &mut binary),
            "a header without TLVs is too long"
        );
        for written in [line, binary] {
            let again = ProxyHeader::decode(&written);
            assert!(
                again == Ok(Some((header, written.len()))),
                "a header changes on its way"
            );
        }
    }
    if whole == Ok(None) {
        assert!(
            data.len() < PROXY_HEADER_MAX,
            "a header is waited for without end"
        );
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
