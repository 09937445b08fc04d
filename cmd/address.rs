//! The addresses of the servers that `run` starts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use openclaw_rl::config::RunJudge;

use crate::Global;
use crate::edge::Fault;

/// An address that nobody else has as long as this is held.
pub struct Taken {
    /// The address, as programs on this machine reach it.
    pub address: SocketAddr,
    /// Absent in a dry run, which takes nothing.
    _listener: Option<TcpListener>,
}

impl Taken {
    /// Takes the port, or a free one in place of 0; `flag` is where another can be chosen.
    ///
    /// # Errors
    /// Another program has it.
    pub fn new(global: &Global, host: IpAddr, port: u16, flag: &str) -> Result<Self, Fault> {
        if global.dry_run {
            return Ok(Self { address: SocketAddr::new(reached_at(host), port), _listener: None });
        }
        let busy = |error: std::io::Error| {
            Fault::usage(
                format!("port {port} at {host}: {error}"),
                &format!("another program uses it: stop that one, or choose with {flag}"),
            )
        };
        let listener = TcpListener::bind((host, port)).map_err(busy)?;
        let port = listener.local_addr().map_err(busy)?.port();
        let address = SocketAddr::new(reached_at(host), port);
        Ok(Self { address, _listener: Some(listener) })
    }

    /// The base address of HTTP requests.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Loopback in place of "every address".
fn reached_at(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    }
}

/// Refuses a judge that is the server at `host` and `port`: the policy must not judge itself.
///
/// # Errors
/// It is.
pub fn refuse_own(judge: &RunJudge, host: IpAddr, port: u16) -> Result<(), Fault> {
    let addresses = match judge {
        RunJudge::Base | RunJudge::RulesAndBase => &[],
        RunJudge::Other(judge) => judge.addresses(),
    };
    match addresses.iter().find(|url| leads_to(url, host, port)) {
        Some(url) => Err(Fault::usage(
            format!("the judge at {url} is the server whose model is trained"),
            "a judge must not change: `--judge base` serves the base model beside it, and \
             --judge-may-be-trained insists",
        )),
        None => Ok(()),
    }
}

/// Whether `url` leads to what listens at `host` and `port` of this machine.
fn leads_to(url: &str, host: IpAddr, port: u16) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    if url.port_or_known_default() != Some(port) {
        return false;
    }
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let addresses = (name, port).to_socket_addrs().into_iter().flatten();
    let mut ips = addresses.map(|address| address.ip());
    // An address is this machine's if something can listen there.
    let is_here = |ip: IpAddr| ip.is_unspecified() || TcpListener::bind((ip, 0)).is_ok();
    ips.any(|ip| reached_at(ip) == reached_at(host) || (host.is_unspecified() && is_here(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_servers_by_whatever_name() {
        let (loopback, every) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0]));
        for own in ["http://127.0.0.1:30000/v1", "http://localhost:30000", "http://0.0.0.0:30000"] {
            assert!(leads_to(own, loopback, 30_000), "{own}");
            assert!(leads_to(own, every, 30_000), "{own}");
        }
        assert!(leads_to("http://127.0.0.2:30000/v1", every, 30_000));
        assert!(leads_to("http://127.0.0.1/v1", loopback, 80));
        for other in
            ["http://127.0.0.1:30001/v1", "https://127.0.0.1/v1", "http://192.0.2.1:30000/v1"]
        {
            assert!(!leads_to(other, loopback, 30_000), "{other}");
            assert!(!leads_to(other, every, 30_000), "{other}");
        }
    }
}
