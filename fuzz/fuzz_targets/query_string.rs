//! Query strings of announces and scrapes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::query_string(data));
