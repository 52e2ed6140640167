//! Options from the command line and the environment, parsed and checked.

mod acme;
mod arguments;
mod catalogue;
mod cluster;
mod commands;
mod completions;
mod config;
mod environment;
mod file;
mod help;
mod intervals;
mod manual;
pub(crate) mod name;
mod network;
mod process;
mod proxies;
mod ranges;
mod reader;
mod refusal;
mod runtime;
mod size;
#[cfg(test)]
mod tests;
mod tls;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr as _;

use bpaf::ParseFailure;
use etracker_core::Config;
use etracker_core::config::{
    LIMIT_RATE, LimitMode, PEERS_PER_ADDRESS, PEERS_PER_RESPONSE, PEERS_PER_TORRENT, PRIVATE_NETWORKS,
    SOCKET_TIMEOUT_SECS, TORRENTS,
};
use etracker_core::ipnet::IpNet;
use etracker_runtime_common::{Address, Listen, Protocol};

use crate::lists::{ListFile, ListFiles, TorrentFile};
use crate::logs::{LogFormat, LogSettings};
pub(crate) use acme::AcmeOptions;
use arguments::{Arguments, Common};
#[cfg(feature = "cluster")]
pub(crate) use cluster::Broker;
pub(crate) use cluster::ClusterOptions;
use commands::{COMPLETIONS, Command, JSON, advice};
pub(crate) use environment::Environment;
pub(crate) use name::FAILURES_VARIABLE;
use network::network;
pub(crate) use process::ProcessOptions;
use ranges::{
    CHARSET_DEFAULT, HOST_LEN_MAX, LOAD_LIMITS, LOCALE_DEFAULT, MEMORY_MAX, PORT_DEFAULT, PORTS, WORKERS,
};
pub(crate) use reader::Setting;
use reader::{FileValues, Reader, Record, Text};
use refusal::needs;
pub(crate) use refusal::{Refusal, Source};
pub(crate) use runtime::Runtime;
pub(crate) use tls::{PairFiles, TlsOptions};

/// All options, valid.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The settings of the core.
    pub(crate) config: Config,
    /// Certificates from an ACME directory.
    pub(crate) acme: Option<AcmeOptions>,
    /// The file of secrets that trackers share.
    pub(crate) cluster_secret: Option<Setting<PathBuf>>,
    /// The cluster that the tracker is in.
    pub(crate) cluster: Option<ClusterOptions>,
    /// Where to listen, and with how many workers.
    pub(crate) listen: Listen,
    /// Certificates, and the port of HTTPS.
    pub(crate) tls: TlsOptions,
    /// What drives the workers.
    pub(crate) runtime: Runtime,
    /// The most memory that the process is to take, in bytes, if that was given.
    pub(crate) memory_max: Option<Setting<u64>>,
    /// The character set of the stats page.
    pub(crate) charset: String,
    /// The files of lists.
    pub(crate) lists: ListFiles,
    /// Networks that may read pages; all if empty.
    pub(crate) stats_from: Vec<IpNet>,
    /// Host names for pages, beside localhost and the machine's own.
    pub(crate) page_hosts: Vec<String>,
    /// The settings of the log.
    pub(crate) logs: LogSettings,
    /// The locale that groups digits on the stats page.
    pub(crate) locale: String,
    /// What makes the tracker last.
    pub(crate) process: ProcessOptions,
    /// Failures before this start, counted by the supervisor or script.
    pub(crate) failures: u32,
    /// Unknown variables that begin with `ETRACKER_`.
    pub(crate) unknown_variables: Vec<String>,
}

/// The request of a command line.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Serve.
    Serve(Box<Options>),
    /// Check whether this host is fit to serve with these options.
    Examine(Box<Options>, Form),
    /// Check these options and their files alone.
    Check(Box<Options>),
    /// Print a new secret of a cluster.
    MakeSecret,
    /// Ask the tracker that serves with these options whether it works.
    AskHealth(Box<Options>),
    /// Print this text.
    Show(String),
}

/// The form of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A table for people.
    Text,
    /// An object for programs.
    Json,
}

impl Request {
    /// Parses the arguments (without the command's name) and the environment, on a machine with `processors` processors.
    ///
    /// # Errors
    /// The first refused argument or variable.
    pub(crate) fn read(
        arguments: impl IntoIterator<Item = OsString>,
        environment: &Environment,
        processors: usize,
    ) -> Result<Self, Refusal> {
        let arguments = attach_negative_numbers(arguments);
        let (command, arguments) = Command::of(&arguments);
        match command {
            Command::Man => return Ok(Self::Show(manual::page())),
            Command::Help => return Ok(Self::Show(help::short())),
            Command::MakeSecret => return Ok(Self::MakeSecret),
            Command::Completions => return completions_for(arguments),
            Command::Serve | Command::Check | Command::Config | Command::Doctor | Command::Health => {}
        }
        let is_json = command == Command::Doctor && arguments.iter().any(|word| word == JSON);
        let arguments: Vec<_> = arguments
            .iter()
            .filter(|word| !is_json || *word != JSON)
            .cloned()
            .collect();
        let given = match arguments::grammar().run_inner(&*arguments) {
            Ok(given) => given,
            Err(ParseFailure::Stdout(..)) => return Ok(Self::Show(help::short())),
            Err(ParseFailure::Completion(text)) => return Ok(Self::Show(text)),
            Err(ParseFailure::Stderr(text)) => {
                return Err(Refusal::Arguments(in_plain_words(&one_line(
                    &text.monochrome(true),
                ))));
            }
        };
        if given.help_all {
            return Ok(Self::Show(arguments::help()));
        }
        if given.version {
            return Ok(Self::Show(crate::revision::version()));
        }
        if let Some(word) = given.words.first() {
            return Err(Refusal::Word(word.clone(), advice(word)));
        }
        let record = Record::default();
        let reader = Reader {
            environment,
            file: &FileValues::default(),
            record: &record,
        };
        let file = reader.text(name::CONFIG, given.config.clone());
        let file = file.as_ref().map(file::read).transpose()?.unwrap_or_default();
        let reader = Reader {
            file: &file,
            ..reader
        };
        let options = Box::new(Options::from_given(given, reader, processors)?);
        Ok(match command {
            Command::Doctor => Self::Examine(options, if is_json { Form::Json } else { Form::Text }),
            Command::Check => Self::Check(options),
            Command::Health => Self::AskHealth(options),
            Command::Config => Self::Show(config::written(&record)),
            Command::Serve | Command::Man | Command::Help | Command::MakeSecret | Command::Completions => {
                Self::Serve(options)
            }
        })
    }
}

/// The script of completions for the one shell that is named.
fn completions_for(arguments: &[OsString]) -> Result<Request, Refusal> {
    let script = match arguments {
        [shell] => shell.to_str().and_then(completions::script),
        _ => None,
    };
    let word = arguments
        .first()
        .map_or_else(|| COMPLETIONS.into(), |word| word.to_string_lossy());
    script.map(Request::Show).ok_or_else(|| {
        Refusal::Word(
            word.into_owned(),
            "completions are for one of bash, zsh, fish: etracker completions bash",
        )
    })
}

impl Options {
    fn from_given(given: Arguments, reader: Reader<'_>, processors: usize) -> Result<Self, Refusal> {
        let unknown_variables = reader.environment.unknown()?;
        let runtime = Runtime::read(reader, given.service.runtime.clone())?;
        let memory_max = given.service.memory_max.clone();
        let memory_max = size::read(reader, name::MEMORY_MAX, memory_max, &MEMORY_MAX)?;
        let (common, pages) = (given.common, given.pages);
        let charset = label(reader, name::CHARSET, pages.charset, CHARSET_DEFAULT)?;
        let locale = label(reader, name::LOCALE, pages.locale, LOCALE_DEFAULT)?;
        let stats_from = reader.list(name::STATS_FROM, common.stats_from.clone())?;
        let stats_from: Vec<_> = stats_from
            .into_iter()
            .map(|text| network(text, NETWORK))
            .collect::<Result<_, _>>()?;
        let page_hosts = reader.list(name::PAGE_HOST, pages.page_host)?;
        let named = page_hosts.first().map(|host| host.source);
        needs(named, &[name::STATS_FROM], !stats_from.is_empty())?;
        let page_hosts = page_hosts.into_iter().map(host).collect::<Result<_, _>>()?;
        let logs = logs(reader, given.logs)?;
        let failures = reader.number(name::FAILURES, None, 0..=u32::MAX)?;
        let process = process::read(reader, &common, given.process)?;
        let by_acme = !reader.list(name::ACME, given.acme.domains.clone())?.is_empty();
        let tls = tls::read(reader, given.tls, by_acme)?;
        let acme = acme::read(reader, given.acme, tls.port.is_some(), process.state.as_deref())?;
        let (cluster_secret, cluster) = cluster::read(reader, given.cluster)?;
        let listen = listen(reader, &common, &given.service, tls.port, processors)?;
        let config = swarms(
            reader,
            Config::default().with_workers(listen.workers),
            &common,
            given.swarms,
            processors,
        )?;
        let config = limits(reader, config, given.limits)?;
        let config = http(reader, config, &common, given.http)?;
        let (config, trusted_proxies) = proxies::read(reader, config, &common, given.behind)?;
        let lists = lists(reader, given.access, trusted_proxies)?;
        Ok(Self {
            config,
            acme,
            cluster_secret,
            cluster,
            listen,
            tls,
            runtime,
            memory_max,
            charset,
            lists,
            stats_from,
            page_hosts,
            logs,
            locale,
            process,
            failures: failures.map_or(0, |failures| failures.value),
            unknown_variables,
        })
    }
}

/// The parser's message without its jargon.
fn in_plain_words(text: &str) -> String {
    let text = text.trim_end_matches(" in this context");
    match text.strip_suffix(" is not expected") {
        Some(stray) if stray.starts_with("`-") => {
            format!("{stray}: no such option; `etracker help` shows all")
        }
        Some(stray) => format!("{stray}: not expected here; a switch takes no value"),
        None => text.to_owned(),
    }
}

/// The word for no network in `--limit-exempt`.
const NOBODY: &str = "none";
/// Bytes of a character set's or a locale's name; the longest in use are half of that.
const LABEL_LEN_MAX: usize = 64;

fn listen(
    reader: Reader<'_>,
    common: &Common,
    given: &arguments::Service,
    tls_port: Option<u16>,
    processors: usize,
) -> Result<Listen, Refusal> {
    let port = reader.number(name::PORT, common.port.clone(), PORTS)?;
    let addresses = addresses(reader.list(name::BIND, common.bind.clone())?)?;
    let workers = reader.number(name::WORKERS, common.workers.clone(), WORKERS)?;
    let (no_tcp, no_udp) = (
        reader.switch(name::NO_TCP, given.no_tcp)?,
        reader.switch(name::NO_UDP, given.no_udp)?,
    );
    if no_tcp && no_udp && tls_port.is_none() {
        let source = |name, argument: bool| {
            let text = reader.text(name, argument.then(|| "true".to_owned()));
            text.map_or(Source::Argument(name), |text| text.source)
        };
        return Err(Refusal::NothingToServe(
            source(name::NO_TCP, given.no_tcp),
            source(name::NO_UDP, given.no_udp),
        ));
    }
    let workers = match workers {
        Some(workers) => workers.value as usize,
        None => processors.clamp(*WORKERS.start() as usize, *WORKERS.end() as usize),
    };
    let port = port.map_or(PORT_DEFAULT, |port| port.value);
    let http = match tls_port {
        Some(tls_port) if tls_port == port => Protocol::HttpOrHttps,
        _ => Protocol::Http,
    };
    let of_its_own = tls_port.filter(|&tls_port| no_tcp || tls_port != port);
    let protocols = [
        (!no_tcp, http, port),
        (!no_udp, Protocol::Udp, port),
        (of_its_own.is_some(), Protocol::Https, of_its_own.unwrap_or(port)),
    ];
    let protocols = protocols.into_iter().filter(|(wanted, ..)| *wanted);
    let mut listen = Listen::new(workers);
    for place in one_by_one(&addresses) {
        for (_, protocol, port) in protocols.clone() {
            listen = listen.bind(protocol, place, port);
        }
    }
    Ok(listen)
}

/// Each address alone, or all addresses if none is given: what is listened on is told address by address.
fn one_by_one(addresses: &[Address]) -> impl Iterator<Item = &[Address]> {
    let all = addresses.is_empty().then_some(addresses);
    all.into_iter().chain(addresses.chunks(1))
}

fn swarms(
    reader: Reader<'_>,
    mut config: Config,
    common: &Common,
    given: arguments::Swarms,
    processors: usize,
) -> Result<Config, Refusal> {
    let intervals = intervals::read(reader, config.intervals(), common)?;
    config = config.with_intervals(intervals)?;
    let load = reader.number(name::MAX_LOAD_AVG, given.max_load_avg, LOAD_LIMITS)?;
    config = config.with_load_limit(load.map_or_else(|| load_limit_default(processors), |load| load.value));
    let per_response = reader.number(
        name::MAX_PEERS_PER_RESPONSE,
        given.max_peers_per_response,
        PEERS_PER_RESPONSE,
    )?;
    if let Some(peers) = per_response {
        config = config.with_peers_per_response_max(peers.value)?;
    }
    if let Some(torrents) = reader.number(name::MAX_TORRENTS, given.max_torrents, TORRENTS)? {
        config = config.with_torrents_max(torrents.value)?;
    }
    let per_torrent = reader.number(
        name::MAX_PEERS_PER_TORRENT,
        given.max_peers_per_torrent,
        PEERS_PER_TORRENT,
    )?;
    if let Some(peers) = per_torrent {
        config = config.with_peers_per_torrent_max(peers.value)?;
    }
    let per_address = reader.number(
        name::PEERS_PER_ADDRESS,
        given.peers_per_address,
        PEERS_PER_ADDRESS,
    )?;
    if let Some(peers) = per_address {
        config = config.with_peers_per_address_max(peers.value)?;
    }
    if let Some(text) = reader.text(name::PRIVATE_PEERS, given.private_peers) {
        config = config.with_private_peers(match text.value.as_str() {
            "allow" => true,
            "deny" => false,
            _ => return Err(text.refuse("allow or deny")),
        });
    }
    let no_peer_ids = reader.switch(name::NO_PEER_IDS, given.no_peer_ids)?;
    Ok(config.with_peer_ids(!no_peer_ids))
}

fn limits(reader: Reader<'_>, mut config: Config, given: arguments::Limits) -> Result<Config, Refusal> {
    if let Some(text) = reader.text(name::LIMITS, given.mode) {
        let mut modes = LimitMode::ALL.into_iter();
        let mode = modes.find(|mode| mode.name() == text.value);
        config = config.with_limit_mode(mode.ok_or_else(|| text.refuse("on, dry-run or off"))?);
    }
    if let Some(rate) = reader.number(name::LIMIT_RATE, given.rate, LIMIT_RATE)? {
        config = config.with_limit_rate(rate.value)?;
    }
    let exempt = reader.list(name::LIMIT_EXEMPT, given.exempt)?;
    let (nobody, exempt): (Vec<_>, Vec<_>) = exempt.into_iter().partition(|text| text.value == NOBODY);
    let named: Vec<_> = exempt
        .into_iter()
        .map(|text| network(text, NETWORK))
        .collect::<Result<_, _>>()?;
    let private = if nobody.is_empty() {
        &PRIVATE_NETWORKS[..]
    } else {
        &[]
    };
    Ok(config.with_limit_exempt(private.iter().copied().chain(named).collect()))
}

fn http(
    reader: Reader<'_>,
    mut config: Config,
    common: &Common,
    given: arguments::Http,
) -> Result<Config, Refusal> {
    config = config.with_keep_alive(reader.switch(name::KEEP_ALIVE, common.keep_alive)?);
    let timeout = reader.number(name::SOCKET_TIMEOUT, given.socket_timeout, SOCKET_TIMEOUT_SECS)?;
    if let Some(secs) = timeout {
        config = config.with_socket_timeout_secs(secs.value)?;
    }
    config = config.with_full_scrape(reader.switch(name::FULL_SCRAPE, given.full_scrape)?);
    if let Some(text) = reader.text(name::PATH_PREFIX, given.path_prefix) {
        let prefixed = config.with_path_prefix(&text.value);
        config = prefixed.map_err(|wanted| text.refuse(&wanted.to_string()))?;
    }
    Ok(config)
}

fn lists(
    reader: Reader<'_>,
    given: arguments::Access,
    trusted_proxies: Vec<ListFile>,
) -> Result<ListFiles, Refusal> {
    let wanted = "the path of a file";
    let allow = reader.filled(name::ALLOW_LIST, given.allow_list, wanted)?;
    let deny = reader.filled(name::DENY_LIST, given.deny_list, wanted)?;
    let torrents = match (allow, deny) {
        (Some(allow), Some(deny)) => return Err(Refusal::TwoLists(allow.source, deny.source)),
        (Some(allow), None) => Some(TorrentFile::Allow(allow.into_setting())),
        (None, Some(deny)) => Some(TorrentFile::Deny(deny.into_setting())),
        (None, None) => None,
    };
    let denied = reader.filled(name::DENY_ADDRESS, given.deny_address, wanted)?;
    Ok(ListFiles {
        torrents,
        denied_addresses: denied.map(Setting::into_setting),
        trusted_proxies,
    })
}

fn logs(reader: Reader<'_>, given: arguments::Logs) -> Result<LogSettings, Refusal> {
    let mut settings = LogSettings {
        addresses: reader.switch(name::LOG_ADDRESSES, given.addresses)?,
        ..LogSettings::default()
    };
    if let Some(text) = reader.text(name::LOG_LEVEL, given.level) {
        let level = text.value.parse();
        settings.level = level.map_err(|_| text.refuse("off, error, warn, info, debug or trace"))?;
    }
    if let Some(text) = reader.text(name::LOG_FORMAT, given.format) {
        let format = LogFormat::named(&text.value);
        settings.format = format.ok_or_else(|| text.refuse("text or json"))?;
    }
    Ok(settings)
}

/// The load average that leaves half a processor free.
fn load_limit_default(processors: usize) -> f64 {
    let processors = u32::try_from(processors).unwrap_or(u32::MAX);
    (f64::from(processors) - 0.5).clamp(*LOAD_LIMITS.start(), *LOAD_LIMITS.end())
}

/// Addresses to listen on, each once.
fn addresses(texts: Vec<Text>) -> Result<Vec<Address>, Refusal> {
    let mut addresses: Vec<Address> = Vec::new();
    for text in texts {
        let address = address(&text)?;
        // The second socket would fail with "in use by another program", and that program is this one.
        let is_same = |other: &Address| {
            (other.ip.to_canonical(), &other.zone) == (address.ip.to_canonical(), &address.zone)
        };
        if addresses.iter().any(is_same) {
            return Err(text.refuse("given once, and it is given twice"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn address(text: &Text) -> Result<Address, Refusal> {
    let refuse = |wanted: &str| Err(text.clone().refuse(wanted));
    match Address::from_str(&text.value) {
        Err(error) => refuse(&error.to_string()),
        // Linux opens a socket at these, and no client can reach it.
        Ok(address) if address.ip.to_canonical().is_multicast() => {
            refuse("an address of one host: this one is multicast")
        }
        Ok(address) if is_broadcast(address.ip) => refuse("an address of one host: this one is broadcast"),
        Ok(address) => Ok(address),
    }
}

const fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip.to_canonical(), IpAddr::V4(ip) if ip.is_broadcast())
}

/// What an option takes that wants networks.
const NETWORK: &str = "a network like 10.0.0.0/8 or fc00::/7, or an address";

/// The name of a host, as browsers send it.
fn host(text: Text) -> Result<String, Refusal> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=HOST_LEN_MAX).contains(&text.value.len()) && text.value.bytes().all(known) {
        Ok(text.value)
    } else {
        Err(text.refuse("a host name of letters, digits, dots and dashes, without scheme and port"))
    }
}

/// The name of a character set or a locale. It ends up in headers and pages, so it is held to harmless characters.
fn label(
    reader: Reader<'_>,
    name: name::Name,
    argument: Option<String>,
    default: &str,
) -> Result<String, Refusal> {
    let Some(text) = reader.text(name, argument) else {
        return Ok(default.to_owned());
    };
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+@".contains(&byte);
    if (1..=LABEL_LEN_MAX).contains(&text.value.len()) && text.value.bytes().all(harmless) {
        Ok(text.value)
    } else {
        Err(text.refuse(&format!(
            "a name of 1 to {LABEL_LEN_MAX} letters, digits and -_.:+@"
        )))
    }
}

/// Turns `--workers -1` into `--workers=-1`: a negative number is the value of the option before it, and is refused
/// with that option's range.
fn attach_negative_numbers(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut attached: Vec<OsString> = Vec::new();
    for argument in arguments {
        let negative = argument
            .to_str()
            .and_then(|text| text.strip_prefix('-'))
            .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit() || char == '.'));
        match attached.last_mut() {
            Some(option) if negative && option.to_string_lossy().starts_with('-') => {
                option.push("=");
                option.push(argument);
            }
            _ => attached.push(argument),
        }
    }
    attached
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
