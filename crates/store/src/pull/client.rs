//! Requests: redirects followed by hand, so that a token goes nowhere but to the host it is for; tries again after what
//! passes; the network left alone where it is not to be used.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Response, StatusCode, Url};

use super::error::{PullError, PullErrorKind};

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 10;
/// The longest that another side may ask us to wait before we say so instead.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// Without a byte for so long a connection is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// A secret for one host.
#[derive(Clone)]
pub(crate) struct Token {
    /// Where it may go: scheme, host and port.
    pub origin: Url,
    pub secret: String,
}

/// What asks.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    token: Option<Token>,
    n_tries: usize,
}

/// Waits between so many tries.
fn waits(n_tries: usize) -> impl Iterator<Item = Duration> {
    let builder = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(Duration::from_secs(20))
        .with_max_times(n_tries)
        .with_jitter();
    builder.build()
}

impl Client {
    /// One that heeds the usual variables for proxies.
    pub fn new(token: Option<Token>, n_tries: usize) -> Result<Client, PullError> {
        // Where another part of the program has chosen already, its choice is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("puna/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(20))
            .read_timeout(SILENCE)
            .tcp_nodelay(true)
            .build();
        let http = http.map_err(|error| {
            PullError::new(PullErrorKind::Network, format!("cannot use the network\n  {}", chain(&error)))
        })?;
        Ok(Client { http, token, n_tries })
    }

    /// Waits between tries of which none brings anything.
    pub fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        waits(self.n_tries)
    }

    /// One answer to a request for `url` or what it leads to, whatever its status, and where that was.
    pub async fn once(&self, url: &Url, accept: &str, range: Option<&str>) -> Result<(Response, Url), Fault> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = HeaderMap::new();
            // What is compressed on its way has no length that could be checked.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if let Ok(accept) = HeaderValue::from_str(accept) {
                headers.insert(ACCEPT, accept);
            }
            if let Some(Ok(range)) = range.map(HeaderValue::from_str) {
                headers.insert(RANGE, range);
            }
            if let Some(token) = self.token.as_ref().filter(|token| token.origin.origin() == url.origin()) {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret))
                    .map_err(|_| Fault::Last("the token holds letters that no token has".into()))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            let answer = self.http.get(url.clone()).headers(headers).send().await;
            let answer = answer.map_err(|error| Fault::Passing(chain(&error), None))?;
            if !answer.status().is_redirection() {
                return Ok((answer, url));
            }
            let to = text(answer.headers(), LOCATION.as_str()).unwrap_or_default();
            let next =
                url.join(to).map_err(|_| Fault::Last(format!("it leads to `{to}`, which is no address")))?;
            let is_safe = next.scheme() == "https" || next.scheme() == url.scheme();
            if !matches!(next.scheme(), "http" | "https") || !is_safe {
                return Err(Fault::Last(format!(
                    "it leads from `{}` to an address without encryption",
                    host(&url)
                )));
            }
            url = next;
        }
        Err(Fault::Last(format!("it leads from address to address, {MAX_REDIRECTS} times")))
    }

    /// A good answer to a request; what passes is tried again.
    pub async fn get(&self, url: &Url, accept: &str) -> Result<Response, Failure> {
        let mut waits = self.waits();
        loop {
            let fault = match self.once(url, accept, None).await {
                Ok((answer, _)) if answer.status().is_success() => return Ok(answer),
                Ok((answer, _)) => match Fault::of(&answer) {
                    Some(fault) => fault,
                    None => return Err(Failure::Status(answer.status(), answer.headers().clone())),
                },
                Err(fault) => fault,
            };
            match fault {
                Fault::Last(why) => return Err(Failure::Network(why)),
                Fault::Passing(why, asked) => match waits.next() {
                    Some(wait) => tokio::time::sleep(asked.unwrap_or(wait)).await,
                    None => return Err(Failure::Network(why)),
                },
            }
        }
    }

    /// A good answer's bytes, of which there may be `max`.
    pub async fn bytes(&self, url: &Url, accept: &str, max: usize) -> Result<(Vec<u8>, HeaderMap), Failure> {
        let mut answer = self.get(url, accept).await?;
        let headers = answer.headers().clone();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| Failure::Network(chain(&error)))? {
            if bytes.len() + chunk.len() > max {
                return Err(Failure::Network(format!("the answer has more than {max} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, headers))
    }
}

/// Why an answer did not come.
pub(crate) enum Fault {
    /// It may the next time, perhaps after the time that the other side asked for.
    Passing(String, Option<Duration>),
    /// It will not.
    Last(String),
}

impl Fault {
    /// Of an answer that says so.
    pub fn of(answer: &Response) -> Option<Fault> {
        let status = answer.status();
        let is_passing = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if !is_passing {
            return None;
        }
        let wait = wait_asked(answer.headers());
        let why = format!("`{}` answered {}", host(answer.url()), said(status));
        Some(match wait {
            Some(wait) if wait > MAX_WAIT => {
                Fault::Last(format!("{why} and asks to wait {} s", wait.as_secs()))
            }
            wait => Fault::Passing(why, wait),
        })
    }
}

/// Why there is no good answer.
pub(crate) enum Failure {
    Status(StatusCode, HeaderMap),
    Network(String),
}

/// The wait that an answer asks for: the hub's `RateLimit` where nothing is left, else `Retry-After`.
fn wait_asked(headers: &HeaderMap) -> Option<Duration> {
    let of_hub = || {
        let text = text(headers, "ratelimit")?;
        let field =
            |name: &str| text.split(';').find_map(|part| part.trim().strip_prefix(name)?.parse::<u64>().ok());
        (field("r=")? == 0).then(|| field("t="))?
    };
    let seconds = of_hub().or_else(|| text(headers, RETRY_AFTER.as_str())?.trim().parse().ok())?;
    Some(Duration::from_secs(seconds))
}

/// A header's text.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    headers.get(name)?.to_str().ok()
}

/// An address's host, as messages name it: without secrets that stand in addresses.
pub(crate) fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        _ => url.scheme().to_owned(),
    }
}

/// `404 Not Found`
pub(crate) fn said(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("")).trim().to_owned()
}

/// An error and what led to it, without the address, which may hold secrets.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut out = match error {
        error if error.is_timeout() => "nothing came for too long".to_owned(),
        error if error.is_connect() => "no connection".to_owned(),
        _ => "the connection broke".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        out = format!("{out}: {error}");
        source = error.source();
    }
    out
}
