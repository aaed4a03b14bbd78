//! Listening, connections and their limits, and the end.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::FutureExt;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::app::App;
use crate::batches::Batches;
use crate::files::Files;
use crate::gate::Gate;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::models::{Models, Served, ServedModel};
use crate::options::ServeOptions;
use crate::pulled::PulledModels;
use crate::routes;
use crate::stored::Store;
use crate::tls::Tls;

/// Why a server does not start.
#[derive(Debug)]
pub struct ServeError(String);

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServeError {}

/// A server that has its address, and is not running yet.
pub struct Server {
    app: Arc<App>,
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    stop: watch::Sender<bool>,
}

/// Tells a server to end, from any thread.
#[derive(Clone)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Lets no more requests in; answers go on for a while.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Looks at the models, and takes the address. Fails if one cannot be used, if the address is taken, or if it can be
    /// reached from other machines and there is no key.
    pub fn new(models: Vec<ServedModel>, options: ServeOptions) -> Result<Server, ServeError> {
        let address = address_of(&options)?;
        if !address.ip().is_loopback() && options.keys.is_empty() {
            return Err(ServeError(format!(
                "cannot listen on {}: other machines can reach it, and there is no key\n  give one with --key, or listen \
                 on 127.0.0.1",
                address.ip()
            )));
        }
        let files = options.files_dir.as_deref().map(|folder| Files::open(folder, &options));
        let files = files.transpose().map_err(ServeError)?.map(Arc::new);
        let batches = files.as_ref().map(|files| Batches::open(files.clone(), &options));
        let batches = batches.transpose().map_err(ServeError)?;
        let models = Arc::new(Models::new(models, &options).map_err(ServeError)?);
        let library = options.models_dir.as_deref().map(|folder| Library::open(folder, &options));
        let library = library.transpose().map_err(ServeError)?.map(Arc::new);
        let pulled =
            options.pulls.clone().map(|pulls| Arc::new(PulledModels::new(pulls, options.max_models)));
        // Clients may have created others from these.
        if let Some(pulled) = &pulled {
            pulled.serve_all(&models);
        }
        if let Some(library) = &library {
            library.serve_all(&models);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One: a token wakes it, and would wake a second one to find nothing. What takes long is done aside.
            .worker_threads(1)
            // Prompts are made on these: a crowd of them would not be ready sooner, and each keeps memory of its own.
            .max_blocking_threads(8)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(|error| ServeError(format!("cannot start threads: {error}")))?;
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "\n  another program listens there (Ollama?); --port takes another one"
                }
                _ => "",
            };
            ServeError(format!("cannot listen on {address}: {error}{hint}"))
        })?;
        let tls = options.tls.clone().map(|[certificate, key]| Tls::new(certificate, key));
        let app = App {
            tls: tls.transpose().map_err(ServeError)?,
            gate: Gate::new(&options, address.ip().is_loopback()),
            models,
            metrics: Metrics::new(),
            store: Store::new(options.max_stored),
            files,
            library,
            pulled,
            batches,
            names: Arc::default(),
            start: Instant::now(),
            options,
        };
        Ok(Server { app: Arc::new(app), runtime, listener, stop: watch::Sender::new(false) })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.app.tls.is_some()
    }

    /// The names of its models, and whether each can chat.
    pub fn models(&self) -> Vec<(String, bool)> {
        let told = |served: &Arc<Served>| (served.about.name.clone(), served.about.description.can_chat);
        self.app.models.all().iter().map(told).collect()
    }

    /// What was decided that somebody may have meant otherwise: a context that was made shorter to fit the memory.
    pub fn notes(&self) -> Vec<String> {
        self.app.models.notes()
    }

    /// What tells it to end.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Answers until it is told to end, and then until all answers are over or their time is.
    pub fn run(self) {
        let Server { app, runtime, listener, stop } = self;
        runtime.block_on(serve(app.clone(), listener, stop.subscribe()));
        if let Some(batches) = &app.batches {
            batches.end();
        }
        // Tasks that are left end with the runtime.
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

fn address_of(options: &ServeOptions) -> Result<SocketAddr, ServeError> {
    let host = options.host.trim_matches(['[', ']']);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, options.port));
    }
    let found = (host, options.port).to_socket_addrs();
    let found = found.map_err(|error| ServeError(format!("cannot listen on `{host}`: {error}")))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| ServeError(format!("cannot listen on `{host}`: it has no address")))
}

async fn serve(app: Arc<App>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let router = routes::router(app.clone());
    let places = Arc::new(Semaphore::new(app.options.max_connections));
    let graceful = GracefulShutdown::new();
    if let Some(batches) = &app.batches {
        batches.resume(app.clone());
    }
    let janitor = tokio::spawn(tend(app.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: connections end, and others come.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // A connection that finds no place is closed at once.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let _ = stream.set_nodelay(true);
        let (app, router, watcher) = (app.clone(), router.clone(), graceful.watcher());
        let stop = stop.clone();
        tokio::spawn(async move {
            match &app.tls {
                None => plain(&app, router, stream, watcher, stop).await,
                // Many may wait without encryption, and have nothing of what it needs.
                Some(tls) => Box::pin(encrypted(&app, tls, router, stream, watcher)).await,
            }
            drop(place);
        });
    }
    drop(listener);
    janitor.abort();
    let end = Instant::now() + app.options.drain;
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep_until(end.into()) => {}
    }
}

async fn plain(
    app: &App,
    router: Router,
    stream: TcpStream,
    watcher: Watcher,
    mut stop: watch::Receiver<bool>,
) {
    // Who says nothing is not waited for, and no place is kept for him.
    let speaks_http2 = tokio::select! {
        said = tokio::time::timeout(app.options.read_timeout, speaks_http2(&stream)) => match said {
            Ok(speaks_http2) => speaks_http2,
            Err(_) => return,
        },
        _ = stop.wait_for(|stop| *stop) => return,
    };
    match speaks_http2 {
        false => connection_of_http1(app, router, stream, watcher).await,
        true => Box::pin(connection_of_http2(app, router, stream, watcher)).await,
    }
}

async fn encrypted(app: &App, tls: &Tls, router: Router, stream: TcpStream, watcher: Watcher) {
    // Who does not say what to encrypt with is not waited for.
    let shaking = tokio::time::timeout(app.options.read_timeout, tls.acceptor().accept(stream));
    let Ok(Ok(stream)) = shaking.await else { return };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => connection_of_http2(app, router, stream, watcher).await,
        _ => connection_of_http1(app, router, stream, watcher).await,
    }
}

/// Whether a client begins as HTTP/2 does. What it says stays to be read.
async fn speaks_http2(stream: &TcpStream) -> bool {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let (mut first, mut before) = ([0; PREFACE.len()], 0);
    loop {
        match stream.peek(&mut first).await {
            Ok(n) if n < PREFACE.len() && n > before && PREFACE.starts_with(&first[..n]) => before = n,
            Ok(n) if n == before && n > 0 => {}
            Ok(n) => return first[..n] == *PREFACE,
            Err(_) => return false,
        }
        // A part of it: what is there is told again at once, whether or not there is more.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Serves one connection of HTTP/1, with limits for what comes in. A future and no block of `async`, which would have
/// what it waits for twice.
fn connection_of_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    app: &App,
    router: Router,
    stream: S,
    watcher: Watcher,
) -> impl Future<Output = ()> + Send + use<S> {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(app.options.read_timeout)
        .max_buf_size(app.options.max_header_bytes.max(8192));
    let service = TowerToHyperService::new(router);
    // A client that breaks off or speaks nonsense concerns nobody else.
    watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).map(drop)
}

/// The same of HTTP/2.
fn connection_of_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    app: &App,
    router: Router,
    stream: S,
    watcher: Watcher,
) -> impl Future<Output = ()> + Send + use<S> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(app.options.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let service = TowerToHyperService::new(router);
    watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).map(drop)
}

async fn tend(app: Arc<App>) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        app.models.tend().await;
        if let Some(tls) = &app.tls {
            tls.renew();
        }
    }
}
