//! Access lists, tested through workers: refusals, purges, and their timing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use etracker_core::access::{Access, AddressList, Entry as _, Network, TorrentList, Torrents};
use etracker_core::announce::{Announce, AnnounceOutcome, Counts, Endpoint, Event, Refusal};
use etracker_core::stats::Count;
use etracker_core::udp::{Datagram, DropReason, Front, Verdict};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

const NOW: Instant = Instant::from_secs(1_700_000_000);
const PEER: &str = "192.0.2.1:6881";

fn hash(number: u16) -> InfoHash {
    let [high, low] = number.to_be_bytes();
    InfoHash(core::array::from_fn(|at| if at % 2 == 0 { low } else { high }))
}

fn list(numbers: impl IntoIterator<Item = u16>) -> TorrentList {
    TorrentList::new(numbers.into_iter().map(hash).collect::<Vec<_>>())
}

fn deny(numbers: impl IntoIterator<Item = u16>) -> Access {
    Access {
        torrents: Torrents::AllBut(list(numbers)),
        ..Access::default()
    }
}

fn allow(numbers: impl IntoIterator<Item = u16>) -> Access {
    Access {
        torrents: Torrents::Only(list(numbers)),
        ..Access::default()
    }
}

fn without(networks: &[&str]) -> Access {
    let networks: Vec<_> = networks
        .iter()
        .map(|line| Network::parse(line.as_bytes()).expect("a network"))
        .collect();
    Access {
        denied: AddressList::new(&networks),
        ..Access::default()
    }
}

fn worker(access: Access) -> Worker {
    let tracker = Tracker::new(Config::default(), Seed::new([7; 32]), NOW).with_access(access);
    Worker::new(Arc::new(tracker))
}

fn announce(worker: &mut Worker, torrent: u16, peer: &str, event: Event) -> Result<AnnounceOutcome, Refusal> {
    let peer: SocketAddr = peer.parse().expect("an address");
    let announce = Announce {
        info_hash: hash(torrent),
        peer_id: PeerId(*b"-ET0100-abcdefghijkl"),
        peer: Endpoint {
            ip: peer.ip(),
            port: peer.port(),
        },
        left: 1,
        event,
        numwant: None,
    };
    worker
        .announce_into_scratch(NOW, &announce, false)
        .map(|(announced, _)| announced)
}

/// Handles time-outs until the purge is over, and returns the torrents and peers it dropped.
fn purge(tracker: &Tracker) -> (u64, u64) {
    let mut dropped = (0, 0);
    while let Some(purged) = tracker
        .handle_timeout(tracker.poll_timeout().max(NOW), [0.0; 3])
        .purged
    {
        dropped = (dropped.0 + purged.torrents, dropped.1 + purged.peers);
        if purged.done {
            break;
        }
    }
    dropped
}

#[test]
fn a_denied_torrent_is_refused_even_to_those_who_leave() {
    let mut worker = worker(deny([1]));
    for event in [Event::None, Event::Started, Event::Stopped, Event::Completed] {
        assert_eq!(announce(&mut worker, 1, PEER, event), Err(Refusal::TorrentDenied));
    }
    assert!(announce(&mut worker, 2, PEER, Event::Started).is_ok());
    assert_eq!(worker.tracker().count(Count::RefusedTorrentDenied), 4);
    assert_eq!(worker.tracker().totals().torrents, 1);
}

#[test]
fn an_empty_allow_list_denies_every_torrent() {
    let mut worker = worker(allow([]));
    assert_eq!(
        announce(&mut worker, 1, PEER, Event::Started),
        Err(Refusal::TorrentDenied)
    );
}

#[test]
fn a_new_list_counts_at_once_for_every_worker() {
    let mut one = worker(deny([]));
    let mut other = Worker::new(Arc::clone(one.tracker()));
    assert!(announce(&mut one, 1, PEER, Event::Started).is_ok());
    assert!(one.tracker().replace_access(deny([1])));
    for worker in [&mut one, &mut other] {
        assert_eq!(
            announce(worker, 1, PEER, Event::None),
            Err(Refusal::TorrentDenied)
        );
        assert_eq!(worker.scrape(&hash(1)), Counts::default());
    }
}

#[test]
fn what_a_new_list_denies_is_dropped_and_the_rest_stays() {
    for (access, kept) in [
        (deny((0..2000).filter(|number| number % 3 > 0)), 667),
        (allow(0..500), 500),
    ] {
        let mut worker = worker(deny([]));
        for torrent in 0..2000 {
            for peer in [PEER, "[2001:db8::1]:7", "192.0.2.2:2"] {
                assert!(announce(&mut worker, torrent, peer, Event::Started).is_ok());
            }
        }
        let tracker = Arc::clone(worker.tracker());
        assert!(tracker.replace_access(access.clone()));
        assert_eq!(purge(&tracker), (2000 - kept, 0));
        assert_eq!(
            (tracker.totals().torrents, tracker.totals().peers()),
            (kept, kept * 3)
        );
        for torrent in 0..2000 {
            let left = tracker.swarms().scrape(&hash(torrent)).incomplete;
            assert_eq!(
                left,
                if access.permits_torrent(&hash(torrent)) {
                    3
                } else {
                    0
                },
                "{torrent}"
            );
        }
    }
}

#[test]
fn peers_of_a_denied_address_are_dropped_and_refused() {
    let mut worker = worker(without(&[]));
    for torrent in 0..100 {
        for peer in [PEER, "192.0.2.200:7", "198.51.100.1:7", "[2001:db8::1]:7"] {
            assert!(announce(&mut worker, torrent, peer, Event::Started).is_ok());
        }
    }
    let tracker = Arc::clone(worker.tracker());
    tracker.replace_access(without(&["192.0.2.128/25", "2001:db8::/32"]));
    assert_eq!(purge(&tracker), (0, 200));
    assert_eq!((tracker.totals().torrents, tracker.totals().peers()), (100, 200));
    let refused = announce(&mut worker, 1, "192.0.2.200:7", Event::Started);
    assert_eq!(refused, Err(Refusal::AddressDenied));
    assert!(announce(&mut worker, 1, PEER, Event::Started).is_ok());
}

#[test]
fn a_purge_does_a_bounded_amount_of_work_at_a_time() {
    let mut worker = worker(deny([]));
    for torrent in 0..20_000 {
        assert!(announce(&mut worker, torrent, PEER, Event::Started).is_ok());
    }
    let tracker = Arc::clone(worker.tracker());
    tracker.replace_access(allow([]));
    let first = tracker
        .handle_timeout(NOW, [0.0; 3])
        .purged
        .expect("a purge is under way");
    assert!(
        !first.done && first.torrents <= etracker_core::config::SWEEP_WORK as u64,
        "{first:?}"
    );
    assert_eq!(purge(&tracker).0 + first.torrents, 20_000);
    assert_eq!(tracker.totals().peers(), 0);
}

#[test]
fn datagrams_from_denied_addresses_are_not_even_read() {
    let mut worker = worker(without(&["192.0.2.0/24"]));
    let connect = [&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 8]].concat();
    let mut replies = [[0; 100]; 3];
    let senders = ["192.0.2.7:7", "192.0.3.7:7", "192.0.2.7:7"];
    let payloads = [&connect[..], &connect, b"rubbish"];
    let mut batch: Vec<_> = replies
        .iter_mut()
        .zip(senders.iter().zip(payloads))
        .map(|(reply, (sender, payload))| Datagram::new(sender.parse().expect("an address"), payload, reply))
        .collect();
    let front = Front::new(&Seed::new([7; 32]));
    assert_eq!(front.handle(&mut worker, NOW, &mut batch).replies().count(), 1);
    let verdicts: Vec<_> = batch.iter().map(Datagram::verdict).collect();
    let denied = Verdict::Drop(DropReason::Denied);
    assert_eq!(verdicts, [denied, Verdict::Reply(16), denied]);
    assert_eq!(worker.tracker().count(Count::UdpDenied), 2);
    assert!(!worker.permits_address(IpAddr::from([192, 0, 2, 9])));
}

#[test]
fn a_tracker_made_without_lists_takes_none() {
    let tracker = Arc::new(Tracker::new(Config::default(), Seed::new([7; 32]), NOW));
    let mut worker = Worker::new(Arc::clone(&tracker));
    assert!(!tracker.replace_access(allow([])) && tracker.access().is_none());
    assert!(announce(&mut worker, 1, PEER, Event::Started).is_ok());
}
