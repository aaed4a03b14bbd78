//! A question about a picture: `cargo run --release -p puna --example vision -- MODEL PICTURE QUESTION`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, question] = &args[..] else {
        return Err("usage: vision MODEL PICTURE QUESTION".into());
    };
    let llama = puna::Llama::load(model)?;
    let picture = llama.look_at_file(picture)?;
    println!("{:?} pixels in {:?} tiles, looked at in {:.1?}", picture.size, picture.grid, picture.time);
    let mut chat = llama.chat()?;
    chat.options.max_tokens = Some(100);
    for piece in chat.ask_about(&[picture], question)? {
        print!("{}", piece?);
    }
    println!();
    Ok(())
}
