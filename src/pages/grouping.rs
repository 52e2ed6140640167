//! Digits grouped as a locale has it.

use std::fmt::Display;

use num_format::{Locale, ToFormattedString as _};

/// How digits are grouped.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    /// `None` groups nothing.
    locale: Option<Locale>,
    /// Whether a separator outside ASCII can be shown.
    unicode: bool,
}

impl Grouping {
    /// The grouping of a locale such as `en_US.UTF-8`, for text in `charset`; `None` if the locale is not known. `C` and
    /// `POSIX` group nothing.
    pub(crate) fn of(locale: &str, charset: &str) -> Option<Self> {
        let name = locale.split(['.', '@']).next().unwrap_or_default();
        let locale = match name {
            "C" | "POSIX" => None,
            _ => Some(known(&name.replace('_', "-"))?),
        };
        let unicode = charset.to_ascii_lowercase().starts_with("utf");
        Some(Self { locale, unicode })
    }

    /// No grouping.
    pub(crate) const fn none() -> Self {
        Self {
            locale: None,
            unicode: false,
        }
    }

    /// Shows a number.
    pub(crate) fn show(&self, number: u64) -> impl Display + use<> {
        let Some(locale) = &self.locale else {
            return number.to_string();
        };
        let shown = number.to_formatted_string(locale);
        if self.unicode || shown.is_ascii() {
            shown
        } else {
            shown.replace(|letter: char| !letter.is_ascii(), " ")
        }
    }
}

/// A locale by its name, or by its language if the region has no rules of its own.
fn known(name: &str) -> Option<Locale> {
    let language = name.split('-').next().unwrap_or_default();
    let locale = Locale::from_name(name);
    locale.or_else(|_| Locale::from_name(language)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(locale: &str, charset: &str) -> String {
        Grouping::of(locale, charset).unwrap().show(1_234_567).to_string()
    }

    #[test]
    fn each_locale_groups_in_its_own_way() {
        assert_eq!(shown("en_US.UTF-8", "utf-8"), "1,234,567");
        assert_eq!(shown("de_DE", "utf-8"), "1.234.567");
        assert_eq!(shown("en_IN", "utf-8"), "12,34,567");
        assert_eq!(shown("C", "utf-8"), "1234567");
    }

    #[test]
    fn a_separator_that_the_charset_may_lack_becomes_a_space() {
        assert_eq!(shown("fr_FR.UTF-8", "UTF-8"), "1\u{202f}234\u{202f}567");
        assert_eq!(shown("fr_FR", "koi8-r"), "1 234 567");
    }

    #[test]
    fn a_locale_that_nobody_knows_is_none() {
        assert!(Grouping::of("tlh_KLI", "utf-8").is_none() && Grouping::of("", "utf-8").is_none());
        assert_eq!(Grouping::none().show(1000).to_string(), "1000");
    }
}
