//! Token files, and what a client knows about a token.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::Deserialize;

use super::problem::ConnectProblem;
use crate::runtime::{blocking::spawn_blocking, limited_file::read_limited_regular};

/// Largest token file, in bytes. Tokens have 1 to 2 KiB, and by default a server accepts 16 KiB of headers.
const MAX_BYTES: u64 = 8 * 1024;

/// A file with one token, such as a projected `ServiceAccount` token. It is read again for each connection
/// and each call, because tokens are replaced before they expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFile {
    /// The setting that names the file, without dashes.
    setting: &'static str,
    path: PathBuf,
}

/// A token, as the value of the `authorization` header. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(HeaderValue);

impl TokenFile {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self::of_setting("token-file", path)
    }

    /// A file that another setting than `--token-file` names.
    pub(crate) fn of_setting(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { setting, path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the token, without the white space around it.
    ///
    /// # Errors
    ///
    /// If the file can't be read, has more than 8 KiB, or has not exactly one token.
    pub(crate) fn read(&self) -> Result<Token, ConnectProblem> {
        let problem = |problem: &str, remedy: &str| {
            ConnectProblem::new(format!("--{} {}: {problem}", self.setting, self.path.display()), remedy)
        };
        let expected = "give a file with one token and nothing else";
        let text = read_limited_regular(&self.path, MAX_BYTES).map_err(|error| {
            problem(&format!("can't read it ({error})"), "check that it is there, and readable by this user")
        })?;
        let text = text.ok_or_else(|| problem("is larger than 8 KiB", expected))?;
        let token = text.trim();
        if token.is_empty() {
            return Err(problem("is empty", expected));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(problem("has spaces, line breaks or other characters within the token", expected));
        }
        Token::new(token).ok_or_else(|| problem("has characters that a token can't have", expected))
    }

    /// Like [`TokenFile::read`], without blocking the caller's thread.
    ///
    /// # Errors
    ///
    /// As [`TokenFile::read`], or if the runtime ends.
    pub(crate) async fn read_async(&self) -> Result<Token, ConnectProblem> {
        let file = self.clone();
        let read = spawn_blocking(move || file.read()).await;
        read.unwrap_or_else(|| Err(ConnectProblem::new("the process ends", "start it again")))
    }
}

impl Token {
    /// Takes a token; none if it has characters that a header can't have.
    pub(crate) fn new(token: &str) -> Option<Self> {
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }

    /// The value of the `authorization` header, marked as sensitive.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The token itself.
    pub(crate) fn secret(&self) -> &str {
        let text = self.0.to_str().unwrap_or_default();
        text.strip_prefix("Bearer ").unwrap_or(text)
    }

    /// When the token expires by its claim `exp`, which is not verified; none if it is not a JWT or has no
    /// such claim.
    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        let claims = self.secret().split('.').nth(1)?;
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        let Claims { exp } = serde_json::from_slice(&claims).ok()?;
        // RFC 7519 allows fractions of a second.
        SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp).ok()?)
    }
}

/// The claims of a JWT that a client needs.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// A JWT with these claims and no valid signature.
    pub(crate) fn jwt(claims: &str) -> String {
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part("{}"), part(claims), part("signature"))
    }

    fn read(text: &[u8]) -> Result<Token, ConnectProblem> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        TokenFile::new(file.path()).read()
    }

    #[test]
    fn white_space_around_the_token_is_removed() {
        for text in ["abc.def", "abc.def\n", " \r\n\tabc.def\r\n\n"] {
            let token = read(text.as_bytes()).unwrap();
            assert_eq!((token.secret(), token.header().to_str().unwrap()), ("abc.def", "Bearer abc.def"));
            assert!(token.header().is_sensitive() && !format!("{token:?}").contains("abc"));
        }
        assert!(read(&[b'a'; 8192]).is_ok());
    }

    #[test]
    fn a_file_without_exactly_one_token_is_rejected_and_not_quoted() {
        for (text, problem) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"secret1\nsecret2\n", "within the token"),
            (b"Bearer secret1", "within the token"),
            ("secret\u{e4}".as_bytes(), "within the token"),
            (b"secret\0", "within the token"),
            (b"secret\xff", "can't read it"),
            (&[b's'; 8193], "larger than 8 KiB"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with("--token-file /") && error.contains(problem), "{error}");
            assert!(!error.contains("secret") && !error.contains("sss"), "quotes a secret: {error}");
        }
        let error = TokenFile::new("/no/such.jwt").read().unwrap_err().to_string();
        assert!(error.starts_with("--token-file /no/such.jwt: can't read it"), "{error}");
        let device = TokenFile::new("/dev/zero").read().unwrap_err().to_string();
        assert!(device.contains("is no regular file"), "{device}");
    }

    /// The open of a named pipe waits for a writer, and no connection would be made.
    #[cfg(unix)]
    #[test]
    fn a_named_pipe_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (sender, result) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(TokenFile::new(path).read().unwrap_err().to_string()));
        let error = result.recv_timeout(Duration::from_mins(1)).expect("the read ends");
        assert!(error.contains("is no regular file"), "{error}");
    }

    #[test]
    fn the_expiry_is_read_from_the_claims() {
        let expiry = |text: &str| {
            let expires_at = read(text.as_bytes()).unwrap().expires_at()?;
            Some(expires_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis())
        };
        assert_eq!(expiry(&jwt(r#"{"exp": 1700000000, "iss": "x"}"#)), Some(1_700_000_000_000));
        assert_eq!(expiry(&jwt(r#"{"exp": 1.5}"#)), Some(1_500));
        for none in [
            "opaque".to_owned(),
            "a.b.c".to_owned(),
            jwt("{}"),
            jwt("[]"),
            jwt(r#"{"exp": "soon"}"#),
            jwt(r#"{"exp": -1}"#),
            jwt(r#"{"exp": 1e300}"#),
        ] {
            assert_eq!(expiry(&none), None, "{none}");
        }
    }
}
