//! What others build on the libraries of etracker without changing them: two protocols beside those of the tracker, and a
//! runtime of another kind. Whatever they need that only the tracker's own can reach fails to compile here.
#![cfg(unix)]

mod echo;
mod lines;
mod polling;

pub use echo::{ECHO, Echo};
pub use lines::{LINES, Lines};
pub use polling::serve;
