//! Which of two texts a model finds more likely: `cargo run --release -p puna --example score`.

fn main() -> Result<(), puna::Error> {
    let llama = puna::Llama::builtin()?;
    for text in ["Tom had a small boat.", "Boat small a had Tom."] {
        let score = llama.score_text(text)?;
        println!("{text} has a perplexity of {:.1} over {} tokens", score.perplexity(), score.n_tokens);
    }
    Ok(())
}
