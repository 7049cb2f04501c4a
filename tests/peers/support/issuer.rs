//! A key outside of the server that signs tokens.

use std::path::PathBuf;

use super::{Program, Site, headcount};

/// The files of a key.
pub(crate) struct Issuer {
    pub(crate) site: Site,
    private: PathBuf,
}

impl Issuer {
    /// Creates a key.
    pub(crate) async fn new() -> Self {
        let site = Site::new();
        let (private, public) = (site.path("signing.key"), site.path("signing.pub"));
        let generate = format!(
            "generate signing-key --key-file {} --public-key-file {}",
            private.display(),
            public.display()
        );
        Program::start(&mut headcount(&generate)).end().await.expect_exit(0);
        Self { site, private }
    }

    /// An access file in which the public key signs tokens of these uses. The group `ops` may read, and the
    /// user `admin` may do everything.
    pub(crate) fn access(&self, uses: &[&str]) -> String {
        let public = std::fs::read_to_string(self.site.path("signing.pub")).unwrap();
        let public = public.replace('\n', "\n    ");
        let keys: Vec<_> = uses
            .iter()
            .map(|usage| format!("- kid: \"1\"\n  {usage}\n  publicKey: |\n    {public}\n"))
            .collect();
        let roles = "[{role: viewer, groups: [ops]}, {role: operator, users: [admin]}]";
        format!("roleBindings: {roles}\ntokenKeys:\n{}", keys.concat())
    }

    /// Issues a token of this kind (`user-token`, `dataplane-token`).
    pub(crate) async fn token(&self, kind: &str, arguments: &str) -> String {
        let generate = format!(
            "generate {kind} --signing-key-file {} --kid 1 --valid-for 1h {arguments}",
            self.private.display()
        );
        let ended = Program::start(&mut headcount(&generate)).end().await.expect_exit(0);
        ended.out.trim().to_owned()
    }
}
