//! The options that may follow an announce request (BEP 41).

/// The options of one announce. Reading them takes time linear in their length and never fails: an option that ends
/// beyond the packet ends the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// The options in `bytes`, the part of the datagram after byte 98.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The pieces of the path and query of the announce URL, in order; together they are the whole.
    pub fn url_data(self) -> impl Iterator<Item = &'a [u8]> {
        self.filter_map(|option| (option.kind == URL_DATA).then_some(option.data))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = AnnounceOption<'a>;

    fn next(&mut self) -> Option<AnnounceOption<'a>> {
        loop {
            let (&kind, rest) = self.0.split_first()?;
            self.0 = rest;
            match kind {
                END => self.0 = &[],
                NOP => {}
                _ => return self.data().map(|data| AnnounceOption { kind, data }),
            }
        }
    }
}

impl<'a> Options<'a> {
    /// Takes a length and that many bytes; a length beyond the end ends the list.
    fn data(&mut self) -> Option<&'a [u8]> {
        let bytes = core::mem::take(&mut self.0);
        let (&len, rest) = bytes.split_first()?;
        let (data, rest) = rest.split_at_checked(len.into())?;
        self.0 = rest;
        Some(data)
    }
}

/// One option with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceOption<'a> {
    /// The type: [`URL_DATA`], or an unknown one.
    pub kind: u8,
    /// The data, at most 255 bytes.
    pub data: &'a [u8],
}

/// Writes the options that carry `url`, a path and query, and returns their length. Options that do not fit are omitted.
pub fn encode_url(url: &[u8], out: &mut [u8]) -> usize {
    let mut len = 0;
    for piece in url.chunks(PIECE_MAX) {
        let option = out.get_mut(len..).unwrap_or_default();
        let (Some((head, data)), Ok(piece_len)) = (option.split_first_chunk_mut(), u8::try_from(piece.len()))
        else {
            break;
        };
        let Some(data) = data.get_mut(..piece.len()) else {
            break;
        };
        *head = [URL_DATA, piece_len];
        data.copy_from_slice(piece);
        len += head.len() + piece.len();
    }
    len
}

/// Ends the list.
const END: u8 = 0;
/// Padding, without data.
pub const NOP: u8 = 1;
/// Carries a piece of the URL's path and query.
pub const URL_DATA: u8 = 2;

/// Bytes that the length of an option can express.
const PIECE_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn url(bytes: &[u8]) -> Vec<u8> {
        Options::new(bytes).url_data().flatten().copied().collect()
    }

    quickcheck! {
        fn urls_survive_the_wire(path: Vec<u8>, times: u8) -> bool {
            let path = path.repeat(times.into());
            let mut out = vec![0; path.len() + 2 * path.len().div_ceil(PIECE_MAX)];
            let len = encode_url(&path, &mut out);
            len == out.len() && url(&out) == path
        }

        fn a_short_buffer_gets_whole_options(path: Vec<u8>, room: usize) -> bool {
            let path = path.repeat(8);
            let mut out = vec![0; room % 600];
            let len = encode_url(&path, &mut out);
            path.starts_with(&url(&out[..len]))
        }

        fn any_bytes_give_no_more_than_they_hold(bytes: Vec<u8>) -> bool {
            let options = Options::new(&bytes).map(|option| option.data.len() + 2).sum::<usize>();
            options <= bytes.len()
        }
    }

    #[test]
    fn padding_the_end_and_what_follows_it_are_no_options() {
        assert_eq!(url(b"\x02\x0c/dir?a=b&c=d"), b"/dir?a=b&c=d");
        assert_eq!(url(b"\x01\x02\x02/a\x01\x01\x00\x02\x02/b"), b"/a");
        assert_eq!(url(b"\x02\x02/a\x02\x02/b"), b"/a/b");
        assert_eq!(url(b"\x02\x00"), b"");
        assert_eq!(url(b"\x00\x00"), b"");
        assert_eq!(url(b"\x00\x00\x02\x02/b"), b"");
        assert_eq!(url(&[NOP; 1000]), b"");
    }

    #[test]
    fn an_unknown_option_is_skipped_and_a_cut_one_ends_the_list() {
        assert_eq!(url(b"\x03\x02xx\x02\x02/a"), b"/a");
        assert_eq!(url(b"\xff\x00\x02\x02/a"), b"/a");
        assert_eq!(url(b"\x02\x02/a\x02\x09/b"), b"/a");
        assert_eq!(url(b"\x02\x02/a\x02"), b"/a");
        let all: Vec<_> = Options::new(b"\x03\x02xx\x02\x01/").collect();
        let unknown = AnnounceOption { kind: 3, data: b"xx" };
        assert_eq!(
            all,
            [
                unknown,
                AnnounceOption {
                    kind: URL_DATA,
                    data: b"/"
                }
            ]
        );
    }
}
