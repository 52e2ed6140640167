//! Pages for people and machines that watch the tracker.

mod about;
mod grouping;
mod json;
mod metrics;
mod readers;
mod text;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use etracker_core::http::{Found, Page, Pages};
use etracker_core::{Instant, Tracker};
use serde_json::value::RawValue;

use about::Moment;
use readers::Budget;

pub(crate) use about::About;
pub(crate) use grouping::Grouping;
pub(crate) use readers::Readers;
pub(crate) use text::{error_name, local_time};

/// All pages, each written at most once a second, however many read it.
#[derive(Debug)]
pub(crate) struct Shelf {
    about: About,
    readers: Readers,
    text_type: Arc<str>,
    front: Page,
    state: Mutex<State>,
}

impl Shelf {
    pub(crate) fn new(about: About, readers: Readers) -> Self {
        Self {
            text_type: format!("text/plain; charset={}", about.charset).into(),
            about,
            readers,
            front: Page {
                content_type: "text/html; charset=utf-8".into(),
                body: Arc::from(FRONT.as_bytes()),
            },
            state: Mutex::default(),
        }
    }

    fn written(&self, state: &mut State, kind: Kind, now: Instant, tracker: &Tracker) -> Page {
        let second = now.as_secs();
        let kept = state
            .kept
            .iter()
            .find(|kept| kept.kind == kind && kept.second == second);
        if let Some(kept) = kept {
            return kept.page.clone();
        }
        let page = self.write(state, kind, now, tracker);
        state.kept.retain(|kept| kept.kind != kind);
        state.kept.push(Kept {
            kind,
            second,
            page: page.clone(),
        });
        page
    }

    fn write(&self, state: &mut State, kind: Kind, now: Instant, tracker: &Tracker) -> Page {
        let moment = Moment::take(&self.about, now, tracker);
        let (content_type, body) = match kind {
            Kind::Text => (Arc::clone(&self.text_type), text::page(&moment).into_bytes()),
            Kind::Json => (JSON.into(), json::page(&moment, &state.history(tracker))),
            Kind::Metrics => (metrics::CONTENT_TYPE.into(), metrics::page(&moment).into_bytes()),
        };
        Page {
            content_type,
            body: body.into(),
        }
    }
}

impl Pages for Shelf {
    fn find(&self, now: Instant, path: &[u8], reader: IpAddr, tracker: &Tracker) -> Found {
        let kind = match path {
            b"/" => None,
            b"/stats" | b"/stats.html" => Some(Kind::Text),
            b"/stats.json" => Some(Kind::Json),
            b"/metrics" => Some(Kind::Metrics),
            _ => return Found::Nothing,
        };
        if !self.readers.include(reader) {
            return Found::Nothing;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.budget.take(now.as_secs(), reader) {
            return Found::Busy;
        }
        Found::Page(match kind {
            None => self.front.clone(),
            Some(kind) => self.written(&mut state, kind, now, tracker),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
    Metrics,
}

#[derive(Debug, Default)]
struct State {
    budget: Budget,
    /// Invariant: at most one of each kind.
    kept: Vec<Kept>,
    history: Option<KeptHistory>,
}

/// A page and the second that it tells about.
#[derive(Debug)]
struct Kept {
    kind: Kind,
    second: u64,
    page: Page,
}

/// The history as it was written when its newest samples ended then.
#[derive(Debug)]
struct KeptHistory {
    ends: (u64, u64),
    written: Arc<RawValue>,
}

impl State {
    /// The history, which is the longest part of a page, written only when it has changed.
    fn history(&mut self, tracker: &Tracker) -> Arc<RawValue> {
        let history = tracker.history();
        let ends = (history.hour.end_secs(), history.day.end_secs());
        if let Some(kept) = self.history.as_ref().filter(|kept| kept.ends == ends) {
            return Arc::clone(&kept.written);
        }
        let written: Arc<RawValue> = json::history(&history).into();
        self.history = Some(KeptHistory {
            ends,
            written: Arc::clone(&written),
        });
        written
    }
}

const FRONT: &str = include_str!("front.html");
const JSON: &str = "application/json";
