//! Options of what stands between the tracker and its clients.

use std::net::IpAddr;
use std::str::FromStr as _;

use etracker_core::Config;
use etracker_core::config::{ExternalAddresses, PRIVATE_NETWORKS};
use etracker_core::ipnet::IpNet;
use etracker_core::proxy::{ClientHeader, Proxies};
use etracker_core::scope::Scope;

use super::arguments;
use super::name;
use super::network::network;
use super::reader::{Reader, Setting, Text};
use super::refusal::{Refusal, needs};
use crate::lists::ListFile;

/// Reads who may name clients and by what, and the external addresses. Gives the files that name trusted proxies.
pub(super) fn read(
    reader: Reader<'_>,
    config: Config,
    common: &arguments::Common,
    given: arguments::Behind,
) -> Result<(Config, Vec<ListFile>), Refusal> {
    let external = external(reader.list(name::EXTERNAL_ADDRESS, given.external_address)?)?;
    let config = match external {
        Some(external) => config.with_external_addresses(external),
        None => config,
    };
    let header = header(reader, common.x_forwarded_for, given.client_address_from)?;
    let protocol = reader.switch(name::PROXY_PROTOCOL, given.proxy_protocol)?;
    let trusted = reader.list(name::TRUSTED_PROXY, given.trusted_proxy)?;
    let is_needed = header.is_some() || protocol;
    needs(trusted.first().map(|text| text.source), NAMING, is_needed)?;
    if !is_needed {
        return Ok((config, Vec::new()));
    }
    let (networks, files) = networks_and_files(trusted)?;
    let proxies = Proxies::new(networks).with_header(header).with_protocol(protocol);
    Ok((config.with_proxies(proxies), files))
}

/// The field that names clients, if one does.
fn header(
    reader: Reader<'_>,
    x_forwarded_for: bool,
    named: Option<String>,
) -> Result<Option<ClientHeader>, Refusal> {
    let is_usual = reader.switch(name::X_FORWARDED_FOR, x_forwarded_for)?;
    let usual = is_usual.then_some(ClientHeader::X_FORWARDED_FOR);
    let Some(text) = reader.text(name::CLIENT_ADDRESS_FROM, named) else {
        return Ok(usual);
    };
    match ClientHeader::named(&text.value) {
        Ok(header) if usual.as_ref().is_some_and(|usual| *usual != header) => {
            let wanted = "X-Forwarded-For, as --x-forwarded-for is given too: give one of them";
            Err(text.refuse(wanted))
        }
        Ok(header) => Ok(Some(header)),
        Err(wanted) => Err(text.refuse(&wanted.to_string())),
    }
}

/// What is trusted: a path begins with a slash or a dot, all else is a network. What is named replaces the default.
fn networks_and_files(trusted: Vec<Text>) -> Result<(Vec<IpNet>, Vec<ListFile>), Refusal> {
    if trusted.is_empty() {
        return Ok((PRIVATE_NETWORKS.to_vec(), Vec::new()));
    }
    let is_path = |text: &Text| text.value.starts_with(['/', '.']);
    let (files, networks): (Vec<_>, Vec<_>) = trusted.into_iter().partition(is_path);
    let networks = networks.into_iter().map(|text| {
        let wanted = "a network like 10.0.0.0/8 or fc00::/7, an address, or the path of a file that begins with / or .";
        network(text, wanted)
    });
    let files = files.into_iter().map(Setting::into_setting).collect();
    Ok((networks.collect::<Result<_, _>>()?, files))
}

fn external(texts: Vec<Text>) -> Result<Option<ExternalAddresses>, Refusal> {
    if texts.is_empty() {
        return Ok(None);
    }
    let mut external = ExternalAddresses::default();
    for text in texts {
        let refuse = |wanted: &str| Err(text.clone().refuse(wanted));
        let is_first = match IpAddr::from_str(&text.value).map(|ip| ip.to_canonical()) {
            Err(_) => return refuse("an address like 203.0.113.7 or 2001:db8::7"),
            // Others cannot reach the tracker's network by an address that this network uses itself.
            Ok(ip) if Scope::of(ip) == Scope::Invalid || ExternalAddresses::are_for(ip) => {
                return refuse("an address by which others reach this network: this one is not");
            }
            Ok(IpAddr::V4(ip)) => external.v4.replace(ip).is_none(),
            Ok(IpAddr::V6(ip)) => external.v6.replace(ip).is_none(),
        };
        if !is_first {
            return refuse("one address of a family: there is one already");
        }
    }
    Ok(Some(external))
}

/// The options by which proxies name clients.
const NAMING: &[name::Name] = &[
    name::X_FORWARDED_FOR,
    name::CLIENT_ADDRESS_FROM,
    name::PROXY_PROTOCOL,
];
