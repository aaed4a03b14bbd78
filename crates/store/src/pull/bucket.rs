//! Object stores: Amazon's S3 and what speaks as it does, Google Cloud Storage and Azure's Blob Storage.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig,
};
use reqwest::Url;

use super::check::Check;
use super::client::host;
use super::download::Wanted;
use super::error::{PullError, PullErrorKind};
use super::listing::{Listed, choose};
use super::object::{Object, chain};
use crate::name::is_safe_path;

/// The most objects that are looked at.
const MAX_OBJECTS: usize = 100_000;

/// The files of the model at an address, and where it is to lie: its bucket, and its folder or file there.
pub(crate) struct Found {
    pub files: Vec<(String, Wanted)>,
    pub pick: Option<String>,
    pub place: [String; 2],
}

/// Looks at what is at `s3://BUCKET/FOLDER`, or the file there. `options` are the names and values of variables.
pub(crate) async fn find(
    url: &Url,
    options: &[(String, String)],
    n_tries: usize,
) -> Result<Found, PullError> {
    // Where another part of the program has chosen already, its choice is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let head = format!("cannot pull `{}`", shown(url));
    let fault = |kind, why: String| PullError::new(kind, format!("{head}\n  {why}"));
    let failed = |error: Error| match error {
        Error::NotFound { .. } => fault(PullErrorKind::NotFound, "there is nothing of that name".into()),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            fault(PullErrorKind::NoAccess, format!("the store refuses it\n  {}", hint(url)))
        }
        error => fault(PullErrorKind::Network, format!("{}\n  {}", chain(&error), hint(url))),
    };
    let (store, path) = open(url, options, n_tries).map_err(failed)?;
    let listed: Vec<ObjectMeta> =
        store.list(Some(&path)).take(MAX_OBJECTS).try_collect().await.map_err(failed)?;
    // A file, perhaps one of several parts.
    let (folder, file) = match listed.is_empty() {
        false => (path.clone(), None),
        true => {
            store.head(&path).await.map_err(failed)?;
            let (folder, file) = path.as_ref().rsplit_once('/').unwrap_or(("", path.as_ref()));
            let folder = Path::parse(folder).map_err(|error| failed(error.into()))?;
            (folder, Some(file.to_owned()))
        }
    };
    let objects = match file.is_some() {
        true => {
            let found = store.list_with_delimiter(Some(&folder)).await.map_err(failed)?;
            found.objects
        }
        false => listed,
    };
    let relative = |object: &ObjectMeta| {
        let path = object.location.as_ref().strip_prefix(folder.as_ref())?.trim_start_matches('/');
        is_safe_path(path).then(|| path.to_owned())
    };
    let listed: Vec<Listed> = (objects.iter())
        .filter_map(|object| {
            Some(Listed { path: relative(object)?, n_bytes: object.size, check: Check::Unknown })
        })
        .collect();
    let (chosen, pick) =
        choose(&listed, file.as_deref()).map_err(|why| fault(PullErrorKind::Unusable, why))?;
    let wanted = |file: &Listed| {
        let object = objects.iter().find(|object| relative(object).as_deref() == Some(&file.path))?;
        let mut url = url.clone();
        url.set_path(object.location.as_ref());
        url.set_query(None);
        url.set_fragment(None);
        let own = Object { store: store.clone(), path: object.location.clone(), tag: object.e_tag.clone() };
        let wanted = Wanted {
            url,
            name: file.path.clone(),
            n_bytes: Some(file.n_bytes),
            check: Check::Unknown,
            object: Some(own),
        };
        Some((file.path.clone(), wanted))
    };
    let files: Vec<(String, Wanted)> = chosen.into_iter().filter_map(wanted).collect();
    let folder = path.as_ref().trim_end_matches(".gguf").replace('/', "--");
    let place = [format!("{}_{}", url.scheme(), host(url).replace(':', "_")), folder];
    if !place.iter().all(|part| is_safe_path(part)) {
        return Err(fault(
            PullErrorKind::NotFound,
            "it names the whole bucket; name a folder or a file".into(),
        ));
    }
    Ok(Found { files, pick, place })
}

/// The store of an address, and the path there.
fn open(
    url: &Url,
    options: &[(String, String)],
    n_tries: usize,
) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    let retry = RetryConfig { max_retries: n_tries, ..RetryConfig::default() };
    // Whoever gives an address without encryption means it.
    let is_place = |name: &str| name.contains("ENDPOINT") || name.ends_with("BASE_URL");
    let is_plain = options.iter().any(|(name, value)| is_place(name) && value.starts_with("http://"));
    let client = ClientOptions::new().with_allow_http(is_plain).with_user_agent(
        reqwest::header::HeaderValue::from_static(concat!("puna/", env!("CARGO_PKG_VERSION"))),
    );
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    let path = Path::parse(path)?;
    macro_rules! built {
        ($builder:expr) => {{
            let mut builder = $builder.with_url(url.as_str()).with_client_options(client).with_retry(retry);
            for (name, value) in options {
                if let Ok(key) = name.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, value);
                }
            }
            Arc::new(builder.build()?) as Arc<dyn ObjectStore>
        }};
    }
    let store = match scheme {
        ObjectStoreScheme::AmazonS3 => built!(AmazonS3Builder::new()),
        ObjectStoreScheme::GoogleCloudStorage => built!(GoogleCloudStorageBuilder::new()),
        _ => built!(MicrosoftAzureBuilder::new()),
    };
    Ok((store, path))
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// How access is got.
fn hint(url: &Url) -> &'static str {
    match url.scheme() {
        "s3" => {
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION say who asks, AWS_ENDPOINT_URL where, and \
             AWS_SKIP_SIGNATURE=true that the bucket is public"
        }
        "gs" => {
            "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT says who asks, and GOOGLE_SKIP_SIGNATURE=true that \
             the bucket is public"
        }
        _ => {
            "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY says who asks, and \
             AZURE_SKIP_SIGNATURE=true that the container is public"
        }
    }
}
