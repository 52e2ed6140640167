//! The bodies of the fuzz targets that need only this crate. Each takes any bytes and panics if a property fails.

mod cluster;
mod datagram;
mod limits;
mod parsers;
mod state;
mod stream;
mod swarm;

pub use cluster::cluster_batch;
pub use datagram::udp_datagram;
pub use limits::governor;
pub use parsers::{access_list, bep41_options, forwarded_header, proxy_header, query_string};
pub use state::state_file;
pub use stream::http_stream;
pub use swarm::swarm_ops;

use alloc::sync::Arc;
use core::net::IpAddr;

use crate::{Config, Instant, Seed, Tracker, Worker};

/// The time of all operations.
const NOW: Instant = Instant::from_secs(1_790_000_000);

/// The only worker of a new tracker.
fn worker(config: Config) -> Worker {
    Worker::new(Arc::new(Tracker::new(config, Seed::new([1; 32]), NOW)))
}

/// The documentation address of IPv4 or IPv6 with this number: local in scope, but neither private nor loopback.
fn address(number: u8, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::from([0x2001, 0xdb8, number.into(), 0, 0, 0, 0, 1])
    } else {
        IpAddr::from([192, 0, 2, number])
    }
}

/// Takes a number from the front; 0 if the bytes are used up.
fn take(data: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = data.split_first() else {
        return 0;
    };
    *data = rest;
    first
}
