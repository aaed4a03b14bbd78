//! Who may come in: keys, hosts and origins.
//!
//! A page anywhere on the network can make a browser send requests here, and can give its own name our address. So a
//! request must name a host that we are, and one that a page sends must come from a page that was allowed. Keys are
//! kept and compared as hashes, in the same time wherever they differ.

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use puna::Tenant;
use puna_wire::{Kind, Problem};
use sha2::{Digest, Sha256};

use crate::ServeOptions;

/// Checks requests before anything else looks at them.
pub(crate) struct Gate {
    keys: Vec<[u8; 32]>,
    hosts: Vec<String>,
    /// Whether the server is reached by other names than those it knows.
    any_host: bool,
    origins: Vec<String>,
}

/// What can be asked without a key, beside the page.
const OPEN: [&str; 3] = ["/health", "/ready", "/v1/health"];

/// Whether anybody may ask for it. The page's files hold no secrets, and it asks for a key itself.
fn is_open(method: &Method, path: &str) -> bool {
    let of_page = match *method {
        Method::GET | Method::HEAD => path == "/" || path.starts_with("/page/"),
        _ => path == "/page/key",
    };
    of_page || OPEN.contains(&path) || method == Method::OPTIONS
}

impl Gate {
    pub fn new(options: &ServeOptions, is_loopback: bool) -> Gate {
        let own = ["localhost", "127.0.0.1", "[::1]", "::1"].map(str::to_owned);
        let mut hosts: Vec<String> = own.into_iter().chain(options.allowed_hosts.iter().cloned()).collect();
        hosts.push(options.host.clone());
        Gate {
            keys: options.keys.iter().map(|key| Sha256::digest(key.as_bytes()).into()).collect(),
            // Beyond this machine a key is needed, which no page of others has.
            any_host: !is_loopback && options.allowed_hosts.is_empty(),
            hosts,
            origins: options.allowed_origins.clone(),
        }
    }

    /// Everybody who may ask.
    pub fn tenants(&self) -> Vec<Tenant> {
        match self.keys.is_empty() {
            true => vec![Tenant::default()],
            false => self.keys.iter().map(|hash| Tenant(hash.to_vec())).collect(),
        }
    }

    /// Whose request it is, or why it is refused.
    pub fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Tenant, Problem> {
        self.check_host(uri, headers)?;
        self.check_origin(headers)?;
        if self.keys.is_empty() || is_open(method, uri.path()) {
            return Ok(Tenant::default());
        }
        let Some(key) = key_of(headers) else {
            let hint = "give one as `Authorization: Bearer KEY` or `x-api-key: KEY`";
            return Err(Problem::new(Kind::Key, format!("this server needs a key\n{hint}")));
        };
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        // All keys are looked at, and all bytes of each.
        let differs = |known: &[u8; 32]| known.iter().zip(&hash).fold(0, |sum, (a, b)| sum | (a ^ b));
        let found = self.keys.iter().fold(false, |found, known| found | (differs(known) == 0));
        match found {
            true => Ok(Tenant(hash.to_vec())),
            false => Err(Problem::new(Kind::Key, "the key is not one of this server's")),
        }
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        if self.any_host {
            return Ok(());
        }
        let host =
            headers.get(HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
        let Some(host) = host else { return Ok(()) }; // HTTP/1.0, which no browser sends.
        let name = without_port(host);
        match self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::Forbidden,
                "the request is for another host; --allow-host names those that this server is reached by",
            )),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        if self.allows(origin.as_bytes()) || self.is_own(origin.to_str().unwrap_or_default(), headers) {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Forbidden,
            "pages of other servers may not use this one; --allow-origin names those that may",
        ))
    }

    /// Whether a page of this origin was allowed.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin))
    }

    /// Whether a page comes from where the request goes.
    fn is_own(&self, origin: &str, headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let of_origin = origin.split_once("://").map(|(_, host)| host);
        !host.is_empty() && of_origin.is_some_and(|of_origin| of_origin.eq_ignore_ascii_case(host))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// The key that a request gives: any of the APIs' ways. An empty one is none.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    [bearer, text("x-api-key"), text("api-key")].into_iter().flatten().find(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Result<Tenant, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                axum::http::HeaderValue::from_str(value).unwrap(),
            );
        }
        gate.check(&Method::POST, &path.parse().unwrap(), &map).map_err(|problem| problem.status())
    }

    #[test]
    fn hosts_and_origins() {
        let gate = Gate::new(&ServeOptions::default(), true);
        for host in ["localhost:11434", "127.0.0.1", "[::1]:8080", "LOCALHOST"] {
            assert!(check(&gate, "/x", &[("host", host)]).is_ok(), "{host}");
            let origin = format!("http://{host}");
            assert!(check(&gate, "/x", &[("host", host), ("origin", &origin)]).is_ok(), "{host}");
        }
        for host in ["evil.example", "evil.example:11434", "localhost.evil.example", "127.0.0.1.nip.io"] {
            assert_eq!(check(&gate, "/x", &[("host", host)]), Err(403), "{host}");
        }
        for origin in ["http://evil.example", "null", "http://localhost:9"] {
            assert_eq!(
                check(&gate, "/x", &[("host", "localhost:1"), ("origin", origin)]),
                Err(403),
                "{origin}"
            );
        }
        let origins = vec!["https://chat.example".to_owned()];
        let gate = Gate::new(&ServeOptions { allowed_origins: origins, ..ServeOptions::default() }, true);
        let from = |origin| check(&gate, "/x", &[("host", "localhost"), ("origin", origin)]);
        assert!(from("https://chat.example").is_ok());
        assert_eq!(from("https://chat.example.evil"), Err(403));
    }

    #[test]
    fn keys() {
        let keys = vec!["one".to_owned(), "two".to_owned()];
        let gate = Gate::new(&ServeOptions { keys, ..ServeOptions::default() }, false);
        let with = |headers: &[(&str, &str)]| check(&gate, "/v1/models", headers);
        let one = with(&[("authorization", "Bearer one")]).unwrap();
        let two = with(&[("x-api-key", "two"), ("authorization", "Bearer ")]).unwrap();
        assert_ne!(one, two);
        assert_eq!(with(&[("authorization", "bearer one")]).unwrap(), one);
        for headers in
            [&[][..], &[("authorization", "Bearer")], &[("x-api-key", "on")], &[("x-api-key", "onee")]]
        {
            assert_eq!(with(headers), Err(401), "{headers:?}");
        }
        assert!(check(&gate, "/health", &[]).is_ok());
    }
}
