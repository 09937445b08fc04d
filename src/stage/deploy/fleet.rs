//! All servers of one home: they get a version together, or keep the one they have.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::DeployError;
use super::servers::{Served, Server, ServerError, Target, servers};
use crate::config::DeployConfig;
use crate::events::deploy::{ServerCaughtUp, SwapFailed, SwapUndone, WeightsDiffer};
use crate::events::emit;

/// First wait between two tries on one server; doubles up to the other.
const RETRY_MS: u64 = 200;
const RETRY_MS_MAX: u64 = 5_000;

/// How far servers showed what they serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// Servers whose checksum of what they read is that of the manifests.
    pub by_checksum: usize,
    /// Servers that tell their version only: they are not ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_version_only: Vec<String>,
}

/// The servers.
pub struct Fleet {
    servers: Vec<Server>,
    tries: usize,
    shutdown: CancellationToken,
}

impl Fleet {
    /// The servers that the configuration names.
    pub fn open(config: &DeployConfig, shutdown: CancellationToken) -> Result<Self, DeployError> {
        Ok(Self { servers: servers(config)?, tries: config.tries, shutdown })
    }

    /// Their addresses.
    pub fn names(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.name().to_owned()).collect()
    }

    /// Puts a version on every server. If one does not take it, those that did get `back` again.
    pub async fn push(&self, target: &Target, back: &Target) -> Result<Shown, DeployError> {
        let mut shown = Shown::default();
        for (index, server) in self.servers.iter().enumerate() {
            let error = match self.try_update(server, target).await {
                Ok(served) if served.sha256.is_some() => {
                    shown.by_checksum += 1;
                    continue;
                }
                Ok(_) => {
                    shown.by_version_only.push(server.name().to_owned());
                    continue;
                }
                Err(error) => error,
            };
            let version = target.version;
            // what was reached before the process ended is taken up by the next start
            let Some(source) = error else { return Err(DeployError::Stopped { version }) };
            for server in &self.servers[..index] {
                self.undo(server, back).await;
            }
            return Err(DeployError::Swap { version, live: back.version, source });
        }
        Ok(shown)
    }

    /// Tries until the server has the version; `Err(None)` if the process is to end.
    async fn try_update(
        &self,
        server: &Server,
        target: &Target,
    ) -> Result<Served, Option<ServerError>> {
        let mut wait_ms = RETRY_MS;
        let mut attempt = 1;
        loop {
            let done = tokio::select! {
                () = self.shutdown.cancelled() => return Err(None),
                done = update(server, target) => done,
            };
            let error = match done {
                Ok(served) => return Ok(served),
                Err(error) => error,
            };
            let again = attempt < self.tries && error.is_passing();
            let again_in_ms = again.then_some(wait_ms);
            emit(SwapFailed { version: target.version.0, error: error.chain(), again_in_ms });
            if !again {
                return Err(Some(error));
            }
            let wait = Duration::from_millis(wait_ms);
            if tokio::time::timeout(wait, self.shutdown.cancelled()).await.is_ok() {
                return Err(None);
            }
            wait_ms = (wait_ms * 2).min(RETRY_MS_MAX);
            attempt += 1;
        }
    }

    /// Gives a server the live version back, as well as can be.
    async fn undo(&self, server: &Server, back: &Target) {
        let version = back.version.0;
        match server.update(back).await {
            Ok(_) => emit(SwapUndone { server: server.name().to_owned(), version }),
            Err(error) => emit(SwapFailed { version, error: error.chain(), again_in_ms: None }),
        }
    }

    /// Gives the live version to each server that answers and serves another one, or other weights
    /// by its name.
    pub async fn catch_up(&self, live: &Target) {
        let version = live.version.0;
        for server in &self.servers {
            let Ok(had) = server.served().await else { continue };
            if had.is(live) {
                continue;
            }
            let name = server.name().to_owned();
            if had.version == live.version.to_string() {
                let (got, expected) = (had.sha256.unwrap_or_default(), live.sha256.clone());
                emit(WeightsDiffer { server: name.clone(), version, got, expected });
            }
            match server.update(live).await {
                Ok(_) => emit(ServerCaughtUp { server: name, had: had.version, version }),
                Err(error) => {
                    emit(SwapFailed { version, error: error.chain(), again_in_ms: None });
                }
            }
        }
    }
}

/// Puts a version on a server that does not serve it already.
async fn update(server: &Server, target: &Target) -> Result<Served, ServerError> {
    match server.served().await {
        Ok(served) if served.is(target) => Ok(served),
        _ => server.update(target).await,
    }
}
