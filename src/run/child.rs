//! One child process: start, watch, restart with back-off, ask to leave.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::{ChildPlan, Plan, RunError};
use crate::config::RunConfig;
use crate::events::{self, run::ChildDied, run::ChildKilled, run::ChildStarted};

/// The window in which restarts are counted.
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// A child that stayed this long starts with the shortest wait again.
const STEADY: Duration = Duration::from_secs(60);

/// A stage's process, present or about to be started again.
pub(super) struct Stage {
    plan: ChildPlan,
    process: Option<Child>,
    started: Instant,
    restart_at: Option<Instant>,
    wait: Duration,
    deaths: VecDeque<Instant>,
}

impl Stage {
    /// Starts the child.
    pub(super) fn start(
        plan: &Plan,
        child: &ChildPlan,
        config: &RunConfig,
    ) -> Result<Self, RunError> {
        let mut stage = Self {
            plan: child.clone(),
            process: None,
            started: Instant::now(),
            restart_at: None,
            wait: Duration::from_millis(config.restart_ms_min),
            deaths: VecDeque::new(),
        };
        stage.spawn(plan)?;
        Ok(stage)
    }

    fn spawn(&mut self, plan: &Plan) -> Result<(), RunError> {
        let failed = |action, path: &std::path::Path, source| RunError::Child {
            child: self.plan.name,
            action,
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = self.plan.log.parent() {
            std::fs::create_dir_all(parent).map_err(|e| failed("create", parent, e))?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.plan.log)
            .map_err(|e| failed("open", &self.plan.log, e))?;
        let process = Command::new(&plan.program)
            .arg(self.plan.command)
            .args(&self.plan.args)
            .arg("--exit-with-parent")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(|e| failed("open", &self.plan.log, e))?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed("start", &plan.program, e))?;
        let pid = process.id().unwrap_or_default();
        events::emit(ChildStarted { child: self.plan.name, pid });
        self.process = Some(process);
        self.started = Instant::now();
        self.restart_at = None;
        Ok(())
    }

    /// Looks after the child: notes its end, starts it again when its wait is over.
    ///
    /// # Errors
    /// The child ended too often, or with exit code 2 (its command or input is wrong, so that
    /// starting it again would not help).
    pub(super) fn tend(&mut self, plan: &Plan, config: &RunConfig) -> Result<(), RunError> {
        if let Some(at) = self.restart_at {
            return if Instant::now() >= at { self.spawn(plan) } else { Ok(()) };
        }
        match self.ended() {
            None => Ok(()),
            Some(status) => self.died(status, config),
        }
    }

    /// How the child ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(|process| process.try_wait().ok().flatten())
    }

    fn died(&mut self, status: ExitStatus, config: &RunConfig) -> Result<(), RunError> {
        self.process = None;
        if status.code() == Some(2) {
            return Err(self.gave_up(status));
        }
        let now = Instant::now();
        if now.duration_since(self.started) > STEADY {
            self.wait = Duration::from_millis(config.restart_ms_min);
        }
        self.deaths.push_back(now);
        self.deaths.retain(|death| now.duration_since(*death) < RESTART_WINDOW);
        if self.deaths.len() > config.restarts_max {
            return Err(self.gave_up(status));
        }
        let restart_in_ms = u64::try_from(self.wait.as_millis()).unwrap_or(u64::MAX);
        let child = self.plan.name;
        events::emit(ChildDied { child, status: status.to_string(), restart_in_ms });
        self.restart_at = Some(now + self.wait);
        self.wait = (self.wait * 2).min(Duration::from_millis(config.restart_ms_max));
        Ok(())
    }

    /// The error that says that this child is given up, with the end of its log.
    pub(super) fn gave_up(&self, status: ExitStatus) -> RunError {
        RunError::GaveUp {
            child: self.plan.name,
            status: status.to_string(),
            exit_code: if status.code() == Some(2) { 2 } else { 1 },
            log: self.plan.log.clone(),
            tail: log_tail(&self.plan.log),
        }
    }

    /// What the child is called.
    pub(super) fn name(&self) -> &'static str {
        self.plan.name
    }

    /// Whether others ask it for something.
    pub(super) fn answers(&self) -> bool {
        self.plan.address.is_some()
    }

    /// How often the child ended within the last minute.
    pub(super) fn deaths(&self) -> usize {
        self.deaths.len()
    }

    /// Asks the child to leave: SIGTERM, and its standard input closes.
    pub(super) fn ask_to_leave(&mut self) {
        let Some(process) = &mut self.process else { return };
        drop(process.stdin.take());
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            // A child that has just ended cannot be signalled, which is as good.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
    }

    /// Waits for the child until `deadline`, then kills it.
    pub(super) async fn leave(&mut self, deadline: tokio::time::Instant) {
        let Some(mut process) = self.process.take() else { return };
        if tokio::time::timeout_at(deadline, process.wait()).await.is_err() {
            events::emit(ChildKilled { child: self.plan.name });
            process.kill().await.ok();
        }
    }
}

/// The last lines of a log, so that the reason stands in the error itself.
fn log_tail(path: &std::path::Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stage whose program is a shell script. It is in no file: one that another test's child has
    /// just inherited, open for writing, could not be executed.
    fn scripted(dir: &std::path::Path, script: &str, config: &RunConfig) -> (Plan, Stage) {
        let child = ChildPlan {
            name: "collect",
            command: "-c",
            args: vec![script.into()],
            address: None,
            log: dir.join("logs/collect.log"),
        };
        let plan = Plan {
            program: "/bin/sh".into(),
            children: vec![child.clone()],
            lock: dir.join("lock"),
        };
        let stage = Stage::start(&plan, &child, config).unwrap();
        (plan, stage)
    }

    async fn until_error(plan: &Plan, stage: &mut Stage, config: &RunConfig) -> RunError {
        for _ in 0..2_000 {
            if let Err(error) = stage.tend(plan, config) {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the child was never given up");
    }

    fn quick() -> RunConfig {
        RunConfig { restart_ms_min: 1, restart_ms_max: 4, restarts_max: 3, ..RunConfig::default() }
    }

    #[tokio::test]
    async fn a_child_that_keeps_dying_is_restarted_and_then_given_up_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let (plan, mut stage) = scripted(dir.path(), "echo oh no >&2; exit 1", &quick());
        let error = until_error(&plan, &mut stage, &quick()).await;
        let RunError::GaveUp { exit_code: 1, tail, .. } = &error else { panic!("{error}") };
        assert_eq!(tail.lines().count(), 4, "first start and three restarts: {tail}");
        assert!(error.to_string().contains("oh no"));
    }

    #[tokio::test]
    async fn a_child_with_a_wrong_command_is_not_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let (plan, mut stage) = scripted(dir.path(), "echo started >&2; exit 2", &quick());
        let error = until_error(&plan, &mut stage, &quick()).await;
        let RunError::GaveUp { exit_code: 2, tail, .. } = &error else { panic!("{error}") };
        assert_eq!(tail, "started");
    }

    #[tokio::test]
    async fn a_child_is_asked_to_leave_before_it_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'echo bye >&2; exit 0' TERM; echo up >&2; while :; do sleep 0.01; done";
        let (_, mut stage) = scripted(dir.path(), script, &quick());
        let log = dir.path().join("logs/collect.log");
        while !std::fs::read_to_string(&log).unwrap().contains("up") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.ask_to_leave();
        stage.leave(tokio::time::Instant::now() + Duration::from_secs(20)).await;
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "up\nbye\n");
    }
}
