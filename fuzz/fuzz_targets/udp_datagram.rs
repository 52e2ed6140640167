//! Datagrams in, verdicts and replies out.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::udp_datagram(data));
