//! The choice of the runtime.

use super::name;
use super::reader::Reader;
use super::refusal::Refusal;

/// The runtimes of this build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// The faster one.
    #[cfg(all(feature = "smol", feature = "glommio"))]
    Auto,
    /// smol: portable.
    #[cfg(feature = "smol")]
    Smol,
    /// glommio: io_uring.
    #[cfg(feature = "glommio")]
    Glommio,
}

impl Runtime {
    const ALL: &[Self] = &[
        #[cfg(all(feature = "smol", feature = "glommio"))]
        Self::Auto,
        #[cfg(feature = "smol")]
        Self::Smol,
        #[cfg(feature = "glommio")]
        Self::Glommio,
    ];
    /// The default.
    pub(crate) const DEFAULT: Self = Self::ALL[0];

    /// The name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            #[cfg(all(feature = "smol", feature = "glommio"))]
            Self::Auto => "auto",
            #[cfg(feature = "smol")]
            Self::Smol => "smol",
            #[cfg(feature = "glommio")]
            Self::Glommio => "glommio",
        }
    }

    /// The names of all, for messages.
    pub(super) fn names() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|runtime| runtime.name()).collect();
        names.join(", ")
    }

    /// The chosen runtime.
    pub(super) fn read(reader: Reader<'_>, argument: Option<String>) -> Result<Self, Refusal> {
        let Some(text) = reader.text(name::RUNTIME, argument) else {
            return Ok(Self::DEFAULT);
        };
        let named = Self::ALL.iter().find(|runtime| runtime.name() == text.value);
        named
            .copied()
            .ok_or_else(|| text.refuse(&format!("a runtime of this build: {}", Self::names())))
    }
}
