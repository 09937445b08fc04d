//! The edge between the library and a person: logging, signals, errors, the line on stdout.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use openclaw_rl::config::Home;
use openclaw_rl::fault::Explain;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::Global;

/// Any error that reaches the user, with what to do about it and the exit code.
#[derive(Debug)]
pub struct Fault {
    message: String,
    hint: Option<String>,
    exit_code: u8,
}

impl Fault {
    /// A mistake in the command or in a file that the user wrote: exit code 2.
    pub fn usage(message: impl Into<String>, hint: &str) -> Self {
        Self { message: message.into(), hint: Some(hint.to_owned()), exit_code: 2 }
    }

    /// Work that failed: exit code 1.
    pub fn failed(message: impl Into<String>, hint: &str) -> Self {
        Self { message: message.into(), hint: Some(hint.to_owned()), exit_code: 1 }
    }
}

impl<E: Explain> From<E> for Fault {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self { message, hint: error.hint(), exit_code: error.exit_code() }
    }
}

/// Prints `error:` and `hint:` on stderr and gives the exit code.
#[expect(clippy::print_stderr, reason = "this is where errors reach the user")]
pub fn report(fault: &Fault) -> ExitCode {
    eprintln!("error: {}", fault.message);
    if let Some(hint) = &fault.hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(fault.exit_code)
}

/// Prints the summary as one line on stdout. A closed pipe is no failure of the work.
pub fn print(summary: &Value) -> ExitCode {
    print_text(&format!("{summary}\n"));
    ExitCode::SUCCESS
}

/// Prints the summary as one line on stderr, where stdout holds something else.
#[expect(clippy::print_stderr, reason = "stdout holds the stage's output")]
pub fn print_beside(summary: &Value) {
    eprintln!("{summary}");
}

/// Prints text for people on stderr, as it is.
#[expect(clippy::print_stderr, reason = "stdout holds the summary")]
pub fn say(text: &str) {
    eprintln!("{}", text.trim_end());
}

/// A stage's summary as the command's line on stdout.
pub fn summary(summary: &impl serde::Serialize) -> Result<Option<Value>, Fault> {
    serde_json::to_value(summary).map(Some).map_err(|error| {
        Fault::failed(format!("summary not written: {error}"), "this is a fault of the program")
    })
}

/// Writes text to stdout as it is; a reader that has gone away is ignored.
pub fn print_text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        tracing::error!(%error, "summary not written to stdout");
    }
}

/// Logs to stderr at the level or by the filter given.
pub fn start_logging(filter: &str) -> Result<(), Fault> {
    let directives = match filter {
        "error" | "warn" | "info" | "debug" | "trace" | "off" => {
            format!("warn,openclaw_rl={filter}")
        }
        other => other.to_owned(),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&directives).map_err(|error| {
        Fault::usage(
            format!("invalid value `{filter}` for `log`: {error}"),
            "use error, warn, info, debug, or a filter such as openclaw_rl=debug",
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

/// A process that was killed holds its lock until it is gone, which may take as long.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// Time between two looks at it.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Holds a stage's lock until it is dropped, so that no two processes write the same rows.
pub fn lock(home: &Home, stage: &str) -> Result<File, Fault> {
    let path = home.lock(stage);
    let failed = |error: std::io::Error| {
        Fault::usage(
            format!("lock {}: {error}", path.display()),
            "the home must be a directory that can be written to",
        )
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(std::fs::TryLockError::WouldBlock) => break,
        }
    }
    Err(Fault::usage(
        format!("another `{stage}` works on this home (lock {})", path.display()),
        "it does the work already (`run` starts one); stop it, or use another --home",
    ))
}

/// Lowers this process's priority, where it is to give way to others.
pub fn give_way(nice: Option<i32>) {
    if let Some(by) = nice
        && let Err(error) = rustix::process::nice(by)
    {
        tracing::warn!(%error, "the priority stays as it is");
    }
}

/// Runs a stage on a runtime of its own, with a token that signals (and a vanished parent) cancel.
pub fn block_on<T, E>(
    global: &Global,
    stage: impl AsyncFnOnce(CancellationToken) -> Result<T, E>,
) -> Result<T, Fault>
where
    Fault: From<E>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::failed(format!("runtime not started: {error}"), "check ulimits"))?;
    // Only https needs a provider; a second installation in one process is refused and harmless.
    rustls::crypto::ring::default_provider().install_default().ok();
    let shutdown = CancellationToken::new();
    let outcome = runtime.block_on(async {
        let mut watchers = tokio::task::JoinSet::new();
        watchers.spawn(watch_signals(shutdown.clone(), global.exit_with_parent));
        if global.exit_with_parent {
            watch_parent(shutdown.clone());
        }
        stage(shutdown).await
    });
    runtime.shutdown_background();
    Ok(outcome?)
}

/// Cancels at the first SIGINT or SIGTERM; a second one ends the process at once, unless it is a
/// child of `run`: a Ctrl-C reaches it twice, from the terminal and from its supervisor.
async fn watch_signals(shutdown: CancellationToken, is_child: bool) {
    for seen in 0.. {
        if wait_for_signal().await.is_err() {
            tracing::error!("signals cannot be watched; stop with SIGKILL");
            return;
        }
        if seen > 0 && !is_child {
            leave_at_once();
        }
        tracing::info!("stopping");
        shutdown.cancel();
    }
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the user asked twice")]
fn leave_at_once() -> ! {
    std::process::exit(130)
}

async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Cancels when standard input ends: the pipe that the supervisor holds closes when it dies,
/// whatever killed it.
fn watch_parent(shutdown: CancellationToken) {
    std::thread::spawn(move || {
        let mut buffer = [0_u8; 64];
        while matches!(std::io::stdin().read(&mut buffer), Ok(read) if read > 0) {}
        shutdown.cancel();
    });
}
