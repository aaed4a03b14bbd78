//! Models that clients create: uploaded, copied, asked, removed, and there again after a restart.

mod common;

use std::path::Path;

use common::{Answer, Running, builtin, talker};
use puna_serve::{ServeOptions, ServedModel};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PROMPT: &str = "Once upon a time";

/// A server that keeps models in a folder, and was started with the built-in one.
fn keeping(folder: &Path) -> Running {
    Running::with(builtin(), options(folder))
}

fn options(folder: &Path) -> ServeOptions {
    ServeOptions { models_dir: Some(folder.to_owned()), ..ServeOptions::default() }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn upload(server: &Running, digest: &str, bytes: &[u8]) -> Answer {
    server.send("POST", &format!("/api/blobs/{digest}"), &[], bytes)
}

fn create(server: &Running, body: &Value) -> Answer {
    let mut body = body.clone();
    body["stream"] = false.into();
    server.post("/api/create", &body)
}

fn delete(server: &Running, name: &str) -> Answer {
    server.send("DELETE", "/api/delete", &[], json!({"model": name}).to_string().as_bytes())
}

fn names(server: &Running) -> Vec<String> {
    let models = server.get("/api/tags").ok()["models"].clone();
    models.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

/// What lies in a folder's parts, by their names.
fn lying(folder: &Path, part: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(part)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text_of(server: &Running, model: &str) -> String {
    let ask = json!({"model": model, "prompt": PROMPT, "temperature": 0, "max_tokens": 12});
    server.post("/v1/completions", &ask).ok()["choices"][0]["text"].as_str().unwrap().to_owned()
}

/// A file of a model that talks, and its digest.
fn file() -> (Vec<u8>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = talker(folder.path()).remove(0).path.unwrap();
    let bytes = std::fs::read(path).unwrap();
    let digest = digest(&bytes);
    (bytes, digest)
}

#[test]
fn a_server_without_a_folder_names_the_option() {
    let server = Running::start();
    let some = digest(b"a");
    let answers = [
        create(&server, &json!({"model": "n", "from": "m"})),
        server.post("/api/copy", &json!({"source": "m", "destination": "n"})),
        delete(&server, "m"),
        upload(&server, &some, b"a"),
    ];
    for answer in answers {
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(answer.status == 400 && error.contains("--models-dir"), "{}", answer.text);
    }
    assert_eq!(server.send("HEAD", &format!("/api/blobs/{some}"), &[], b"").status, 400);
}

#[test]
fn uploaded_files_are_a_model_that_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, digest) = file();
    let server = keeping(folder.path());
    let of_blob = |server: &Running| server.send("HEAD", &format!("/api/blobs/{digest}"), &[], b"").status;
    assert_eq!(of_blob(&server), 404);
    assert_eq!(upload(&server, &digest, &bytes).status, 201);
    assert_eq!((of_blob(&server), upload(&server, &digest, b"any").status), (200, 200));
    let lines =
        server.post("/api/create", &json!({"model": "talker:1", "files": {"a.gguf": digest}})).lines();
    let said: Vec<&str> = lines.iter().map(|line| line["status"].as_str().unwrap()).collect();
    let layer = format!("using existing layer {digest}");
    let want = ["reading model metadata", &layer, "creating model talker:1", "writing manifest", "success"];
    assert_eq!(said, want);

    let text = text_of(&server, "stories");
    assert_eq!(text_of(&server, "talker:1"), text);
    assert_eq!(names(&server), ["stories:latest", "talker:1"]);
    let listed = server.get("/v1/models").ok();
    assert_eq!(listed["data"][1]["id"], "talker:1");
    let tags = server.get("/api/tags").ok()["models"].clone();
    assert_eq!((&tags[1]["size"], tags[0]["digest"] == tags[1]["digest"]), (&json!(bytes.len()), false));
    let chat = json!({"model": "talker:1", "messages": [{"role": "user", "content": "Hi"}]});
    let prompt = server.post("/apply-template", &chat).ok()["prompt"].clone();
    assert!(prompt.as_str().unwrap().contains("user: Hi\nassistant:"), "{prompt}");
    // Names count: nothing else is answered for.
    let answer = server.post("/v1/completions", &json!({"model": "talkr", "prompt": "a"}));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("model_not_found")));

    let answer = server.post("/api/copy", &json!({"source": "talker:1", "destination": "u/copy"}));
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    drop(server);
    let server = keeping(folder.path());
    assert_eq!(names(&server), ["stories:latest", "talker:1", "u/copy:latest"]);
    let tags = server.get("/api/tags").ok()["models"].clone();
    assert_eq!(tags[1]["digest"], tags[2]["digest"]);
    assert_eq!(delete(&server, "talker:1").status, 200);
    assert_eq!(delete(&server, "talker:1").status, 404);
    assert_eq!((text_of(&server, "u/Copy"), lying(folder.path(), "blobs").len()), (text, 1));
    assert_eq!(delete(&server, "u/copy:latest").status, 200);
    assert_eq!(names(&server), ["stories:latest"]);
    for part in ["partial", "blobs", "files", "models"] {
        assert_eq!(lying(folder.path(), part), [""; 0], "{part}");
    }
    assert_eq!(server.post("/v1/completions", &json!({"model": "u/copy", "prompt": "a"})).status, 404);
}

/// Everything that a model has of its own holds in every API, as if the request had said it; what it does say wins.
#[test]
fn what_a_model_has_of_its_own_holds_in_every_api() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(
        vec![ServedModel { name: Some("base".into()), ..talker(folder.path()).remove(0) }],
        options(&folder.path().join("models")),
    );
    let own = json!({
        "model": "own", "from": "base", "system": "Be brief.", "license": ["L1", "L2"],
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}],
        "parameters": {"temperature": 0, "num_predict": 7, "num_ctx": 200},
    });
    assert_eq!(create(&server, &own).ok(), json!({"status": "success"}));
    let question = json!({"role": "user", "content": PROMPT});
    let whole =
        json!([{"role": "system", "content": "Be brief."}, own["messages"][0], own["messages"][1], question]);
    let with = |model: &str, messages: &Value, more: Value| {
        let mut body = json!({"model": model, "messages": messages, "stream": false});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (short, long) = (json!([question]), &whole);
    let same = |path: &str, at: &str, own: Value, said: Value| {
        let (own, said) = (server.post(path, &own).ok(), server.post(path, &said).ok());
        assert!(
            own.pointer(at).is_some_and(|text| text.as_str().is_some_and(|text| !text.is_empty())),
            "{own}"
        );
        assert_eq!(own.pointer(at), said.pointer(at), "{path}");
    };
    let limits = json!({"temperature": 0, "max_tokens": 7});
    same("/apply-template", "/prompt", with("own", &short, json!({})), with("base", long, json!({})));
    let at = "/choices/0/message/content";
    same("/v1/chat/completions", at, with("own", &short, json!({})), with("base", long, limits.clone()));
    same("/v1/messages", "/content/0/text", with("own", &short, json!({})), with("base", long, limits));
    let options = json!({"options": {"temperature": 0, "num_predict": 7}});
    same(
        "/api/chat",
        "/message/content",
        with("own", &short, json!({})),
        with("base", long, options.clone()),
    );
    let of_responses = json!({"model": "own", "input": PROMPT});
    let said = json!({"model": "base", "input": whole, "temperature": 0, "max_output_tokens": 7});
    same("/v1/responses", "/output/0/content/0/text", of_responses, said);
    let generated = json!({"model": "own", "prompt": PROMPT, "stream": false});
    let told = server.post("/api/generate", &generated).ok();
    assert_eq!(told["eval_count"], 7);
    assert_eq!(
        told["response"],
        server.post("/api/chat", &with("base", long, options)).ok()["message"]["content"]
    );
    let text = json!({"model": "own", "prompt": PROMPT});
    assert_eq!(server.post("/v1/completions", &text).ok()["usage"]["completion_tokens"], 7);
    let n = server.post("/v1/messages/count_tokens", &with("own", &short, json!({}))).ok();
    assert_eq!(n, server.post("/v1/messages/count_tokens", &with("base", long, json!({}))).ok());

    // What the request says wins.
    let theirs = json!([{"role": "system", "content": "Sing."}, question]);
    let prompt = server.post("/apply-template", &with("own", &theirs, json!({}))).ok()["prompt"].clone();
    let prompt = prompt.as_str().unwrap();
    assert!(prompt.contains("system: Sing.\nuser: Hi") && !prompt.contains("brief"), "{prompt}");
    let more = json!({"model": "own", "prompt": PROMPT, "max_tokens": 9});
    assert_eq!(server.post("/v1/completions", &more).ok()["usage"]["completion_tokens"], 9);
    let raw = json!({"model": "own", "prompt": PROMPT, "raw": true, "stream": false, "options": {"num_predict": -1}});
    assert!(server.post("/api/generate", &raw).ok()["eval_count"].as_u64().unwrap() > 7);
    // A context of its own.
    let long = "The dog ran to the park and saw a cat. ".repeat(30);
    let answer = server.post("/v1/completions", &json!({"model": "own", "prompt": long}));
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("context_length_exceeded")));
    assert!(answer.text.contains("maximum context length is 200 tokens"), "{}", answer.text);

    let shown = server.post("/api/show", &json!({"model": "own"})).ok();
    assert_eq!((&shown["system"], &shown["license"]), (&json!("Be brief."), &json!("L1\nL2")));
    assert_eq!((&shown["details"]["parent_model"], &shown["messages"]), (&json!("base"), &own["messages"]));
    let lines: Vec<&str> = shown["parameters"].as_str().unwrap().lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].starts_with("num_predict ") && lines[1].ends_with(" 7"), "{lines:?}");
    let modelfile = shown["modelfile"].as_str().unwrap();
    for line in
        ["FROM own:latest", "SYSTEM Be brief.", "PARAMETER num_ctx 200", "LICENSE L2", "MESSAGE assistant Ho"]
    {
        assert!(modelfile.lines().any(|own| own == line), "{line}: {modelfile}");
    }
    // A model of this one has what it has, unless it is said otherwise.
    let next = json!({"model": "next", "from": "own", "system": "Sing.", "parameters": {"num_predict": 2}});
    create(&server, &next).ok();
    let shown = server.post("/api/show", &json!({"model": "next"})).ok();
    assert_eq!((&shown["system"], &shown["messages"]), (&json!("Sing."), &own["messages"]));
    assert_eq!(
        server.post("/v1/completions", &json!({"model": "next", "prompt": "a"})).ok()["usage"]["completion_tokens"],
        2
    );
    assert_eq!(delete(&server, "own").status, 200);
    assert_eq!(
        server.post("/v1/completions", &json!({"model": "next", "prompt": "a"})).ok()["usage"]["completion_tokens"],
        2
    );
}

#[test]
fn a_wrong_upload_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(builtin(), ServeOptions { max_models_bytes: 1000, ..options(folder.path()) });
    let right = digest(b"abc");
    let answer = upload(&server, &right, b"abd");
    assert!(answer.status == 400 && answer.text.contains(&digest(b"abd")), "{}", answer.text);
    let large = vec![7; 1001];
    let answer = upload(&server, &digest(&large), &large);
    assert!(answer.status == 413 && answer.text.contains("--max-models-bytes"), "{}", answer.text);
    // The connection breaks off.
    let mut stream = server.connect();
    let request = common::request("POST", &format!("/api/blobs/{right}"), &[], &[0; 100]);
    std::io::Write::write_all(&mut stream, &request[..request.len() - 50]).unwrap();
    drop(stream);
    let digits = &right["sha256:".len()..];
    let bad = [
        format!("sha256:{}", &digits[1..]),
        format!("sha256:{}", digits.to_uppercase()),
        format!("md5:{digits}"),
        digits.to_owned(),
        format!("sha256:..%2f..%2f{}", &digits[10..]),
    ];
    for digest in bad {
        assert_eq!(upload(&server, &digest, b"abc").status, 400, "{digest}");
        let status = server.send("HEAD", &format!("/api/blobs/{digest}"), &[], b"").status;
        assert_eq!(status, 400, "{digest}");
    }
    for part in ["partial", "blobs"] {
        let is_empty = || lying(folder.path(), part).is_empty();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !is_empty() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(is_empty(), "{part}");
    }
    // What waits for its model gives way where there is no room.
    let files: Vec<Vec<u8>> = (0..3).map(|i| vec![i; 400]).collect();
    for file in &files {
        assert_eq!(upload(&server, &digest(file).replace(':', "-"), file).status, 201);
    }
    assert_eq!(lying(folder.path(), "blobs"), [digest(&files[2]).replace(':', "-")]);
}

#[test]
fn what_cannot_be_created_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::with(builtin(), ServeOptions { max_models: 1, ..options(folder.path()) });
    let (bytes, model) = file();
    upload(&server, &model, &bytes);
    let text = digest(b"no model");
    upload(&server, &text, b"no model");
    let llama3 = "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}<|eot_id|>{{ end }}{{ if \
        .Prompt }}<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>{{ end \
        }}<|start_header_id|>assistant<|end_header_id|>\n\n{{ .Response }}<|eot_id|>";
    let absent = digest(b"absent");
    let cases = [
        (json!({"from": "stories", "quantize": "q4_K_M"}), 400, "quantize"),
        (json!({"from": "stories", "adapters": {"a.gguf": model}}), 400, "adapters"),
        (json!({"from": "stories", "files": {"a.gguf": model}}), 400, "`from` and `files`"),
        (json!({"from": "stories", "template": "{{ .Prompt }}"}), 400, "template"),
        // Its vocabulary has none of these tokens.
        (json!({"from": "stories", "template": llama3}), 400, "Llama3"),
        (json!({"from": "stories", "parameters": {"mirostat": 2}}), 400, "mirostat"),
        (json!({"from": "stories", "parameters": {"tempreature": 2}}), 400, "tempreature"),
        (json!({"from": "../stories"}), 404, "not found"),
        (json!({"from": "/etc/passwd"}), 404, "not found"),
        (json!({"files": {"a.gguf": absent}}), 400, "/api/blobs/"),
        (json!({"files": {"../a.gguf": model}}), 400, "not a path"),
        (json!({"files": {"a.gguf": text}}), 400, "a.gguf"),
        (json!({"files": {"config.json": text, "model.safetensors": model}}), 400, "cannot be made"),
        (json!({"model": "../n", "from": "stories"}), 400, "model"),
        (json!({"model": "stories", "from": "stories"}), 400, "given when the server was started"),
    ];
    for (mut body, status, word) in cases {
        if body["model"].is_null() {
            body["model"] = "n".into();
        }
        let answer = create(&server, &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(word) && !error.contains(folder.path().to_str().unwrap()), "{body}: {error}");
    }
    // What is found out later is a line of the stream.
    let lines = server.post("/api/create", &json!({"model": "n", "files": {"a.gguf": text}})).lines();
    assert_eq!(lines[0]["status"], "reading model metadata");
    assert!(lines.last().unwrap()["error"].as_str().unwrap().contains("a.gguf"), "{lines:?}");
    assert_eq!((names(&server), lying(folder.path(), "files").len()), (vec!["stories:latest".to_owned()], 0));

    for destination in ["../n", "stories", ""] {
        let answer = server.post("/api/copy", &json!({"source": "stories", "destination": destination}));
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    assert_eq!(server.post("/api/copy", &json!({"source": "no", "destination": "n"})).status, 404);
    let answer = delete(&server, "stories");
    assert!(
        answer.status == 400 && answer.text.contains("given when the server was started"),
        "{}",
        answer.text
    );
    create(&server, &json!({"model": "n", "from": "stories"})).ok();
    create(&server, &json!({"model": "n", "from": "n", "system": "s"})).ok();
    let answer = create(&server, &json!({"model": "o", "from": "stories"}));
    assert!(answer.status == 413 && answer.text.contains("--max-models"), "{}", answer.text);
}

#[test]
fn a_model_is_not_made_of_another_one_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let named = |model: ServedModel| vec![ServedModel { name: Some("m".into()), ..model }];
    let server = Running::with(named(talker(folder.path()).remove(0)), options(&models));
    create(&server, &json!({"model": "n", "from": "m", "system": "s"})).ok();
    drop(server);
    let server = Running::with(named(builtin().remove(0)), options(&models));
    assert_eq!(names(&server), ["m:latest"]);
    drop(server);
    let server = Running::with(named(talker(folder.path()).remove(0)), options(&models));
    assert_eq!(names(&server), ["m:latest", "n:latest"]);
    // The user's own file stays.
    assert_eq!(delete(&server, "n").status, 200);
    assert!(folder.path().join("talker.gguf").exists());
}

#[test]
fn a_manifest_that_cannot_be_read_costs_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, digest) = file();
    let server = keeping(folder.path());
    upload(&server, &digest, &bytes);
    create(&server, &json!({"model": "n", "files": {"a.gguf": digest}})).ok();
    drop(server);
    let manifest = folder.path().join("models").join(&lying(folder.path(), "models")[0]);
    let text = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, b"{").unwrap();
    // There is no room for the upload but the blob's.
    let max_models_bytes = bytes.len() as u64;
    let server = Running::with(builtin(), ServeOptions { max_models_bytes, ..options(folder.path()) });
    assert_eq!(upload(&server, &self::digest(b"a"), b"a").status, 413);
    assert_eq!(names(&server), ["stories:latest"]);
    drop(server);
    std::fs::write(&manifest, text).unwrap();
    let server = keeping(folder.path());
    assert_eq!(names(&server), ["stories:latest", "n:latest"]);
    assert_eq!(text_of(&server, "n"), text_of(&server, "stories"));
}

#[test]
fn what_is_said_of_models_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let max_models_bytes = 1 << 20;
    let server = Running::with(builtin(), ServeOptions { max_models_bytes, ..options(folder.path()) });
    let long = "x".repeat(600 << 10);
    let base = json!({"model": "n", "from": "stories", "license": long});
    create(&server, &base).ok();
    // With what it has of the other one.
    let both = create(&server, &json!({"model": "o", "from": "n", "system": long}));
    let alone = create(&server, &json!({"model": "o", "from": "stories", "system": long, "license": long}));
    for answer in [both, alone] {
        assert!(answer.status == 413 && answer.text.contains("1048576 is the most"), "{}", answer.text);
        assert!(answer.text.contains("model o"), "{}", answer.text);
    }
    let copy = || server.post("/api/copy", &json!({"source": "n", "destination": "o"}));
    let answer = copy();
    assert!(answer.status == 413 && answer.text.contains("--max-models-bytes"), "{}", answer.text);
    create(&server, &json!({"model": "n", "from": "stories", "license": &long[..300 << 10]})).ok();
    assert_eq!(copy().status, 200);
    for name in ["n", "o"] {
        assert_eq!(delete(&server, name).status, 200);
    }
    create(&server, &base).ok();
}

#[test]
fn what_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, digest) = file();
    let server = keeping(folder.path());
    let body = json!({"model": "n", "files": {"a.gguf": digest}});
    upload(&server, &digest, &bytes);
    create(&server, &body).ok();
    // A folder in the manifest's place can neither be removed as a file nor be written over.
    let manifest = folder.path().join("models").join(&lying(folder.path(), "models")[0]);
    std::fs::remove_file(&manifest).unwrap();
    std::fs::create_dir(&manifest).unwrap();
    assert_eq!(delete(&server, "n").status, 500);
    assert_eq!(text_of(&server, "n"), text_of(&server, "stories"));
    std::fs::remove_dir(&manifest).unwrap();
    assert_eq!(delete(&server, "n").status, 200);

    upload(&server, &digest, &bytes);
    std::fs::create_dir(&manifest).unwrap();
    assert_eq!(create(&server, &body).status, 500);
    assert_eq!((names(&server), lying(folder.path(), "files").len()), (vec!["stories:latest".to_owned()], 0));
    std::fs::remove_dir(&manifest).unwrap();
    create(&server, &body).ok();
}

/// What guesses for the models of the start need not belong to a client's, or be there, and clients hear nothing of it.
#[test]
fn what_guesses_for_others_is_no_clients_business() {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, digest) = file();
    let draft = folder.path().join("guesses.gguf");
    std::fs::write(&draft, &bytes).unwrap();
    let models = folder.path().join("models");
    let server = Running::with(builtin(), ServeOptions { draft: Some(draft.clone()), ..options(&models) });
    std::fs::remove_file(draft).unwrap();
    upload(&server, &digest, &bytes);
    let answer = create(&server, &json!({"model": "n", "files": {"a.gguf": digest}}));
    assert!(answer.status == 200 && !answer.text.contains("guesses"), "{}", answer.text);
    assert_eq!(text_of(&server, "n"), text_of(&server, "stories"));
}

#[test]
fn a_key_is_needed_as_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let keys = vec!["secret".to_owned()];
    let server = Running::with(builtin(), ServeOptions { keys, ..options(folder.path()) });
    let blob = format!("/api/blobs/{}", digest(b"a"));
    for (method, path) in [
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", &blob),
        ("HEAD", &blob),
    ] {
        assert_eq!(server.send(method, path, &[], b"a").status, 401, "{method} {path}");
        let host = [("host", "evil.example"), ("authorization", "Bearer secret")];
        assert_eq!(server.send(method, path, &host, b"a").status, 403, "{method} {path}");
    }
    assert!(lying(folder.path(), "blobs").is_empty());
}

#[test]
fn a_modelfile_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = talker(folder.path()).remove(0).path.unwrap();
    let text =
        "FROM talker.gguf\nSYSTEM Be brief.\nPARAMETER num_predict 3\nMESSAGE user Hi\nREQUIRES 0.5.0\n";
    let at = folder.path().join("Modelfile");
    assert!(ServedModel::is_modelfile(&at) && !ServedModel::is_modelfile(&path));
    let of = |text: &str| ServedModel::of_modelfile(text, &at, builtin().remove(0).options);
    let model = of(text).unwrap();
    assert_eq!(model.path.as_deref(), Some(&*path));
    let server =
        Running::with(vec![ServedModel { name: Some("m".into()), ..model }], ServeOptions::default());
    let chat = json!({"messages": [{"role": "user", "content": "Ho"}]});
    let prompt = server.post("/apply-template", &chat).ok()["prompt"].clone();
    assert!(
        prompt.as_str().unwrap().ends_with("system: Be brief.\nuser: Hi\nuser: Ho\nassistant:"),
        "{prompt}"
    );
    assert_eq!(server.post("/v1/chat/completions", &chat).ok()["usage"]["completion_tokens"], 3);
    let shown = server.post("/api/show", &json!({"model": "m"})).ok();
    assert!(shown["modelfile"].as_str().unwrap().contains("REQUIRES 0.5.0"));
    for (line, word) in [
        ("ADAPTER a.gguf", "ADAPTER"),
        ("TEMPLATE {{ .Prompt }}", "template"),
        ("PARAMETER heat 3", "heat"),
        ("RUN x", "line 2"),
    ] {
        let error = of(&format!("FROM talker.gguf\n{line}\n")).unwrap_err();
        assert!(error.contains(word) && error.contains("Modelfile"), "{error}");
    }
}

/// What Ollama's own clients sent, to a server that keeps models.
#[test]
fn recorded_requests_are_answered() {
    let recordings = puna_conformance::recordings("recorded_requests_are_answered");
    if recordings.is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = keeping(folder.path());
    let mut n_answered = 0;
    for (file, recorded) in recordings {
        for request in recorded["requests"].as_array().unwrap() {
            let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
            if !["/api/create", "/api/copy", "/api/delete", "/api/blobs/"]
                .iter()
                .any(|own| path.starts_with(own))
            {
                continue;
            }
            create(&server, &json!({"model": "m", "from": "stories"})).ok();
            let body = request["body"].as_str().map_or_else(|| request["body"].to_string(), str::to_owned);
            let answer = server.send(method, path, &[], body.as_bytes());
            let what = format!("{file} {method} {path}: {} {}", answer.status, answer.text);
            match file.as_str() {
                "ollama-create-files" => assert!(answer.status == 400 && what.contains("quantize"), "{what}"),
                _ => assert!((200..300).contains(&answer.status), "{what}"),
            }
            n_answered += 1;
        }
    }
    assert!(n_answered >= 7, "only {n_answered}");
}
