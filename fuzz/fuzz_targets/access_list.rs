//! Lists of torrents and networks.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::access_list(data));
