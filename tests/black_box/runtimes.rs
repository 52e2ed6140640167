//! Where glommio cannot run.

use crate::harness::{Tracker, by, free_port};

#[test]
fn without_lockable_memory_glommio_is_refused_by_one_line_that_says_what_to_do() {
    let Err(ended) = Tracker::start_by(by(&["prlimit", MEMORY]), free_port(), &["--runtime", "glommio"])
    else {
        panic!("it serves");
    };
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(1), 1),
        "{ended:?}"
    );
    for advice in ["ulimit -l 512", "--runtime smol"] {
        assert!(ended.stderr[0].contains(advice), "{ended:?}");
    }
}

#[cfg(feature = "smol")]
#[test]
fn auto_serves_where_glommio_cannot() {
    use std::net::{IpAddr, Ipv4Addr};

    use crate::clients::UdpClient;

    for arguments in [&["--runtime", "auto"][..], &["--runtime", "auto", "--no-tcp"]] {
        let tracker = Tracker::start_by(by(&["prlimit", MEMORY]), free_port(), arguments).unwrap();
        drop(UdpClient::connect(IpAddr::V4(Ipv4Addr::LOCALHOST), tracker.v4()));
        let ended = tracker.stop(rustix::process::Signal::TERM);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
}

/// An eighth of what glommio locks.
const MEMORY: &str = "--memlock=65536:65536";
