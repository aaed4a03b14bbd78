//! What all handlers share.

use std::sync::Arc;
use std::time::Instant;

use crate::batches::Batches;
use crate::files::Files;
use crate::gate::Gate;
use crate::identity::Names;
use crate::library::Library;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::options::ServeOptions;
use crate::pulled::PulledModels;
use crate::stored::Store;
use crate::tls::Tls;

/// The server, without its connections.
pub(crate) struct App {
    pub options: ServeOptions,
    pub models: Arc<Models>,
    pub gate: Gate,
    pub metrics: Metrics,
    pub store: Store,
    pub tls: Option<Tls>,
    pub files: Option<Arc<Files>>,
    pub library: Option<Arc<Library>>,
    pub pulled: Option<Arc<PulledModels>>,
    pub batches: Option<Batches>,
    pub names: Arc<Names>,
    /// When the server started.
    pub start: Instant,
}
