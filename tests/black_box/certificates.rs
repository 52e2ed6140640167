//! A CA for the tests, and certificates that it signs.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

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

    /// A certificate for these names and addresses.
    pub(crate) fn pair(&self, names: &[&str]) -> Pair {
        self.signed(names, None)
    }

    /// The same, whose last day was in that year.
    pub(crate) fn expired(&self, names: &[&str], year: i32) -> Pair {
        self.signed(names, Some(year))
    }

    fn signed(&self, names: &[&str], year_max: Option<i32>) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let name = names.first().unwrap().replace(':', "_");
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        if let Some(year) = year_max {
            params.not_before = date_time_ymd(year - 1, 1, 1);
            params.not_after = date_time_ymd(year, 12, 31);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let beside = |kind: &str| {
            let kind = format!("{name}-{}{kind}.pem", year_max.unwrap_or_default());
            let path = Path::new(&self.file).with_file_name(kind);
            path.to_str().unwrap().to_owned()
        };
        let pair = Pair {
            certificate: beside(""),
            key: beside("-key"),
        };
        fs::write(&pair.certificate, certificate.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}
