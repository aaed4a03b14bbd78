#!/usr/bin/env bash
# The crate minisign 0.8.0 does not read the secret keys that minisign 0.11 (the C program) writes without a password.
#
# `minisign -G -W` leaves the 32 bytes of the key's checksum at zero, since nothing was encrypted that it could check. The
# crate, which describes itself as the same format, compares them all the same: `into_unencrypted_secret_key` says
# "Corrupted key". The same 158 bytes by `SecretKey::from_bytes`, which compares nothing, sign well: the signature is right by
# the public key that the C program wrote. The pair below was made by minisign 0.11 and belongs to nobody.
# Seen: "Corrupted key", then "signature is right".
#
# Fails if that changes. Needs Rust; works in a temporary folder.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "keys"
version = "0.0.0"
edition = "2021"

[dependencies]
minisign = "=0.8.0"
ct-codecs = "=1.1.8"
TOML
cat > src/main.rs <<'RUST'
use ct_codecs::{Base64, Decoder};
use minisign::{PublicKey, SecretKey, SecretKeyBox};

const SECRET: &str = "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQTQljPXEgW5UM9iXGgKuHhy6KvaNuYI+UQO8wGdarIQc0xnGHKAIWiovf4lFhCUU3QkRZmkpUPQifNk2eA3ocJCD8lZr4RCkAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const PUBLIC: &str = "RWRBNCWM9cSBbiovf4lFhCUU3QkRZmkpUPQifNk2eA3ocJCD8lZr4RCk";

fn main() {
    let file = format!("untrusted comment: minisign encrypted secret key\n{SECRET}\n");
    let error = SecretKeyBox::from_string(&file).unwrap().into_unencrypted_secret_key().err().expect("it is read now");
    println!("as a file: {error}");
    assert!(error.to_string().contains("Corrupted key"));
    let bytes = Base64::decode_to_vec(SECRET, None).unwrap();
    assert!(bytes.len() == 158 && bytes[126..].iter().all(|byte| *byte == 0));
    let (secret, public) = (SecretKey::from_bytes(&bytes).unwrap(), PublicKey::from_base64(PUBLIC).unwrap());
    let signature = minisign::sign(Some(&public), &secret, &b"text"[..], None, None).unwrap();
    minisign::verify(&public, &signature, std::io::Cursor::new(b"text"), true, false, false).unwrap();
    println!("as bytes: signature is right");
}
RUST
cargo run -q
