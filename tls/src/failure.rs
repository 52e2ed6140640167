//! What the failure of a handshake is counted as.

use etracker_runtime_common::Handshake;
use rustls::{AlertDescription, Error};

/// What a handshake that ended with `error` is counted as.
#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of rustls are not ours")]
pub(crate) fn handshake(error: &Error) -> Handshake {
    match error {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Handshake::Incompatible,
        Error::AlertReceived(alert) => of_alert(*alert),
        // Nothing tells a missing certificate from other errors than its text, which is the only general one in a handshake.
        Error::General(_) => Handshake::Uncertified,
        _ => Handshake::Malformed,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the alerts of TLS are not ours")]
fn of_alert(alert: AlertDescription) -> Handshake {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA => Handshake::Distrusted,
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => Handshake::Incompatible,
        // A client that leaves in good order in the middle.
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => Handshake::Unfinished,
        _ => Handshake::Alert,
    }
}
