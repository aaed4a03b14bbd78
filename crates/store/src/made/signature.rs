//! Signatures in minisign's form (Ed25519), which `minisign` and `signify` check too.

use std::ffi::OsString;
use std::fmt;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use ct_codecs::{Base64, Decoder};
use minisign::{KeyPair, PublicKeyBox, SecretKeyBox, SignatureBox};

/// Why something is not signed, or a signature not right.
#[derive(Debug)]
pub struct SignatureError(String);

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SignatureError {}

fn error(doing: &str, why: impl fmt::Display) -> SignatureError {
    SignatureError(format!("cannot {doing}\n  {why}"))
}

/// Who signs.
pub struct Key {
    secret: minisign::SecretKey,
    public: minisign::PublicKey,
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new() -> Result<Key, SignatureError> {
        let KeyPair { pk, sk } =
            KeyPair::generate_unencrypted_keypair().map_err(|why| error("make a key", why))?;
        Ok(Key { secret: sk, public: pk })
    }

    /// Reads a secret key's file, as `minisign -G` writes it, with its password if it has one.
    ///
    /// # Errors
    /// If it is none, or the password is wrong.
    pub fn read(text: &str, password: Option<&str>) -> Result<Key, SignatureError> {
        let boxed = SecretKeyBox::from_string(text).map_err(|why| error("read the secret key", why))?;
        let opened = match password {
            Some(_) => boxed.into_secret_key(password.map(str::to_owned)),
            None => boxed.into_unencrypted_secret_key(),
        };
        let opened = opened.or_else(|why| without_checksum(text).ok_or(why));
        let secret = opened.map_err(|why| error("open the secret key", why))?;
        let public =
            minisign::PublicKey::from_secret_key(&secret).map_err(|why| error("use the secret key", why))?;
        Ok(Key { secret, public })
    }

    /// The secret key's file, without a password.
    ///
    /// # Errors
    /// If it cannot be written as one.
    pub fn text(&self) -> Result<String, SignatureError> {
        let boxed = self.secret.to_box(None).map_err(|why| error("write the secret key", why))?;
        Ok(boxed.into_string())
    }

    /// What others check its signatures with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.public.clone())
    }

    /// Signs bytes: the text of a signature's file.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, SignatureError> {
        let signed = minisign::sign(
            Some(&self.public),
            &self.secret,
            Cursor::new(bytes),
            Some("bill of materials of a model made by puna"),
            Some("signature by puna"),
        );
        Ok(signed.map_err(|why| error("sign the bill of materials", why))?.into_string())
    }
}

/// A secret key without a password as `minisign -G -W` writes it: zeros where the crate wants a checksum.
fn without_checksum(text: &str) -> Option<minisign::SecretKey> {
    const LEN: usize = 158;
    const CHECKSUM: usize = 32;
    let bytes = Base64::decode_to_vec(text.lines().nth(1)?.trim(), None).ok()?;
    let has_none = bytes.len() == LEN && bytes[2..4] == [0; 2] && bytes[LEN - CHECKSUM..] == [0; CHECKSUM];
    has_none.then(|| minisign::SecretKey::from_bytes(&bytes).ok())?
}

/// Who is believed.
#[derive(Clone, Debug)]
pub struct PublicKey(minisign::PublicKey);

impl PublicKey {
    /// Reads a public key: its file's text, or its line alone.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(text: &str) -> Result<PublicKey, SignatureError> {
        let read = match text.trim().lines().count() {
            0 | 1 => minisign::PublicKey::from_base64(text.trim()),
            _ => PublicKeyBox::from_string(text).and_then(PublicKeyBox::into_public_key),
        };
        read.map(PublicKey).map_err(|why| error("read the public key", why))
    }

    /// As it is passed on, a line.
    pub fn line(&self) -> String {
        self.0.to_base64()
    }
}

/// Where the signature of a file is.
pub(super) fn place(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".minisig");
    name.into()
}

/// Checks the signature beside a bill whose text is `bytes`; `None` if there is none.
///
/// # Errors
/// If it is not one of these bytes by this key.
pub fn check_signature(bill: &Path, bytes: &[u8], key: &PublicKey) -> Result<Option<()>, SignatureError> {
    let path = place(bill);
    if !path.exists() {
        return Ok(None);
    }
    let signature = SignatureBox::from_file(&path).map_err(|why| error("read the signature", why))?;
    let checked = minisign::verify(&key.0, &signature, Cursor::new(bytes), true, false, false);
    checked.map(Some).map_err(|why| error(&format!("trust `{}`", path.display()), why))
}
