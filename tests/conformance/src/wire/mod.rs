//! The suite's own reading and writing of the wire formats. Nothing here is shared with any tracker:
//! a fault common to both sides would hide itself.

pub(crate) mod bencode;
pub(crate) mod http;
pub(crate) mod tls;
pub(crate) mod udp;
