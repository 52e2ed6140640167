use std::env;
use std::net::Ipv4Addr;
use std::process::Command;

use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::{Config, InfoHash, PeerId, Worker};

use super::*;

/// Kills this process, if the environment says so, when writing has got as far as it says.
pub(super) fn die_at(stage: Stage) {
    if env::var(DIE_AT).is_ok_and(|wanted| wanted == format!("{stage:?}")) {
        std::process::abort();
    }
}

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("etracker-state-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Where the refused state of this number is kept, the first of which is 0.
    fn refused(&self, number: usize) -> PathBuf {
        let name = match number {
            0 => "state.refused".to_owned(),
            _ => format!("state.refused.{}", number + 1),
        };
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> (StateFile, Arc<Tracker>) {
    let (state, tracker) = try_open(path).unwrap();
    (state, Arc::new(tracker))
}

fn try_open(path: &Path) -> Result<(StateFile, Tracker), StateError> {
    let clock = Clock::start();
    let tracker = Tracker::new(Config::default(), crate::start::seed().unwrap(), clock.now());
    StateFile::open(StateFile::find(path)?, tracker, Seed::new([7; 32]), clock)
}

fn populate(tracker: &Arc<Tracker>, torrents: std::ops::Range<u32>) {
    let mut worker = Worker::new(Arc::clone(tracker));
    for number in torrents {
        let mut info_hash = InfoHash([9; 20]);
        info_hash.0[..4].copy_from_slice(&number.to_be_bytes());
        let announce = Announce {
            info_hash,
            peer_id: PeerId([1; 20]),
            peer: Endpoint {
                ip: Ipv4Addr::new(198, 51, 100, 7).into(),
                port: 6881,
            },
            left: 1,
            event: Event::Started,
            numwant: Some(0),
        };
        worker
            .announce_into_scratch(Clock::start().now(), &announce, false)
            .unwrap();
    }
}

fn write(state: &StateFile, tracker: &Tracker) {
    let written = state.write(tracker, Clock::start(), Pace::Full, || false);
    assert!(written.unwrap());
}

#[test]
fn a_state_is_read_where_it_was_written() {
    let folder = Folder::new("round");
    let (state, tracker) = open(&folder.state());
    populate(&tracker, 0..1000);
    write(&state, &tracker);
    let seed = state.connection_id_seed().clone();
    drop(state);
    let (again, tracker_again) = open(&folder.state());
    assert_eq!(tracker_again.totals(), tracker.totals());
    assert!(*again.connection_id_seed() == seed);
    assert!(again.exists);
    assert_eq!(folder.names(), ["state", "state.lock"]);
}

#[test]
#[cfg(unix)]
fn nobody_else_may_read_the_state() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("mode");
    let (state, tracker) = open(&folder.state());
    write(&state, &tracker);
    let mode = fs::metadata(folder.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_no_state_is_set_aside_and_nothing_of_it_loaded() {
    let folder = Folder::new("damaged");
    let (state, tracker) = open(&folder.state());
    populate(&tracker, 0..20_000);
    write(&state, &tracker);
    drop(state);
    let mut bytes = fs::read(folder.state()).unwrap();
    let last = bytes.len() - 30;
    bytes[last] ^= 1;
    let mut kept = Vec::new();
    for (number, wrong) in [
        bytes.as_slice(),
        &bytes[..bytes.len() / 2],
        b"something else",
        b"",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(folder.state(), wrong).unwrap();
        let (state, tracker) = open(&folder.state());
        assert_eq!((tracker.totals().torrents, state.exists), (0, false));
        kept.push(wrong);
        for (number, kept) in kept.iter().enumerate() {
            assert_eq!(fs::read(folder.refused(number)).unwrap(), *kept);
        }
        assert_eq!(folder.names().len(), number + 2, "and the lock");
    }
}

#[test]
fn of_refused_states_some_are_kept_and_the_first_is_among_them() {
    let folder = Folder::new("refused");
    for number in 0..20 {
        fs::write(folder.state(), format!("no state, {number}")).unwrap();
        drop(open(&folder.state()));
    }
    assert_eq!(folder.names().len(), 9 + 1, "and the lock");
    for (kept, number) in [(0, 0), (1, 1), (7, 7), (8, 19)] {
        let expected = format!("no state, {number}");
        assert_eq!(fs::read_to_string(folder.refused(kept)).unwrap(), expected);
    }
}

#[test]
fn a_state_that_another_has_is_refused_and_he_is_named() {
    let folder = Folder::new("taken");
    let (first, tracker) = open(&folder.state());
    populate(&tracker, 0..10);
    write(&first, &tracker);
    let before = fs::read(folder.state()).unwrap();
    let link = folder.0.join("link");
    std::os::unix::fs::symlink(folder.state(), &link).unwrap();
    for path in [folder.state(), link] {
        let line = try_open(&path).expect_err("it is taken").to_string();
        let has_it = format!("another tracker, process {}, uses the state", std::process::id());
        assert!(line.starts_with(&has_it), "{line}");
    }
    assert_eq!(fs::read(folder.state()).unwrap(), before);
    assert!(StateFile::find(&folder.state()).unwrap().is_free().is_err());
    drop(first);
    assert!(StateFile::find(&folder.state()).unwrap().is_free().is_ok());
    open(&folder.state());
}

#[test]
fn a_state_behind_a_symbolic_link_is_written_where_the_link_leads() {
    let folder = Folder::new("link");
    let (link, target) = (folder.0.join("link"), folder.0.join("target"));
    std::os::unix::fs::symlink("target", &link).unwrap();
    // First there is nothing, then a state.
    for torrents in [10, 20] {
        let (state, tracker) = open(&link);
        populate(&tracker, 0..torrents);
        write(&state, &tracker);
        assert!(link.is_symlink() && target.is_file());
    }
    assert_eq!(open(&target).1.totals().torrents, 20);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_at_the_start() {
    let folder = Folder::new("place");
    let path = folder.0.join("missing").join("state");
    let refused = try_open(&path);
    let line = refused.expect_err("there is no such folder").to_string();
    assert!(
        line.starts_with(&format!("cannot write the state {}", path.display())),
        "{line}"
    );
}

#[test]
fn writing_can_be_given_up() {
    let folder = Folder::new("stop");
    let (state, tracker) = open(&folder.state());
    write(&state, &tracker);
    let before = fs::read(folder.state()).unwrap();
    let written = state.write(&tracker, Clock::start(), Pace::Gentle, || true);
    assert!(!written.unwrap());
    assert_eq!(fs::read(folder.state()).unwrap(), before);
    assert_eq!(folder.names(), ["state", "state.lock"]);
}

#[test]
fn a_process_killed_at_any_stage_leaves_a_whole_state() {
    for (stage, torrents) in [
        (Stage::Created, OLD),
        (Stage::Piece, OLD),
        (Stage::Written, OLD),
        (Stage::Synced, OLD),
        (Stage::Renamed, NEWER),
    ] {
        let folder = Folder::new(&format!("{stage:?}"));
        let (state, tracker) = open(&folder.state());
        populate(&tracker, 0..OLD);
        write(&state, &tracker);
        drop(state);
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "state::tests::killed_while_it_writes", "--ignored"])
            .env(DIE_AT, format!("{stage:?}"))
            .env(WRITE_TO, folder.state())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), None, "it was not killed: {output:?}");
        let (state, tracker) = open(&folder.state());
        assert_eq!(tracker.totals().torrents, u64::from(torrents), "{stage:?}");
        // What the killed one left is in nobody's way.
        write(&state, &tracker);
        assert_eq!(folder.names(), ["state", "state.lock"], "{stage:?}");
    }
}

#[test]
#[ignore = "run by the test of killed processes"]
fn killed_while_it_writes() {
    let Some(path) = env::var_os(WRITE_TO) else {
        return;
    };
    let (state, tracker) = open(Path::new(&path));
    populate(&tracker, OLD..NEWER);
    write(&state, &tracker);
}

/// Shows how long a large state takes. `STATE_TORRENTS=2000000 cargo test --release --bin etracker large_states --
/// --ignored --nocapture` does so for as many torrents as are named, with 3.5 peers each.
#[test]
#[ignore = "long: for as many torrents as STATE_TORRENTS says"]
fn large_states_come_back_whole() {
    let torrents = env::var("STATE_TORRENTS").map_or(20_000, |torrents| torrents.parse().unwrap());
    let folder = Folder::new("large");
    let (state, tracker) = open(&folder.state());
    let mut random = fastrand::Rng::with_seed(1);
    let mut worker = Worker::new(Arc::clone(&tracker));
    for number in 0..torrents * 7 / 2 {
        // Torrents one after the other, then again and again those with the lowest numbers.
        let torrent = if number < torrents {
            number
        } else {
            random.u32(..torrents).min(random.u32(..torrents))
        };
        let mut info_hash = InfoHash([9; 20]);
        info_hash.0[..8].copy_from_slice(
            &u64::from(torrent)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .to_be_bytes(),
        );
        info_hash.0[8..16].copy_from_slice(
            &u64::from(torrent)
                .wrapping_mul(0xd6e8_feb8_6659_fd93)
                .to_be_bytes(),
        );
        let mut peer_id = PeerId(*b"-qB4520-000000000000");
        peer_id.0[8..].fill_with(|| random.alphanumeric() as u8);
        let announce = Announce {
            info_hash,
            peer_id,
            peer: Endpoint {
                ip: Ipv4Addr::from_bits(random.u32(0x0100_0000..0x7f00_0000)).into(),
                port: random.u16(1024..),
            },
            left: random.u64(..2),
            event: Event::Started,
            numwant: Some(0),
        };
        worker
            .announce_into_scratch(Clock::start().now(), &announce, false)
            .unwrap();
    }
    write(&state, &tracker);
    println!("{} bytes", fs::metadata(folder.state()).unwrap().len());
    if let Some(copy) = env::var_os("STATE_COPY") {
        fs::copy(folder.state(), copy).unwrap();
    }
    let began = Instant::now();
    assert!(
        state
            .write(&tracker, Clock::start(), Pace::Gentle, || false)
            .unwrap()
    );
    println!("{} ms beside requests", began.elapsed().as_millis());
    drop(state);
    let (_, again) = open(&folder.state());
    assert_eq!(again.totals(), tracker.totals());
}

/// Torrents before and after: more than one piece.
const OLD: u32 = 30_000;
const NEWER: u32 = 40_000;

const DIE_AT: &str = "ETRACKER_TEST_DIE_AT";
const WRITE_TO: &str = "ETRACKER_TEST_WRITE_TO";
