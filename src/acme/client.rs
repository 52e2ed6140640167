//! A certificate for a name, from an order to its chain (RFC 8555, section 7.4), proven by TLS-ALPN-01 (RFC 8737).
//!
//! `instant-acme` speaks the protocol, and `ureq` carries its requests: 18 packages beside those of TLS. `rustls-acme` takes 24, and
//! does not fit: it asks again a second after a refusal, which has a directory lock the tracker out, has no timeout, and does not
//! repeat a request whose nonce is rejected. All of it blocks, on a thread of its own.

use std::thread::sleep;
use std::time::{Duration, Instant};

use etracker_tls::{Certificates, Pair};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::error::AcmeError;
use super::folder::{Folder, StoredAccount};
use super::http::Http;
use crate::options::AcmeOptions;

/// What a certificate is ordered with.
pub(super) struct Client<'a> {
    pub(super) options: &'a AcmeOptions,
    pub(super) folder: &'a Folder,
    pub(super) http: &'a Http,
    pub(super) certificates: &'a Certificates,
}

impl Client<'_> {
    /// Orders a certificate for `domain`. Returns its key and chain in PEM. Takes at most [`READY_WITHIN`] twice, and the time of
    /// some twenty requests.
    ///
    /// # Errors
    /// The directory cannot be reached, or refuses.
    pub(super) fn obtain(&self, domain: &str) -> Result<String, AcmeError> {
        // Nothing in it waits but for the requests, and these block.
        pollster::block_on(self.order(domain))
    }

    async fn order(&self, domain: &str) -> Result<String, AcmeError> {
        let identifiers = [Identifier::Dns(domain.to_owned())];
        let wanted = NewOrder::new(&identifiers);
        let account = self.account().await?;
        let mut order = match account.new_order(&wanted).await.map_err(AcmeError::from) {
            // The directory has been set up anew, or the account was deleted.
            Err(error) if error.is_unknown_account() => self.register().await?.new_order(&wanted).await?,
            order => order?,
        };
        let challenge = self.prove(&mut order, domain).await?;
        ready(&mut order).await?;
        drop(challenge);
        let key = order.finalize().await?;
        Ok(key + &chain(&mut order).await?)
    }

    /// The account of the folder, or a new one: also for another contact, as the directory knows the one that it was made with.
    async fn account(&self) -> Result<Account, AcmeError> {
        let stored = self.folder.account()?;
        let Some(stored) = stored.filter(|stored| stored.contact == self.options.contact) else {
            return self.register().await;
        };
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        Ok(builder.from_credentials(stored.credentials).await?)
    }

    /// Makes an account, and keeps it.
    async fn register(&self) -> Result<Account, AcmeError> {
        let mailbox = self.options.contact.as_ref();
        let contact = mailbox.map(|mailbox| format!("mailto:{mailbox}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let wanted = NewAccount {
            contact: &contact,
            // --acme is the operator's agreement, as docs/https.md says.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let directory = self.options.directory.clone();
        let (account, credentials) = builder.create(&wanted, directory, None).await?;
        self.folder.keep_account(&StoredAccount {
            contact: self.options.contact.clone(),
            credentials,
        })?;
        Ok(account)
    }

    /// Serves the proof that this tracker has the name, and tells the directory to look.
    async fn prove(&self, order: &mut Order, domain: &str) -> Result<Option<Challenge<'_>>, AcmeError> {
        let mut served = None;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
            let mut challenge = challenge.ok_or(AcmeError::NoChallenge)?;
            let proof = proof(domain, challenge.key_authorization().digest().as_ref())?;
            served = Some(Challenge::serve(self.certificates, domain, proof));
            challenge.set_ready().await?;
        }
        Ok(served)
    }
}

/// The proof that is served for a name, until it is dropped.
#[derive(Debug)]
struct Challenge<'a> {
    certificates: &'a Certificates,
    domain: String,
}

impl<'a> Challenge<'a> {
    fn serve(certificates: &'a Certificates, domain: &str, proof: Pair) -> Self {
        certificates.set_challenge(domain, Some(proof));
        let domain = domain.to_owned();
        Self { certificates, domain }
    }
}

impl Drop for Challenge<'_> {
    fn drop(&mut self) {
        self.certificates.set_challenge(&self.domain, None);
    }
}

/// The certificate that proves the name (RFC 8737, section 3), with its key.
fn proof(domain: &str, digest: &[u8]) -> Result<Pair, AcmeError> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Pair::for_challenge(certificate, key.into()).map_err(AcmeError::Certificate)
}

/// Waits until the directory has seen the proof.
async fn ready(order: &mut Order) -> Result<(), AcmeError> {
    let mut patience = Patience::new();
    loop {
        match order.refresh().await?.status {
            OrderStatus::Ready | OrderStatus::Valid => return Ok(()),
            OrderStatus::Invalid => return Err(refusal(order).await),
            OrderStatus::Pending | OrderStatus::Processing => patience.wait()?,
        }
    }
}

/// Waits until the certificate is there.
async fn chain(order: &mut Order) -> Result<String, AcmeError> {
    let mut patience = Patience::new();
    loop {
        match order.certificate().await? {
            Some(chain) => return Ok(chain),
            None => patience.wait()?,
        }
    }
}

/// Why the directory has not seen the proof.
async fn refusal(order: &mut Order) -> AcmeError {
    let of_order = order.state().error.clone();
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let mut challenges = authorization.challenges.iter();
        if let Some(problem) = challenges.find_map(|challenge| challenge.error.clone()) {
            return AcmeError::Unproven(Some(problem));
        }
    }
    AcmeError::Unproven(of_order)
}

/// Pauses between questions, each twice the one before.
struct Patience {
    began: Instant,
    pause: Duration,
}

impl Patience {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            pause: PAUSE_MIN,
        }
    }

    fn wait(&mut self) -> Result<(), AcmeError> {
        if self.began.elapsed() > READY_WITHIN {
            return Err(AcmeError::Late);
        }
        sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

/// How long a directory may take to look at a proof, and to issue a certificate. Let's Encrypt takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// The first pause between questions.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_a_certificate_for_the_name_and_its_key() {
        let proof = proof("tracker.example", &[7; 32]).unwrap();
        assert!(proof.facts().is_for("tracker.example"));
    }
}
