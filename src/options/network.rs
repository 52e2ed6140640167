//! Networks as options name them.

use std::net::IpAddr;
use std::str::FromStr as _;

use etracker_core::ipnet::IpNet;

use super::reader::Text;
use super::refusal::Refusal;

/// A network, or a single address. `wanted` says what the option takes.
pub(super) fn network(text: Text, wanted: &str) -> Result<IpNet, Refusal> {
    if let Ok(single) = IpAddr::from_str(&text.value) {
        return Ok(single.into());
    }
    match IpNet::from_str(&text.value) {
        Ok(network) if network == network.trunc() => Ok(network),
        // `1.2.3.4/8` trusts 16 million addresses where one was probably meant.
        Ok(network) => Err(text.refuse(&format!(
            "{}, or {} alone: bits are set below the prefix",
            network.trunc(),
            network.addr()
        ))),
        Err(_) => Err(text.refuse(wanted)),
    }
}
