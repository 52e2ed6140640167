//! Reading lists: an entry a line, `#` starts a comment, empty lines mean nothing.

use alloc::vec::Vec;
use core::fmt;

use memchr::memchr;

/// What a line of a list says.
pub trait Entry: Sized {
    /// Reads the entry from a line without its comment and the space around it.
    ///
    /// # Errors
    /// The line says something else.
    fn parse(line: &[u8]) -> Result<Self, Fault>;

    /// Reads the plain lines that the text begins with, and returns what comes after them. To do so is faster than to
    /// read them one by one, and means the same.
    fn parse_plain<'a>(text: &'a [u8], _room: usize, _entries: &mut Vec<Self>) -> &'a [u8] {
        text
    }
}

/// Collects the entries of a list from its text, which may come in pieces of any length.
///
/// Lines end with `\n` or `\r\n`; a byte order mark before the first is skipped. Memory is what the entries take, and
/// at most [`LINE_MAX`] bytes besides.
#[derive(Debug)]
pub struct Reader<E> {
    entries: Vec<E>,
    /// The beginning of a line whose end has not come yet. Invariant: at most [`LINE_MAX`] bytes, no line feed.
    partial: Vec<u8>,
    lines: u64,
}

impl<E: Entry> Reader<E> {
    /// A reader with room for `entries`, which is a hint.
    #[must_use]
    pub fn with_capacity(entries: usize) -> Self {
        Self {
            entries: Vec::with_capacity(entries.min(ENTRIES_MAX)),
            partial: Vec::new(),
            lines: 0,
        }
    }

    /// Takes the next piece of text.
    ///
    /// # Errors
    /// A line is bad; the list is of no use then.
    pub fn feed(&mut self, text: &[u8]) -> Result<(), BadLine> {
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

    /// Takes the end of the text and gives the entries in their order.
    ///
    /// # Errors
    /// The last line, which needs no line feed, is bad.
    pub fn finish(mut self) -> Result<Vec<E>, BadLine> {
        if !self.partial.is_empty() {
            self.end_partial()?;
        }
        Ok(self.entries)
    }

    /// Takes the plain lines at the beginning of `text` and returns the rest.
    fn plain<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        if !self.partial.is_empty() {
            return text;
        }
        let before = self.entries.len();
        let rest = E::parse_plain(text, ENTRIES_MAX - before, &mut self.entries);
        self.lines += (self.entries.len() - before) as u64;
        rest
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), BadLine> {
        if self.partial.len() + piece.len() > LINE_MAX {
            self.lines += 1;
            return Err(self.bad(Fault::TooLong));
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    fn end_partial(&mut self) -> Result<(), BadLine> {
        let mut line = core::mem::take(&mut self.partial);
        let result = self.line(&line);
        line.clear();
        self.partial = line;
        result
    }

    fn line(&mut self, line: &[u8]) -> Result<(), BadLine> {
        self.lines += 1;
        if line.len() > LINE_MAX {
            return Err(self.bad(Fault::TooLong));
        }
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) if self.lines == 1 => rest,
            _ => line,
        };
        let comment = memchr(b'#', line).unwrap_or(line.len());
        let line = line.get(..comment).unwrap_or_default().trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        if self.entries.len() >= ENTRIES_MAX {
            return Err(self.bad(Fault::TooMany));
        }
        let entry = E::parse(line).map_err(|fault| self.bad(fault))?;
        self.entries.push(entry);
        Ok(())
    }

    const fn bad(&self, fault: Fault) -> BadLine {
        BadLine {
            number: self.lines,
            fault,
        }
    }
}

/// A line that no list can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number; the first line is 1.
    pub number: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.fault)
    }
}

impl core::error::Error for BadLine {}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Bytes in a line, so that a file without line feeds does not fill the memory.
pub const LINE_MAX: usize = 4096;
/// Entries in a list: ten times the largest that are published; their numbers fit 32 bits.
pub const ENTRIES_MAX: usize = 100_000_000;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;
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

    fn read(pieces: &[&[u8]]) -> Result<Vec<Word>, BadLine> {
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

    #[test]
    fn a_bad_line_is_told_by_its_number() {
        let bad = |number| BadLine {
            number,
            fault: Fault::NotInfoHash,
        };
        assert_eq!(read(&[b"bad"]), Err(bad(1)));
        assert_eq!(read(&[b"one\n#\r\n\nbad\ntwo\n"]), Err(bad(4)));
        assert_eq!(read(&[b"one\nb", b"ad", b"\n"]), Err(bad(2)));
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut reader = Reader::<Word>::with_capacity(0);
        let fed = (0..).map_while(|_| reader.feed(&[b'x'; 1000]).ok()).count();
        assert_eq!(fed, LINE_MAX / 1000);
        let long = [&[b'x'; LINE_MAX + 1][..], b"\n"].concat();
        let too_long = BadLine {
            number: 2,
            fault: Fault::TooLong,
        };
        assert_eq!(read(&[b"one\n", &long]), Err(too_long));
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
