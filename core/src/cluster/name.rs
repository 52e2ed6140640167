//! The names of clusters and nodes.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use core::error::Error;
use core::fmt;

/// The name of a cluster or of a node: 1 to 63 letters, digits, `-` and `_`, so that it can stand in a subject of a bus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterName(String);

impl ClusterName {
    /// Takes a name.
    ///
    /// # Errors
    /// If it is empty, longer than [`NAME_MAX`] bytes, or has other characters.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
            return Err(BadName);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name that comes nearest to any text, as to the name of a host: other characters become `-`.
    #[must_use]
    pub fn nearest(text: &str) -> Self {
        let plain = |byte: u8| match byte {
            b'-' | b'_' => byte.into(),
            _ if byte.is_ascii_alphanumeric() => byte.into(),
            _ => '-',
        };
        let name: String = text.bytes().take(NAME_MAX).map(plain).collect();
        Self(if name.is_empty() { "node".to_owned() } else { name })
    }

    /// The characters.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadName;

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name has 1 to {NAME_MAX} letters, digits, - and _")
    }
}

impl Error for BadName {}

/// Bytes of a name: as many as a label of a host name has.
pub const NAME_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use std::string::String;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn the_nearest_name_is_a_name_and_a_name_is_its_own_nearest(text: String) -> bool {
            let nearest = ClusterName::nearest(&text);
            let named = ClusterName::new(&text);
            ClusterName::new(nearest.as_str()).as_ref() == Ok(&nearest)
                && named.as_ref().map_or(true, |named| *named == nearest)
        }
    }

    #[test]
    fn what_a_subject_of_a_bus_cannot_hold_is_no_name() {
        for name in ["", "a.b", "a b", "*", ">", "ä", &"a".repeat(NAME_MAX + 1)] {
            assert_eq!(ClusterName::new(name), Err(BadName), "{name}");
        }
        assert!(ClusterName::new(&"a".repeat(NAME_MAX)).is_ok());
    }
}
