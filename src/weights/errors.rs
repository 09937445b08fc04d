//! What can go wrong with versions.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::HubError;
use crate::fault::Explain;
use crate::rollout::Version;

/// A failure of the registry, naming the version or the file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried, as a verb phrase.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A model directory that lacks something.
    #[error("the model directory {} {reason}", dir.display())]
    NotAModel {
        /// The directory.
        dir: PathBuf,
        /// What it lacks, as a predicate.
        reason: String,
    },
    /// A version that is not there, or not complete.
    #[error("there is no weights version {version} in {}", dir.display())]
    NoVersion {
        /// The version.
        version: Version,
        /// The registry.
        dir: PathBuf,
    },
    /// A manifest that cannot be read.
    #[error("the manifest {} is unusable: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A version whose files are not those of its manifest.
    #[error("weights version {version} is damaged: {} {reason}", path.display())]
    Damaged {
        /// The version.
        version: Version,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as a predicate.
        reason: String,
    },
    /// A `state.json` that cannot be read.
    #[error("the registry's state {} is unusable: {reason}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The home was begun with another base model.
    #[error(
        "{} was begun with the base model {there}, but {asked_for} is {asked}", dir.display()
    )]
    OtherBase {
        /// The registry.
        dir: PathBuf,
        /// SHA-256 of the base it has.
        there: String,
        /// The model that was asked for.
        asked_for: String,
        /// SHA-256 of the model that was asked for.
        asked: String,
    },
    /// A version that was refused or rolled back, or that is built on such a one.
    #[error("weights version {version} was refused or rolled back")]
    Dead {
        /// The version.
        version: Version,
    },
    /// A version that was built on another one than the head.
    #[error("a version built on {parent} cannot be published: the head is {head}")]
    NotOnHead {
        /// What it was built on.
        parent: Version,
        /// What it should have been built on.
        head: Version,
    },
    /// A refusal of what is live, or of the base.
    #[error("weights version {version} cannot be refused: {reason}")]
    CannotRefuse {
        /// The version.
        version: Version,
        /// Why not.
        reason: &'static str,
    },
    /// The base could not be fetched by its name.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The lock was held for too long.
    #[error("{} has been locked by another process for {waited_s} s", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Seconds waited.
        waited_s: u64,
    },
}

impl Explain for WeightsError {
    fn label(&self) -> &'static str {
        match self {
            Self::Io { .. } => "weights_io",
            Self::NotAModel { .. } => "weights_not_a_model",
            Self::NoVersion { .. } => "weights_no_version",
            Self::Manifest { .. } => "weights_manifest",
            Self::Damaged { .. } => "weights_damaged",
            Self::State { .. } => "weights_state",
            Self::OtherBase { .. } => "weights_other_base",
            Self::Dead { .. } => "weights_dead",
            Self::NotOnHead { .. } => "weights_not_on_head",
            Self::CannotRefuse { .. } => "weights_cannot_refuse",
            Self::Hub(error) => error.label(),
            Self::Locked { .. } => "weights_locked",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    "give a `--home` that this user may write to"
                }
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    "a file stands where a directory is needed: give another `--home`"
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "the disk is full: make room; the versions that are there are not touched"
                }
                ErrorKind::NotFound => "check the path",
                _ => return None,
            },
            Self::NotAModel { .. } => {
                "a Hugging Face directory is needed (config.json, tokenizer.json and \
                 *.safetensors), or `owner/name` of the hub"
            }
            Self::NoVersion { .. } => "`openclaw-rl store ls` lists the versions",
            Self::Manifest { .. } | Self::Damaged { .. } => {
                "restore it from a copy, or put an older version back with `openclaw-rl deploy \
                 --version N`; `openclaw-rl store verify` checks them all"
            }
            Self::State { .. } => {
                "restore it from a copy; without the file, every version counts as good and the \
                 base as live"
            }
            Self::OtherBase { .. } => {
                "a home holds one model's lineage: give another `--home`, or leave `--model` out"
            }
            Self::Dead { .. } => "choose a version of the surviving lineage",
            Self::NotOnHead { .. } => "the lineage changed meanwhile; train again on the new head",
            Self::CannotRefuse { .. } => "`openclaw-rl deploy --version N` puts an older one back",
            Self::Hub(error) => return error.hint(),
            Self::Locked { .. } => "look for an openclaw-rl process that hangs",
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Hub(error) => error.exit_code(),
            Self::NotAModel { .. }
            | Self::NoVersion { .. }
            | Self::OtherBase { .. }
            | Self::Dead { .. }
            | Self::CannotRefuse { .. } => 2,
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotADirectory
                | ErrorKind::AlreadyExists
                | ErrorKind::NotFound => 2,
                _ => 1,
            },
            _ => 1,
        }
    }
}

/// Turns an I/O error into one that names the deed and the path; for `map_err`.
pub(super) fn io<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> WeightsError + 'a {
    move |source| WeightsError::Io { doing, path: path.to_owned(), source }
}
