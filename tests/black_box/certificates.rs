//! A CA for the tests, and certificates that it signs.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::harness::Folder;

/// A CA whose certificate is a file.
pub(crate) struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate (PEM).
    pub(crate) file: String,
}

/// A certificate and its key, as files (PEM).
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Ca {
    pub(crate) fn new(folder: &Folder) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = folder.path("ca.pem");
        // No two have one name: a signature by another key of the same name is another fault than an unknown issuer.
        params.distinguished_name.push(DnType::CommonName, file.as_str());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// Its certificate (PEM).
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and addresses.
    pub(crate) fn pair(&self, names: &[&str]) -> Pair {
        self.signed(names, None)
    }

    /// The same, valid in these days from now.
    pub(crate) fn valid(&self, names: &[&str], days: Range<i32>) -> Pair {
        self.signed(names, Some(days))
    }

    fn signed(&self, names: &[&str], days: Option<Range<i32>>) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let name = names
            .first()
            .map_or_else(|| "nobody".to_owned(), |name| name.replace(':', "_"));
        let from = days.as_ref().map_or(0, |days| days.start);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        if let Some(days) = &days {
            params.not_before = in_days(days.start).into();
            params.not_after = in_days(days.end).into();
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let beside = |kind: &str| {
            let kind = format!("{name}-{from}{kind}.pem");
            let path = Path::new(&self.file).with_file_name(kind);
            path.to_str().unwrap().to_owned()
        };
        let pair = Pair {
            certificate: beside(""),
            key: beside("-key"),
        };
        // Before its issuer's, as a server sends them.
        fs::write(&pair.certificate, certificate.pem() + &self.issuer.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

fn in_days(days: i32) -> SystemTime {
    let day = Duration::from_secs(86_400);
    let (now, by) = (SystemTime::now(), day * days.unsigned_abs());
    // An hour more, so that so many whole days are left for as long as a test takes.
    let later = Duration::from_secs(3600);
    if days < 0 { now - by } else { now + by + later }
}
