//! Secret keys in minisign's files: made, read, and signed with.
//!
//! ```text
//! PREFIX.key   untrusted comment: …     0600; encrypted with a password by scrypt, or as it is
//!              RWR…
//! PREFIX.pub   untrusted comment: minisign public key E7620F1842B4E81F
//!              RWQ…
//! ```

#![expect(clippy::disallowed_methods, reason = "reads and writes keys")]

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ct_codecs::{Base64, Decoder};
use layers::plan::change::Refusal;
use layers::store::publish;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use thiserror::Error;

use super::password::PasswordSource;
use crate::error::Error;

/// The longest comment that minisign reads, in bytes.
const COMMENT_MAX: usize = 512;

/// How the base64 of a key begins that is encrypted with scrypt: `Ed`, `Sc`.
const ENCRYPTED: &str = "RWRTY";

/// The length of a secret key's checksum, which comes last, in bytes.
const CHECKSUM: usize = 32;

/// Why a secret key is of no use, as the end of a sentence. None of it tells what is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum KeyError {
    /// Not one of minisign's.
    #[error("is no secret key of minisign")]
    Foreign,
    /// The password, or a damaged file.
    #[error("does not open with this password")]
    Password,
    /// The system gives no random numbers, or no memory.
    #[error("cannot be used: {0}")]
    Failed(String),
}

/// A secret key, ready to sign. It has no `Debug`: nothing may print it.
pub(crate) struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

/// The two files of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFiles {
    /// The secret key's.
    pub(crate) secret: PathBuf,
    /// The public key's.
    pub(crate) public: PathBuf,
}

impl KeyFiles {
    /// `PREFIX.key` and `PREFIX.pub`.
    pub(crate) fn of(prefix: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self { secret: with(".key"), public: with(".pub") }
    }

    /// Refuses to take the place of a file that is there.
    pub(crate) fn check_free(&self) -> Result<(), Error> {
        for path in [&self.secret, &self.public] {
            match fs::symlink_metadata(path) {
                Ok(_) => {
                    let what = format!("{} is there already", path.display());
                    let hint = "a key is never overwritten: choose another name, --output PREFIX";
                    return Err(Refusal::new(what, hint).into());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("open", path, error)),
            }
        }
        Ok(())
    }
}

impl SigningKey {
    /// Makes a key, encrypted with `password` where there is one, and writes its two files, of which none may be there.
    pub(crate) fn generate(
        files: &KeyFiles,
        password: Option<String>,
        comment: Option<&str>,
    ) -> Result<PublicKey, Error> {
        let failed = |error: minisign::PError| Error::Key {
            path: files.secret.clone(),
            source: KeyError::Failed(error.to_string()),
        };
        let said = match (comment, &password) {
            (Some(comment), _) => comment,
            (None, Some(_)) => "layerctl encrypted secret key",
            (None, None) => "layerctl secret key without a password",
        };
        let KeyPair { pk, sk } = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
            None => KeyPair::generate_unencrypted_keypair(),
        }
        .map_err(failed)?;
        let secret = sk.to_box(Some(said)).map_err(failed)?.into_string();
        let mut public = format!("untrusted comment: minisign public key {}", id(pk.keynum()));
        comment.iter().for_each(|comment| public += &format!(" {comment}"));
        public += &format!("\n{}\n", pk.to_base64());
        write_new(&files.secret, 0o600, &secret)?;
        if let Err(error) = write_new(&files.public, 0o644, &public) {
            // A secret key whose public one nobody has is of no use.
            let _ = fs::remove_file(&files.secret);
            return Err(error);
        }
        Ok(pk)
    }

    /// Reads a secret key; the password of one that is encrypted comes from `source`.
    pub(crate) fn open(path: &Path, source: &PasswordSource) -> Result<Self, Error> {
        let wrong = |source| Error::Key { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => wrong(KeyError::Foreign),
            _ => Error::io("read", path, error),
        })?;
        let line = text.lines().nth(1).unwrap_or_default();
        let parsed = SecretKeyBox::from(text.clone());
        let secret = if line.starts_with(ENCRYPTED) {
            let password = source.ask(path)?;
            parsed.into_secret_key(Some(password)).map_err(|error| {
                wrong(match error.kind() {
                    minisign::ErrorKind::Verify => KeyError::Password,
                    minisign::ErrorKind::KDF => KeyError::Failed(error.to_string()),
                    _ => KeyError::Foreign,
                })
            })?
        } else {
            let read = parsed.into_unencrypted_secret_key().ok().or_else(|| unchecked(line));
            read.ok_or_else(|| wrong(KeyError::Foreign))?
        };
        let public = PublicKey::from_secret_key(&secret).map_err(|_| wrong(KeyError::Foreign))?;
        Ok(Self { secret, public })
    }

    /// Whether others than its owner may read the file of a secret key.
    pub(crate) fn is_exposed(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
    }

    /// The key's name, as minisign shows it.
    pub(crate) fn id(&self) -> String {
        id(self.public.keynum())
    }

    /// Signs `bytes`, the content of a file called `name`, at `time`, in seconds since 1970: minisign's four lines.
    pub(crate) fn sign(&self, bytes: &[u8], name: &str, time: u64) -> Result<String, KeyError> {
        // The same words as minisign's own.
        let trusted = format!("timestamp:{time}\tfile:{name}\thashed");
        let untrusted = format!("signature from layerctl key {}", self.id());
        let signed = minisign::sign(
            Some(&self.public),
            &self.secret,
            bytes,
            Some(&trusted),
            Some(&untrusted),
        );
        signed.map(|it| it.into_string()).map_err(|error| KeyError::Failed(error.to_string()))
    }
}

/// A key of `minisign -G -W`, which has no checksum (minisign 0.11).
fn unchecked(line: &str) -> Option<SecretKey> {
    let bytes = Base64::decode_to_vec(line, None).ok()?;
    let none = bytes.last_chunk::<CHECKSUM>()?.iter().all(|byte| *byte == 0);
    let plain = bytes.starts_with(b"Ed\0\0B2");
    SecretKey::from_bytes(&bytes).ok().filter(|_| none && plain)
}

/// A key's name, as minisign shows it: 16 hexadecimal digits of a number whose lowest byte comes first.
pub(crate) fn id(number: &[u8]) -> String {
    number.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

/// A comment is one short line of plain text.
pub(crate) fn check_comment(comment: &str) -> Result<(), Refusal> {
    if comment.len() <= COMMENT_MAX && !comment.chars().any(char::is_control) {
        return Ok(());
    }
    let what = format!("the comment is longer than {COMMENT_MAX} bytes, or not one line");
    Err(Refusal::new(what, "choose a short one"))
}

/// Writes a file that must not be there.
fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(|error| Error::io("create", path, error))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(Error::io("write", path, error));
    }
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    publish::sync(parent).map_err(|error| Error::io("flush", parent, error))
}
