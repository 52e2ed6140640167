//! The file of secrets that the trackers of a cluster share.

use std::fmt;
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use etracker_core::cluster::{BadSecrets, Secret, Secrets};
use etracker_runtime_common::{Plain, UdpFront};
use tracing::{info, warn};

use crate::files;
use crate::options::Setting;
use crate::terminal::{complain, say};

/// A new secret, as a line of the file.
///
/// # Errors
/// The system gives no random numbers.
pub(crate) fn make() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// Reads the file, and warns if everybody can.
///
/// # Errors
/// It cannot be read, or is no file of secrets.
pub(crate) fn read(file: &Setting<PathBuf>) -> Result<Secrets, SecretsError> {
    let refuse = |fault| SecretsError {
        file: file.clone(),
        fault,
    };
    let opened = files::open(&file.value).map_err(|error| refuse(Fault::Unreadable(error)))?;
    let mode = opened
        .metadata()
        .map_or(0, |metadata| metadata.permissions().mode());
    if mode & READ_BY_OTHERS != 0 {
        complain(format_args!(
            "{}: every user of this machine can read the secret of the cluster: chmod o= {}",
            file.value.display(),
            file.value.display()
        ));
    }
    let mut text = Vec::new();
    opened
        .take(LEN_MAX)
        .read_to_end(&mut text)
        .map_err(|error| refuse(Fault::Unreadable(error)))?;
    Secrets::parse(&text).map_err(|bad| refuse(Fault::Bad(bad)))
}

/// The file of secrets, which is read again on a signal.
#[derive(Debug)]
pub(crate) struct SecretFile {
    file: Setting<PathBuf>,
    in_force: Secrets,
    /// The front that makes connection ids.
    udp: Arc<UdpFront>,
    /// Where a node of a cluster is told.
    node: Option<SyncSender<Secrets>>,
}

impl SecretFile {
    pub(crate) fn new(file: Setting<PathBuf>, in_force: Secrets, udp: Arc<UdpFront>) -> Self {
        Self {
            file,
            in_force,
            udp,
            node: None,
        }
    }

    /// The same file, of which a node of a cluster is told.
    pub(crate) fn with_node(mut self, node: Option<SyncSender<Secrets>>) -> Self {
        self.node = node;
        self
    }

    /// Reads the file. If it is bad that is logged, and what was in force stays.
    pub(crate) fn reload(&mut self, signal: &str) {
        match read(&self.file) {
            Ok(secrets) if secrets == self.in_force => {
                say(format_args!("{signal}: the secrets of the cluster are the same"));
            }
            Ok(secrets) => self.put_in_force(secrets, signal),
            Err(error) => {
                warn!(%error, "the secrets of the cluster are not reloaded, the old ones stay in force");
            }
        }
    }

    fn put_in_force(&mut self, secrets: Secrets, signal: &str) {
        let others: Vec<_> = secrets.others().iter().map(Secret::connection_seed).collect();
        let ids = self.udp.connection_ids();
        if !ids.replace(&secrets.first().connection_seed(), &others) {
            warn!("the secrets of the cluster were reloaded too often: restart this tracker to change them");
            return;
        }
        if let Some(node) = &self.node {
            // It takes them within a tenth of a second, and an error means that it has ended.
            let _ = node.send(secrets.clone());
        }
        self.in_force = secrets;
        say(format_args!(
            "{signal}: the new secrets of the cluster are in force"
        ));
        info!("the new secrets of the cluster are in force");
    }
}

/// Why a file of secrets cannot be used. Shown as one line, which holds nothing of the file.
#[derive(Debug)]
pub(crate) struct SecretsError {
    file: Setting<PathBuf>,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Unreadable(io::Error),
    Bad(BadSecrets),
}

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}: ", self.file.source, self.file.value.display())?;
        match &self.fault {
            Fault::Unreadable(error) => write!(f, "{}", Plain(error)),
            Fault::Bad(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for SecretsError {}

/// The permission of all users to read.
const READ_BY_OTHERS: u32 = 0o004;
/// Bytes of the file that are read: the secrets, and comments.
const LEN_MAX: u64 = 64 << 10;
