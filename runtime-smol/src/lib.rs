//! The portable runtime, on smol.
