//! Who may come in, and how much at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::bodies::Bodies;
use super::errors::{ApiError, ServeError};
use super::listen::Held;
use super::metrics::At;
use super::state::Server;
use crate::config::ServeConfig;
use crate::protocol::BadField;

/// A key whose digest alone is kept, so that comparing takes the same time whatever is compared.
#[derive(PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn new(key: &str) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(super) fn is(&self, other: &str) -> bool {
        let other: [u8; 32] = Sha256::digest(other).into();
        self.0.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }

    /// The key in a file.
    fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path);
        match text.map_err(|error| format!("cannot be read: {error}"))?.trim() {
            "" => Err("is empty".to_owned()),
            key if key.contains(char::is_whitespace) => Err("holds more than a key".to_owned()),
            key => Ok(Self::new(key)),
        }
    }
}

/// By which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The address.
    Network,
    /// The admin socket: whoever may open its file may do everything.
    Socket,
}

/// Who may ask for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, also where a key is needed.
    Open,
    /// Who has the API key, if there is one.
    Key,
    /// Who has the admin key; where there is none, see [`ServeConfig::admin_key_file`].
    Admin,
}

/// The keys of a server, and its limits.
pub(super) struct Doors {
    api: Option<Key>,
    admin: Option<Key>,
    admin_over_network: bool,
    /// Requests that may still come.
    requests: Arc<Semaphore>,
    requests_max: usize,
    bodies: Bodies,
    messages_max: usize,
}

impl Doors {
    /// Reads the keys.
    ///
    /// # Errors
    /// A key file is of no use.
    pub(super) fn open(config: &ServeConfig) -> Result<Self, ServeError> {
        let read = |path: &Option<PathBuf>| {
            let key = path.as_ref().map(|path| {
                let problem = |problem| ServeError::Key { path: path.clone(), problem };
                Key::read(path).map_err(problem)
            });
            key.transpose()
        };
        let (api, admin) = (read(&config.api_key_file)?, read(&config.admin_key_file)?);
        if let Some(path) = config.admin_key_file.as_ref().filter(|_| api == admin) {
            let problem = "holds the API key: the admin routes need one of their own".to_owned();
            return Err(ServeError::Key { path: path.clone(), problem });
        }
        Ok(Self {
            api,
            admin,
            admin_over_network: config.admin_over_network(),
            requests: Arc::new(Semaphore::new(config.requests_max)),
            requests_max: config.requests_max,
            bodies: Bodies::new(config),
            messages_max: config.messages_max,
        })
    }

    /// Whether a route is there at all for who comes by `door`.
    pub(super) fn leads_to(&self, door: Door, access: Access) -> bool {
        access != Access::Admin || door == Door::Socket || self.admin_over_network
    }

    /// Refuses what a page of another site makes a browser send: the browser keeps the answer from
    /// that page, but not the request from us. Without a key, a name that was made to lead here
    /// (DNS rebinding) is told by its `Host`.
    fn check_site(&self, door: Door, headers: &HeaderMap) -> Result<(), ApiError> {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let refused = |message: &str| {
            let status = StatusCode::FORBIDDEN;
            Err(ApiError::new(status, "permission_error", message, Some("foreign_site")))
        };
        let host = text("host").unwrap_or_default();
        let origin = text("origin").map(|origin| origin.split_once("://").unwrap_or_default().1);
        if origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(host)) {
            return refused("pages of other sites may not ask here");
        }
        let named = door == Door::Network && self.api.is_none() && !is_local(host);
        if named {
            refused("without an API key, only `localhost` and addresses are answered")
        } else {
            Ok(())
        }
    }

    /// Lets a request pass, or says why not. The admin key opens everything.
    fn admit(&self, door: Door, access: Access, headers: &HeaderMap) -> Result<(), ApiError> {
        let needed = match access {
            _ if door == Door::Socket => None,
            Access::Open => None,
            Access::Key => self.api.as_ref(),
            Access::Admin => self.admin.as_ref().or(self.api.as_ref()),
        };
        let Some(needed) = needed else { return Ok(()) };
        let Some(presented) = presented_key(headers) else { return Err(no_key()) };
        // Every key is compared, so that time does not tell which one it was.
        let by_admin = self.admin.as_ref().is_some_and(|key| key.is(presented));
        let by_api = self.api.as_ref().is_some_and(|key| key.is(presented));
        if by_admin || needed.is(presented) {
            Ok(())
        } else if by_api {
            let message = "this route takes the admin key, not the API key";
            let kind = "permission_error";
            Err(ApiError::new(StatusCode::FORBIDDEN, kind, message, Some("admin_key_needed")))
        } else {
            Err(no_key())
        }
    }
}

impl Doors {
    /// Refuses a conversation of more messages than may be read.
    pub(super) fn check_messages(&self, messages: &[serde_json::Value]) -> Result<(), BadField> {
        let (count, most) = (messages.len(), self.messages_max);
        if count <= most {
            return Ok(());
        }
        Err(BadField::new("messages", format!("holds {count} messages, at most {most}")))
    }
}

/// Whether a `Host` can only mean this machine, or names an address.
fn is_local(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        // The colons of a bare IPv6 address part no port from it.
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    let local = name.is_empty() || name == "localhost" || name.ends_with(".localhost");
    local || name.parse::<std::net::IpAddr>().is_ok()
}

fn no_key() -> ApiError {
    let message = "a valid API key is needed: `Authorization: Bearer <key>` (or `x-api-key`)";
    let kind = "authentication_error";
    ApiError::new(StatusCode::UNAUTHORIZED, kind, message, Some("invalid_api_key"))
}

/// The key that a client presents, in OpenAI's header or in Anthropic's.
pub(super) fn presented_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = || {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    };
    let key = bearer().or_else(|| headers.get("x-api-key")?.to_str().ok().map(str::trim));
    key.filter(|key| !key.is_empty())
}

/// What stands at one door of one kind of routes.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) server: Arc<Server>,
    pub(super) door: Door,
    pub(super) access: Access,
    /// The route behind it.
    pub(super) route: &'static str,
}

/// Lets a request pass that has its key and finds a place, and reads its body.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let route = At(guard.route);
    let mut answer = guard.pass(request, next).await;
    answer.extensions_mut().insert(route);
    answer
}

impl Guard {
    async fn pass(self, request: Request, next: Next) -> Response {
        let Self { server, door, access, .. } = self;
        let doors = &server.doors;
        let headers = request.headers();
        let admitted = doors.check_site(door, headers);
        if let Err(error) = admitted.and_then(|()| doors.admit(door, access, headers)) {
            return error.into_response();
        }
        if access == Access::Open {
            return next.run(request).await;
        }
        let Ok(place) = Arc::clone(&doors.requests).try_acquire_owned() else {
            let message = format!(
                "{} requests are in flight already; try again in a moment",
                doors.requests_max
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            let error =
                ApiError::new(status, "rate_limit_error", message, Some("too_many_requests"));
            return error.into_response();
        };
        let (parts, body) = request.into_parts();
        match doors.bodies.read(body).await {
            Ok((body, _room)) => {
                let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
                // A request is in flight until its last byte was sent.
                answer.map(|body| Body::new(Held::new(body, place)))
            }
            Err(error) => error.into_response(),
        }
    }
}

pub(super) async fn unknown(method: Method, uri: Uri) -> ApiError {
    let message = format!("there is no `{method} {}`", uri.path());
    let kind = "invalid_request_error";
    ApiError::new(StatusCode::NOT_FOUND, kind, message, Some("unknown_url"))
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("`{}` does not take {method}", uri.path());
    let kind = "invalid_request_error";
    let status = StatusCode::METHOD_NOT_ALLOWED;
    ApiError::new(status, kind, message, Some("method_not_allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(api: Option<&str>, admin: Option<&str>, config: &ServeConfig) -> Doors {
        let mut doors = Doors::open(config).unwrap();
        (doors.api, doors.admin) = (api.map(Key::new), admin.map(Key::new));
        doors
    }

    fn with_key(key: Option<&str>) -> HeaderMap {
        let headers = key.map(|key| (header::AUTHORIZATION, format!("bearer {key}")));
        headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_key_is_only_itself() {
        let key = Key::new("secret");
        assert!(key.is("secret"));
        for other in ["", "secre", "secret ", "Secret"] {
            assert!(!key.is(other));
        }
    }

    #[test]
    fn each_key_opens_what_it_is_for() {
        let doors = doors(Some("api"), Some("admin"), &ServeConfig::default());
        let outcome = |access, key| match doors.admit(Door::Network, access, &with_key(key)) {
            Ok(()) => 200,
            Err(error) => error.into_response().status().as_u16(),
        };
        for (access, key, status) in [
            (Access::Open, None, 200),
            (Access::Key, None, 401),
            (Access::Key, Some("wrong"), 401),
            (Access::Key, Some("api"), 200),
            (Access::Key, Some("admin"), 200),
            (Access::Admin, None, 401),
            (Access::Admin, Some("wrong"), 401),
            (Access::Admin, Some("api"), 403),
            (Access::Admin, Some("admin"), 200),
        ] {
            assert_eq!(outcome(access, key), status, "{access:?} {key:?}");
        }
        assert!(doors.admit(Door::Socket, Access::Admin, &with_key(None)).is_ok());
    }

    #[test]
    fn without_an_admin_key_the_api_key_opens_admin_routes_on_loopback() {
        let doors = doors(Some("api"), None, &ServeConfig::default());
        assert!(doors.admit(Door::Network, Access::Admin, &with_key(Some("api"))).is_ok());
        assert!(doors.admit(Door::Network, Access::Admin, &with_key(None)).is_err());
    }

    #[test]
    fn other_sites_are_kept_out() {
        let keyless = doors(None, None, &ServeConfig::default());
        let keyed = doors(Some("api"), None, &ServeConfig::default());
        let asked = |doors: &Doors, host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            doors.check_site(Door::Network, &headers).is_ok()
        };
        for host in ["localhost:1", "127.0.0.1:30000", "[::1]:1", "::1", "LOCALHOST", "a.localhost"]
        {
            assert!(asked(&keyless, host, None), "{host}");
        }
        assert!(!asked(&keyless, "evil.example:30000", None));
        assert!(asked(&keyed, "models.example", None));
        assert!(asked(&keyless, "localhost:1", Some("http://localhost:1")));
        for origin in ["https://evil.example", "null", "http://localhost:2", "file://"] {
            assert!(!asked(&keyless, "localhost:1", Some(origin)), "{origin}");
            assert!(!asked(&keyed, "localhost:1", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn both_headers_carry_a_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(presented_key(&headers), None);
        headers.insert("x-api-key", "a".parse().unwrap());
        assert_eq!(presented_key(&headers), Some("a"));
        headers.insert(header::AUTHORIZATION, "Bearer  b ".parse().unwrap());
        assert_eq!(presented_key(&headers), Some("b"));
        headers.insert(header::AUTHORIZATION, "Basic b".parse().unwrap());
        assert_eq!(presented_key(&headers), Some("a"));
    }
}
