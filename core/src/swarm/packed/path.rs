//! Where a request leads in the store.

use super::page::Record;
use super::set::Place;

/// Where a [`Packed`](super::Packed) store has put a peer.
#[derive(Clone, Copy, Debug)]
pub struct PackedStored(pub(super) Stored);

/// A stage of prefetching in a [`Packed`](super::Packed) store.
#[derive(Clone, Copy, Debug)]
pub struct PackedStage(pub(super) Stage);

/// Where a peer is stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stored {
    /// Among those of its family in a page, by number; [`usize::MAX`] is no peer.
    Page(Torrent, usize),
    /// In the large swarm of this number.
    Swarm(u32, Option<Place>),
}

/// Where a torrent is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Torrent {
    /// The number of its page.
    pub(super) index: usize,
    pub(super) record: Record,
}

/// What prefetching has found in a [`Packed`](super::Packed) store.
#[derive(Clone, Copy, Debug, Default)]
pub struct PackedPrefetched(pub(super) Path);

/// How far prefetching has followed a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Path {
    /// Its torrent was not looked up yet.
    #[default]
    Unknown,
    /// There is nothing more to fetch.
    Page,
    /// It leads to this large swarm, in which `peer` is the hash of the peer. The last stage has drawn where it begins to
    /// hand out.
    Swarm { number: u32, peer: u64, starts: Starts },
}

impl Path {
    /// The hash of the peer, if it was computed.
    pub(super) const fn peer(self) -> Option<u64> {
        match self {
            Self::Swarm { peer, .. } => Some(peer),
            Self::Unknown | Self::Page => None,
        }
    }

    /// What was drawn before.
    pub(super) fn starts(self) -> Starts {
        match self {
            Self::Swarm { starts, .. } => starts,
            Self::Unknown | Self::Page => Starts::default(),
        }
    }
}

/// Where to begin among the leechers and among the seeders, if prefetching has drawn that before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Starts {
    pub(super) leecher: Option<Place>,
    pub(super) seeder: Option<Place>,
}

/// How far ahead of a request a stage is. Each reads what the one before fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The entry of the table of pages.
    Slot,
    /// The head of the page.
    Page,
    /// What the page holds of the torrent.
    Torrent,
    /// The large swarm, if the torrent has one.
    Swarm,
    /// The entries of its tables of buckets.
    Tables,
    /// The buckets.
    Buckets,
}

impl Stage {
    /// Whether it has something to fetch for a request that was followed so far.
    pub(super) const fn is_due(self, path: Path) -> bool {
        match path {
            Path::Unknown => true,
            Path::Page => false,
            Path::Swarm { .. } => matches!(self, Self::Tables | Self::Buckets),
        }
    }
}
