//! The admin routes of the servers that take the weights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::error::DeployError;
use crate::config::DeployConfig;
use crate::rollout::Version;

/// Time that asking a server for its version may take.
const INFO_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest part of a server's answer that an error repeats, in characters.
const ANSWER_CHARS_MAX: usize = 200;

/// Why a server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No answer.
    #[error("no answer from {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// What the network said.
        source: reqwest::Error,
    },
    /// It answered, but did not do what was asked.
    #[error("{url} answered {status}: {message}")]
    Refused {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It said yes, and serves another version.
    #[error("{url} serves version `{got}` after it was told to serve {expected}")]
    OtherVersion {
        /// The address.
        url: String,
        /// What it says.
        got: String,
        /// What it was told.
        expected: Version,
    },
    /// It serves the version that it was told, and other weights than those that were published.
    #[error("{url} serves weights of SHA-256 {got}, expected {expected}")]
    OtherWeights {
        /// The address.
        url: String,
        /// What it read.
        got: String,
        /// What the manifests say.
        expected: String,
    },
}

impl ServerError {
    /// The error and its causes, on one line.
    pub fn chain(&self) -> String {
        crate::fault::chain(self)
    }

    /// Whether the same request may succeed later, without anyone changing it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::OtherVersion { .. } | Self::OtherWeights { .. } => {
                true
            }
            Self::Refused { status, .. } => {
                *status >= 500 || *status == StatusCode::TOO_MANY_REQUESTS.as_u16()
            }
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "start `openclaw-rl serve`, or name the right address with --server".to_owned()
            }
            Self::Refused { status: 401 | 403, .. } => {
                "give the server's keys with --api-key-file and --admin-key-file".to_owned()
            }
            Self::Refused { status: 404, .. } => {
                "the address must be a server that takes weights: `openclaw-rl serve`, with an \
                 --admin-key-file where it does not listen on loopback"
                    .to_owned()
            }
            Self::OtherWeights { .. } => {
                "the server reads other files than this home holds: is its disk a copy?".to_owned()
            }
            Self::Refused { .. } | Self::OtherVersion { .. } => {
                "see the server's own log for the reason".to_owned()
            }
        }
    }
}

#[derive(Serialize)]
struct UpdateRequest<'a> {
    model_path: &'a Path,
    weight_version: String,
}

#[derive(Deserialize)]
struct UpdateAnswer {
    success: bool,
    #[serde(default)]
    message: String,
}

/// What a server says that it serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Served {
    /// The version, as it names it.
    #[serde(rename = "weight_version")]
    pub version: String,
    /// One hash over the files that it read; other servers than ours do not tell it.
    #[serde(default, rename = "weights_sha256")]
    pub sha256: Option<String>,
}

impl Served {
    /// Whether this is the target, as far as it is told.
    pub fn is(&self, target: &Target) -> bool {
        self.version == target.version.to_string()
            && self.sha256.as_ref().is_none_or(|sha256| *sha256 == target.sha256)
    }
}

/// What a server is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The version.
    pub version: Version,
    /// Its directory, absolute.
    pub dir: PathBuf,
    /// One hash over the files that are read to serve it, by the manifests.
    pub sha256: String,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// As it was named: an address, or `unix:` and the path of a socket.
    name: String,
    /// What requests are sent to; nobody looks up its host where there is a socket.
    url: String,
    key: Option<String>,
    client: Client,
    timeout: Duration,
}

impl Server {
    /// The address, without a slash at its end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it serves now.
    ///
    /// # Errors
    /// It does not answer, or not as a server of weights does.
    pub async fn served(&self) -> Result<Served, ServerError> {
        let request = self.client.get(format!("{}/model_info", self.url)).timeout(INFO_TIMEOUT);
        self.send(request).await
    }

    /// Puts a version live, and asks the server whether it is.
    ///
    /// # Errors
    /// It does not answer, refuses, or serves another version or other weights afterwards.
    pub async fn update(&self, target: &Target) -> Result<Served, ServerError> {
        let Target { version, dir, sha256 } = target;
        let body = UpdateRequest { model_path: dir, weight_version: version.to_string() };
        let request = self
            .client
            .post(format!("{}/update_weights_from_disk", self.url))
            .timeout(self.timeout)
            .json(&body);
        let answer: UpdateAnswer = self.send(request).await?;
        if !answer.success {
            return Err(self.refused(StatusCode::OK, &answer.message));
        }
        let served = self.served().await?;
        if served.is(target) {
            return Ok(served);
        }
        let url = self.name.clone();
        Err(match served.sha256.filter(|_| served.version == body.weight_version) {
            Some(got) => ServerError::OtherWeights { url, got, expected: sha256.clone() },
            None => ServerError::OtherVersion { url, got: served.version, expected: *version },
        })
    }

    async fn send<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, ServerError> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let lost = |source| ServerError::Unreachable { url: self.name.clone(), source };
        let response: Response = request.send().await.map_err(lost)?;
        let status = response.status();
        let text = response.text().await.map_err(lost)?;
        if !status.is_success() {
            return Err(self.refused(status, &text));
        }
        serde_json::from_str(&text).map_err(|_| self.refused(status, &text))
    }

    fn refused(&self, status: StatusCode, text: &str) -> ServerError {
        let message = text.trim().chars().take(ANSWER_CHARS_MAX).collect();
        ServerError::Refused { url: self.name.clone(), status: status.as_u16(), message }
    }
}

/// The servers that a deployment goes to.
///
/// # Errors
/// A key file cannot be read, or the HTTP client cannot be made.
pub fn servers(config: &DeployConfig) -> Result<Vec<Server>, DeployError> {
    // the admin key opens every route
    let key_file = config.admin_key_file.as_ref().or(config.api_key_file.as_ref());
    let key = key_file.map(|path| read_key(path)).transpose()?;
    // the first provider of a process stays; reqwest needs one to be there
    rustls::crypto::ring::default_provider().install_default().ok();
    let servers = config.server.iter().map(|name| {
        let mut client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let url = match name.strip_prefix("unix:") {
            Some(path) => {
                client = client.unix_socket(Path::new(path));
                "http://localhost"
            }
            None => name.trim_end_matches('/'),
        };
        Ok(Server {
            name: name.trim_end_matches('/').to_owned(),
            url: url.to_owned(),
            key: key.clone(),
            client: client.build().map_err(|source| DeployError::Client { source })?,
            timeout: Duration::from_secs(config.timeout_s),
        })
    });
    servers.collect()
}

fn read_key(path: &Path) -> Result<String, DeployError> {
    std::fs::read_to_string(path)
        .map(|key| key.trim().to_owned())
        .map_err(|source| DeployError::Key { path: path.to_owned(), source })
}
