//! Parsing of lists: one entry a line, `#` starts a comment, empty lines are skipped.

use alloc::vec::Vec;
use core::fmt;

use memchr::memchr;

/// An entry of a list.
pub trait Entry: Sized {
    /// Reads the entry from a line without its comment and the space around it.
    ///
    /// # Errors
    /// The line is not such an entry.
    fn parse(line: &[u8]) -> Result<Self, Fault>;

    /// Parses the plain lines at the start of the text, and returns the rest. The result is the same as line by line, only
    /// faster.
    fn parse_plain<'a>(text: &'a [u8], _room: usize, _entries: &mut Vec<Self>) -> &'a [u8] {
        text
    }
}

/// Collects the entries of a list from its text, which may come in pieces of any length.
///
/// Lines end with `\n` or `\r\n`; a leading byte order mark is skipped. Memory is that of the entries and at most
/// [`LINE_MAX`] bytes. Parsing goes on after a bad line, so that one attempt reports up to [`BAD_LINES_MAX`].
#[derive(Debug)]
pub struct Reader<E> {
    entries: Vec<E>,
    /// The unfinished last line. Invariant: at most [`LINE_MAX`] bytes, no line feed.
    partial: Vec<u8>,
    lines: u64,
    bad: BadLines,
}

impl<E: Entry> Reader<E> {
    /// A reader with room for `entries`, which is a hint.
    #[must_use]
    pub fn with_capacity(entries: usize) -> Self {
        Self {
            entries: Vec::with_capacity(entries.min(ENTRIES_MAX)),
            partial: Vec::new(),
            lines: 0,
            bad: BadLines::default(),
        }
    }

    /// Takes the next piece of text.
    ///
    /// # Errors
    /// [`BAD_LINES_MAX`] lines are bad, or one is too long or one too many.
    pub fn feed(&mut self, text: &[u8]) -> Result<(), BadLines> {
        let mut rest = self.plain(text);
        while let Some((line, after)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
            let after = after.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                self.line(line)?;
            } else {
                self.keep(line)?;
                self.end_partial()?;
            }
            rest = self.plain(after);
        }
        self.keep(rest)
    }

    /// Ends the text and returns the entries in their order.
    ///
    /// # Errors
    /// Some lines are bad. The last line needs no line feed.
    pub fn finish(mut self) -> Result<Vec<E>, BadLines> {
        if !self.partial.is_empty() {
            self.end_partial()?;
        }
        if self.bad.0.is_empty() {
            Ok(self.entries)
        } else {
            Err(self.bad)
        }
    }

    /// Parses the plain lines at the start of `text` and returns the rest.
    fn plain<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        if !self.partial.is_empty() {
            return text;
        }
        let before = self.entries.len();
        let rest = E::parse_plain(text, ENTRIES_MAX - before, &mut self.entries);
        self.lines += (self.entries.len() - before) as u64;
        rest
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), BadLines> {
        if self.partial.len() + piece.len() > LINE_MAX {
            self.lines += 1;
            return self.note(Fault::TooLong);
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    fn end_partial(&mut self) -> Result<(), BadLines> {
        let mut line = core::mem::take(&mut self.partial);
        let result = self.line(&line);
        line.clear();
        self.partial = line;
        result
    }

    fn line(&mut self, line: &[u8]) -> Result<(), BadLines> {
        self.lines += 1;
        match self.entry(line) {
            Ok(Some(entry)) => self.entries.push(entry),
            Ok(None) => {}
            Err(fault) => return self.note(fault),
        }
        Ok(())
    }

    /// The entry of a line; `None` if the line is empty.
    fn entry(&self, line: &[u8]) -> Result<Option<E>, Fault> {
        if line.len() > LINE_MAX {
            return Err(Fault::TooLong);
        }
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.lines == 1 => rest,
            _ => line,
        };
        let comment = memchr(b'#', line).unwrap_or(line.len());
        let line = line.get(..comment).unwrap_or_default().trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        if self.entries.len() >= ENTRIES_MAX {
            return Err(Fault::TooMany);
        }
        E::parse(line).map(Some)
    }

    /// Records that the last line is bad. An error if parsing has to end there.
    fn note(&mut self, fault: Fault) -> Result<(), BadLines> {
        let number = self.lines;
        self.bad.0.push(BadLine { number, fault });
        if self.bad.are_all() {
            Ok(())
        } else {
            Err(core::mem::take(&mut self.bad))
        }
    }
}

/// The bad lines of a text, in their order: the first [`BAD_LINES_MAX`] at most. Shown as one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadLines(Vec<BadLine>);

impl BadLines {
    /// Each of them.
    #[must_use]
    pub fn lines(&self) -> &[BadLine] {
        &self.0
    }

    /// Whether the whole text was parsed. Parsing ends at a line that is too long or one too many: such a file is hardly a list.
    #[must_use]
    pub fn are_all(&self) -> bool {
        let ends = |line: &BadLine| matches!(line.fault, Fault::TooLong | Fault::TooMany);
        self.0.len() < BAD_LINES_MAX && !self.0.last().is_some_and(ends)
    }
}

impl fmt::Display for BadLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, same) in self.0.chunk_by(|one, next| one.fault == next.fault).enumerate() {
            let start = if place > 0 { "; " } else { "" };
            let lines = if same.len() > 1 { "lines" } else { "line" };
            write!(f, "{start}{lines} ")?;
            for (place, line) in same.iter().enumerate() {
                let comma = if place > 0 { ", " } else { "" };
                write!(f, "{comma}{}", line.number)?;
            }
            if let Some(line) = same.first() {
                write!(f, ": {}", line.fault)?;
            }
        }
        if !self.are_all() {
            f.write_str("; the lines after that were not read")?;
        }
        Ok(())
    }
}

impl core::error::Error for BadLines {}

/// A line that is not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadLine {
    /// Its number; the first line is 1.
    pub number: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It should be an info-hash.
    NotInfoHash,
    /// It should be an address or a network.
    NotNetwork,
    /// It is longer than [`LINE_MAX`].
    TooLong,
    /// There are [`ENTRIES_MAX`] entries before it.
    TooMany,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInfoHash => f.write_str("not an info-hash of 40 or 64 hexadecimal digits"),
            Self::NotNetwork => {
                f.write_str("neither an address nor a network such as 192.0.2.0/24 or 2001:db8::/32")
            }
            Self::TooLong => write!(f, "longer than {LINE_MAX} bytes"),
            Self::TooMany => write!(f, "more than {ENTRIES_MAX} entries"),
        }
    }
}

/// Bytes of a line: bounds the memory that a file without line feeds takes.
pub const LINE_MAX: usize = 4096;
/// Entries of a list: ten times the largest published ones. Their number fits 32 bits.
pub const ENTRIES_MAX: usize = 100_000_000;
/// Bad lines reported: enough to mend a list in few attempts, few enough for one line of the log.
pub const BAD_LINES_MAX: usize = 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use quickcheck::quickcheck;

    /// A list of words, of which `bad` is not one.
    #[derive(Debug, PartialEq, Eq)]
    struct Word(Vec<u8>);

    impl Entry for Word {
        fn parse(line: &[u8]) -> Result<Self, Fault> {
            if line == b"bad" {
                return Err(Fault::NotInfoHash);
            }
            Ok(Self(line.to_vec()))
        }
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<Word>, BadLines> {
        let mut reader = Reader::with_capacity(0);
        for piece in pieces {
            reader.feed(piece)?;
        }
        reader.finish()
    }

    fn words(words: &[&str]) -> Vec<Word> {
        words.iter().map(|word| Word(word.as_bytes().to_vec())).collect()
    }

    #[test]
    fn comments_blank_lines_and_line_endings_mean_nothing() {
        let text = b"\xef\xbb\xbfone\r\n# all of this\n\n \t two # and this\n\r\n#\nthree";
        assert_eq!(read(&[text]), Ok(words(&["one", "two", "three"])));
    }

    fn bad(lines: &[(u64, Fault)]) -> Result<Vec<Word>, BadLines> {
        let lines = lines.iter().map(|&(number, fault)| BadLine { number, fault });
        Err(BadLines(lines.collect()))
    }

    #[test]
    fn bad_lines_are_told_by_their_numbers() {
        let fault = Fault::NotInfoHash;
        assert_eq!(read(&[b"bad"]), bad(&[(1, fault)]));
        assert_eq!(read(&[b"one\n#\r\n\nbad\ntwo\n"]), bad(&[(4, fault)]));
        assert_eq!(read(&[b"one\nb", b"ad", b"\n"]), bad(&[(2, fault)]));
        assert_eq!(
            read(&[b"bad\none\nb", b"ad\nbad"]),
            bad(&[(1, fault), (3, fault), (4, fault)])
        );
    }

    #[test]
    fn of_many_bad_lines_the_first_ten_are_told() {
        let text = "bad\ngood\n".repeat(1000);
        let told = read(&[text.as_bytes()]).unwrap_err();
        let numbers: Vec<_> = told.lines().iter().map(|line| line.number).collect();
        assert_eq!(numbers, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
        assert!(!told.are_all());
    }

    #[test]
    fn bad_lines_are_one_line_for_people() {
        let text = [b"bad\nbad\n", &[b'x'; LINE_MAX + 1][..], b"\nbad\n"].concat();
        assert_eq!(
            read(&[&text]).unwrap_err().to_string(),
            "lines 1, 2: not an info-hash of 40 or 64 hexadecimal digits; line 3: longer than 4096 bytes; the lines after \
             that were not read"
        );
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = Reader::<Word>::with_capacity(0);
        let fed = (0..).map_while(|_| reader.feed(&[b'x'; 1000]).ok()).count();
        assert_eq!(fed, LINE_MAX / 1000);
        let long = [&[b'x'; LINE_MAX + 1][..], b"\n"].concat();
        assert_eq!(read(&[b"one\n", &long]), bad(&[(2, Fault::TooLong)]));
    }

    quickcheck! {
        fn pieces_mean_the_same_as_the_whole(text: Vec<u8>, cuts: Vec<usize>) -> bool {
            // Most random bytes are no line feed: make lines of them.
            let text: Vec<u8> = text.iter().map(|byte| if byte % 7 == 0 { b'\n' } else { *byte }).collect();
            let mut reader = Reader::<Word>::with_capacity(0);
            let mut rest = &text[..];
            let mut fed = Ok(());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut % (rest.len() + 1));
                fed = fed.and_then(|()| reader.feed(piece));
                rest = after;
            }
            let pieces = fed.and_then(|()| reader.feed(rest)).and_then(|()| reader.finish());
            pieces == read(&[&text])
        }
    }
}
