//! Tests of the command `etracker` from outside: started as an operator starts it, asked as clients ask it.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[cfg(feature = "acme")]
mod acme;
mod addresses;
#[cfg(target_os = "linux")]
mod at_boot;
#[cfg(feature = "tls")]
mod certificates;
mod client_command;
#[cfg(feature = "tls")]
mod client_tls;
mod clients;
#[cfg(feature = "cluster")]
mod cluster;
mod commands;
mod doctor;
#[cfg(feature = "tls")]
mod doctor_tls;
mod drained;
mod failures;
#[cfg(target_os = "linux")]
mod faults;
mod files;
#[cfg(target_os = "linux")]
mod firewall;
#[cfg(target_os = "linux")]
mod forbidden_calls;
mod functional;
mod harness;
mod health;
mod hidden_clients;
mod hostile;
mod limits;
mod lists;
mod logs;
#[cfg(target_os = "linux")]
mod memory;
mod monitoring;
mod pages;
mod privileges;
mod proxies;
mod real_clients;
mod recipes;
#[cfg(feature = "glommio")]
mod runtimes;
mod service_manager;
mod signals;
mod start_stop;
mod supervised;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "testing")]
mod transcript;
mod warm_restart;
