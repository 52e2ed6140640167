//! The header of a trusted proxy.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::forwarded_header(data));
