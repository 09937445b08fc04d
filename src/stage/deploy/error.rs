//! What can end a deployment.

use std::path::PathBuf;

use super::servers::ServerError;
use crate::fault::Explain;
use crate::rollout::Version;
use crate::store::StoreError;
use crate::weights::WeightsError;

/// A failure of the `deploy` stage.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The key file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No HTTP client could be made.
    #[error("cannot make an HTTP client")]
    Client {
        /// Why not.
        source: reqwest::Error,
    },
    /// A file of the home cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another deployment is going on and does not end.
    #[error("another deployment holds {}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The tables cannot be worked with.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The weights registry cannot be worked with.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is no such version.
    #[error("there is no version {version}; there are {there}")]
    NoSuchVersion {
        /// What was asked for.
        version: Version,
        /// The versions that can go live.
        there: String,
    },
    /// The version was refused or rolled back, or built on one that was.
    #[error("version {version} belongs to a dead branch")]
    Dead {
        /// What was asked for.
        version: Version,
    },
    /// The gate refused the version that was asked for.
    #[error("version {version} is refused: {reason}")]
    Refused {
        /// The version.
        version: Version,
        /// Why.
        reason: String,
    },
    /// A version that should be put back is not older than what is live.
    #[error("version {version} is not older than the live version {live}")]
    NotOlder {
        /// What was asked for.
        version: Version,
        /// What is live.
        live: Version,
    },
    /// The turns of a version that is alive cannot be given back.
    #[error("version {version} is no dead branch; dead are: {dead}")]
    NotDead {
        /// What was asked for.
        version: Version,
        /// What there is.
        dead: String,
    },
    /// The gate broke down: nothing is known of the version.
    #[error("the gate could not look: {reason}")]
    Gate {
        /// Why not.
        reason: String,
    },
    /// The file of probes cannot be used.
    #[error("the probes {} are unusable: {reason}", path.display())]
    Probes {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A version could not be exported.
    #[error("cannot export to {}: {reason}", path.display())]
    Export {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A server did not take it.
    #[error("version {version} is not on every server; version {live} stays live")]
    Swap {
        /// The version.
        version: Version,
        /// What stays live.
        live: Version,
        /// Which server, and why.
        source: ServerError,
    },
    /// The process is to end.
    #[error("stopped before version {version} was live on every server")]
    Stopped {
        /// The version.
        version: Version,
    },
    /// A thread broke off.
    #[error("a thread broke off: {reason}")]
    Panicked {
        /// What it said.
        reason: String,
    },
}

impl Explain for DeployError {
    fn label(&self) -> &'static str {
        match self {
            Self::Key { .. } => "deploy_key",
            Self::Client { .. } => "deploy_client",
            Self::Io { .. } => "deploy_io",
            Self::Locked { .. } => "deploy_locked",
            Self::Store(error) => error.label(),
            Self::Weights(error) => error.label(),
            Self::NoSuchVersion { .. } => "deploy_no_such_version",
            Self::Dead { .. } => "deploy_dead_version",
            Self::Refused { .. } => "deploy_refused",
            Self::NotOlder { .. } => "deploy_not_older",
            Self::NotDead { .. } => "deploy_not_dead",
            Self::Gate { .. } => "deploy_gate",
            Self::Probes { .. } => "deploy_probes",
            Self::Export { .. } => "deploy_export",
            Self::Swap { .. } => "deploy_swap",
            Self::Stopped { .. } => "deploy_stopped",
            Self::Panicked { .. } => "deploy_panicked",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint(),
            Self::Weights(error) => return error.hint(),
            Self::Swap { source, .. } => return Some(source.hint()),
            Self::Client { .. } | Self::Stopped { .. } | Self::Panicked { .. } => return None,
            Self::Key { .. } => "--api-key-file names a file that holds the server's key",
            Self::Io { .. } => "check the permissions and the free space of --home",
            Self::Locked { .. } => "wait until it has ended, or stop it",
            Self::NoSuchVersion { .. } => "`openclaw-rl store ls` shows what there is",
            Self::Dead { .. } => "a dead branch does not come back; train on from the live version",
            Self::NotOlder { .. } => "`openclaw-rl deploy --list` shows what can be put back",
            Self::NotDead { .. } => "`openclaw-rl deploy --list` shows which versions are dead",
            Self::Gate { .. } => {
                "the live version stays; free memory, or choose another --device for the gate"
            }
            Self::Probes { .. } => {
                "a line is {\"id\", \"messages\", \"check\"} as docs/operations.md shows"
            }
            Self::Export { .. } => "name an empty directory on a disk with room",
            Self::Refused { .. } => "the live version stays; training goes on from its parent",
        };
        Some(hint.to_owned())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Weights(error) => error.exit_code(),
            Self::Key { .. }
            | Self::NoSuchVersion { .. }
            | Self::Dead { .. }
            | Self::NotOlder { .. }
            | Self::NotDead { .. }
            | Self::Export { .. }
            | Self::Probes { .. } => 2,
            _ => 1,
        }
    }
}
