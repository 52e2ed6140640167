//! Errors of the system in words.

use std::io;

/// What the system says of an error, without its number.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|number| format!(" (os error {number})"));
    let words = number.and_then(|number| text.strip_suffix(&number));
    words.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_error_is_left_out() {
        let refused = io::Error::from_raw_os_error(2);
        assert!(refused.to_string().starts_with(&plain(&refused)));
        assert!(!plain(&refused).contains("os error"));
    }
}
