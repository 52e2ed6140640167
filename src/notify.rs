//! Notifications to systemd: ready, stopping, alive.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use etracker_core::Tracker;
use etracker_runtime_common::{Clock, Control};

use crate::alive::Life;
use crate::supervised::is_supervised;

/// The socket of the service manager. Its path must be opened before the root directory changes.
#[derive(Clone, Debug)]
pub(crate) struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
    /// The period of the manager's watchdog.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Opens the socket that the environment names, if there is one.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub(crate) fn from_env() -> io::Result<Self> {
        let address = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let socket = address.map(connect).transpose()?;
        Ok(Self {
            socket: socket.map(Arc::new),
            watchdog: watchdog(),
        })
    }

    /// Sends a notification. Waits at most a second for a manager whose queue is full, and not for one that is gone.
    pub(crate) fn tell(&self, what: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(what.as_bytes());
        }
    }

    /// Sends watchdog notifications, if the manager wants them, as long as every worker beats its pulse, every lock can be taken and
    /// the periodic work is done.
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
        let (notifier, tracker, life) = (self.clone(), Arc::clone(tracker), Life::new(control));
        let watch = move || {
            loop {
                thread::sleep(period / 2);
                // Blocks on a lock that is never released, so that the notifications end.
                let _ = tracker.totals();
                if life.is_lived(clock.now(), &tracker) {
                    notifier.tell("WATCHDOG=1");
                }
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned());
        thread.spawn(watch).map(drop)
    }
}

/// How long to wait for a manager with a full queue: without READY=1 it would take the start for failed.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// The watchdog period for this process, or for its supervisor.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(process::id()) || is_supervised());
    let period = number("WATCHDOG_USEC").filter(|&micros| meant && micros > 0)?;
    Some(Duration::from_micros(period))
}
