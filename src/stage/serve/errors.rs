//! What keeps the server from starting, and what a request is answered where it fails.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::engine::EngineError;
use crate::events::serve::RequestRefused;
use crate::fault::{Explain, chain};
use crate::model::ModelError;
use crate::protocol::{BadField, ErrorBody, ErrorDetail};
use crate::render::RenderError;
use crate::store::StoreError;
use crate::weights::WeightsError;

/// Seconds after which a client that was sent away may ask again.
const RETRY_AFTER_S: u64 = 1;

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens there.
    #[error("port {} is in use", address.port())]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A key file is of no use.
    #[error("the key file `{}` {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as a predicate.
        problem: String,
    },
    /// A list of users who are not to be learned from is of no use.
    #[error("the `do_not_train` file `{}` {problem}", path.display())]
    DoNotTrain {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as a predicate.
        problem: String,
    },
    /// The admin socket cannot be listened on.
    #[error("the admin socket `{}`: {problem}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The model could not be loaded.
    #[error("cannot load the model in `{}`", dir.display())]
    Model {
        /// The version's directory.
        dir: PathBuf,
        /// Why not.
        source: LoadError,
    },
    /// The device that was chosen is not there.
    #[error(transparent)]
    Device(ModelError),
    /// The configuration asks for more than the model can do, or the model does not fit together.
    #[error("{problem}")]
    Mismatch {
        /// What does not fit, naming the key or the file.
        problem: String,
    },
    /// Tokenizer or template.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The weights registry.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A task or thread of the server broke.
    #[error("the server broke: {reason}")]
    Broken {
        /// What is known of it.
        reason: String,
    },
}

impl Explain for ServeError {
    fn label(&self) -> &'static str {
        match self {
            Self::PortInUse { .. } => "port_in_use",
            Self::Bind { .. } => "bind",
            Self::Key { .. } => "key_file",
            Self::DoNotTrain { .. } => "do_not_train_file",
            Self::Socket { .. } => "admin_socket",
            Self::Model { .. } => "model_load",
            Self::Device(error) => error.label(),
            Self::Mismatch { .. } => "model_mismatch",
            Self::Render(error) => error.label(),
            Self::Weights(error) => error.label(),
            Self::Store(error) => error.label(),
            Self::Engine(error) => error.label(),
            Self::Broken { .. } => "broken",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::PortInUse { .. } => Some(
                "another program (perhaps another `openclaw-rl serve`) listens there: stop it, or \
                 take another with `--port`"
                    .to_owned(),
            ),
            Self::Bind { .. } => Some("check `--host` and `--port`".to_owned()),
            Self::Key { .. } => Some("put the key alone into the file, on one line".to_owned()),
            Self::DoNotTrain { .. } => {
                Some("name a text file with one user's name or API key per line".to_owned())
            }
            Self::Socket { .. } => Some(
                "name a free path of at most 100 bytes in a directory that can be written to, \
                 with `--admin-socket`"
                    .to_owned(),
            ),
            Self::Model { source, .. } => source.hint.clone(),
            Self::Device(error) => error.hint(),
            Self::Mismatch { .. } => Some("check `--model` and `--context-tokens`".to_owned()),
            Self::Render(error) => error.hint(),
            Self::Weights(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Engine(error) => error.hint(),
            Self::Broken { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::PortInUse { .. }
            | Self::Bind { .. }
            | Self::Key { .. }
            | Self::DoNotTrain { .. }
            | Self::Socket { .. }
            | Self::Model { .. }
            | Self::Mismatch { .. } => 2,
            Self::Device(error) => error.exit_code(),
            Self::Render(error) => error.exit_code(),
            Self::Weights(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::Engine(error) => error.exit_code(),
            Self::Broken { .. } => 1,
        }
    }
}

/// Why a directory's weights could not be loaded: the model's own error, whatever kind of model
/// is served.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// The error and its chain of causes.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl LoadError {
    /// The same as another error says.
    pub fn new<E: Explain>(error: &E) -> Self {
        let hint = error.hint();
        Self { message: chain(error), hint }
    }
}

/// The code of the error that an answer holds, beside the answer, for the metrics.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorCode(pub(super) &'static str);

/// What a request is answered where it fails: a status, and a body in OpenAI's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    /// The request is at fault.
    pub(super) fn bad_request(message: impl Into<String>, code: Option<&'static str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message, code)
    }

    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        message: impl Into<String>,
        code: Option<&'static str>,
    ) -> Self {
        Self { status, kind, message: message.into(), param: None, code }
    }

    /// The prompt does not fit.
    pub(super) fn context_length(prompt: usize, context: usize) -> Self {
        let message = format!(
            "the prompt is {prompt} tokens long and leaves no room for a reply: this model reads \
             and writes at most {context} tokens together"
        );
        let mut error = Self::bad_request(message, Some("context_length_exceeded"));
        error.param = Some("messages".to_owned());
        error
    }

    /// The server is at fault.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "server_error", message, Some("internal_error"))
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The body.
    pub(super) fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail {
                message: self.message.clone(),
                kind: self.kind.to_owned(),
                param: self.param.clone(),
                code: self.code.map(ToOwned::to_owned),
            },
        }
    }
}

impl From<BadField> for ApiError {
    fn from(error: BadField) -> Self {
        let mut answer = Self::bad_request(error.to_string(), Some("invalid_value"));
        answer.param = Some(error.param);
        answer
    }
}

impl From<RenderError> for ApiError {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Request { at, problem } => BadField::new(at, problem).into(),
            error @ RenderError::Refused { .. } => {
                let mut answer = Self::bad_request(error.to_string(), Some("invalid_value"));
                answer.param = Some("messages".to_owned());
                answer
            }
            error => Self::internal(chain(&error)),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let message = chain(&error);
        match error {
            EngineError::Full { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                format!("{message}; try again in a moment"),
                Some("queue_full"),
            ),
            EngineError::TooLong { needed, limit } => Self::context_length(needed, limit),
            EngineError::Invalid { field, .. } => {
                let mut answer = Self::bad_request(message, Some("invalid_value"));
                answer.param = Some(field.to_owned());
                answer
            }
            EngineError::UnknownAdapter { .. } => Self::bad_request(message, Some("invalid_value")),
            EngineError::Constraint { .. } => Self::bad_request(message, Some("grammar")),
            EngineError::Adapter { .. } => {
                let (status, kind) = (StatusCode::CONFLICT, "invalid_request_error");
                Self::new(status, kind, message, Some("adapter_busy"))
            }
            EngineError::Stopped => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                "the server is stopping",
                Some("stopping"),
            ),
            _ => Self::internal(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        crate::events::emit(RequestRefused {
            status: self.status.as_u16(),
            code: self.code.unwrap_or(self.kind).to_owned(),
            param: self.param.clone().unwrap_or_default(),
        });
        let mut response = (self.status, Json(self.body())).into_response();
        response.extensions_mut().insert(ErrorCode(self.code.unwrap_or(self.kind)));
        let headers = response.headers_mut();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // For routes that tell errors in another shape.
        response.extensions_mut().insert(self);
        response
    }
}
