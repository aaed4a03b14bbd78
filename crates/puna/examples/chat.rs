//! A conversation in the terminal: `cargo run --release -p puna --example chat -- MODEL`.

use std::io::{Write, stdin, stdout};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: chat MODEL")?;
    let mut chat = puna::Llama::load(path)?.chat()?;
    chat.set_system(Some("You answer in one sentence."));
    chat.options.max_tokens = Some(200);
    for question in stdin().lines() {
        let mut answer = chat.ask(&question?)?;
        for piece in answer.by_ref() {
            print!("{}", piece?);
            stdout().flush()?;
        }
        let made = answer.finish()?;
        let speed = made.timings.decode_tokens_per_s().unwrap_or(0.0);
        println!("\n[{} tokens, {speed:.1} tokens/s, {} tokens known before]", made.ids.len(), made.n_reused);
    }
    Ok(())
}
