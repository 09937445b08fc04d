//! `openclaw-rl store`

use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, Subcommand};
use openclaw_rl::config::Home;
use openclaw_rl::run::Figures;
use openclaw_rl::stage::inspect::{self, Advice, Status, StatusTail};
use openclaw_rl::stage::serve::Sources;
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
        /// The turn's id, as in the tables, or its reply's (chatcmpl-…, msg_…)
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
            let id = inspect::turn_named(turn).map_err(|error| {
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

/// What the server shows of the home: its figures at `/status`, and what became of a turn. `client`
/// is the configuration that is shown where a client has to be configured.
pub fn sources(home: &Home, client: Value) -> Result<Sources, Fault> {
    let tail = Arc::new(Mutex::new(StatusTail::new(home)?));
    let shared = Arc::clone(&tail);
    Ok(Sources {
        status: Arc::new(move || {
            let status = tail.lock().unwrap_or_else(PoisonError::into_inner).refresh();
            let shown = status.advice.as_ref().is_some_and(|advice| advice.configure_client);
            let mut figures = serde_json::to_value(status).unwrap_or_default();
            if shown {
                figures["advice"]["client_config"] = client.clone();
            }
            figures
        }),
        turns: Arc::new(move |turn| {
            let standing = shared.lock().unwrap_or_else(PoisonError::into_inner).standing(turn);
            serde_json::to_value(standing?).ok()
        }),
    })
}

/// What `run` shows as progress and prints at the end.
pub fn figures_source(
    home: &Home,
    batch_size: u64,
    client: String,
) -> Result<impl FnMut() -> Figures + use<>, Fault> {
    let mut tail = StatusTail::new(home)?;
    Ok(move || figures(&tail.refresh(), batch_size, &client))
}

fn figures(status: &Status, batch_size: u64, client: &str) -> Figures {
    Figures {
        advice: status.advice.as_ref().map(|advice| warning(advice, client)),
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

/// What `run` says where nothing can be learned. It does not change with the number of requests.
fn warning(advice: &Advice, client: &str) -> String {
    let Advice { why, what_to_do, .. } = advice;
    let text =
        format!("NOTHING CAN BE LEARNED from what arrives: {why}.\nWhat to do: {what_to_do}.");
    match advice.configure_client {
        true => format!("{text}\nThe OpenClaw client's configuration, ready to paste:\n{client}"),
        false => text,
    }
}
