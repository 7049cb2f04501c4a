//! Help, version and shell completions.

use crate::support::{Program, headcount};

const COMMANDS: [&str; 29] = [
    "",
    "serve",
    "agent",
    "envoy",
    "envoy bootstrap",
    "get",
    "get workloads",
    "get dataplanes",
    "get events",
    "get signing-keys",
    "get revocations",
    "wait",
    "wait workload",
    "simulate",
    "backup",
    "restore",
    "store",
    "store verify",
    "generate",
    "generate signing-key",
    "generate dataplane-token",
    "generate user-token",
    "generate tls-certificate",
    "revoke",
    "revoke token",
    "delete",
    "delete signing-key",
    "kubeconfig",
    "completions",
];

#[tokio::test]
async fn each_command_has_help() {
    for command in COMMANDS {
        for flag in ["--help", "-h"] {
            let help =
                Program::start(&mut headcount(&format!("{command} {flag}"))).end().await.expect_exit(0);
            assert_eq!(help.err, "", "{command}");
            assert!(help.out.contains(format!("Usage: headcount {command}").trim_end()), "{help}");
        }
        let help = Program::start(&mut headcount(&format!("help {command}"))).end().await.expect_exit(0);
        assert!(help.out.contains("Usage: headcount"), "{help}");
    }
}

#[tokio::test]
async fn the_top_level_help_lists_the_exit_codes_and_all_commands() {
    let help = Program::start(&mut headcount("--help")).end().await.expect_exit(0).out;
    for part in ["Exit codes:", "64 ", "130 ", "Configuration:", "Examples:"] {
        assert!(help.contains(part), "{part} is not in:\n{help}");
    }
    for command in COMMANDS.iter().filter(|command| !command.is_empty() && !command.contains(' ')) {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(command)),
            "{command} is not in:\n{help}"
        );
    }
}

#[tokio::test]
async fn the_version_is_that_of_the_crate() {
    let version = Program::start(&mut headcount("--version")).end().await.expect_exit(0);
    assert_eq!(version.out, concat!("headcount ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[tokio::test]
async fn completions_are_generated_for_five_shells() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script =
            Program::start(&mut headcount(&format!("completions {shell}"))).end().await.expect_exit(0);
        assert_eq!(script.err, "", "{shell}");
        assert!(
            script.out.contains("addresses-file") && script.out.contains("simulate"),
            "{shell}: {script}"
        );
    }
}

/// The generated script works in a real bash.
#[tokio::test]
async fn bash_completes_a_command() {
    let complete = format!(
        "source <({} completions bash); COMP_WORDS=(headcount si); COMP_CWORD=1; \
         _headcount headcount si headcount; echo \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_headcount")
    );
    let ended = Program::start(tokio::process::Command::new("bash").args(["-c", &complete]))
        .end()
        .await
        .expect_exit(0);
    assert_eq!(ended.out, "simulate\n", "{ended}");
}
