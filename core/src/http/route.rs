//! From paths to requests of the protocol and pages.

/// The meaning of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Announce,
    Scrape,
    /// An announce or scrape at a path that is not of this tracker.
    WrongPath,
    /// Any other path, relative to the prefix: perhaps of a page.
    Page(&'a [u8]),
}

impl<'a> Route<'a> {
    /// The meaning of `path` at `/` and under `prefix`, which is empty or like `/a/b`.
    pub(super) fn of(path: &'a [u8], prefix: &[u8]) -> Self {
        match path {
            // The paths of nearly all requests, without a search.
            b"/announce" => Self::Announce,
            b"/scrape" => Self::Scrape,
            _ => Self::of_other_spellings(path, prefix),
        }
    }

    /// The meaning of other spellings. Torrents hold announce URLs of trackers whose name moved here, and URLs that tools joined.
    fn of_other_spellings(path: &'a [u8], prefix: &[u8]) -> Self {
        let path = within(path, prefix).unwrap_or(path);
        let mut segments = segments(path);
        let (first, second, third) = (segments.next(), segments.next(), segments.next());
        let route = match (first, second) {
            (Some(first), None) => protocol(first),
            (Some(first), Some(second)) if third.is_none() => {
                protocol(first).or_else(|| protocol(second).filter(|_| is_key(first)))
            }
            (Some(_), Some(_)) | (None, _) => None,
        };
        route.unwrap_or_else(|| {
            if ends_as_a_tracker_path(path) {
                Self::WrongPath
            } else {
                Self::Page(path)
            }
        })
    }
}

/// The path within `prefix`, beginning with its slash; `None` if `path` is not in there.
fn within<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let mut rest = path;
    for segment in segments(prefix) {
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        rest = rest.get(slashes..)?.strip_prefix(segment)?;
        if !rest.starts_with(b"/") {
            return None;
        }
    }
    Some(rest)
}

/// The segments of a path without empty ones, which joined URLs have.
fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
}

/// The request that a segment names. Trackers written in PHP have the names with `.php`.
fn protocol<'a>(segment: &[u8]) -> Option<Route<'a>> {
    match segment {
        b"announce" | b"announce.php" => Some(Route::Announce),
        b"scrape" | b"scrape.php" => Some(Route::Scrape),
        _ => None,
    }
}

/// Whether the segment can be a private tracker's key before `announce`. A key after `announce` can be anything, as nothing else
/// has that form; but `/x/announce` and `/tracker/announce` are a wrong path or lack a prefix, and the client is told so.
fn is_key(segment: &[u8]) -> bool {
    let of_a_key = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    KEY_LEN.contains(&segment.len()) && segment.iter().all(of_a_key)
}

/// Whether the path ends like a tracker's.
fn ends_as_a_tracker_path(path: &[u8]) -> bool {
    let last = segments(path).last().unwrap_or_default();
    let last = last.strip_suffix(b".php").unwrap_or(last);
    last.ends_with(b"announce") || last.ends_with(b"scrape")
}

/// Characters of a key before `announce`: most have 32, and a UUID has 36.
const KEY_LEN: core::ops::RangeInclusive<usize> = 16..=64;

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789ABCDEF";

    fn of(path: &str, prefix: &str) -> String {
        match Route::of(path.as_bytes(), prefix.as_bytes()) {
            Route::Announce => "announce".into(),
            Route::Scrape => "scrape".into(),
            Route::WrongPath => "astray".into(),
            Route::Page(path) => String::from_utf8(path.to_vec()).unwrap(),
        }
    }

    #[test]
    fn the_paths_of_real_announce_urls_are_served_with_and_without_a_prefix() {
        let forms = [
            "/announce",
            "/announce/",
            "//announce",
            "/announce.php",
            "/announce.php/",
            "/announce/KEY",
            "/announce/KEY/",
            "/announce/x",
            "/announce/p=7&q",
            "/announce.php/KEY",
            "/KEY/announce",
            "/KEY/announce/",
            "//KEY//announce",
            "/KEY/announce.php",
            "/550e8400-e29b-41d4-a716-446655440000/announce",
            "/abc_DEF-01234567/announce",
        ];
        for form in forms {
            let announce = form.replace("KEY", KEY);
            let scrape = announce.replace("announce", "scrape");
            for prefix in ["", "/tracker", "/a/b", "/x/0123456789abcdef"] {
                for before in ["", prefix, &prefix.replace('/', "//")] {
                    for (path, route) in [(&announce, "announce"), (&scrape, "scrape")] {
                        assert_eq!(of(&[before, path].concat(), prefix), route, "{before}{path}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_ends_as_a_trackers_path_and_is_none_is_astray() {
        for path in [
            "/x/announce",
            "/tracker/announce",
            "/x/scrape/",
            "/x/announce.php",
            "/xannounce",
            "/0123456789abcde/announce",
            "/0123456789.abcdef/announce",
            "/a/b/announce",
            "/0123456789abcdef/0123456789abcdef/announce",
        ] {
            assert_eq!(of(path, ""), "astray");
            assert_eq!(of(path, "/c"), "astray");
        }
        assert_eq!(of("/ab/announce", "/a"), "astray", "a prefix ends at a slash");
        assert_eq!(of("/b/announce", "/a/b"), "astray", "a prefix is whole");
    }

    #[test]
    fn pages_are_found_under_the_prefix_too() {
        for (path, prefix, page) in [
            ("/", "", "/"),
            ("/stats", "", "/stats"),
            ("/stats", "/a/b", "/stats"),
            ("/a/b/stats", "/a/b", "/stats"),
            ("/a/b/", "/a/b", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a/bstats", "/a/b", "/a/bstats"),
            ("/announcement", "", "/announcement"),
        ] {
            assert_eq!(of(path, prefix), page);
        }
    }

    quickcheck! {
        fn any_path_leads_somewhere(path: Vec<u8>, prefix: Vec<u8>) -> bool {
            match Route::of(&path, &prefix) {
                Route::Page(page) => path.ends_with(page),
                Route::Announce | Route::Scrape | Route::WrongPath => true,
            }
        }
    }
}
