//! Reading files again while the tracker serves: on a signal, and certificates when they change.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use etracker_core::Tracker;

use crate::lists::ListFiles;
use crate::reloads::ReloadLog;
use crate::secrets::SecretFile;
use crate::terminal::say;
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
    pub(crate) secrets: Option<SecretFile>,
    pub(crate) certificates: Option<CertificateFiles>,
    /// What came of it.
    pub(crate) log: ReloadLog,
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
    fn wait(&mut self, asked: &Receiver<&'static str>) -> Option<&'static str> {
        let Some(certificates) = &mut self.certificates else {
            return asked.recv().ok();
        };
        loop {
            match asked.recv_timeout(look_period()) {
                Ok(signal) => return Some(signal),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(outcome) = certificates.look() {
                        self.log.certificates(outcome);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn reload(&mut self, signal: &str) {
        let mut is_done = false;
        if let Some(certificates) = &mut self.certificates {
            self.log.certificates(certificates.reload(signal));
            is_done = true;
        }
        if let Some(secrets) = &mut self.secrets {
            secrets.reload(signal);
            is_done = true;
        }
        if !self.lists.is_empty() {
            self.log.lists(self.lists.reload(signal, &self.tracker));
        } else if !is_done {
            say(format_args!(
                "{signal}: nothing to reload: there are no lists (--allow-list, --deny-list, --deny-address, --trusted-proxy)"
            ));
        }
    }
}

/// The time between two looks at the files of certificates.
fn look_period() -> Duration {
    #[cfg(feature = "testing")]
    if let Some(period) = crate::testing::given_look_period() {
        return period;
    }
    Duration::from_secs(60)
}
