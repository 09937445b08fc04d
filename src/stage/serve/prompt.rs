//! Prompts that are taken as they are: their ids, and the log-probabilities of those.

use super::errors::ApiError;
use super::state::Server;
use crate::engine::{ScoreRequest, TopLogprobs};
use crate::protocol::BadField;
use crate::rollout::Version;

/// Refuses ids that the model does not know.
pub(super) fn known_ids(server: &Server, field: &str, ids: &[u32]) -> Result<(), ApiError> {
    match ids.iter().find(|id| **id as usize >= server.vocab) {
        None => Ok(()),
        Some(id) => {
            let problem = format!("token id {id} is not below {}", server.vocab);
            Err(BadField::new(field, problem).into())
        }
    }
}

/// Log-probabilities of a prompt's own ids.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    /// From the first position that was asked for; of the prompt's first id there is none.
    pub(super) logprobs: Vec<Option<f32>>,
    /// The most probable ids of each of these positions, if they were asked for.
    pub(super) top: Vec<Option<TopLogprobs>>,
    /// The version that gave them.
    pub(super) version: Version,
}

impl Scores {
    /// Of no position.
    pub(super) const fn none(version: Version) -> Self {
        Self { logprobs: Vec::new(), top: Vec::new(), version }
    }
}

/// Scores a prompt from its position `first` on, by one version.
pub(super) async fn score(
    server: &Server,
    request: ScoreRequest,
    first: usize,
) -> Result<Scores, ApiError> {
    let (count, wanted) = (request.ids.len(), request.top_logprobs > 0);
    let mut scores = Scores::none(server.live());
    if first == 0 {
        scores.logprobs.push(None);
        scores.top.extend(wanted.then_some(None));
    }
    let start = first.max(1);
    if start < count {
        let scored = server.engine.score(ScoreRequest { start, ..request }).await?;
        scores.logprobs.extend(scored.logprobs.into_iter().map(Some));
        scores.top.extend(scored.top.into_iter().map(Some));
        scores.version = scored.version;
    }
    Ok(scores)
}
