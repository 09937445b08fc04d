//! What can go wrong with a model that is fetched by name.

use std::path::PathBuf;

use crate::fault::Explain;

/// A model that could not be brought from the hub, nor found in its cache.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No such model, revision or file.
    #[error("the hub has no {what} of `{model}`, and there is no directory of that name")]
    NotFound {
        /// `owner/name@revision`.
        model: String,
        /// What was asked for.
        what: String,
    },
    /// The hub asks for a token, or for another one.
    #[error("the hub refuses {what} of `{model}` (HTTP {status})")]
    Refused {
        /// `owner/name@revision`.
        model: String,
        /// What was asked for.
        what: String,
        /// 401 or 403.
        status: u16,
    },
    /// A model that is not one that could be served.
    #[error("`{model}` on the hub {lacks}")]
    NotAModel {
        /// `owner/name@revision`.
        model: String,
        /// What it lacks, as a predicate.
        lacks: String,
    },
    /// The hub was not reached, or broke off too often.
    #[error("{what} of `{model}` did not come from the hub: {reason}")]
    Unreachable {
        /// `owner/name@revision`.
        model: String,
        /// What was asked for.
        what: String,
        /// What the network said.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("{what} of `{model}` did not come from the hub: nothing came for {seconds} s")]
    Stalled {
        /// `owner/name@revision`.
        model: String,
        /// What was asked for.
        what: String,
        /// How long was waited.
        seconds: f32,
    },
    /// The hub is not to be asked, and the cache does not hold the whole model.
    #[error("`{model}` is not complete in {}, and the hub is not to be asked", cache.display())]
    NotCached {
        /// `owner/name@revision`.
        model: String,
        /// The cache.
        cache: PathBuf,
    },
    /// A file is not the one that the hub describes.
    #[error("{}: {reason}", path.display())]
    Corrupt {
        /// The file, which was removed.
        path: PathBuf,
        /// How it differs.
        reason: String,
    },
    /// The hub answered something that is not understood.
    #[error("{what} of `{model}`: the hub's answer is not understood: {reason}")]
    Protocol {
        /// `owner/name@revision`.
        model: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The cache cannot be written or read.
    #[error("cannot {doing} {}", path.display())]
    Cache {
        /// What was tried, as a verb phrase.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process fetches the same model and makes no progress.
    #[error("{} is locked by another process, which makes no progress", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// No directory for the cache was given.
    #[error("`{model}` is to come from the hub, but there is no directory for its cache")]
    NoCache {
        /// `owner/name@revision`.
        model: String,
    },
    /// The program is to stop.
    #[error("stopped while `{model}` was being fetched")]
    Stopped {
        /// `owner/name@revision`.
        model: String,
    },
}

impl HubError {
    /// Whether the same request may well succeed a little later. Not after a stall: the request
    /// that hangs holds the client's lock on the file as long as this process lives.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Corrupt { .. })
    }

    /// Whether it is the network that failed, so that a complete cache may serve.
    pub(super) fn is_network(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Stalled { .. })
    }
}

impl Explain for HubError {
    fn label(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "hub_not_found",
            Self::Refused { .. } => "hub_refused",
            Self::NotAModel { .. } => "hub_not_a_model",
            Self::Unreachable { .. } => "hub_unreachable",
            Self::Stalled { .. } => "hub_stalled",
            Self::NotCached { .. } | Self::NoCache { .. } => "hub_not_cached",
            Self::Corrupt { .. } => "hub_corrupt",
            Self::Protocol { .. } => "hub_protocol",
            Self::Cache { .. } => "hub_cache",
            Self::Locked { .. } => "hub_locked",
            Self::Stopped { .. } => "hub_stopped",
        }
    }

    fn hint(&self) -> Option<String> {
        use std::io::ErrorKind;
        let hint = match self {
            Self::NotFound { .. } => {
                "check the spelling of `owner/name@revision`; a directory is written as ./DIR"
            }
            Self::Refused { .. } => {
                "the model does not exist, is private, or wants its licence accepted on its page: \
                 then set HF_TOKEN to a token that may read it"
            }
            Self::NotAModel { .. } => {
                "config.json, tokenizer.json and *.safetensors are needed; look for a repository \
                 that has them"
            }
            Self::Unreachable { .. } | Self::Stalled { .. } => {
                "what came is kept: the same command takes it up again; HF_ENDPOINT names a mirror"
            }
            Self::NotCached { .. } => "fetch it once without HF_HUB_OFFLINE",
            Self::NoCache { .. } => "set HF_HOME or HF_HUB_CACHE to a directory",
            Self::Corrupt { .. } => "fetch it again; if that does not help, ask the hub's keeper",
            Self::Cache { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "the disk is full: make room, or set HF_HOME to a larger one; what came is kept"
                }
                _ => "set HF_HOME or HF_HUB_CACHE to a directory that this user may write to",
            },
            Self::Locked { .. } => "look for a download that hangs",
            Self::Stopped { .. } => "the same command takes it up again",
            Self::Protocol { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::NotAModel { .. }
            | Self::NotCached { .. }
            | Self::NoCache { .. } => 2,
            _ => 1,
        }
    }
}
