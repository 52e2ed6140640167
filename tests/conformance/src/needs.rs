//! What a check needs of the target and of the run.

/// What a check needs before it can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs(u16);

impl Needs {
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An HTTP URL of either family.
pub(crate) const HTTP: Needs = Needs(1);
/// A UDP URL of either family.
pub(crate) const UDP: Needs = Needs(2);
/// An HTTP URL for IPv4.
pub(crate) const HTTP4: Needs = Needs(4);
/// An HTTP URL for IPv6.
pub(crate) const HTTP6: Needs = Needs(8);
/// A UDP URL for IPv4.
pub(crate) const UDP4: Needs = Needs(16);
/// A UDP URL for IPv6.
pub(crate) const UDP6: Needs = Needs(32);
/// Many source addresses: a target on the IPv4 loopback network.
pub(crate) const SOURCES: Needs = Needs(64);
/// A wait of a minute or more.
pub(crate) const SLOW: Needs = Needs(128);
/// No other check beside it: it floods.
pub(crate) const ALONE: Needs = Needs(256);

/// An HTTP URL that begins with https://.
pub(crate) const TLS: Needs = Needs(512);

pub(crate) const NEED_NAMES: &[(Needs, &str)] = &[
    (HTTP, "--http or --http6"),
    (UDP, "--udp or --udp6"),
    (HTTP4, "--http"),
    (HTTP6, "--http6"),
    (UDP4, "--udp"),
    (UDP6, "--udp6"),
    (SOURCES, "many source addresses (a target on 127.0.0.0/8)"),
    (TLS, "--http or --http6 with an https:// URL"),
    (SLOW, "--slow"),
];
