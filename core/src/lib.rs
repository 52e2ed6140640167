//! The tracker's protocol and state, without IO.
