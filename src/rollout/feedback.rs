//! What users say of a reply explicitly.

use super::{TurnId, labelled};

labelled! {
    /// A user's explicit verdict.
    Rating {
        /// The reply was good.
        Up = "up",
        /// It was not.
        Down = "down",
    }
}

impl Rating {
    /// The score that it means: +1 or -1.
    pub const fn score(self) -> i8 {
        match self {
            Self::Up => 1,
            Self::Down => -1,
        }
    }
}

/// An explicit verdict on a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rated {
    /// Good or bad.
    pub rating: Rating,
    /// What should have been done, in the user's words.
    pub text: Option<String>,
    /// Microseconds since the Unix epoch at which it was given.
    pub given_at_us: i64,
}

/// A verdict that came by `POST /v1/feedback`: a row of the `feedback` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The turn that it is about.
    pub turn_id: TurnId,
    /// Who gave it: as in [`Turn::user`](super::Turn::user).
    pub user: String,
    /// The verdict.
    pub rated: Rated,
}
