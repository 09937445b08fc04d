//! Why a model could not be asked.

use std::path::PathBuf;

use crate::fault::Explain;

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// The key file cannot be used.
    #[error("cannot read the {role}'s key from {}: {reason}", path.display())]
    Key {
        /// Whose key it is.
        role: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// No HTTP client could be made.
    #[error("no HTTP client could be made")]
    Client {
        /// Why not.
        source: reqwest::Error,
    },
    /// No answer after every try.
    #[error("the {role} at {url} gave no answer after {tries} tries: {reason}")]
    Unavailable {
        /// What the server is.
        role: &'static str,
        /// Its address.
        url: String,
        /// How often it was asked.
        tries: usize,
        /// What the last try met.
        reason: String,
    },
    /// The server refused the request, and would again.
    #[error("the {role} at {url} refused with {status}: {message}")]
    Refused {
        /// What the server is.
        role: &'static str,
        /// Its address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The error's code, if it has one (`context_length_exceeded`).
        code: String,
        /// What the server said, cut to a line.
        message: String,
    },
    /// The server serves the very model that is being trained.
    #[error("the {role} at {url} is the model that is being trained ({path})")]
    Trained {
        /// What the server is.
        role: &'static str,
        /// Its address.
        url: String,
        /// The weights that it serves.
        path: String,
    },
    /// The server's model reads other ids.
    #[error("the {role} at {url} has another tokenizer than the model of this home")]
    Tokenizer {
        /// What the server is.
        role: &'static str,
        /// Its address.
        url: String,
    },
    /// The answer is not what was asked for.
    #[error("the {role} at {url} gave an answer that cannot be used: {problem}")]
    Malformed {
        /// What the server is.
        role: &'static str,
        /// Its address.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

impl CompleteError {
    /// The server is not there; the same request may succeed later.
    pub const fn is_down(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// The server will refuse every request like this one: a wrong key, address or model.
    pub const fn is_misconfigured(&self) -> bool {
        match self {
            Self::Key { .. }
            | Self::Client { .. }
            | Self::Trained { .. }
            | Self::Tokenizer { .. } => true,
            Self::Refused { status, .. } => matches!(status, 401 | 403 | 404 | 405),
            _ => false,
        }
    }

    /// The request does not fit into the model's context.
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "context_length_exceeded")
    }
}

impl Explain for CompleteError {
    fn label(&self) -> &'static str {
        match self {
            Self::Key { .. } => "complete_key",
            Self::Client { .. } => "complete_client",
            Self::Unavailable { .. } => "complete_unavailable",
            Self::Refused { .. } => "complete_refused",
            Self::Trained { .. } => "complete_trained",
            Self::Tokenizer { .. } => "complete_tokenizer",
            Self::Malformed { .. } => "complete_malformed",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Key { role, .. } => {
                Some(format!("give the {role} a readable key file that holds the key alone"))
            }
            Self::Client { .. } => None,
            Self::Unavailable { role, url, .. } => Some(format!("is the {role} running at {url}?")),
            Self::Refused { role, status: 401 | 403, .. } => {
                Some(format!("give the {role}'s key in a key file"))
            }
            Self::Refused { role, status: 404 | 405, .. } => {
                Some(format!("check the {role}'s address and model name"))
            }
            Self::Refused { .. } => None,
            Self::Trained { role, .. } => Some(format!(
                "a {role} must not change with what it judges: name another address, serve a fixed \
                 version (`serve --version 0`), or insist with --judge-may-be-trained"
            )),
            Self::Tokenizer { role, .. } => Some(format!(
                "a {role} re-reads the very ids of a reply: name the policy's own server, or one \
                 whose model has the same tokenizer.json"
            )),
            Self::Malformed { role, url, .. } => {
                Some(format!("is the server at {url} one that can serve as {role}?"))
            }
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Key { .. } | Self::Trained { .. } | Self::Tokenizer { .. } => 2,
            _ => 1,
        }
    }
}
