//! What a proxy puts in front of a connection or a datagram.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::proxy_header(data));
