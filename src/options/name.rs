//! Names of options, on the command line and in the environment.

use std::fmt;

/// The names of one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(super) short: Option<char>,
    pub(super) long: &'static str,
}

impl Name {
    /// The environment variable that stands for this option: `ETRACKER_MIN_INTERVAL` for `--min-interval`.
    pub(super) fn variable(self) -> String {
        format!("{PREFIX}{}", self.long.to_ascii_uppercase().replace('-', "_"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.long)
    }
}

pub(super) const CONFIG: Name = long("config");
pub(super) const PORT: Name = both('p', "port");
pub(super) const BIND: Name = long("bind");
pub(crate) const TLS_PORT: Name = long("tls-port");
pub(crate) const TLS_CERT: Name = long("tls-cert");
pub(crate) const TLS_KEY: Name = long("tls-key");
pub(super) const NO_TCP: Name = long("no-tcp");
pub(super) const NO_UDP: Name = long("no-udp");
pub(super) const WORKERS: Name = both('w', "workers");
pub(super) const RUNTIME: Name = long("runtime");
pub(crate) const MEMORY_MAX: Name = long("memory-max");
pub(super) const FAILED: Name = both('f', "failed");
pub(super) const INTERVAL: Name = both('i', "interval");
pub(super) const MIN_INTERVAL: Name = long("min-interval");
pub(super) const MAX_INTERVAL: Name = long("max-interval");
pub(super) const MAX_LOAD_AVG: Name = both('a', "max-load-avg");
pub(super) const MAX_PEERS_PER_RESPONSE: Name = both('m', "max-peers-per-response");
pub(super) const MAX_TORRENTS: Name = long("max-torrents");
pub(super) const MAX_PEERS_PER_TORRENT: Name = long("max-peers-per-torrent");
pub(super) const PEERS_PER_ADDRESS: Name = long("peers-per-address");
pub(super) const PRIVATE_PEERS: Name = long("private-peers");
pub(super) const NO_PEER_IDS: Name = long("no-peer-ids");
pub(super) const LIMITS: Name = long("limits");
pub(super) const LIMIT_RATE: Name = long("limit-rate");
pub(super) const LIMIT_EXEMPT: Name = long("limit-exempt");
pub(super) const KEEP_ALIVE: Name = both('k', "keep-alive");
pub(super) const SOCKET_TIMEOUT: Name = both('e', "socket-timeout");
pub(super) const FULL_SCRAPE: Name = long("full-scrape");
pub(super) const PATH_PREFIX: Name = long("path-prefix");
pub(super) const ACME: Name = long("acme");
pub(super) const ACME_CONTACT: Name = long("acme-contact");
pub(super) const ACME_DIRECTORY: Name = long("acme-directory");
pub(super) const ACME_STATE: Name = long("acme-state");
pub(super) const ACME_CA: Name = long("acme-ca");
pub(super) const CLUSTER: Name = long("cluster");
pub(super) const CLUSTER_NAME: Name = long("cluster-name");
pub(super) const CLUSTER_SECRET: Name = long("cluster-secret");
pub(super) const CLUSTER_CREDENTIALS: Name = long("cluster-credentials");
pub(super) const CLUSTER_CA: Name = long("cluster-ca");
pub(super) const CLUSTER_NODE: Name = long("cluster-node");
pub(super) const CLUSTER_INSECURE: Name = long("cluster-insecure");
pub(super) const X_FORWARDED_FOR: Name = long("x-forwarded-for");
pub(super) const CLIENT_ADDRESS_FROM: Name = long("client-address-from");
pub(super) const PROXY_PROTOCOL: Name = long("proxy-protocol");
pub(crate) const TRUSTED_PROXY: Name = long("trusted-proxy");
pub(super) const EXTERNAL_ADDRESS: Name = long("external-address");
pub(super) const ALLOW_LIST: Name = long("allow-list");
pub(crate) const DENY_LIST: Name = long("deny-list");
pub(super) const DENY_ADDRESS: Name = long("deny-address");
pub(super) const CHARSET: Name = long("charset");
pub(super) const LOCALE: Name = long("locale");
pub(super) const STATS_FROM: Name = long("stats-from");
pub(super) const PAGE_HOST: Name = long("page-host");
pub(super) const LOG_LEVEL: Name = long("log-level");
pub(super) const LOG_FORMAT: Name = long("log-format");
pub(super) const LOG_ADDRESSES: Name = long("log-addresses");
pub(crate) const USER: Name = long("user");
pub(super) const CHROOT: Name = long("chroot");
pub(super) const STATE: Name = long("state");
pub(super) const STATE_PERIOD: Name = long("state-period");
pub(super) const VERSION: Name = both('V', "version");
pub(super) const HELP: Name = both('h', "help");
pub(super) const HELP_ALL: Name = long("help-all");
/// Not an option: scripts/run and the supervisor pass it in the environment.
pub(super) const FAILURES: Name = long("failures");

/// All that can be given in the environment.
pub(super) const IN_ENVIRONMENT: &[Name] = &[
    CONFIG,
    PORT,
    BIND,
    TLS_PORT,
    TLS_CERT,
    TLS_KEY,
    NO_TCP,
    NO_UDP,
    WORKERS,
    RUNTIME,
    MEMORY_MAX,
    FAILED,
    INTERVAL,
    MIN_INTERVAL,
    MAX_INTERVAL,
    MAX_LOAD_AVG,
    MAX_PEERS_PER_RESPONSE,
    MAX_TORRENTS,
    MAX_PEERS_PER_TORRENT,
    PEERS_PER_ADDRESS,
    PRIVATE_PEERS,
    NO_PEER_IDS,
    LIMITS,
    LIMIT_RATE,
    LIMIT_EXEMPT,
    KEEP_ALIVE,
    SOCKET_TIMEOUT,
    FULL_SCRAPE,
    PATH_PREFIX,
    ACME,
    ACME_CONTACT,
    ACME_DIRECTORY,
    ACME_STATE,
    ACME_CA,
    CLUSTER,
    CLUSTER_NAME,
    CLUSTER_SECRET,
    CLUSTER_CREDENTIALS,
    CLUSTER_CA,
    CLUSTER_NODE,
    CLUSTER_INSECURE,
    X_FORWARDED_FOR,
    CLIENT_ADDRESS_FROM,
    PROXY_PROTOCOL,
    TRUSTED_PROXY,
    EXTERNAL_ADDRESS,
    ALLOW_LIST,
    DENY_LIST,
    DENY_ADDRESS,
    CHARSET,
    LOCALE,
    STATS_FROM,
    PAGE_HOST,
    LOG_LEVEL,
    LOG_FORMAT,
    LOG_ADDRESSES,
    USER,
    CHROOT,
    STATE,
    STATE_PERIOD,
    FAILURES,
];

/// Letters in which a mistyped variable may differ from the one that was meant.
pub(super) const LETTERS_WRONG_MAX: usize = 2;
/// The prefix of all variables.
pub(super) const PREFIX: &str = "ETRACKER_";
/// The variable with the number of failures before this start.
pub(crate) const FAILURES_VARIABLE: &str = "ETRACKER_FAILURES";

const fn both(short: char, long: &'static str) -> Name {
    let short = Some(short);
    Name { short, long }
}

const fn long(long: &'static str) -> Name {
    Name { short: None, long }
}
