//! Messages of a cluster.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::cluster_batch(data));
