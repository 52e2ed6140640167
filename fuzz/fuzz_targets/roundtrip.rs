//! Messages of both protocols, encoded and decoded.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::roundtrip(data));
