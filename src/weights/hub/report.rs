//! What goes on, as events.

use std::ops::ControlFlow;

use super::HubNote;
use crate::events::emit;
use crate::events::hub::{FetchReport, ModelAwaited, ModelFetched, ModelFetching, ModelFromCache};

/// Says what goes on, until `is_stopped`.
pub(in crate::weights) fn report(
    is_stopped: &dyn Fn() -> bool,
) -> impl FnMut(HubNote<'_>) -> ControlFlow<()> {
    let mut report = FetchReport::new();
    move |note| {
        match note {
            HubNote::Fetching { file, bytes, bytes_total } => {
                report.say(|| ModelFetching { file: file.to_owned(), bytes, bytes_total });
            }
            HubNote::Fetched { file, bytes } => emit(ModelFetched { file: file.to_owned(), bytes }),
            HubNote::FromCache { reason } => emit(ModelFromCache { reason: reason.to_owned() }),
            HubNote::Waiting => report.say(|| ModelAwaited),
        }
        if is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
