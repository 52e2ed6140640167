//! Where a sweep or a walk has got to.

use crate::InfoHash;
use crate::announce::Family;

use super::linear::{Spot, spot_of};

/// Torrents are passed in the order of their spots, those of the same spot in the order of their info-hashes. Pages may
/// be split and joined between two steps: that moves no spot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<P> {
    /// All torrents before this spot have been passed.
    pub(super) spot: Spot,
    pub(super) within: Within<P>,
}

/// A position of a sweep; the parts of a torrent are the sets of its swarm.
pub(super) type SweepPosition = Position<usize>;

/// A position of a walk; the parts of a torrent are the families of its peers, seeders and leechers together, so that
/// one who becomes a seeder during the walk is not met twice.
pub(super) type WalkPosition = Position<Family>;

/// How far the torrents of a spot have been passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Within<P> {
    /// None yet.
    Nothing,
    /// All up to this one, with all its peers.
    After(InfoHash),
    /// All before this one, and of its peers those of the parts before this one, and of this part those before the spot.
    Inside(InfoHash, P, Spot),
}

impl<P> Position<P> {
    /// The first place in a page.
    pub(super) const fn page(spot: Spot) -> Self {
        Self {
            spot,
            within: Within::Nothing,
        }
    }

    /// The place behind a torrent.
    pub(super) const fn after(hash: u64, info_hash: InfoHash) -> Self {
        Self {
            spot: spot_of(hash),
            within: Within::After(info_hash),
        }
    }

    /// Whether a torrent is still to be passed, wholly or in part.
    pub(super) fn is_before(&self, hash: u64, info_hash: &InfoHash) -> bool {
        // Hashes of 64 bits may collide: the info-hash tells those of one spot apart.
        let torrent = (spot_of(hash), info_hash);
        match &self.within {
            Within::Nothing => torrent.0 >= self.spot,
            Within::After(passed) => torrent > (self.spot, passed),
            Within::Inside(inside, ..) => torrent >= (self.spot, inside),
        }
    }

    /// Where to begin in a torrent: inside, if that is where this position is.
    pub(super) fn inside(&self, info_hash: &InfoHash) -> Option<(P, Spot)>
    where
        P: Copy,
    {
        match &self.within {
            Within::Inside(inside, part, spot) if inside == info_hash => Some((*part, *spot)),
            Within::Inside(..) | Within::Nothing | Within::After(_) => None,
        }
    }
}

impl<P> Default for Position<P> {
    fn default() -> Self {
        Self::page(0)
    }
}
