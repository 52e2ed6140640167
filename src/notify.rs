//! What systemd is told: that the tracker serves, that it stops, and that it is alive.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use etracker_core::Tracker;
use etracker_runtime_common::{BEAT, Clock, Control};

use crate::supervised::is_supervised;

/// The line to the service manager. It is opened before the root is changed, since it is a path.
#[derive(Clone, Debug)]
pub(crate) struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
    /// How often the manager wants to hear that the tracker is alive.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The line that the environment names, if any.
    ///
    /// # Errors
    /// It names one that is not there.
    pub(crate) fn from_env() -> io::Result<Self> {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.map(connect).transpose()?;
        Ok(Self {
            socket: socket.map(Arc::new),
            watchdog: watchdog(),
        })
    }

    /// Tells something. A manager that has gone is not waited for, one that is behind for a second.
    pub(crate) fn tell(&self, what: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(what.as_bytes());
        }
    }

    /// Tells the manager, if it wants to know, that the tracker is alive: as long as every worker shows that it lives,
    /// every lock can be taken and what is due is done.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn watch(
        &self,
        tracker: &Arc<Tracker>,
        clock: Clock,
        control: &Arc<Control>,
    ) -> io::Result<()> {
        let Some(period) = self.watchdog else {
            return Ok(());
        };
        let (notifier, tracker, control) = (self.clone(), Arc::clone(tracker), Arc::clone(control));
        let watch = move || {
            loop {
                thread::sleep(period / 2);
                // Waits for ever, and so tells nothing, if somebody never gives a lock back.
                let _ = tracker.totals();
                let due = tracker.poll_timeout();
                let oldest = control.oldest_beat().map_or(due, |beat| beat.min(due));
                if clock.now().saturating_since(oldest) < LATE {
                    notifier.tell("WATCHDOG=1");
                }
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned());
        thread.spawn(watch).map(drop)
    }
}

/// How long a manager that is behind with listening is waited for: what it misses it would wait for itself.
const PATIENCE: Duration = Duration::from_secs(1);
/// By so much a worker's sign of life, or the maintenance that one of them does, is late only if it hangs.
const LATE: Duration = BEAT.saturating_mul(5);

fn connect(address: std::ffi::OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
        return Ok(socket);
    }
    socket.connect(address)?;
    Ok(socket)
}

/// The period that the manager wants this process, or its supervisor, to keep.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()) || is_supervised());
    let period = number("WATCHDOG_USEC").filter(|&micros| meant && micros > 0)?;
    Some(Duration::from_micros(period))
}
