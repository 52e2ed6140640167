//! What an operator watches of a certificate.

use crate::finding::Finding;

/// A certificate that is served.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) names: Vec<String>,
    pub(crate) issuer: String,
    pub(crate) key: String,
    /// The stable name of how its chain looks.
    pub(crate) chain: &'static str,
    /// Unix time of its end.
    pub(crate) expires_secs: u64,
    pub(crate) days_left: i64,
    /// Whether the tracker renews it, from a directory.
    pub(crate) is_renewed: bool,
    /// What clients dislike about it, in words.
    pub(crate) flaws: Vec<String>,
    /// The same with what to do about it.
    pub(crate) findings: Vec<Finding>,
}
