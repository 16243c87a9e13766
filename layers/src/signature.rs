//! Signatures in minisign's format: ed25519 over a text, beside it in a file of its own.
//!
//! ```text
//! untrusted comment: …
//! RUT…                      algorithm, key, signature in base64
//! trusted comment: …
//! …                         a signature over the signature and the trusted comment
//! ```
//!
//! Several of them may follow each other in one file; minisign's own program reads the first. Source: minisign(1), and its
//! description of the format at <https://jedisct1.github.io/minisign/>.

use std::fmt;
use std::str::FromStr;

use minisign_verify::{PublicKey as Verifier, Signature};
use thiserror::Error;

/// The most signatures that are looked at; whatever follows is not.
pub const SIGNATURES_MAX: usize = 16;

/// How many lines a signature has.
const LINES: usize = 4;

/// What names a key, as minisign shows it: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

/// A text that is no key, no key's name or no signature.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no {1}")]
pub struct SignatureError(String, &'static str);

impl FromStr for KeyId {
    type Err = SignatureError;
    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let is = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| SignatureError(text.to_owned(), "key ID"))
    }
}

/// A public key: the second line of minisign's `.pub` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    text: String,
    verifier: Verifier,
}

impl PublicKey {
    /// What names it.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is this key's over `bytes`; its comment is covered too. Both of minisign's ways are taken: over
    /// the text itself, and over its BLAKE2b hash.
    pub fn verifies(&self, bytes: &[u8], signature: &OneSignature) -> bool {
        self.verifier.verify(bytes, &signature.signature, true).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = SignatureError;
    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let error = || SignatureError(text.to_owned(), "public key of minisign");
        let verifier = Verifier::from_base64(text).map_err(|_| error())?;
        Ok(Self { id: key_id(text).ok_or_else(error)?, text: text.to_owned(), verifier })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One signature out of a file.
pub struct OneSignature {
    /// The key that it says to be from.
    pub key: KeyId,
    signature: Signature,
}

/// The signatures in a file, each with the lines that it stands in; the error is a sentence's end.
pub fn parse(text: &str) -> Result<Vec<OneSignature>, SignatureError> {
    let blocks = blocks(text);
    if blocks.is_empty() {
        return Err(SignatureError(String::new(), "signature"));
    }
    blocks.iter().map(|block| one(block)).collect()
}

/// The lines of each signature in a file, joined; the last may be incomplete.
pub fn blocks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    lines.chunks(LINES).take(SIGNATURES_MAX).map(|block| block.join("\n")).collect()
}

fn one(block: &str) -> Result<OneSignature, SignatureError> {
    let second = block.lines().nth(1).unwrap_or_default();
    let error = || SignatureError(second.to_owned(), "signature of minisign");
    let signature = Signature::decode(block).map_err(|_| error())?;
    Ok(OneSignature { key: key_id(second).ok_or_else(error)?, signature })
}

/// The key that a key or a signature in base64 names: bytes 2 to 9, little end first.
fn key_id(base64: &str) -> Option<KeyId> {
    let mut bytes = 0_u128;
    for digit in base64.bytes().take(16) {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bytes = bytes << 6 | u128::from(value);
    }
    // Twelve bytes: two of the algorithm, the key's eight, two of what follows.
    Some(KeyId(((bytes >> 16) as u64).swap_bytes()))
}
