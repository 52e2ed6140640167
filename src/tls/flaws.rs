//! What is wrong with a certificate that is served, as clients see it.

use std::fmt;
use std::time::{Duration, SystemTime};

use etracker_tls::{Chain, Facts, Weakness};

use crate::finding::{Finding, fault, warning};

/// What is wrong with a certificate. Shown as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It has expired.
    Expired,
    /// It is not valid yet.
    Early,
    /// It expires soon, in these days.
    Ending(i64),
    /// It names no host.
    Nameless,
    /// Its chain is not whole.
    Chain(Chain),
    /// It, or its chain, is weakly signed.
    Weak(Weakness),
}

/// Who replaces a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewed {
    /// Whoever writes its files.
    ByHand,
    /// The tracker, from a directory.
    ByAcme,
}

impl Flaw {
    /// All that is wrong with a certificate now.
    pub(crate) fn all(facts: &Facts, renewed: Renewed, now: SystemTime) -> Vec<Self> {
        let mut flaws = Vec::new();
        flaws.extend(Self::of_time(facts, renewed, now));
        if facts.names.is_empty() {
            flaws.push(Self::Nameless);
        }
        if matches!(facts.chain, Chain::Alone | Chain::Broken) {
            flaws.push(Self::Chain(facts.chain));
        }
        flaws.extend(facts.weakness.map(Self::Weak));
        flaws
    }

    /// What is wrong with the time.
    pub(crate) fn of_time(facts: &Facts, renewed: Renewed, now: SystemTime) -> Option<Self> {
        if facts.not_before > now {
            return Some(Self::Early);
        }
        let Ok(left) = facts.not_after.duration_since(now) else {
            return Some(Self::Expired);
        };
        let soon = match renewed {
            Renewed::ByHand => SOON,
            // Half of the time that a directory has had already: the first third of a life is left for its renewal.
            Renewed::ByAcme => facts.life() / 6,
        };
        (left < soon).then(|| Self::Ending(facts.days_left(now)))
    }

    /// Whether all clients refuse the certificate for it.
    pub(crate) const fn is_fatal(self) -> bool {
        match self {
            Self::Expired | Self::Early | Self::Nameless => true,
            Self::Ending(_) | Self::Chain(_) | Self::Weak(_) => false,
        }
    }

    /// What doctor and the verdict say of it, where the certificate comes from `from`.
    pub(crate) fn finding(self, from: &str, renewed: Renewed) -> Finding {
        let (about, what, remedy) = ("certificate", format!("{from}: {self}"), self.remedy(renewed));
        if self.is_fatal() {
            fault(about, what, remedy)
        } else {
            warning(about, what, remedy)
        }
    }

    /// What the operator can do.
    pub(crate) const fn remedy(self, renewed: Renewed) -> &'static str {
        match (self, renewed) {
            (Self::Expired | Self::Ending(_), Renewed::ByHand) => {
                "renew it; the tracker reads changed files by itself, or on SIGHUP"
            }
            (Self::Expired | Self::Ending(_), Renewed::ByAcme) => {
                "the log and the page say why the directory has issued no new one"
            }
            (Self::Early, _) => "set the clock of this host, or wait",
            (Self::Nameless, _) => {
                "one with the tracker's name as subjectAltName; a common name counts no more"
            }
            (Self::Chain(_), _) => "the certificate first, then those of its issuers: fullchain.pem",
            (Self::Weak(_), _) => {
                "a certificate of a CA that signs with SHA-256, and keys of 2048 bits or ECDSA"
            }
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the certificate has expired: clients refuse it"),
            Self::Early => {
                f.write_str("the certificate is not valid yet, or the clock is wrong: clients refuse it")
            }
            Self::Ending(days) => write!(f, "the certificate expires soon: {days} days left"),
            Self::Nameless => f.write_str("the certificate names no host: clients refuse it"),
            Self::Chain(chain) => write!(
                f,
                "{chain}: most clients refuse it; give the whole chain (fullchain.pem)"
            ),
            Self::Weak(weakness) => write!(f, "{weakness}: clients refuse it"),
        }
    }
}

/// From when on a certificate of files expires soon: mail may take days to be read, and renewals begin at thirty days or more.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use etracker_tls::Pair;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn facts(names: &[&str], life_days: u32) -> Facts {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let (mut params, key) = (
            CertificateParams::new(names).unwrap(),
            KeyPair::generate().unwrap(),
        );
        let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        params.not_before = start.into();
        params.not_after = (start + life_days * DAY).into();
        let certificate = params.self_signed(&key).unwrap().pem();
        let pair = Pair::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes());
        pair.unwrap().facts().clone()
    }

    #[test]
    fn certificates_of_files_end_soon_fourteen_days_before() {
        let facts = facts(&["a.example"], 90);
        let at = |now| Flaw::all(&facts, Renewed::ByHand, now);
        let start = facts.not_before;
        assert_eq!(at(start - DAY), [Flaw::Early]);
        assert_eq!(at(start), []);
        assert_eq!(at(start + 76 * DAY), []);
        assert_eq!(at(start + 76 * DAY + Duration::from_secs(1)), [Flaw::Ending(13)]);
        assert_eq!(at(facts.not_after + Duration::from_secs(1)), [Flaw::Expired]);
    }

    #[test]
    fn certificates_of_a_directory_end_soon_in_the_last_sixth_of_their_life() {
        for (life, well, soon) in [(90, 74, 76), (6, 4, 6)] {
            let facts = facts(&["a.example"], life);
            let at = |days| Flaw::of_time(&facts, Renewed::ByAcme, facts.not_before + days * DAY);
            assert_eq!(at(well), None);
            assert!(matches!(at(soon), Some(Flaw::Ending(_))), "{life}");
        }
    }

    #[test]
    fn a_certificate_without_names_is_refused_by_all() {
        let facts = facts(&[], 90);
        let flaws = Flaw::all(&facts, Renewed::ByHand, facts.not_before);
        assert_eq!(flaws, [Flaw::Nameless]);
        assert!(flaws[0].is_fatal() && !Flaw::Ending(3).is_fatal());
    }
}
