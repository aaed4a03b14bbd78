//! Encrypted connections, and a certificate that is renewed while the server runs.

mod common;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Answer, Running, request};
use puna_serve::ServeOptions;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Writes a certificate for `localhost` and its key; returns it.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Asks for the models, trusting nothing but this certificate.
fn ask(server: &Running, trusted: &CertificateDer<'static>) -> Result<Answer, String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, server.connect());
    stream.write_all(&request("GET", "/v1/models", &[], b"")).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Answer::parse(&bytes))
}

#[test]
fn connections_are_encrypted_and_certificates_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let first = write_certificate(folder.path());
    let tls = Some([folder.path().join("cert.pem"), folder.path().join("key.pem")]);
    let server = Running::with(common::builtin(), ServeOptions { tls, ..ServeOptions::default() });
    assert_eq!(ask(&server, &first).unwrap().status, 200);
    // Who does not encrypt is not answered.
    let mut plain = server.connect();
    plain.write_all(&request("GET", "/health", &[], b"")).unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP"), "{bytes:?}");
    // Times of files may be no finer than some milliseconds.
    std::thread::sleep(Duration::from_millis(20));
    let second = write_certificate(folder.path());
    let start = Instant::now();
    while ask(&server, &second).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "the new certificate is not used");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(ask(&server, &first).is_err());
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(folder.path().join("no.pem"), "nothing").unwrap();
    let no = folder.path().join("no.pem");
    for (tls, word) in [
        ([folder.path().join("none.pem"), key.clone()], "none.pem"),
        ([no.clone(), key], "no certificate"),
        ([cert, no], "no key"),
    ] {
        let options = ServeOptions { tls: Some(tls), port: 0, ..ServeOptions::default() };
        let error = puna_serve::Server::new(common::builtin(), options).err().unwrap().to_string();
        assert!(error.contains(".pem") && error.contains(word), "{error}");
    }
}
