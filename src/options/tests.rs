use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use etracker_core::config::{INTERVAL_SECS, Intervals};
use etracker_core::proxy::ClientHeader;

use super::*;
use crate::sockets::{addresses, port};

const PROCESSORS: usize = 4;

fn read(arguments: &str, environment: &[(&str, &str)]) -> Result<Request, Refusal> {
    let variables = environment.iter();
    let environment = variables
        .map(|&(name, value)| (name.into(), value.into()))
        .collect();
    Request::read(
        arguments.split_whitespace().map(OsString::from),
        &environment,
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
    assert_eq!(port(&options.listen), 3000);
    assert!(options.listen.serves(Protocol::Http) && options.listen.serves(Protocol::Udp));
    assert!(addresses(&options.listen).is_empty());
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
    assert!(config.proxies().is_none());
    assert_eq!(config.external_addresses(), None);
    assert!(config.swarms().peer_ids() && config.swarms().private_peers());
    assert_eq!(config.swarms().peers_per_address_max(), Some(64));
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
    ("--memory-max", "256M", "memoryMax", "268435456"),
    ("-i --interval", "300", "interval", "300"),
    ("--min-interval", "60", "minInterval", "60"),
    ("--max-interval", "7200", "maxInterval", "7200"),
    ("-a --max-load-avg", "1.25", "maxLoadAvg", "1.25"),
    ("-m --max-peers-per-response", "300", "maxPeersPerResponse", "300"),
    ("--max-torrents", "1000", "maxTorrents", "1000"),
    ("--max-peers-per-torrent", "200", "maxPeersPerTorrent", "200"),
    ("--peers-per-address", "0", "peersPerAddress", "0"),
    ("--private-peers", "deny", "privatePeers", "deny"),
    ("--no-peer-ids", "", "noPeerIds", "1"),
    ("--limits", "dry-run", "limits", "dry-run"),
    ("--limit-rate", "10000", "limitRate", "10000"),
    ("--limit-exempt", "none", "limitExempt", "none"),
    ("-k --keep-alive", "", "keepAlive", "1"),
    ("-e --socket-timeout", "300", "socketTimeout", "300"),
    ("--full-scrape", "", "fullScrape", "1"),
    ("--path-prefix", "/a/b", "pathPrefix", "/a/b"),
    ("--x-forwarded-for", "", "xForwardedFor", "1"),
    (
        "--client-address-from",
        "Forwarded",
        "clientAddressFrom",
        "Forwarded",
    ),
    ("--proxy-protocol", "", "proxyProtocol", "1"),
    ("--external-address", "192.0.2.7", "externalAddress", "192.0.2.7"),
    ("--charset", "koi8-r", "charset", "koi8-r"),
    ("--locale", "C", "locale", "C"),
    ("--cluster-secret", "/a/b", "clusterSecret", "/a/b"),
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
fn every_option_written_as_a_file_is_read_again() {
    let written = |arguments: &str| match read(&format!("config {arguments}"), &[]) {
        Ok(Request::Show(text)) => text,
        other => panic!("{arguments}: {other:?}"),
    };
    for &(names, value, ..) in CASES {
        let name = names.rsplit(' ').next().unwrap_or_default();
        let arguments = format!("{name} {value}");
        let values = file::parse("a.toml".to_owned(), &written(&arguments)).expect("a valid file");
        let record = Record::default();
        let reader = Reader {
            environment: &Environment::default(),
            file: &values,
            record: &record,
        };
        let nothing: [OsString; 0] = [];
        let given = arguments::grammar().run_inner(&nothing[..]).expect("nothing");
        let from_file = Options::from_given(given, reader, PROCESSORS).expect("valid options");
        let settings = crate::report::settings;
        assert_eq!(
            settings(&from_file),
            settings(&options(&arguments, &[])),
            "{arguments}"
        );
        let again = config::written(&record);
        assert!(again.contains("# a.toml:"), "{again}");
        // Every option passes the reader, and so is written once it is given.
        for option in name::IN_ENVIRONMENT
            .iter()
            .filter(|option| **option != name::CONFIG)
        {
            assert!(record.read().contains(&option.long), "{option}");
        }
    }
}

#[test]
fn a_file_is_refused_by_line_key_and_range() {
    let parsed = |text: &str| {
        let parsed = file::parse("a.toml".to_owned(), text);
        parsed.expect_err("refused").to_string()
    };
    for (text, expected) in [
        ("prt = 1", "a.toml:1: prt is no option: port is"),
        ("\nkeep-alive = 1", "a.toml:2: keep-alive must be true or false"),
        ("port = true", "a.toml:1: port must be a text or a number"),
        ("port = [1, 2]", "a.toml:1: port must be a text or a number"),
        ("bind = [[1]]", "a.toml:1: bind must be a list of texts"),
        ("[port]\na = 1", "a.toml:1: port must be a text or a number"),
        ("config = \"b\"", "a.toml:1: config is no option"),
        ("failures = 1", "a.toml:1: failures is no option"),
    ] {
        assert_eq!(parsed(text), expected, "{text}");
    }
    assert!(parsed("port = \n").starts_with("a.toml:1: "));
    assert!(!parsed("a = 1\na = 2").contains('\n'));
}

#[test]
fn a_file_comes_after_the_command_line_and_the_environment() {
    let path = std::env::temp_dir().join(format!("etracker-options-{}.toml", std::process::id()));
    std::fs::write(
        &path,
        "port = 1000\nbind = [\"127.0.0.1\", \"::1\"]\nkeep-alive = true\ninterval = 1\n",
    )
    .expect("written");
    let from_file = format!("--config {}", path.display());
    let line = refusal(&from_file, &[]);
    assert_eq!(
        line,
        format!(
            "{}:4: interval=1: must be a whole number from 60 to 7200",
            path.display()
        )
    );
    let given = format!("{from_file} -i 300");
    let variables = [("ETRACKER_PORT", "2000"), ("ETRACKER_KEEP_ALIVE", "false")];
    assert_eq!(port(&options(&given, &[]).listen), 1000);
    assert_eq!(addresses(&options(&given, &[]).listen).len(), 2);
    assert!(options(&given, &[]).config.keep_alive());
    let both = options(&given, &variables);
    assert_eq!((port(&both.listen), both.config.keep_alive()), (2000, false));
    assert_eq!(
        port(&options(&format!("{given} -p 3001"), &variables).listen),
        3001
    );
    std::fs::remove_file(&path).expect("removed");
    assert!(refusal(&from_file, &[]).starts_with("--config="));
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
        ("max-torrents", "1", "134217728"),
        ("max-peers-per-torrent", "1", "16777216"),
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
    for value in ["31M", "17T", "0", "much", "-1", "256MB"] {
        let expected = format!(
            "--memory-max={value}: must be a size from 32M to 16T, in bytes or with K, M, G or T (of 1024), such as 256M or 2G"
        );
        assert_eq!(refusal(&format!("--memory-max {value}"), &[]), expected);
    }
    for value in ["0.49", "-1", "nan", "inf", "10001", "much"] {
        let expected = format!("--max-load-avg={value}: must be a number from 0.5 to 10000");
        assert_eq!(refusal(&format!("-a {value}"), &[]), expected);
    }
}

#[test]
fn the_ends_of_every_range_are_taken() {
    for arguments in [
        "-p 1 -w 1 -e 1 -m 1 --max-torrents 1 --max-peers-per-torrent 1 --peers-per-address 0 -a 0.5",
        "-p 65535 -w 256 -e 300 -m 1000 --max-torrents 134217728 --max-peers-per-torrent 16777216 --peers-per-address 1024 -a 10000",
        "--min-interval 60 --max-interval 60 -i 60 --memory-max 32M",
        "--min-interval 7200 --max-interval 7200 -i 7200 --memory-max 16T",
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
    let by_environment = [("ETRACKER_PORT", "1000")];
    assert_eq!(port(&options("", &by_environment).listen), 1000);
    assert_eq!(port(&options("-p 2000", &by_environment).listen), 2000);
    let bind = [("ETRACKER_BIND", "::1")];
    let listen = options("--bind 127.0.0.1", &bind).listen;
    assert_eq!(addresses(&listen), [&"127.0.0.1".parse().unwrap()]);
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
    for value in ["1", "yes", "TRUE", "on"] {
        let expected = format!("ETRACKER_KEEP_ALIVE={value}: must be true or false");
        assert_eq!(refusal("", &[("ETRACKER_KEEP_ALIVE", value)]), expected);
    }
}

#[test]
fn a_bad_value_in_the_environment_names_the_variable() {
    let port = refusal("", &[("ETRACKER_PORT", "http")]);
    assert_eq!(port, "ETRACKER_PORT=http: must be a whole number from 1 to 65535");
    let bounds = [("ETRACKER_MIN_INTERVAL", "900"), ("ETRACKER_MAX_INTERVAL", "600")];
    assert_eq!(
        refusal("", &bounds),
        "ETRACKER_MAX_INTERVAL=600: must be from 900 (ETRACKER_MIN_INTERVAL) to 7200"
    );
    assert_eq!(
        refusal("--interval 100", &bounds[..1]),
        "--interval=100: must be from 900 (ETRACKER_MIN_INTERVAL) to 1799 (--max-interval)"
    );
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
    assert!(refusal("-x", &[]).starts_with("`-x`: no such option"));
    assert!(refusal("serve", &[]).contains("serve"));
    assert!(refusal("--port", &[]).contains("--port"));
    assert!(refusal("-p 1 -p 2", &[]).contains("-p"));
    assert!(refusal("--keep-alive=false", &[]).starts_with("`false`: not expected here"));
}

#[test]
fn words_that_are_no_options_get_an_answer_that_helps() {
    for (arguments, word, advice) in [
        ("docter", "docter", "did you mean `etracker doctor`?"),
        ("doctr -p 6969", "doctr", "did you mean `etracker doctor`?"),
        ("mann", "mann", "did you mean `etracker man`?"),
        ("hlep", "hlep", "did you mean `etracker help`?"),
        ("run", "run", "etracker serves without a word"),
        ("-p 6969 doctor", "doctor", "`doctor` comes first"),
        ("-p 6969 health", "health", "`health` comes first"),
        ("helth", "helth", "did you mean `etracker health`?"),
        ("serve", "serve", "etracker serves without a word"),
        ("start -p 6969", "start", "etracker serves without a word"),
        ("-p 6969 man", "man", "`man` stands alone"),
        ("help doctor", "help", "`help` stands alone"),
        ("udp://tracker", "udp://tracker", "etracker doctor"),
        ("doctor udp://tracker", "udp://tracker", "etracker doctor"),
    ] {
        let line = refusal(arguments, &[]);
        assert!(line.starts_with(&format!("`{word}`: ")), "{line}");
        assert!(line.contains(advice), "{line}");
    }
    assert_eq!(shown("help"), shown("--help"));
}

#[test]
fn an_option_that_is_about_another_needs_it() {
    for (option, value, needed) in [
        ("--chroot", "/srv", "--user"),
        ("--state-period", "10", "--state"),
        ("--page-host", "box", "--stats-from"),
    ] {
        let variable = format!("ETRACKER_{}", option[2..].replace('-', "_").to_ascii_uppercase());
        for (source, line) in [
            (option, refusal(&format!("{option} {value}"), &[])),
            (&*variable, refusal("", &[(&variable, value)])),
        ] {
            let expected = format!("{source} needs {needed}: give {needed} too, or leave {source} out");
            assert_eq!(line, expected);
        }
        options("", &[(&variable, "")]);
    }
    let expected = "--trusted-proxy needs --x-forwarded-for or --client-address-from or --proxy-protocol: give one of them \
                    too, or leave --trusted-proxy out";
    assert_eq!(refusal("--trusted-proxy 10.0.0.0/8", &[]), expected);
    options("", &[("ETRACKER_TRUSTED_PROXY", "")]);
    let process = options("--chroot /srv --user nobody --state /a --state-period 10", &[]).process;
    assert_eq!(process.chroot.unwrap().value, PathBuf::from("/srv"));
    assert_eq!(process.state_period, Duration::from_secs(10));
    options("--state /a", &[("ETRACKER_STATE_PERIOD", "10")]);
}

#[test]
fn a_mistyped_variable_is_refused_with_the_name_that_was_meant() {
    for (mistyped, meant) in [
        ("ETRACKER_DENYLIST", "ETRACKER_DENY_LIST"),
        ("ETRACKER_STATSFROM", "ETRACKER_STATS_FROM"),
        ("ETRACKER_STATS__FROM", "ETRACKER_STATS_FROM"),
        ("ETRACKER_STAT_FROM", "ETRACKER_STATS_FROM"),
        ("ETRACKER_DENY_LITS", "ETRACKER_DENY_LIST"),
        ("ETRACKER_ALLOW_LISTS", "ETRACKER_ALLOW_LIST"),
        ("ETRACKER_MAXINTERVALL", "ETRACKER_MAX_INTERVAL"),
        ("ETRACKER_PROT", "ETRACKER_PORT"),
        ("ETRACKER_port", "ETRACKER_PORT"),
    ] {
        let line = refusal("", &[(mistyped, "x")]);
        assert_eq!(line, format!("{mistyped} is no option: {meant} is"));
        // Empty is as good as not there.
        options("", &[(mistyped, "")]);
    }
}

#[test]
fn variables_for_others_are_let_pass_and_strange_ones_noticed() {
    for (name, value) in [
        ("ETRACKER_SERVICE_HOST", "10.0.0.1"),
        ("ETRACKER_SERVICE_PORT", "6969"),
        ("ETRACKER_SERVICE_PORT_HTTP", "6969"),
        ("ETRACKER_PORT", "tcp://10.0.0.1:6969"),
        ("ETRACKER_PORT", "udp://10.0.0.1:6969"),
        ("ETRACKER_PORT_6969_TCP", "tcp://10.0.0.1:6969"),
        ("ETRACKER_PORT_6969_TCP_ADDR", "10.0.0.1"),
        ("ETRACKER_PORT_6969_UDP_PORT", "6969"),
        ("ETRACKER_HTTP_PORT", "tcp://10.0.0.1:6969"),
        ("ETRACKER_HTTP_PORT_6969_TCP_PROTO", "tcp"),
        ("ETRACKER_ENV_PATH", "/bin"),
        ("ETRACKER_NAME", "/web/etracker"),
        ("ETRACKER_FAILURES", "1"),
        ("ETRACKER_SUPERVISED", "true"),
        ("ETRACKER_COMMAND", "/usr/bin/etracker"),
        ("ETRACKER_SEED", "42"),
        ("ETRACKER", "x"),
        ("PORT", "x"),
    ] {
        let options = options("", &[(name, value)]);
        assert!(options.unknown_variables.is_empty(), "{name}");
        assert_eq!(port(&options.listen), PORT_DEFAULT, "{name}");
    }
    let unknown = [
        ("ETRACKER_WEBSITE_THEME", "dark"),
        ("ETRACKER_COLOUR_OF_LOG", "red"),
    ];
    let mut noticed = options("", &unknown).unknown_variables;
    noticed.sort_unstable();
    assert_eq!(noticed, ["ETRACKER_COLOUR_OF_LOG", "ETRACKER_WEBSITE_THEME"]);
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let settings = |environment: &[(&str, &str)]| crate::report::settings(&options("", environment));
    for name in name::IN_ENVIRONMENT {
        let variable = name.variable();
        assert_eq!(settings(&[(&variable, "")]), settings(&[]), "{variable}");
    }
}

#[test]
fn every_option_of_the_help_is_known_in_the_environment() {
    let help = shown("--help-all");
    let names = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let names = names.map(|name| name.split('=').next().unwrap_or_default());
    for name in names.filter(|name| !["help", "help-all", "version"].contains(name)) {
        let known = name::IN_ENVIRONMENT.iter().any(|known| known.long == name);
        assert!(known, "--{name} is missing in name::IN_ENVIRONMENT");
    }
}

#[test]
fn neither_tcp_nor_udp_is_nothing_to_serve() {
    let expected = "--no-tcp and --no-udp together leave nothing to serve: give one of them at most";
    assert_eq!(refusal("--no-tcp --no-udp", &[]), expected);
    let from_both = expected.replace("--no-udp", "ETRACKER_NO_UDP");
    assert_eq!(refusal("--no-tcp", &[("ETRACKER_NO_UDP", "true")]), from_both);
}

#[test]
fn addresses_to_bind_are_repeatable_and_have_no_port() {
    let listen = options("--bind 127.0.0.1 --bind 2001:db8::1", &[]).listen;
    let given = addresses(&listen);
    let by_environment = options("", &[("ETRACKER_BIND", "127.0.0.1, 2001:db8::1")]).listen;
    assert_eq!(given, addresses(&by_environment));
    assert_eq!(given.len(), 2);
    for value in ["127.0.0.1:80", "[::1]", "localhost", "1.2.3", "10.0.0.0/8"] {
        let expected = format!("--bind={value}: must be an IPv4 or IPv6 address without a port");
        assert_eq!(refusal(&format!("--bind {value}"), &[]), expected);
    }
}

#[test]
fn an_address_to_bind_is_of_one_host_and_given_once() {
    for (value, kind) in [
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("::ffff:224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
    ] {
        let expected = format!("--bind={value}: must be an address of one host: this one is {kind}");
        assert_eq!(refusal(&format!("--bind {value}"), &[]), expected);
    }
    for (first, second) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "0:0::1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ] {
        let expected = format!("--bind={second}: must be given once, and it is given twice");
        assert_eq!(refusal(&format!("--bind {first} --bind {second}"), &[]), expected);
    }
    options(
        "--bind 0.0.0.0 --bind :: --bind fe80::1%eth0 --bind fe80::1%eth1",
        &[],
    );
}

#[test]
fn an_empty_value_between_commas_is_named_by_its_place() {
    for (value, place) in [("127.0.0.1,", 2), (",::1", 1), ("127.0.0.1, ,::1", 2)] {
        let expected =
            format!("ETRACKER_BIND={value}: must be values between commas, and value {place} is empty");
        assert_eq!(refusal("", &[("ETRACKER_BIND", value)]), expected);
    }
    for name in ["STATS_FROM", "TRUSTED_PROXY", "PAGE_HOST"] {
        let line = refusal(
            "--x-forwarded-for",
            &[(&format!("ETRACKER_{name}"), "127.0.0.1,")],
        );
        assert!(line.ends_with("value 2 is empty"), "{line}");
    }
}

#[test]
fn a_path_prefix_is_a_path_that_clients_send_as_it_is() {
    for (given, prefix) in [
        ("/tracker", "/tracker"),
        ("/a/b/", "/a/b"),
        ("/A-z_0.9~/..x", "/A-z_0.9~/..x"),
    ] {
        let options = options(&format!("--path-prefix {given}"), &[]);
        assert_eq!(options.config.path_prefix(), prefix);
    }
    let long = format!("/{}", "a".repeat(255));
    for bad in [
        "tracker",
        "/",
        "//",
        "//a",
        "/a//b",
        "/a//",
        "/a/../b",
        "/./a",
        "/a?b",
        "/a#b",
        "/a%20b",
        "/\u{e9}",
        "/a/announce",
        "/scrape",
        "http://host/a",
        &long,
    ] {
        let line = refusal("", &[("ETRACKER_PATH_PREFIX", bad)]);
        let start = format!(
            "ETRACKER_PATH_PREFIX={}: must be a path like /tracker or /a/b, which",
            bad.escape_debug()
        );
        assert!(line.starts_with(&start), "{line}");
        assert!(
            line.ends_with("at most 255 bytes, letters, digits and -._~ between slashes"),
            "{line}"
        );
    }
}

#[test]
fn an_address_of_a_link_is_bound_with_its_interface() {
    let listen = options("--bind fe80::1%eth0 --bind fe80::2%3", &[]).listen;
    let given: Vec<_> = addresses(&listen).iter().map(ToString::to_string).collect();
    assert_eq!(given, ["fe80::1%eth0", "fe80::2%3"]);
    let missing = refusal("--bind fe80::1", &[]);
    assert!(
        missing.starts_with("--bind=fe80::1: must be followed by its interface"),
        "{missing}"
    );
    let needless = refusal("--bind 10.0.0.1%eth0", &[]);
    assert!(
        needless.starts_with("--bind=10.0.0.1%eth0: must be without an interface"),
        "{needless}"
    );
}

#[test]
fn networks_that_are_not_limited_are_added_to_the_private_ones_unless_there_are_to_be_none() {
    let exempt = |arguments: &str| options(arguments, &[]).config.limits().exempt().to_vec();
    let named = "192.0.2.0/24".parse().unwrap();
    assert_eq!(exempt(""), PRIVATE_NETWORKS);
    assert_eq!(
        exempt("--limit-exempt 192.0.2.0/24"),
        [&PRIVATE_NETWORKS[..], &[named]].concat()
    );
    assert_eq!(exempt("--limit-exempt none"), []);
    assert_eq!(exempt("--limit-exempt none --limit-exempt 192.0.2.0/24"), [named]);
    let refused = refusal("--limit-exempt nobody", &[]);
    assert!(refused.starts_with("--limit-exempt=nobody: must be"), "{refused}");
    let refused = refusal("--limits maybe", &[]);
    assert!(refused.contains("on, dry-run or off"), "{refused}");
}

#[test]
fn private_networks_are_trusted_to_forward_if_no_proxy_is_named() {
    let options = options("--x-forwarded-for", &[]);
    let trusted = options.config.proxies().unwrap().networks();
    assert_eq!(trusted.len(), PRIVATE_NETWORKS.len());
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
    let arguments = "--x-forwarded-for --trusted-proxy 203.0.113.0/24 --trusted-proxy 2001:db8::1";
    let options = options(arguments, &[]);
    let networks: Vec<String> = options
        .config
        .proxies()
        .unwrap()
        .networks()
        .iter()
        .map(IpNet::to_string)
        .collect();
    assert_eq!(networks, ["203.0.113.0/24", "2001:db8::1/128"]);
    assert_eq!(
        refusal("--x-forwarded-for --trusted-proxy proxy.example", &[]),
        "--trusted-proxy=proxy.example: must be a network like 10.0.0.0/8 or fc00::/7, an address, or the path of a file that \
         begins with / or ."
    );
    assert_eq!(
        refusal("--x-forwarded-for --trusted-proxy 1.2.3.4/8", &[]),
        "--trusted-proxy=1.2.3.4/8: must be 1.0.0.0/8, or 1.2.3.4 alone: bits are set below the prefix"
    );
    assert_eq!(
        refusal("", &[("ETRACKER_STATS_FROM", "::1, 2001:db8::1/32")]),
        "ETRACKER_STATS_FROM=2001:db8::1/32: must be 2001:db8::/32, or 2001:db8::1 alone: bits are set below the prefix"
    );
}

#[test]
fn proxies_of_files_are_read_with_the_lists_and_replace_the_default() {
    let options = options(
        "--proxy-protocol --trusted-proxy ./cdn --trusted-proxy 192.0.2.1 --trusted-proxy /etc/cdn",
        &[],
    );
    let proxies = options.config.proxies().unwrap();
    assert_eq!(proxies.networks(), ["192.0.2.1/32".parse().unwrap()]);
    assert!(proxies.protocol() && proxies.header().is_none());
    let files = options.lists.trusted_proxies.iter();
    let files: Vec<_> = files.map(|file| file.value.to_str().unwrap()).collect();
    assert_eq!(files, ["./cdn", "/etc/cdn"]);
    assert!(!options.lists.is_empty());
    let shown = crate::report::settings(&options);
    assert!(shown.contains(&("trustedProxies", "192.0.2.1/32 ./cdn /etc/cdn".to_owned())));
}

#[test]
fn one_header_names_clients_and_its_name_is_a_token() {
    for arguments in [
        "--x-forwarded-for",
        "--client-address-from x-forwarded-for",
        "--x-forwarded-for --client-address-from X-FORWARDED-FOR",
    ] {
        let config = options(arguments, &[]).config;
        let header = config.proxies().unwrap().header();
        assert_eq!(header, Some(&ClientHeader::X_FORWARDED_FOR), "{arguments}");
    }
    let refused = refusal("--x-forwarded-for --client-address-from Forwarded", &[]);
    assert!(
        refused.starts_with("--client-address-from=Forwarded: must be X-Forwarded-For, as"),
        "{refused}"
    );
    for name in ["X-Real-IP:", "a,b", "\u{e4}"] {
        let refused = refusal("", &[("ETRACKER_CLIENT_ADDRESS_FROM", name)]);
        assert!(
            refused.contains("must be the name of a header field"),
            "{refused}"
        );
    }
}

#[test]
fn external_addresses_are_one_of_a_family_and_others_can_reach_them() {
    let both = options("--external-address 192.0.2.7 --external-address 2001:db8::7", &[]);
    let external = both.config.external_addresses().unwrap();
    assert_eq!(external.v4.unwrap(), Ipv4Addr::new(192, 0, 2, 7));
    assert_eq!(external.v6.unwrap().to_string(), "2001:db8::7");
    let mapped = options("--external-address ::ffff:192.0.2.7", &[]);
    assert_eq!(mapped.config.external_addresses().unwrap().v6, None);
    for (address, wanted) in [
        ("router.example", "an address like"),
        ("192.0.2.0/24", "an address like"),
        ("192.168.1.1", "others reach"),
        ("127.0.0.1", "others reach"),
        ("fe80::1", "others reach"),
        ("fd00::1", "others reach"),
        ("0.0.0.0", "others reach"),
        ("224.0.0.1", "others reach"),
    ] {
        let refused = refusal(&format!("--external-address {address}"), &[]);
        assert!(refused.contains(wanted), "{refused}");
    }
    let refused = refusal("--external-address 192.0.2.7 --external-address 192.0.2.8", &[]);
    assert!(
        refused.starts_with("--external-address=192.0.2.8: must be one address of a family"),
        "{refused}"
    );
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
    assert!(refusal("", &[("ETRACKER_LOCALE", ";")]).starts_with("ETRACKER_LOCALE=;"));
    assert!(refusal(&format!("--locale {}", "x".repeat(65)), &[]).contains("1 to 64"));
}

#[test]
fn earlier_failures_come_from_the_environment() {
    assert_eq!(options("", &[("ETRACKER_FAILURES", "12")]).failures, 12);
    assert!(refusal("", &[("ETRACKER_FAILURES", "often")]).starts_with("ETRACKER_FAILURES=often"));
}

#[test]
fn the_default_of_workers_and_load_follows_the_processors() {
    let with = |processors| match Request::read([], &Environment::default(), processors) {
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
    let help = shown("--help-all");
    for option in [
        "-p, --port",
        "--bind",
        "--no-tcp",
        "--no-udp",
        "-w, --workers",
        "--runtime",
        "--memory-max",
        "-f, --failed",
        "-i, --interval",
        "--min-interval",
        "--max-interval",
        "-a, --max-load-avg",
        "-m, --max-peers-per-response",
        "--max-torrents",
        "--max-peers-per-torrent",
        "--peers-per-address",
        "--private-peers",
        "--no-peer-ids",
        "-k, --keep-alive",
        "-e, --socket-timeout",
        "--full-scrape",
        "--path-prefix",
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
        "(239; in public 300)",
        "(60)",
        "(134217728)",
        "(16777216)",
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
        let arguments = arguments.into_iter().map(OsString::from);
        let result = Request::read(arguments, &Environment::default(), PROCESSORS);
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
fn nothing_points_at_a_public_address_of_this_project() {
    let readme = include_str!("../../README.md");
    let start = readme.split("## Start").nth(1).unwrap();
    assert!(start.trim_start().starts_with("In a checkout of this repository"));
    for text in [
        readme,
        include_str!("../../Cargo.toml"),
        include_str!("../../packaging/debian/build"),
        include_str!("../../SECURITY.md"),
    ] {
        for address in ["git clone", "truekenny", "Homepage:", "repository ="] {
            assert!(!text.contains(address), "{address}");
        }
    }
}

#[test]
fn the_readme_names_every_option_and_its_default() {
    let readme = include_str!("../../README.md");
    let row = |option: &str| {
        let mut rows = readme.lines().filter(|line| line.starts_with("| `-"));
        rows.find(|line| line.contains(option)).unwrap_or_default()
    };
    let help = shown("--help-all");
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

#[cfg(feature = "acme")]
mod acme {
    use super::*;

    fn acme(arguments: &str) -> AcmeOptions {
        let options = options(&format!("--tls-port 443 {arguments}"), &[]);
        options.acme.expect("a name to get a certificate for")
    }

    #[test]
    fn a_name_and_the_port_of_tls_are_enough() {
        let given = acme("--acme Tracker.Example.org --acme xn--bcher-kva.example");
        assert_eq!(given.domains, ["tracker.example.org", "xn--bcher-kva.example"]);
        assert_eq!(given.directory, "https://acme-v02.api.letsencrypt.org/directory");
        assert_eq!(given.folder.to_str(), Some("/var/lib/etracker/acme"));
        assert_eq!((given.contact, given.authorities), (None, None));
        let folder = |arguments: &str| acme(&format!("--acme a.example {arguments}")).folder;
        assert_eq!(folder("--state /srv/t/state").to_str(), Some("/srv/t/acme"));
        assert_eq!(folder("--state state").to_str(), Some("./acme"));
        assert_eq!(
            folder("--state /srv/t/state --acme-state /srv/a").to_str(),
            Some("/srv/a")
        );
    }

    #[test]
    fn a_directory_has_a_name_or_a_url() {
        let directory = |given: &str| acme(&format!("--acme a.example --acme-directory {given}")).directory;
        assert_eq!(directory("production"), acme("--acme a.example").directory);
        assert_eq!(
            directory("staging"),
            "https://acme-staging-v02.api.letsencrypt.org/directory"
        );
        assert_eq!(directory("https://[::1]:14000/dir"), "https://[::1]:14000/dir");
    }

    #[test]
    fn bad_values_are_refused_in_one_line() {
        let long = format!("{}.example", "a".repeat(64));
        for name in [
            "",
            "*.example",
            "a..example",
            "-a.example",
            "192.0.2.7",
            "::1",
            "a.example:443",
            "bücher.example",
            &long,
        ] {
            let line = refusal(&format!("--tls-port 443 --acme={name}"), &[]);
            assert!(
                line.starts_with("--acme=") && line.contains("must be the name of a host"),
                "{line}"
            );
        }
        let twice = refusal("--tls-port 443 --acme a.example --acme A.example", &[]);
        assert_eq!(
            twice,
            "--acme=A.example: must be given once, and it is given twice"
        );
        for (option, value) in [
            ("--acme-contact", "admin"),
            ("--acme-contact", "a@b,c@d"),
            ("--acme-contact", "a@b?subject=c"),
            ("--acme-directory", "http://ca.example/dir"),
            ("--acme-directory", "https://"),
            ("--acme-directory", "letsencrypt"),
            ("--acme-state", ""),
            ("--acme-ca", ""),
        ] {
            let line = refusal(&format!("--tls-port 443 --acme a.example {option}={value}"), &[]);
            assert!(line.starts_with(&format!("{option}={value}: must be ")), "{line}");
        }
    }

    #[test]
    fn options_of_acme_need_a_name_and_that_needs_the_port_of_tls() {
        for option in [
            "--acme-contact a@b",
            "--acme-directory staging",
            "--acme-state /a",
            "--acme-ca /a",
        ] {
            let line = refusal(option, &[]);
            assert!(line.contains(" needs --acme: "), "{line}");
        }
        assert!(refusal("--acme a.example", &[]).starts_with("--acme needs --tls-port: "));
        let by_environment = [
            ("ETRACKER_ACME", "a.example,b.example"),
            ("ETRACKER_TLS_PORT", "443"),
        ];
        let given = options("", &by_environment).acme.expect("two names");
        assert_eq!(given.domains, ["a.example", "b.example"]);
    }
}

#[cfg(not(feature = "acme"))]
#[test]
fn a_build_without_acme_says_so() {
    let line = refusal("--acme a.example", &[]);
    assert_eq!(
        line,
        "--acme: this build has no ACME (cargo build --features acme)"
    );
}

#[test]
fn a_file_of_secrets_is_of_use_without_a_cluster() {
    let given = options("--cluster-secret /etc/etracker/secret", &[]);
    let file = given.cluster_secret.expect("a file");
    assert_eq!(file.value.to_str(), Some("/etc/etracker/secret"));
    assert_eq!(given.cluster, None);
    for option in [
        "--cluster-name a",
        "--cluster-node a",
        "--cluster-credentials /a",
        "--cluster-ca /a",
    ] {
        let line = refusal(option, &[]);
        assert!(line.contains(" needs --cluster: "), "{line}");
    }
}

#[cfg(feature = "cluster")]
mod cluster {
    use super::*;

    fn cluster(arguments: &str) -> ClusterOptions {
        let options = options(&format!("--cluster-secret /s {arguments}"), &[]);
        options.cluster.expect("a broker")
    }

    fn refused(arguments: &str) -> String {
        refusal(&format!("--cluster-secret /s {arguments}"), &[])
    }

    #[test]
    fn brokers_are_urls_with_a_port_or_the_port_of_nats() {
        let given =
            cluster("--cluster nats://localhost --cluster nats://[::1]:4333/ --cluster tls://b.example");
        let brokers: Vec<_> = given.brokers.iter().map(ToString::to_string).collect();
        let wanted = [
            "nats://localhost:4222",
            "nats://[::1]:4333",
            "tls://b.example:4222",
        ];
        assert_eq!(brokers, wanted);
        assert_eq!((given.cluster.as_str(), given.node), ("etracker", None));
        let by_environment = [
            ("ETRACKER_CLUSTER", "tls://a.example,tls://b.example:1"),
            ("ETRACKER_CLUSTER_SECRET", "/s"),
        ];
        let given = options("", &by_environment).cluster.expect("two brokers");
        assert_eq!(given.brokers.len(), 2);
    }

    #[test]
    fn bad_values_are_refused_in_one_line() {
        for url in [
            "",
            "localhost",
            "localhost:4222",
            "http://localhost",
            "nats://",
            "nats://localhost:0",
            "nats://localhost:65536",
            "nats://localhost:port",
            "nats://localhost/path",
            "nats://localhost?tls",
        ] {
            let line = refused(&format!("--cluster={url}"));
            assert!(
                line.starts_with("--cluster=") && line.contains("must be tls://HOST:PORT"),
                "{line}"
            );
        }
        for (option, value) in [
            ("--cluster-name", "a.b"),
            ("--cluster-name", ""),
            ("--cluster-node", "*"),
            ("--cluster-credentials", ""),
            ("--cluster-ca", ""),
        ] {
            let line = refused(&format!("--cluster nats://localhost {option}={value}"));
            assert!(line.starts_with(&format!("{option}={value}: must be ")), "{line}");
        }
        let twice = refused("--cluster nats://localhost --cluster nats://localhost:4222");
        assert!(twice.contains("given twice"), "{twice}");
        let alone = refusal("--cluster nats://localhost", &[]);
        assert!(alone.starts_with("--cluster needs --cluster-secret: "), "{alone}");
    }

    #[test]
    fn what_is_not_encrypted_stays_on_loopback_unless_it_is_meant() {
        for url in [
            "nats://192.0.2.1",
            "nats://broker.example:4222",
            "nats://[2001:db8::1]",
        ] {
            let line = refused(&format!("--cluster {url}"));
            assert!(line.contains("use tls://, or give --cluster-insecure"), "{line}");
            assert_eq!(
                cluster(&format!("--cluster {url} --cluster-insecure"))
                    .brokers
                    .len(),
                1
            );
            assert!(cluster(&format!("--cluster {}", url.replace("nats", "tls"))).brokers[0].tls);
        }
        for url in [
            "nats://127.0.0.2",
            "nats://[::1]",
            "nats://[::ffff:127.0.0.1]",
            "nats://localhost",
        ] {
            assert!(!cluster(&format!("--cluster {url}")).brokers[0].tls);
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let line = refused("--cluster tls://me:hunter2@broker.example");
        assert!(
            line.contains("--cluster-credentials") && !line.contains("hunter2"),
            "{line}"
        );
    }
}

#[cfg(not(feature = "cluster"))]
#[test]
fn a_build_without_a_cluster_says_so() {
    let line = refusal("--cluster nats://localhost --cluster-secret /s", &[]);
    assert_eq!(
        line,
        "--cluster: this build has no cluster (cargo build --features cluster)"
    );
}
