//! The chat on a terminal, as a user meets it.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/terminal.rs"]
mod terminal;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::puna;
use puna_conformance::read_json;
use puna_formats::gguf;
use terminal::Terminal;

const PROMPT: &str = ">>> ";

/// A chat whose history is in `state`.
fn chat(args: &[&str], state: &Path, columns: u16) -> Terminal {
    let mut command = puna(args);
    command.env("XDG_STATE_HOME", state).env("HOME", state);
    let mut terminal = Terminal::start(&command, columns);
    terminal.wait_for(PROMPT);
    terminal
}

/// The built-in model with a chat template, in a file of this folder.
fn chat_model(dir: &Path) -> String {
    let builtin = concat!(env!("CARGO_MANIFEST_DIR"), "/../puna/assets/stories.gguf");
    let gguf::GgufCheckpoint { mut metadata, tensors, .. } = gguf::open(Path::new(builtin)).unwrap();
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:";
    metadata.set("tokenizer.chat_template", gguf::Value::String(template.into()));
    let path = dir.join("talker.gguf");
    gguf::Writer::write_all(metadata, &tensors, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Whatever says how answers are made, among it each option of sampling that there is.
#[test]
fn the_page_has_its_own_settings() {
    let help = common::run(&["chat", "--help"]).ok();
    let (_, sampling) = help.split_once("Sampling:").unwrap();
    let sampling = sampling.lines().filter_map(|line| line.trim().strip_prefix("--")?.split(' ').next());
    let others = ["image", "raw", "system", "max-tokens", "context-full", "stop", "verbose"];
    let options: Vec<String> = others.into_iter().chain(sampling).map(|name| format!("--{name}")).collect();
    assert!(options.len() >= others.len() + 10, "{options:?}");
    for option in options {
        let value: &[&str] = match option.as_str() {
            "--raw" | "--verbose" => &[],
            "--context-full" => &["stop"],
            "--logit-bias" => &["5=1"],
            _ => &["1"],
        };
        let error = common::run(&[&["chat", "--web", &option], value].concat()).error(2);
        assert!(error.contains(&format!("'--web' cannot be used with '{option}")), "{error}");
    }
}

/// Begun with `&`, it answers browsers, and does not take the shell's input; in the foreground it hears Enter.
#[test]
fn the_page_is_served_in_the_background_too() {
    let home = tempfile::tempdir().unwrap();
    let program = puna(&[]);
    // Without programs that could be a browser, the link is shown.
    let script =
        "export PATH=/nowhere; set -m; \"$0\" chat --web & read -r line; echo \"the shell read $line\"; fg";
    let mut command = Command::new("/bin/bash");
    command.args(["-c", script]).arg(program.get_program());
    command.env("HOME", home.path()).env_remove("BROWSER").env_remove("PUNA_MODEL");
    let mut terminal = Terminal::start(&command, 200);
    terminal.wait_for("works once: http://");
    let address = terminal.wait_for("/#code=");
    terminal.wait_for("Enter opens another window");
    let health = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("GET /health HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    assert!(health().unwrap().contains("200 OK"));
    terminal.press("hello\n");
    terminal.wait_for("the shell read hello");
    // `fg` tells what it brings back.
    terminal.wait_for("chat --web");
    assert!(health().unwrap().contains("200 OK"));
    terminal.press("\n");
    terminal.wait_for("works once: http://");
    terminal.press("\u{3}");
    terminal.wait_for("Ctrl-C ends them too");
}

#[test]
fn a_base_model_goes_on_with_its_text() {
    let state = tempfile::tempdir().unwrap();
    let saved = state.path().join("story.txt");
    let mut terminal = chat(&["chat", "-n", "8", "--seed", "1"], state.path(), 80);
    assert!(terminal.shown().contains("stories"), "the greeting names the model: {}", terminal.shown());
    for text in ["Once upon a time\r", " Tom\r"] {
        terminal.press(text);
        terminal.wait_for(PROMPT);
    }
    terminal.press(&format!("/save {}\r", saved.display()));
    terminal.wait_for("Saved as");
    let text = std::fs::read_to_string(&saved).unwrap();
    assert!(text.starts_with("Once upon a time") && text[16..].contains(" Tom"), "{text:?}");
    // Taken back, the text is as it was after the first turn.
    terminal.press("/undo\r");
    terminal.wait_for("taken back");
    terminal.press(&format!("/save {}\r", saved.display()));
    terminal.wait_for("Saved as");
    let before = std::fs::read_to_string(&saved).unwrap();
    assert!(text.starts_with(&before) && before.len() < text.len(), "{before:?}");
    terminal.press("/retry\r");
    terminal.wait_for(PROMPT);
    terminal.press("/bye\r");
    assert_eq!(terminal.wait(), Some(0));
}

#[test]
fn settings_are_listed_set_and_checked() {
    let state = tempfile::tempdir().unwrap();
    let mut terminal = chat(&["chat"], state.path(), 100);
    for (keys, answer) in [
        ("/set temperature 0.25\r", "temperature is set."),
        ("/set\r", "temperature = 0.25"),
        ("/set top_k 5\r", "top_k is set."),
        ("/set parameter min-p 0.1\r", "min-p is set."),
        ("/set temperature -1\r", "error:"),
        ("/set temperature\r", "has no value"),
        ("/set warmth 3\r", "there is no setting `warmth`"),
        ("/set max-tokens 3\r", "max-tokens is set."),
        ("/set context 64\r", "context is set."),
        ("/set context 0\r", "error:"),
        ("/set context-full drop-oldest\r", "context-full is set."),
        ("/show\r", "context = "),
        ("/quit now\r", "/quit takes no argument"),
        ("/set ctx 80\r", "ctx is set."),
        ("/set temperature = 0.5\r", "temperature is set."),
        ("/save /dev/null\r", "it is not a file"),
        ("/read /dev/zero\r", "it is not a file"),
        ("\"\"\"\rnot finished\r\x04", "... "),
        ("/help\r", "/retry"),
        ("/no\r", "there is no command /no"),
        ("/edit\r", "no text to edit"),
        ("/retry\r", "no text to answer again"),
        ("/undo\r", "nothing to take back"),
        ("/system x\r", "goes on with one text"),
    ] {
        terminal.press(keys);
        terminal.wait_for(answer);
        terminal.wait_for(PROMPT);
    }
    terminal.press("\x04");
    assert_eq!(terminal.wait(), Some(0));
}

/// Lines that come while nothing reads them are read afterwards, and not shown within the answer.
#[test]
fn what_is_typed_ahead_is_kept() {
    let state = tempfile::tempdir().unwrap();
    let mut terminal = chat(&["chat", "--seed", "1", "-n", "120"], state.path(), 80);
    terminal.press("/set seed 1\r/set seed 2\r/set seed 3\r/set seed 4\r");
    for _ in 0..4 {
        terminal.wait_for("seed is set.");
    }
    terminal.press("Once\r");
    terminal.wait_for("Once");
    // The answer is on its way.
    std::thread::sleep(Duration::from_millis(20));
    terminal.press("/set max-tokens 7\r");
    let answer = terminal.wait_for(PROMPT);
    assert!(!answer.contains("max-tokens"), "{answer:?}");
    terminal.wait_for("max-tokens is set.");
}

/// Ctrl-C stops the answer, however often it is pressed, and never the chat.
#[test]
fn interrupts_lose_nothing() {
    let state = tempfile::tempdir().unwrap();
    let mut terminal =
        chat(&["chat", "--seed", "1", "-n", "5000", "--context-full", "drop-oldest"], state.path(), 80);
    terminal.press("Once upon a time\r");
    terminal.wait_for("Once upon a time");
    for _ in 0..3 {
        terminal.press("\x03");
    }
    terminal.wait_for(PROMPT);
    for _ in 0..3 {
        terminal.press("\x03");
        terminal.wait_for(PROMPT);
    }
    terminal.press("/show\r");
    terminal.wait_for("characters of text");
    terminal.wait_for(PROMPT);
    terminal.press("\x04");
    assert_eq!(terminal.wait(), Some(0));
}

#[test]
fn words_are_wrapped_at_the_terminals_width() {
    let state = tempfile::tempdir().unwrap();
    let mut command = puna(&["run", "Once upon a time", "-n", "120", "--seed", "1"]);
    command.env("HOME", state.path());
    let whole = common::run(&["run", "Once upon a time", "-n", "120", "--seed", "1"]).ok();
    let terminal = Terminal::start(&command, 40);
    let mut shown = String::new();
    let mut terminal = terminal;
    for _ in 0..600 {
        shown = terminal.shown();
        if shown.ends_with('\n') && shown.len() > whole.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // As the terminal shows it: what was taken back is gone.
    let mut screen = String::new();
    let mut rest = shown.as_str();
    while let Some(at) = rest.find("\x1b[") {
        screen += &rest[..at];
        let (n, after) = rest[at + 2..].split_once('D').unwrap();
        for _ in 0..n.parse().unwrap() {
            screen.pop();
        }
        rest = after.strip_prefix("\x1b[K").unwrap();
    }
    screen += rest;
    assert!(screen.lines().all(|line| line.chars().count() < 40), "{screen}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&screen), words(&format!("Once upon a time{whole}")));
}

#[test]
fn conversations_are_edited_and_read_into() {
    let state = tempfile::tempdir().unwrap();
    let model = chat_model(state.path());
    let (notes, saved) = (state.path().join("notes.txt"), state.path().join("talk.json"));
    std::fs::write(&notes, "first note\nsecond note").unwrap();
    let mut terminal = chat(&["chat", "-m", &model, "-n", "6", "--seed", "1"], state.path(), 100);
    terminal.press(&format!("/read {}\r", notes.display()));
    terminal.wait_for("2 lines, 22 characters");
    terminal.wait_for(PROMPT);
    terminal.press("What is noted?\r");
    terminal.wait_for(PROMPT);
    // The last text comes up to be changed: here its end.
    terminal.press("/edit\r");
    terminal.wait_for("What is noted?");
    terminal.press("\x7f!\r");
    terminal.wait_for(PROMPT);
    terminal.press("-v\r");
    terminal.wait_for(PROMPT);
    terminal.press(&format!("/save {}\r", saved.display()));
    terminal.wait_for("Saved as");
    terminal.wait_for(PROMPT);
    let messages = read_json(&saved)["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[0]["content"], "first note\nsecond note\nWhat is noted!");
    // Nothing is written over that is not a conversation; an edited text that is empty changes nothing.
    terminal.press(&format!("/save {}\r", notes.display()));
    terminal.wait_for("not a saved conversation");
    terminal.wait_for(PROMPT);
    terminal.press("/edit\r");
    terminal.wait_for("-v");
    terminal.press("\x15\r");
    terminal.wait_for(PROMPT);
    terminal.press("/show\r");
    terminal.wait_for("4 messages");
    terminal.wait_for(PROMPT);
    terminal.press("/drop\r");
    terminal.wait_for("Left out from now on: 2 messages");
    terminal.press("/set verbose on\r");
    terminal.wait_for(PROMPT);
    terminal.press("more\r");
    terminal.wait_for("tokens/s; prompt");
    terminal.wait_for(PROMPT);
    terminal.press("/quit\r");
    assert_eq!(terminal.wait(), Some(0));
}

#[test]
fn a_full_context_is_said() {
    let state = tempfile::tempdir().unwrap();
    let model = chat_model(state.path());
    let args = ["chat", "-m", &model, "-n", "20", "--ctx", "200", "--seed", "1"];
    let mut terminal = chat(&args, state.path(), 100);
    let text = "What is a long question good for, if nobody answers it in the end?\r";
    let mut n = 0;
    while !terminal.shown().contains("/drop leaves out the oldest") {
        terminal.press(text);
        terminal.wait_for(PROMPT);
        n += 1;
        assert!(n < 20, "{}", terminal.shown());
    }
    while !terminal.shown().contains("error:") {
        terminal.press(text);
        terminal.wait_for(PROMPT);
        n += 1;
        assert!(n < 40, "{}", terminal.shown());
    }
    terminal.press("/set context-full drop-oldest\r");
    terminal.wait_for("context-full is set.");
    terminal.press(text);
    terminal.wait_for("leaves out");
    terminal.wait_for(PROMPT);
}
