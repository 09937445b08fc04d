//! `openclaw-rl store`

use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand};
use openclaw_rl::config::Home;
use openclaw_rl::run::Figures;
use openclaw_rl::stage::inspect::{self, Status, StatusTail};
use serde_json::Value;

use crate::Global;
use crate::edge::{self, Fault};
use crate::resolve::home;

/// Flags of `store`.
#[derive(Debug, Args)]
pub struct StoreArgs {
    #[command(subcommand)]
    look: Look,
}

#[derive(Debug, Subcommand)]
enum Look {
    /// Tables with their rows, turns by state and reason, versions
    Ls,
    /// The whole life of one turn
    Show {
        /// The turn's id, as in the tables and, after `chatcmpl-`, in the reply
        turn: String,
    },
    /// Check that everything is readable, consistent and accounted for; exit code 1 if not
    Verify,
}

/// Looks, and prints what it saw as one JSON line.
pub fn cmd_store(global: &Global, args: &StoreArgs) -> Result<Option<Value>, Fault> {
    let home = home(global)?;
    match &args.look {
        Look::Ls => edge::summary(&inspect::ls(&home)?),
        Look::Show { turn } => {
            let id = turn.strip_prefix("chatcmpl-").unwrap_or(turn).parse();
            let id = id.map_err(|error| {
                Fault::usage(format!("{error}"), "take one from the column `turn_id` of a table")
            })?;
            Ok(Some(inspect::show(&home, id)?))
        }
        Look::Verify => {
            let report = inspect::verify(&home)?;
            let summary = edge::summary(&report)?;
            if report.problems.is_empty() {
                return Ok(summary);
            }
            edge::print(&summary.unwrap_or_default());
            Err(Fault::failed(
                format!("{} problems in {}", report.problems.len(), home.root().display()),
                "each is named in the JSON line; the other rows stay readable",
            ))
        }
    }
}

/// What the server shows at `/status`: the figures of the home.
pub fn status_source(home: &Home) -> Result<Arc<dyn Fn() -> Value + Send + Sync>, Fault> {
    let tail = Mutex::new(StatusTail::new(home)?);
    Ok(Arc::new(move || {
        let status = tail.lock().unwrap_or_else(PoisonError::into_inner).refresh();
        serde_json::to_value(status).unwrap_or_default()
    }))
}

/// What `run` shows as progress and prints at the end.
pub fn figures_source(
    home: &Home,
    batch_size: u64,
) -> Result<impl FnMut() -> Figures + use<>, Fault> {
    let mut tail = StatusTail::new(home)?;
    Ok(move || figures(&tail.refresh(), batch_size))
}

fn figures(status: &Status, batch_size: u64) -> Figures {
    Figures {
        turns: status.turns,
        rollouts: status.rollouts,
        scores: status.scores,
        hints: status.hints,
        ready: status.ready,
        batch_size,
        steps: status.steps,
        deployed: status.deployed,
        live_version: status.live_version.unwrap_or_default(),
        mean_reward: status.mean_reward,
        all: serde_json::to_value(status).unwrap_or_default(),
    }
}
