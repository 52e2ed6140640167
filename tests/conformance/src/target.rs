//! Where the target is, and what the caller told about its configuration.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    time::Duration,
};

use crate::plain;
use etracker_tls_client::Trust;
use rustls::pki_types::ServerName;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// An announce URL, taken apart and resolved.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The URL as it was given.
    pub url: String,
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// Over TLS.
    pub(crate) secure: bool,
}

impl Endpoint {
    /// Takes apart `http://host:port/announce?key=value`, the same with `https`, or `udp://host:port`.
    ///
    /// # Errors
    /// A line that says what is wrong with the URL: another scheme, a name without an address of the family.
    pub fn parse(url: &str, scheme: &str, v6: bool) -> Result<Self, String> {
        let after = |scheme: &str| url.strip_prefix(scheme)?.strip_prefix("://");
        let secured = after("https").filter(|_| scheme == "http");
        let rest = secured.or_else(|| after(scheme));
        let rest = rest.ok_or_else(|| format!("`{url}` should begin with {scheme}://"))?;
        let scheme = if secured.is_some() { "https" } else { scheme };
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(at);
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(path, query)| (path, Some(query)));
        let path = if path.is_empty() || path == "/" {
            "/announce"
        } else {
            path
        };
        let address = resolve(host, scheme, v6).map_err(|why| format!("`{url}`: {why}"))?;
        Ok(Self {
            url: url.to_owned(),
            address,
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            secure: secured.is_some(),
        })
    }

    /// The name that the target's certificate must hold.
    pub(crate) fn name(&self) -> ServerName<'static> {
        let host = self
            .host
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok());
        let host = host.map_or(self.host.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        ServerName::try_from(host).unwrap_or_else(|_| self.address.ip().into())
    }

    /// The scrape path: `announce` at the start of the last part replaced (BEP 48).
    pub(crate) fn scrape_path(&self) -> Option<String> {
        let slash = self.path.rfind('/')?;
        let (folder, last) = self.path.split_at(slash + 1);
        last.strip_prefix("announce")
            .map(|suffix| format!("{folder}scrape{suffix}"))
    }
}

fn resolve(host: &str, scheme: &str, v6: bool) -> Result<SocketAddr, String> {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = match (has_port, scheme) {
        (true, _) => host.to_owned(),
        (false, "http") => format!("{host}:80"),
        (false, "https") => format!("{host}:443"),
        (false, _) => return Err("a UDP tracker needs a port".to_owned()),
    };
    let family = if v6 { "IPv6" } else { "IPv4" };
    let mut addresses = with_port.to_socket_addrs().map_err(|error| plain(&error))?;
    addresses
        .find(|address| address.is_ipv6() == v6)
        .ok_or_else(|| format!("no {family} address"))
}

/// A run: the target's URLs, what is known of its configuration, and how patient to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--http`: the announce URL over IPv4.
    pub http: Option<Endpoint>,
    /// `--http6`: the announce URL over IPv6.
    pub http6: Option<Endpoint>,
    /// `--udp`: the UDP URL over IPv4.
    pub udp: Option<Endpoint>,
    /// `--udp6`: the UDP URL over IPv6.
    pub udp6: Option<Endpoint>,
    /// Whose certificates are believed of https:// URLs.
    pub trust: Trust,
    /// Run the checks that wait for a minute or more.
    pub slow: bool,
    /// Checks side by side.
    pub jobs: usize,
    /// How long an answer may take.
    pub patience: Duration,
    /// Every wait of a slow check is divided by this: for a target whose clock runs so much faster.
    pub hurry: u32,
    /// What the caller told about the target's configuration.
    pub told: Told,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http: None,
            http6: None,
            udp: None,
            udp6: None,
            trust: Trust::default(),
            slow: false,
            jobs: 16,
            patience: Duration::from_secs(3),
            hurry: 1,
            told: Told::default(),
        }
    }
}

impl Settings {
    /// The HTTP endpoint of a family.
    pub(crate) fn http_of(&self, family: Family) -> Option<&Endpoint> {
        match family {
            Family::V4 => self.http.as_ref(),
            Family::V6 => self.http6.as_ref(),
        }
    }

    /// The HTTP endpoint that checks use which do not care for the family.
    pub(crate) fn first_http(&self) -> Option<&Endpoint> {
        self.http.as_ref().or(self.http6.as_ref())
    }

    /// The UDP endpoint of a family.
    pub(crate) fn udp_of(&self, family: Family) -> Option<&Endpoint> {
        match family {
            Family::V4 => self.udp.as_ref(),
            Family::V6 => self.udp6.as_ref(),
        }
    }

    /// Whether every IPv4 URL is on the loopback network, so that any of its addresses can be a source.
    pub(crate) fn many_sources(&self) -> bool {
        let mut given = [&self.http, &self.udp].into_iter().flatten().peekable();
        given.peek().is_some() && given.all(|endpoint| endpoint.address.ip().is_loopback())
    }

    /// The URLs that were given.
    pub(crate) fn urls(&self) -> Vec<(&'static str, &Endpoint)> {
        let all = [
            ("http", &self.http),
            ("http6", &self.http6),
            ("udp", &self.udp),
            ("udp6", &self.udp6),
        ];
        all.into_iter()
            .filter_map(|(name, endpoint)| Some((name, endpoint.as_ref()?)))
            .collect()
    }
}

/// What a URL cannot tell: how the target is configured, and where its files and process are.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The target forgets a peer after this time.
    pub peer_ttl: Option<Duration>,
    /// The target takes the client's address from this header when the suite sends it (A-59, A-60, F-03).
    pub proxy_header: Option<String>,
    /// The target honours `ip=` from the suite's address.
    pub trusts_ip: bool,
    /// A hash that the target refuses (L-01..L-03, S-14, E-04).
    pub denied_hash: Option<[u8; 20]>,
    /// A v2 hash, all 32 bytes of which stand in the target's deny list (2-04).
    pub denied_v2: Option<[u8; 32]>,
    /// An announce URL with a wrong or expired passkey (L-09).
    pub denied_url: Option<Endpoint>,
    /// An announce URL of another realm than the main one (L-11).
    pub realm_url: Option<Endpoint>,
    /// A loopback source address that the target refuses (L-12).
    pub denied_source: Option<IpAddr>,
    /// The beginning of a peer id that the target refuses (L-14).
    pub blocked_client: Option<String>,
    /// Announces that the target takes of one address before it limits (L-13, E-05).
    pub rate_limit: Option<usize>,
    /// The target's deny list, to be rewritten by the suite (L-04..L-06, L-08).
    pub deny_list: Option<PathBuf>,
    /// The target's allow list, to be rewritten by the suite (L-07).
    pub allow_list: Option<PathBuf>,
    /// A shell command that makes the target read its lists again.
    pub reload: Option<String>,
    /// A shell command that restarts the target and returns when it serves (U-12, S-15).
    pub restart: Option<String>,
    /// The target's log, to be searched for secrets (L-10).
    pub log: Option<PathBuf>,
    /// The target's process, whose memory and descriptors are watched through /proc.
    pub pid: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn urls_are_taken_apart() {
        let url = Endpoint::parse("http://127.0.0.1:6969/key/announce.php?pass=1", "http", false).unwrap();
        assert_eq!(
            (url.path.as_str(), url.query.as_deref()),
            ("/key/announce.php", Some("pass=1"))
        );
        assert_eq!(url.scrape_path().as_deref(), Some("/key/scrape.php"));
        let url = Endpoint::parse("udp://[::1]:6969", "udp", true).unwrap();
        assert_eq!((url.address.port(), url.path.as_str()), (6969, "/announce"));
        let url = Endpoint::parse("https://127.0.0.1", "http", false).unwrap();
        assert!(url.secure && url.address.port() == 443);
        let url = Endpoint::parse("https://[::1]:6969/announce", "http", true).unwrap();
        assert_eq!(url.name().to_str(), "::1");
        let url = Endpoint::parse("https://localhost:6969/announce", "http", false).unwrap();
        assert_eq!(url.name().to_str(), "localhost");
        assert!(Endpoint::parse("https://127.0.0.1:1", "udp", false).is_err());
        assert!(Endpoint::parse("udp://127.0.0.1:6969", "http", false).is_err());
        assert!(Endpoint::parse("udp://127.0.0.1", "udp", false).is_err());
        assert!(Endpoint::parse("udp://127.0.0.1:1", "udp", true).is_err());
    }

    #[test]
    fn without_announce_in_the_last_part_there_is_no_scrape() {
        let url = Endpoint::parse("http://127.0.0.1:6969/announce/x", "http", false).unwrap();
        assert_eq!(url.scrape_path(), None);
    }
}
