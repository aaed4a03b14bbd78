//! Getting a model from elsewhere: found, agreed to, fetched, checked, and only then put where models are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Url;
use sha2::{Digest, Sha256};

#[cfg(feature = "object-stores")]
mod bucket;
mod check;
mod client;
mod download;
mod error;
mod hub;
mod listing;
mod object;
mod ollama;

pub use error::{PullError, PullErrorKind};
use listing::is_licence;
pub(crate) use listing::{is_said_of, is_weights, names_of, quantisation, stem};

use crate::licence::Licence;
use crate::name::{ModelName, is_safe_path};
use crate::shelf::{Entry, Lock, Manifest, Shelf, replace};
use check::Check;
pub(crate) use check::hex;
use client::{Client, Token, host};
use download::{Fetched, Tell, Wanted, download};

/// Files that are fetched at once.
const FILES_AT_ONCE: usize = 4;
/// The most files of a model, and the longest text of a licence.
const MAX_FILES: usize = 10_000;
const MAX_LICENCE_BYTES: u64 = 1 << 20;

/// Variables of object stores.
const STORES: [&str; 30] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ALLOW_HTTP",
    "AWS_SKIP_SIGNATURE",
    "AWS_REQUEST_PAYER",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BASE_URL",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SKIP_SIGNATURE",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_SKIP_SIGNATURE",
];

/// Where things are, and what may be done.
#[derive(Clone, Debug)]
pub struct Places {
    /// Whether the network is to be left alone.
    pub is_offline: bool,
    /// The hub: `https://huggingface.co`.
    pub hub: String,
    /// What the hub knows somebody by.
    pub hub_token: Option<String>,
    /// Ollama's registry: `https://registry.ollama.ai`.
    pub ollama: String,
    /// Names and values of variables that say who asks object stores, and where they are: AWS_…, GOOGLE_…, AZURE_….
    pub stores: Vec<(String, String)>,
    /// How often something is asked for that does not come, before it is given up.
    pub n_tries: usize,
    /// The most bytes of all models that lie on the shelf; as many as the disk has room for if `None`.
    pub max_bytes: Option<u64>,
}

impl Places {
    /// As the variables say that `huggingface_hub` and Ollama heed: HF_ENDPOINT, HF_TOKEN (or the file that
    /// `hf auth login` writes), HF_HUB_OFFLINE.
    pub fn of_environment(variable: impl Fn(&str) -> Option<PathBuf>) -> Places {
        let word = |name: &str| variable(name).map(|value| value.to_string_lossy().trim().to_owned());
        let home = || {
            let home = || variable("HOME").or_else(|| variable("USERPROFILE"));
            let cache = || variable("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")));
            variable("HF_HOME").or_else(|| Some(cache()?.join("huggingface")))
        };
        let file = || variable("HF_TOKEN_PATH").or_else(|| Some(home()?.join("token")));
        let saved = || std::fs::read_to_string(file()?).ok().map(|text| text.trim().to_owned());
        let token = word("HF_TOKEN").or_else(|| word("HUGGING_FACE_HUB_TOKEN")).or_else(saved);
        let is_yes = |text: String| matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on");
        Places {
            is_offline: word("HF_HUB_OFFLINE").is_some_and(is_yes),
            hub: word("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into()),
            hub_token: token.filter(|token| !token.is_empty()),
            ollama: word("PUNA_OLLAMA_REGISTRY").unwrap_or_else(|| "https://registry.ollama.ai".into()),
            stores: STORES.iter().filter_map(|name| Some(((*name).to_owned(), word(name)?))).collect(),
            n_tries: 6,
            max_bytes: None,
        }
    }
}

/// A licence's text, of which it must be known whether somebody agrees.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// Which of Meta's it is, if any.
    pub licence: Option<Licence>,
    /// What it is called: a title, or the name of its file.
    pub title: String,
    /// All of it.
    pub text: String,
    /// SHA-256 of the text in hexadecimal digits.
    pub sha256: String,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is known what will be fetched.
    Found {
        /// How many files there are, and their bytes.
        n_files: usize,
        /// All of them.
        n_bytes: u64,
        /// Which quantisation or file was taken of several.
        pick: Option<String>,
        /// The version: a commit, or a digest.
        revision: Option<String>,
    },
    /// A file begins: its place among all, its name and its bytes.
    File {
        /// Its place.
        index: usize,
        /// Its path, or its digest.
        name: String,
        /// Where it is known.
        n_bytes: Option<u64>,
    },
    /// More bytes of a file are there; fewer if they have to come again.
    Bytes {
        /// Its place.
        index: usize,
        /// How many more.
        n: i64,
    },
    /// All is there, and right.
    Checked,
}

/// Who asked.
pub trait Asker: Send + Sync {
    /// Is told what happens.
    fn tell(&self, event: Event);
    /// Whether a licence that was not accepted before is accepted now.
    fn accepts(&self, agreement: &Agreement) -> Result<(), String>;
}

/// A model that is here now.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The file or folder to run.
    pub path: PathBuf,
    /// Whether all of it was here before: nothing was fetched.
    pub was_here: bool,
    /// Whether there was something of this name and version before, perhaps not all of it, or an older one.
    pub was_known: bool,
    /// SHA-256 of what had no checksum, for who wants to compare it: the file's name and the hash.
    pub unchecked: Vec<(String, String)>,
}

/// A file on its way to a path inside a folder.
type Item = (String, Wanted);

/// Pulls a model.
///
/// # Errors
/// Says what was being done, what was found, and what to try. What came is kept, and goes on the next time.
pub async fn pull(
    shelf: &Shelf,
    places: &Places,
    name: &ModelName,
    asker: Arc<dyn Asker>,
) -> Result<Pulled, PullError> {
    if places.is_offline {
        let message = format!("cannot pull `{name}`\n  the network is not to be used");
        return Err(PullError::new(PullErrorKind::Offline, message));
    }
    let work = Work { shelf, places, asker };
    match name {
        ModelName::Hub { repository, revision, pick } => {
            work.hub(repository, revision.as_deref().unwrap_or("main"), pick.as_deref()).await
        }
        ModelName::Ollama { namespace, model, tag } => work.ollama(namespace, model, tag).await,
        ModelName::Address { url, sha256 } => work.address(name, url, sha256.as_deref()).await,
        ModelName::Meta { url, folder } => work.meta(url, folder).await,
        #[cfg(feature = "object-stores")]
        ModelName::Bucket { url } => work.bucket(name, url).await,
        #[cfg(not(feature = "object-stores"))]
        ModelName::Bucket { .. } => {
            let how = "this program was built without object stores; the feature `object-stores` has them";
            let message = format!("cannot pull `{name}`\n  {how}");
            Err(PullError::new(PullErrorKind::Unusable, message))
        }
    }
}

struct Work<'a> {
    shelf: &'a Shelf,
    places: &'a Places,
    asker: Arc<dyn Asker>,
}

impl Work<'_> {
    fn place(&self, text: &str, variable: &str) -> Result<Url, PullError> {
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.ok_or_else(|| {
            PullError::new(PullErrorKind::Network, format!("{variable} is no address: `{text}`"))
        })
    }

    async fn hub(&self, repository: &str, revision: &str, pick: Option<&str>) -> Result<Pulled, PullError> {
        let endpoint = self.place(&self.places.hub, "HF_ENDPOINT")?;
        let token = self.places.hub_token.clone().map(|secret| Token { origin: endpoint.clone(), secret });
        let has_token = token.is_some();
        let client = Client::new(token, self.places.n_tries)?;
        let hub = hub::Hub { client: &client, endpoint: &endpoint, has_token, repository, revision };
        let found = hub.find(pick).await?;
        let name = match pick {
            Some(pick) => format!("{repository}:{pick}"),
            None => repository.to_owned(),
        };
        let folder = self.shelf.repository(repository);
        let snapshot = folder.join("snapshots").join(&found.commit);
        let main = main_file(found.files.iter().map(|(path, _)| path.as_str()));
        let path = main.map_or_else(|| snapshot.clone(), |file| snapshot.join(file));
        self.found(&found.files, found.pick.clone(), Some(found.commit.clone()));
        let manifest = Manifest {
            name,
            source: format!("{}/{repository}", endpoint.as_str().trim_end_matches('/')),
            revision: Some(found.commit.clone()),
            ..Manifest::default()
        };
        let lock = self.shelf.lock(&format!("{repository}@{}", found.commit))?;
        let was_known = path.exists();
        let pulled = self.fetch(&client, &lock, &snapshot, found.files, manifest).await?;
        let reference = folder.join("refs").join(revision);
        if is_safe_path(revision) && revision != found.commit {
            std::fs::create_dir_all(reference.parent().unwrap_or(&folder))
                .and_then(|()| replace(&reference, found.commit.as_bytes()))
                .map_err(|error| PullError::disk("write", &reference, &error))?;
        }
        Ok(Pulled { path, was_known, ..pulled })
    }

    async fn address(&self, name: &ModelName, url: &Url, sha256: Option<&str>) -> Result<Pulled, PullError> {
        let client = Client::new(None, self.places.n_tries)?;
        let file = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default().to_owned();
        let place: String = host(url).chars().map(|c| if c == ':' { '_' } else { c }).collect();
        let folder = self.shelf.root().join("files").join(place).join(Path::new(&file).with_extension(""));
        let check = sha256.map_or(Check::Unknown, |hash| Check::Sha256(hash.to_owned()));
        let wanted = Wanted { url: url.clone(), name: file.clone(), n_bytes: None, check, object: None };
        let lock = self.shelf.lock(&name.to_string())?;
        let manifest = Manifest { name: name.to_string(), source: name.to_string(), ..Manifest::default() };
        let files = vec![(file.clone(), wanted)];
        self.found(&files, None, None);
        let pulled = self.fetch(&client, &lock, &folder, files, manifest).await?;
        Ok(Pulled { path: folder.join(&file), ..pulled })
    }

    async fn meta(&self, url: &[String; 2], folder: &str) -> Result<Pulled, PullError> {
        let client = Client::new(None, self.places.n_tries)?;
        let fault = |why: &str| {
            PullError::new(PullErrorKind::Content, format!("cannot pull Meta's `{folder}`\n  {why}"))
        };
        let address = |path: &str| {
            let url = Url::parse(&format!("{}{folder}/{path}{}", url[0], url[1]));
            url.map_err(|error| fault(&error.to_string()))
        };
        let list = address("checklist.chk")?;
        let refused = |failure| match failure {
            client::Failure::Network(why) => fault(&why),
            client::Failure::Status(status, _) => fault(&format!(
                "`{}` answered {} for its checklist\n  links end after a day or a few downloads: ask Meta for a new one, \
                 and look at the folder's name",
                host(&list),
                client::said(status)
            )),
        };
        let (text, _) = client.bytes(&list, "*/*", 1 << 20).await.map_err(refused)?;
        let mut files: Vec<Item> = Vec::new();
        for line in String::from_utf8_lossy(&text).lines().filter(|line| !line.trim().is_empty()) {
            let (hash, path) = line.trim().split_once(char::is_whitespace).unwrap_or((line, ""));
            let path = path.trim().trim_start_matches(['*', '.']).trim_start_matches('/');
            let is_hash = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_hash || !is_safe_path(path) || files.len() == MAX_FILES {
                return Err(fault(&format!("its checklist has a line that is none: `{line}`")));
            }
            let check = Check::Md5(hash.to_owned());
            let url = address(path)?;
            let wanted = Wanted { url, name: path.to_owned(), n_bytes: None, check, object: None };
            files.push((path.to_owned(), wanted));
        }
        if files.is_empty() {
            return Err(fault("its checklist names no files"));
        }
        self.found(&files, None, None);
        let place = self.shelf.root().join("meta").join(folder);
        let lock = self.shelf.lock(&format!("meta {folder}"))?;
        let manifest = Manifest {
            name: folder.to_owned(),
            source: format!("{}{folder}", url[0]),
            ..Manifest::default()
        };
        let pulled = self.fetch(&client, &lock, &place, files, manifest).await?;
        Ok(Pulled { path: place, ..pulled })
    }

    #[cfg(feature = "object-stores")]
    async fn bucket(&self, name: &ModelName, url: &Url) -> Result<Pulled, PullError> {
        let client = Client::new(None, self.places.n_tries)?;
        let found = bucket::find(url, &self.places.stores, self.places.n_tries).await?;
        let [bucket, folder] = &found.place;
        let folder = self.shelf.root().join("files").join(bucket).join(folder);
        let main = main_file(found.files.iter().map(|(path, _)| path.as_str()));
        let path = main.map_or_else(|| folder.clone(), |file| folder.join(file));
        self.found(&found.files, found.pick, None);
        let lock = self.shelf.lock(&name.to_string())?;
        let manifest = Manifest { name: name.to_string(), source: name.to_string(), ..Manifest::default() };
        let pulled = self.fetch(&client, &lock, &folder, found.files, manifest).await?;
        Ok(Pulled { path, ..pulled })
    }

    async fn ollama(&self, namespace: &str, model: &str, tag: &str) -> Result<Pulled, PullError> {
        let registry = self.place(&self.places.ollama, "PUNA_OLLAMA_REGISTRY")?;
        let client = Client::new(None, self.places.n_tries)?;
        let found = ollama::find(&client, &registry, namespace, model, tag).await?;
        let store = self.shelf.ollama();
        let (blobs, manifests) =
            (store.join("blobs"), store.join("manifests/registry.ollama.ai").join(namespace).join(model));
        let blob = |sha256: &str| blobs.join(format!("sha256-{sha256}"));
        let digest = hex(&Sha256::digest(&found.manifest));
        let items: Vec<Item> =
            found.layers.iter().map(|layer| (layer.wanted.name.clone(), layer.wanted.clone())).collect();
        self.found(&items, None, Some(digest));
        let is_model = |layer: &&ollama::Layer| layer.media_type == "application/vnd.ollama.image.model";
        let path = found.layers.iter().find(is_model).map(|layer| blob(&layer.sha256)).unwrap_or_default();
        let lock = self.shelf.lock(&format!("ollama:{namespace}/{model}:{tag}"))?;
        let disk = |path: &Path, error| PullError::disk("write", path, &error);
        if self.places.max_bytes.is_some() {
            // What a sweep left that somebody's pull held up.
            let _ = self.shelf.sweep_blobs();
        }
        // Nobody sweeps blobs meanwhile that no manifest names yet.
        let _unswept = self.shelf.keep_blobs().map_err(|error| disk(&blobs, error))?;
        std::fs::create_dir_all(&blobs).map_err(|error| disk(&blobs, error))?;
        let missing: Vec<(usize, Item)> =
            items.into_iter().enumerate().filter(|(_, (name, _))| !blobs.join(name).exists()).collect();
        let was_known = manifests.join(tag).exists();
        let was_here = missing.is_empty() && was_known;
        let is_licence =
            |index: usize| found.layers[index].media_type == "application/vnd.ollama.image.license";
        let (licences, others): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|(index, _)| is_licence(*index));
        let n_bytes = others.iter().filter_map(|(_, (_, wanted))| wanted.n_bytes).sum();
        self.check_room(n_bytes, &lock)?;
        self.fetch_all(&client, &lock.folder, licences).await?;
        for layer in
            found.layers.iter().enumerate().filter(|(index, _)| is_licence(*index)).map(|(_, layer)| layer)
        {
            let name = format!("sha256-{}", layer.sha256);
            let text = [lock.folder.join(&name), blobs.join(&name)].into_iter().find(|path| path.exists());
            self.agree(
                text.as_deref(),
                "the licence that comes with it",
                &format!("{namespace}/{model}:{tag}"),
            )?;
        }
        self.fetch_all(&client, &lock.folder, others).await?;
        for layer in &found.layers {
            let name = format!("sha256-{}", layer.sha256);
            let (from, to) = (lock.folder.join(&name), blobs.join(&name));
            if from.exists() {
                std::fs::rename(from, &to).map_err(|error| disk(&to, error))?;
            }
        }
        // The manifest last: by it the model is found.
        let manifest = manifests.join(tag);
        std::fs::create_dir_all(&manifests)
            .and_then(|()| replace(&manifest, &found.manifest))
            .map_err(|error| disk(&manifest, error))?;
        self.asker.tell(Event::Checked);
        Ok(Pulled { path, was_here, was_known, unchecked: Vec::new() })
    }

    fn found(&self, files: &[Item], pick: Option<String>, revision: Option<String>) {
        let n_bytes = files.iter().filter_map(|(_, wanted)| wanted.n_bytes).sum();
        self.asker.tell(Event::Found { n_files: files.len(), n_bytes, pick, revision });
    }

    fn check_room(&self, n_bytes: u64, lock: &Lock) -> Result<(), PullError> {
        self.shelf.check_room(n_bytes, lock, self.places.max_bytes)
    }

    /// Fetches what of `files` is not in `folder`, and puts it there.
    async fn fetch(
        &self,
        client: &Client,
        lock: &Lock,
        folder: &Path,
        files: Vec<Item>,
        manifest: Manifest,
    ) -> Result<Pulled, PullError> {
        let before = Manifest::read(folder);
        let is_here = |path: &str, wanted: &Wanted| {
            let entry = before.as_ref().and_then(|before| before.files.get(path));
            let n_bytes = std::fs::metadata(folder.join(path)).map(|about| about.len()).ok();
            entry.is_some_and(|entry| {
                n_bytes == Some(entry.n_bytes)
                    && wanted.n_bytes.is_none_or(|n| n == entry.n_bytes)
                    && match &wanted.check {
                        Check::Sha256(hash) => *hash == entry.sha256,
                        Check::Unknown => entry.tag.is_some() && entry.tag == wanted.tag(),
                        _ => true,
                    }
            })
        };
        let missing: Vec<(usize, Item)> =
            files.into_iter().enumerate().filter(|(_, (path, wanted))| !is_here(path, wanted)).collect();
        if missing.is_empty() && before.is_some() {
            self.asker.tell(Event::Checked);
            let path = folder.to_owned();
            return Ok(Pulled { path, was_here: true, was_known: true, unchecked: Vec::new() });
        }
        if missing.len() > MAX_FILES {
            let message = format!("cannot pull `{}`\n  it has {} files", manifest.name, missing.len());
            return Err(PullError::new(PullErrorKind::Content, message));
        }
        let n_bytes = missing.iter().filter_map(|(_, (_, wanted))| wanted.n_bytes).sum();
        self.check_room(n_bytes, lock)?;
        let (texts, others): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|(_, (path, _))| is_licence(path));
        let unchecked: Vec<String> = others
            .iter()
            .filter(|(_, (_, wanted))| wanted.check == Check::Unknown)
            .map(|(_, (path, _))| path.clone())
            .collect();
        let all = texts.iter().chain(&others);
        let tags: BTreeMap<String, String> =
            all.filter_map(|(_, (path, wanted))| Some((path.clone(), wanted.tag()?))).collect();
        let mut fetched = self.fetch_all(client, &lock.folder, texts).await?;
        for (path, _) in &fetched {
            self.agree(Some(&lock.folder.join(path)), path, &manifest.name)?;
        }
        fetched.extend(self.fetch_all(client, &lock.folder, others).await?);
        self.asker.tell(Event::Checked);
        let unchecked = fetched.iter().filter(|(path, _)| unchecked.contains(path));
        let unchecked = unchecked.map(|(path, own)| (path.clone(), own.sha256.clone())).collect();
        let entry = |path: &String, own: Fetched| {
            let tag = tags.get(path).cloned();
            Entry { n_bytes: own.n_bytes, sha256: own.sha256, tag }
        };
        let files = fetched.into_iter().map(|(path, own)| (path.clone(), entry(&path, own))).collect();
        Shelf::install(lock, folder, &Manifest { files, pulled_at: now(), ..manifest })?;
        Ok(Pulled { path: folder.to_owned(), was_here: false, was_known: before.is_some(), unchecked })
    }

    /// Fetches files into a folder.
    async fn fetch_all(
        &self,
        client: &Client,
        folder: &Path,
        files: Vec<(usize, Item)>,
    ) -> Result<Vec<(String, Fetched)>, PullError> {
        let one = |(index, (path, wanted)): (usize, Item)| {
            let asker = self.asker.clone();
            let to = folder.join(&path);
            async move {
                let parent = to.parent().unwrap_or(folder);
                std::fs::create_dir_all(parent).map_err(|error| PullError::disk("create", parent, &error))?;
                asker.tell(Event::File { index, name: wanted.name.clone(), n_bytes: wanted.n_bytes });
                // One that was finished before a program ended is as good as one that comes now, if it is right.
                if let Some(fetched) = finished(&to, &wanted).await {
                    asker.tell(Event::Bytes { index, n: fetched.n_bytes as i64 });
                    return Ok((path, fetched));
                }
                let tell: Tell = Arc::new(move |n| asker.tell(Event::Bytes { index, n }));
                let fetched = download(client, &wanted, &to, &tell).await?;
                Ok((path, fetched))
            }
        };
        stream::iter(files.into_iter().map(one)).buffer_unordered(FILES_AT_ONCE).try_collect().await
    }

    /// Lets no more come until a licence is accepted, now or before.
    fn agree(&self, text: Option<&Path>, file: &str, model: &str) -> Result<(), PullError> {
        let Some(path) = text else { return Ok(()) };
        let n_bytes = std::fs::metadata(path).map_or(0, |about| about.len());
        let bytes = match n_bytes <= MAX_LICENCE_BYTES {
            true => std::fs::read(path).map_err(|error| PullError::disk("read", path, &error))?,
            false => return Ok(()),
        };
        let sha256 = hex(&Sha256::digest(&bytes));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let licence = Licence::of_text(&text).map(|found| found.licence);
        let is_free = licence.is_none() && is_free(&text);
        if is_free || self.shelf.has_accepted(&sha256) {
            return Ok(());
        }
        let title = licence.map_or_else(|| file.to_owned(), |licence| licence.title().to_owned());
        let agreement = Agreement { licence, title, text, sha256 };
        self.asker.accepts(&agreement).map_err(|why| {
            PullError::new(PullErrorKind::NoAccess, format!("cannot pull `{model}`\n  {why}"))
        })?;
        self.shelf.accept(&agreement.title, &agreement.sha256, model, now())
    }
}

/// A file that was whole before this program began.
async fn finished(path: &Path, wanted: &Wanted) -> Option<Fetched> {
    let Check::Sha256(want) = &wanted.check else { return None };
    if !path.exists() {
        return None;
    }
    let (own, want) = (path.to_owned(), want.clone());
    let hashed =
        tokio::task::spawn_blocking(move || crate::shelf::sha256_of(&own, |_| ())).await.ok()?.ok()?;
    (hashed.1 == want).then_some(Fetched { n_bytes: hashed.0, sha256: hashed.1 })
}

/// Whether a text is that of a licence which asks for nothing but its own text and a name.
fn is_free(text: &str) -> bool {
    let head: String = text.chars().take(400).collect::<String>().to_lowercase();
    let titles = [
        "apache license",
        "mit license",
        "bsd 3-clause",
        "bsd 2-clause",
        "permission is hereby granted, free of charge",
    ];
    titles.iter().any(|title| head.contains(title))
}

/// The file by which a model is run, where it is none by its folder: a GGUF file, the first of several parts.
fn main_file<'p>(paths: impl Iterator<Item = &'p str>) -> Option<&'p str> {
    let is_model = |path: &&str| path.ends_with(".gguf") && !path.to_ascii_lowercase().contains("mmproj");
    paths.filter(is_model).min()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
