//! Reading files again while the tracker serves: on a signal, and certificates when they change.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
#[cfg(feature = "tls")]
use std::{sync::mpsc::RecvTimeoutError, time::Duration};

use etracker_core::Tracker;

use crate::lists::ListFiles;
use crate::terminal::say;
#[cfg(feature = "tls")]
use crate::tls::CertificateFiles;

/// A channel for requests of a reload, which name their signal. Requests while one is pending are merged with it.
pub(crate) fn requests() -> (SyncSender<&'static str>, Receiver<&'static str>) {
    sync_channel(1)
}

/// What is read again.
#[derive(Debug)]
pub(crate) struct Reloading {
    pub(crate) lists: ListFiles,
    pub(crate) tracker: Arc<Tracker>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<CertificateFiles>,
}

impl Reloading {
    /// Starts the thread that reads the files again, on each request and when it is due.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn begin(mut self, asked: Receiver<&'static str>) -> io::Result<()> {
        let run = move || {
            while let Some(signal) = self.wait(&asked) {
                self.reload(signal);
            }
        };
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(run)
            .map(drop)
    }

    /// Waits for the next request, and looks at certificates meanwhile.
    #[cfg(feature = "tls")]
    fn wait(&mut self, asked: &Receiver<&'static str>) -> Option<&'static str> {
        let Some(certificates) = &mut self.certificates else {
            return asked.recv().ok();
        };
        loop {
            match asked.recv_timeout(look_period()) {
                Ok(signal) => return Some(signal),
                Err(RecvTimeoutError::Timeout) => certificates.look(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::needless_pass_by_ref_mut, reason = "certificates are looked at")]
    fn wait(&mut self, asked: &Receiver<&'static str>) -> Option<&'static str> {
        asked.recv().ok()
    }

    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::needless_pass_by_ref_mut, reason = "certificates are read again")
    )]
    fn reload(&mut self, signal: &str) {
        #[cfg(feature = "tls")]
        if let Some(certificates) = &mut self.certificates {
            certificates.reload(signal);
            if self.lists.is_empty() {
                return;
            }
        }
        if self.lists.is_empty() {
            say(format_args!(
                "{signal}: nothing to reload: there are no lists (--allow-list, --deny-list, --deny-address, --trusted-proxy)"
            ));
            return;
        }
        self.lists.reload(signal, &self.tracker);
    }
}

/// The time between two looks at the files of certificates.
#[cfg(feature = "tls")]
fn look_period() -> Duration {
    #[cfg(feature = "testing")]
    if let Some(period) = crate::testing::given_look_period() {
        return period;
    }
    Duration::from_secs(60)
}
