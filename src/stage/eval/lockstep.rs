//! Waiting until the loop behind a server has learned from everything that was said.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::EvalError;
use super::server::Server;

/// Time between two looks at the server.
const LOOK: Duration = Duration::from_millis(100);
/// States of a turn that another stage still has to change.
const UNDECIDED: [&str; 3] = ["answered", "closed", "half_judged"];

/// What `/status` says of the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Turns in the store that this server recorded, less those that it has recorded: 0 once all
    /// are there, whatever was there before the server began.
    behind: i64,
    /// Turns that wait for the collector, a judge, or a hint.
    undecided: u64,
    /// Turns that wait for the trainer.
    ready: u64,
    /// Versions that were made and neither went live nor were refused.
    pending: u64,
    /// The version that answers.
    live: Option<u64>,
    /// The version that is to answer.
    head: Option<u64>,
}

impl Standing {
    /// What an answer of `/status` says; `None` if it is not that of a loop.
    pub fn read(status: &Value) -> Option<Self> {
        let number = |name: &str| status[name].as_u64();
        let states = status["by_state"].as_object()?;
        let waits = |state: &&str| states.get(*state).and_then(Value::as_u64).unwrap_or_default();
        Some(Self {
            behind: number("turns")? as i64 - number("recorded_here")? as i64,
            undecided: UNDECIDED.iter().map(waits).sum(),
            ready: number("ready")?,
            pending: number("pending")?,
            live: number("live_version"),
            head: number("head_version"),
        })
    }

    /// Whether nothing is left to do that more talk would not bring: `before` are the turns that
    /// the store held before this server began, and `batch` is the trainer's.
    fn is_idle(&self, before: i64, batch: u64) -> bool {
        // More of them are there where the server was started again meanwhile.
        self.behind >= before
            && self.undecided == 0
            && self.ready < batch
            && self.pending == 0
            && self.live == self.head
    }
}

/// Waits for a loop.
#[derive(Clone, Copy, Debug)]
pub struct Lockstep<'a> {
    server: &'a Server,
    before: i64,
    batch: u64,
    longest: Duration,
}

impl<'a> Lockstep<'a> {
    /// Learns what the loop looks like where nobody talks.
    ///
    /// # Errors
    /// [`EvalError::NoLoop`]: the server does not say how its loop stands.
    pub async fn begin(
        server: &'a Server,
        batch: u64,
        longest: Duration,
    ) -> Result<Self, EvalError> {
        standing(server).await?;
        // What is on its way to the store arrives within two seconds.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let known = standing(server).await?;
        Ok(Self { server, before: known.behind, batch, longest })
    }

    /// Returns once the loop is idle; the version that answers then.
    ///
    /// # Errors
    /// [`EvalError::Waited`]: it did not become so in time; [`EvalError::NoLoop`]: it did not tell
    /// in all that time; [`EvalError::Interrupted`].
    pub async fn wait(&self, stop: &CancellationToken) -> Result<Option<u64>, EvalError> {
        let started = Instant::now();
        loop {
            let standing = standing(self.server).await;
            if let Ok(standing) = &standing
                && standing.is_idle(self.before, self.batch)
            {
                return Ok(standing.live);
            }
            if started.elapsed() > self.longest {
                let (standing, seconds) = (standing?, self.longest.as_secs());
                return Err(EvalError::Waited { seconds, standing: format!("{standing:?}") });
            }
            tokio::select! {
                () = stop.cancelled() => return Err(EvalError::Interrupted),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

async fn standing(server: &Server) -> Result<Standing, EvalError> {
    let no_loop = |reason: String| EvalError::NoLoop { reason };
    let status = server.get("/status").await.map_err(no_loop)?;
    Standing::read(&status).ok_or_else(|| no_loop("`/status` is not that of `run`".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Value {
        json!({"turns": 12, "recorded_here": 10, "ready": 3, "pending": 0, "live_version": 2,
            "head_version": 2, "by_state": {"placed": 1, "trained": 8, "ready": 3}})
    }

    #[test]
    fn a_loop_is_idle_once_every_turn_is_where_it_can_stay() {
        let idle = |status: &Value| Standing::read(status).unwrap().is_idle(2, 16);
        assert!(idle(&status()));
        for (name, value) in [
            ("turns", json!(11)), // one is on its way
            ("ready", json!(16)),
            ("pending", json!(1)),
            ("live_version", json!(1)),
            ("by_state", json!({"answered": 1})),
            ("by_state", json!({"closed": 1})),
            ("by_state", json!({"half_judged": 2})),
        ] {
            let mut busy = status();
            busy[name] = value;
            assert!(!idle(&busy), "{name}: {busy}");
        }
    }

    #[test]
    fn a_server_without_a_loop_is_known_as_one() {
        assert_eq!(Standing::read(&json!({"live_version": 0})), None);
        assert_eq!(Standing::read(&json!("hello")), None);
    }
}
