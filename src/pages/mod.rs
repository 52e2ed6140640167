//! Pages for people and machines that watch the tracker.

mod about;
mod grouping;
mod health;
mod json;
mod metrics;
mod readers;
mod text;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use etracker_core::http::request::Request;
use etracker_core::http::{Found, Page, Pages};
use etracker_core::{Instant, Tracker};
use serde_json::value::RawValue;

use about::Moment;
use metrics::Format;
use readers::Budget;

use crate::reloads::ReloadLog;
use crate::verdict::Judge;
pub(crate) use about::About;
pub(crate) use grouping::Grouping;
pub(crate) use readers::Readers;
pub(crate) use text::{error_name, local_time};

/// All pages, each rendered at most once a second for all readers.
#[derive(Debug)]
pub(crate) struct PageCache {
    about: About,
    readers: Readers,
    text_type: Arc<str>,
    live: LivePage,
    state: Mutex<State>,
}

impl PageCache {
    pub(crate) fn new(about: About, readers: Readers) -> Self {
        Self {
            text_type: format!("text/plain; charset={}", about.charset).into(),
            about,
            readers,
            live: LivePage::new(),
            state: Mutex::default(),
        }
    }

    /// What judges the tracker, and what came of reloads: others take note of things in them.
    pub(crate) fn notes(&self) -> (Arc<Judge>, ReloadLog) {
        (Arc::clone(&self.about.judge), self.about.reloads.clone())
    }

    /// The answer to a request for a foreign host. It repeats only names of letters, digits, dots and dashes, so that it cannot
    /// carry markup.
    fn foreign_host_page(&self, host: &[u8]) -> Page {
        let harmless = |host: &String| {
            host.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        let name = readers::name_of(host).filter(harmless);
        let name = name.as_deref().unwrap_or("NAME");
        let text = format!(
            "403: with --stats-from, pages are shown under an address, localhost, the name of the machine, and names that \
             --page-host gives.\nIf {name} is this tracker, start it with --page-host {name}, or with \
             ETRACKER_PAGE_HOST={name}.\n"
        );
        Page {
            content_type: Arc::clone(&self.text_type),
            body: text.into_bytes().into(),
        }
    }

    fn get(&self, state: &mut State, kind: Kind, now: Instant, tracker: &Tracker) -> Found {
        let second = now.as_secs();
        let cached = state
            .cached
            .iter()
            .find(|cached| cached.kind == kind && cached.second == second);
        if let Some(cached) = cached {
            return cached.found.clone();
        }
        let found = self.render(state, kind, now, tracker);
        state.cached.retain(|cached| cached.kind != kind);
        state.cached.push(CachedPage {
            kind,
            second,
            found: found.clone(),
        });
        found
    }

    fn render(&self, state: &mut State, kind: Kind, now: Instant, tracker: &Tracker) -> Found {
        let moment = Moment::take(&self.about, now, tracker);
        let (content_type, body) = match kind {
            Kind::Text => (Arc::clone(&self.text_type), text::page(&moment).into_bytes()),
            Kind::Json => (JSON.into(), json::page(&moment, &state.history(tracker))),
            Kind::Metrics(format) => (
                format.content_type().into(),
                metrics::page(&moment, format).into_bytes(),
            ),
            Kind::Health(probe) => {
                let (is_good, text) = health::page(&moment, probe);
                let page = Page {
                    content_type: Arc::clone(&self.text_type),
                    body: text.into_bytes().into(),
                };
                return if is_good {
                    Found::Page(page)
                } else {
                    Found::Unavailable(page)
                };
            }
        };
        Found::Page(Page {
            content_type,
            body: body.into(),
        })
    }
}

impl Pages for PageCache {
    fn find(&self, now: Instant, request: &Request<'_>, reader: IpAddr, tracker: &Tracker) -> Found {
        let health = health::Probe::of(request.path);
        let source = match name(request.path) {
            _ if let Some(probe) = health => Source::Rendered(Kind::Health(probe)),
            Some(b"") => Source::Static(&self.live.page),
            Some(b"page.js") => Source::Static(&self.live.script),
            Some(b"page.css") => Source::Static(&self.live.style),
            Some(b"stats" | b"stats.html") => Source::Rendered(Kind::Text),
            Some(b"stats.json") => Source::Rendered(Kind::Json),
            Some(b"metrics") => Source::Rendered(Kind::Metrics(Format::wanted(request))),
            Some(_) | None => return Found::Nothing,
        };
        // Whoever checks health on this host need not be a reader.
        let is_checked_here = health.is_some() && reader.is_loopback();
        if !is_checked_here && !self.readers.may_read(reader) {
            return Found::Nothing;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Checked before the budget: a hostile page in the reader's browser must not use that up.
        if let Some(host) = self.readers.foreign_host(request) {
            return Found::Forbidden(self.foreign_host_page(host));
        }
        // A few lines once a second take no time; a check that is told to wait would have the tracker ended.
        if health.is_none() && !state.budget.take(now.as_secs(), self.readers.budget_key(reader)) {
            return Found::Busy;
        }
        match source {
            Source::Static(page) => Found::Page(page.clone()),
            Source::Rendered(kind) => self.get(&mut state, kind, now, tracker),
        }
    }
}

/// The only segment of a path, empty for `/`; `None` if there are more. Doubled slashes and one at the end do not matter, as
/// for announces.
fn name(path: &[u8]) -> Option<&[u8]> {
    let mut segments = path
        .split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty());
    let name = segments.next().unwrap_or_default();
    segments.next().is_none().then_some(name)
}

/// The live page. Its script and style are separate files, so that the Content-Security-Policy can forbid inline ones.
#[derive(Debug)]
struct LivePage {
    page: Page,
    script: Page,
    style: Page,
}

impl LivePage {
    fn new() -> Self {
        let page = |content_type: &str, text: &str| Page {
            content_type: content_type.into(),
            body: text.as_bytes().into(),
        };
        Self {
            page: page("text/html; charset=utf-8", include_str!("page.html")),
            script: page("text/javascript; charset=utf-8", include_str!("page.js")),
            style: page("text/css; charset=utf-8", include_str!("page.css")),
        }
    }
}

/// The source of a page.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    /// A page that never changes.
    Static(&'a Page),
    /// A page that is rendered each second.
    Rendered(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
    Metrics(Format),
    Health(health::Probe),
}

#[derive(Debug, Default)]
struct State {
    budget: Budget,
    /// Invariant: at most one page of each kind.
    cached: Vec<CachedPage>,
    history: Option<CachedHistory>,
}

/// A rendered page and its second.
#[derive(Debug)]
struct CachedPage {
    kind: Kind,
    second: u64,
    found: Found,
}

/// The rendered history, with the ends of its newest samples.
#[derive(Debug)]
struct CachedHistory {
    ends: (u64, u64),
    json: Arc<RawValue>,
}

impl State {
    /// The history as JSON. It is the longest part of a page, and is rendered only after a change.
    fn history(&mut self, tracker: &Tracker) -> Arc<RawValue> {
        let history = tracker.history();
        let ends = (history.hour.end_secs(), history.day.end_secs());
        if let Some(cached) = self.history.as_ref().filter(|cached| cached.ends == ends) {
            return Arc::clone(&cached.json);
        }
        let json: Arc<RawValue> = json::history(&history).into();
        self.history = Some(CachedHistory {
            ends,
            json: Arc::clone(&json),
        });
        json
    }
}

const JSON: &str = "application/json";

#[cfg(test)]
mod tests {
    use etracker_core::stats::Count;
    use etracker_core::{Config, Seed};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::members::ClusterView;
    use crate::renewals::Renewals;

    const NOW: Instant = Instant::from_secs(1_700_000_000);
    const LEGEND: &str = include_str!("../../docs/stats.md");

    fn page_cache() -> PageCache {
        let about = About {
            revision: "abc".to_owned(),
            runtime: "smol",
            life: None,
            started: NOW,
            failures: 7,
            port: 6969,
            tcp: true,
            udp: true,
            tls_port: Some(443),
            certificates: None,
            renewals: Renewals::default(),
            cluster: ClusterView::default(),
            state: None,
            reloads: ReloadLog::default(),
            judge: Arc::new(Judge::new(NOW)),
            open_files: (1024, 4096),
            connections_max: Some(900),
            memory_max: Some(256 << 20),
            charset: "utf-8".to_owned(),
            grouping: Grouping::of("en_US", "utf-8").unwrap(),
            zone: TimeZone::UTC,
        };
        PageCache::new(about, Readers::new(Vec::new(), []))
    }

    fn found(page_cache: &PageCache, tracker: &Tracker, secs: u64, path: &str) -> String {
        let now = NOW.saturating_add(std::time::Duration::from_secs(secs));
        let Found::Page(page) = find(page_cache, tracker, now, path, [192, 0, 2, 1].into()) else {
            panic!("no page at {path}");
        };
        String::from_utf8(page.body.to_vec()).unwrap()
    }

    fn find(page_cache: &PageCache, tracker: &Tracker, now: Instant, path: &str, reader: IpAddr) -> Found {
        let head = format!("GET {path} HTTP/1.1\r\n\r\n");
        page_cache.find(now, &Request::parse(head.as_bytes()).unwrap(), reader, tracker)
    }

    fn tracker() -> Tracker {
        Tracker::new(Config::default(), Seed::new([7; 32]), NOW)
    }

    #[test]
    fn every_name_on_the_pages_is_in_the_legend() {
        let (page_cache, tracker) = (page_cache(), tracker());
        for count in Count::ALL {
            assert!(
                LEGEND.contains(&format!("`{}`", count.name())),
                "{}",
                count.name()
            );
        }
        let metrics = found(&page_cache, &tracker, 1, "/metrics");
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(LEGEND.contains(&format!("`{name}`")), "{name}");
        }
        let json: serde_json::Value =
            serde_json::from_str(&found(&page_cache, &tracker, 1, "/stats.json")).unwrap();
        for name in json.as_object().unwrap().keys() {
            let named = [format!("`{name}`"), format!("`{name}.")];
            assert!(named.iter().any(|name| LEGEND.contains(name)), "{name}");
        }
        for name in json["history"]["hour"].as_object().unwrap().keys() {
            assert!(LEGEND.contains(name), "{name}");
        }
    }

    #[test]
    fn a_page_is_written_once_a_second() {
        let (page_cache, tracker) = (page_cache(), tracker());
        let before = found(&page_cache, &tracker, 1, "/stats.json");
        tracker.handle_timeout(NOW.saturating_add(std::time::Duration::from_secs(20)), [0.5; 3]);
        assert_eq!(found(&page_cache, &tracker, 1, "/stats.json"), before);
        let after = found(&page_cache, &tracker, 2, "/stats.json");
        assert!(
            before.contains("\"load\":[]") && after.contains("\"load\":[null,0.5]"),
            "{after}"
        );
    }

    #[test]
    fn doubled_slashes_and_one_at_the_end_lead_to_the_same_page() {
        let (page_cache, tracker) = (page_cache(), tracker());
        for path in ["/", "/stats", "/stats.json", "/metrics"] {
            let page = found(&page_cache, &tracker, 1, path);
            for other in [format!("/{path}"), format!("{path}/"), format!("//{path}//")] {
                assert_eq!(found(&page_cache, &tracker, 1, &other), page, "{other}");
            }
        }
        for path in ["/stats/x", "/x/stats", "/stats//json"] {
            let found = find(&page_cache, &tracker, NOW, path, [192, 0, 2, 1].into());
            assert!(matches!(found, Found::Nothing), "{path}");
        }
    }

    #[test]
    fn however_many_ask_in_a_second_they_share_one_writing_of_each_page() {
        let (page_cache, tracker) = (page_cache(), tracker());
        let mut answers: Vec<Arc<[u8]>> = Vec::new();
        for number in 0..6000_u32 {
            let now = NOW.saturating_add(std::time::Duration::from_micros(u64::from(number) * 333));
            let path = ["/stats", "/stats.json", "/metrics"][number as usize % 3];
            let reader = IpAddr::V4((number % 1000).into());
            let Found::Page(page) = find(&page_cache, &tracker, now, path, reader) else {
                panic!("no {path} for {reader}");
            };
            answers.push(page.body);
        }
        let seconds = 2;
        let bodies: std::collections::HashSet<_> = answers.iter().map(|body| body.as_ptr()).collect();
        assert_eq!(bodies.len(), seconds * 3);
    }

    #[test]
    fn open_metrics_go_to_those_who_name_them_and_text_to_all_others() {
        let (page_cache, tracker) = (page_cache(), tracker());
        let metrics = |accept: &str| {
            let head = format!("GET /metrics HTTP/1.1\r\n{accept}\r\n");
            let request = Request::parse(head.as_bytes()).unwrap();
            let Found::Page(page) = page_cache.find(NOW, &request, [192, 0, 2, 1].into(), &tracker) else {
                panic!("no metrics for {accept}");
            };
            let text = String::from_utf8(page.body.to_vec()).unwrap();
            let is_open = page
                .content_type
                .starts_with("application/openmetrics-text; version=1.0.0");
            assert!(is_open || page.content_type.starts_with("text/plain; version=0.0.4"));
            assert_eq!(text.ends_with("# EOF\n"), is_open);
            assert_eq!(
                text.contains("# TYPE etracker_requests_total counter\n"),
                !is_open
            );
            assert_eq!(text.contains("# TYPE etracker_requests counter\n"), is_open);
            assert!(text.contains("etracker_requests_total{protocol=\"udp\",family=\"ipv4\"} 0\n"));
            assert!(text.contains("etracker_sweep_seconds_total 0"), "{text}");
            is_open
        };
        for accept in [
            // Prometheus 2 and 3.
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            "Accept: application/openmetrics-text\r\n",
            "accept: Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8, text/plain\r\n",
            "Accept: text/html\r\nAccept: application/openmetrics-text\r\n",
        ] {
            assert!(metrics(accept), "{accept}");
        }
        for accept in [
            "",
            "Accept: */*\r\n",
            "Accept: text/plain\r\n",
            "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
            "Accept: application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5\r\n",
            "Accept: application/openmetrics-text;q=0\r\n",
            "Accept: application/openmetrics-text;q=high\r\n",
            "Accept: application/openmetrics-text;q=0.5,text/plain;version=0.0.4\r\n",
        ] {
            assert!(!metrics(accept), "{accept}");
        }
    }

    #[test]
    fn readers_who_use_up_their_budgets_leave_another_its_own() {
        let (page_cache, tracker) = (page_cache(), tracker());
        for stranger in 0..7 {
            let statuses =
                (0..50).map(|_| find(&page_cache, &tracker, NOW, "/", [198, 51, 100, stranger].into()));
            assert_eq!(
                statuses.filter(|found| matches!(found, Found::Page(_))).count(),
                20
            );
        }
        assert!(found(&page_cache, &tracker, 0, "/metrics").contains("etracker_workers 0\n"));
    }

    #[test]
    fn a_page_under_a_foreign_name_says_which_name_to_give() {
        let tracker = tracker();
        let networks = vec!["192.0.2.0/24".parse().unwrap()];
        let page_cache = PageCache {
            readers: Readers::new(networks, ["tracker.example".to_owned()]),
            ..page_cache()
        };
        let ask = |host: &str, reader: [u8; 4]| {
            let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
            page_cache.find(
                NOW,
                &Request::parse(head.as_bytes()).unwrap(),
                reader.into(),
                &tracker,
            )
        };
        let forbidden = |host: &str| {
            let Found::Forbidden(page) = ask(host, [192, 0, 2, 1]) else {
                panic!("{host} is not forbidden");
            };
            String::from_utf8(page.body.to_vec()).unwrap()
        };
        assert!(forbidden("box.example:6969").contains("start it with --page-host box.example, or"));
        (0..100).for_each(|_| drop(forbidden("box.example")));
        assert!(forbidden("<script>").contains("--page-host NAME,") && !forbidden("<script>").contains('<'));
        assert!(matches!(
            ask("tracker.example:6969", [192, 0, 2, 1]),
            Found::Page(_)
        ));
        assert!(
            matches!(ask("box.example", [192, 0, 3, 1]), Found::Nothing),
            "strangers learn nothing"
        );
    }

    #[test]
    fn the_start_is_shown_as_it_always_was() {
        let (page_cache, tracker) = (page_cache(), tracker());
        let page = found(&page_cache, &tracker, 200_000, "/stats");
        let line = page.lines().find(|line| line.starts_with("start_time"));
        assert_eq!(line, Some("start_time = Tue Nov 14 22:13:20 2023 (2d) (7f)"));
        assert!(page.contains("active_sockets = 0 (rlimit 1,024/4,096)"));
    }
}
