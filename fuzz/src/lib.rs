//! The bodies of all fuzz targets: those of the core, and those that compare it with other implementations.

mod differential;
mod roundtrip;
mod tls_stream;

pub use differential::differential;
pub use etracker_core::fuzzing::{
    access_list, bep41_options, cluster_batch, forwarded_header, governor, http_stream, proxy_header,
    query_string, state_file, swarm_ops, udp_datagram,
};
pub use roundtrip::roundtrip;
pub use tls_stream::tls_stream;

/// A target by its name: the name of its folder in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("access_list", access_list),
    ("bep41_options", bep41_options),
    ("cluster_batch", cluster_batch),
    ("differential", differential),
    ("forwarded_header", forwarded_header),
    ("governor", governor),
    ("http_stream", http_stream),
    ("proxy_header", proxy_header),
    ("query_string", query_string),
    ("roundtrip", roundtrip),
    ("state_file", state_file),
    ("swarm_ops", swarm_ops),
    ("tls_stream", tls_stream),
    ("udp_datagram", udp_datagram),
];
