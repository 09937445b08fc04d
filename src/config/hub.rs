//! Where models are fetched from that are named `owner/name`.

use std::path::PathBuf;
use std::time::Duration;

/// A Hugging Face hub and the cache of what came from it.
///
/// It stands in no configuration file: the program fills it in from the variables that every tool
/// of the hub heeds, so that one cache and one token serve them all.
#[derive(Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Base address; the public hub if absent.
    pub endpoint: Option<String>,
    /// Access token; the `token` file beside the cache if absent.
    pub token: Option<String>,
    /// Directory of the cache, in the layout that the hub's own tools use. Without one, models
    /// cannot be named by the hub's names.
    pub cache: Option<PathBuf>,
    /// Only what is in the cache already is used.
    pub offline: bool,
    /// A transfer that brings nothing for this long has failed.
    pub stall: Duration,
    /// Pause before a failed transfer is taken up again; doubled each time it fails.
    pub retry: Duration,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            token: None,
            cache: None,
            offline: false,
            stall: Duration::from_secs(60),
            retry: Duration::from_millis(500),
        }
    }
}

/// Without the token.
impl std::fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let hub = HubConfig { token: Some("hf_secret".to_owned()), ..HubConfig::default() };
        assert!(!format!("{hub:?}").contains("secret"));
    }
}
