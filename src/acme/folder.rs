//! The folder of `--acme-state`: the account with a directory, and certificates with their keys.
//!
//! Each directory has a folder in it of its own, so that certificates of a trial never replace those that clients trust:
//!
//!     acme-v02.api.letsencrypt.org-directory/account.json
//!     acme-v02.api.letsencrypt.org-directory/tracker.example.org.pem

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use super::error::{AcmeError, AcmeStartError};
use crate::files::{self, with_suffix};
use crate::options::AcmeOptions;
use crate::terminal::complain;

/// The files of one directory.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// The folder of all directories.
    whole: PathBuf,
    /// That of this one.
    path: PathBuf,
}

/// An account, and what the directory was told of its owner.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount {
    pub(super) contact: Option<String>,
    pub(super) credentials: AccountCredentials,
}

impl Folder {
    /// Checks, without changing anything, whether the folder can be made and written.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn find(options: &AcmeOptions) -> Result<Self, AcmeStartError> {
        let whole = options.folder.clone();
        let path = whole.join(folder_name(&options.directory));
        may_make(&whole, &path).map_err(|error| AcmeStartError::Folder(whole.clone(), error))?;
        Ok(Self { whole, path })
    }

    /// Makes the folder, which only this user can read, unless it is there, and checks that a file can be written.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub(super) fn make(&self) -> Result<(), AcmeStartError> {
        self.try_make()
            .map_err(|error| AcmeStartError::Folder(self.whole.clone(), error))
    }

    fn try_make(&self) -> io::Result<()> {
        for path in [&self.whole, &self.path] {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let trial = self.path.join("trial");
        files::create_secret(&trial)?;
        fs::remove_file(&trial)
    }

    /// The account with the directory. A damaged one is reported, and counts as none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn account(&self) -> Result<Option<StoredAccount>, AcmeError> {
        let path = self.path.join(ACCOUNT);
        let Some(text) = read(&path).map_err(|error| AcmeError::File(path.clone(), error))? else {
            return Ok(None);
        };
        match serde_json::from_str(&text) {
            Ok(account) => Ok(Some(account)),
            Err(error) => {
                complain(format_args!("{}: {error}; a new account is made", path.display()));
                Ok(None)
            }
        }
    }

    /// Keeps an account.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn keep_account(&self, account: &StoredAccount) -> Result<(), AcmeError> {
        let path = self.path.join(ACCOUNT);
        let text = serde_json::to_string(account).map_err(io::Error::from);
        let kept = text.and_then(|text| replace(&path, &text));
        kept.map_err(|error| AcmeError::File(path, error))
    }

    /// The key and the chain for a name.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn certificate(&self, domain: &str) -> Result<Option<String>, AcmeError> {
        let path = self.path_of(domain);
        read(&path).map_err(|error| AcmeError::File(path, error))
    }

    /// Keeps the key and the chain for a name.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn keep_certificate(&self, domain: &str, pem: &str) -> Result<(), AcmeError> {
        let path = self.path_of(domain);
        replace(&path, pem).map_err(|error| AcmeError::File(path, error))
    }

    /// A file of its own for key and chain together: they never belong to different certificates.
    fn path_of(&self, domain: &str) -> PathBuf {
        self.path.join(format!("{domain}.pem"))
    }
}

/// Whether `path`, in the folder `whole`, is there to be written, or can be made together with it.
fn may_make(whole: &Path, path: &Path) -> io::Result<()> {
    let there = [path, whole, files::folder(whole)];
    let there = there.into_iter().find(|path| path.exists());
    let there = there.ok_or(io::ErrorKind::NotFound)?;
    if !there.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    files::may_write_into(there)
}

/// The name of a directory's folder: host and path of its URL.
fn folder_name(url: &str) -> String {
    let name = url.strip_prefix("https://").unwrap_or(url);
    let is_harmless = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-');
    let harmless = |char| if is_harmless(char) { char } else { '-' };
    // A file system may refuse names of more than 255 bytes.
    name.trim_matches('/').chars().map(harmless).take(200).collect()
}

/// The text of a file, if there is one.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match files::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(LEN_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Replaces a file at once, so that it is whole whenever the process is killed.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = with_suffix(path, ".new");
    let mut file = files::create_secret(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(files::folder(path))?.sync_all()
}

const ACCOUNT: &str = "account.json";
/// Bytes of a file that are read; a chain takes some thousands.
const LEN_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_folders_of_their_own() {
        assert_eq!(
            folder_name("https://acme-v02.api.letsencrypt.org/directory"),
            "acme-v02.api.letsencrypt.org-directory"
        );
        assert_eq!(folder_name("https://[::1]:14000/dir/"), "---1--14000-dir");
        assert_eq!(folder_name("https://ca/../../etc"), "ca-..-..-etc");
        assert_eq!(folder_name(&format!("https://{}", "a".repeat(300))).len(), 200);
    }
}
