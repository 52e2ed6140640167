//! What comes over a connection for TLS.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::tls_stream(data));
