//! Nodes of a cluster, with a bus that hands over every message at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use etracker_core::access::{Access, TorrentList, Torrents};
use etracker_core::announce::{Announce, Endpoint, Event as AnnounceEvent, compact_peers};
use etracker_core::cluster::{
    ClusterName, Event, FORMAT, Header, Keys, Kind, Node, NodeId, Recipient, Rejection, Secret, Secrets,
    Settings,
};
use etracker_core::prefetch::NoPrefetch;
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

const START: Instant = Instant::from_secs(1_790_000_000);

fn secrets(secret: u8) -> Secrets {
    Secrets::new(Secret::new([secret; 32]))
}

fn name(name: &str) -> ClusterName {
    ClusterName::new(name).expect("a name")
}

/// A tracker with its node.
struct Site {
    worker: Worker,
    node: Node<NoPrefetch>,
}

impl Site {
    fn new(now: Instant, id: u64, config: Config) -> Self {
        Self::with(
            now,
            id,
            &secrets(7),
            Tracker::new(config, Seed::new([1; 32]), now),
        )
    }

    fn with(now: Instant, id: u64, secrets: &Secrets, tracker: Tracker) -> Self {
        let tracker = Arc::new(tracker);
        let settings = Settings {
            cluster: name("test"),
            node: ClusterName::nearest(&format!("node-{id}")),
            version: "1.2.3".into(),
            secrets: secrets.clone(),
            id: NodeId(id),
        };
        let mut node = Node::new(now, settings, Arc::clone(&tracker), NoPrefetch).expect("a cluster");
        node.handle_connected(now);
        Self {
            worker: Worker::new(tracker),
            node,
        }
    }

    fn announce(&mut self, now: Instant, peer: u32, left: u64, event: AnnounceEvent) {
        self.worker
            .announce_into_scratch(now, &announce(peer, left, event, 0), false)
            .expect("an announce that is served");
    }

    /// The peers that a newcomer is handed.
    fn peers(&mut self, now: Instant) -> usize {
        let mut asks = announce(0, 1, AnnounceEvent::None, 1000);
        asks.peer.port = 0;
        let answer = self.worker.announce_into_scratch(now, &asks, false);
        let (_, peers) = answer.expect("an announce that is served");
        compact_peers(peers.family, peers.compact).count()
    }

    fn downloaded(&self) -> u32 {
        self.worker.scrape(&INFO_HASH).downloaded
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.node.poll_event()).collect()
    }

    /// The messages that it has to send, after a tick.
    fn send(&mut self, now: Instant) -> Vec<(Recipient, Vec<u8>)> {
        self.node.handle_timeout(now);
        let mut message = Vec::new();
        let mut next = || Some((self.node.poll_transmit(now, &mut message)?, message.clone()));
        std::iter::from_fn(&mut next).collect()
    }
}

const INFO_HASH: InfoHash = InfoHash([1; 20]);

fn config() -> Config {
    let config = Config::default().with_cluster(&secrets(7));
    config.with_peers_per_response_max(1000).unwrap_or_default()
}

fn announce(peer: u32, left: u64, event: AnnounceEvent, numwant: u32) -> Announce {
    Announce {
        info_hash: INFO_HASH,
        peer_id: PeerId([9; 20]),
        peer: Endpoint {
            ip: IpAddr::from((0x0b00_0000 + peer).to_be_bytes()),
            port: 6881,
        },
        left,
        event,
        numwant: Some(numwant),
    }
}

/// Lets time pass, in ticks, with a bus that hands every message to everybody it is for. Returns how many there were.
fn run(now: &mut Instant, sites: &mut [&mut Site], time: Duration) -> usize {
    let end = now.saturating_add(time);
    let mut count = 0;
    while *now < end {
        *now = now.saturating_add(Duration::from_millis(50));
        for from in 0..sites.len() {
            for (recipient, message) in sites[from].send(*now) {
                count += 1;
                for site in sites.iter_mut() {
                    let own = site.node.settings().id;
                    if recipient == Recipient::All || recipient == Recipient::Node(own) {
                        let handled = site.node.handle_message(*now, &message);
                        // Where time jumps, transfers end.
                        assert!(matches!(handled, Ok(()) | Err(Rejection::Transfer)), "{own}");
                    }
                }
            }
        }
    }
    count
}

const TICK: Duration = Duration::from_millis(50);

#[test]
fn what_one_node_is_told_the_others_hand_out_and_forget() {
    let mut now = START;
    let [mut a, mut b, mut c] = [1, 2, 3].map(|id| Site::new(now, id, config()));
    for peer in 1..=50 {
        a.announce(now, peer, (peer % 2).into(), AnnounceEvent::Started);
    }
    b.announce(now, 60, 0, AnnounceEvent::Completed);
    run(&mut now, &mut [&mut a, &mut b, &mut c], TICK);
    assert_eq!([a.peers(now), b.peers(now), c.peers(now)], [51; 3]);
    // A client that moves to another node is the same peer, and completes once.
    c.announce(now, 1, 0, AnnounceEvent::Completed);
    for peer in 2..=50 {
        b.announce(now, peer, 0, AnnounceEvent::Stopped);
    }
    run(&mut now, &mut [&mut a, &mut b, &mut c], TICK);
    assert_eq!([a.peers(now), b.peers(now), c.peers(now)], [2; 3]);
    assert_eq!([a.downloaded(), b.downloaded(), c.downloaded()], [2; 3]);
    assert!(a.node.members().count() == 2 && a.events().contains(&Event::Came(NodeId(3))));
}

#[test]
fn a_peer_that_announces_every_half_minute_is_told_once_in_five_minutes_and_lives_everywhere() {
    let mut now = START;
    let [mut a, mut b] = [1, 2].map(|id| Site::new(now, id, config()));
    const PEERS: u32 = 100;
    for peer in 1..=PEERS {
        a.announce(now, peer, 1, AnnounceEvent::Started);
    }
    run(&mut now, &mut [&mut a, &mut b], TICK);
    let before = a.node.figures().records_sent;
    for _ in 0..120 {
        for peer in 1..=PEERS {
            a.announce(now, peer, 1, AnnounceEvent::None);
        }
        run(&mut now, &mut [&mut a, &mut b], TICK);
        now = now.saturating_add(Duration::from_secs(30));
        assert_eq!(b.peers(now), PEERS as usize);
    }
    let figures = a.node.figures();
    let sent = figures.records_sent - before;
    // Twelve epochs, of which some peers have seen eleven beginnings.
    let peers = u64::from(PEERS);
    assert!((peers * 11..=peers * 12).contains(&sent), "{figures:?}");
    // They expire there as here when they fall silent: an epoch later than with one tracker.
    now = now.saturating_add(Duration::from_secs(31 * 60));
    assert!(a.peers(now) > 0 && b.peers(now) > 0);
    now = now.saturating_add(Duration::from_secs(7 * 60));
    assert_eq!([a.peers(now), b.peers(now)], [0; 2]);
}

#[test]
fn a_node_that_joins_gets_a_snapshot_from_one_that_is_whole_and_overwrites_nothing_newer() {
    let mut now = START;
    let mut a = Site::new(now, 1, config());
    // Nobody has a snapshot: whole after an interval.
    run(&mut now, &mut [&mut a], TICK);
    assert!(!a.node.is_whole());
    now = now.saturating_add(Duration::from_secs(1800));
    run(&mut now, &mut [&mut a], Duration::from_secs(1));
    assert!(a.events().contains(&Event::Whole {
        donor: None,
        peers: 0
    }));
    for peer in 1..=20_000 {
        a.announce(now, peer, (peer % 2).into(), AnnounceEvent::Started);
    }
    for peer in 1..=3 {
        a.announce(now, peer, 0, AnnounceEvent::Completed);
    }
    a.send(now);
    let mut b = Site::new(now, 2, config());
    // What it hears and is told itself before the snapshot comes.
    now = now.saturating_add(Duration::from_secs(60));
    b.announce(now, 5, 0, AnnounceEvent::Started);
    b.announce(now, 5, 0, AnnounceEvent::Stopped);
    b.announce(now, 50_000, 0, AnnounceEvent::Started);
    run(&mut now, &mut [&mut a, &mut b], Duration::from_secs(3));
    let whole = b.events();
    assert!(
        b.node.is_whole() && whole.contains(&Event::Joining(NodeId(1))),
        "{whole:?}"
    );
    assert!(matches!(
        whole.last(),
        Some(Event::Whole {
            donor: Some(NodeId(1)),
            peers: 20_000..
        })
    ));
    let totals = [&a, &b].map(|site| site.worker.tracker().totals());
    assert_eq!(totals[0], totals[1]);
    assert_eq!(totals[0].peers(), 20_000);
    assert_eq!(b.downloaded(), a.downloaded());
}

#[test]
fn a_transfer_survives_lost_and_doubled_pieces() {
    let mut now = START;
    let mut a = Site::new(now, 1, config());
    now = now.saturating_add(Duration::from_secs(1800));
    run(&mut now, &mut [&mut a], Duration::from_secs(1));
    for peer in 1..=60_000 {
        a.announce(now, peer, 1, AnnounceEvent::Started);
    }
    a.send(now);
    let mut b = Site::new(now, 2, config());
    let (mut number, mut longest) = (0u32, 0);
    for _ in 0..2000 {
        now = now.saturating_add(TICK);
        let mut messages = b.send(now);
        messages.extend(a.send(now));
        for (_, message) in messages {
            longest = longest.max(message.len());
            number += 1;
            // Of each seven one is lost, and one comes twice.
            let copies = [1, 1, 2, 1, 0, 1, 1][number as usize % 7];
            for _ in 0..copies {
                let _ = (
                    a.node.handle_message(now, &message),
                    b.node.handle_message(now, &message),
                );
            }
        }
        if b.node.is_whole() {
            break;
        }
    }
    assert!(b.node.is_whole() && longest <= etracker_core::cluster::MESSAGE_MAX);
    assert_eq!(b.worker.tracker().totals().peers(), 60_000);
}

/// A message of a cluster with this name and secret.
fn sealed(cluster: &str, secret: u8, header: Header, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let keys = Keys::new(&name(cluster), &secrets(secret));
    keys.seal(&header, &mut message, |out| out.extend(body));
    message
}

fn header(now: Instant, kind: Kind) -> Header {
    Header {
        format: FORMAT,
        reads: FORMAT,
        kind,
        node: NodeId(9),
        sequence: 1,
        clock: now,
    }
}

/// Messages that are made of one with a batch, each with the reason for which it is rejected.
fn hostile(now: Instant, batch: &[u8]) -> Vec<(Rejection, Vec<u8>)> {
    let header = header(now, Kind::Batch);
    let body = &batch[32..batch.len() - 16];
    let turned = |at: usize| {
        let mut turned = batch.to_vec();
        turned[at] ^= 1;
        turned
    };
    let with = |header, body: &[u8]| sealed("test", 7, header, body);
    let of_kind = |kind, body: &[u8]| with(Header { kind, ..header }, body);
    let mut old = body.to_vec();
    old[1] = 16;
    let (mut foreign, mut unnumbered, mut late) = (header, header, header);
    foreign.format += 1;
    unnumbered.sequence = 0;
    late.clock = now.saturating_add(Duration::from_secs(121));
    vec![
        (Rejection::Mac, turned(40)),
        (Rejection::Mac, turned(batch.len() - 1)),
        (Rejection::Mac, batch[..batch.len() - 1].to_vec()),
        (Rejection::Mac, sealed("test", 8, header, body)),
        (Rejection::Name, sealed("other", 7, header, body)),
        (Rejection::Format, with(foreign, body)),
        (Rejection::Malformed, batch[..20].to_vec()),
        (Rejection::Malformed, vec![1; 70_000]),
        (Rejection::Malformed, with(header, &body[..body.len() - 1])),
        (Rejection::Malformed, with(unnumbered, body)),
        (Rejection::Minute, with(header, &old)),
        (Rejection::Clock, with(late, body)),
        (Rejection::Transfer, of_kind(Kind::Offer, &[0; 9])),
        (Rejection::Transfer, of_kind(Kind::Piece, &[0; 20])),
        (Rejection::Transfer, of_kind(Kind::Pull, &[0; 13])),
    ]
}

#[test]
fn a_hostile_bus_changes_nothing_and_each_message_is_counted_by_its_reason() {
    let mut now = START;
    let [mut a, mut b] = [1, 2].map(|id| Site::new(now, id, config()));
    a.announce(now, 1, 0, AnnounceEvent::Started);
    let batch = a.send(now).pop().expect("a batch").1;
    assert_eq!(b.node.handle_message(now, &batch), Ok(()));
    a.announce(now, 2, 0, AnnounceEvent::Started);
    now = now.saturating_add(TICK);
    let batch = a.send(now).pop().expect("a batch").1;
    for (number, (reason, message)) in hostile(now, &batch).iter().enumerate() {
        let before = b.node.figures().rejected(*reason);
        assert_eq!(b.node.handle_message(now, message), Err(*reason), "{number}");
        assert_eq!(b.node.figures().rejected(*reason), before + 1, "{number}");
        assert_eq!((b.peers(now), b.node.members().count()), (1, 1), "{number}");
    }
    assert_eq!(b.node.handle_message(now, &batch), Ok(()));
    assert_eq!(b.node.handle_message(now, &batch), Err(Rejection::Replay));
    assert_eq!(
        (b.peers(now), b.node.figures().rejected(Rejection::Replay)),
        (2, 1)
    );
}

#[test]
fn members_are_bounded() {
    let mut site = Site::new(START, 1, config());
    let mut come = |now, nodes: std::ops::Range<u64>| {
        for node in nodes {
            let header = Header {
                node: NodeId(node),
                ..header(now, Kind::Batch)
            };
            let _ = site.node.handle_message(now, &sealed("test", 7, header, &[]));
        }
        (
            site.node.members().count(),
            site.node.figures().rejected(Rejection::Members),
        )
    };
    assert_eq!(come(START, 100..200), (64, 36));
    // Those that are silent make room.
    assert_eq!(
        come(START.saturating_add(Duration::from_secs(20)), 200..210),
        (64, 36)
    );
}

#[test]
fn a_secret_is_replaced_without_a_gap() {
    let mut now = START;
    let both = |first: &str, second: &str| {
        let lines = [first.repeat(32), second.repeat(32)].join("\n");
        Secrets::parse(lines.as_bytes()).unwrap()
    };
    let site = |id, secrets: &Secrets| {
        let config = Config::default().with_cluster(secrets);
        Site::with(
            START,
            id,
            secrets,
            Tracker::new(config, Seed::new([1; 32]), START),
        )
    };
    let mut a = site(1, &both("07", "08"));
    let mut b = site(2, &both("08", "07"));
    a.announce(now, 1, 0, AnnounceEvent::Started);
    b.announce(now, 2, 0, AnnounceEvent::Started);
    run(&mut now, &mut [&mut a, &mut b], TICK);
    assert_eq!([a.peers(now), b.peers(now)], [2; 2]);
}

#[test]
fn a_node_speaks_the_newest_format_that_all_read_and_reads_what_a_newer_one_speaks() {
    let now = START;
    let mut a = Site::new(now, 1, config());
    let mut b = Site::new(now, 2, config());
    a.announce(now, 1, 0, AnnounceEvent::Started);
    let (_, batch) = a.send(now).pop().unwrap();
    // The same from a later version, which reads more, and speaks as its members do.
    let mut newer = Vec::new();
    let keys = Keys::new(&name("test"), &secrets(7));
    let envelope = keys.open(&batch).unwrap();
    let header = Header {
        reads: FORMAT + 1,
        ..envelope.header
    };
    keys.seal(&header, &mut newer, |out| out.extend(envelope.body));
    assert_eq!(b.node.handle_message(now, &newer), Ok(()));
    assert_eq!(b.peers(now), 1);
    b.announce(now, 2, 0, AnnounceEvent::Started);
    let later = now.saturating_add(TICK);
    let (_, batch) = b.send(later).pop().unwrap();
    assert_eq!(keys.open(&batch).unwrap().header.format, FORMAT);
}

#[test]
fn records_wait_for_a_bus_that_is_away_and_for_members_that_find_it_later() {
    let mut now = START;
    let [mut a, mut b] = [1, 2].map(|id| Site::new(now, id, config()));
    a.announce(now, 1, 0, AnnounceEvent::Started);
    a.announce(now, 2, 0, AnnounceEvent::Started);
    run(&mut now, &mut [&mut a, &mut b], TICK);
    a.node.handle_disconnected(now);
    a.announce(now, 2, 0, AnnounceEvent::Stopped);
    a.announce(now, 3, 0, AnnounceEvent::Started);
    for _ in 0..8 {
        now = now.saturating_add(Duration::from_secs(60));
        a.announce(now, 1, 0, AnnounceEvent::None);
        assert!(a.send(now).is_empty());
    }
    assert_eq!(a.node.figures().refreshes_dropped, 0);
    a.node.handle_connected(now);
    now = now.saturating_add(Duration::from_secs(14));
    let only_heartbeats = |sent: &[(Recipient, Vec<u8>)]| sent.iter().all(|(_, message)| message[2] != 1);
    assert!(only_heartbeats(&a.send(now)));
    run(&mut now, &mut [&mut a, &mut b], 2 * TICK);
    assert_eq!([a.peers(now), b.peers(now)], [2; 2]);
    // For one that does not come they wait no longer than it counts as alive.
    a.node.handle_disconnected(now);
    a.announce(now, 5, 0, AnnounceEvent::Started);
    a.node.handle_connected(now);
    now = now.saturating_add(Duration::from_secs(16));
    assert!(!only_heartbeats(&a.send(now)));
    // Beyond what a batch may hold they are given up.
    a.node.handle_disconnected(now);
    a.announce(now, 4, 0, AnnounceEvent::Started);
    now = now.saturating_add(Duration::from_secs(16 * 60));
    assert!(a.send(now).is_empty());
    a.node.handle_connected(now);
    run(&mut now, &mut [&mut a, &mut b], 2 * TICK);
    assert_eq!((a.node.figures().changes_dropped, b.peers(now)), (1, 2));
}

#[test]
fn lists_hold_for_records_and_the_limit_of_one_address_does_not() {
    let mut now = START;
    let limited = config().with_peers_per_address_max(2).unwrap();
    let mut a = Site::new(now, 1, config());
    let mut b = Site::new(now, 2, limited);
    let denies = Access {
        torrents: Torrents::AllBut(TorrentList::new([INFO_HASH])),
        ..Access::default()
    };
    let tracker = Tracker::new(config(), Seed::new([1; 32]), now).with_access(denies);
    let mut c = Site::with(now, 3, &secrets(7), tracker);
    for port in 1000..1010 {
        let mut one = announce(1, 0, AnnounceEvent::Started, 0);
        one.peer.port = port;
        a.worker.announce_into_scratch(now, &one, false).unwrap();
    }
    run(&mut now, &mut [&mut a, &mut b, &mut c], TICK);
    assert_eq!([a.peers(now), b.peers(now)], [10; 2]);
    assert_eq!(c.worker.tracker().totals().peers(), 0);
    assert_eq!(c.node.figures().records.refused, 10);
    // What others told is told by nobody again.
    let sent = |site: &Site| site.node.figures().records_sent;
    assert_eq!([sent(&a), sent(&b), sent(&c)], [10, 0, 0]);
}

#[test]
fn members_show_their_loss_their_clock_and_what_they_say_of_themselves() {
    let mut now = START;
    let [mut a, mut b] = [1, 2].map(|id| Site::new(now, id, config()));
    let behind = Duration::from_secs(7);
    let mut sent = 0;
    for second in 0..600 {
        now = now.saturating_add(Duration::from_secs(1));
        a.announce(now, 1000 + second, 0, AnnounceEvent::Started);
        for (_, message) in a.send(now) {
            sent += 1;
            if sent % 10 != 0 {
                b.node
                    .handle_message(now.saturating_add(behind), &message)
                    .unwrap();
            }
        }
    }
    let (_, member) = b.node.members().next().unwrap();
    assert_eq!(member.clock_behind_millis(), 7000);
    assert!(member.clock_differs() && member.lag() == Duration::ZERO);
    // All but those that may still come.
    let lost = sent / 10;
    assert!(
        (lost - 14..=lost).contains(&member.lost()),
        "{} of {lost}",
        member.lost()
    );
    assert_eq!(b.node.figures().messages_lost, member.lost());
    let heartbeat = member.heartbeat().unwrap();
    assert_eq!(
        (heartbeat.name.as_str(), heartbeat.version.as_str()),
        ("node-1", "1.2.3")
    );
    assert!(heartbeat.peers > 500 && heartbeat.whole);
    b.events();
    b.node.handle_timeout(now.saturating_add(Duration::from_secs(30)));
    assert_eq!(b.events().first(), Some(&Event::Went(NodeId(1))));
    b.node
        .handle_timeout(now.saturating_add(Duration::from_secs(700)));
    assert_eq!(b.node.members().count(), 0);
}

#[test]
fn connection_ids_of_one_node_are_accepted_by_another_also_while_the_secret_is_replaced() {
    use etracker_core::udp::ConnectionIds;
    let [old, new] = [7, 8].map(|secret| Secret::new([secret; 32]).connection_seed());
    let a = ConnectionIds::new(&old).accepting(&new);
    let b = ConnectionIds::new(&new).accepting(&old);
    for host in 0..100 {
        let ip = IpAddr::from([192, 0, 2, host]);
        assert!(b.check(START, ip, a.make(START, ip)) && a.check(START, ip, b.make(START, ip)));
    }
}
