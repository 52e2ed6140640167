//! Errors of the system in words.

use std::fmt;
use std::io;

/// Shows an error of the system by what it says, without its number: `(os error 2)` helps nobody.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a io::Error);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let number = self
            .0
            .raw_os_error()
            .map(|number| format!(" (os error {number})"));
        f.write_str(
            number
                .and_then(|number| text.strip_suffix(&number))
                .unwrap_or(&text),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_error_is_left_out() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Plain(&missing).to_string(), missing.to_string());
        let other = io::Error::other("odd (os error 2)");
        assert_eq!(Plain(&other).to_string(), "odd (os error 2)");
        let of_system = io::Error::from_raw_os_error(2);
        assert!(of_system.to_string().contains("os error"));
        assert!(!Plain(&of_system).to_string().contains("os error"));
    }
}
