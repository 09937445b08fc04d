//! What can go wrong between messages and tokens.

use std::path::PathBuf;

use crate::fault::Explain;

/// A model directory that cannot render, or a conversation that cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A file of the model directory could not be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the model directory does not hold what it should.
    #[error("`{path}` is not usable: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A part of the request cannot be rendered by any template.
    #[error("`{at}`: {problem}")]
    Request {
        /// Where, as a path into the request (`messages[2].content[0]`).
        at: String,
        /// What is wrong there.
        problem: String,
    },
    /// The model's own template refused the conversation.
    #[error("the model's chat template refused the conversation: {problem}")]
    Refused {
        /// What the template said.
        problem: String,
    },
    /// The tokenizer failed.
    #[error("the tokenizer failed: {problem}")]
    Tokenizer {
        /// What it said.
        problem: String,
    },
}

impl RenderError {
    /// Whether the conversation, rather than the model or the machine, is at fault.
    pub const fn is_request(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Refused { .. })
    }

    pub(super) fn request(at: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Request { at: at.into(), problem: problem.into() }
    }
}

impl Explain for RenderError {
    fn label(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "render_unreadable",
            Self::Malformed { .. } => "render_malformed",
            Self::Request { .. } => "render_request",
            Self::Refused { .. } => "render_refused",
            Self::Tokenizer { .. } => "render_tokenizer",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } | Self::Malformed { .. } => Some(
                "a model directory needs tokenizer.json, a chat template (chat_template.jinja, or \
                 in tokenizer_config.json) and an end-of-turn token"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::Malformed { .. } => 2,
            _ => 1,
        }
    }
}
