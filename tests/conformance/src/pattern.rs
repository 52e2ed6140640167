//! Which checks are meant: patterns over their IDs.

/// A list of patterns such as `A-*,U-0?`, matched without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Reads patterns separated by commas or spaces; `*` stands for any text, `?` for one character.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        Self(words.map(str::to_ascii_uppercase).collect())
    }

    /// Whether any pattern matches.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        let id = id.to_ascii_uppercase();
        self.0
            .iter()
            .any(|pattern| glob(pattern.as_bytes(), id.as_bytes()))
    }

    /// Whether there is no pattern at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, text) || text.split_first().is_some_and(|(_, tail)| glob(pattern, tail))
        }
        (Some((b'?', rest)), Some((_, tail))) => glob(rest, tail),
        (Some((wanted, rest)), Some((given, tail))) => wanted == given && glob(rest, tail),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::Patterns;

    #[test]
    fn patterns_match_ids() {
        let patterns = Patterns::parse("a-0?, U-*");
        assert!(patterns.matches("A-07") && patterns.matches("U-25"));
        assert!(!patterns.matches("A-10") && !patterns.matches("B-01"));
        assert!(Patterns::parse("").is_empty());
    }
}
