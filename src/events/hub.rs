//! Events of fetching a model by name.

use std::time::{Duration, Instant};

use super::{Event, Level, emit};

/// A file of a model is on its way.
pub struct ModelFetching {
    /// The file.
    pub file: String,
    /// Bytes that are there.
    pub bytes: u64,
    /// Bytes that it has; 0 while that is not known.
    pub bytes_total: u64,
}

impl Event for ModelFetching {
    const NAME: &'static str = "model_fetching";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        let Self { file, bytes, bytes_total } = self;
        match (bytes * 100).checked_div(*bytes_total) {
            None => format!("fetching {file}"),
            Some(percent) => format!("fetching {file}: {percent} % of {bytes_total} bytes"),
        }
    }
}

/// A file of a model is there.
pub struct ModelFetched {
    /// The file.
    pub file: String,
    /// Its size.
    pub bytes: u64,
}

impl Event for ModelFetched {
    const NAME: &'static str = "model_fetched";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} is there: {} bytes", self.file, self.bytes)
    }
}

/// The hub was not reached, and the cache serves in its place.
pub struct ModelFromCache {
    /// Why it was not reached.
    pub reason: String,
}

impl Event for ModelFromCache {
    const NAME: &'static str = "model_from_cache";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("the model is taken from the cache as it is: {}", self.reason)
    }
}

/// Another process fetches the same model, and is waited for.
pub struct ModelAwaited;

impl Event for ModelAwaited {
    const NAME: &'static str = "model_awaited";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        "another process fetches the model; waiting for it".to_owned()
    }
}

/// Says what goes on, but not several times a second.
#[derive(Debug, Default)]
pub struct FetchReport {
    said: Option<Instant>,
}

impl FetchReport {
    const EVERY: Duration = Duration::from_secs(5);

    /// Nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Emits what `event` makes, unless something was said within the last seconds.
    pub fn say<E: Event>(&mut self, event: impl FnOnce() -> E) {
        if self.said.is_none_or(|said| said.elapsed() >= Self::EVERY) {
            self.said = Some(Instant::now());
            emit(event());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_said_where_the_whole_is_known() {
        let line = |bytes, bytes_total| {
            ModelFetching { file: "model.safetensors".to_owned(), bytes, bytes_total }.line()
        };
        assert_eq!(line(0, 0), "fetching model.safetensors");
        assert_eq!(line(5, 20), "fetching model.safetensors: 25 % of 20 bytes");
    }
}
