//! Operations on a swarm store, beside one of plain maps.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| etracker_fuzz::swarm_ops(data));
