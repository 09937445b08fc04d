//! Users of whom nothing is kept.

use std::collections::HashSet;
use std::path::Path;

use super::asker;
use super::errors::ServeError;
use crate::config::ServeConfig;

/// The names of users who are not to be learned from.
#[derive(Debug, Default)]
pub(super) struct OptedOut {
    names: HashSet<String>,
}

impl OptedOut {
    /// Reads the configuration, and the files that it names.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn open(config: &ServeConfig) -> Result<Self, ServeError> {
        let mut names = HashSet::new();
        for who in &config.do_not_train {
            match who.strip_prefix('@') {
                None => drop(names.insert(asker::shortened(who))),
                Some(path) => read(Path::new(path), &mut names)?,
            }
        }
        Ok(Self { names })
    }

    /// Whether one of these is on the list.
    pub(super) fn holds(&self, names: &[String]) -> bool {
        names.iter().any(|name| self.names.contains(name))
    }
}

/// One user's name or API key per line. Which of the two is not told apart: it counts as both.
fn read(path: &Path, names: &mut HashSet<String>) -> Result<(), ServeError> {
    let failed = |error: std::io::Error| ServeError::DoNotTrain {
        path: path.to_owned(),
        problem: format!("cannot be read: {error}"),
    };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        names.insert(asker::shortened(line));
        names.insert(asker::key_name(line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(who: &[&str]) -> Result<OptedOut, ServeError> {
        let do_not_train = who.iter().map(ToString::to_string).collect();
        OptedOut::open(&ServeConfig { do_not_train, ..ServeConfig::default() })
    }

    #[test]
    fn users_and_keys_are_on_the_list_by_name_and_by_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{20}ben \r\n\nsk-secret\n").unwrap();
        let key = asker::key_name("sk-other");
        let list = open(&["ann", &key, &format!("@{}", file.path().display())]).unwrap();
        let on = |name: &str| list.holds(&["x".to_owned(), name.to_owned()]);
        for name in ["ann", "ben", "sk-secret", &asker::key_name("sk-secret"), &key] {
            assert!(on(name), "{name}");
        }
        // A key in the clear belongs into a file.
        for name in ["Ann", "", "sk-other", &asker::key_name("ann")] {
            assert!(!on(name), "{name}");
        }
        assert!(!open(&[]).unwrap().holds(&["ann".to_owned()]));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = open(&["@/no/such/list"]).unwrap_err();
        assert!(error.to_string().contains("/no/such/list"), "{error}");
    }
}
