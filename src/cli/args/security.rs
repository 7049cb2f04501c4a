//! Contexts, TLS and credentials: the flags of every command that connects to a server, or writes the
//! configuration of another program that does.

use std::path::{self, PathBuf};

use clap::{ArgAction, Args};

use super::{Parsed, Problems, server_url::ServerUrl, switch::Switch};
use crate::{
    cli::context::{Context, ContextSource, FIELDS},
    net::{
        client::TokenFile,
        tls::{ClientTls, PemFile, client_certificate},
    },
};

#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Security")]
pub(in crate::cli) struct SecurityArgs {
    /// Context of the contexts file to use; see `headcount context`
    ///
    /// The default is the file's current context, unless the address of the server is set.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// File with the contexts [default: ~/.config/headcount/contexts.yaml]
    #[arg(long, value_name = "FILE")]
    contexts_file: Option<PathBuf>,
    /// PEM file of the CA that issued the certificate of an https:// server
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// File with the token that proves the client's identity
    ///
    /// The file is read again for each connection and each call.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the client's certificate and its issuers
    #[arg(long, value_name = "FILE")]
    client_cert_file: Option<PathBuf>,
    /// PEM file of the private key of the client's certificate
    #[arg(long, value_name = "FILE")]
    client_key_file: Option<PathBuf>,
    /// Name that the server's certificate must have, if it is not the host of the address
    #[arg(long, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// Send the token without encryption to an http:// server that is not on this machine
    #[arg(long, action = ArgAction::SetTrue)]
    insecure_plaintext_token: Parsed<Switch>,
}

/// The settings of flags and context together.
#[derive(Debug, Default)]
pub(in crate::cli) struct Security {
    /// The address in the context.
    pub(in crate::cli) server: Option<Parsed<ServerUrl>>,
    pub(in crate::cli) ca_file: Option<PathBuf>,
    pub(in crate::cli) token_file: Option<PathBuf>,
    pub(in crate::cli) client_cert_file: Option<PathBuf>,
    pub(in crate::cli) client_key_file: Option<PathBuf>,
    pub(in crate::cli) tls_server_name: Option<String>,
    insecure_plaintext_token: bool,
}

impl SecurityArgs {
    /// Whether a context is selected by its name.
    pub(super) fn has_context(&self) -> bool {
        self.context.is_some()
    }

    /// Adds the values of the context to the flags, which take precedence. `has_address` is whether a flag
    /// sets the server's address: the current context is not used then, because its credentials are for its
    /// own server.
    pub(in crate::cli) fn resolve(self, has_address: bool, problems: &mut Problems) -> Option<Security> {
        let source = ContextSource { file: self.contexts_file, name: self.context };
        let (context, place) = source.select(has_address, problems)?;
        let Context { server, ca_file, token_file, client_cert_file, client_key_file, tls_server_name } =
            context;
        let insecure = problems.take("insecure-plaintext-token", self.insecure_plaintext_token);
        let is_set = [
            has_address,
            self.ca_file.is_some(),
            self.token_file.is_some(),
            self.client_cert_file.is_some(),
            self.client_key_file.is_some(),
            self.tls_server_name.is_some(),
        ];
        for (field, _) in FIELDS.into_iter().zip(is_set).filter(|(_, is_set)| !is_set && !place.is_empty()) {
            problems.set_place(field, format!("{field:?} of {place}"));
        }
        Some(Security {
            server: server.and_then(|server| server.parse().ok()),
            ca_file: self.ca_file.or(ca_file),
            token_file: self.token_file.or(token_file),
            client_cert_file: self.client_cert_file.or(client_cert_file),
            client_key_file: self.client_key_file.or(client_key_file),
            tls_server_name: self.tls_server_name.or(tls_server_name),
            insecure_plaintext_token: insecure?.0,
        })
    }
}

impl Security {
    /// Checks the settings for a server at `url`, and reads all files once. Adds what is wrong to
    /// `problems`.
    pub(in crate::cli) fn check(
        self,
        url: &ServerUrl,
        problems: &mut Problems,
    ) -> Option<(Option<ClientTls>, Option<TokenFile>)> {
        let before = problems.len();
        self.check_plaintext(url, problems);
        let token = self.token(problems);
        if token.is_some() && !url.is_encrypted() && !url.is_loopback() && !self.insecure_plaintext_token {
            let problem = format!(
                "its token would be sent to {url} without encryption: write https://, or set --insecure-plaintext-token"
            );
            problems.note("token-file", &problem);
        }
        let identity = self.identity(problems);
        let tls = if url.is_encrypted() { self.tls(url, identity, problems) } else { None };
        if let Some(Err(error)) = tls.as_ref().map(ClientTls::config) {
            note_file(&format!("{error:#}"), problems);
        }
        (problems.len() == before).then_some((tls, token))
    }

    /// Checks the settings for another program that connects to `url` and reads the files itself, and returns
    /// their absolute paths: the CA, the token, the certificate and its key.
    pub(in crate::cli) fn check_files<const PORT: u16>(
        &self,
        url: &ServerUrl<PORT>,
        problems: &mut Problems,
    ) -> Option<[Option<PathBuf>; 4]> {
        let before = problems.len();
        self.check_plaintext(url, problems);
        if self.token_file.is_some() && !url.is_encrypted() {
            problems.note("token-file", &requires_tls(url));
        }
        let ca = self.ca_file.clone().map(|file| PemFile::new("ca-file", file));
        if let Some(Err(error)) = ca.as_ref().map(PemFile::path_to_certificates) {
            note_file(&format!("{error:#}"), problems);
        }
        self.token(problems);
        if let Some(Err(error)) = self.identity(problems).as_ref().map(client_certificate) {
            note_file(&format!("{error:#}"), problems);
        }
        let files = [&self.ca_file, &self.token_file, &self.client_cert_file, &self.client_key_file];
        let files = files.map(|file| file.as_ref().and_then(|file| path::absolute(file).ok()));
        (problems.len() == before).then_some(files)
    }

    /// Rejects what an `http://` server would not use.
    fn check_plaintext<const PORT: u16>(&self, url: &ServerUrl<PORT>, problems: &mut Problems) {
        if url.is_encrypted() {
            return;
        }
        for (flag, is_set) in [
            ("ca-file", self.ca_file.is_some()),
            ("client-cert-file", self.client_cert_file.is_some()),
            ("client-key-file", self.client_key_file.is_some()),
            ("tls-server-name", self.tls_server_name.is_some()),
        ] {
            if is_set {
                problems.note(flag, &requires_tls(url));
            }
        }
    }

    fn token(&self, problems: &mut Problems) -> Option<TokenFile> {
        let token = TokenFile::new(self.token_file.clone()?);
        if let Err(error) = token.read() {
            note_file(&error.to_string(), problems);
        }
        Some(token)
    }

    fn identity(&self, problems: &mut Problems) -> Option<[PemFile; 2]> {
        let (cert, key) = (self.client_cert_file.clone(), self.client_key_file.clone());
        match (cert, key) {
            (Some(cert), Some(key)) => {
                return Some([PemFile::new("client-cert-file", cert), PemFile::new("client-key-file", key)]);
            }
            (Some(_), None) => {
                problems
                    .note("client-cert-file", "requires the file of its private key: set --client-key-file");
            }
            (None, Some(_)) => {
                problems
                    .note("client-key-file", "requires the file of its certificate: set --client-cert-file");
            }
            (None, None) => {}
        }
        None
    }

    fn tls(
        &self,
        url: &ServerUrl,
        identity: Option<[PemFile; 2]>,
        problems: &mut Problems,
    ) -> Option<ClientTls> {
        let Some(ca) = self.ca_file.clone() else {
            problems.note(
                "ca-file",
                "is missing: an https:// server requires the PEM file of the CA that issued its certificate",
            );
            return None;
        };
        let (flag, name) = match &self.tls_server_name {
            Some(name) => ("tls-server-name", name.as_str()),
            None => ("server", url.host()),
        };
        let Some(server_name) = ClientTls::parse_name(name) else {
            problems.note(flag, &format!("{name:?}: must be a DNS name or an IP address"));
            return None;
        };
        Some(ClientTls::new(PemFile::new("ca-file", ca), identity, server_name))
    }
}

fn requires_tls<const PORT: u16>(url: &ServerUrl<PORT>) -> String {
    format!("requires TLS, and {url} has none: write https://, or remove it")
}

/// Adds an error that begins with `--FLAG ` and a file.
fn note_file(error: &str, problems: &mut Problems) {
    match error.strip_prefix("--").and_then(|error| error.split_once(' ')) {
        Some((flag, problem)) => problems.note(flag, problem),
        None => problems.note_text(error),
    }
}
