//! What a check finds, and how it ends before its end.

/// What a check found: a remark if there is one, or why it stopped.
pub(crate) type Finding = Result<Option<String>, Stop>;

/// Why a check did not get to its end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// What must hold does not.
    Failed(String),
    /// The target has no such feature.
    NotOffered(String),
    /// The run gives no means to try it.
    NotRun(String),
}

impl Stop {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::finding::Stop::Failed(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

/// Ends the check: all holds.
pub(crate) fn pass() -> Finding {
    Ok(None)
}

/// Ends the check with something worth recording.
pub(crate) fn remark(text: impl Into<String>) -> Finding {
    Ok(Some(text.into()))
}

/// Ends the check: the target has no such feature.
pub(crate) fn not_offered<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotOffered(text.into()))
}

/// Ends the check: the run gives no means to try it.
pub(crate) fn not_run<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotRun(text.into()))
}
