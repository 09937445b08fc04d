//! Looking at a home from outside: status figures, listings, a turn's life, and checks.
//!
//! Nothing here changes a row or a version, and everything works while the stages run. The
//! commands `openclaw-rl store ls|show|verify`, `/status` and `run`'s last line are this room.

mod advice;
mod errors;
mod figures;
mod ls;
mod show;
mod verify;

pub use advice::Advice;
pub use errors::InspectError;
pub use figures::{Standing, Status, StatusTail, figures};
pub use ls::{Listing, TableLine, VersionLine, ls};
pub use show::show;
pub use verify::{Report, verify};

use crate::config::Home;
use crate::rollout::{InvalidTurnId, TurnId};
use crate::store::Store;
use crate::weights::Registry;

/// The turn that is meant by its own id, or by the id of its reply.
///
/// # Errors
/// A text that is neither.
pub fn turn_named(id: &str) -> Result<TurnId, InvalidTurnId> {
    TurnId::of_reply(id)
}

/// The store and the registry of a home that is there already.
fn open(home: &Home) -> Result<(Store, Registry), InspectError> {
    if !home.root().is_dir() {
        return Err(InspectError::NoHome { path: home.root().to_owned() });
    }
    Ok((Store::open(home)?, Registry::open(home)?))
}
