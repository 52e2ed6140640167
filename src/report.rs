//! The tracker's output at start and at its end.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use etracker_core::config::ExternalAddresses;
use etracker_core::config::LimitMode;
use etracker_core::governor::BYTES_PER_WORKER;
use etracker_core::ipnet::IpNet;
use etracker_core::proxy::{ClientHeader, Proxies};
use etracker_core::stats::Count;
use etracker_core::{Config, Tracker};
use etracker_runtime_common::{Listen, Opened, Protocol, Transport};

use crate::lists::{ListFile, TorrentFile};
use crate::options::{AcmeOptions, Options, PairFiles, Setting, TlsOptions};
use crate::revision::revision;
use crate::sockets::{addresses, port};
use crate::terminal::say;

/// Prints revision and settings.
pub(crate) fn start(options: &Options, processors: usize) {
    say(format_args!("Revision: {}", revision()));
    say("Starting configuration:");
    for (name, value) in settings(options) {
        say(format_args!("  {name} = {value}"));
    }
    if options.failures > 0 {
        say(format_args!("Failures before this start: {}", options.failures));
    }
    say(format_args!("This system has {processors} processors available."));
    if options.config.limits().mode() != LimitMode::Off {
        say(format_args!(
            "Memory for the sources of each worker: {BYTES_PER_WORKER} bytes"
        ));
    }
}

/// Prints where the sockets listen.
pub(crate) fn listening(opened: &Opened, listen: &Listen) {
    for local in &opened.local {
        say(format_args!("Listening on {local}"));
    }
    if listen.serves(Protocol::Udp) {
        say(format_args!(
            "UDP receive buffer: {} bytes a socket",
            opened.receive_buffer
        ));
    }
}

/// Prints what an operator looks for first, as the last line of a start: what is served, and where the page is.
pub(crate) fn ready(opened: &Opened) {
    let mut served: Vec<String> = Vec::new();
    for local in &opened.local {
        let scheme = match local.protocol {
            Protocol::Udp => "udp",
            Protocol::Http | Protocol::HttpOrHttps => "http",
            Protocol::Https => "https",
            Protocol::Other(..) | _ => continue,
        };
        let at = format!("{scheme}://{}", host_and_port(local.at));
        if !served.contains(&at) {
            served.push(at);
        }
    }
    let page = served.iter().find(|at| at.starts_with("http"));
    let page = page.map_or_else(String::new, |at| format!("; page: {at}/"));
    say(format_args!("Serving {}{page}", served.join(" ")));
}

/// Where a client on this host reaches what listens `at`.
fn host_and_port(at: SocketAddr) -> String {
    if at.ip().is_unspecified() {
        format!("localhost:{}", at.port())
    } else {
        at.to_string()
    }
}

/// Prints the totals: torrents, peers, and every count that is not zero.
pub(crate) fn totals(tracker: &Tracker) {
    let totals = tracker.totals();
    say("Totals:");
    say(format_args!("  torrents = {}", totals.torrents));
    say(format_args!(
        "  seeders = {}",
        totals.seeders_v4 + totals.seeders_v6
    ));
    say(format_args!(
        "  leechers = {}",
        totals.leechers_v4 + totals.leechers_v6
    ));
    for &count in Count::ALL {
        let value = tracker.count(count);
        if value > 0 {
            say(format_args!("  {} = {value}", count.name()));
        }
    }
}

/// The settings in the order of the options, under the names that the original gave them.
pub(crate) fn settings(options: &Options) -> Vec<(&'static str, String)> {
    let Options {
        config,
        listen,
        process,
        ..
    } = options;
    let (intervals, swarms) = (config.intervals(), config.swarms());
    let (lists, logs) = (&options.lists, &options.logs);
    let (allow, deny) = match &lists.torrents {
        Some(TorrentFile::Allow(path)) => (Some(path), None),
        Some(TorrentFile::Deny(path)) => (None, Some(path)),
        None => (None, None),
    };
    let mut settings = vec![
        ("port", port(listen).to_string()),
        ("interval", intervals.initial.to_string()),
        ("workers", listen.workers.to_string()),
        ("maxPeersPerResponse", config.peers_per_response_max().to_string()),
        ("socketTimeout", config.socket_timeout().as_secs().to_string()),
        ("keepAlive", switch(config.keep_alive())),
        ("minInterval", intervals.min.to_string()),
        ("maxInterval", intervals.max.to_string()),
        ("noTcp", switch(!listen.uses(Transport::Tcp))),
        ("noUdp", switch(!listen.serves(Protocol::Udp))),
        ("charset", options.charset.clone()),
        ("locale", options.locale.clone()),
        ("maxLoadAvg", format!("{:.2}", config.load_limit())),
    ];
    settings.extend(encryption(&options.tls));
    settings.extend(options.acme.iter().flat_map(acme));
    settings.extend(cluster(options));
    settings.extend(behind(config, &lists.trusted_proxies));
    settings.extend([
        ("bind", list(&addresses(listen), "all")),
        ("pathPrefix", path(config.path_prefix())),
        ("fullScrape", switch(config.full_scrape())),
        ("noPeerIds", switch(!swarms.peer_ids())),
        ("maxTorrents", swarms.torrents_max().to_string()),
        ("maxPeersPerTorrent", swarms.peers_per_torrent_max().to_string()),
        (
            "peersPerAddress",
            swarms.peers_per_address_max().unwrap_or(0).to_string(),
        ),
        (
            "privatePeers",
            if swarms.private_peers() { "allow" } else { "deny" }.to_owned(),
        ),
        ("limits", config.limits().mode().name().to_owned()),
        ("limitRate", config.limits().announces_per_sec().to_string()),
        ("limitExempt", list(config.limits().exempt(), "none")),
        ("allowList", file(value(allow))),
        ("denyList", file(value(deny))),
        ("denyAddress", file(value(lists.denied_addresses.as_ref()))),
        ("statsFrom", list(&options.stats_from, "all")),
        ("pageHost", list(&options.page_hosts, "none")),
        ("logLevel", logs.level.to_string()),
        ("logFormat", logs.format.name().to_owned()),
        ("logAddresses", switch(logs.addresses)),
        ("runtime", options.runtime.name().to_owned()),
        ("memoryMax", size(value(options.memory_max.as_ref()))),
        ("failed", process.restarts.to_string()),
        (
            "user",
            value(process.user.as_ref()).map_or_else(|| "unchanged".to_owned(), String::clone),
        ),
        ("chroot", file(value(process.chroot.as_ref()))),
        ("state", file(process.state.as_ref())),
        ("statePeriod", process.state_period.as_secs().to_string()),
    ]);
    settings
}

/// The settings of HTTPS.
fn encryption(tls: &TlsOptions) -> [(&'static str, String); 3] {
    let paths = |of: fn(&PairFiles) -> &ListFile| {
        let paths = tls.pairs.iter().map(|pair| of(pair).value.display().to_string());
        list(&paths.collect::<Vec<_>>(), "none")
    };
    [
        (
            "tlsPort",
            tls.port
                .map_or_else(|| "none".to_owned(), |port| port.to_string()),
        ),
        ("tlsCert", paths(|pair| &pair.chain)),
        ("tlsKey", paths(|pair| &pair.key)),
    ]
}

/// The settings of certificates from a directory.
fn cluster(options: &Options) -> Vec<(&'static str, String)> {
    let secret = options.cluster_secret.iter();
    let mut settings: Vec<_> = secret
        .map(|secret| ("clusterSecret", secret.value.display().to_string()))
        .collect();
    if let Some(cluster) = &options.cluster {
        let node = cluster.node.as_ref();
        settings.extend([
            ("cluster", list(&cluster.brokers, "none")),
            ("clusterName", cluster.cluster.to_string()),
            (
                "clusterNode",
                node.map_or_else(|| "the host's".to_owned(), ToString::to_string),
            ),
            ("clusterCredentials", file(value(cluster.credentials.as_ref()))),
            ("clusterCa", file(value(cluster.authorities.as_ref()))),
        ]);
    }
    settings
}

fn acme(options: &AcmeOptions) -> [(&'static str, String); 5] {
    let AcmeOptions {
        domains,
        contact,
        directory,
        folder,
        authorities,
    } = options;
    [
        ("acme", list(domains, "none")),
        (
            "acmeContact",
            contact.clone().unwrap_or_else(|| "none".to_owned()),
        ),
        ("acmeDirectory", directory.clone()),
        ("acmeState", folder.display().to_string()),
        (
            "acmeCa",
            value(authorities.as_ref())
                .map_or_else(|| "public".to_owned(), |path| path.display().to_string()),
        ),
    ]
}

/// The settings of what stands between the tracker and its clients.
fn behind(config: &Config, files: &[ListFile]) -> [(&'static str, String); 5] {
    let proxies = config.proxies();
    let header = proxies.and_then(Proxies::header);
    [
        (
            "xForwardedFor",
            switch(header == Some(&ClientHeader::X_FORWARDED_FOR)),
        ),
        (
            "clientAddressFrom",
            header.map_or("none", ClientHeader::name).to_owned(),
        ),
        ("proxyProtocol", switch(proxies.is_some_and(Proxies::protocol))),
        ("trustedProxies", list(&trusted(proxies, files), "none")),
        ("externalAddress", external(config.external_addresses())),
    ]
}

/// Networks, and the files of others.
fn trusted(proxies: Option<&Proxies>, files: &[ListFile]) -> Vec<String> {
    let networks = proxies.map(Proxies::networks).unwrap_or_default();
    let files = files.iter().map(|file| file.value.display().to_string());
    networks.iter().map(IpNet::to_string).chain(files).collect()
}

fn external(addresses: Option<&ExternalAddresses>) -> String {
    let ExternalAddresses { v4, v6 } = addresses.copied().unwrap_or_default();
    let addresses: Vec<_> = [v4.map(IpAddr::from), v6.map(IpAddr::from)]
        .into_iter()
        .flatten()
        .collect();
    list(&addresses, "none")
}

fn path(prefix: &str) -> String {
    if prefix.is_empty() { "none" } else { prefix }.to_owned()
}

fn size(bytes: Option<&u64>) -> String {
    bytes.map_or_else(|| "default".to_owned(), u64::to_string)
}

fn switch(on: bool) -> String {
    u8::from(on).to_string()
}

fn value<T>(setting: Option<&Setting<T>>) -> Option<&T> {
    setting.map(|setting| &setting.value)
}

fn file(path: Option<&PathBuf>) -> String {
    path.map_or_else(|| "none".to_owned(), |path| path.display().to_string())
}

fn list<T: Display>(values: &[T], empty: &str) -> String {
    if values.is_empty() {
        return empty.to_owned();
    }
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}
