//! The command line: a run, a list, an explanation, or a comparison.

use bpaf::{ParseFailure, Parser, construct, long, positional, pure};
use etracker_conformance::{
    Card, Check, Endpoint, Exceptions, Level, Outcome, Patterns, Scorecard, Selection, Settings, Told, Trust,
    catalogue, compare_markdown, compare_text, junit, plain, run, text,
};
use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::Duration,
};

/// Reads the command line and does what it says.
pub(crate) fn command() -> ExitCode {
    let task = match task().run_inner(bpaf::Args::current_args()) {
        Ok(task) => task,
        Err(ParseFailure::Stdout(text, full)) => {
            return show(&format!("{}\n", text.monochrome(full).trim_end()));
        }
        Err(ParseFailure::Completion(text)) => return show(&text),
        Err(ParseFailure::Stderr(text)) => return complain(&text.monochrome(true)),
    };
    match task {
        Task::List => show(&list()),
        Task::Explain(id) => explain(&id),
        Task::Compare { markdown, files } => compare(markdown, &files),
        Task::Run(order) => order.carry_out(),
    }
}

#[derive(Clone, Debug)]
enum Task {
    List,
    Explain(String),
    Compare { markdown: bool, files: Vec<PathBuf> },
    Run(Box<Order>),
}

#[derive(Clone, Debug)]
struct Order {
    name: Option<String>,
    settings: Settings,
    selection: Selection,
    brief: bool,
    json: Option<PathBuf>,
    junit: Option<PathBuf>,
    exceptions: Option<Exceptions>,
}

fn task() -> bpaf::OptionParser<Task> {
    let list = long("list").help("List all checks and exit").req_flag(Task::List);
    let explain = long("explain")
        .help("Tell what a check sends, what must hold, and why it matters")
        .argument::<String>("ID")
        .map(Task::Explain);
    let files = positional::<PathBuf>("FILE")
        .help("Scorecards written by --json")
        .some("name at least one scorecard");
    let markdown = long("markdown")
        .help("Print Markdown instead of a plain table")
        .switch();
    let compare = construct!(Task::Compare { markdown, files })
        .to_options()
        .descr("Print scorecards side by side")
        .command("compare");
    let run = order().map(|order| Task::Run(Box::new(order)));
    construct!([compare, list, explain, run])
        .to_options()
        .descr("Conformance checks for any BitTorrent tracker")
        .footer("Exit status: 1 when a normative (M) check failed, nothing could be run, or --exceptions is not met; 2 for a bad option; else 0.")
        .version(env!("CARGO_PKG_VERSION"))
}

fn order() -> impl Parser<Order> {
    let name = long("name")
        .help("What to call the target in the scorecard")
        .argument::<String>("NAME")
        .optional();
    let settings = settings();
    let selection = selection();
    let brief = long("brief")
        .help("Leave out bytes, remarks and reasons")
        .switch();
    let json = long("json")
        .help("Write the scorecard as JSON; - is standard output, and what is for people goes to standard error")
        .argument::<PathBuf>("FILE")
        .optional();
    let junit = long("junit")
        .help("Write the scorecard as JUnit XML; - as with --json")
        .argument::<PathBuf>("FILE")
        .optional();
    let exceptions = long("exceptions")
        .help("Exit with 1 unless all M, S and H checks pass but those in FILE, a line each: ID and reason")
        .argument::<PathBuf>("FILE")
        .parse(|path| {
            fs::read_to_string(&path).map_err(|error| format!("{}: {}", path.display(), plain(&error)))
        })
        .parse(|text| Exceptions::parse(&text))
        .optional();
    construct!(Order {
        exceptions,
        settings,
        name,
        selection,
        brief,
        json,
        junit
    })
    .guard(
        |order| !(is_output(order.json.as_deref()) && is_output(order.junit.as_deref())),
        "only one of --json and --junit can be standard output",
    )
}

fn url(
    option: &'static str,
    help: &'static str,
    scheme: &'static str,
    v6: bool,
) -> impl Parser<Option<Endpoint>> {
    long(option)
        .help(help)
        .argument::<String>("URL")
        .parse(move |url| Endpoint::parse(&url, scheme, v6))
        .optional()
}

fn settings() -> impl Parser<Settings> {
    let http = url(
        "http",
        "Announce URL over IPv4, such as http://127.0.0.1:6969/announce; https:// has every HTTP check go over TLS",
        "http",
        false,
    );
    let http6 = url(
        "http6",
        "Announce URL over IPv6, such as http://[::1]:6969/announce",
        "http",
        true,
    );
    let udp = url(
        "udp",
        "UDP URL over IPv4, such as udp://127.0.0.1:6969",
        "udp",
        false,
    );
    let udp6 = url("udp6", "UDP URL over IPv6, such as udp://[::1]:6969", "udp", true);
    let trust = trust();
    let slow = long("slow")
        .help("Run the checks too that wait for minutes")
        .switch();
    let jobs = long("jobs")
        .help("Checks side by side (1-256)")
        .argument::<usize>("COUNT")
        .fallback(16)
        .display_fallback();
    let jobs = jobs.guard(|jobs| (1..=256).contains(jobs), "must be from 1 to 256");
    let patience = long("timeout")
        .help("Milliseconds that an answer may take (100-60000)")
        .argument::<u64>("MS")
        .fallback(3000)
        .display_fallback()
        .guard(
            |millis| (100..=60_000).contains(millis),
            "must be from 100 to 60000",
        )
        .map(Duration::from_millis);
    let told = told();
    let hurry = pure(1);
    construct!(Settings {
        hurry,
        http,
        http6,
        udp,
        udp6,
        trust,
        slow,
        jobs,
        patience,
        told
    })
}

/// Whose certificates are believed: by default those of the system's CAs.
fn trust() -> impl Parser<Trust> {
    let ca = long("ca")
        .help("Believe certificates of this CA alone at https:// URLs (PEM; default: the system's CAs)")
        .argument::<PathBuf>("FILE")
        .parse(|file| Trust::in_file(&file));
    let insecure = long("insecure")
        .help("Believe any certificate at https:// URLs")
        .req_flag(Trust::Anyone);
    construct!([ca, insecure]).fallback(Trust::System)
}

fn selection() -> impl Parser<Selection> {
    let patterns = |option, help| {
        let words = long(option).help(help).argument::<String>("GLOB").many();
        words.map(|words| Patterns::parse(&words.join(",")))
    };
    let only = patterns("only", "Run only these checks, such as 'A-*,U-0?'");
    let skip = patterns("skip", "Leave these checks out");
    let levels = long("level")
        .help("Run only these levels: M normative, S de facto, H hardening, P policy (such as M,S,H)")
        .argument::<String>("LEVELS")
        .parse(|text| {
            let level = |letter: &str| {
                Level::from_letter(letter.trim()).ok_or_else(|| format!("`{letter}` is no level"))
            };
            text.split(',').map(level).collect::<Result<Vec<Level>, String>>()
        })
        .fallback(Vec::new());
    construct!(Selection { only, skip, levels })
}

/// What a URL cannot tell. Each option opens the checks that its help names.
fn told() -> impl Parser<Told> {
    let (peer_ttl, proxy_header, trusts_ip) = (peer_ttl(), proxy_header(), trusts_ip());
    let (denied_hash, denied_v2) = (denied_hash(), denied_v2());
    let denied_url = url(
        "denied-url",
        "Announce URL with a wrong passkey: L-09",
        "http",
        false,
    );
    let realm_url = url("realm-url", "Announce URL of another realm: L-11", "http", false);
    let (denied_source, rate_limit, pid) = (denied_source(), rate_limit(), pid());
    let blocked_client = words(
        "blocked-client",
        "PREFIX",
        "The beginning of a peer_id that the target refuses: L-14",
    );
    let deny_list = file(
        "deny-list",
        "The target's deny list, which the suite rewrites: L-04, L-05, L-06, L-08",
    );
    let allow_list = file(
        "allow-list",
        "The target's allow list, which the suite rewrites: L-07",
    );
    let reload = words("reload", "COMMAND", "Makes the target read its lists again");
    let restart = words(
        "restart",
        "COMMAND",
        "Restarts the target and returns when it serves: U-12",
    );
    let log = file("log", "The target's log: L-10");
    let told = construct!(Told {
        peer_ttl,
        proxy_header,
        trusts_ip,
        denied_hash,
        denied_v2,
        denied_url,
        realm_url,
        denied_source,
        blocked_client,
        rate_limit,
        deny_list,
        allow_list,
        reload,
        restart,
        log,
        pid,
    });
    let heading = pure(());
    construct!(heading, told)
        .map(|((), told)| told)
        .group_help("What a URL cannot tell of the target:")
}

fn peer_ttl() -> impl Parser<Option<Duration>> {
    let secs = long("peer-ttl")
        .help("The target forgets peers after so many seconds: A-52 (with --slow)")
        .argument::<u64>("SECONDS");
    secs.map(Duration::from_secs).optional()
}

fn proxy_header() -> impl Parser<Option<String>> {
    words(
        "proxy-header",
        "NAME",
        "The target trusts the suite's address as a proxy that sends this header: A-59, A-60, F-03",
    )
}

fn trusts_ip() -> impl Parser<bool> {
    long("trusts-ip")
        .help("The target honours ip= of the suite's address: A-57")
        .switch()
}

fn denied_hash() -> impl Parser<Option<[u8; 20]>> {
    let hex = words(
        "denied-hash",
        "HEX",
        "A hash that the target refuses: L-01, L-02, L-03, S-14, E-04",
    );
    hex.parse(|hex| hex.map(|hex| unhex::<20>(&hex)).transpose())
}

fn denied_v2() -> impl Parser<Option<[u8; 32]>> {
    let hex = words("denied-v2", "HEX", "A v2 hash on the target's deny list: 2-04");
    hex.parse(|hex| hex.map(|hex| unhex::<32>(&hex)).transpose())
}

fn denied_source() -> impl Parser<Option<IpAddr>> {
    long("denied-source")
        .help("A loopback address that the target refuses: L-12")
        .argument("ADDRESS")
        .optional()
}

fn rate_limit() -> impl Parser<Option<usize>> {
    long("rate-limit")
        .help("Announces that the target takes of one address: L-13, E-05")
        .argument("COUNT")
        .optional()
}

fn pid() -> impl Parser<Option<u32>> {
    long("pid")
        .help("The target's process: memory is watched in T-14, T-19, N-24, L-08")
        .argument("PID")
        .optional()
}

fn words(option: &'static str, value: &'static str, help: &'static str) -> impl Parser<Option<String>> {
    long(option).help(help).argument::<String>(value).optional()
}

fn file(option: &'static str, help: &'static str) -> impl Parser<Option<PathBuf>> {
    long(option).help(help).argument::<PathBuf>("FILE").optional()
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return Err(format!("`{text}` has not {} hexadecimal digits", 2 * N));
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        let digits = &text[2 * place..2 * place + 2];
        *byte = u8::from_str_radix(digits, 16).map_err(|_| format!("`{digits}` is not hexadecimal"))?;
    }
    Ok(bytes)
}

impl Order {
    fn carry_out(self) -> ExitCode {
        let name = self.name.clone().unwrap_or_else(|| self.first_host());
        let progress = Progress::new();
        let scorecard = run(&name, &self.settings, &self.selection, &|card, done, total| {
            progress.tell(card, done, total);
        });
        progress.end();
        if let Err(why) = self.write_files(&scorecard) {
            return complain(&why);
        }
        self.tell(&text(&scorecard, self.has_colours(), !self.brief));
        if scorecard.cards.is_empty() {
            return complain("no check was selected");
        }
        let surprises = self
            .exceptions
            .as_ref()
            .map(|exceptions| exceptions.against(&scorecard))
            .unwrap_or_default();
        let lines: String = surprises.iter().map(|line| format!("{line}\n")).collect();
        self.tell(&lines);
        ExitCode::from(scorecard.exit_status().max(u8::from(!surprises.is_empty())))
    }

    /// Whether standard output is for a scorecard that a program reads.
    fn is_output_taken(&self) -> bool {
        is_output(self.json.as_deref()) || is_output(self.junit.as_deref())
    }

    fn has_colours(&self) -> bool {
        let is_terminal = if self.is_output_taken() {
            io::stderr().is_terminal()
        } else {
            io::stdout().is_terminal()
        };
        is_terminal && std::env::var_os("NO_COLOR").is_none()
    }

    /// Prints for people.
    fn tell(&self, text: &str) {
        if self.is_output_taken() {
            let _ = io::stderr().write_all(text.as_bytes());
        } else {
            show(text);
        }
    }

    fn first_host(&self) -> String {
        let settings = &self.settings;
        let first = [&settings.http, &settings.udp, &settings.http6, &settings.udp6]
            .into_iter()
            .flatten()
            .next();
        first.map_or_else(|| "no target".to_owned(), |endpoint| endpoint.url.clone())
    }

    fn write_files(&self, scorecard: &Scorecard) -> Result<(), String> {
        if let Some(path) = &self.json {
            let json =
                serde_json::to_string_pretty(&scorecard.to_json()).map_err(|error| error.to_string())?;
            write_file(path, &json)?;
        }
        if let Some(path) = &self.junit {
            write_file(path, &junit(scorecard))?;
        }
        Ok(())
    }
}

/// Whether what would be written to this file goes to standard output.
fn is_output(path: Option<&Path>) -> bool {
    path == Some(Path::new("-"))
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    if is_output(Some(path)) {
        let written = io::stdout().write_all(format!("{text}\n").as_bytes());
        return written.map_err(|error| format!("standard output: {error}"));
    }
    fs::write(path, text).map_err(|error| format!("{}: {}", path.display(), plain(&error)))
}

/// A line that counts, on a terminal; elsewhere nothing but the failures.
struct Progress {
    terminal: bool,
    failed: Mutex<usize>,
}

impl Progress {
    fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            failed: Mutex::new(0),
        }
    }

    fn tell(&self, card: &Card, done: usize, total: usize) {
        let Ok(mut failed) = self.failed.lock() else {
            return;
        };
        *failed += usize::from(card.outcome == Outcome::Failed);
        if self.terminal {
            let _ = write!(
                io::stderr(),
                "\r{done} of {total} checks, {failed} failed; {:<5} {:<12}",
                card.id,
                card.outcome.word()
            );
        } else if card.outcome == Outcome::Failed {
            let _ = writeln!(io::stderr(), "{} failed", card.id);
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r{:70}\r", "");
        }
    }
}

fn list() -> String {
    let line = |check: &Check| format!("{:<5} {}  {}\n", check.id, check.level.letter(), check.title);
    let lines: String = catalogue().map(line).collect();
    format!("{lines}{} checks\n", catalogue().count())
}

fn explain(id: &str) -> ExitCode {
    let Some(check) = catalogue().find(|check| check.id.eq_ignore_ascii_case(id)) else {
        return complain(&format!("there is no check `{id}`; --list names all"));
    };
    let needs = check.needs();
    let needs = if needs.is_empty() {
        "nothing".to_owned()
    } else {
        needs.join(", ")
    };
    show(&format!(
        "{} ({}, {})\n\nWhat must hold:\n  {}\nWhy it matters:\n  {}\nFrom:\n  {}\nNeeds:\n  {needs}\n",
        check.id,
        check.level.letter(),
        check.level.describe(),
        check.title,
        check.why,
        check.source,
    ))
}

fn compare(markdown: bool, files: &[PathBuf]) -> ExitCode {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| plain(&error));
        let json = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        json.and_then(|json| Scorecard::from_json(&json))
            .map_err(|why| format!("{}: {why}", path.display()))
    };
    match files.iter().map(read).collect::<Result<Vec<Scorecard>, String>>() {
        Ok(scorecards) if markdown => show(&compare_markdown(&scorecards)),
        Ok(scorecards) => show(&compare_text(&scorecards)),
        Err(why) => complain(&why),
    }
}

/// Prints; a reader that went away is no error.
fn show(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "etracker-conformance: {why}");
    ExitCode::from(2)
}
