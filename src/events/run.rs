//! Events of the supervisor.

use super::{Event, Level};

/// A child process began.
pub struct ChildStarted {
    /// What it is called.
    pub child: &'static str,
    /// Its process id.
    pub pid: u32,
}

impl Event for ChildStarted {
    const NAME: &'static str = "child_started";
    const LEVEL: Level = Level::Info;

    fn line(&self) -> String {
        format!("{} started (pid {})", self.child, self.pid)
    }
}

/// A child process ended while it should have stayed.
pub struct ChildDied {
    /// What it is called.
    pub child: &'static str,
    /// How it ended.
    pub status: String,
    /// Milliseconds until it is started again.
    pub restart_in_ms: u64,
}

impl Event for ChildDied {
    const NAME: &'static str = "child_died";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{} ended ({}); again in {} ms", self.child, self.status, self.restart_in_ms)
    }
}

/// A child did not leave in time and was killed.
pub struct ChildKilled {
    /// What it is called.
    pub child: &'static str,
}

impl Event for ChildKilled {
    const NAME: &'static str = "child_killed";
    const LEVEL: Level = Level::Warn;

    fn line(&self) -> String {
        format!("{} did not leave in time and was killed", self.child)
    }
}
