//! How fast users talk: as fast as they are answered, or in step with the loop.

use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::EvalError;
use super::lockstep::Lockstep;

/// The pace of a run.
#[derive(Debug)]
pub struct Pace<'a> {
    lockstep: Option<Lockstep<'a>>,
    stop: &'a CancellationToken,
    /// The version that answered last, as far as it is known.
    live: Option<u64>,
    /// Seconds from a message that brought feedback to the version that came of it.
    pub delays: Vec<f64>,
}

impl<'a> Pace<'a> {
    /// In step with a loop, once that is at rest; or as fast as users are answered.
    ///
    /// # Errors
    /// As [`Lockstep::wait`].
    pub async fn begin(
        lockstep: Option<Lockstep<'a>>,
        stop: &'a CancellationToken,
    ) -> Result<Self, EvalError> {
        let live = match &lockstep {
            Some(lockstep) => lockstep.wait(stop).await?,
            None => None,
        };
        Ok(Self { lockstep, stop, live, delays: Vec::new() })
    }

    /// After the reply to a message that was `sent`, and was feedback on the reply before: in
    /// lockstep, waits until all of it has been learned from.
    ///
    /// # Errors
    /// As [`Lockstep::wait`]; [`EvalError::Interrupted`].
    pub async fn learned(&mut self, sent: Instant) -> Result<(), EvalError> {
        if self.stop.is_cancelled() {
            return Err(EvalError::Interrupted);
        }
        let Some(lockstep) = &self.lockstep else { return Ok(()) };
        let live = lockstep.wait(self.stop).await?;
        if live != self.live {
            self.delays.push(sent.elapsed().as_secs_f64());
            self.live = live;
        }
        Ok(())
    }
}
