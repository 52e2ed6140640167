//! Options of certificates from an ACME directory.

use std::path::{Path, PathBuf};

use super::arguments;
use super::name;
use super::ranges::HOST_LEN_MAX;
use super::reader::{Reader, Setting, Text};
use super::refusal::{Refusal, needs};
use crate::files;

/// The options of certificates from an ACME directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcmeOptions {
    /// The names to get a certificate for, one each, in lower case. Invariant: at least one, none twice.
    pub(crate) domains: Vec<String>,
    /// The e-mail address that the directory may write to.
    pub(crate) contact: Option<String>,
    /// The URL of the directory.
    pub(crate) directory: String,
    /// The folder of accounts and certificates.
    pub(crate) folder: PathBuf,
    /// The file of the authorities that vouch for the directory; `None`: the public ones.
    pub(crate) authorities: Option<Setting<PathBuf>>,
}

/// Reads the options; `None` without a domain. `state` is the state file: the default folder is beside it.
pub(super) fn read(
    reader: Reader<'_>,
    given: arguments::Acme,
    tls_port: bool,
    state: Option<&Path>,
) -> Result<Option<AcmeOptions>, Refusal> {
    let domains = reader.list(name::ACME, given.domains)?;
    let contact = reader.text(name::ACME_CONTACT, given.contact);
    let directory = reader.text(name::ACME_DIRECTORY, given.directory);
    let folder = reader.filled(name::ACME_STATE, given.state, "the path of a folder")?;
    let authorities = reader.filled(name::ACME_CA, given.authorities, "the path of a file")?;
    let Some(source) = domains.first().map(|domain| domain.source) else {
        for alone in [contact, directory, folder, authorities].into_iter().flatten() {
            needs(Some(alone.source), &[name::ACME], false)?;
        }
        return Ok(None);
    };
    if !cfg!(feature = "acme") {
        return Err(Refusal::NoAcme(source));
    }
    needs(Some(source), &[name::TLS_PORT], tls_port)?;
    Ok(Some(AcmeOptions {
        domains: unlike(domains)?,
        contact: contact.map(mailbox).transpose()?,
        directory: directory.map_or_else(|| Ok(PRODUCTION.to_owned()), url)?,
        folder: folder.map_or_else(|| folder_default(state), |folder| folder.value.into()),
        authorities: authorities.map(Setting::into_setting),
    }))
}

/// The names, each once.
fn unlike(texts: Vec<Text>) -> Result<Vec<String>, Refusal> {
    let mut domains: Vec<String> = Vec::new();
    for text in texts {
        let domain = text.value.to_ascii_lowercase();
        if !is_domain(&domain) {
            return Err(text.refuse(DOMAIN));
        }
        if domains.contains(&domain) {
            return Err(text.refuse("given once, and it is given twice"));
        }
        domains.push(domain);
    }
    Ok(domains)
}

/// Whether this is the name of a host (RFC 1123, section 2.1), which no address is: its last label is no number.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= HOST_LEN_MAX
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number)
}

/// An e-mail address, as far as a directory cannot take it for something else: one recipient, without parameters (RFC 8555,
/// section 7.3).
fn mailbox(text: Text) -> Result<String, Refusal> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b",?%<>\"".contains(&byte);
    let is_mailbox = text
        .value
        .split_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if is_mailbox && text.value.len() <= MAILBOX_LEN_MAX && text.value.bytes().all(is_plain) {
        Ok(text.value)
    } else {
        Err(text.refuse("one e-mail address, such as admin@example.org"))
    }
}

/// The URL of a directory, or of one of Let's Encrypt by its name.
fn url(text: Text) -> Result<String, Refusal> {
    match text.value.as_str() {
        "production" => return Ok(PRODUCTION.to_owned()),
        "staging" => return Ok(STAGING.to_owned()),
        _ => {}
    }
    let parsed = text.value.parse::<http::Uri>();
    let is_https = |url: &http::Uri| url.scheme_str() == Some("https") && url.host().is_some();
    match parsed {
        Ok(url) if is_https(&url) => Ok(text.value),
        _ => Err(text.refuse("production, staging (of Let's Encrypt), or a URL that begins with https://")),
    }
}

fn folder_default(state: Option<&Path>) -> PathBuf {
    let folder = state.map_or_else(|| Path::new(FOLDER_DEFAULT), files::folder);
    folder.join("acme")
}

/// The directory of Let's Encrypt.
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Its directory for trials, whose certificates nobody trusts.
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
/// Where `acme` is without a state file.
const FOLDER_DEFAULT: &str = "/var/lib/etracker";
/// Bytes of one label of a name (RFC 1035, section 2.3.4).
const LABEL_LEN_MAX: usize = 63;
/// Bytes of an e-mail address (RFC 5321, section 4.5.3.1).
const MAILBOX_LEN_MAX: usize = 254;
const DOMAIN: &str = "the name of a host such as tracker.example.org: no address, no wildcard, no port; other alphabets as xn--";
