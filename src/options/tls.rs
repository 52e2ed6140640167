//! Options of HTTPS.

use std::path::PathBuf;

use super::arguments;
use super::name;
use super::ranges::PORTS;
use super::reader::{Reader, Setting};
use super::refusal::{Refusal, needs};

/// The options of HTTPS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    /// The port, if HTTPS is served.
    pub(crate) port: Option<u16>,
    /// The files of each certificate.
    pub(crate) pairs: Vec<PairFiles>,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairFiles {
    /// The certificate and its chain.
    pub(crate) chain: Setting<PathBuf>,
    /// The key.
    pub(crate) key: Setting<PathBuf>,
}

/// Reads the options. `by_acme`: whether certificates come from a directory.
pub(super) fn read(reader: Reader<'_>, given: arguments::Tls, by_acme: bool) -> Result<TlsOptions, Refusal> {
    let port = reader.number(name::TLS_PORT, given.port, PORTS)?;
    let chains = reader.list(name::TLS_CERT, given.cert)?;
    let keys = reader.list(name::TLS_KEY, given.key)?;
    let source = |list: &[Setting<String>]| list.first().map(|text| text.source);
    if let Some(text) = chains.iter().chain(&keys).find(|text| text.value.is_empty()) {
        return Err(text.clone().refuse("the path of a file"));
    }
    needs(source(&chains), &[name::TLS_PORT], port.is_some())?;
    needs(source(&keys), &[name::TLS_CERT], !chains.is_empty())?;
    needs(source(&chains), &[name::TLS_KEY], !keys.is_empty())?;
    let port_source = port.as_ref().map(|port| port.source);
    needs(port_source, CERTIFYING, !chains.is_empty() || by_acme)?;
    if let (Some(cert), Some(key)) = (source(&chains), source(&keys))
        && chains.len() != keys.len()
    {
        return Err(Refusal::Unpaired {
            certs: (cert, chains.len()),
            keys: (key, keys.len()),
        });
    }
    if let Some(source) = port_source
        && !cfg!(feature = "tls")
    {
        return Err(Refusal::NoTls(source));
    }
    let pairs = chains.into_iter().zip(keys).map(|(chain, key)| PairFiles {
        chain: chain.into_setting(),
        key: key.into_setting(),
    });
    Ok(TlsOptions {
        port: port.map(|port| port.value),
        pairs: pairs.collect(),
    })
}

/// The options that certificates come from in this build.
const CERTIFYING: &[name::Name] = if cfg!(feature = "acme") {
    &[name::TLS_CERT, name::ACME]
} else {
    &[name::TLS_CERT]
};
