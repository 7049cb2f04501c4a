use super::*;

const FILE: &str = "\
current-context: prod
contexts:
  prod:
    server: https://headcount.example:7100
    ca-file: ca.crt
    token-file: /run/token
    client-cert-file: tls.crt
    client-key-file: tls.key
    tls-server-name: headcount
  local: {server: 127.0.0.1, ca-file: ''}
  empty:
";

#[test]
fn a_file_is_parsed_and_written() {
    let contexts = Contexts::parse(FILE).unwrap();
    assert_eq!(contexts.current_context.as_deref(), Some("prod"));
    assert_eq!(contexts.names(), "empty, local, prod");
    let prod = contexts.contexts["prod"].clone().relative_to(Path::new("/etc/headcount"));
    assert_eq!(prod.ca_file.as_deref(), Some(Path::new("/etc/headcount/ca.crt")));
    assert_eq!(prod.token_file.as_deref(), Some(Path::new("/run/token")));
    assert_eq!(contexts.contexts["local"].ca_file, None, "an empty text counts as not set");
    assert_eq!(Contexts::parse(&contexts.to_yaml()), Ok(contexts));
    for empty in ["", "# nothing\n", "{}", "contexts: {}"] {
        assert_eq!(Contexts::parse(empty), Ok(Contexts::default()), "{empty}");
    }
}

#[test]
fn errors_name_the_field() {
    for (text, problem) in [
        (
            "contexts: {a: {ca: x}}",
            "\"contexts.a.ca\": there is no such field; the fields are server, ca-file",
        ),
        ("context: {}", "\"context\": there is no such field; the fields are current-context, contexts"),
        ("contexts: {a: {server: 7100}}", "\"contexts.a.server\": must be a text"),
        ("contexts: {a: {server: [x]}}", "\"contexts.a.server\": must be a text"),
        (
            "contexts: {a: {ca-file: \"a\\u001bb\"}}",
            "\"contexts.a.ca-file\": must not have control characters",
        ),
        ("contexts: {a: b}", "contexts.a: must be a map"),
        ("contexts: [a]", "contexts: must be a map"),
        ("[]", "the file: must be a map"),
        ("contexts: {'a b': {}}", "\"a b\": the name of a context must have"),
        ("contexts: {'': {}}", "\"\": the name of a context must have"),
        ("contexts: {-a: {}}", "\"-a\": the name of a context must have"),
        ("current-context: a", "current-context: \"a\": there is no context of this name"),
        ("contexts: {a: {}, a: {}}", "is no YAML"),
        ("contexts: {", "is no YAML"),
    ] {
        let error = Contexts::parse(text).unwrap_err();
        assert!(error.starts_with(problem), "{text}: {error}");
    }
}

#[test]
fn a_file_is_replaced_and_only_its_owner_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config/headcount/contexts.yaml");
    assert_eq!(Contexts::read(&path), Ok(Contexts::default()), "there is none yet");
    let contexts = Contexts::parse(FILE).unwrap();
    contexts.write(&path).unwrap();
    assert_eq!(Contexts::read(&path).as_ref(), Ok(&contexts));
    fs::write(&path, "contexts: {a: {x: y}}").unwrap();
    let error = Contexts::read(&path).unwrap_err();
    assert!(error.starts_with(&format!("{}: \"contexts.a.x\":", path.display())), "{error}");
    fs::write(&path, " ".repeat(300_000)).unwrap();
    assert!(Contexts::read(&path).unwrap_err().contains("larger than 256 KiB"));

    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let link = directory.path().join("link.yaml");
        symlink(&path, &link).unwrap();
        contexts.write(&link).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(Contexts::read(&path), Ok(contexts));
    }
}
