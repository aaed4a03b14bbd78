//! Models that clients pull: fetched with progress, asked, copied, removed, and there again after a restart.

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod elsewhere;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Running, builtin, request};
use elsewhere::{Fault, Files, Server, State, sha256};
use puna_serve::{PullOptions, ServeOptions};
use puna_store::name::ModelName;
use puna_store::pull::{Agreement, Asker, Event, Places};
use puna_store::shelf::Shelf;
use serde_json::{Value, json};

const LICENCE: &[u8] =
    b"LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release Date: September 25, 2024\n";
const MODEL: &[u8] = include_bytes!("../../puna/assets/stories.gguf");

/// A hub with `o/stories-GGUF`, and a registry with `stories:1b` and a gated-by-licence `llama:1b`.
fn place() -> Server {
    let model = Arc::new(MODEL.to_vec());
    let mut state = State::default();
    let files = Files::from([("stories-Q4_K_M.gguf".to_owned(), model.clone())]);
    state.repositories.insert("o/stories-GGUF".into(), files.clone());
    let two = Files::from([
        ("stories-Q8_0.gguf".to_owned(), model.clone()),
        ("tales-Q4_K_M.gguf".to_owned(), model.clone()),
    ]);
    state.repositories.insert("o/two-GGUF".into(), files.into_iter().chain(two).collect());
    let texts = [
        ("image.model", model),
        ("image.params", Arc::new(br#"{"temperature": 0, "num_predict": 3}"#.to_vec())),
        ("image.system", Arc::new(b"Tell stories.".to_vec())),
        ("image.license", Arc::new(LICENCE.to_vec())),
    ];
    let nonsense = [("image.model", Arc::new(b"no model".to_vec()))];
    for (name, kinds) in [
        ("stories", &texts[..3]),
        ("Stories", &texts[..3]),
        ("llama", &texts[..]),
        ("nonsense", &nonsense[..]),
    ] {
        let config = Arc::new(br#"{"model_format": "gguf"}"#.to_vec());
        let layer = |kind: &str, bytes: &[u8]| {
            json!({"mediaType": format!("application/vnd.ollama.{kind}"), "size": bytes.len(),
                "digest": format!("sha256:{}", sha256(bytes))})
        };
        let layers: Vec<Value> = kinds.iter().map(|(kind, bytes)| layer(kind, bytes)).collect();
        let manifest = json!({"schemaVersion": 2, "config": layer("config", &config), "layers": layers});
        let base = format!("/v2/library/{name}");
        state.paths.insert(format!("{base}/manifests/1b"), Arc::new(manifest.to_string().into_bytes()));
        for bytes in kinds.iter().map(|(_, bytes)| bytes).chain([&config]) {
            state.paths.insert(format!("{base}/blobs/sha256:{}", sha256(bytes)), bytes.clone());
        }
    }
    Server::start(state)
}

fn pulls(folder: &Path, from: &Server) -> PullOptions {
    let places = Places {
        is_offline: false,
        hub: from.url(),
        hub_token: None,
        ollama: from.url(),
        stores: Vec::new(),
        n_tries: 2,
        max_bytes: None,
    };
    PullOptions { shelf: Shelf::new(folder), places, accepts_licences: false }
}

fn allowing(pulls: PullOptions) -> Running {
    Running::with(builtin(), ServeOptions { pulls: Some(pulls), ..ServeOptions::default() })
}

/// The lines of a pull.
fn pull(server: &Running, name: &str) -> Vec<Value> {
    server.post("/api/pull", &json!({"model": name})).lines()
}

/// What a pull without lines is refused with.
fn refused(server: &Running, name: &str) -> (u16, String) {
    let answer = server.post("/api/pull", &json!({"model": name, "stream": false}));
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

fn names(server: &Running) -> Vec<String> {
    let models = server.get("/api/tags").ok()["models"].clone();
    models.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

fn delete(server: &Running, name: &str) -> u16 {
    server.send("DELETE", "/api/delete", &[], json!({"model": name}).to_string().as_bytes()).status
}

fn n_tokens(server: &Running, model: &str) -> u64 {
    let ask = json!({"model": model, "prompt": "Once", "stream": false});
    server.post("/api/generate", &ask).ok()["eval_count"].as_u64().unwrap()
}

fn blobs(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("ollama/blobs")).map_or(0, |entries| entries.count())
}

#[test]
fn a_model_of_the_registry_is_pulled_and_answers() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let server = allowing(pulls(folder.path(), &elsewhere));
    assert!(!names(&server).contains(&"stories:1b".to_owned()));
    let lines = pull(&server, "stories:1b");
    assert_eq!(lines[0], json!({"status": "pulling manifest"}));
    assert_eq!(lines.last().unwrap(), &json!({"status": "success"}));
    // Clients make a bar of each digest.
    let digest = format!("sha256:{}", sha256(MODEL));
    let whole = json!({"status": format!("pulling {}", &digest[7..19]), "digest": digest,
        "total": MODEL.len(), "completed": MODEL.len()});
    assert!(lines.contains(&whole), "{lines:#?}");
    for line in &lines {
        assert!(line["completed"].as_u64() <= line["total"].as_u64(), "{line}");
    }
    assert!(names(&server).contains(&"stories:1b".to_owned()));
    // As the registry says.
    assert_eq!(n_tokens(&server, "stories:1b"), 3);
    let shown = server.post("/api/show", &json!({"model": "stories:1b"})).ok();
    assert!(shown["modelfile"].as_str().unwrap().contains("Tell stories."), "{shown}");
    drop(server);
    let server = allowing(pulls(folder.path(), &elsewhere));
    assert_eq!(n_tokens(&server, "stories:1b"), 3);
    assert!(blobs(folder.path()) > 0);
    assert_eq!(delete(&server, "stories:1b"), 200);
    assert_eq!((delete(&server, "stories:1b"), blobs(folder.path())), (404, 0));
    assert!(!names(&server).contains(&"stories:1b".to_owned()));
}

/// The same beside OpenAI's list of models, in its words.
#[test]
fn models_are_managed_beside_their_list() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let server = allowing(pulls(folder.path(), &elsewhere));
    let answer = server.post("/v1/models:pull", &json!({"model": "stories:1b"}));
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    let events = answer.events();
    assert_eq!(events[0], json!({"status": "pulling manifest"}));
    assert_eq!(events.last().unwrap(), &json!({"status": "success"}));
    let digest = format!("sha256:{}", sha256(MODEL));
    assert!(
        events.iter().any(|event| event["digest"] == digest && event["total"] == MODEL.len()),
        "{events:?}"
    );
    let again = json!({"model": "stories:1b", "stream": false});
    assert_eq!(server.post("/v1/models:pull", &again).ok(), json!({"status": "success"}));
    let copy = json!({"source": "stories:1b", "destination": "tales"});
    let told = server.post("/v1/models:copy", &copy).ok();
    assert_eq!((&told["object"], &told["id"]), (&"model".into(), &"tales".into()));
    assert_eq!(server.post("/v1/models:copy", &copy).json()["error"]["param"], "destination");
    let gone = server.send("DELETE", "/v1/models/tales", &[], b"").ok();
    assert_eq!(gone, json!({"id": "tales", "object": "model", "deleted": true}));
    assert_eq!(server.send("DELETE", "/v1/models/stories%3A1b", &[], b"").status, 200);
    assert_eq!(server.get("/v1/models").ok()["data"].as_array().unwrap().len(), 1);
    // What the server was started with stays, and what is not there is not found.
    let given = server.get("/v1/models").ok()["data"][0]["id"].as_str().unwrap().to_owned();
    for (name, status) in [(&*given, 400), ("stories:1b", 404)] {
        let answer = server.send("DELETE", &format!("/v1/models/{name}"), &[], b"");
        assert!(answer.status == status && answer.json()["error"]["message"].is_string(), "{}", answer.text);
    }
    let events = server.post("/v1/models:pull", &json!({"model": "nothing:1b"})).events();
    assert!(events.last().unwrap()["error"]["message"].as_str().unwrap().contains("nothing"), "{events:?}");
}

#[test]
fn a_model_of_the_hub_goes_with_its_last_name() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let server = allowing(pulls(folder.path(), &elsewhere));
    let name = "hf.co/o/stories-GGUF";
    assert_eq!(pull(&server, name).last().unwrap()["status"], "success");
    let copy = json!({"source": name, "destination": "tales"});
    assert_eq!(server.post("/api/copy", &copy).status, 200);
    assert_eq!(server.post("/api/copy", &copy).status, 400);
    assert!(n_tokens(&server, name) > 0 && n_tokens(&server, "tales:latest") > 0);
    let kept = folder.path().join("hub/models--o--stories-GGUF");
    assert_eq!(delete(&server, name), 200);
    assert!(kept.exists() && n_tokens(&server, "tales") > 0);
    assert_eq!(delete(&server, "tales"), 200);
    assert!(!kept.exists());
}

#[test]
fn a_model_is_created_from_one_that_was_pulled() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let options = ServeOptions {
        pulls: Some(pulls(folder.path(), &elsewhere)),
        models_dir: Some(folder.path().join("created")),
        ..ServeOptions::default()
    };
    let create =
        json!({"model": "two", "from": "stories:1b", "parameters": {"num_predict": 2}, "stream": false});
    {
        let server = Running::with(builtin(), options.clone());
        pull(&server, "stories:1b");
        server.post("/api/create", &create).ok();
        let again = json!({"model": "stories:1b", "from": "two", "stream": false});
        assert_eq!(server.post("/api/create", &again).status, 400);
        assert_eq!(refused(&server, "two"), (200, String::new()));
    }
    let server = Running::with(builtin(), options);
    assert_eq!((n_tokens(&server, "two"), n_tokens(&server, "stories:1b")), (2, 3));
    assert_eq!((delete(&server, "two"), delete(&server, "stories:1b")), (200, 200));
}

/// Pulls as people do, without a server.
fn pull_oneself(options: &PullOptions, name: &str) {
    struct Silent;
    impl Asker for Silent {
        fn tell(&self, _: Event) {}
        fn accepts(&self, _: &Agreement) -> Result<(), String> {
            Ok(())
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let name = ModelName::parse(name).unwrap();
    let pulled =
        runtime.block_on(puna_store::pull::pull(&options.shelf, &options.places, &name, Arc::new(Silent)));
    options.shelf.claim(&name, &pulled.unwrap().path).unwrap();
}

/// The models on a shelf that are whole.
fn whole(shelf: &Shelf) -> Vec<String> {
    let models = shelf.models().into_iter();
    let whole = models.filter(|model| shelf.verify(model, |_| ()).is_ok_and(|faults| faults.is_empty()));
    whole.map(|model| model.name).collect()
}

#[test]
fn what_people_pulled_is_theirs() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let options = pulls(folder.path(), &elsewhere);
    let server = allowing(options.clone());
    let file = |name: &str| {
        let snapshots = folder.path().join("hub/models--o--two-GGUF/snapshots");
        std::fs::read_dir(snapshots).unwrap().any(|commit| commit.unwrap().path().join(name).exists())
    };
    // Another quantisation of the same repository.
    pull_oneself(&options, "o/two-GGUF:tales-Q4_K_M.gguf");
    pull(&server, "hf.co/o/two-GGUF:stories-Q4_K_M.gguf");
    assert_eq!(delete(&server, "hf.co/o/two-GGUF:stories-Q4_K_M.gguf"), 200);
    assert!(file("tales-Q4_K_M.gguf") && !file("stories-Q4_K_M.gguf"));
    options.shelf.remove("o/two-GGUF:tales-Q4_K_M.gguf").unwrap();
    pull_oneself(&options, "o/two-GGUF:stories-Q4_K_M.gguf");
    pull(&server, "hf.co/o/two-GGUF:Q8_0");
    assert!(file("stories-Q8_0.gguf") && file("stories-Q4_K_M.gguf"));
    assert_eq!(delete(&server, "hf.co/o/two-GGUF:Q8_0"), 200);
    assert!(!file("stories-Q8_0.gguf") && file("stories-Q4_K_M.gguf"));
    // Another model, but for its letters.
    if !folder.path().join("HUB").exists() {
        pull_oneself(&options, "ollama:Stories:1b");
        pull(&server, "stories:1b");
        assert_eq!(delete(&server, "stories:1b"), 200);
        assert_eq!(whole(&options.shelf), ["o/two-GGUF", "ollama:Stories:1b"]);
    }
    // One that a client pulled before, and one of which something was lost.
    pull(&server, "stories:1b");
    pull_oneself(&options, "ollama:stories:1b");
    let system = folder.path().join("ollama/blobs").join(format!("sha256-{}", sha256(b"Tell stories.")));
    std::fs::remove_file(system).unwrap();
    pull(&server, "stories:1b");
    assert_eq!(delete(&server, "stories:1b"), 200);
    assert!(whole(&options.shelf).contains(&"ollama:stories:1b".to_owned()));
}

#[test]
fn what_others_are_made_from_stays() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let options = ServeOptions {
        pulls: Some(pulls(folder.path(), &elsewhere)),
        models_dir: Some(folder.path().join("created")),
        ..ServeOptions::default()
    };
    let server = Running::with(builtin(), options);
    pull(&server, "stories:1b");
    server.post("/api/create", &json!({"model": "two", "from": "stories:1b", "stream": false})).ok();
    assert_eq!(delete(&server, "stories:1b"), 400);
    assert!(n_tokens(&server, "two") > 0);
    assert_eq!((delete(&server, "two"), delete(&server, "stories:1b"), blobs(folder.path())), (200, 200, 0));
}

#[test]
fn what_cannot_be_served_does_not_stay() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let options = pulls(folder.path(), &elsewhere);
    {
        let server = allowing(options.clone());
        assert_eq!(refused(&server, "nonsense:1b").0, 400);
        assert_eq!((blobs(folder.path()), whole(&options.shelf).len()), (0, 0));
        pull(&server, "stories:1b");
    }
    // What people remove, clients can forget.
    options.shelf.remove("ollama:stories:1b").unwrap();
    let server = allowing(options);
    assert!(!names(&server).contains(&"stories:1b".to_owned()));
    assert_eq!((delete(&server, "stories:1b"), delete(&server, "stories:1b")), (200, 404));
}

#[test]
fn clients_that_leave_take_no_places() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let mut options = pulls(folder.path(), &elsewhere);
    // A model, and nearly another one: what came before counts once.
    options.places.max_bytes = Some(MODEL.len() as u64 + 1_000_000);
    let server = allowing(options);
    elsewhere.fail(Some(Fault::Slow(16 << 10, Duration::from_millis(100))));
    let names = [
        "stories:1b",
        "Stories:1b",
        "hf.co/o/stories-GGUF",
        "hf.co/o/two-GGUF:Q8_0",
        "hf.co/o/two-GGUF:Q4_K_M",
    ];
    for name in names {
        let body = json!({"model": name}).to_string();
        let mut stream = server.connect();
        stream.write_all(&request("POST", "/api/pull", &[], body.as_bytes())).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let begun = lines.any(|line| line.unwrap().contains("\"completed\":"));
        assert!(begun, "{name}");
        std::thread::sleep(Duration::from_millis(300));
    }
    elsewhere.fail(None);
    let end = Instant::now() + Duration::from_secs(30);
    while refused(&server, "stories:1b").0 != 200 {
        assert!(Instant::now() < end, "{:?}", refused(&server, "stories:1b"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(n_tokens(&server, "stories:1b") > 0);
}

#[test]
fn what_was_here_before_stays() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let options = pulls(folder.path(), &elsewhere);
    {
        let server = allowing(options.clone());
        pull(&server, "stories:1b");
    }
    // As if somebody had pulled it without a server.
    std::fs::remove_dir_all(folder.path().join("served")).unwrap();
    let server = allowing(options);
    assert!(!names(&server).contains(&"stories:1b".to_owned()));
    assert_eq!(pull(&server, "stories:1b").last().unwrap()["status"], "success");
    assert_eq!(delete(&server, "stories:1b"), 200);
    assert!(blobs(folder.path()) > 0);
}

#[test]
fn licences_are_accepted_by_whoever_runs_the_server() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let options = pulls(folder.path(), &elsewhere);
    {
        let server = allowing(options.clone());
        let error = pull(&server, "llama:1b").last().unwrap()["error"].clone();
        assert!(error.as_str().unwrap().contains("Llama 3.2"), "{error}");
        assert_eq!(refused(&server, "llama:1b").0, 403);
        assert!(!names(&server).contains(&"llama:1b".to_owned()));
        assert!(elsewhere.state.n_bytes.load(Ordering::SeqCst) < MODEL.len() / 2);
    }
    let server = allowing(PullOptions { accepts_licences: true, ..options });
    assert_eq!(pull(&server, "llama:1b").last().unwrap()["status"], "success");
    assert_eq!(Shelf::new(folder.path()).accepted()[0]["licence"], "Llama 3.2 Community License");
}

#[test]
fn nothing_else_is_asked_for_a_client() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let mut options = pulls(folder.path(), &elsewhere);
    let server = allowing(options.clone());
    let own = names(&server)[0].clone();
    assert_eq!(pull(&server, &own), [json!({"status": "success"})]);
    for (name, status) in [
        ("nothing:1b", 404),
        ("hf.co/o/nothing", 404),
        ("localhost:80/o/x", 400),
        ("http://127.0.0.1/x.gguf", 400),
        ("s3://bucket/x", 400),
        ("../x", 400),
    ] {
        let (found, error) = refused(&server, name);
        assert_eq!(found, status, "{name}: {error}");
    }
    let insecure = server.post("/api/pull", &json!({"model": "stories:1b", "insecure": true}));
    assert_eq!(insecure.status, 400);
    options.places.max_bytes = Some(1000);
    let small = allowing(options);
    assert_eq!(refused(&small, "stories:1b").0, 413);
    let none = Running::with(
        builtin(),
        ServeOptions { models_dir: Some(folder.path().join("models")), ..ServeOptions::default() },
    );
    let (status, error) = refused(&none, "stories:1b");
    assert!(status == 404 && error.contains("--allow-pull"), "{status} {error}");
}

#[test]
fn a_pull_ends_with_its_client_and_goes_on_with_the_next() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), place());
    let server = allowing(pulls(folder.path(), &elsewhere));
    elsewhere.fail(Some(Fault::Slow(64 << 10, Duration::from_millis(50))));
    let body = json!({"model": "stories:1b"}).to_string();
    let headers = [("content-type", "application/json")];
    let mut stream = server.connect();
    stream.write_all(&request("POST", "/api/pull", &headers, body.as_bytes())).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let begun = lines.any(|line| line.unwrap().contains("\"completed\":"));
    assert!(begun);
    // Others are answered meanwhile, and another pull of the same waits for nobody.
    let start = Instant::now();
    server.get("/api/version").ok();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(refused(&server, "stories:1b").0, 503);
    drop((lines, stream));
    elsewhere.fail(None);
    // It ends soon.
    let end = Instant::now() + Duration::from_secs(30);
    while refused(&server, "stories:1b").0 == 503 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(n_tokens(&server, "stories:1b") > 0);
}
