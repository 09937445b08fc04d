//! What the tests of the whole program share: running the binary, and talking to it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest wait for anything; far beyond what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The binary with arguments, its home and an environment without our own variables.
pub fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw-rl"));
    command
        .args(args)
        .arg("--home")
        .arg(home)
        .env_remove("OPENCLAW_RL_HOME")
        .env_remove("OPENCLAW_RL_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs a one-shot command to its end.
pub fn one_shot(home: &Path, args: &[&str]) -> Output {
    command(home, args).output().unwrap()
}

/// Runs a one-shot command that must succeed, and gives its JSON line.
pub fn summary(home: &Path, args: &[&str]) -> Value {
    let output = one_shot(home, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    last_json(&output.stdout)
}

/// The last line of some output, as JSON.
pub fn last_json(stdout: &[u8]) -> Value {
    let text = String::from_utf8(stdout.to_vec()).unwrap();
    let line = text.lines().last().unwrap_or_else(|| panic!("no output: {text}"));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A running `openclaw-rl` that is killed, with its whole process group, when dropped.
pub struct Running {
    child: Child,
    /// The base address that it serves at, without `/v1`.
    pub url: String,
    stderr: mpsc::Receiver<String>,
    seen: String,
}

impl Running {
    /// Starts `openclaw-rl run` on a free port in a process group of its own, and waits until it
    /// says where it serves.
    pub fn start(home: &Path, args: &[&str]) -> Self {
        use std::os::unix::process::CommandExt;
        let mut all = vec!["run", "--port", "0"];
        all.extend(args);
        let mut child = command(home, &all)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (sender, stderr) = mpsc::channel();
        let pipe = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut running = Self { child, url: String::new(), stderr, seen: String::new() };
        let line = running.line_with("serving at ");
        let url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap();
        running.url = url.trim_end_matches("/v1").to_owned();
        running
    }

    /// Waits for a line on stderr that holds `text`.
    pub fn line_with(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => {
                    self.seen.push_str(&line);
                    self.seen.push('\n');
                }
                Err(error) => panic!("no line with `{text}` ({error}); stderr:\n{}", self.seen),
            }
        }
    }

    /// Sends a signal to the supervisor alone, or to its whole group.
    pub fn signal(&self, signal: &str, group: bool) {
        let id = self.child.id();
        let pid = if group { format!("-{id}") } else { id.to_string() };
        let status = Command::new("kill").args(["-s", signal, "--", &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end and gives what it printed.
    pub fn finish(mut self) -> Output {
        let mut pipe = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            std::io::Read::read_to_end(&mut pipe, &mut text).unwrap();
            text
        });
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "did not end; stderr:\n{}", self.seen);
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut stderr = std::mem::take(&mut self.seen);
        stderr.extend(self.stderr.try_iter().map(|line| line + "\n"));
        Output { status, stdout: reader.join().unwrap(), stderr: stderr.into_bytes() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let group = format!("-{}", self.child.id());
            Command::new("kill").args(["-s", "KILL", "--", &group]).status().ok();
            self.child.wait().ok();
        }
    }
}

/// A client; reqwest wants a provider of TLS also for plain http.
pub fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

/// One conversation: the whole history goes with each request, as chat clients do it.
pub struct Conversation {
    url: String,
    client: reqwest::Client,
    messages: Vec<Value>,
}

impl Conversation {
    /// A conversation with the server at `url`.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), client: client(), messages: Vec::new() }
    }

    /// Says something and gives the reply's message. Replies are short, to be quick.
    pub async fn say(&mut self, text: &str) -> Value {
        self.messages.push(json!({"role": "user", "content": text}));
        let body = json!({"model": "openclaw", "messages": self.messages, "max_tokens": 12});
        let request = self.client.post(format!("{}/v1/chat/completions", self.url)).json(&body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        assert!(status.is_success(), "{status}: {body}");
        let message = body["choices"][0]["message"].clone();
        self.messages.push(message.clone());
        message
    }
}

/// Polls `/status` until `done` holds.
pub async fn status_until(url: &str, done: impl Fn(&Value) -> bool) -> Value {
    let client = client();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = client.get(format!("{url}/status")).send().await.unwrap();
        let status: Value = response.json().await.unwrap();
        if done(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "status never came to it: {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
