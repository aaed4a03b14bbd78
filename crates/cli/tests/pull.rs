//! Models that the program pulls from a hub on this machine.

mod common;
#[path = "../../store/tests/common/mod.rs"]
mod hub;
#[cfg(unix)]
#[path = "common/terminal.rs"]
mod terminal;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Ran, puna};
use hub::{Fault, Files, Server, State, noise};

const BUILTIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../puna/assets/stories.gguf");
const LICENCE: &str =
    "LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\nLlama 3.2 Version Release Date: September 25, 2024\n";

fn server() -> Server {
    let mut state = State::default();
    let gguf = Arc::new(std::fs::read(BUILTIN).unwrap());
    let files = Files::from([
        ("LICENSE.txt".to_owned(), Arc::new(LICENCE.as_bytes().to_vec())),
        ("stories-F16.gguf".to_owned(), gguf),
        ("stories-Q8_0.gguf".to_owned(), noise(30_000, 1)),
    ]);
    state.repositories.insert("o/stories-GGUF".into(), files);
    state.repositories.insert(
        "o/large".into(),
        Files::from([
            ("config.json".to_owned(), Arc::new(b"{\"model_type\": \"llama\"}".to_vec())),
            ("model.safetensors".to_owned(), noise(12_000_000, 2)),
        ]),
    );
    Server::start(state)
}

fn command(args: &[&str], root: &Path, server: &Server) -> Command {
    let mut command = puna(args);
    command
        .env("PUNA_MODELS", root)
        .env("HF_ENDPOINT", server.url())
        .env("PUNA_OLLAMA_REGISTRY", server.url())
        .env("HF_HOME", root.join("none"));
    command.env("OLLAMA_MODELS", root.join("none")).env("HOME", root).env_remove("HF_TOKEN");
    command
}

fn run(args: &[&str], root: &Path, server: &Server) -> Ran {
    command(args, root, server).output().unwrap().into()
}

#[test]
fn from_a_name_to_an_answer() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let run = |args: &[&str]| run(args, dir.path(), &server);
    // The licence first, which nobody is there to accept.
    let ran = run(&["pull", "o/stories-GGUF:F16"]);
    assert!(ran.stderr.contains("Llama 3.2 Community License") && ran.code == Some(1), "{ran:?}");
    assert!(ran.stderr.contains("--accept-licence does so") && ran.stdout.is_empty(), "{ran:?}");
    let ran = run(&[
        "run",
        "--pull",
        "--accept-licence",
        "--temperature",
        "0",
        "-n",
        "3",
        "o/stories-GGUF:F16",
        "Once",
    ]);
    assert!(
        ran.stderr.contains("it is pulled, and run then") && ran.stderr.contains("700 million"),
        "{ran:?}"
    );
    assert!(!ran.ok().is_empty());
    let path = run(&["pull", "o/stories-GGUF:F16"]);
    assert!(path.stderr.contains("is here already"), "{path:?}");
    assert_eq!(std::fs::read(path.ok().trim()).unwrap(), std::fs::read(BUILTIN).unwrap());
    let list = run(&["list"]).ok();
    assert!(list.contains("o/stories-GGUF/stories-F16") && list.contains("Puna"), "{list}");
    // By the name that it was pulled by, and by that of the list; from now on no network is needed.
    for name in ["o/stories-GGUF:F16", "o/stories-GGUF/stories-F16", "stories-F16"] {
        assert!(run(&["show", "-m", name]).ok().contains("llama"), "{name}");
    }
    assert!(run(&["verify"]).ok().contains("o/stories-GGUF: as it was pulled"));
    let file = dir.path().join("hub/models--o--stories-GGUF/snapshots").join(hub::commit("o/stories-GGUF"));
    std::fs::write(file.join("LICENSE.txt"), "Anything goes.").unwrap();
    let ran = run(&["verify", "o/stories-GGUF"]);
    assert!(ran.code == Some(1) && ran.stdout.contains("LICENSE.txt: it has 14 bytes instead of"), "{ran:?}");
    assert!(run(&["rm", "o/none"]).error(2).contains("no model `o/none` was pulled"));
    assert!(run(&["rm", "o/stories-GGUF"]).ok().is_empty());
    assert!(run(&["list"]).ok().is_empty());
    let offline = run(&["pull", "--offline", "o/stories-GGUF"]).error(1);
    assert!(offline.contains("the network is not to be used"), "{offline}");
    let wrong = run(&["pull", "lama3.2:1b"]);
    assert!(wrong.error(1).contains("there are llama3.2:1b"));
    let wrong = run(&["pull", "llama3.2-1b"]).error(2);
    assert!(wrong.contains("there are llama3.2:1b"), "{wrong}");
    assert!(
        run(&["run", "o/stories-GGUF:F16", "Once"])
            .error(2)
            .contains("`puna pull o/stories-GGUF:F16` gets it")
    );
}

#[test]
fn shells_complete_names() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    run(&["pull", "--accept-licence", "o/stories-GGUF:F16"], dir.path(), &server).ok();
    for (words, want) in [
        (&["run", "o/st"][..], "o/stories-GGUF/stories-F16"),
        (&["show", "-m", "o/"], "o/stories-GGUF/stories-F16"),
        (&["rm", ""], "o/stories-GGUF"),
        (&["pull", "llama3.2:1"], "llama3.2:1b"),
        (&["run", "--repeat-p"], "--repeat-penalty"),
        (&["li"], "licence"),
    ] {
        let words: Vec<&str> = ["--", "puna"].iter().chain(words).copied().collect();
        let mut command = command(&words, dir.path(), &server);
        command.env("COMPLETE", "fish").current_dir(dir.path());
        let answer = Ran::from(command.output().unwrap()).ok();
        assert!(answer.lines().any(|line| line.split('\t').next() == Some(want)), "{words:?}: {answer}");
    }
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    server.fail(Some(Fault::Slow(40_000, Duration::from_millis(8))));
    let mut n_ended = 0;
    for i in 0..20u64 {
        let mut command = command(&["pull", "o/large"], dir.path(), &server);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Moments of no pattern, from before the first byte to after some of them were written down.
        std::thread::sleep(Duration::from_millis(20 + i * 7919 % 640));
        n_ended += u64::from(child.try_wait().unwrap().is_some());
        let _ = child.kill();
        child.wait().unwrap();
        let snapshots = dir.path().join("hub/models--o--large/snapshots");
        assert!(n_ended > 0 || !snapshots.exists());
    }
    server.fail(None);
    let path = run(&["pull", "o/large"], dir.path(), &server).ok();
    let found = std::fs::read(Path::new(path.trim()).join("model.safetensors")).unwrap();
    assert!(found == *noise(12_000_000, 2));
    let n_bytes = server.state.n_bytes.load(std::sync::atomic::Ordering::SeqCst);
    assert!(n_bytes < 11_000_000, "{n_bytes} of 12,000,000 bytes came at the last");
    assert!(run(&["verify", "o/large"], dir.path(), &server).ok().contains("as it was pulled"));
    // What was left by others is swept away, and nothing else.
    std::fs::create_dir_all(dir.path().join(".pulling/0011223344556677")).unwrap();
    assert!(run(&["gc"], dir.path(), &server).ok().is_empty());
    assert!(!dir.path().join(".pulling/0011223344556677").exists());
    assert!(Path::new(path.trim()).exists());
}

#[test]
fn proxies_are_asked_where_the_environment_names_them() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let pull = |variables: &[(&str, &str)]| {
        let mut command = command(&["pull", "o/large"], dir.path(), &server);
        // A host that nobody knows but the proxy.
        command.env("HF_ENDPOINT", "http://hub.invalid").envs(variables.iter().copied());
        Ran::from(command.output().unwrap())
    };
    let proxy = server.url();
    let ran = pull(&[("HTTP_PROXY", &proxy), ("NO_PROXY", "hub.invalid")]);
    assert!(ran.code == Some(1) && ran.stderr.contains("hub.invalid"), "{ran:?}");
    assert!(server.state.proxied.lock().unwrap().is_empty());
    let path = pull(&[("HTTP_PROXY", &proxy)]).ok();
    assert!(
        std::fs::read(Path::new(path.trim()).join("model.safetensors")).unwrap() == *noise(12_000_000, 2)
    );
    let proxied = server.state.proxied.lock().unwrap();
    assert!(!proxied.is_empty() && proxied.iter().all(|host| host == "hub.invalid"), "{proxied:?}");
}

#[cfg(unix)]
#[test]
fn a_disk_that_takes_no_more_is_said() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let puna = command(&["pull", "o/large"], dir.path(), &server);
    // A limit of file sizes stands for the end of a disk: 5,000 times 512 or 1,024 bytes.
    let mut limited = Command::new("sh");
    limited.arg("-c").arg("trap '' XFSZ; ulimit -f 5000; exec \"$0\" \"$@\"");
    limited.arg(puna.get_program()).args(puna.get_args());
    for (name, value) in puna.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let ran = Ran::from(limited.output().unwrap());
    assert!(ran.code == Some(1) && ran.stdout.is_empty(), "{ran:?}");
    assert!(ran.stderr.contains("error: cannot write") && ran.stderr.contains("File too large"), "{ran:?}");
    assert!(!dir.path().join("hub/models--o--large/snapshots").exists());
    server.fail(None);
    let path = run(&["pull", "o/large"], dir.path(), &server).ok();
    assert!(
        std::fs::read(Path::new(path.trim()).join("model.safetensors")).unwrap() == *noise(12_000_000, 2)
    );
}

#[cfg(unix)]
#[test]
fn a_terminal_shows_how_far_it_is() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    server.fail(Some(Fault::Slow(40_000, Duration::from_millis(30))));
    let mut terminal = terminal::Terminal::start(&command(&["pull", "o/large"], dir.path(), &server), 80);
    terminal.wait_for(" of 12 MB (");
    terminal.wait_for(" %), ");
    let speed = terminal.wait_for("/s, ");
    assert!(speed.trim_end().ends_with('B') && speed.starts_with(|c: char| c.is_ascii_digit()), "{speed:?}");
    let left = terminal.wait_for(" left");
    assert!(left.split(':').all(|part| part.trim().parse::<u32>().is_ok()), "{left:?}");
    server.fail(None);
    assert_eq!(terminal.wait(), Some(0));
}

#[test]
fn metas_models_and_what_fits() {
    let table = common::run(&["models", "--all"]).ok();
    assert!(table.contains("Llama-3.2-1B-Instruct") && table.lines().count() > 30, "{table}");
    let all = common::run(&["models", "--json"]).json();
    let small = all.as_array().unwrap().iter().find(|model| model["ollama"] == "llama3.2:1b").unwrap();
    assert_eq!(
        (small["licence"].as_str(), small["bytes_16_bits"].as_u64()),
        (Some("llama3.2"), Some(2_471_628_800))
    );
}
