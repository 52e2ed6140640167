//! A strict reader of bencode (BEP 3) that says which rule a body breaks, and where.

use std::fmt;

/// A bencoded value. Dictionaries keep the order, and the duplicates, of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i128),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(Vec<(Vec<u8>, Self)>),
}

impl Value {
    /// The value under `key` of a dictionary; the first if there are several.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.dict()?
            .iter()
            .find(|(name, _)| name == key.as_bytes())
            .map(|(_, value)| value)
    }

    pub(crate) fn int(&self) -> Option<i128> {
        if let Self::Int(number) = self {
            Some(*number)
        } else {
            None
        }
    }

    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self {
            Some(bytes)
        } else {
            None
        }
    }

    pub(crate) fn list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self {
            Some(items)
        } else {
            None
        }
    }

    pub(crate) fn dict(&self) -> Option<&[(Vec<u8>, Self)]> {
        if let Self::Dict(pairs) = self {
            Some(pairs)
        } else {
            None
        }
    }

    /// The keys of a dictionary in the order of the wire; nothing for another value.
    pub(crate) fn keys(&self) -> Vec<&[u8]> {
        self.dict()
            .unwrap_or_default()
            .iter()
            .map(|(key, _)| key.as_slice())
            .collect()
    }
}

/// The rules of the B group that a reader can judge from a body alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    OneDictionary,
    NothingAfter,
    SortedKeys,
    CanonicalInteger,
    ExactLength,
    FilesSorted,
    FilesUnique,
}

impl Rule {
    /// The check that reports a breach of this rule.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::OneDictionary => "B-01",
            Self::NothingAfter => "B-02",
            Self::SortedKeys => "B-03",
            Self::CanonicalInteger => "B-04",
            Self::ExactLength => "B-05",
            Self::FilesSorted => "B-06",
            Self::FilesUnique => "B-07",
        }
    }
}

/// A breach of a rule at an offset of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) rule: Rule,
    pub(crate) offset: usize,
    pub(crate) text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at byte {}", self.text, self.offset)
    }
}

/// What was read: the value if the body could be followed to its end, and every fault met.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) value: Option<Value>,
    pub(crate) faults: Vec<Fault>,
}

/// Reads a whole body, going on past faults that leave no doubt about the meaning.
pub(crate) fn read(body: &[u8]) -> Reading {
    let mut reader = Reader {
        body,
        at: 0,
        faults: Vec::new(),
    };
    let value = match reader.value(0, Place::Top) {
        Ok(value) => {
            reader.check_end(&value);
            Some(value)
        }
        Err(fault) => {
            reader.faults.push(fault);
            None
        }
    };
    Reading {
        value,
        faults: reader.faults,
    }
}

/// Reads a body that must keep every rule.
#[cfg(test)]
pub(crate) fn read_strict(body: &[u8]) -> Result<Value, Fault> {
    let mut reading = read(body);
    match (reading.faults.is_empty(), reading.value) {
        (true, Some(value)) => Ok(value),
        _ => Err(reading.faults.remove(0)),
    }
}

/// Where a value stands: only the keys of `files` at the top have rules of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Files,
    Elsewhere,
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn check_end(&mut self, value: &Value) {
        if value.dict().is_none() {
            self.note(Rule::OneDictionary, 0, "the body is not a dictionary".to_owned());
        }
        let rest = self.body.len() - self.at;
        if rest > 0 {
            self.note(
                Rule::NothingAfter,
                self.at,
                format!("{rest} bytes after the closing `e`"),
            );
        }
    }

    fn value(&mut self, depth: usize, place: Place) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.broken(Rule::OneDictionary, "nested too deeply"));
        }
        match self.body.get(self.at) {
            Some(b'i') => self.integer(),
            Some(b'l') => self.list(depth),
            Some(b'd') => self.dict(depth, place),
            Some(b'0'..=b'9') => self.string().map(Value::Bytes),
            Some(_) => Err(self.broken(Rule::OneDictionary, "no bencoded value begins like this")),
            None => Err(self.broken(Rule::OneDictionary, "the body ends where a value should begin")),
        }
    }

    fn integer(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.at += 1;
        let digits = self.until(b'e', Rule::CanonicalInteger)?;
        let unsigned = digits.strip_prefix('-').unwrap_or(digits);
        if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(fault(
                Rule::CanonicalInteger,
                start,
                format!("`{digits}` is not an integer"),
            ));
        }
        let number = digits.parse().map_err(|_| {
            fault(
                Rule::CanonicalInteger,
                start,
                format!("`{digits}` is out of all range"),
            )
        })?;
        if digits == "-0" || (unsigned.len() > 1 && unsigned.starts_with('0')) {
            let text = format!("integer `{digits}` is not canonical");
            self.note(Rule::CanonicalInteger, start, text);
        }
        Ok(Value::Int(number))
    }

    fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let start = self.at;
        let digits = self.until(b':', Rule::ExactLength)?;
        let length: usize = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())
            .flatten()
            .ok_or_else(|| fault(Rule::ExactLength, start, format!("`{digits}` is not a length")))?;
        let left = self.body.len() - self.at;
        let bytes = self
            .body
            .get(self.at..)
            .and_then(|rest| rest.get(..length))
            .ok_or_else(|| {
                fault(
                    Rule::ExactLength,
                    start,
                    format!("a string of {length} bytes, but {left} are left"),
                )
            })?;
        let bytes = bytes.to_vec();
        if digits.len() > 1 && digits.starts_with('0') {
            let text = format!("length `{digits}` has a leading zero");
            self.note(Rule::ExactLength, start, text);
        }
        self.at += length;
        Ok(bytes)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        while self.body.get(self.at) != Some(&b'e') {
            items.push(self.value(depth + 1, Place::Elsewhere)?);
        }
        self.at += 1;
        Ok(Value::List(items))
    }

    fn dict(&mut self, depth: usize, place: Place) -> Result<Value, Fault> {
        self.at += 1;
        let mut pairs: Vec<(Vec<u8>, Value)> = Vec::new();
        while self.body.get(self.at) != Some(&b'e') {
            let offset = self.at;
            if !matches!(self.body.get(self.at), Some(b'0'..=b'9')) {
                return Err(self.broken(Rule::OneDictionary, "a key should begin here"));
            }
            let key = self.string()?;
            if let Some((previous, _)) = pairs.last() {
                self.check_order(previous, &key, offset, place);
            }
            let inner = if place == Place::Top && key == b"files" {
                Place::Files
            } else {
                Place::Elsewhere
            };
            let value = self.value(depth + 1, inner)?;
            pairs.push((key, value));
        }
        self.at += 1;
        Ok(Value::Dict(pairs))
    }

    fn check_order(&mut self, previous: &[u8], key: &[u8], offset: usize, place: Place) {
        if previous < key {
            return;
        }
        let rule = match (place == Place::Files, previous == key) {
            (true, true) => Rule::FilesUnique,
            (true, false) => Rule::FilesSorted,
            (false, _) => Rule::SortedKeys,
        };
        let what = if previous == key { "again" } else { "out of order" };
        let (key, previous) = (key.escape_ascii(), previous.escape_ascii());
        self.note(rule, offset, format!("key `{key}` {what} after `{previous}`"));
    }

    /// The text up to `end`, which is skipped. At most [`NUMBER_MAX`] bytes.
    fn until(&mut self, end: u8, rule: Rule) -> Result<&'a str, Fault> {
        let start = self.at;
        let rest: &'a [u8] = self.body.get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .take(NUMBER_MAX)
            .position(|byte| *byte == end)
            .ok_or_else(|| fault(rule, start, format!("no `{}` ends this number", char::from(end))))?;
        self.at += length + 1;
        std::str::from_utf8(rest.get(..length).unwrap_or_default())
            .map_err(|_| fault(rule, start, "a number with bytes that are no digits".to_owned()))
    }

    fn note(&mut self, rule: Rule, offset: usize, text: String) {
        self.faults.push(fault(rule, offset, text));
    }

    fn broken(&self, rule: Rule, text: &str) -> Fault {
        fault(rule, self.at, text.to_owned())
    }
}

fn fault(rule: Rule, offset: usize, text: String) -> Fault {
    Fault { rule, offset, text }
}

/// Levels of nesting; a scrape has three.
const DEPTH_MAX: usize = 32;

/// Digits of a length or an integer; the greatest 64-bit number has 20.
const NUMBER_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::{Rule, Value, read, read_strict};

    #[test]
    fn reads_what_is_canonical() {
        let value = read_strict(b"l1:ae").unwrap_err();
        assert_eq!(value.rule, Rule::OneDictionary);
        let value = read_strict(b"d1:ai-7e1:bl0:2:xye1:cd1:di0eee").unwrap();
        assert_eq!(value.get("a"), Some(&Value::Int(-7)));
        assert_eq!(value.get("b").and_then(Value::list).map(<[Value]>::len), Some(2));
    }

    #[test]
    fn names_the_rule_that_is_broken() {
        let cases: [(&[u8], Rule); 14] = [
            (b"", Rule::OneDictionary),
            (b"i1e", Rule::OneDictionary),
            (b"d1:a", Rule::OneDictionary),
            (b"<html>", Rule::OneDictionary),
            (b"de\r\n", Rule::NothingAfter),
            (b"d1:bi1e1:ai1ee", Rule::SortedKeys),
            (b"d1:ai1e1:ai1ee", Rule::SortedKeys),
            (b"d1:ai-0ee", Rule::CanonicalInteger),
            (b"d1:ai01ee", Rule::CanonicalInteger),
            (b"d1:aiee", Rule::CanonicalInteger),
            (b"d01:ai1ee", Rule::ExactLength),
            (b"d1:a5:xye", Rule::ExactLength),
            (b"d5:filesd1:bde1:adeee", Rule::FilesSorted),
            (b"d5:filesd1:bde1:bdeee", Rule::FilesUnique),
        ];
        for (body, rule) in cases {
            assert_eq!(
                read_strict(body).unwrap_err().rule,
                rule,
                "{}",
                body.escape_ascii()
            );
        }
    }

    #[test]
    fn goes_on_past_faults_that_leave_the_meaning_clear() {
        let reading = read(b"d1:bi01e1:ai2ee\r\n");
        assert_eq!(reading.faults.len(), 3);
        assert_eq!(reading.value.unwrap().get("a"), Some(&Value::Int(2)));
    }

    #[test]
    fn takes_any_bytes_without_a_panic() {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet = b"dlie0123456789:-xe";
        for _ in 0..20_000 {
            let body: Vec<u8> = (0..random.usize(..40))
                .map(|_| *random.choice(alphabet).unwrap())
                .collect();
            let _ = read(&body);
        }
        let _ = read(&[b'l'; 10_000]);
    }
}
