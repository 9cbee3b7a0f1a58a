//! What a statement leaves in its backend, and what it takes away.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Why a session must keep a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    Listen,
    TempTable,
    AdvisoryLock,
    HoldCursor,
    Prepared,
    Library,
    Seed,
    /// What `currval` and `lastval` tell.
    Sequence,
}

impl Keep {
    pub const ALL: [Self; 8] = [
        Self::Listen,
        Self::TempTable,
        Self::AdvisoryLock,
        Self::HoldCursor,
        Self::Prepared,
        Self::Library,
        Self::Seed,
        Self::Sequence,
    ];

    /// In words that a user of PostgreSQL knows.
    pub fn words(self) -> &'static str {
        match self {
            Self::Listen => "LISTEN",
            Self::TempTable => "temporary object",
            Self::AdvisoryLock => "advisory lock",
            Self::HoldCursor => "cursor WITH HOLD",
            Self::Prepared => "PREPARE",
            Self::Library => "LOAD",
            Self::Seed => "setseed",
            Self::Sequence => "currval",
        }
    }
}

/// A set of reasons.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Keeps(u8);

impl Keeps {
    pub const NONE: Self = Self(0);
    /// Nothing that a client can say undoes these; they end with the backend.
    pub const FOR_GOOD: Self = Self::of(Keep::Library).or(Self::of(Keep::Seed));

    /// PostgreSQL does not tell these of its own accord.
    pub const UNTOLD: Self = Self::FOR_GOOD.or(Self::of(Keep::Sequence));

    /// A rollback brings these back.
    pub const TRANSACTIONAL: Self = Self::of(Keep::Listen).or(Self::of(Keep::TempTable));

    pub const fn of(keep: Keep) -> Self {
        Self(1 << keep as u8)
    }

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn contains(self, keep: Keep) -> bool {
        !self.and(Self::of(keep)).is_empty()
    }

    pub fn iter(self) -> impl Iterator<Item = Keep> {
        Keep::ALL.into_iter().filter(move |keep| self.contains(*keep))
    }
}

impl BitOr for Keeps {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl BitOrAssign for Keeps {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

impl FromIterator<Keep> for Keeps {
    fn from_iter<I: IntoIterator<Item = Keep>>(keeps: I) -> Self {
        keeps.into_iter().map(Self::of).fold(Self::NONE, Self::or)
    }
}

impl fmt::Debug for Keeps {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Keeps {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, keep) in self.iter().enumerate() {
            out.write_str(if index == 0 { "" } else { ", " })?;
            out.write_str(keep.words())?;
        }
        Ok(())
    }
}

/// What a statement may leave in its backend after its transaction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Leaves {
    /// It runs code that we cannot see (functions we do not know, CALL, DO): anything may have
    /// changed.
    pub unknown: bool,
    /// State that only this backend has; the session must keep it.
    pub keeps: Keeps,
}

impl Leaves {
    pub const UNKNOWN: Self = Self { unknown: true, keeps: Keeps::NONE };

    pub const fn state(keep: Keep) -> Self {
        Self { unknown: false, keeps: Keeps::of(keep) }
    }
}

impl BitOrAssign for Leaves {
    fn bitor_assign(&mut self, other: Self) {
        self.unknown |= other.unknown;
        self.keeps |= other.keeps;
    }
}

/// What a statement may end of what was left before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Frees {
    /// Perhaps a part of it: one lock, one table, one channel.
    pub some: bool,
    /// All of it, of these kinds: `UNLISTEN *`, `pg_advisory_unlock_all()`, `DISCARD TEMP`, …
    pub all: Keeps,
}

impl Frees {
    pub const SOME: Self = Self { some: true, all: Keeps::NONE };

    pub const fn all(keeps: Keeps) -> Self {
        Self { some: true, all: keeps }
    }
}

impl BitOrAssign for Frees {
    fn bitor_assign(&mut self, other: Self) {
        self.some |= other.some;
        self.all |= other.all;
    }
}
