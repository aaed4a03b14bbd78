//! Ollama's registry: a manifest, and blobs that are named by their content.

use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::check::Check;
use super::client::{Client, Failure, host, said};
use super::download::Wanted;
use super::error::{PullError, PullErrorKind};

const MAX_MANIFEST: usize = 4 << 20;
const MAX_CONFIG: usize = 1 << 20;
const MAX_LAYERS: usize = 10_000;
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A layer: what it is, and where.
pub(crate) struct Layer {
    pub media_type: String,
    /// In hexadecimal digits.
    pub sha256: String,
    pub wanted: Wanted,
}

/// A model there.
pub(crate) struct Found {
    /// As it came: its hash is the model's.
    pub manifest: Vec<u8>,
    /// All layers, the configuration among them.
    pub layers: Vec<Layer>,
}

/// Reads the manifest of `namespace/model:tag`.
pub(crate) async fn find(
    client: &Client,
    registry: &Url,
    namespace: &str,
    model: &str,
    tag: &str,
) -> Result<Found, PullError> {
    let name = format!("{namespace}/{model}:{tag}");
    let name = name.strip_prefix("library/").unwrap_or(&name).to_owned();
    let head = format!("cannot pull `{name}` from `{}`", host(registry));
    let fault = |kind, why: &str| PullError::new(kind, format!("{head}\n  {why}"));
    let base = registry.as_str().trim_end_matches('/');
    let address = |end: String| {
        let url = Url::parse(&format!("{base}/v2/{namespace}/{model}/{end}"));
        url.map_err(|error| fault(PullErrorKind::Network, &error.to_string()))
    };
    let refused = |failure| match failure {
        Failure::Network(why) => fault(PullErrorKind::Network, &why),
        Failure::Status(StatusCode::NOT_FOUND, _) => {
            let near = match crate::catalogue::nearest(&format!("{model}:{tag}")).as_slice() {
                [] => String::new(),
                near => format!("\n  there are {}", near.join(", ")),
            };
            let tags = format!("ollama.com/library/{model}/tags shows its tags");
            let why = format!("there is no model `{model}` with the tag `{tag}`\n  {tags}{near}");
            fault(PullErrorKind::NotFound, &why)
        }
        Failure::Status(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), _) => fault(
            PullErrorKind::NoAccess,
            &format!("it answered {}: the model is private, or none", said(status)),
        ),
        Failure::Status(status, _) => fault(PullErrorKind::Network, &format!("it answered {}", said(status))),
    };
    let (manifest, _) = client
        .bytes(&address(format!("manifests/{tag}"))?, MANIFESTS, MAX_MANIFEST)
        .await
        .map_err(refused)?;
    let said: Value = serde_json::from_slice(&manifest)
        .map_err(|error| fault(PullErrorKind::Network, &format!("its manifest is no JSON: {error}")))?;
    let all = said["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.len() > MAX_LAYERS {
        return Err(fault(PullErrorKind::Content, "its manifest names more than 10,000 layers"));
    }
    let mut layers = Vec::new();
    for layer in all.iter().chain(Some(&said["config"])) {
        let hash = layer["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        let hash = hash.filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (Some(hash), Some(n_bytes)) = (hash, layer["size"].as_u64()) else {
            return Err(fault(PullErrorKind::Content, "its manifest has a layer without a digest or a size"));
        };
        let url = address(format!("blobs/sha256:{hash}"))?;
        let sha256 = hash.to_ascii_lowercase();
        let name = format!("sha256-{sha256}");
        let check = Check::Sha256(sha256.clone());
        let wanted = Wanted { url, name, n_bytes: Some(n_bytes), check, object: None };
        let media_type = layer["mediaType"].as_str().unwrap_or_default().to_owned();
        layers.push(Layer { media_type, sha256, wanted });
    }
    let has_model = layers.iter().any(|layer| layer.media_type == "application/vnd.ollama.image.model");
    if !has_model {
        let is_tensors = layers.iter().any(|layer| layer.media_type == "application/vnd.ollama.image.tensor");
        let config = layers.last().map(|layer| layer.wanted.url.clone());
        let config = match config {
            Some(url) => client.bytes(&url, "*/*", MAX_CONFIG).await.ok(),
            None => None,
        };
        let config =
            config.and_then(|(bytes, _)| serde_json::from_slice::<Value>(&bytes).ok()).unwrap_or_default();
        let why = match (is_tensors, config["remote_host"].is_string()) {
            (true, _) => {
                "it lies there tensor by tensor, which Puna does not read\n  Hugging Face's hub has most models"
            }
            (_, true) => "it has no weights: it runs on Ollama's own machines",
            _ => "its manifest names no weights",
        };
        return Err(fault(PullErrorKind::Unusable, why));
    }
    Ok(Found { manifest, layers })
}
