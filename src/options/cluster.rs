//! Options of a cluster.

use std::fmt;
use std::path::PathBuf;

use etracker_core::cluster::ClusterName;
use http::Uri;

use super::arguments;
use super::name;
use super::ranges::CLUSTER_NAME_DEFAULT;
use super::reader::{Reader, Setting, Text};
use super::refusal::{Refusal, needs};

/// The options of a cluster of trackers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterOptions {
    /// The brokers, tried in turn. Invariant: at least one, none twice.
    pub(crate) brokers: Vec<Broker>,
    /// The name of the cluster.
    pub(crate) cluster: ClusterName,
    /// The name of this node; that of the host if it is not given.
    pub(crate) node: Option<ClusterName>,
    /// The file of what the brokers know this node by.
    pub(crate) credentials: Option<Setting<PathBuf>>,
    /// The file of the authorities that vouch for brokers; `None`: those of the system.
    pub(crate) authorities: Option<Setting<PathBuf>>,
}

/// A broker of NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    /// Whether the connection is encrypted.
    pub(crate) tls: bool,
    /// Its host, an IPv6 address without brackets.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Reads the file of secrets, which is of use without a cluster too, and the options of a cluster; `None` without a broker.
pub(super) fn read(
    reader: Reader<'_>,
    given: arguments::Cluster,
) -> Result<(Option<Setting<PathBuf>>, Option<ClusterOptions>), Refusal> {
    let secret = reader.filled(name::CLUSTER_SECRET, given.secret, A_FILE)?;
    let secret = secret.map(Text::into_setting);
    let brokers = reader.list(name::CLUSTER, given.brokers)?;
    let cluster = reader.text(name::CLUSTER_NAME, given.name);
    let node = reader.text(name::CLUSTER_NODE, given.node);
    let credentials = reader.filled(name::CLUSTER_CREDENTIALS, given.credentials, A_FILE)?;
    let authorities = reader.filled(name::CLUSTER_CA, given.authorities, A_FILE)?;
    let insecure = reader.switch(name::CLUSTER_INSECURE, given.insecure)?;
    let Some(source) = brokers.first().map(|broker| broker.source) else {
        for alone in [cluster, node, credentials, authorities].into_iter().flatten() {
            needs(Some(alone.source), &[name::CLUSTER], false)?;
        }
        return Ok((secret, None));
    };
    if !cfg!(feature = "cluster") {
        return Err(Refusal::NoCluster(source));
    }
    needs(Some(source), &[name::CLUSTER_SECRET], secret.is_some())?;
    let brokers = unlike(brokers, insecure)?;
    let options = ClusterOptions {
        brokers,
        cluster: cluster.map_or_else(|| Ok(ClusterName::nearest(CLUSTER_NAME_DEFAULT)), named)?,
        node: node.map(named).transpose()?,
        credentials: credentials.map(Text::into_setting),
        authorities: authorities.map(Text::into_setting),
    };
    Ok((secret, Some(options)))
}

/// The brokers, each once.
fn unlike(texts: Vec<Text>, insecure: bool) -> Result<Vec<Broker>, Refusal> {
    let mut brokers: Vec<Broker> = Vec::new();
    for text in texts {
        let broker = broker(&text)?;
        if !broker.tls && !insecure && !is_loopback(&broker.host) {
            return Err(Refusal::Insecure(text.source, broker.to_string()));
        }
        if brokers.contains(&broker) {
            return Err(text.refuse("given once, and it is given twice"));
        }
        brokers.push(broker);
    }
    Ok(brokers)
}

fn broker(text: &Text) -> Result<Broker, Refusal> {
    // What stands before an @ may be a password, which is not repeated.
    if text.value.contains('@') {
        return Err(Refusal::CredentialsInUrl(text.source));
    }
    let refuse = || text.clone().refuse(BROKER);
    let url: Uri = text.value.parse().map_err(|_| refuse())?;
    let tls = match url.scheme_str() {
        Some("nats") => false,
        Some("tls") => true,
        _ => return Err(refuse()),
    };
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
    let host = url.host().filter(|host| is_bare && !host.is_empty());
    let host = host.ok_or_else(refuse)?.trim_matches(['[', ']']).to_owned();
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let port = match url.port_u16() {
        Some(0) => return Err(refuse()),
        Some(port) => port,
        None if authority.ends_with(']') || !authority.contains(':') => PORT_DEFAULT,
        None => return Err(refuse()),
    };
    Ok(Broker { tls, host, port })
}

fn is_loopback(host: &str) -> bool {
    let ip = host.parse::<std::net::IpAddr>();
    ip.map_or(host == "localhost", |ip| ip.to_canonical().is_loopback())
}

fn named(text: Text) -> Result<ClusterName, Refusal> {
    ClusterName::new(&text.value).map_err(|_| text.refuse("1 to 63 letters, digits, - and _"))
}

/// The port of NATS.
const PORT_DEFAULT: u16 = 4222;
const A_FILE: &str = "the path of a file";
const BROKER: &str = "tls://HOST:PORT or nats://HOST:PORT, the broker of NATS; without a port 4222";
