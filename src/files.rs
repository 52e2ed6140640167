//! Files of the operator and of the tracker.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

/// Opens a file for reading, also through symbolic links. Anything but a regular file and /dev/null is refused by its kind: to
/// open a FIFO without a writer would block forever.
///
/// # Errors
/// It cannot be opened, or it is something else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Checked before opening, which can have effects on a device and fails obscurely on a socket.
    check(&fs::metadata(path)?)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // Checked again, as the path may lead to another file by now.
    check(&file.metadata()?)?;
    Ok(file)
}

/// Whether the path is /dev/null.
pub(crate) fn is_null(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| is_null_device(&metadata))
}

/// The path that symbolic links lead to, whether a file exists there or not.
///
/// # Errors
/// They lead nowhere.
pub(crate) fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = folder(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// The path with a suffix.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Whether this process may create and rename files in `folder`.
///
/// # Errors
/// It may not.
pub(crate) fn may_write_into(folder: &Path) -> io::Result<()> {
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    Ok(faccessat(AT_FDCWD, folder, wanted, AtFlags::AT_EACCESS)?)
}

/// Creates a file that only this user can read, as it holds secrets. Replaces an earlier one.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn create_secret(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path),
    }
}

fn check(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() || is_null_device(metadata) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, NoFile(name(kind))))
}

fn is_null_device(metadata: &Metadata) -> bool {
    let null = || fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == metadata.rdev());
    metadata.file_type().is_char_device() && null()
}

fn name(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "something else"
    }
}

/// What is there is no file.
#[derive(Debug)]
struct NoFile(&'static str);

impl fmt::Display for NoFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is {}, and must be a file", self.0)
    }
}

impl std::error::Error for NoFile {}

/// Symbolic links followed: as many as Linux follows.
const LINKS_MAX: usize = 40;
