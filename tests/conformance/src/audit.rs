//! The wrapper around every HTTP body of every check: B-01 to B-08, and the keys that few trackers send.

use crate::{
    transcript::{Transcript, Way},
    wire::bencode::{Reading, Value},
};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all bodies of a run together showed.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    bodies: usize,
    breaches: Vec<Breach>,
    seen: Vec<(&'static str, String)>,
}

/// A body that breaks a rule.
#[derive(Clone, Debug)]
struct Breach {
    id: &'static str,
    text: String,
    transcript: Transcript,
}

impl Audit {
    /// Notes what one body breaks. `check` is the check that asked for it.
    pub(crate) fn take(&self, check: &str, request: &[u8], answer: &[u8], reading: &Reading) {
        let mut found: Vec<(&'static str, String)> = reading
            .faults
            .iter()
            .map(|fault| (fault.rule.id(), fault.to_string()))
            .collect();
        if let Some(value) = &reading.value {
            found.extend(wrong_keys(value));
            found.extend(wrong_retry(value));
            found.extend(wrong_warning(value));
        }
        let mut inner = self.lock();
        inner.bodies += 1;
        if let Some(value) = &reading.value {
            inner.remember(value);
        }
        for (id, text) in found {
            let mut transcript = Transcript::default();
            if inner.breaches.iter().filter(|breach| breach.id == id).count() < SHOWN_MAX {
                transcript.add(Way::HttpOut, request);
                transcript.add(Way::HttpIn, answer);
            }
            inner.breaches.push(Breach {
                id,
                text: format!("in {check}: {text}"),
                transcript,
            });
        }
    }

    /// The breaches that a check has to answer for, as one line and the first of them in full.
    pub(crate) fn verdict(&self, id: &str) -> Option<(String, String)> {
        let inner = self.lock();
        let mine: Vec<&Breach> = inner.breaches.iter().filter(|breach| breach.id == id).collect();
        let first = mine.first()?;
        let bodies = inner.bodies;
        let reason = format!(
            "{} faults in {bodies} bodies of this run; the first {}",
            mine.len(),
            first.text
        );
        Some((
            reason,
            mine.iter()
                .take(SHOWN_MAX)
                .map(|breach| breach.transcript.render())
                .collect(),
        ))
    }

    /// What was seen under a key that few trackers send.
    pub(crate) fn seen(&self, key: &str) -> Option<String> {
        self.lock()
            .seen
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, body: &Value) {
        for key in ["retry in", "warning message"] {
            if let Some(value) = body.get(key)
                && !self.seen.iter().any(|(name, _)| *name == key)
            {
                self.seen.push((key, describe(value)));
            }
        }
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Int(number) => format!("the integer {number}"),
        Value::Bytes(bytes) => format!("the string `{}`", bytes.escape_ascii()),
        Value::List(_) => "a list".to_owned(),
        Value::Dict(_) => "a dictionary".to_owned(),
    }
}

fn wrong_keys(body: &Value) -> Option<(&'static str, String)> {
    let files = body.get("files")?;
    let wrong = files.keys().into_iter().find(|key| key.len() != 20)?;
    Some((
        "B-08",
        format!(
            "a key of `files` has {} bytes: `{}`",
            wrong.len(),
            wrong.escape_ascii()
        ),
    ))
}

/// BEP 31: minutes or `never`, and only beside a failure.
fn wrong_retry(body: &Value) -> Option<(&'static str, String)> {
    let retry = body.get("retry in")?;
    let fine = match retry {
        Value::Int(minutes) => *minutes > 0,
        Value::Bytes(text) if text == b"never" => true,
        Value::Bytes(text) => {
            std::str::from_utf8(text).is_ok_and(|text| text.parse::<u32>().is_ok_and(|minutes| minutes > 0))
        }
        Value::List(_) | Value::Dict(_) => false,
    };
    if !fine {
        return Some(("E-03", format!("`retry in` is {}", describe(retry))));
    }
    body.get("failure reason")
        .is_none()
        .then(|| ("E-03", "`retry in` without a `failure reason`".to_owned()))
}

fn wrong_warning(body: &Value) -> Option<(&'static str, String)> {
    let warning = body.get("warning message")?;
    if warning.bytes().is_none() {
        return Some(("E-06", format!("`warning message` is {}", describe(warning))));
    }
    let whole = body.get("interval").is_some() || body.get("files").is_some();
    (!whole).then(|| {
        (
            "E-06",
            "a `warning message`, but the rest of the answer is missing".to_owned(),
        )
    })
}

/// Breaches of one rule whose bytes are kept.
const SHOWN_MAX: usize = 2;
