//! Which text is nearest to a question: `cargo run --release -p puna --example embed`.

fn main() -> Result<(), puna::Error> {
    let llama = puna::Llama::builtin()?;
    let question = llama.embed("Where did the dog run?")?;
    for text in ["The dog ran to the park.", "Lily wanted a red balloon.", "It was a sunny day."] {
        let nearness: f32 = llama.embed(text)?.iter().zip(&question).map(|(a, b)| a * b).sum();
        println!("{nearness:.3}  {text}");
    }
    Ok(())
}
