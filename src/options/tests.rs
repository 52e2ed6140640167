use std::time::Duration;

use etracker_core::config::{INTERVAL_SECS, Intervals};

use super::*;

const PROCESSORS: usize = 4;

fn read(arguments: &str, environment: &[(&str, &str)]) -> Result<Request, Refusal> {
    let lookup = |name: &str| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    Request::read(
        arguments.split_whitespace().map(OsString::from),
        &lookup,
        PROCESSORS,
    )
}

fn options(arguments: &str, environment: &[(&str, &str)]) -> Options {
    match read(arguments, environment) {
        Ok(Request::Serve(options)) => *options,
        other => panic!("{arguments:?} {environment:?} gave {other:?}"),
    }
}

fn refusal(arguments: &str, environment: &[(&str, &str)]) -> String {
    let line = read(arguments, environment).expect_err("refused").to_string();
    assert!(!line.contains('\n'), "{line:?} is more than one line");
    line
}

fn shown(arguments: &str) -> String {
    match read(arguments, &[]) {
        Ok(Request::Show(text)) => text,
        other => panic!("{arguments:?} gave {other:?}"),
    }
}

#[test]
fn nothing_given_is_the_defaults() {
    let options = options("", &[]);
    assert_eq!(options.listen.port, 3000);
    assert!(options.listen.tcp && options.listen.udp);
    assert!(options.listen.addresses.is_empty());
    assert_eq!(options.listen.workers, PROCESSORS);
    assert_eq!(options.runtime, Runtime::DEFAULT);
    assert_eq!((&*options.charset, &*options.locale), ("utf-8", "en_US.UTF-8"));
    assert_eq!(options.failures, 0);

    let config = options.config;
    let intervals = Intervals {
        initial: 1799,
        min: 239,
        max: 1799,
    };
    assert_eq!(config.intervals(), intervals);
    assert!((config.load_limit() - 3.5).abs() < f64::EPSILON);
    assert_eq!(config.peers_per_response_max(), 60);
    assert_eq!(config.socket_timeout(), Duration::from_secs(3));
    assert!(!config.keep_alive() && !config.full_scrape());
    assert_eq!(config.trusted_proxies(), None);
    assert!(config.swarms().peer_ids && config.swarms().private_peers);
    assert_eq!(config.swarms().peers_per_address_max, Some(64));
}

/// The names of each option, a value, and the setting that it changes as the start shows it.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("-p --port", "6969", "port", "6969"),
    ("--bind", "::1", "bind", "::1"),
    ("--no-tcp", "", "noTcp", "1"),
    ("--no-udp", "", "noUdp", "1"),
    ("-w --workers", "7", "workers", "7"),
    (
        "--runtime",
        Runtime::DEFAULT.name(),
        "runtime",
        Runtime::DEFAULT.name(),
    ),
    ("-i --interval", "300", "interval", "300"),
    ("--min-interval", "60", "minInterval", "60"),
    ("--max-interval", "7200", "maxInterval", "7200"),
    ("-a --max-load-avg", "1.25", "maxLoadAvg", "1.25"),
    ("-m --max-peers-per-response", "300", "maxPeersPerResponse", "300"),
    ("--peers-per-address", "0", "peersPerAddress", "0"),
    ("--private-peers", "deny", "privatePeers", "deny"),
    ("--no-peer-ids", "", "noPeerIds", "1"),
    ("-k --keep-alive", "", "keepAlive", "1"),
    ("-e --socket-timeout", "300", "socketTimeout", "300"),
    ("--full-scrape", "", "fullScrape", "1"),
    ("--x-forwarded-for", "", "xForwardedFor", "1"),
    ("--charset", "koi8-r", "charset", "koi8-r"),
    ("--locale", "C", "locale", "C"),
    ("--allow-list", "/a/b", "allowList", "/a/b"),
    ("--deny-list", "/a/b", "denyList", "/a/b"),
    ("--deny-address", "/a/b", "denyAddress", "/a/b"),
    ("--stats-from", "10.0.0.0/8", "statsFrom", "10.0.0.0/8"),
    ("--log-level", "info", "logLevel", "info"),
    ("--log-format", "json", "logFormat", "json"),
    ("--log-addresses", "", "logAddresses", "1"),
    ("-f --failed", "3", "failed", "3"),
    ("--user", "nobody", "user", "nobody"),
    ("--state", "/var/lib/x", "state", "/var/lib/x"),
    ("--state-period", "10", "statePeriod", "10"),
];

#[test]
fn every_option_is_taken_short_long_and_from_the_environment() {
    let setting = |options: &Options, wanted: &str| {
        let settings = crate::report::settings(options);
        let found = settings.into_iter().find(|(name, _)| *name == wanted);
        found.expect("a setting that is shown").1
    };
    for &(names, value, shown_as, expected) in CASES {
        for name in names.split(' ') {
            let options = options(&format!("{name} {value}"), &[]);
            assert_eq!(setting(&options, shown_as), expected, "{name}");
        }
        let long = names.rsplit("--").next().unwrap_or_default();
        let variable = format!("ETRACKER_{}", long.replace('-', "_").to_uppercase());
        let value = if value.is_empty() { "true" } else { value };
        let options = options("", &[(&variable, value)]);
        assert_eq!(setting(&options, shown_as), expected, "{variable}");
    }
}

#[test]
fn a_number_out_of_range_is_refused_with_option_value_and_range() {
    let whole = [
        ("port", "1", "65535"),
        ("workers", "1", "256"),
        ("interval", "60", "7200"),
        ("min-interval", "60", "7200"),
        ("max-interval", "60", "7200"),
        ("max-peers-per-response", "1", "1000"),
        ("socket-timeout", "1", "300"),
        ("peers-per-address", "0", "1024"),
        ("failed", "0", "1000000"),
        ("state-period", "1", "86400"),
    ];
    for (option, min, max) in whole {
        let above = (max.parse::<u32>().unwrap() + 1).to_string();
        let below = (min.parse::<i32>().unwrap() - 1).to_string();
        for value in [&*above, &*below, "-1", "-7", "1.5", "4294967297", "x", "0x10"] {
            let expected = format!("--{option}={value}: must be a whole number from {min} to {max}");
            assert_eq!(refusal(&format!("--{option} {value}"), &[]), expected);
            assert_eq!(refusal(&format!("--{option}={value}"), &[]), expected);
        }
    }
    for value in ["0.49", "-1", "nan", "inf", "10001", "much"] {
        let expected = format!("--max-load-avg={value}: must be a number from 0.5 to 10000");
        assert_eq!(refusal(&format!("-a {value}"), &[]), expected);
    }
}

#[test]
fn the_ends_of_every_range_are_taken() {
    for arguments in [
        "-p 1 -w 1 -e 1 -m 1 --peers-per-address 0 -a 0.5",
        "-p 65535 -w 256 -e 300 -m 1000 --peers-per-address 1024 -a 10000",
        "--min-interval 60 --max-interval 60 -i 60",
        "--min-interval 7200 --max-interval 7200 -i 7200",
    ] {
        options(arguments, &[]);
    }
}

#[test]
fn an_interval_that_is_not_given_follows_the_bounds() {
    let initial = |arguments| options(arguments, &[]).config.intervals().initial;
    assert_eq!(initial("--max-interval 600"), 600);
    assert_eq!(initial("--min-interval 1900 --max-interval 2000"), 1900);
    assert_eq!(initial("--max-interval 7200"), 1799);
}

#[test]
fn intervals_out_of_order_are_refused_naming_one_that_was_given() {
    let bounds = "from 239 (--min-interval) to 1799 (--max-interval)";
    assert_eq!(
        refusal("-i 238", &[]),
        format!("--interval=238: must be {bounds}")
    );
    assert_eq!(
        refusal("-i 1800", &[]),
        format!("--interval=1800: must be {bounds}")
    );
    assert_eq!(
        refusal("--min-interval 1800", &[]),
        "--min-interval=1800: must be from 60 to 1799 (--max-interval)"
    );
    assert_eq!(
        refusal("", &[("ETRACKER_MAX_INTERVAL", "238")]),
        "ETRACKER_MAX_INTERVAL=238: must be from 239 (--min-interval) to 7200"
    );
    assert_eq!(
        refusal("--min-interval 600 --max-interval 300", &[]),
        "--max-interval=300: must be from 600 (--min-interval) to 7200"
    );
}

#[test]
fn any_allowed_bounds_and_no_interval_make_valid_intervals() {
    fn holds(min: u32, max: u32) -> bool {
        let (lowest, highest) = INTERVAL_SECS.into_inner();
        let within = |secs: u32| lowest + secs % (highest - lowest + 1);
        let (min, max) = (within(min).min(within(max)), within(min).max(within(max)));
        let options = options(&format!("--min-interval {min} --max-interval {max}"), &[]);
        let read = options.config.intervals();
        (read.min, read.max) == (min, max) && (min..=max).contains(&read.initial)
    }
    quickcheck::quickcheck(holds as fn(u32, u32) -> bool);
}

#[test]
fn the_command_line_comes_before_the_environment() {
    let port = [("ETRACKER_PORT", "1000")];
    assert_eq!(options("", &port).listen.port, 1000);
    assert_eq!(options("-p 2000", &port).listen.port, 2000);
    let bind = [("ETRACKER_BIND", "::1")];
    let addresses = options("--bind 127.0.0.1", &bind).listen.addresses;
    assert_eq!(addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    assert!(
        options("-k", &[("ETRACKER_KEEP_ALIVE", "false")])
            .config
            .keep_alive()
    );
}

#[test]
fn a_switch_in_the_environment_is_true_or_false_and_not_just_there() {
    assert!(
        !options("", &[("ETRACKER_KEEP_ALIVE", "false")])
            .config
            .keep_alive()
    );
    for value in ["", "1", "yes", "TRUE", "on"] {
        let expected = format!("ETRACKER_KEEP_ALIVE={value}: must be true or false");
        assert_eq!(refusal("", &[("ETRACKER_KEEP_ALIVE", value)]), expected);
    }
}

#[test]
fn a_bad_value_in_the_environment_names_the_variable() {
    let port = refusal("", &[("ETRACKER_PORT", "tcp://10.0.0.1:6969")]);
    assert_eq!(
        port,
        "ETRACKER_PORT=tcp://10.0.0.1:6969: must be a whole number from 1 to 65535"
    );
    let workers = refusal("", &[("ETRACKER_WORKERS", "")]);
    assert_eq!(workers, "ETRACKER_WORKERS=: must be a whole number from 1 to 256");
    let lines = refusal("", &[("ETRACKER_RUNTIME", "a\nb")]);
    assert_eq!(
        lines,
        format!(
            "ETRACKER_RUNTIME=a\\nb: must be a runtime of this build: {}",
            Runtime::names()
        )
    );
}

#[test]
fn unknown_arguments_are_refused_by_name() {
    assert!(refusal("--prot 1", &[]).contains("--prot"));
    assert!(refusal("-x", &[]).contains("-x"));
    assert!(refusal("serve", &[]).contains("serve"));
    assert!(refusal("--port", &[]).contains("--port"));
    assert!(refusal("-p 1 -p 2", &[]).contains("-p"));
    assert!(refusal("--keep-alive=false", &[]).contains("false"));
}

#[test]
fn a_new_root_needs_a_user() {
    let expected = "needs --user: root can leave any root folder";
    assert_eq!(refusal("--chroot /srv", &[]), format!("--chroot {expected}"));
    assert_eq!(
        refusal("", &[("ETRACKER_CHROOT", "/srv")]),
        format!("ETRACKER_CHROOT {expected}")
    );
    let lasting = options("--chroot /srv --user nobody", &[]).lasting;
    assert_eq!(lasting.chroot, Some("/srv".into()));
}

#[test]
fn neither_tcp_nor_udp_is_nothing_to_serve() {
    let expected = "--no-tcp and --no-udp together leave nothing to serve: give one of them at most";
    assert_eq!(refusal("--no-tcp --no-udp", &[]), expected);
    assert_eq!(refusal("--no-tcp", &[("ETRACKER_NO_UDP", "true")]), expected);
}

#[test]
fn addresses_to_bind_are_repeatable_and_have_no_port() {
    let given = options("--bind 127.0.0.1 --bind 2001:db8::1", &[])
        .listen
        .addresses;
    assert_eq!(
        given,
        options("", &[("ETRACKER_BIND", "127.0.0.1, 2001:db8::1")])
            .listen
            .addresses
    );
    assert_eq!(given.len(), 2);
    for value in ["127.0.0.1:80", "[::1]", "localhost", "1.2.3", "10.0.0.0/8"] {
        let expected = format!("--bind={value}: must be an IPv4 or IPv6 address without a port");
        assert_eq!(refusal(&format!("--bind {value}"), &[]), expected);
    }
}

#[test]
fn private_networks_are_trusted_to_forward_if_no_proxy_is_named() {
    let options = options("--x-forwarded-for", &[]);
    let trusted = options.config.trusted_proxies().unwrap_or_default();
    assert_eq!(trusted.len(), TRUSTED_PROXIES.len());
    let is_trusted = |ip: &str| {
        trusted
            .iter()
            .any(|network| network.contains(&ip.parse::<IpAddr>().unwrap()))
    };
    assert!(
        [
            "127.0.0.1",
            "10.9.8.7",
            "172.31.0.1",
            "192.168.1.1",
            "::1",
            "fd00::1"
        ]
        .into_iter()
        .all(is_trusted)
    );
    assert!(
        !["8.8.8.8", "172.32.0.1", "2001:db8::1"]
            .into_iter()
            .any(is_trusted)
    );
}

#[test]
fn proxies_are_networks_or_addresses() {
    let arguments = "--x-forwarded-for --trusted-proxy 203.0.113.9/24 --trusted-proxy 2001:db8::1";
    let options = options(arguments, &[]);
    let networks: Vec<String> = options
        .config
        .trusted_proxies()
        .unwrap_or_default()
        .iter()
        .map(IpNet::to_string)
        .collect();
    assert_eq!(networks, ["203.0.113.0/24", "2001:db8::1/128"]);
    assert_eq!(
        refusal("--x-forwarded-for --trusted-proxy proxy.example", &[]),
        "--trusted-proxy=proxy.example: must be a network like 10.0.0.0/8 or fc00::/7, or an address"
    );
}

#[test]
fn a_proxy_without_x_forwarded_for_is_refused() {
    let expected = "has no effect without --x-forwarded-for";
    assert!(refusal("--trusted-proxy 10.0.0.0/8", &[]).contains(&format!("--trusted-proxy {expected}")));
    let variables = [
        ("ETRACKER_TRUSTED_PROXY", "::1"),
        ("ETRACKER_X_FORWARDED_FOR", "false"),
    ];
    assert!(refusal("", &variables).contains(&format!("ETRACKER_TRUSTED_PROXY {expected}")));
}

#[test]
fn hosts_of_pages_are_names_for_readers_who_were_chosen() {
    let arguments = "--stats-from ::1 --page-host tracker.example --page-host box";
    assert_eq!(options(arguments, &[]).page_hosts, ["tracker.example", "box"]);
    let variables = [
        ("ETRACKER_STATS_FROM", "::1"),
        ("ETRACKER_PAGE_HOST", "tracker.example, box"),
    ];
    assert_eq!(options("", &variables).page_hosts, ["tracker.example", "box"]);
    for host in ["http://tracker.example", "tracker.example:6969", "a b", "*"] {
        let refusal = refusal("--stats-from ::1", &[("ETRACKER_PAGE_HOST", host)]);
        assert!(
            refusal.starts_with(&format!("ETRACKER_PAGE_HOST={host}: must be a host name")),
            "{refusal}"
        );
    }
    let expected = "--page-host has no effect without --stats-from";
    assert!(refusal("--page-host box", &[]).starts_with(expected));
}

#[test]
fn words_are_taken_as_they_are_written() {
    assert_eq!(
        refusal("--private-peers no", &[]),
        "--private-peers=no: must be allow or deny"
    );
    assert_eq!(
        refusal("--runtime tokio", &[]),
        format!(
            "--runtime=tokio: must be a runtime of this build: {}",
            Runtime::names()
        )
    );
    let expected = "--charset=a;b: must be a name of 1 to 64 letters, digits and -_.:+@";
    assert_eq!(refusal("--charset a;b", &[]), expected);
    assert!(refusal("", &[("ETRACKER_LOCALE", "")]).starts_with("ETRACKER_LOCALE="));
    assert!(refusal(&format!("--locale {}", "x".repeat(65)), &[]).contains("1 to 64"));
}

#[test]
fn earlier_failures_come_from_the_environment() {
    assert_eq!(options("", &[("ETRACKER_FAILURES", "12")]).failures, 12);
    assert!(refusal("", &[("ETRACKER_FAILURES", "often")]).starts_with("ETRACKER_FAILURES=often"));
}

#[test]
fn the_default_of_workers_and_load_follows_the_processors() {
    let with = |processors| match Request::read([], &|_| None, processors) {
        Ok(Request::Serve(options)) => (options.listen.workers, options.config.load_limit()),
        other => panic!("{other:?}"),
    };
    assert_eq!(with(1), (1, 0.5));
    assert_eq!(with(8), (8, 7.5));
    assert_eq!(with(1000), (256, 999.5));
    assert_eq!(with(0), (1, 0.5));
}

#[test]
fn help_names_every_option_with_its_default() {
    let help = shown("--help");
    for option in [
        "-p, --port",
        "--bind",
        "--no-tcp",
        "--no-udp",
        "-w, --workers",
        "--runtime",
        "-f, --failed",
        "-i, --interval",
        "--min-interval",
        "--max-interval",
        "-a, --max-load-avg",
        "-m, --max-peers-per-response",
        "--peers-per-address",
        "--private-peers",
        "--no-peer-ids",
        "-k, --keep-alive",
        "-e, --socket-timeout",
        "--full-scrape",
        "--x-forwarded-for",
        "--trusted-proxy",
        "--charset",
        "--locale",
        "--page-host",
        "--user",
        "--chroot",
        "--state",
        "--state-period",
        "-V, --version",
        "-h, --help",
    ] {
        assert!(help.contains(option), "{option} is missing in\n{help}");
    }
    for default in [
        "(3000)",
        "(1799)",
        "(239)",
        "(60)",
        "(64)",
        "(3)",
        &format!("({})", Runtime::DEFAULT.name()),
        "(utf-8)",
        "(en_US.UTF-8)",
    ] {
        assert!(help.contains(default), "{default} is missing in\n{help}");
    }
}

#[test]
fn the_first_screen_of_the_help_is_enough_to_start() {
    let screen: Vec<String> = shown("--help")
        .lines()
        .take(SCREEN_LINES)
        .map(str::to_owned)
        .collect();
    assert!(
        screen.iter().all(|line| line.chars().count() <= 80),
        "{screen:#?}"
    );
    let screen = screen.join("\n");
    for word in [
        "doctor",
        "man",
        "--port",
        "--bind",
        "--state",
        "--user",
        "--stats-from",
        "--x-forwarded-for",
    ] {
        assert!(screen.contains(word), "{word} is missing in\n{screen}");
    }
}

/// Lines of a terminal, less the one of the next prompt.
const SCREEN_LINES: usize = 23;

#[test]
fn the_manual_page_names_every_option() {
    let manual = shown("man").replace('\\', "");
    assert!(manual.contains(".TH"));
    for &(names, ..) in CASES {
        let long = names.rsplit(' ').next().unwrap_or_default();
        assert!(manual.contains(long), "{long} is missing");
    }
}

#[test]
fn version_is_shown_even_if_other_values_are_bad() {
    assert!(shown("--version -p 0").starts_with("etracker 0."));
    assert_eq!(shown("-V"), crate::revision::version());
}

#[test]
fn no_arguments_make_it_panic() {
    fn holds(arguments: Vec<String>) -> bool {
        let result = Request::read(arguments.into_iter().map(OsString::from), &|_| None, PROCESSORS);
        result
            .err()
            .is_none_or(|refusal| !refusal.to_string().contains('\n'))
    }
    quickcheck::quickcheck(holds as fn(Vec<String>) -> bool);
}

#[test]
fn words_and_networks_that_mean_nothing_are_refused() {
    for (arguments, wanted) in [
        ("--log-level loud", "off, error, warn, info, debug or trace"),
        ("--log-format xml", "text or json"),
        ("--stats-from home", "a network"),
    ] {
        let line = refusal(arguments, &[]);
        assert!(line.contains(wanted), "{line}");
    }
}

#[test]
fn the_readme_names_every_option_and_its_default() {
    let readme = include_str!("../../README.md");
    let row = |option: &str| {
        let mut rows = readme.lines().filter(|line| line.starts_with("| `-"));
        rows.find(|line| line.contains(option)).unwrap_or_default()
    };
    let help = shown("--help");
    let names = help.split_whitespace().filter(|word| word.starts_with("--"));
    for name in names.map(|word| word.split('=').next().unwrap_or_default()) {
        assert_ne!(row(&format!("`{name}")), "", "{name} is missing in README.md");
    }
    for (option, default) in [
        ("--port", "3000"),
        ("--interval", "1799"),
        ("--socket-timeout", "3"),
        ("--runtime", "`smol`"),
    ] {
        let row = row(option);
        assert!(
            row.contains(&format!("| {default} |")),
            "{row} does not say {default}"
        );
    }
}
