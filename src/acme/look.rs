//! What doctor looks at before a directory does.

use std::net::{IpAddr, ToSocketAddrs as _};

use serde::Deserialize;

use super::Acme;

/// What can be seen from here of the way to a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The URL of the directory, and why it cannot be used, if it cannot.
    pub(crate) directory: (String, Result<(), String>),
    /// Where each name leads, or why it leads nowhere.
    pub(crate) names: Vec<(String, Result<Vec<IpAddr>, String>)>,
    /// Names whose certificate is kept and cannot be served, and why.
    pub(crate) unserved: Vec<(String, String)>,
    /// The port of TLS.
    pub(crate) tls_port: u16,
}

impl Acme {
    /// Asks the directory for its page, and the system for the addresses of each name.
    pub(crate) fn look(&self, tls_port: u16) -> Look {
        let url = self.options.directory.clone();
        let directory = self.ask();
        let names = self.options.domains.iter();
        Look {
            directory: (url, directory),
            names: names.map(|name| (name.clone(), addresses(name))).collect(),
            unserved: self.unserved.clone(),
            tls_port,
        }
    }

    fn ask(&self) -> Result<(), String> {
        let page = self
            .http
            .get(&self.options.directory)
            .map_err(|error| error.to_string())?;
        serde_json::from_slice::<Directory>(&page)
            .map(drop)
            .map_err(|_| "is no directory of ACME".to_owned())
    }
}

/// What every directory has (RFC 8555, section 7.1.1).
#[derive(Deserialize)]
struct Directory {
    #[serde(rename = "newOrder")]
    _new_order: String,
}

fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = (name, PORT)
        .to_socket_addrs()
        .map_err(|error| error.to_string())?;
    let mut found: Vec<_> = found.map(|at| at.ip()).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Where a directory looks for a proof (RFC 8737, section 3).
pub(crate) const PORT: u16 = 443;
