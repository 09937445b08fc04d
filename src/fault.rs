//! How an error explains itself at the edge: a stable label, what to do, and an exit code.

/// An error that a user may meet.
///
/// `Display` (with its chain of sources) says what went wrong, in lower case, naming the thing.
pub trait Explain: std::error::Error {
    /// Stable label for metrics and logs, `snake_case`.
    fn label(&self) -> &'static str;

    /// What the user can do about it; one sentence, printed after `hint:`.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Exit code of a command that ends with this error: 1 where the work failed, 2 where the
    /// command itself was wrong (flags, configuration, a missing model).
    fn exit_code(&self) -> u8 {
        1
    }
}

impl Explain for crate::config::ConfigError {
    fn label(&self) -> &'static str {
        "config"
    }

    fn hint(&self) -> Option<String> {
        Some("`--dry-run` prints every value and where it came from".to_owned())
    }

    fn exit_code(&self) -> u8 {
        2
    }
}

/// An error and its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
