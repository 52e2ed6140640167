//! What monitors a tracker: parsers of its metrics, the schema of its numbers, the rules and the dashboard of `packaging/`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use etracker_core::InfoHash;
use etracker_core::http::Response;
use serde_json::Value;

use crate::clients::{UdpClient, http_announce, http_get, newcomer};
use crate::harness::{Folder, Tracker, free_port, happens};
use crate::pages::{BETWEEN_PAGES, WELL, json, open_metrics};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A tracker that has a state, lists and peers.
fn tracker(folder: &Folder) -> Tracker {
    let (state, list) = (folder.path("state"), folder.path("deny"));
    fs::write(&list, format!("{}\n", "ab".repeat(20))).unwrap();
    let options = ["--state", &state, "--deny-list", &list, "--memory-max", "256M"];
    let tracker = Tracker::start(&[&options[..], WELL].concat());
    let peer = newcomer(InfoHash([7; 20]), (LOCALHOST, 1001).into());
    http_announce(tracker.v4(), &peer, None);
    UdpClient::connect(LOCALHOST, tracker.v4()).announce(&peer);
    assert!(happens(BETWEEN_PAGES, || json(&tracker)["state"]["writes"] == 1));
    tracker
}

/// Runs a script of the system's Python with `input`.
fn python(script: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
#[ignore = "needs python3-prometheus-client"]
fn a_strict_parser_takes_the_open_metrics() {
    let folder = Folder::new("open-metrics");
    let tracker = tracker(&folder);
    let script = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        families = list(parse(sys.stdin.read()))\n\
        assert len(families) > 50, len(families)\n\
        without = [f.name for f in families if not f.documentation]\n\
        assert not without, without\n\
        turns = [f for f in families if f.name == 'etracker_turn_seconds']\n\
        assert turns[0].type == 'histogram', turns\n";
    python(script, &[], &open_metrics(&tracker));
}

#[test]
#[ignore = "needs python3-jsonschema"]
fn the_numbers_are_as_their_schema_says() {
    let folder = Folder::new("schema");
    let tracker = tracker(&folder);
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stats.schema.json");
    let script = "import json, sys, jsonschema\n\
        schema, page = json.load(open(sys.argv[1])), json.load(sys.stdin)\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        check = jsonschema.Draft202012Validator(schema)\n\
        check.validate(page)\n\
        # It is strict enough to notice another type, and a name that is missing.\n\
        for spoil in (lambda p: p.pop('verdict'), lambda p: p['process'].update(workers='2'), lambda p: p['history']['hour'].pop('load')):\n\
        \x20   spoilt = json.loads(json.dumps(page))\n\
        \x20   spoil(spoilt)\n\
        \x20   assert not check.is_valid(spoilt)\n\
        # Each name on the page is in it.\n\
        assert set(page) == set(schema['properties']), set(page) ^ set(schema['properties'])\n";
    let page = http_get(LOCALHOST, tracker.v4(), "/stats.json").body;
    python(script, &[schema], &String::from_utf8(page).unwrap());
}

/// A Prometheus that scrapes a tracker as the job `etracker` each second, with the alerts of `packaging/`.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Prometheus {
    pub(crate) fn before(tracker: &Tracker) -> Self {
        let port = free_port();
        let folder = Folder::new(&format!("prometheus-{port}"));
        let (config, rules) = (
            folder.path("prometheus.yml"),
            concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus/alerts.yml"),
        );
        let jobs = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: ['{rules}']\n\
             scrape_configs:\n- job_name: etracker\n  static_configs:\n  - targets: ['{}']\n",
            tracker.v4()
        );
        fs::write(&config, jobs).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={config}"))
            .arg(format!("--storage.tsdb.path={}", folder.path("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    /// The `data` of an answer; `None` if it is none, or an error.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect((LOCALHOST, self.port)).ok()?;
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut answer).ok()?;
        let response = Response::decode(&answer, true).ok()??;
        let mut json: Value = serde_json::from_slice(&response.body).ok()?;
        (json["status"] == "success").then(|| json["data"].take())
    }

    /// What a query finds: one entry for each series.
    pub(crate) fn query(&self, query: &str) -> Option<Vec<Value>> {
        let query: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let found = self.ask(&format!("query?query={query}"))?;
        found["result"].as_array().cloned()
    }

    /// Alerts that fire or are about to.
    pub(crate) fn alerts(&self) -> Vec<String> {
        let alerts = self.ask("alerts").unwrap_or_default();
        let alerts = alerts["alerts"].as_array().cloned().unwrap_or_default();
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        alerts.iter().map(name).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs prometheus"]
fn every_query_of_the_dashboard_runs_and_shows_what_there_is() {
    let folder = Folder::new("dashboard");
    let tracker = tracker(&folder);
    let prometheus = Prometheus::before(&tracker);
    // Rates take two samples.
    let is_scraped = || {
        prometheus
            .query("count_over_time(up[1m]) >= 3")
            .is_some_and(|found| !found.is_empty())
    };
    assert!(happens(BETWEEN_PAGES, is_scraped));
    let dashboard = fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/grafana/etracker.json"
    ))
    .unwrap();
    let dashboard: Value = serde_json::from_slice(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets
            .iter()
            .map(|target| (panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()))
    });
    let mut count = 0;
    for (title, query) in targets {
        let query = query
            .replace("$__rate_interval", "1m")
            .replace("$job", "etracker")
            .replace("$instance", ".*");
        let found = prometheus
            .query(&query)
            .unwrap_or_else(|| panic!("{title}: {query}"));
        // Nothing is refused, and there is no HTTPS.
        let may_be_empty = query.contains("_certificate_") || query.ends_with("> 0");
        assert!(
            !found.is_empty() || may_be_empty,
            "{title} shows nothing: {query}"
        );
        count += 1;
    }
    assert!(count > 30, "{count}");
    assert_eq!(prometheus.alerts(), [""; 0]);
}

#[test]
#[ignore = "needs promtool"]
fn promtool_finds_the_alerts_in_order_and_each_fires_on_what_it_is_for() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("FAILED"), "{said}");
    }
}
