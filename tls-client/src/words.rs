//! What is wrong with a certificate or a handshake, in words.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "errors of the library that are not put into words here say themselves what they are"
)]

use std::io;

use rustls::{CertificateError, Error};

/// Why there is no TLS. The words are of the server, which is "it".
#[must_use]
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => format!("its certificate {}", certificate_fault(fault)),
        // The first bytes that come are not a record's: mostly "HTTP".
        Error::InvalidMessage(_) => {
            "what it says is not TLS; it may speak plain HTTP at this port".to_owned()
        }
        Error::AlertReceived(alert) => format!("it refuses the handshake with the alert {alert:?}"),
        Error::PeerIncompatible(_) => {
            "it has no version or cipher suite of TLS 1.2 or 1.3 in common".to_owned()
        }
        other => other.to_string(),
    }
}

/// The same for an error of a connection that the library reads from and writes to. Timeouts are the caller's: who waits for how
/// long is not known here.
#[must_use]
pub fn explain_io(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match (cause, error.kind()) {
        (Some(cause), _) => explain(cause),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "it cuts the handshake off".to_owned()
        }
        (None, _) => plain(error),
    }
}

/// What the system says of an error, without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    let words = number.and_then(|number| text.strip_suffix(&number));
    words.unwrap_or(&text).to_owned()
}

fn certificate_fault(fault: &CertificateError) -> String {
    match fault {
        // A CA of the same name, and another key, is no better.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is of an unknown issuer: name its CA with --ca FILE, or see whether it sends its whole chain"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is the clock right here?".to_owned()
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is for {}, not for {}", names(presented), expected.to_str())
        }
        CertificateError::Other(other) if other.to_string() == CA_AS_SERVER => {
            "is a CA's own, which is no server's: have the CA sign one for this server".to_owned()
        }
        other => format!("is not believed: {other}"),
    }
}

/// Names as people write them: the library has them as `DnsName("tracker.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inside = name
            .split_once("(\"")
            .and_then(|(_, rest)| rest.strip_suffix("\")"));
        inside.unwrap_or(name).to_owned()
    };
    let names: Vec<_> = presented.iter().map(bare).collect();
    if names.is_empty() {
        return "no name".to_owned();
    }
    names.join(", ")
}

/// What the verifier says of a certificate that `openssl req -x509` makes.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connections_are_put_into_words_with_and_without_a_cause_in_tls() {
        let within = io::Error::other(Error::InvalidCertificate(CertificateError::Expired));
        assert_eq!(explain_io(&within), "its certificate has expired");
        let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(explain_io(&cut), "it cuts the handshake off");
        let refused = io::Error::from_raw_os_error(2);
        assert!(!explain_io(&refused).contains("os error"));
    }

    #[test]
    fn names_are_bare() {
        let presented = ["DnsName(\"a.example\")", "IpAddress(192.0.2.1)"].map(str::to_owned);
        assert_eq!(names(&presented), "a.example, IpAddress(192.0.2.1)");
        assert_eq!(names(&[]), "no name");
    }
}
