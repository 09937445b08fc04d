//! A small hub: it speaks what the client needs of the hub's protocol, and misbehaves on demand.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The one model that it has.
pub const MODEL: &str = "acme/tiny";
/// Its one commit.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong.
#[derive(Default)]
pub struct Faults {
    /// Every request is answered with this status.
    pub status: Option<u16>,
    /// After how many bytes each of the next transfers of weights breaks off.
    pub breaks: VecDeque<usize>,
    /// Transfers of weights send nothing and stay open.
    pub stall: bool,
    /// Weights are sent with a byte changed.
    pub corrupt: bool,
    /// Requests must carry this token.
    pub token: Option<&'static str>,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<Faults>,
    log: Mutex<Vec<String>>,
    stop: AtomicBool,
}

pub struct Hub {
    address: SocketAddr,
    state: Arc<State>,
}

struct Request {
    path: String,
    range: Option<(usize, Option<usize>)>,
    token: Option<String>,
}

impl Hub {
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { files: Mutex::new(files), ..State::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || state.answer(stream, address));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn fail(&self, faults: Faults) {
        *self.state.faults.lock().unwrap() = faults;
    }

    pub fn put(&self, name: &str, content: &[u8]) {
        self.state.files.lock().unwrap().insert(name.to_owned(), content.to_vec());
    }

    pub fn remove(&self, name: &str) {
        self.state.files.lock().unwrap().remove(name);
    }

    /// Transfers of weights so far, each as the first byte that was asked for. Looks at the size
    /// only are not among them.
    pub fn transfers(&self) -> Vec<usize> {
        let log = self.state.log.lock().unwrap();
        log.iter().filter_map(|line| line.strip_prefix("weights from ")?.parse().ok()).collect()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let (mut range, mut token) = (None, None);
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "range" => {
                let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
                range = Some((from.parse().ok()?, to.parse().ok()));
            }
            "authorization" => token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(Request { path, range, token })
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl State {
    fn answer(&self, stream: TcpStream, address: SocketAddr) {
        let Some(request) = read(&stream) else { return };
        let faults = self.faults.lock().unwrap();
        let (status, token) = (faults.status, faults.token);
        drop(faults);
        let refused = token.is_some() && request.token.as_deref() != token;
        if let Some(status) = status.or(refused.then_some(401)) {
            return send(&stream, status, &[], b"no");
        }
        let parts: Vec<&str> = request.path.trim_start_matches('/').splitn(5, '/').collect();
        match parts.as_slice() {
            ["api", "models", owner, name, revision]
                if format!("{owner}/{name}") == MODEL
                    && ["revision/main", &format!("revision/{COMMIT}")].contains(revision) =>
            {
                let files = self.files.lock().unwrap();
                let names: Vec<_> =
                    files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
                let body = serde_json::json!({ "sha": COMMIT, "siblings": names }).to_string();
                send(&stream, 200, &[("content-type", "application/json")], body.as_bytes());
            }
            // Some files are found one redirect further on the same host.
            [owner, name, "resolve", COMMIT, "tokenizer.json"]
                if format!("{owner}/{name}") == MODEL =>
            {
                send(&stream, 307, &[("location", "/again/tokenizer.json")], b"");
            }
            ["again", file] => self.resolve(&stream, &request, file, address),
            [owner, name, "resolve", COMMIT, file] if format!("{owner}/{name}") == MODEL => {
                self.resolve(&stream, &request, file, address);
            }
            ["cdn", file] => self.weights(&stream, &request, file),
            _ => send(&stream, 404, &[], b"not here"),
        }
    }

    /// Plain files come at once, weights from elsewhere.
    fn resolve(&self, stream: &TcpStream, request: &Request, file: &str, address: SocketAddr) {
        let Some(content) = self.files.lock().unwrap().get(file).cloned() else {
            return send(stream, 404, &[], b"no such file");
        };
        let sha256 = hash(&content);
        if file.ends_with(".safetensors") {
            let location = format!("http://{address}/cdn/{file}");
            let headers = [
                ("location", location.as_str()),
                ("x-repo-commit", COMMIT),
                ("x-linked-etag", &format!("\"{sha256}\"")),
                ("x-linked-size", &content.len().to_string()),
                ("etag", "\"elsewhere\""),
            ];
            return send(stream, 302, &headers, b"");
        }
        let etag = format!("\"{}\"", &sha256[..40]);
        ranged(stream, request, &content, &[("x-repo-commit", COMMIT), ("etag", &etag)], None);
    }

    fn weights(&self, stream: &TcpStream, request: &Request, file: &str) {
        let Some(mut content) = self.files.lock().unwrap().get(file).cloned() else {
            return send(stream, 404, &[], b"no such file");
        };
        let mut breaks = None;
        if request.range != Some((0, Some(0))) {
            let from = request.range.map_or(0, |(from, _)| from);
            self.log.lock().unwrap().push(format!("weights from {from}"));
            let mut faults = self.faults.lock().unwrap();
            breaks = faults.breaks.pop_front();
            if faults.corrupt {
                *content.last_mut().unwrap() ^= 1;
            }
            if faults.stall {
                drop(faults);
                while !self.stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                return;
            }
        }
        ranged(stream, request, &content, &[("etag", "\"elsewhere\"")], breaks);
    }
}

/// Sends the part that was asked for, of which at most `breaks` bytes.
fn ranged(
    stream: &TcpStream,
    request: &Request,
    content: &[u8],
    headers: &[(&str, &str)],
    breaks: Option<usize>,
) {
    let all = content.len();
    let Some((from, to)) = request.range else { return send(stream, 200, headers, content) };
    let to = to.unwrap_or(all - 1).min(all - 1);
    if from > to {
        return send(stream, 416, &[("content-range", &format!("bytes */{all}"))], b"");
    }
    let range = format!("bytes {from}-{to}/{all}");
    let headers = [headers, &[("content-range", &range)]].concat();
    let body = &content[from..=to];
    let sent = breaks.unwrap_or(body.len()).min(body.len());
    write_answer(stream, 206, &headers, body.len(), &body[..sent]);
}

fn send(stream: &TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) {
    write_answer(stream, status, headers, body.len(), body);
}

/// A body shorter than its announced length breaks off. A client that went away is let go.
fn write_answer(
    mut stream: &TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    length: usize,
    body: &[u8],
) {
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
    head += &format!("content-length: {length}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(body);
    let _ = stream.flush();
}
