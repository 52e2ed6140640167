//! Sources that ask for much and little, and what is done about it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::governor(data));
