//! Reports to the operator on hidden clients.

use std::net::IpAddr;

use etracker_core::hidden_clients::{Cause, Finding};
use etracker_core::proxy::{ClientHeader, Proxies};
use etracker_core::{Config, Instant, Tracker};

/// A cause that hides clients, in words, with a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub(crate) finding: Finding,
    pub(crate) what: String,
    pub(crate) remedy: String,
}

impl Hidden {
    /// All causes now.
    pub(crate) fn all(now: Instant, tracker: &Tracker) -> Vec<Self> {
        let of = |finding| Self::of(finding, tracker.config());
        tracker.hidden_clients(now).into_iter().map(of).collect()
    }

    fn of(finding: Finding, config: &Config) -> Self {
        let Finding { cause, address, .. } = finding;
        let (what, remedy) = match cause {
            Cause::HeaderIgnored => (
                format!(
                    "announces come through a proxy{}, and its header that names clients (X-Forwarded-For or the like) is not heeded",
                    at(address)
                ),
                heed(address, config),
            ),
            Cause::HeaderMissing => (
                format!(
                    "trusted proxies send announces without a valid {}, which are refused",
                    named_by(config)
                ),
                format!(
                    "have the proxy send it{}, or let clients who come directly be in no --trusted-proxy",
                    sending(config)
                ),
            ),
            Cause::OneAddressHttp if finding.limited => (flood("HTTP"), LIMITED.to_owned()),
            Cause::OneAddressUdp if finding.limited => (flood("UDP"), LIMITED.to_owned()),
            Cause::OneAddressHttp => (most("HTTP", finding), through_http(finding, config)),
            Cause::OneAddressUdp => (most("UDP", finding), through_udp(finding)),
            Cause::AddressFull => (
                "peers of private addresses are refused, as too many have the same".to_owned(),
                format!("{UNTRANSLATED}; if they are one network behind a router, --peers-per-address 0"),
            ),
        };
        Self {
            finding,
            what,
            remedy,
        }
    }
}

fn at(address: Option<IpAddr>) -> String {
    address.map(|ip| format!(" at {ip}")).unwrap_or_default()
}

fn heed(address: Option<IpAddr>, config: &Config) -> String {
    let network = address.map_or_else(|| "NETWORK".to_owned(), |ip| ip.to_string());
    if config.proxies().is_some() {
        format!("--trusted-proxy {network} beside the others: who is named by it replaces the default list")
    } else {
        "--x-forwarded-for, and --trusted-proxy if the proxy has a global address".to_owned()
    }
}

/// What names the client.
fn named_by(config: &Config) -> &str {
    let proxies = config.proxies();
    if proxies.is_some_and(Proxies::protocol) {
        return "header of the PROXY protocol";
    }
    proxies
        .and_then(Proxies::header)
        .map_or("X-Forwarded-For", ClientHeader::name)
}

/// How proxies that are in use send it.
fn sending(config: &Config) -> &'static str {
    let proxies = config.proxies();
    if proxies.is_some_and(Proxies::protocol) {
        " (haproxy: send-proxy-v2; nginx: proxy_protocol on)"
    } else if proxies.and_then(Proxies::header) == Some(&ClientHeader::X_FORWARDED_FOR) {
        " (nginx: proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for)"
    } else {
        ""
    }
}

fn most(protocol: &str, finding: Finding) -> String {
    let address = finding
        .address
        .map_or_else(|| "one address".to_owned(), |ip| ip.to_string());
    format!("most announces over {protocol} come from {address}")
}

fn flood(protocol: &str) -> String {
    format!("most announces over {protocol} come from one address, which is over its limit")
}

fn through_http(finding: Finding, config: &Config) -> String {
    if finding.ordinary {
        return IN_ORDER.to_owned();
    }
    let (name, heed) = (named_by(config), heed(finding.address, config));
    format!("if a proxy stands there, have it send {name}, and give {heed}; else {UNTRANSLATED}")
}

fn through_udp(finding: Finding) -> String {
    if finding.ordinary {
        return IN_ORDER.to_owned();
    }
    format!("{UNTRANSLATED}; a proxy tells clients over UDP by the PROXY protocol alone (--proxy-protocol)")
}

const LIMITED: &str = "nothing, as it is limited: --deny-address shuts it out, --limit-exempt lets it in if it stands for many clients";
const IN_ORDER: &str = "nothing, if the clients are there";
const UNTRANSLATED: &str = "let packets in with their own source address (a container: host network, or no userland proxy and no masquerading inwards)";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cause: Cause, address: Option<[u8; 4]>, config: &Config) -> Hidden {
        let finding = Finding {
            cause,
            since: Instant::default(),
            address: address.map(IpAddr::from),
            ordinary: false,
            limited: false,
        };
        Hidden::of(finding, config)
    }

    #[test]
    fn a_source_over_its_limit_is_not_said_to_be_a_proxy() {
        for cause in [Cause::OneAddressHttp, Cause::OneAddressUdp] {
            let finding = Finding {
                limited: true,
                ..told(cause, None, &Config::default()).finding
            };
            let hidden = Hidden::of(finding, &Config::default());
            assert!(hidden.what.contains("over its limit"), "{hidden:?}");
            let said = hidden.what + &hidden.remedy;
            assert!(
                !said.contains("proxy") && said.contains("--deny-address"),
                "{said}"
            );
        }
    }

    #[test]
    fn an_ignored_header_names_the_option_that_is_missing() {
        let plain = told(Cause::HeaderIgnored, Some([127, 0, 0, 1]), &Config::default());
        assert!(plain.what.contains("a proxy at 127.0.0.1"), "{plain:?}");
        assert!(plain.remedy.starts_with("--x-forwarded-for"), "{plain:?}");
        let replaced = Config::default().with_trusted_proxies(vec!["172.64.0.0/13".parse().unwrap()]);
        let replaced = told(Cause::HeaderIgnored, Some([127, 0, 0, 1]), &replaced);
        assert!(
            replaced.remedy.starts_with("--trusted-proxy 127.0.0.1"),
            "{replaced:?}"
        );
    }

    #[test]
    fn every_cause_has_something_to_do() {
        for cause in Cause::ALL {
            let hidden = told(cause, None, &Config::default());
            assert!(!hidden.what.is_empty() && !hidden.remedy.is_empty(), "{hidden:?}");
        }
    }
}
