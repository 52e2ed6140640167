//! Messages parsed by other implementations.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::differential(data));
