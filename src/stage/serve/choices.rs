//! The replies to one request: each is made by a task of its own, and told by one channel.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::errors::ApiError;
use super::reply::{Asked, Finished, Piece, Reply};
use super::state::Server;
use crate::engine::GenerateRequest;
use crate::render::ReplyPart;

/// Pieces that may wait for a slow reader; one more holds its reply's task (not the engine).
const PIECES_MAX: usize = 64;

/// Replies that are being made. Dropping them cancels those that have not ended.
pub(super) struct Choices {
    pieces: mpsc::Receiver<(usize, Piece)>,
    /// How many have not ended.
    open: usize,
}

impl Choices {
    /// Asks the engine for all of them. Where one is refused, none is made.
    pub(super) fn start(server: &Arc<Server>, asked: Vec<Asked>) -> Result<Self, ApiError> {
        let mut begun = Vec::with_capacity(asked.len());
        for mut asked in asked {
            let generation = server.engine.submit(GenerateRequest {
                prompt: asked.prompt.clone(),
                sampling: asked.sampling.clone(),
                stop_ids: Arc::clone(&asked.stop_ids),
                adapter: asked.adapter.clone(),
                top_logprobs: asked.top_logprobs,
                constraint: asked.constraint.take(),
            })?;
            begun.push((asked, generation));
        }
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let open = begun.len();
        for (index, (asked, generation)) in begun.into_iter().enumerate() {
            let reply = Reply::new(Arc::clone(server), asked, index, sender.clone());
            // Owned by the server, so that a turn is recorded also when its client goes away.
            server.replies.spawn(reply.run(generation));
        }
        Ok(Self { pieces, open })
    }

    /// One that is complete already, and that no engine made.
    pub(super) fn told(mut finished: Finished) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let text = finished.message.content.get_or_insert_default().clone();
        let told = Piece::More { parts: vec![ReplyPart::Content(text)], tokens: Vec::new() };
        for piece in [told, Piece::End(Box::new(finished))] {
            // There is room for both.
            drop(sender.try_send((0, piece)));
        }
        Self { pieces, open: 1 }
    }

    /// The next piece of any of them; `None` once all have ended, or one has failed.
    pub(super) async fn next(&mut self) -> Option<(usize, Piece)> {
        if self.open == 0 {
            return None;
        }
        let lost = || (0, Piece::Failed(ApiError::internal("the reply was lost")));
        let (index, piece) = self.pieces.recv().await.unwrap_or_else(lost);
        match &piece {
            Piece::End(_) => self.open -= 1,
            Piece::Failed(_) => self.open = 0,
            Piece::More { .. } | Piece::Alive => {}
        }
        Some((index, piece))
    }

    /// Whether nothing more comes.
    pub(super) const fn are_complete(&self) -> bool {
        self.open == 0
    }

    /// All of them, in their order, once they are complete.
    pub(super) async fn whole(mut self) -> Result<Vec<Finished>, ApiError> {
        let mut whole: Vec<(usize, Finished)> = Vec::with_capacity(self.open);
        while let Some((index, piece)) = self.next().await {
            match piece {
                Piece::End(finished) => whole.push((index, *finished)),
                Piece::Failed(error) => return Err(error),
                Piece::More { .. } | Piece::Alive => {}
            }
        }
        whole.sort_by_key(|(index, _)| *index);
        Ok(whole.into_iter().map(|(_, finished)| finished).collect())
    }
}
