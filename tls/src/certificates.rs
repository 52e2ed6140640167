//! The certificates that are served.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::Pair;
use crate::provider::{provider, ticketer};

/// The certificates that are served, and all that handshakes share. Each handshake takes the certificate that is there by then;
/// sessions are resumed by tickets, whichever worker made them, also after certificates were replaced.
#[derive(Debug)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    served: Arc<Served>,
}

/// The keys of tickets could not be made: the system gives no random bytes, or its cryptography fails.
#[derive(Clone, Debug)]
pub struct TlsError(rustls::Error);

impl Certificates {
    /// Serves these pairs. A client that names no server, or one that is unknown, gets the first one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(pairs: Vec<Pair>) -> Result<Self, TlsError> {
        let served = Arc::new(Served::default());
        let resolver = Arc::clone(&served);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![HTTP.to_vec(), CHALLENGE.to_vec()];
        // Clients put the longest keys first, whatever they cost here.
        config.ignore_client_order = true;
        config.ticketer = ticketer().map_err(TlsError)?;
        // Clients resume one session at a time: a second ticket would only be paid for.
        config.send_tls13_tickets = 1;
        // Tickets need no memory here, and are good at every worker.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let certificates = Self {
            config: Arc::new(config),
            served,
        };
        certificates.replace(pairs);
        Ok(certificates)
    }

    /// Serves these pairs from now on instead of those given to [`new`](Self::new). Those of
    /// [`replace_domain`](Self::replace_domain) stay.
    pub fn replace(&self, pairs: Vec<Pair>) {
        self.served.change(|set| set.given = pairs);
    }

    /// Serves `pair` for `domain` from now on, instead of the one that was given for it by this function before.
    pub fn replace_domain(&self, domain: &str, pair: Pair) {
        self.served.change(|set| {
            set.of_domains.insert(domain.to_ascii_lowercase(), pair);
        });
    }

    /// Answers challenges for `domain` over `acme-tls/1` with this pair, which [`Pair::for_challenge`] makes (TLS-ALPN-01,
    /// RFC 8737); with none, no longer.
    pub fn set_challenge(&self, domain: &str, pair: Option<Pair>) {
        let domain = domain.to_ascii_lowercase();
        self.served.change(|set| {
            match pair {
                Some(pair) => set.challenges.insert(domain, pair),
                None => set.challenges.remove(&domain),
            };
        });
    }

    /// The pairs that are served, those given first.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        self.served.read(|set| set.pairs().cloned().collect())
    }

    /// The pairs of [`replace_domain`](Self::replace_domain) with their domains, in the order of these.
    #[must_use]
    pub fn of_domains(&self) -> Vec<(String, Pair)> {
        self.served.read(|set| {
            let pairs = set.of_domains.iter();
            pairs
                .map(|(domain, pair)| (domain.clone(), pair.clone()))
                .collect()
        })
    }

    /// The pairs that were given to [`new`](Self::new) or [`replace`](Self::replace) last.
    #[must_use]
    pub fn given(&self) -> Vec<Pair> {
        self.served.read(|set| set.given.clone())
    }

    pub(crate) const fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS cannot be set up: {}", self.0)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// What handshakes choose from. The lock is held for the choice alone.
#[derive(Debug, Default)]
struct Served(RwLock<Set>);

#[derive(Debug, Default)]
struct Set {
    given: Vec<Pair>,
    of_domains: BTreeMap<String, Pair>,
    challenges: BTreeMap<String, Pair>,
}

impl Served {
    fn read<T>(&self, read: impl FnOnce(&Set) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Set)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == CHALLENGE));
        let pair = self.read(|set| {
            if is_challenge {
                set.challenges.get(hello.server_name()?).cloned()
            } else {
                set.choose(&hello).cloned()
            }
        });
        pair.map(|pair| Arc::clone(pair.certified()))
    }
}

impl Set {
    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.given.iter().chain(self.of_domains.values())
    }

    /// The pair for a client: for the name that it asks, else for the name of the first pair, and with a key that it can check.
    fn choose(&self, hello: &ClientHello<'_>) -> Option<&Pair> {
        let named = hello
            .server_name()
            .and_then(|name| self.fitting(hello, |pair| pair.facts().is_for(name)));
        named.or_else(|| {
            let first = self.pairs().next()?;
            let name = first.facts().names.first();
            let is_beside =
                |pair: &Pair| pair.is_same(first) || name.is_some_and(|name| pair.facts().is_for(name));
            self.fitting(hello, is_beside)
        })
    }

    fn fitting(&self, hello: &ClientHello<'_>, is_meant: impl Fn(&Pair) -> bool) -> Option<&Pair> {
        let is_checked = |pair: &Pair| {
            let key = &pair.certified().key;
            key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let fitting = self.pairs().filter(|pair| is_meant(pair) && is_checked(pair));
        fitting.min_by_key(|pair| pair.is_rsa())
    }
}

/// The protocol inside, by its name in ALPN (RFC 7301).
const HTTP: &[u8] = b"http/1.1";
/// The protocol of challenges (RFC 8737, section 6.2).
pub(crate) const CHALLENGE: &[u8] = b"acme-tls/1";

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use etracker_core::stats::Counters;
    use etracker_runtime_common::{Handshakes, TlsPort};

    use super::*;
    use crate::Secured;
    use crate::testing::{Client, PEER, issue, issue_rsa, poll_permitted, proof};

    /// Which of `pairs` the client is shown.
    fn shown(certificates: &Certificates, pairs: &[Pair], mut client: Client) -> Option<usize> {
        let handshakes = Rc::new(Handshakes::new(Arc::new(Counters::default())));
        let wires = client.wires.clone();
        let mut server = Secured::new(certificates, wires, PEER, TlsPort::Only, Rc::clone(&handshakes));
        for _ in 0..3 {
            handshakes.renew();
            client.send(usize::MAX);
            let _ = poll_permitted(&mut server, &mut [0; 4096]);
            client.receive();
        }
        let shown = client.shown()?;
        pairs
            .iter()
            .position(|pair| pair.certified().cert.first() == Some(&shown))
    }

    #[test]
    fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_and_a_key_that_it_can_check() {
        let pairs = [
            issue_rsa(&["a.example"]).pair(),
            issue(&["a.example"]).pair(),
            issue(&["b.example", "*.c.example"]).pair(),
            issue_rsa(&["d.example"]).pair(),
        ];
        let certificates = Certificates::new(pairs.to_vec()).unwrap();
        for (name, rsa_alone, expected) in [
            (Some("a.example"), false, Some(1)),
            (Some("a.example"), true, Some(0)),
            (Some("b.example"), false, Some(2)),
            // What a client cannot check is not shown to it: rather the first one.
            (Some("b.example"), true, Some(0)),
            (Some("x.c.example"), false, Some(2)),
            (Some("x.y.c.example"), false, Some(1)),
            (Some("D.Example"), false, Some(3)),
            (Some("e.example"), false, Some(1)),
            (None, false, Some(1)),
            (None, true, Some(0)),
        ] {
            let client = Client::checking(name, rsa_alone);
            assert_eq!(
                shown(&certificates, &pairs, client),
                expected,
                "{name:?} {rsa_alone}"
            );
        }
    }

    #[test]
    fn pairs_are_replaced_as_a_whole_or_for_a_domain() {
        let pairs = ["a.example", "a.example", "b.example", "b.example"].map(|name| issue(&[name]).pair());
        let [first, second, third, fourth] = pairs.clone();
        let certificates = Certificates::new(vec![first]).unwrap();
        let of = |name| shown(&certificates, &pairs, Client::checking(Some(name), false));
        assert_eq!((of("a.example"), of("b.example")), (Some(0), Some(0)));
        certificates.replace_domain("B.example", third);
        assert_eq!((of("a.example"), of("b.example")), (Some(0), Some(2)));
        certificates.replace(vec![second]);
        certificates.replace_domain("b.example", fourth);
        assert_eq!((of("a.example"), of("b.example")), (Some(1), Some(3)));
        certificates.replace(Vec::new());
        assert_eq!((of("a.example"), of("b.example")), (Some(3), Some(3)));
        assert_eq!(certificates.pairs().len(), 1);
        let of_domains = certificates.of_domains();
        assert_eq!((certificates.given().len(), of_domains.len()), (0, 1));
        assert_eq!(of_domains[0].0, "b.example");
    }

    #[test]
    fn a_challenge_is_answered_over_its_own_protocol_alone() {
        let pairs = [issue(&["a.example"]).pair(), proof("a.example")];
        let [own, challenge] = pairs.clone();
        let certificates = Certificates::new(vec![own]).unwrap();
        let asked = |name| shown(&certificates, &pairs, Client::of_protocol(name, CHALLENGE));
        assert_eq!(asked("a.example"), None);
        certificates.set_challenge("A.example", Some(challenge));
        assert_eq!((asked("a.example"), asked("b.example")), (Some(1), None));
        let client = Client::checking(Some("a.example"), false);
        assert_eq!(shown(&certificates, &pairs, client), Some(0));
        certificates.set_challenge("a.example", None);
        assert_eq!(asked("a.example"), None);
    }
}
