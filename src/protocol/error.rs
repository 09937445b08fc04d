//! Errors in OpenAI's shape.

use serde::{Deserialize, Serialize};

/// The body of an error, and the data of an error event within a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A sentence for people.
    pub message: String,
    /// The family: `invalid_request_error`, `authentication_error`, `rate_limit_error`,
    /// `server_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The path of the field at fault, if one is.
    #[serde(default)]
    pub param: Option<String>,
    /// A stable label, such as `context_length_exceeded`.
    #[serde(default)]
    pub code: Option<String>,
}
