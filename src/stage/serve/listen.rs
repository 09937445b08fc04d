//! Taking connections, and ending those that stand still.
//!
//! Each connection has a watchdog: it looks at what the connection is doing and since when, and
//! cuts off a client that sends its headers too slowly, asks for nothing, or does not take its
//! answer. A request's body has a limit of its own (`doors`).

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::errors::ServeError;
use crate::config::ServeConfig;
use crate::events::emit;
use crate::events::serve::{ConnectionCut, ConnectionRefused};

/// Largest request line and headers together.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// What is left of connections once their requests have ended may take this long to be sent.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// How long to wait where the system gives no connection (it is out of file descriptors …).
const REFUSED_WAIT: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    header: Duration,
    idle: Duration,
    reader: Duration,
}

impl Patience {
    /// How often a watchdog looks.
    fn tick(&self) -> Duration {
        (self.header.min(self.idle).min(self.reader) / 4).max(Duration::from_millis(1))
    }
}

/// Where connections come from.
pub(super) trait Listens: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn accept(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

impl Listens for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> std::io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Small events must not wait for each other.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Listens for Socket {
    type Stream = UnixStream;

    async fn accept(&self) -> std::io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

/// The connections of one server.
pub(super) struct Visitors {
    open: TaskTracker,
    places: Arc<Semaphore>,
    patience: Patience,
    /// Nobody new is let in; who has a request in flight may end it.
    leaving: CancellationToken,
    /// Everybody is put out.
    closed: CancellationToken,
}

impl Visitors {
    pub(super) fn new(config: &ServeConfig, shutdown: &CancellationToken) -> Self {
        let patience = Patience {
            header: Duration::from_millis(config.header_timeout_ms),
            idle: Duration::from_millis(config.idle_timeout_ms),
            reader: Duration::from_millis(config.reader_timeout_ms),
        };
        Self {
            open: TaskTracker::new(),
            places: Arc::new(Semaphore::new(config.connections_max)),
            patience,
            leaving: shutdown.child_token(),
            closed: CancellationToken::new(),
        }
    }

    /// Takes connections until the server is to stop, then waits for the requests in flight.
    pub(super) async fn welcome(&self, listener: impl Listens, router: Router) {
        loop {
            let place = Arc::clone(&self.places).acquire_owned();
            let next = async { (place.await, listener.accept().await) };
            let (place, stream) = tokio::select! {
                biased;
                () = self.leaving.cancelled() => break,
                next = next => next,
            };
            match stream {
                Ok(stream) => self.let_in(stream, router.clone(), place.ok()),
                Err(error) => {
                    emit(ConnectionRefused { reason: error.to_string() });
                    tokio::time::sleep(REFUSED_WAIT).await;
                }
            }
        }
        // Who comes now is told at once that nobody listens.
        drop(listener);
        self.left().await;
    }

    async fn left(&self) {
        self.open.close();
        self.open.wait().await;
    }

    fn let_in<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        router: Router,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let (leaving, closed) = (self.leaving.clone(), self.closed.clone());
        let patience = self.patience;
        self.open.spawn(async move {
            let _place = place;
            let activity = Arc::new(Activity::default());
            let mut connection = std::pin::pin!(connection(stream, router, &activity));
            let mut leaving = std::pin::pin!(leaving.cancelled_owned());
            let mut is_leaving = false;
            let mut tick = tokio::time::interval(patience.tick());
            loop {
                tokio::select! {
                    // A client that breaks off is nothing to tell of.
                    _ = connection.as_mut() => return,
                    () = leaving.as_mut(), if !is_leaving => {
                        is_leaving = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    _ = tick.tick() => if let Some(reason) = activity.overdue(&patience) {
                        emit(ConnectionCut { reason });
                        return;
                    },
                    () = closed.cancelled() => return,
                }
            }
        });
    }

    /// Puts out who is still there, once what they were sent had time to reach them.
    pub(super) async fn put_out(&self) {
        self.leaving.cancel();
        drop(tokio::time::timeout(FLUSH_MAX, self.left()).await);
        self.closed.cancel();
        self.left().await;
    }
}

/// HTTP over one connection.
fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    activity: &Arc<Activity>,
) -> http1::Connection<
    TokioIo<Watched<S>>,
    impl HttpService<Incoming, ResBody = Held<AtRest>, Error = Infallible, Future: Send> + Send,
> {
    let watched = Watched { stream, activity: Arc::clone(activity) };
    let activity = Arc::clone(activity);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        activity.enter(Phase::Request);
        let at_rest = AtRest(Arc::clone(&activity));
        let answer = router.clone().oneshot(request);
        async move {
            let answer: Response<Body> = answer.await?;
            Ok::<_, Infallible>(answer.map(|body| Held::new(body, at_rest)))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        // The watchdog's own limits are tighter, and tell idleness and slow headers apart.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(watched), service)
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// Nothing is asked.
    Idle,
    /// The headers of a request are coming.
    Headers,
    /// A request is being answered.
    Request,
}

/// Time at which nothing happened.
const NEVER: u64 = u64::MAX;

/// What a connection is doing and since when, in milliseconds since it was opened.
#[derive(Debug)]
struct Activity {
    opened: Instant,
    phase: AtomicU8,
    since_ms: AtomicU64,
    /// Since when bytes wait that the client does not take.
    blocked_ms: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            // Who connects has something to ask.
            phase: AtomicU8::new(Phase::Headers as u8),
            since_ms: AtomicU64::new(0),
            blocked_ms: AtomicU64::new(NEVER),
        }
    }
}

impl Activity {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NEVER)
    }

    fn enter(&self, phase: Phase) {
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn has_read(&self) {
        if self.phase.load(Ordering::Relaxed) == Phase::Idle as u8 {
            self.enter(Phase::Headers);
        }
    }

    fn has_tried_to_write(&self, blocked: bool) {
        if !blocked {
            self.blocked_ms.store(NEVER, Ordering::Relaxed);
        } else if self.blocked_ms.load(Ordering::Relaxed) == NEVER {
            self.blocked_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    /// Why the connection is to be cut, if it is.
    fn overdue(&self, patience: &Patience) -> Option<&'static str> {
        let now = self.now_ms();
        let longer = |since_ms: u64, limit: Duration| {
            u128::from(now.saturating_sub(since_ms)) >= limit.as_millis()
        };
        let since = self.since_ms.load(Ordering::Relaxed);
        let phase = self.phase.load(Ordering::Relaxed);
        if longer(self.blocked_ms.load(Ordering::Relaxed), patience.reader) {
            Some("reader")
        } else if phase == Phase::Headers as u8 && longer(since, patience.header) {
            Some("headers")
        } else if phase == Phase::Idle as u8 && longer(since, patience.idle) {
            Some("idle")
        } else {
            None
        }
    }
}

/// Dropped once an answer was given: its connection is idle again.
struct AtRest(Arc<Activity>);

impl Drop for AtRest {
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
    }
}

/// A stream that tells what passes through it.
struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.has_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.has_tried_to_write(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.activity.has_tried_to_write(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A body that holds something until it was sent or given up.
pub(super) struct Held<T> {
    body: Body,
    _held: T,
}

impl<T> Held<T> {
    pub(super) fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> hyper::body::Body for Held<T> {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A Unix socket that only its owner may use; its file goes with it.
pub(super) struct Socket {
    listener: UnixListener,
    path: std::path::PathBuf,
}

impl Socket {
    /// Listens at `path`, in the place of a socket that a dead process left there.
    ///
    /// # Errors
    /// Something else is there, another server listens there, or the directory is not writable.
    pub(super) fn bind(path: &Path) -> Result<Self, ServeError> {
        let failed = |problem: String| ServeError::Socket { path: path.to_owned(), problem };
        let io = |error: std::io::Error| failed(error.to_string());
        if let Ok(found) = std::fs::symlink_metadata(path) {
            use std::os::unix::fs::FileTypeExt;
            if !found.file_type().is_socket() {
                return Err(failed("something that is no socket is there".to_owned()));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(failed("another server listens there".to_owned()));
            }
        }
        // Made in a directory of ours first, so that nobody reaches it before its mode is set.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let private = tempfile::Builder::new()
            .prefix(".")
            .tempdir_in(parent.unwrap_or(Path::new(".")))
            .map_err(io)?;
        let made = private.path().join("s");
        let listener = UnixListener::bind(&made).map_err(io)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&made, mode).map_err(io)?;
        std::fs::rename(&made, path).map_err(io)?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that is gone already is as good.
        drop(std::fs::remove_file(&self.path));
    }
}
