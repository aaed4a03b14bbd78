//! A story from the model inside the library: `cargo run --release -p puna --example hello`.

fn main() -> Result<(), puna::Error> {
    let llama = puna::Llama::builtin()?; // or puna::Llama::load("Llama-3.2-1B-Instruct")?
    print!("Once upon a time");
    for piece in llama.complete("Once upon a time")? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}
