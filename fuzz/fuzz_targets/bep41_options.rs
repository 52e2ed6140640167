//! Options after a UDP announce (BEP 41).

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::bep41_options(data));
