//! Models that come over real connections, from servers that fail.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Fault, Files, Server, State, commit, noise, sha256};
use puna_store::name::ModelName;
use puna_store::pull::{Agreement, Asker, Event, Places, PullError, PullErrorKind, Pulled, pull};
use puna_store::shelf::{Manifest, Shelf};
use serde_json::json;

/// Says yes or no, and remembers what it was told.
#[derive(Default)]
struct Person {
    refuses: bool,
    n_asked: AtomicUsize,
    n_bytes: AtomicI64,
    events: Mutex<Vec<Event>>,
}

impl Asker for Person {
    fn tell(&self, event: Event) {
        match event {
            Event::Bytes { n, .. } => drop(self.n_bytes.fetch_add(n, Ordering::SeqCst)),
            event => self.events.lock().unwrap().push(event),
        }
    }

    fn accepts(&self, _: &Agreement) -> Result<(), String> {
        self.n_asked.fetch_add(1, Ordering::SeqCst);
        if self.refuses { Err("not accepted".into()) } else { Ok(()) }
    }
}

const LICENCE: &str =
    "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release Date: September 25, 2024\n";

fn repository() -> Files {
    let text = |text: &str| Arc::new(text.as_bytes().to_vec());
    Files::from([
        ("LICENSE.txt".to_owned(), text(LICENCE)),
        ("config.json".to_owned(), text("{\"model_type\": \"llama\"}")),
        ("model-00001-of-00002.safetensors".to_owned(), noise(9_000_001, 1)),
        ("model-00002-of-00002.safetensors".to_owned(), noise(700_000, 2)),
        ("model.safetensors.index.json".to_owned(), text("{}")),
        ("original/consolidated.00.pth".to_owned(), noise(20_000, 3)),
        ("tokenizer.json".to_owned(), noise(30_000, 4)),
        ("empty/README.md".to_owned(), text("")),
    ])
}

fn quantised() -> Files {
    Files::from([
        ("m-Q4_K_M.gguf".to_owned(), noise(500_000, 5)),
        ("m-Q8_0-00001-of-00002.gguf".to_owned(), noise(50_000, 6)),
        ("m-Q8_0-00002-of-00002.gguf".to_owned(), noise(60_000, 7)),
    ])
}

fn hub() -> Server {
    let mut state = State { page: 3, ..State::default() };
    state.repositories.insert("o/llama".into(), repository());
    state.repositories.insert("o/q-GGUF".into(), quantised());
    Server::start(state)
}

fn places(server: &Server) -> Places {
    Places {
        is_offline: false,
        hub: server.url(),
        hub_token: None,
        ollama: server.url(),
        stores: Vec::new(),
        n_tries: 3,
        max_bytes: None,
    }
}

fn run_as(root: &Path, places: &Places, name: &str, person: &Arc<Person>) -> Result<Pulled, PullError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let name = ModelName::parse(name).unwrap();
    runtime.block_on(pull(&Shelf::new(root), places, &name, person.clone()))
}

fn run(root: &Path, places: &Places, name: &str) -> Result<Pulled, PullError> {
    run_as(root, places, name, &Arc::default())
}

/// All files below, but for those of ours.
fn files(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => all.push(entry.path().strip_prefix(folder).unwrap().to_string_lossy().into_owned()),
            }
        }
    }
    all.sort();
    all
}

fn is_right(path: &Path, wanted: &Files) {
    let manifest = Manifest::read(path).unwrap();
    assert!(!manifest.files.is_empty());
    for (name, entry) in &manifest.files {
        let bytes = std::fs::read(path.join(name)).unwrap();
        assert!(bytes == *wanted[name].as_slice(), "{name}");
        assert_eq!(entry.sha256, sha256(&bytes));
    }
}

#[test]
fn what_a_model_is_comes_and_no_more() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    let person = Arc::new(Person::default());
    let pulled = run_as(dir.path(), &places(&server), "o/llama", &person).unwrap();
    let want = [
        "LICENSE.txt",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ];
    let found: Vec<String> = files(&pulled.path).into_iter().filter(|name| name != ".puna.json").collect();
    assert_eq!(found, want);
    is_right(&pulled.path, &repository());
    assert!(pulled.path.ends_with(format!("hub/models--o--llama/snapshots/{}", commit("o/llama"))));
    let reference = dir.path().join("hub/models--o--llama/refs/main");
    assert_eq!(std::fs::read_to_string(reference).unwrap(), commit("o/llama"));
    let total: usize = want.iter().map(|name| repository()[*name].len()).sum();
    assert_eq!(person.n_bytes.load(Ordering::SeqCst), total as i64);
    // Again: nothing comes, and nobody is asked.
    server.fail(None);
    let again = run_as(dir.path(), &places(&server), "o/llama", &person).unwrap();
    assert!(again.was_here && again.path == pulled.path);
    assert_eq!(
        (server.state.n_answers.load(Ordering::SeqCst), person.n_asked.load(Ordering::SeqCst)),
        (0, 1)
    );
    // The shelf knows it, finds a byte that turned, and takes it away.
    let shelf = Shelf::new(dir.path());
    let [model] = &shelf.models()[..] else { panic!() };
    assert_eq!(model.name, "o/llama");
    assert_eq!(shelf.verify(model, |_| ()), Ok(vec![]));
    let path = pulled.path.join("tokenizer.json");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let faults = shelf.verify(model, |_| ()).unwrap();
    assert!(faults.len() == 1 && faults[0].path == path, "{faults:?}");
    assert!(shelf.remove("o/other").unwrap() == 0 && shelf.remove("O/Llama").unwrap() > 9_000_000);
    assert!(shelf.models().is_empty() && files(&dir.path().join("hub")).is_empty());
}

#[test]
fn one_quantisation_comes_and_another_beside_it() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    let person = Arc::new(Person::default());
    let pulled = run_as(dir.path(), &places(&server), "o/q-GGUF", &person).unwrap();
    assert!(pulled.path.ends_with("m-Q4_K_M.gguf") && pulled.path.is_file());
    let found = person.events.lock().unwrap().iter().find_map(|event| match event {
        Event::Found { pick, .. } => pick.clone(),
        _ => None,
    });
    assert_eq!(found.as_deref(), Some("Q4_K_M"));
    let other = run(dir.path(), &places(&server), "o/q-GGUF:q8_0").unwrap();
    assert!(other.path.ends_with("m-Q8_0-00001-of-00002.gguf") && pulled.path.exists());
    is_right(other.path.parent().unwrap(), &quantised());
    let shelf = Shelf::new(dir.path());
    assert_eq!(shelf.remove("o/q-GGUF:Q8_0").unwrap(), 110_000);
    assert!(pulled.path.exists() && !other.path.exists());
    assert!(
        run(dir.path(), &places(&server), "o/q-GGUF:Q2_K")
            .unwrap_err()
            .message
            .contains("it has Q4_K_M, Q8_0")
    );
    assert!(shelf.remove("o/q-GGUF:Q4_K_M").unwrap() >= 500_000);
    assert!(shelf.models().is_empty());
}

#[test]
fn networks_fail_and_nothing_wrong_is_installed() {
    let elsewhere = hub();
    for (fault, comes) in [
        (Fault::CutAfter(1_500_000), true),
        (Fault::EachIs(3, 503), true),
        (Fault::EachIs(2, 429), true),
        (Fault::NoRanges, true),
        (Fault::WrongBytes(1), true),
        (Fault::WrongBytes(usize::MAX), false),
        (Fault::LongerThanSaid, true),
        (Fault::EachIs(1, 500), false),
        (Fault::EachIs(1, 403), false),
        (Fault::Elsewhere(elsewhere.address), true),
    ] {
        let (server, dir) = (hub(), tempfile::tempdir().unwrap());
        server.fail(Some(fault.clone()));
        let result = run(dir.path(), &places(&server), "o/llama");
        match (comes, &result) {
            (true, Ok(pulled)) => is_right(&pulled.path, &repository()),
            (false, Err(error)) => {
                assert!(error.message.contains("cannot fetch `"), "{fault:?}: {error}");
                assert!(files(&dir.path().join("hub")).is_empty(), "{fault:?}");
                // And then all is well again.
                server.fail(None);
                is_right(&run(dir.path(), &places(&server), "o/llama").unwrap().path, &repository());
            }
            _ => panic!("{fault:?}: {result:?}"),
        }
    }
}

#[test]
fn what_came_is_not_fetched_again() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    server.fail(Some(Fault::Slow(50_000, Duration::from_millis(60))));
    let total: usize = repository().values().map(|bytes| bytes.len()).sum();
    let name = ModelName::parse("o/llama").unwrap();
    let mut n_before = 0;
    for _ in 0..3 {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let person = Arc::new(Person::default());
        let (shelf, places) = (Shelf::new(dir.path()), places(&server));
        let ended = runtime.block_on(async {
            tokio::select! {
                result = pull(&shelf, &places, &name, person.clone()) => Some(result),
                // Longer than what comes is written down after.
                () = tokio::time::sleep(Duration::from_millis(900)) => None,
            }
        });
        assert!(ended.is_none(), "{ended:?}");
        runtime.shutdown_timeout(Duration::from_secs(1));
        let n_there = person.n_bytes.load(Ordering::SeqCst);
        assert!(n_there > n_before, "{n_there} after {n_before}");
        n_before = n_there - 1_000_000; // What came after it was written down last.
    }
    server.fail(None);
    let pulled = run(dir.path(), &places(&server), "o/llama").unwrap();
    is_right(&pulled.path, &repository());
    let n_bytes = server.state.n_bytes.load(Ordering::SeqCst);
    assert!(n_bytes < total - 700_000, "{n_bytes} of {total} came at the last");
}

#[test]
fn a_token_goes_to_its_host_alone() {
    let elsewhere = hub();
    let mut state = State::default();
    state.repositories.insert("o/llama".into(), repository());
    state.gated.insert("o/llama".into(), "hf_secret".into());
    let server = Server::start(state);
    *server.state.elsewhere.lock().unwrap() = Some(elsewhere.address);
    let dir = tempfile::tempdir().unwrap();
    let error = run(dir.path(), &places(&server), "o/llama").unwrap_err();
    assert!(error.kind == PullErrorKind::NoAccess && !error.message.contains("hf_secret"), "{error}");
    let places = Places { hub_token: Some("hf_secret".into()), ..places(&server) };
    is_right(&run(dir.path(), &places, "o/llama").unwrap().path, &repository());
    assert!(!server.state.tokens.lock().unwrap().is_empty());
    assert!(
        elsewhere.state.tokens.lock().unwrap().is_empty()
            && elsewhere.state.n_answers.load(Ordering::SeqCst) > 0
    );
}

#[test]
fn a_licence_is_asked_for_once_and_before_weights() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    let person = Arc::new(Person { refuses: true, ..Person::default() });
    let error = run_as(dir.path(), &places(&server), "o/llama", &person).unwrap_err();
    assert!(error.kind == PullErrorKind::NoAccess && error.message.contains("not accepted"), "{error}");
    assert!(person.n_bytes.load(Ordering::SeqCst) < 1000 && files(&dir.path().join("hub")).is_empty());
    let person = Arc::new(Person::default());
    run_as(dir.path(), &places(&server), "o/llama", &person).unwrap();
    let accepted = Shelf::new(dir.path()).accepted();
    assert_eq!(
        (accepted[0]["model"].as_str(), accepted[0]["sha256"].as_str()),
        (Some("o/llama"), Some(&*sha256(LICENCE.as_bytes())))
    );
    assert!(accepted[0]["accepted_at"].as_u64() > Some(1_700_000_000));
    Shelf::new(dir.path()).remove("o/llama").unwrap();
    run_as(dir.path(), &places(&server), "o/llama", &person).unwrap();
    assert_eq!(person.n_asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_file_by_its_name_brings_its_licence_and_bill() {
    let mut state = State::default();
    let mut files = quantised();
    for name in ["LICENSE", "m-Q4_K_M.LICENSE"] {
        files.insert(name.into(), Arc::new(format!("{LICENCE}{name}").into_bytes()));
    }
    files.insert("m-Q4_K_M.cdx.json".into(), noise(300, 8));
    files.insert("m-Q8_0.cdx.json".into(), noise(300, 9));
    state.repositories.insert("o/q-GGUF".into(), files);
    let (server, dir) = (Server::start(state), tempfile::tempdir().unwrap());
    let person = Arc::new(Person { refuses: true, ..Person::default() });
    let name = "o/q-GGUF:m-Q4_K_M.gguf";
    let error = run_as(dir.path(), &places(&server), name, &person).unwrap_err();
    assert_eq!(error.kind, PullErrorKind::NoAccess, "{error}");
    let person = Arc::new(Person::default());
    let path = run_as(dir.path(), &places(&server), name, &person).unwrap().path;
    assert_eq!(person.n_asked.load(Ordering::SeqCst), 2);
    let found: Vec<String> = Manifest::read(path.parent().unwrap()).unwrap().files.into_keys().collect();
    assert_eq!(found, ["LICENSE", "m-Q4_K_M.LICENSE", "m-Q4_K_M.cdx.json", "m-Q4_K_M.gguf"]);
    // They go with it, and only they.
    run(dir.path(), &places(&server), "o/q-GGUF:Q8_0").unwrap();
    let shelf = Shelf::new(dir.path());
    let name = ModelName::parse("o/q-GGUF:Q4_K_M").unwrap();
    assert!(shelf.remove_exactly(&name, &path).unwrap() > 500_000);
    let left: Vec<String> = Manifest::read(path.parent().unwrap()).unwrap().files.into_keys().collect();
    let want = ["LICENSE", "m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "m-Q8_0.cdx.json"];
    assert_eq!(left, want);
}

#[test]
fn what_the_disk_cannot_hold_is_not_begun() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    server.fail(Some(Fault::Claims(1 << 60)));
    let error = run(dir.path(), &places(&server), "o/llama").unwrap_err();
    assert_eq!(error.kind, PullErrorKind::Disk, "{error}");
    assert!(error.to_string().contains("there is no room for") && error.to_string().contains("are free"));
    assert_eq!(server.state.n_bytes.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_not_there_is_said() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    let places = places(&server);
    for (name, kind, word) in [
        ("o/none", PullErrorKind::NotFound, "no such model"),
        ("o/llama@v9", PullErrorKind::NotFound, "no revision `v9`"),
        ("o/llama:Q4_0", PullErrorKind::Unusable, "none in the form GGUF"),
        ("ollama:none", PullErrorKind::NotFound, "no model `none` with the tag `latest`"),
        (&format!("{}/x.gguf", server.url()), PullErrorKind::NotFound, "404"),
    ] {
        let error = run(dir.path(), &places, name).unwrap_err();
        assert!(error.kind == kind && error.message.contains(word), "{name}: {error}");
    }
    let offline = Places { is_offline: true, ..places };
    assert_eq!(run(dir.path(), &offline, "o/llama").unwrap_err().kind, PullErrorKind::Offline);
    let nowhere = Places { hub: "http://127.0.0.1:9".into(), ..offline.clone() };
    let nowhere = Places { is_offline: false, ..nowhere };
    let error = run(dir.path(), &nowhere, "o/llama").unwrap_err();
    assert!(error.kind == PullErrorKind::Network && error.message.contains("no connection"), "{error}");
}

fn address_server() -> Server {
    let mut state = State::default();
    state.paths.insert("/dir/m.gguf".into(), noise(6_000_000, 9));
    Server::start(state)
}

#[test]
fn an_address_and_its_checksum() {
    let (server, dir) = (address_server(), tempfile::tempdir().unwrap());
    let (url, right) = (format!("{}/dir/m.gguf", server.url()), sha256(&noise(6_000_000, 9)));
    let pulled = run(dir.path(), &places(&server), &url).unwrap();
    assert_eq!(pulled.unchecked, [("m.gguf".to_owned(), right.clone())]);
    assert!(std::fs::read(&pulled.path).unwrap() == *noise(6_000_000, 9));
    let shelf = Shelf::new(dir.path());
    let [model] = &shelf.models()[..] else { panic!() };
    let way = pulled.path.strip_prefix(dir.path().join("files")).unwrap().to_str().unwrap();
    assert!([&url, way, "m"].into_iter().all(|name| model.is_called(name)) && !model.is_called("n/m.gguf"));
    let checked =
        run(tempfile::tempdir().unwrap().path(), &places(&server), &format!("{url}#sha256={right}")).unwrap();
    assert!(checked.unchecked.is_empty());
    let other = tempfile::tempdir().unwrap();
    let error = run(other.path(), &places(&server), &format!("{url}#sha256={}", "0".repeat(64))).unwrap_err();
    assert!(
        error.kind == PullErrorKind::Content && error.message.contains("nothing of it was kept"),
        "{error}"
    );
    assert!(files(&other.path().join("files")).is_empty());
    // It is replaced amid: the parts of two files never make one.
    server.fail(Some(Fault::ChangesAfter(2)));
    let changed = tempfile::tempdir().unwrap();
    let pulled = run(changed.path(), &places(&server), &url).unwrap();
    assert!(std::fs::read(&pulled.path).unwrap() == *noise(6_000_000, 9));
}

#[test]
fn metas_links_bring_what_their_checklist_names() {
    let mut state = State::default();
    let (weights, params) = (noise(300_000, 11), Arc::new(b"{}".to_vec()));
    let md5 = |bytes: &[u8]| common::hex(&md5::Md5::digest(bytes));
    let list = format!("{}  consolidated.00.pth\n{}  ./params.json\n", md5(&weights), md5(&params));
    state.paths.insert("/Llama3.2-1B/checklist.chk".into(), Arc::new(list.into_bytes()));
    state.paths.insert("/Llama3.2-1B/consolidated.00.pth".into(), weights.clone());
    state.paths.insert("/Llama3.2-1B/params.json".into(), params);
    let (server, dir) = (Server::start(state), tempfile::tempdir().unwrap());
    let link = format!("{}/*?Policy=x&Signature=y#Llama3.2-1B", server.url());
    let pulled = run(dir.path(), &places(&server), &link).unwrap();
    assert!(std::fs::read(pulled.path.join("consolidated.00.pth")).unwrap() == *weights);
    assert_eq!(files(&pulled.path).len(), 3);
    server.fail(Some(Fault::EachIs(1, 403)));
    let error = run(dir.path(), &places(&server), &link.replace("#Llama3.2-1B", "#Llama3.2-3B")).unwrap_err();
    assert!(error.message.contains("404") && error.message.contains("ask Meta"), "{error}");
}

fn registry() -> (Server, Arc<Vec<u8>>) {
    let mut state = State::default();
    let model = noise(5_000_000, 21);
    let (config, licence) = (br#"{"model_format":"gguf"}"#.to_vec(), LICENCE.as_bytes().to_vec());
    let layer = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()});
    let manifest = json!({"schemaVersion": 2,
        "config": layer("application/vnd.docker.container.image.v1+json", &config),
        "layers": [layer("application/vnd.ollama.image.model", &model), layer("application/vnd.ollama.image.license", &licence)]});
    let tensors = json!({"config": layer("application/vnd.docker.container.image.v1+json", &config),
        "layers": [layer("application/vnd.ollama.image.tensor", &model)]});
    for (path, value) in [("llama3.2/manifests/1b", manifest), ("new/manifests/latest", tensors)] {
        state.paths.insert(format!("/v2/library/{path}"), Arc::new(value.to_string().into_bytes()));
    }
    for name in ["llama3.2", "new"] {
        for bytes in [&*model, &config, &licence] {
            state.paths.insert(
                format!("/v2/library/{name}/blobs/sha256:{}", sha256(bytes)),
                Arc::new(bytes.clone()),
            );
        }
    }
    (Server::start(state), model)
}

#[test]
fn ollamas_registry() {
    let ((server, model), dir) = (registry(), tempfile::tempdir().unwrap());
    let person = Arc::new(Person::default());
    let pulled = run_as(dir.path(), &places(&server), "ollama:llama3.2:1b", &person).unwrap();
    assert!(std::fs::read(&pulled.path).unwrap() == *model);
    assert_eq!(person.n_asked.load(Ordering::SeqCst), 1);
    let manifest = dir.path().join("ollama/manifests/registry.ollama.ai/library/llama3.2/1b");
    assert!(
        std::fs::read(manifest).unwrap()
            == *server.state.paths["/v2/library/llama3.2/manifests/1b"].as_slice()
    );
    assert!(run(dir.path(), &places(&server), "ollama:llama3.2:1b").unwrap().was_here);
    let error = run(dir.path(), &places(&server), "ollama:new").unwrap_err();
    assert!(error.kind == PullErrorKind::Unusable && error.message.contains("tensor by tensor"), "{error}");
    let shelf = Shelf::new(dir.path());
    let [found] = &shelf.models()[..] else { panic!() };
    assert_eq!((found.name.as_str(), shelf.verify(found, |_| ())), ("ollama:llama3.2:1b", Ok(vec![])));
    assert!(shelf.remove("llama3.2:1b").unwrap() > 5_000_000);
    assert!(files(&dir.path().join("ollama")).is_empty());
}

#[test]
fn what_nobody_needs_goes() {
    let (server, dir) = (hub(), tempfile::tempdir().unwrap());
    let pulled = run(dir.path(), &places(&server), "o/llama").unwrap();
    let old = pulled.path.with_file_name("0".repeat(40));
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("model.safetensors"), [0; 1000]).unwrap();
    server.fail(Some(Fault::EachIs(1, 403)));
    run(dir.path(), &places(&server), "o/q-GGUF").unwrap_err();
    assert!(Shelf::new(dir.path()).gc().unwrap() >= 1000);
    assert!(!old.exists() && pulled.path.exists());
    assert!(files(&dir.path().join(".pulling")).iter().all(|name| name.ends_with(".lock")));
}

use md5::Digest as _;

#[test]
fn a_quantisation_that_no_newer_version_has_stays() {
    let (root, server) = (tempfile::tempdir().unwrap(), hub());
    let pulled = run(root.path(), &places(&server), "o/q-GGUF:Q4_K_M").unwrap();
    let (shelf, old) = (Shelf::new(root.path()), pulled.path.parent().unwrap());
    let repository = root.path().join("hub/models--o--q-GGUF");
    let new = repository.join("snapshots").join("b".repeat(40));
    std::fs::create_dir(&new).unwrap();
    std::fs::write(repository.join("refs/main"), "b".repeat(40)).unwrap();
    let note = |file: &str| {
        let files = serde_json::json!({file: {"n_bytes": 1, "sha256": "00"}});
        let text = serde_json::json!({"name": "o/q-GGUF", "source": "", "pulled_at": 0, "files": files});
        std::fs::write(new.join(".puna.json"), text.to_string()).unwrap();
    };
    note("m-Q8_0.gguf");
    shelf.gc().unwrap();
    assert!(old.exists());
    note("m-Q4_K_M.gguf");
    shelf.gc().unwrap();
    assert!(!old.exists() && new.exists());
    // With the last file goes its version, and no other.
    let pulled = run(root.path(), &places(&server), "o/q-GGUF:Q4_K_M").unwrap();
    shelf.remove_exactly(&ModelName::parse("o/q-GGUF:Q4_K_M").unwrap(), &pulled.path).unwrap();
    assert!(!pulled.path.exists() && new.exists());
}
