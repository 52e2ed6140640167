//! Protocols, and what carries them.

use std::fmt;

/// A protocol that sockets are opened for. `Display` writes its name in log lines about sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// The tracker protocol over HTTP (BEP 3). Displayed as `TCP`.
    Http,
    /// The same over TLS, for which [`Fronts::with_tls`](crate::Fronts::with_tls) is needed. Displayed as `TLS`.
    Https,
    /// Both over one port: the first byte of a connection tells. Displayed as `TCP and TLS`.
    HttpOrHttps,
    /// The UDP tracker protocol (BEP 15). Displayed as `UDP`.
    Udp,
    /// Another protocol, with the name under which its front was added to [`Fronts`](crate::Fronts). Displayed as its name.
    Other(&'static str, Transport),
}

impl Protocol {
    /// What carries it.
    #[must_use]
    pub const fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Https | Self::HttpOrHttps => Transport::Tcp,
            Self::Udp => Transport::Udp,
            Self::Other(_, transport) => transport,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name, _) => f.write_str(name),
            Self::Https => f.write_str("TLS"),
            Self::HttpOrHttps => f.write_str("TCP and TLS"),
            // The protocols of the tracker: operators know them by port and transport.
            Self::Http | Self::Udp => self.transport().fmt(f),
        }
    }
}

/// What carries a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}
