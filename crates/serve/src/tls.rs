//! Certificates: read at the start, and again when their file is renewed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Encrypts connections.
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<(SystemTime, TlsAcceptor)>,
}

impl Tls {
    /// Fails if a file cannot be read, or the two do not belong to each other.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Result<Tls, String> {
        let acceptor = load(&certificate, &key)?;
        let current = Mutex::new((written(&certificate), acceptor));
        Ok(Tls { certificate, key, current })
    }

    /// What new connections are encrypted with.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the files again, if they were written since. What cannot be used is said, and the old ones stay.
    pub fn renew(&self) {
        let time = written(&self.certificate);
        if self.current.lock().unwrap_or_else(PoisonError::into_inner).0 == time {
            return;
        }
        match load(&self.certificate, &self.key) {
            Ok(acceptor) => *self.current.lock().unwrap_or_else(PoisonError::into_inner) = (time, acceptor),
            // Both are written one after the other: the next time they may fit.
            Err(error) => eprintln!("warning: {error}; the old certificate stays"),
        }
    }
}

fn written(path: &PathBuf) -> SystemTime {
    let metadata = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    metadata.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn load(certificate: &PathBuf, key: &PathBuf) -> Result<TlsAcceptor, String> {
    let fault = |path: &PathBuf, error: &dyn std::fmt::Display| {
        format!("cannot use `{}` for encryption: {error}", path.display())
    };
    let chain: Vec<CertificateDer> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| fault(certificate, &error))?;
    if chain.is_empty() {
        return Err(fault(certificate, &"it holds no certificate in the form PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => fault(key, &"it holds no key in the form PEM"),
        error => fault(key, &error),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| fault(certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
