//! HTTPS: judges the certificates that are served, and asks as a client does.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use etracker_runtime_common::Plain;
use etracker_tls::{Chain, Pair};
use etracker_tls_client::{Trust as Cas, explain, explain_io};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, CertificateError, ClientConnection, Error, StreamOwned};

use super::addresses::{bound, reachable};
use super::finding::{Finding, answer, fault, ok, warning};
use super::probe::{Probe, ProbeError, ProbeResult, Trust, at_once};
use crate::options::{Options, Setting};
use crate::steps::Ready;
use crate::tls::{Flaw, Renewed, summary};

/// The certificates of HTTPS.
#[derive(Debug, Default)]
pub(super) struct Https {
    served: Vec<Served>,
    /// Files that the tracker cannot read again, and why.
    unreadable: Vec<(Setting<PathBuf>, io::Error)>,
}

/// A certificate that is served, and where it comes from.
#[derive(Debug)]
struct Served {
    from: String,
    renewed: Renewed,
    pair: Pair,
}

/// A probe of one address by one name.
#[derive(Debug)]
pub(super) struct TlsTrip {
    at: SocketAddr,
    name: String,
    shaken: Result<Shaken, NoTls>,
}

/// What came of a handshake.
#[derive(Debug)]
struct Shaken {
    shown: Vec<CertificateDer<'static>>,
    asked: ProbeResult,
}

/// Why there was no handshake.
#[derive(Debug)]
enum NoTls {
    Unreached(ProbeError),
    Refused(String),
}

impl Https {
    /// The certificates that the steps of a start have read.
    pub(super) fn find(_: &Options, ready: &mut Ready) -> Self {
        let unreadable = std::mem::take(&mut ready.unreadable);
        let Some(files) = &ready.certificates else {
            return Self::default();
        };
        let of_files = files.pairs().into_iter().map(|(path, pair)| Served {
            from: path.display().to_string(),
            renewed: Renewed::ByHand,
            pair,
        });
        let issued = files.shared().0.of_domains().into_iter();
        let issued = issued.map(|(domain, pair)| Served {
            from: format!("ACME {domain}"),
            renewed: Renewed::ByAcme,
            pair,
        });
        let served = of_files.chain(issued).collect();
        Self { served, unreadable }
    }

    /// Asks at every address by the name of the first certificate, and at one address by the names of the others.
    pub(super) fn ask(&self, options: &Options, trust: Trust<'_>) -> Vec<TlsTrip> {
        let (Some(port), Ok(probe)) = (options.tls.port, Probe::new(trust)) else {
            return Vec::new();
        };
        let addresses = reachable(&bound(&options.listen));
        let at: Vec<_> = addresses.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        let names = |at: SocketAddr| self.served.iter().map(move |served| name(&served.pair, at));
        let everywhere = at
            .iter()
            .map(|&at| (at, names(at).next().unwrap_or_else(|| at.ip().to_string())));
        let others = at
            .iter()
            .take(1)
            .flat_map(|&at| names(at).skip(1).map(move |name| (at, name)));
        at_once(everywhere.chain(others), |(at, name)| TlsTrip {
            at,
            shaken: shake(probe, at, &name),
            name,
        })
    }
}

/// Reads the CAs of this system, which are read once: their files are not in a new root.
pub(super) fn find_cas(options: &Options) {
    if options.tls.port.is_some() {
        // Where there are none, certificates are told to be of unknown issuers.
        let _ = Cas::System.config(ALL_VERSIONS);
    }
}

/// Whether a tracker has answered.
pub(super) fn is_answered(trips: &[TlsTrip]) -> bool {
    let is_answered = |trip: &TlsTrip| trip.shaken.as_ref().is_ok_and(|shaken| shaken.asked.is_ok());
    trips.iter().any(is_answered)
}

/// A name that a client may ask for, or without any the address.
fn name(pair: &Pair, at: SocketAddr) -> String {
    match pair.facts().names.first() {
        Some(name) => name.replacen("*.", "any.", 1),
        None => at.ip().to_string(),
    }
}

/// Makes a handshake and announces.
fn shake(probe: Probe<'_>, at: SocketAddr, name: &str) -> Result<Shaken, NoTls> {
    let refused = |error: &dyn ToString| NoTls::Refused(error.to_string());
    let server = ServerName::try_from(name.to_owned()).map_err(|error| refused(&error))?;
    let config = Cas::Anyone
        .config(ALL_VERSIONS)
        .map_err(|error| refused(&error))?;
    let tls = ClientConnection::new(Arc::new(config), server);
    let tls = tls.map_err(|error| refused(&error))?;
    let stream = probe
        .connect(at)
        .map_err(|error| NoTls::Unreached(error.into()))?;
    let mut stream = StreamOwned::new(tls, stream);
    while stream.conn.is_handshaking() {
        match stream.conn.complete_io(&mut stream.sock) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(not_shaken(error)),
        }
    }
    let shown = stream.conn.peer_certificates().unwrap_or_default().to_vec();
    Ok(Shaken {
        shown,
        asked: probe.announce_over(&mut stream, at),
    })
}

fn not_shaken(error: io::Error) -> NoTls {
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
        return NoTls::Unreached(error.into());
    }
    NoTls::Refused(explain_io(&error))
}

/// Judges certificates and, if a tracker was asked, what came of that; nothing without HTTPS. `is_in_use`: the tracker is another
/// process.
pub(super) fn judge(https: &Https, trips: &[TlsTrip], is_asked: bool, is_in_use: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for served in &https.served {
        findings.extend(certificate(served, &trusted(&served.pair)));
    }
    findings.extend(
        https
            .unreadable
            .iter()
            .map(|(file, error)| unreadable(file, error)),
    );
    if is_asked {
        findings.extend(trips.iter().map(|trip| handshake(trip, https, is_in_use)));
    }
    findings
}

/// Whether clients with the CAs of this system believe the certificate, or why not.
fn trusted(pair: &Pair) -> Result<(), Error> {
    let name = pair.facts().names.first().map_or("", String::as_str);
    let name = ServerName::try_from(name.replacen("*.", "any.", 1));
    let name = name.map_err(|_| CertificateError::NotValidForName)?;
    Cas::System.check(pair.chain(), &name)
}

/// What a certificate is, and what is wrong with it, each by itself.
fn certificate(served: &Served, trusted: &Result<(), Error>) -> Vec<Finding> {
    let Served { from, renewed, pair } = served;
    let (about, facts) = ("certificate", pair.facts());
    // Without its issuer's it will do if that is a root that clients have.
    let is_whole = |flaw: &Flaw| matches!(flaw, Flaw::Chain(Chain::Alone)) && trusted.is_ok();
    let flaws = Flaw::all(facts, *renewed, SystemTime::now()).into_iter();
    let flaws: Vec<_> = flaws.filter(|flaw| !is_whole(flaw)).collect();
    let mut findings = Vec::new();
    if !flaws.iter().any(|flaw| flaw.is_fatal()) {
        findings.push(ok(about, format!("{from}: {}", summary(facts))));
    }
    // It follows from the flaws that are told already.
    let is_told = |flaw: &Flaw| flaw.is_fatal() || matches!(flaw, Flaw::Chain(_) | Flaw::Weak(_));
    if !flaws.iter().any(is_told) {
        findings.extend(distrust(from, facts.chain, trusted));
    }
    findings.extend(flaws.iter().map(|flaw| flaw.finding(from, *renewed)));
    findings
}

/// Why clients with the CAs of this system do not trust a certificate that is well in itself.
fn distrust(from: &str, chain: Chain, trusted: &Result<(), Error>) -> Option<Finding> {
    let about = "certificate";
    match trusted {
        Ok(()) => None,
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            Some(if chain == Chain::SelfSigned {
                warning(
                    about,
                    format!("{from}: self-signed: clients that were not given it refuse it"),
                    "one of a CA that clients know, as by --acme; nothing is to do where all clients have this one",
                )
            } else {
                warning(
                    about,
                    format!("{from}: this system has no CA that its chain leads to"),
                    "the whole chain (fullchain.pem); nothing is to do where all clients have been given the CA",
                )
            })
        }
        Err(error) => Some(warning(
            about,
            format!("{from}: {}", explain(error)),
            "another certificate: clients are as strict",
        )),
    }
}

fn unreadable(file: &Setting<PathBuf>, error: &io::Error) -> Finding {
    warning(
        "certificate",
        format!(
            "{}={}: {} for the user or in the root that serves: a renewed certificate takes a restart",
            file.source,
            file.value.display(),
            Plain(error)
        ),
        "have each renewal copy it to where the tracker can read it, as docs/https.md shows, or restart the tracker",
    )
}

fn handshake(trip: &TlsTrip, https: &Https, is_in_use: bool) -> Finding {
    let TlsTrip { at, name, .. } = trip;
    let about = format!("HTTPS {at}");
    match &trip.shaken {
        Err(NoTls::Unreached(error)) => answer("HTTPS", "tcp", *at, Err(error)),
        Err(NoTls::Refused(_)) if https.served.is_empty() && !is_in_use => warning(
            &about,
            "no certificate yet: clients are turned away until there is one",
            "start the tracker, which orders it; what is said of ACME is what may stand in its way",
        ),
        Err(NoTls::Refused(why)) => fault(&about, format!("no handshake as {name}: {why}"), LOOK),
        Ok(shaken) if is_other(shaken, https) => warning(
            &about,
            format!("the tracker shows {name} another certificate than the files hold"),
            "SIGHUP; its log says why it has not read them again",
        ),
        Ok(shaken) => {
            let found = answer("HTTPS", "tcp", *at, shaken.asked.as_ref());
            Finding {
                what: format!("{}, asked as {name}", found.what),
                ..found
            }
        }
    }
}

/// Whether what is shown is none of the certificates that were read.
fn is_other(shaken: &Shaken, https: &Https) -> bool {
    let shown = shaken.shown.first();
    let is_shown = |served: &Served| served.pair.chain().first() == shown;
    !https.served.is_empty() && !https.served.iter().any(is_shown)
}

const LOOK: &str = "openssl s_client -connect HOST:PORT -servername NAME shows more";
