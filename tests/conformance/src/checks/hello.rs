//! Hellos that no client of today sends: of old versions, and of suites that are broken.

/// The first byte of an alert.
pub(super) const ALERT: u8 = 21;

/// Each with its name.
pub(super) fn weak() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("TLS 1.0", hello(0x0301, OLD_SUITES)),
        ("TLS 1.1", hello(0x0302, OLD_SUITES)),
        ("RC4", hello(0x0303, &[0x0005, 0xC007, 0xC011])),
        ("3DES", hello(0x0303, &[0x000A, 0xC008, 0xC012])),
        ("NULL", hello(0x0303, &[0x0001, 0x0002, 0x003B, 0xC006, 0xC010])),
        ("anonymous", hello(0x0303, &[0x0034, 0x006C, 0xC018, 0xC019])),
    ]
}

/// Whether an answer begins with a server's hello.
pub(super) fn is_accepted(answer: &[u8]) -> bool {
    answer.first() == Some(&HANDSHAKE) && answer.get(5) == Some(&SERVER_HELLO)
}

/// A client's hello (RFC 5246, 7.4.1.2) with the extensions that elliptic curves take.
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = version.to_be_bytes().to_vec();
    body.extend(*b"thirty-two bytes, random enough.");
    body.push(0);
    body.extend(lengthened(&suites));
    body.extend([1, 0]);
    body.extend(lengthened(EXTENSIONS));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(lengthened(&[&[CLIENT_HELLO, 0][..], &lengthened(&body)].concat()));
    record
}

/// Bytes after their length in two bytes.
fn lengthened(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or_default();
    [&len.to_be_bytes()[..], bytes].concat()
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// AES with SHA-1, by elliptic curves and by RSA: what TLS 1.0 and 1.1 are mostly used with.
const OLD_SUITES: &[u16] = &[0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035];
/// The groups P-256 and X25519, uncompressed points, and signatures by ECDSA and RSA with SHA-256 and SHA-1.
const EXTENSIONS: &[u8] = &[
    0, 10, 0, 6, 0, 4, 0, 23, 0, 29, 0, 11, 0, 2, 1, 0, 0, 13, 0, 10, 0, 8, 4, 3, 4, 1, 2, 3, 2, 1,
];

#[cfg(test)]
mod tests {
    use super::{hello, is_accepted};

    #[test]
    fn lengths_of_a_hello_are_right() {
        let bytes = hello(0x0302, &[1, 2]);
        let record = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        let message = usize::from(u16::from_be_bytes([bytes[7], bytes[8]]));
        assert_eq!((record, message), (bytes.len() - 5, bytes.len() - 9));
        assert!(is_accepted(&[22, 3, 2, 0, 9, 2]) && !is_accepted(&[21, 3, 2, 0, 2, 2, 70]));
    }
}
