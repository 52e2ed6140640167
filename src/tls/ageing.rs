//! Warnings of certificates that expire soon.

use std::time::{Duration, SystemTime};

use etracker_tls::Facts;
use tracing::warn;

use super::{Certificates, Flaw, Renewed};

/// Warns of certificates that expire soon or have expired, once a day.
#[derive(Debug)]
pub(crate) struct Ageing {
    certificates: Certificates,
    told: Option<SystemTime>,
}

impl Ageing {
    pub(crate) const fn new(certificates: Certificates) -> Self {
        let told = None;
        Self { certificates, told }
    }

    /// Warns, unless that was done within a day.
    pub(crate) fn look(&mut self, now: SystemTime) {
        // A clock that was set back makes a day begin anew.
        let is_told = |told: SystemTime| now.duration_since(told).is_ok_and(|since| since < DAY);
        if self.told.is_some_and(is_told) {
            return;
        }
        self.told = None;
        for (pair, renewed) in self.certificates.all() {
            if let Some(flaw) = Flaw::of_time(pair.facts(), renewed, now) {
                warn_of(flaw, renewed, pair.facts(), now);
                self.told = Some(now);
            }
        }
    }
}

fn warn_of(flaw: Flaw, renewed: Renewed, facts: &Facts, now: SystemTime) {
    let (names, issuer) = (facts.names.join(", "), &facts.issuer);
    let days_left = facts.days_left(now);
    warn!(names, issuer, days_left, "{flaw} -> {}", flaw.remedy(renewed));
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use etracker_tls::Pair;
    use rcgen::{CertificateParams, KeyPair};
    use tracing::Level;

    use super::*;
    use crate::logs::testing::logged;

    fn pair(name: &str, start: SystemTime, life_days: u32) -> Pair {
        let (mut params, key) = (
            CertificateParams::new([name.to_owned()]).unwrap(),
            KeyPair::generate().unwrap(),
        );
        params.not_before = start.into();
        params.not_after = (start + life_days * DAY).into();
        let certificate = params.self_signed(&key).unwrap().pem();
        Pair::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    /// The lines that are logged when it is looked at these days after the start.
    fn told(ageing: &mut Ageing, start: SystemTime, quarters: impl Iterator<Item = u32>) -> Vec<String> {
        let logged = logged(Level::INFO, || {
            quarters.for_each(|quarter| ageing.look(start + quarter * DAY / 4));
        });
        logged.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_certificate_that_expires_soon_is_told_of_once_a_day() {
        let start = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let pairs = vec![pair("a.example", start, 90), pair("b.example", start, 200)];
        let certificates = Arc::new(etracker_tls::Certificates::new(pairs).unwrap());
        // One of a directory is left alone until the last sixth of its life.
        certificates.replace_domain("c.example", pair("c.example", start, 90));
        let mut ageing = Ageing::new(Certificates(certificates));
        assert_eq!(told(&mut ageing, start, 0..=75 * 4), [""; 0]);
        let lines = told(&mut ageing, start, 76 * 4 + 1..78 * 4 + 1);
        let of = |name: &str| lines.iter().filter(|line| line.contains(name)).count();
        assert_eq!(
            (of("a.example"), of("b.example"), of("c.example")),
            (2, 0, 2),
            "{lines:?}"
        );
        assert!(
            lines[0].contains("WARN") && lines[0].contains("13 days left"),
            "{lines:?}"
        );
        let lines = told(&mut ageing, start, 100 * 4..101 * 4);
        assert!(lines[0].contains("has expired"), "{lines:?}");
    }
}
