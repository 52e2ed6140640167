//! The bytes of a connection, whole and in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::http_stream(data));
