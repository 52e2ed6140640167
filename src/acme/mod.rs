//! Certificates from an ACME directory (RFC 8555), which a thread orders and renews.

mod authorities;
mod client;
mod error;
mod folder;
mod http;
mod look;
mod schedule;

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use etracker_runtime_common::Control;
use etracker_tls::{Certificates, Pair};
use jiff::{Timestamp, Unit};
use tracing::{info, warn};

pub(crate) use authorities::Authorities;
use client::Client;
use error::AcmeError;
pub(crate) use error::AcmeStartError;
use folder::Folder;
use http::Http;
pub(crate) use look::{Look, PORT};

use crate::options::AcmeOptions;
use crate::renewals::{Renewal, Renewals};
use crate::terminal::{Tell, say};
use crate::tls;

/// What orders and renews certificates.
#[derive(Debug)]
pub(crate) struct Acme {
    options: AcmeOptions,
    folder: Folder,
    http: Http,
    certificates: Arc<Certificates>,
    /// In the order of the options.
    renewals: Vec<Renewal>,
    /// Names whose certificate is kept and cannot be served, and why.
    unserved: Vec<(String, String)>,
    shown: Renewals,
}

impl Acme {
    /// Checks, without changing anything, that certificates can be kept, and serves those that are there.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub(crate) fn find(
        options: &AcmeOptions,
        authorities: &Authorities,
        certificates: tls::Certificates,
        tell: Tell<'_>,
    ) -> Result<Self, AcmeStartError> {
        let folder = Folder::find(options)?;
        let certificates = certificates.0;
        let now = SystemTime::now();
        let mut unserved = Vec::new();
        let renewals = options.domains.iter().map(|domain| {
            let kept = serve_kept(&folder, domain, &certificates);
            tell_kept(domain, &kept, tell);
            if let Err(error) = &kept {
                unserved.push((domain.clone(), error.to_string()));
            }
            Renewal::new(now, domain.clone(), kept.ok().flatten().as_ref())
        });
        let renewals = renewals.collect();
        let acme = Self {
            options: options.clone(),
            renewals,
            unserved,
            folder,
            http: Http::new(authorities),
            certificates,
            shown: Renewals::default(),
        };
        acme.show();
        Ok(acme)
    }

    /// What is known of each name, now and later.
    pub(crate) fn renewals(&self) -> Renewals {
        self.shown.clone()
    }

    /// Makes the folder, and starts the thread that orders and renews certificates until the tracker stops.
    ///
    /// # Errors
    /// The folder cannot be made or written, or the system has no more threads.
    pub(crate) fn start(mut self, control: &Control) -> Result<(), AcmeStartError> {
        self.folder.make()?;
        let (sender, stopped) = channel::<()>();
        control.on_change(move || {
            // An error means that the thread has ended already.
            let _ = sender.send(());
        });
        thread::Builder::new()
            .name("acme".to_owned())
            .spawn(move || self.run(&stopped))
            .map(drop)
            .map_err(AcmeStartError::Thread)
    }

    /// Nobody waits for this thread: the process may end while a request is under way, as files are replaced at once.
    fn run(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(self.idle()) == Err(RecvTimeoutError::Timeout) {
            for index in 0..self.renewals.len() {
                self.look_after(index);
            }
        }
    }

    /// Until something is due; never long, as the clock may be set meanwhile.
    fn idle(&self) -> Duration {
        let now = SystemTime::now();
        let next = self.renewals.iter().map(|renewal| renewal.next).min();
        let until = next.and_then(|next| next.duration_since(now).ok());
        until.unwrap_or_default().min(LOOK)
    }

    /// Asks for the certificate of one name if that is due.
    fn look_after(&mut self, index: usize) {
        let due = self
            .renewals
            .get(index)
            .filter(|renewal| renewal.next <= SystemTime::now());
        let Some(domain) = due.map(|renewal| renewal.domain.clone()) else {
            return;
        };
        let outcome = self.obtain(&domain);
        let Some(renewal) = self.renewals.get_mut(index) else {
            return;
        };
        note(renewal, SystemTime::now(), outcome);
        self.show();
    }

    fn obtain(&self, domain: &str) -> Result<Range<SystemTime>, AcmeError> {
        let client = Client {
            options: &self.options,
            folder: &self.folder,
            http: &self.http,
            certificates: &self.certificates,
        };
        let pem = client.obtain(domain)?;
        let valid = serve(domain, &pem, &self.certificates)?;
        // After it is served: a full disk keeps it from the next start, not from clients.
        if let Err(error) = self.folder.keep_certificate(domain, &pem) {
            warn!(domain, %error, "ACME: the certificate is served, and not kept");
        }
        Ok(valid)
    }

    fn show(&self) {
        self.shown.with(|shown| shown.clone_from(&self.renewals));
    }
}

/// Notes and logs how an attempt ended.
fn note(renewal: &mut Renewal, now: SystemTime, outcome: Result<Range<SystemTime>, AcmeError>) {
    let domain = renewal.domain.clone();
    match outcome {
        Ok(valid) => {
            renewal.succeeded(now, &valid);
            let (until, next) = (seconds(valid.end), seconds(renewal.next));
            say(format_args!(
                "ACME: {domain} has a certificate until {until}; the next one is ordered at {next}"
            ));
            info!(domain, %until, %next, "ACME: there is a new certificate");
        }
        Err(error) => {
            let next_try_secs = renewal.failed(now, &error).as_secs();
            warn!(domain, %error, next_try_secs, "ACME: there is no new certificate");
        }
    }
}

/// Serves the certificate that is kept, if there is one, and gives its validity.
fn serve_kept(
    folder: &Folder,
    domain: &str,
    certificates: &Certificates,
) -> Result<Option<Range<SystemTime>>, AcmeError> {
    let kept = folder.certificate(domain)?;
    kept.map(|pem| serve(domain, &pem, certificates)).transpose()
}

/// Tells what is kept. A bad certificate counts as none.
fn tell_kept(domain: &str, kept: &Result<Option<Range<SystemTime>>, AcmeError>, tell: Tell<'_>) {
    match kept {
        Ok(None) => tell(&format_args!("ACME: {domain} has no certificate yet")),
        Ok(Some(valid)) => tell(&format_args!(
            "ACME: {domain} has a certificate until {}",
            seconds(valid.end)
        )),
        Err(error) => tell(&format_args!(
            "ACME: {domain} has no certificate that can be served: {error}"
        )),
    }
}

/// Serves a certificate, from its key and chain in PEM. Returns its validity.
fn serve(domain: &str, pem: &str, certificates: &Certificates) -> Result<Range<SystemTime>, AcmeError> {
    let pair = Pair::from_pem(pem.as_bytes(), pem.as_bytes()).map_err(AcmeError::Certificate)?;
    let facts = pair.facts();
    if !facts.is_for(domain) {
        return Err(AcmeError::OtherName(facts.names.join(", ")));
    }
    let valid = facts.not_before..facts.not_after;
    certificates.replace_domain(domain, pair);
    Ok(valid)
}

/// A time to the second.
fn seconds(time: SystemTime) -> Timestamp {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    time.round(Unit::Second).unwrap_or(time)
}

/// The longest time between two looks at the clock.
const LOOK: Duration = Duration::from_secs(60);
